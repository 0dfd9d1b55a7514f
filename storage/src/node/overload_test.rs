use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::tests::{eventually, options};
use super::*;
use crate::types::{ChunkId, DiskId, now_ms};
use crate::wire::auth::SignedBody;
use crate::wire::{Context, Signer, path};

const STALLED: usize = 1_100;

/// Sends the head of a chunk of a mebibyte, and little of the chunk.
async fn stall(node: &Node, disk: DiskId, number: usize) -> TcpStream {
    let chunk = ChunkId::of(GroupId(1), &number.to_be_bytes());
    let target = path::chunk(disk, &chunk);
    let mut headers = HeaderMap::new();
    let map = node.map();
    let context = Context { cluster: Some((map.cluster, map.generation.stamp())), from: None, to: None };
    Signer::new(node.secret()).sign(&mut headers, &Method::PUT, &target, SignedBody::Chunk, &context, now_ms());
    let mut head = format!("PUT {target} HTTP/1.1\r\nhost: node\r\ncontent-length: {}\r\n", 1 << 20);
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let mut stream = TcpStream::connect(node.rpc_address()).await.unwrap();
    stream.write_all(format!("{head}\r\nfew bytes").as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_stall_leave_a_node_up_and_begin_no_walk() {
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let first = Node::start(options(dirs[0].path(), 1)).await.unwrap();
    let join = NodeOptions {
        join: vec![first.rpc_address().to_string()],
        secret: Some(first.secret().clone()),
        ..options(dirs[1].path(), 1)
    };
    let second = Node::start(join).await.unwrap();
    let inner = &second.view.inner;
    let disk = first.map().disks[0].id;
    let is_quiet = || async {
        let (map, other) = (first.map(), second.map());
        map.copies() == 2 && map == other && map.groups.iter().all(|group| group.replicas.len() == 2)
    };
    eventually("the nodes know each other", || async { is_quiet().await && Disks::is_up(&**inner, disk) }).await;
    let generation = World::generation(&*second.view);

    let mut stalled = Vec::new();
    for number in 0..STALLED {
        stalled.push(stall(&first, disk, number).await);
    }
    // Longer than a node counts as up without an answer.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        assert!(Disks::is_up(&**inner, disk), "it is down after {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(World::generation(&*second.view), generation, "a walk is begun");
    assert!(inner.remote.view(&first.rpc_address().to_string()).await.is_ok(), "its map is told");
    drop(stalled);
    second.shutdown().await;
    first.shutdown().await;
}
