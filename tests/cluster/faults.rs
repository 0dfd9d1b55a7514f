//! What happens to clients while nodes die, hang, are cut off, lose their disks, come and go.

use std::fs;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::Cluster;
use super::workload::Workload;
use crate::harness::{SmallDisk, body, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn with_one_node_of_three_down_clients_go_on_and_with_two_they_are_told() {
    let mut cluster = Cluster::start(3, &[]).await;
    let workload = Workload::start(cluster.s3(), 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.kill(1);
    let killed = workload.now();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let failures = workload.failures_since(killed + Duration::from_secs(5));
    assert!(failures.is_empty(), "with one node down: {failures:?}\n{}", cluster.logs());

    cluster.kill(2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (method, path) in [("PUT", "/busy/other"), ("GET", "/busy/key0")] {
        let begun = Instant::now();
        let bytes = if method == "PUT" { body(1, 1000) } else { Vec::new() };
        let answer = cluster.s3().send(method, path, "", bytes).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{method}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{method} took {:?}", begun.elapsed());
    }
    cluster.restart(2);
    let begun = Instant::now();
    eventually("writes work again", Duration::from_secs(10), || async {
        cluster.s3().try_put("busy", "other", body(2, 1000)).await.is_ok_and(|status| status.is_success())
    })
    .await;
    println!("works again {:?} after the second node was started", begun.elapsed());
    cluster.restart(1);
    cluster.wait_until_healthy(Duration::from_secs(60)).await;
    workload.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_disk_is_filled_again_as_a_new_one() {
    let mut cluster = Cluster::start(3, &[]).await;
    let s3 = cluster.s3();
    s3.create_bucket("wiped").await;
    for number in 0..6 {
        s3.put("wiped", &format!("key{number}"), body(number, 300_000)).await;
    }
    let before = cluster.chunks().await;
    cluster.kill(0);
    let disk = cluster.nodes[0].directory.join("disk");
    fs::remove_dir_all(&disk).expect("the disk is wiped");
    fs::create_dir(&disk).expect("an empty one in its place");
    cluster.restart(0);
    // Nobody but a person knows that the disk will not come back as it was: it was all that the node knew itself by.
    let old = cluster.status().await.expect("a status")["nodes"][0]["id"].to_string();
    cluster.command(&["node", "remove", &old, "--force"]).await.expect("it is let go");
    cluster.wait_until_healthy(Duration::from_secs(60)).await;
    let mut after = cluster.chunks().await;
    after.sort_unstable();
    assert_eq!(after, before);
    // The others can go now, one after the other.
    cluster.kill(1);
    for number in 0..6 {
        assert_eq!(s3.get("wiped", &format!("key{number}")).await, Some(body(number, 300_000)));
    }
}

/// Disks of one size have as many chunks, give or take a tenth.
fn assert_even(chunks: &[u64]) {
    let mean = chunks.iter().sum::<u64>() as f64 / chunks.len() as f64;
    assert!(chunks.iter().all(|count| (*count as f64 - mean).abs() <= mean / 10.0), "{chunks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_drained_and_removed_under_load_fails_no_request() {
    let mut cluster = Cluster::start(3, &[]).await;
    let s3 = cluster.s3();
    s3.create_bucket("full").await;
    for number in 0..20 {
        s3.put("full", &format!("key{number}"), body(number, 4_000_000)).await;
    }
    let workload = Workload::start(cluster.s3(), 3).await;
    cluster.add_node().await;
    cluster.wait_until_healthy(Duration::from_secs(90)).await;
    let chunks = cluster.chunks().await;
    println!("chunks on four nodes: {chunks:?}");
    // 20 objects of 62 chunks, and what the others write: more than 1,200 chunks.
    assert!(chunks.len() == 4 && chunks.iter().sum::<u64>() > 3 * 1200);
    assert_even(&chunks);

    let first = cluster.status().await.expect("a status")["nodes"][0]["id"].to_string();
    let refused = cluster.command(&["node", "remove", &first]).await.expect_err("it is in use");
    assert!(refused.contains("drain"), "{refused}");
    cluster.command(&["node", "drain", &first]).await.expect("it is drained");
    let begun = Instant::now();
    while let Err(why) = cluster.command(&["node", "remove", &first]).await {
        assert!(begun.elapsed() < Duration::from_secs(90), "{why}\n{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("drained in {:?}", begun.elapsed());
    cluster.kill(0);
    let chunks = cluster.chunks().await;
    println!("chunks on three nodes: {chunks:?}");
    assert!(chunks.len() == 3);
    assert_even(&chunks);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let failures = workload.failures_since(Duration::ZERO);
    assert!(failures.is_empty(), "{failures:?}");
    workload.finish().await;
    let (code, said) = cluster.run(&["fsck"]).await;
    assert_eq!(code, 0, "{said}");
    for number in 0..20 {
        assert_eq!(s3.get("full", &format!("key{number}")).await, Some(body(number, 4_000_000)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_fails_no_request() {
    let mut cluster = Cluster::start(3, &[]).await;
    let workload = Workload::start(cluster.s3(), 5).await;
    for node in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.terminate(node).await;
        cluster.restart(node);
        cluster.wait_until_healthy(Duration::from_secs(60)).await;
    }
    let failures = workload.failures_since(Duration::ZERO);
    assert!(failures.is_empty(), "{failures:?}");
    workload.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_three_is_done_without_until_it_has_room_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(small) = SmallDisk::mount(directory.path().join("small"), 256) else {
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    let arguments = ["--gc-grace", "2s", "--reserve", "64MiB"];
    let mut cluster = Cluster::start(2, &arguments).await;
    cluster.add_node_in(small.0.clone(), &[]).await;
    cluster.wait_until_healthy(Duration::from_secs(60)).await;
    let s3 = cluster.s3();
    s3.create_bucket("full").await;
    let workload = Workload::start(cluster.s3(), 7).await;
    // More than the small disk takes.
    for number in 0..30 {
        s3.put("full", &format!("key{number}"), body(number, 8 << 20)).await;
    }
    let status = cluster.status().await.expect("a status");
    assert_eq!(status["health"], "degraded", "{status:#}");
    for number in [0, 29] {
        assert_eq!(s3.get("full", &format!("key{number}")).await, Some(body(number, 8 << 20)));
    }
    for number in 1..30 {
        s3.delete("full", &format!("key{number}")).await;
    }
    cluster.wait_until_healthy(Duration::from_secs(90)).await;
    let failures = workload.failures_since(Duration::ZERO);
    assert!(failures.is_empty(), "{failures:?}");
    workload.finish().await;
    let (code, said) = cluster.run(&["fsck", "--verify"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(s3.get("full", "key0").await, Some(body(0, 8 << 20)));
}
