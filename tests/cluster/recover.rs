//! What is left after a majority is lost for good.

use std::process::{Output, Stdio};
use std::time::Duration;

use super::{Cluster, log};
use crate::harness::{body, cairn, eventually, free_port};

fn recover(cluster: &Cluster, arguments: &[&str]) -> Output {
    let mut command = cairn();
    command.arg("recover").args(arguments).arg(cluster.nodes[0].directory.join("disk"));
    command.stdin(Stdio::null()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_of_three_goes_on_alone_once_it_is_agreed_and_grows_again() {
    let mut cluster = Cluster::start(3, &[]).await;
    let s3 = cluster.s3();
    s3.create_bucket("left").await;
    for number in 0..6 {
        s3.put("left", &format!("key{number}"), body(number, 200_000)).await;
    }
    cluster.kill(0);
    let refused = recover(&cluster, &["--yes"]);
    assert!(
        !refused.status.success() && text(&refused.stderr).contains("no group here has lost a majority"),
        "{}",
        text(&refused.stderr)
    );
    cluster.kill(1);
    cluster.kill(2);
    let asked = recover(&cluster, &[]);
    let said = text(&asked.stdout);
    assert!(!asked.status.success() && said.contains("What this loses"), "{said}");
    assert!(said.contains("group 0 on disk") && said.matches(", with all its disks").count() == 2, "{said}");
    let done = recover(&cluster, &["--yes"]);
    assert!(done.status.success(), "{}", text(&done.stderr));

    for node in cluster.nodes.drain(1..) {
        let aside = node.directory.with_file_name(format!("lost{}", node.index));
        cairn_storage::durable::rename(&node.directory, &aside).expect("it is put aside");
    }
    cluster.restart(0);
    cluster.restart_gateway().await;
    cluster.wait_until_healthy(Duration::from_secs(40)).await;
    let status = cluster.status().await.expect("a status");
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(1), "{status:#}");
    for number in 0..6 {
        assert_eq!(cluster.s3().get("left", &format!("key{number}")).await, Some(body(number, 200_000)));
    }
    cluster.s3().put("left", "after", body(9, 200_000)).await;

    // One that was given up and comes back as it was is told. What it has is not needed.
    let lost = cluster.nodes[0].directory.with_file_name("lost1");
    let rpc = format!("127.0.0.1:{}", free_port());
    let log_path = lost.with_extension("log");
    let mut back = cairn()
        .arg("storage")
        .arg(lost.join("disk"))
        .args(["--rpc", &rpc, "--join", &cluster.addresses().join(",")])
        .stdout(Stdio::null())
        .stderr(log(&log_path))
        .spawn()
        .expect("it starts");
    eventually("it is told", Duration::from_secs(30), || async {
        text(&std::fs::read(&log_path).unwrap_or_default()).contains("was removed from the cluster")
    })
    .await;
    cluster.s3().put("left", "meanwhile", body(10, 200_000)).await;
    cluster.wait_until_healthy(Duration::from_secs(60)).await;
    let _ = (back.kill(), back.wait());

    cluster.add_node().await;
    cluster.add_node().await;
    cluster.wait_until_healthy(Duration::from_secs(60)).await;
    let (code, said) = cluster.run(&["fsck", "--verify"]).await;
    assert_eq!(code, 0, "{said}");
    cluster.kill(0);
    cluster.restart_gateway().await;
    assert_eq!(cluster.s3().get("left", "after").await, Some(body(9, 200_000)));
    assert_eq!(cluster.s3().get("left", "key0").await, Some(body(0, 200_000)));
}

/// It leads all groups among itself for as long as it is cut off: nothing can keep it from that.
#[tokio::test(flavor = "multi_thread")]
async fn a_majority_that_comes_back_as_it_was_yields_to_what_was_recovered() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.name_nodes();
    cluster.s3().create_bucket("kept").await;
    cluster.s3().put("kept", "before", body(1, 200_000)).await;
    let addresses = cluster.addresses();
    for node in 0..3 {
        cluster.kill(node);
    }
    let done = recover(&cluster, &["--yes"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let mut lost: Vec<_> = cluster.nodes.drain(1..).collect();
    cluster.network.cut(0, 1);
    cluster.network.cut(0, 2);
    for node in &mut lost {
        node.spawn(&addresses);
    }
    cluster.restart(0);
    cluster.restart_gateway().await;
    cluster.wait_until_healthy(Duration::from_secs(40)).await;
    cluster.s3().put("kept", "after", body(2, 200_000)).await;
    let recovered = cluster.status().await.expect("a status");
    assert_eq!(recovered["generation"], 1, "{recovered:#}");

    cluster.network.heal();
    for node in &lost {
        eventually("it is told", Duration::from_secs(30), async || {
            let log = text(&std::fs::read(node.log_path()).unwrap_or_default());
            log.contains("this node goes by the map of after") && log.contains("was removed from the cluster")
        })
        .await;
    }
    // Neither their map nor their groups took over.
    cluster.restart_gateway().await;
    for (key, seed) in [("before", 1), ("after", 2)] {
        assert_eq!(cluster.s3().get("kept", key).await, Some(body(seed, 200_000)));
    }
    cluster.s3().put("kept", "at last", body(3, 200_000)).await;
    let status = cluster.status().await.expect("a status");
    assert_eq!((&status["generation"], status["disks"].as_array().map(Vec::len)), (&recovered["generation"], Some(1)));
    assert!(status["epoch"].as_u64() >= recovered["epoch"].as_u64(), "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_halves_that_were_recovered_apart_refuse_each_other() {
    let mut cluster = Cluster::start(3, &[]).await;
    let addresses = cluster.addresses();
    for node in 0..3 {
        cluster.kill(node);
    }
    for directory in [0, 1] {
        let directory = cluster.nodes[directory].directory.join("disk");
        let done = cairn().args(["recover", "--yes"]).arg(directory).stdin(Stdio::null()).output().expect("it runs");
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    let mut other = cluster.nodes.drain(1..).next().expect("a second node");
    cluster.restart(0);
    cluster.restart_gateway().await;
    cluster.wait_until_healthy(Duration::from_secs(40)).await;
    other.spawn(&addresses);
    eventually("both say so", Duration::from_secs(30), async || {
        let status = cluster.status().await.unwrap_or_default();
        let refused = status["refused"].as_array().cloned().unwrap_or_default();
        let said = text(&std::fs::read(other.log_path()).unwrap_or_default());
        refused.iter().any(|node| node["why"].as_str().is_some_and(|why| why.contains("recovered apart")))
            && said.contains("recovered apart")
    })
    .await;
    let (_, said) = cluster.run(&["status"]).await;
    assert!(said.contains("is refused") && said.contains("empty its directories"), "{said}");
    cluster.s3().create_bucket("goes-on").await;
}
