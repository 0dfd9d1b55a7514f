//! Disks that are full to the last byte, with small objects and with what is not ours: what deletes goes on, they can be
//! opened, and room that comes back is used.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use http::StatusCode;

use crate::harness::{S3, Server, SmallDisk, body, eventually};

const ARGUMENTS: &[&str] = &["--gc-grace", "2s", "--reserve", "64MiB"];
/// Goes into the metadata.
const SMALL: usize = 10 << 10;
const WRITERS: u64 = 16;
/// For room to come back after deletes.
const ROOM: Duration = Duration::from_secs(90);

/// `count` file systems; `None` where they cannot be mounted.
fn mount(directory: &Path, count: usize, mebibytes: u32) -> Option<Vec<SmallDisk>> {
    let disks: Option<_> =
        (1..=count).map(|number| SmallDisk::mount(directory.join(format!("disk{number}")), mebibytes)).collect();
    if disks.is_none() {
        eprintln!("skipped: a tmpfs cannot be mounted here");
    }
    disks
}

/// Writes small objects, numbered from `first`, until each writer was refused, and answers their keys. The refusal must
/// be the one for full disks.
async fn fill(s3: &S3, bucket: &str, first: u64) -> Vec<String> {
    let next = Arc::new(AtomicU64::new(first));
    let writers = (0..WRITERS).map(|_| {
        let (s3, bucket, next) = (s3.clone(), bucket.to_owned(), next.clone());
        tokio::spawn(async move {
            let mut stored = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                assert!(number < 100_000, "more than fits was taken");
                let path = format!("/{bucket}/{number:06}");
                let answer = s3.send("PUT", &path, "", body(number, SMALL)).await.expect("an answer");
                if !answer.status().is_success() {
                    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
                    let text = answer.text().await.expect("a body");
                    assert!(text.contains("<Code>StorageFull</Code>"), "{text}");
                    return stored;
                }
                stored.push(format!("{number:06}"));
            }
        })
    });
    let mut stored: Vec<_> =
        join_all(writers).await.into_iter().flat_map(|keys| keys.expect("a writer ends")).collect();
    stored.sort();
    stored
}

async fn assert_whole(s3: &S3, bucket: &str, keys: &[String]) {
    for key in keys.iter().step_by(keys.len().div_ceil(50).max(1)) {
        let number = key.parse().expect("a number");
        assert_eq!(s3.get(bucket, key).await, Some(body(number, SMALL)), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_objects_are_refused_before_the_disks_are_full_and_room_comes_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(disks) = mount(directory.path(), 3, 256) else { return };
    let paths = disks.iter().map(|disk| disk.0.clone()).collect();
    let mut server = Server::start_on(directory, paths, ARGUMENTS).await;
    let s3 = server.s3();
    s3.create_bucket("full").await;
    let mut stored = fill(&s3, "full", 0).await;
    assert!(stored.len() > 3_000, "the room was used: {}", stored.len());
    assert_eq!(server.metric("cairn_disk_up", "").await, 3.0);

    // What needs room is refused alike, and what does not is not. Some room may come back, as RocksDB compacts.
    let mut fills = 0;
    for (method, path, query) in [("POST", "/full/upload", "uploads="), ("PUT", "/other", "")] {
        loop {
            let answer = s3.send(method, &format!("{path}{fills}"), query, Vec::new()).await.expect("an answer");
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                break;
            }
            fills += 1;
            assert!(answer.status().is_success() && fills < 8, "{path}: {}", answer.status());
            let more = fill(&s3, "full", 30_000 + 8_000 * fills).await;
            assert!(stored.len() < 30_000 && more.len() < 8_000 - WRITERS as usize, "each has numbers of its own");
            stored.extend(more);
        }
    }
    assert_eq!(s3.list("full").await, stored);
    s3.delete("full", &stored.remove(0)).await;
    server.kill();
    server.restart().await;
    let s3 = server.s3();
    assert_eq!(server.metric("cairn_disk_up", "").await, 3.0);
    assert_eq!(s3.list("full").await, stored);
    assert_whole(&s3, "full", &stored).await;

    // Round after round: what is deleted can be written again.
    for round in 0..2 {
        let kept = stored.split_off(stored.len() - stored.len() / 4);
        for keys in stored.chunks(WRITERS as usize) {
            join_all(keys.iter().map(|key| s3.delete("full", key))).await;
        }
        assert_whole(&s3, "full", &kept).await;
        // It comes by and by, as RocksDB compacts: the first object that is taken says nothing of the next.
        let bucket = format!("round{round}");
        eventually("a bucket can be made", ROOM, || async {
            let answer = s3.send("PUT", &format!("/{bucket}"), "", Vec::new()).await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        let mut again = BTreeSet::new();
        let deadline = Instant::now() + ROOM;
        while again.len() <= 1_000 {
            assert!(Instant::now() < deadline, "the room that came back was used: {}", again.len());
            again.extend(fill(&s3, &bucket, again.len() as u64).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let again: Vec<_> = again.into_iter().collect();
        for keys in again.chunks(WRITERS as usize) {
            join_all(keys.iter().map(|key| s3.delete(&bucket, key))).await;
        }
        stored = kept;
    }
    assert_eq!(server.metric("cairn_disk_up", "").await, 3.0);
    assert_whole(&s3, "full", &stored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_disk_that_is_full_to_the_last_byte_does_not_die_and_catches_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(mut disks) = mount(directory.path(), 1, 256) else { return };
    let small = disks.remove(0);
    let paths = vec![small.0.clone(), directory.path().join("disk2"), directory.path().join("disk3")];
    let mut server = Server::start_on(directory, paths, ARGUMENTS).await;
    let s3 = server.s3();
    s3.create_bucket("full").await;
    let stranger = small.0.join("stranger");
    fill_file_system(&stranger);
    // The others go on, with more than the one could take.
    let mut stored = Vec::new();
    for batch in 0..60u64 {
        let numbers: Vec<u64> = (batch * 100..(batch + 1) * 100).collect();
        let puts = numbers.iter().map(async |number| {
            let key = format!("{number:06}");
            s3.try_put("full", &key, body(*number, SMALL)).await
        });
        for (number, status) in numbers.iter().zip(join_all(puts).await) {
            match status.expect("an answer") {
                StatusCode::OK => stored.push(format!("{number:06}")),
                // While the lead changes.
                status => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
            }
        }
    }
    assert!(stored.len() > 5_000, "the others go on: {}", stored.len());
    assert_eq!(server.metric("cairn_disk_up", "").await, 3.0, "the full disk is there");
    // Killed while it is full it can be opened, by what its ballast held.
    fill_file_system(&small.0.join("stranger2"));
    server.kill();
    fill_file_system(&small.0.join("stranger3"));
    server.restart().await;
    let s3 = server.s3();
    assert_whole(&s3, "full", &stored).await;

    for name in ["stranger", "stranger2", "stranger3"] {
        let _ = fs::remove_file(small.0.join(name));
    }
    eventually("the disk has caught up", Duration::from_secs(180), || async {
        server.metric("cairn_disk_up", "").await == 3.0 && is_level(&server).await
    })
    .await;
    assert_whole(&s3, "full", &stored).await;
}

/// Takes all the room that there is now, at once: what a disk gets by its ballast meanwhile is the disk's.
fn fill_file_system(path: &Path) {
    take_room(path, 0);
}

/// The same, but for so many bytes.
pub fn take_room(path: &Path, left: u64) {
    let file = File::create(path).expect("a file");
    let room = rustix::fs::fstatvfs(&file).expect("its file system");
    let mut free = (room.f_bavail * room.f_frsize).saturating_sub(left);
    while free > 0
        && let Err(error) = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, free)
    {
        assert_eq!(error, rustix::io::Errno::NOSPC);
        free = free.saturating_sub(4096);
    }
}

/// Whether all three replicas of each group have applied the same.
pub async fn is_level(server: &Server) -> bool {
    let text = server.metrics().await;
    let applied = |group: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("cairn_raft_applied_index{") && line.contains(group));
        lines.filter_map(|line| Some(line.rsplit(' ').next()?.to_owned())).collect()
    };
    (0..5).all(|group| {
        let applied = applied(&format!("group=\"{group}\""));
        applied.len() == 3 && applied.iter().all(|index| *index == applied[0])
    })
}
