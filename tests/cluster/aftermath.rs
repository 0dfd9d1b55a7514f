//! The full check after a fault: what was acknowledged is there, lists are right, `fsck --verify` is clean, and the disks
//! hold what is stored and nothing else. That each key's history can be explained the workload looks at when it ends.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::workload::in_the_end;
use super::{CHUNK, COPIES, Cluster};
use crate::harness::{S3, body, eventually, segments};

const BUCKET: &str = "ledger";
const LENGTH: usize = 150_000;
/// Older ones are deleted.
const KEPT: usize = 64;
const PATIENCE: Duration = Duration::from_secs(90);
/// What a chunk takes on a disk beside its bytes.
const OVERHEAD: u64 = 8 << 10;
/// The room that a segment which is written to has ahead, and as much again for what is punched out meanwhile.
const AHEAD: u64 = 64 << 20;

/// Objects that were acknowledged, one in each round.
pub struct Ledger {
    s3: S3,
    acknowledged: VecDeque<u64>,
}

impl Ledger {
    pub async fn new(s3: S3) -> Self {
        s3.create_bucket(BUCKET).await;
        Self { s3, acknowledged: VecDeque::new() }
    }

    pub async fn write(&mut self, round: u64) {
        eventually("a write is acknowledged", PATIENCE, async || {
            let put = self.s3.try_put(BUCKET, &key(round), body(round, LENGTH)).await;
            put.is_ok_and(|status| status.is_success())
        })
        .await;
        self.acknowledged.push_back(round);
        if self.acknowledged.len() > KEPT {
            let oldest = self.acknowledged.pop_front().expect("the oldest");
            eventually("the oldest is deleted", PATIENCE, async || {
                self.s3.try_delete(BUCKET, &key(oldest)).await.is_ok_and(|status| status.is_success())
            })
            .await;
        }
    }

    pub async fn check(&self) {
        for round in &self.acknowledged {
            let found = in_the_end(async || self.s3.try_get(BUCKET, &key(*round)).await).await;
            assert!(found == Some(body(*round, LENGTH)), "what round {round} wrote");
        }
        let expected: Vec<_> = self.acknowledged.iter().map(|round| key(*round)).collect();
        assert_eq!(in_the_end(async || self.s3.try_list(BUCKET).await).await, expected);
    }

    /// How many chunks its objects have.
    pub fn chunks(&self) -> usize {
        self.acknowledged.len() * LENGTH.div_ceil(CHUNK)
    }
}

/// Later ones are behind.
fn key(round: u64) -> String {
    format!("round{round:06}")
}

/// Waits until all is clean, all copies of so many chunks are there, and nothing else is. Fails where that takes longer
/// than the grace time, a few seconds, and what the checks themselves take; what was made while a clock was ahead may
/// stay until then.
pub async fn check_disks(cluster: &Cluster, chunks: usize, late_until: Instant) {
    let deadline = late_until.max(Instant::now()) + PATIENCE;
    loop {
        let (code, said) = cluster.run(&["fsck", "--verify", "--json"]).await;
        let found: serde_json::Value = serde_json::from_str(said.trim()).unwrap_or_default();
        let is_clean = code == 0 && found["garbage_chunks"] == 0 && found["misplaced"] == 0;
        let status = cluster.status().await.unwrap_or_default();
        let disks = status["disks"].as_array().map_or(&[][..], Vec::as_slice);
        let held: u64 = disks.iter().filter_map(|disk| disk["chunks"].as_u64()).sum();
        let room: Vec<u64> = cluster.nodes.iter().map(|node| room(&node.directory.join("disk"))).collect();
        let is_freed = room.iter().all(|room| *room <= chunks as u64 * (CHUNK as u64 + OVERHEAD) + AHEAD);
        if is_clean && held == (chunks * COPIES) as u64 && is_freed {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "of {chunks} chunks there are {held} copies, in {room:?} bytes; fsck: {code} {said}\n{status:#}\n{}",
            cluster.logs()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What the file system has given to the segments of a disk, in bytes.
fn room(disk: &std::path::Path) -> u64 {
    segments(disk).iter().filter_map(|path| path.metadata().ok()).map(|found| found.blocks() * 512).sum()
}
