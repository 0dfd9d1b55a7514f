//! A disk whose directory is put back as it was before.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Cluster;
use crate::harness::{body, eventually};

pub fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs").success());
}

/// What the node of the disk calls itself.
pub fn node_id(disk: &Path) -> String {
    let file = fs::read(disk.join("cairn.json")).expect("an identity");
    let json: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    json["node"].to_string()
}

/// What `cairn status` says of the one node that is refused.
pub async fn refused(cluster: &Cluster) -> String {
    let status = cluster.status().await.unwrap_or_default();
    let why = status["refused"].as_array().and_then(|all| all.first()?["why"].as_str().map(str::to_owned));
    why.unwrap_or_default()
}

/// Brings back the disk of the third node as it was before more was written, and then as an empty directory. `running`:
/// the image is one of the run in which the disk was lost, else of the run before.
async fn restore(running: bool) {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.s3().create_bucket("things").await;
    cluster.s3().put("things", "before", body(0, 200_000)).await;
    let disk = cluster.nodes[2].directory.join("disk");
    let image = cluster.nodes[2].directory.join("image");
    if running {
        cluster.freeze(2);
        copy(&disk, &image);
        cluster.thaw(2);
    } else {
        cluster.kill(2);
        copy(&disk, &image);
        cluster.restart(2);
    }
    cluster.wait_until_healthy(Duration::from_secs(60)).await;
    // The others hear every second how far a disk is.
    let (mut written, until) = (1, Instant::now() + Duration::from_secs(4));
    while Instant::now() < until {
        cluster
            .s3()
            .put("things", &format!("key{written}"), body(written, 1000 + 2000 * (written as usize % 30)))
            .await;
        written += 1;
    }
    let status = cluster.status().await.expect("a status");
    let mut nodes = status["nodes"].as_array().expect("nodes").iter();
    let old = nodes.find(|node| node["address"] == *cluster.addresses()[2]).expect("the node")["id"].to_string();
    cluster.kill(2);
    fs::remove_dir_all(&disk).expect("the disk is wiped");
    copy(&image, &disk);
    cluster.restart(2);
    eventually("it is refused", Duration::from_secs(30), async || refused(&cluster).await.contains("older copy")).await;
    let status = cluster.status().await.expect("a status");
    let up = status["disks"].as_array().expect("disks").iter().filter(|disk| disk["up"] == true).count();
    assert_eq!(up, 2, "{status:#}");
    cluster.s3().put("things", "meanwhile", body(7, 200_000)).await;

    // It does not make a majority with another.
    cluster.kill(1);
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        let answer = cluster.s3().try_put("things", "alone", body(8, 1000)).await;
        assert!(!answer.is_ok_and(|status| status.is_success()), "two votes were counted");
    }
    cluster.restart(1);
    cluster.wait_until_ready(Duration::from_secs(30)).await;

    // A new start does not make it the disk again; an empty directory does make a new one.
    cluster.kill(2);
    cluster.restart(2);
    eventually("it does not start", Duration::from_secs(30), async || {
        let log = String::from_utf8_lossy(&fs::read(cluster.nodes[2].log_path()).unwrap_or_default()).into_owned();
        log.contains("none of the directories can be used")
    })
    .await;
    cluster.kill(2);
    fs::remove_dir_all(&disk).expect("the disk is wiped");
    fs::create_dir(&disk).expect("an empty directory");
    cluster.restart(2);
    cluster.command(&["node", "remove", &old, "--force"]).await.expect("it is let go");
    cluster.wait_until_healthy(Duration::from_secs(60)).await;
    for key in 1..written {
        let expected = body(key, 1000 + 2000 * (key as usize % 30));
        assert!(cluster.s3().get("things", &format!("key{key}")).await == Some(expected), "key{key}");
    }
    assert_eq!(cluster.s3().get("things", "meanwhile").await, Some(body(7, 200_000)));
    let (code, said) = cluster.run(&["fsck", "--verify"]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_from_an_image_of_a_former_run_neither_votes_nor_takes_data() {
    restore(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_from_an_image_of_the_run_in_which_it_was_lost_neither_votes_nor_takes_data() {
    restore(true).await;
}
