//! The administrator's commands that look at the chunks: `explain`, `fsck` and `scrub`, and how leaders are spread.

use std::collections::HashMap;
use std::time::Duration;

use super::Cluster;
use crate::harness::{body, eventually, flip_byte, free_port, http};

#[tokio::test(flavor = "multi_thread")]
async fn what_rots_or_is_down_is_explained_found_and_mended() {
    let mut cluster = Cluster::start(3, &[]).await;
    let s3 = cluster.s3();
    s3.create_bucket("checked").await;
    let bytes = body(1, 400_000);
    s3.put("checked", "a/key +ü", bytes.clone()).await;
    s3.put("checked", "small", body(2, 100)).await;
    eventually("all is clean", Duration::from_secs(20), || async { cluster.run(&["fsck", "--verify"]).await.0 == 0 })
        .await;

    let (code, said) = cluster.run(&["explain", "s3://checked/a/key +ü", "--json"]).await;
    assert_eq!(code, 0, "{said}");
    let explained: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let chunks = explained["chunks"].as_array().expect("chunks");
    assert_eq!((chunks.len(), &explained["size"]), (7, &400_000.into()));
    for chunk in chunks {
        let copies = chunk["copies"].as_array().expect("copies");
        assert!(
            copies.len() == 3 && copies.iter().all(|copy| copy["state"] == "whole" && copy["home"] == true),
            "{chunk}"
        );
    }
    assert!(
        explained["nodes"].as_array().expect("nodes").iter().all(|node| node["lost"] == 0 && node["last_copy"] == 0)
    );
    let (_, said) = cluster.run(&["explain", "s3://checked/small"]).await;
    assert!(said.contains("kept with its metadata") && said.contains("nothing breaks"), "{said}");
    for wrong in ["s3://checked/none", "s3://none/key", "checked/small"] {
        assert_ne!(cluster.run(&["explain", wrong]).await.0, 0);
    }

    let disk = cluster.nodes[1].directory.join("disk");
    assert!(flip_byte(&disk, &bytes[100_000..100_032]));
    assert_eq!(cluster.run(&["fsck"]).await.0, 0, "only reading shows it");
    let (code, said) = cluster.run(&["fsck", "--verify", "--repair"]).await;
    assert!(code == 1 && said.contains("1 corrupt"), "{said}");
    eventually("it is mended", Duration::from_secs(30), || async { cluster.run(&["fsck", "--verify"]).await.0 == 0 })
        .await;

    // A scrub finds it, too, and needs nobody to have it mended.
    assert!(flip_byte(&disk, &bytes[200_000..200_032]));
    assert_eq!(cluster.run(&["scrub", "start"]).await.0, 0);
    eventually("the scrub has found it", Duration::from_secs(30), || async {
        let (_, said) = cluster.run(&["scrub", "status", "--json"]).await;
        let status: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        let disks = status["disks"].as_array().expect("disks");
        let corrupt: u64 = disks.iter().filter_map(|disk| disk["corrupt"].as_u64()).sum();
        corrupt == 1
            && disks.len() == 3
            && disks.iter().all(|disk| disk["running"] == false && disk["finished"].is_string())
    })
    .await;
    eventually("it is mended", Duration::from_secs(30), || async { cluster.run(&["fsck", "--verify"]).await.0 == 0 })
        .await;
    assert_eq!(s3.get("checked", "a%2Fkey%20%2B%C3%BC").await, Some(bytes));

    cluster.kill(2);
    eventually("the node counts as down", Duration::from_secs(20), || async {
        let (code, said) = cluster.run(&["fsck"]).await;
        code == 1 && said.contains("a disk that is down")
    })
    .await;
    let (_, said) = cluster.run(&["explain", "s3://checked/a/key +ü"]).await;
    assert!(said.contains("unreachable") && said.contains("chunks down to one copy"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_told_by_the_names_of_its_objects() {
    let cluster = Cluster::first(&[]).await;
    let s3 = cluster.s3();
    for bucket in ["empty", "some", "whole"] {
        s3.create_bucket(bucket).await;
    }
    let bytes = body(1, 300_000);
    for key in ["a%2F%20%C3%BC", "same"] {
        s3.put("some", key, bytes.clone()).await;
    }
    for bucket in ["some", "whole"] {
        s3.put(bucket, "other", body(2, 300_000)).await;
    }
    eventually("all is clean", Duration::from_secs(20), || async { cluster.run(&["fsck", "--verify"]).await.0 == 0 })
        .await;
    assert!(flip_byte(&cluster.nodes[0].directory.join("disk"), &bytes[100_000..100_032]));
    let (code, said) = cluster.run(&["fsck", "--verify", "--json"]).await;
    let found: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, found["findings"].as_array().map(Vec::len)), (1, Some(1)), "{said}");
    assert_eq!(found["damaged"], serde_json::json!(["s3://some/a/ ü", "s3://some/same"]), "{said}");
    let (_, said) = cluster.run(&["fsck"]).await;
    assert!(said.contains("1 lost") && said.contains("damaged: s3://some/same"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_are_spread_over_the_nodes() {
    let mut cluster = Cluster::first(&["--metadata-groups", "5"]).await;
    let metrics = format!("127.0.0.1:{}", free_port());
    cluster.add_node_with(&["--metrics", &metrics]).await;
    cluster.add_node().await;
    eventually("each node leads two groups", Duration::from_secs(60), || async {
        let Some(status) = cluster.status().await else { return false };
        let mut led: HashMap<&str, usize> = HashMap::new();
        for group in status["groups"].as_array().expect("groups") {
            *led.entry(group["leader"]["disk"].as_str().unwrap_or("nobody")).or_default() += 1;
        }
        led.len() == 3 && led.values().all(|count| *count == 2)
    })
    .await;
    let figures = http().get(format!("http://{metrics}/metrics")).send().await.expect("an answer");
    let figures = figures.text().await.expect("text");
    assert!(figures.lines().any(|line| line.starts_with("cairn_raft_leads{") && line.ends_with(" 1")), "{figures}");
}
