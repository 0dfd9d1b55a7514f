//! What is the cluster's and not a disk's or a node's: voters, the grace time, the time.

use std::time::Instant;

use super::tests::*;
use super::*;
use crate::meta::query::Wanted;
use crate::meta::{Answer, Command, Query, RootCommand};
use crate::types::{ClusterSettings, DiskState, ROOT_GROUP};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_grace_time_is_the_clusters_and_no_flag_changes_it() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path(), 1).await.shutdown().await;
    let other = ClusterSettings { gc_grace_ms: Some(9_000), out_after_ms: Some(9_000) };
    let node = Node::start(NodeOptions { settings: other, ..options(dir.path(), 1) }).await.unwrap();
    let client = node.client();
    let grace = async || match client.query(GROUP, Query::Clock).await.unwrap() {
        Answer::Clock { grace_ms, .. } => grace_ms,
        other => panic!("{other:?}"),
    };
    let settings = node.map().settings.clone();
    assert_eq!((settings.gc_grace_ms, settings.out_after_ms), (Some(2_000), Some(600_000)));
    assert_eq!(grace().await, 2_000);

    // A change in the map reaches the groups, whoever made it.
    let mut map = (*node.map()).clone();
    map.settings.gc_grace_ms = Some(5_000);
    let replace = RootCommand::ReplaceMap { expected: map.epoch, map };
    client.command(ROOT_GROUP, Command::Root(replace)).await.unwrap().unwrap();
    eventually("the grace time", async || grace().await == 5_000).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_well_and_lost_its_metadata_gets_new_voters_in_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), 3).await;
    let bucket = make_bucket(&node.client(), "bucket").await;
    put(&node.client(), bucket, "key", b"kept by two").await;
    let lost = node.status().disks[1].id;
    let before = node.map();
    node.shutdown().await;
    std::fs::remove_dir_all(dir.path().join("disk2").join("meta")).unwrap();

    let node = start(dir.path(), 3).await;
    let voter = |map: &ClusterMap, group: GroupId| {
        let voters = &map.group(group).unwrap().replicas;
        voters.iter().find(|(_, disk)| *disk == lost).map(|(replica, _)| *replica)
    };
    let is_whole = |map: &ClusterMap| {
        map.groups.iter().all(|group| {
            let new = voter(map, group.id).filter(|new| Some(*new) != voter(&before, group.id));
            group.leaving.is_empty() && new.is_some_and(|new| node.view.inner.replicas.runs(group.id, new))
        })
    };
    let began = Instant::now();
    while !is_whole(&node.map()) || !node.view.inner.ended(&node.map()).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", node.map().groups);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(node.map().disks.iter().all(|disk| disk.state == DiskState::Active), "the disk is well");
    let query = Query::Object { bucket, key: "key".to_owned(), wanted: Wanted::Nothing, limit: 1 };
    let found = node.client().query(GROUP, query).await.unwrap();
    assert!(matches!(found, Answer::Object { object: Some(_), .. }), "{found:?}");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_hours_ahead_and_is_set_back_does_not_stop_writes() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), 3).await;
    let client = node.client();
    let now = crate::types::now_ms();
    for group in [ROOT_GROUP, GROUP] {
        for hours in [1, 3, 5, 5] {
            node.view.inner.replicas.propose_stamped(group, now + hours * 3_600_000).await;
        }
        // What was under way as the clock went back may be refused; what comes after is not.
        let _ = client.command(group, Command::Nothing).await;
        client.command(group, Command::Nothing).await.unwrap().unwrap();
        let time = async || match client.query(group, Query::Clock).await.unwrap() {
            Answer::Clock { time_ms, .. } => time_ms,
            other => panic!("{other:?}"),
        };
        assert!(time().await < now + 3_600_000);

        // Where it is within what clocks may be apart, or far behind, a person can set it.
        client.command(group, Command::ResetClock).await.unwrap().unwrap();
        let reset = time().await;
        assert!((now..=crate::types::now_ms()).contains(&reset), "{reset} {now}");
    }
    node.shutdown().await;
}
