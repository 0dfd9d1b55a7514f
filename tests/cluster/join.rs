//! Nodes that find each other, are refused, and come back.

use std::time::{Duration, Instant};

use super::{Cluster, log};
use crate::harness::{body, cairn, eventually, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn from_one_node_to_three_copies_and_voters_rise_by_themselves() {
    let mut cluster = Cluster::first(&[]).await;
    let s3 = cluster.s3();
    s3.create_bucket("grows").await;
    for number in 0..8 {
        s3.put("grows", &format!("key{number}"), body(number, 300_000)).await;
    }
    cluster.add_node().await;
    cluster.add_node().await;
    let took = cluster.wait_until_healthy(Duration::from_secs(30)).await;
    println!("three copies and three voters {took:?} after the third node was started");
    let chunks = cluster.chunks().await;
    assert!(chunks.len() == 3 && chunks.iter().all(|count| *count == chunks[0] && *count > 0), "{chunks:?}");
    // The first node is not needed any more.
    cluster.kill(0);
    cluster.restart_gateway().await;
    for number in 0..8 {
        assert_eq!(cluster.s3().get("grows", &format!("key{number}")).await, Some(body(number, 300_000)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_started_alike_form_one_cluster() {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let join: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    form_alike(&ports, &join.join(",")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_on_one_lan_find_each_other() {
    form_alike(&[free_port(), free_port(), free_port()], "mdns").await;
}

async fn form_alike(ports: &[u16], join: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut children: Vec<_> = ports
        .iter()
        .map(|port| {
            let child = cairn()
                .arg("storage")
                .arg(directory.path().join(port.to_string()))
                .args(["--rpc", &format!("127.0.0.1:{port}"), "--join", join, "--bootstrap-expect", "3"])
                .stdout(std::process::Stdio::null())
                .stderr(log(&directory.path().join(format!("{port}.log"))))
                .spawn();
            child.expect("it starts")
        })
        .collect();
    let identity = |port: &u16| {
        let file = directory.path().join(port.to_string()).join("cairn.json");
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        Some(json["cluster"].as_str()?.to_owned())
    };
    eventually("all have a cluster", Duration::from_secs(30), || async {
        ports.iter().all(|port| identity(port).is_some())
    })
    .await;
    let clusters: std::collections::BTreeSet<_> = ports.iter().map(identity).collect();
    for child in &mut children {
        let _ = (child.kill(), child.wait());
    }
    assert_eq!(clusters.len(), 1, "{clusters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_secret_or_is_of_another_cluster_is_refused() {
    let cluster = Cluster::first(&[]).await;
    let join = cluster.addresses().join(",");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let rpc = format!("127.0.0.1:{}", free_port());
    let stranger = cairn()
        .env("CAIRN_CLUSTER_SECRET", "some other secret of another cluster")
        .arg("storage")
        .arg(directory.path().join("disk"))
        .args(["--rpc", &rpc, "--join", &join])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&stranger.stderr);
    assert!(!stranger.status.success() && said.contains("secret"), "{said}");
    assert!(!directory.path().join("disk/cairn.json").exists());

    let moved = directory.path().join("of another cluster");
    let mut own = cairn().arg("storage").arg(&moved).args(["--rpc", &rpc]).spawn().expect("it starts");
    eventually("it has formed", Duration::from_secs(20), || async { moved.join("cluster-map").exists() }).await;
    let _ = (own.kill(), own.wait());
    let refused = cairn().arg("storage").arg(&moved).args(["--rpc", &rpc, "--join", &join]).output().expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("cluster"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_back_in_any_order_and_at_other_addresses() {
    let mut cluster = Cluster::start(3, &[]).await;
    let s3 = cluster.s3();
    s3.create_bucket("moves").await;
    s3.put("moves", "key", body(1, 500_000)).await;
    for node in 0..3 {
        cluster.kill(node);
    }
    for node in [2, 0, 1] {
        cluster.move_node(node).await;
        cluster.restart(node);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    cluster.restart_gateway().await;
    cluster.wait_until_healthy(Duration::from_secs(40)).await;
    assert_eq!(cluster.s3().get("moves", "key").await, Some(body(1, 500_000)));
    cluster.s3().put("moves", "other", body(2, 500_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_moves_to_another_node_is_found_there() {
    let mut cluster = Cluster::start(3, &[]).await;
    let s3 = cluster.s3();
    s3.create_bucket("moves").await;
    s3.put("moves", "key", body(1, 500_000)).await;
    let begun = Instant::now();
    // As if the disk were put into another machine, which has none of its own yet.
    cluster.kill(2);
    let elsewhere = cluster.nodes[2].directory.with_extension("elsewhere");
    cairn_storage::durable::rename(&cluster.nodes[2].directory, &elsewhere).expect("the disk is moved");
    cluster.nodes[2].directory = elsewhere;
    cluster.move_node(2).await;
    cluster.restart(2);
    cluster.wait_until_healthy(Duration::from_secs(40)).await;
    println!("found after {:?}", begun.elapsed());
    assert_eq!(s3.get("moves", "key").await, Some(body(1, 500_000)));
}
