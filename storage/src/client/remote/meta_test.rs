use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::cluster::Secret;

/// A node that gives everybody this answer; where it is.
async fn node(status: &'static str, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        }
    });
    address
}

fn remote(nodes: &[&String]) -> Remote {
    let remote = Remote::new(&Secret::random(), "test").unwrap();
    *remote.joins.write() = nodes.iter().map(|node| (*node).clone()).collect();
    remote
}

#[tokio::test]
async fn a_node_that_takes_no_proof_is_passed_over_for_one_that_does() {
    let skewed = node("401 Unauthorized", Vec::new()).await;
    let right = node("200 OK", wire::encode(&7u32).unwrap()).await;
    let remote = remote(&[&skewed, &right]);
    assert_eq!(remote.ask::<u32>("/", Vec::new()).await.unwrap(), 7);
    assert_eq!(remote.nodes(), [right, skewed], "it is asked last for a while");
}

#[tokio::test]
async fn who_is_refused_by_all_is_told_so_at_once_and_who_is_by_some_when_the_others_do_not_answer() {
    let skewed = node("401 Unauthorized", Vec::new()).await;
    let begun = Instant::now();
    assert!(matches!(remote(&[&skewed]).ask::<u32>("/", Vec::new()).await, Err(ServiceError::Refused(_))));
    assert!(begun.elapsed() < PATIENCE);
    let down = "127.0.0.1:1".to_owned();
    let both = remote(&[&skewed, &down]);
    assert!(matches!(both.ask::<u32>("/", Vec::new()).await, Err(ServiceError::Unavailable)));
}

#[tokio::test]
async fn where_one_refuses_and_others_are_not_there_yet_the_map_is_asked_for_again() {
    let skewed = node("401 Unauthorized", Vec::new()).await;
    let down = "127.0.0.1:1".to_owned();
    for nodes in [[&skewed, &down], [&down, &skewed]] {
        assert!(!matches!(remote(&nodes).refresh().await, Ok(()) | Err(CallError::Unauthorized(_))));
    }
    assert!(matches!(remote(&[&skewed]).refresh().await, Err(CallError::Unauthorized(_))));
}
