//! A disk whose writes hang, rather than fail: the file system below it is frozen.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::harness::{LoopDisk, S3, Server, body, eventually};

const BUCKETS: usize = 8;
const LENGTHS: [usize; 2] = [1_000, 300_000];

/// Thaws the file system when it is dropped: nobody could end the process otherwise.
pub struct Frozen(PathBuf);

impl Frozen {
    pub fn freeze(disk: &LoopDisk) -> Self {
        let frozen = Command::new("fsfreeze").arg("-f").arg(&disk.path).status();
        assert!(frozen.is_ok_and(|status| status.success()), "the file system is frozen");
        Self(disk.path.clone())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).status();
    }
}

/// Writes and reads back an object of each length in a bucket; whether all of it worked.
async fn works(s3: &S3, bucket: usize, round: u64) -> bool {
    let bucket = format!("bucket{bucket}");
    for length in LENGTHS {
        let (key, bytes) = (format!("{round}/{length}"), body(round + length as u64, length));
        let put = s3.try_put(&bucket, &key, bytes.clone()).await;
        if !put.is_ok_and(|status| status.is_success()) {
            return false;
        }
        let Ok(answer) = s3.send("GET", &format!("/{bucket}/{key}"), "", Vec::new()).await else { return false };
        if !answer.status().is_success() || answer.bytes().await.ok().as_deref() != Some(&bytes[..]) {
            return false;
        }
    }
    true
}

async fn all_work(s3: &S3, round: u64) -> bool {
    join_all((0..BUCKETS).map(|bucket| works(s3, bucket, round))).await.into_iter().all(|works| works)
}

async fn assert_all_there(s3: &S3, rounds: &[u64]) {
    for round in rounds {
        for bucket in 0..BUCKETS {
            for length in LENGTHS {
                let found = s3.get(&format!("bucket{bucket}"), &format!("{round}/{length}")).await;
                assert!(found == Some(body(round + length as u64, length)), "bucket{bucket}/{round}/{length}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_whose_writes_hang_is_done_without_within_seconds_and_is_whole_after() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = LoopDisk::mount(&directory, "hung", 512) else {
        eprintln!("skipped: a file system of its own cannot be mounted here");
        return;
    };
    let disks = vec![disk.path.join("disk"), directory.path().join("disk2"), directory.path().join("disk3")];
    let mut server = Server::start_on(directory, disks, &[]).await;
    let s3 = server.s3();
    for bucket in 0..BUCKETS {
        s3.create_bucket(&format!("bucket{bucket}")).await;
    }
    let mut rounds = vec![0];
    assert!(all_work(&s3, 0).await);

    for time in 1..=2u64 {
        let frozen = Frozen::freeze(&disk);
        let since = Instant::now();
        let mut round = time * 1000;
        while !all_work(&s3, round).await {
            assert!(since.elapsed() < Duration::from_secs(20), "others take over:\n{}", server.log_tail());
            tokio::time::sleep(Duration::from_millis(100)).await;
            round += 1;
        }
        rounds.push(round);
        // From now on nothing waits for it, whatever becomes of it. The first time it is given up.
        let until = if time == 1 { 20 } else { 0 };
        while since.elapsed() < Duration::from_secs(until) {
            round += 1;
            let began = Instant::now();
            assert!(all_work(&s3, round).await, "the others go on");
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            rounds.push(round);
            // What is to be made up for afterwards should not depend on how fast the machine is.
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        assert_eq!(server.metric("cairn_disk_up", "").await, if time == 1 { 2.0 } else { 3.0 });
        drop(frozen);
        eventually("the disk is back", Duration::from_secs(180), || async {
            server.metric("cairn_disk_up", "").await == 3.0 && crate::full::is_level(&server).await
        })
        .await;
        assert_all_there(&s3, &rounds).await;
    }
    server.kill();
    server.restart().await;
    assert_all_there(&server.s3(), &rounds).await;
    assert!(all_work(&server.s3(), 9999).await);
}
