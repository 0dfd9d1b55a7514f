//! The scrub: every copy on a disk is read and verified once in four weeks, or at once where somebody asks for it. What
//! rotted is dropped by the store and queued to be made anew. Where it is is kept in a file of the disk, so that a
//! restart does not begin anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::World;
use crate::chunk::ChunkStore;
use crate::client::DiskError;
use crate::durable;
use crate::meta::Command;
use crate::types::{ChunkId, DiskId, UnixMillis, now_ms};
use crate::wire::ScrubStatus;

/// The file in the disk's directory.
const FILE: &str = "scrub.json";
/// How long a round takes that nobody asked for.
const PERIOD: Duration = Duration::from_secs(28 * 24 * 60 * 60);
/// The slowest that is read, and how fast where it was asked for: some of what a disk can do, so that there is room for
/// those who wait. Bytes a second.
const SLOWEST: f64 = 256.0 * 1024.0;
const ASKED_FOR: f64 = 64.0 * 1024.0 * 1024.0;
/// Chunks that are listed at a time.
const STEP: usize = 256;
/// How often the place is kept.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// The rest after an error.
const PAUSE: Duration = Duration::from_secs(10);

/// What is kept of a scrub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    /// When the round that is under way began.
    started_ms: Option<UnixMillis>,
    /// When the last round ended.
    finished_ms: Option<UnixMillis>,
    /// The last chunk of the round under way, as text.
    after: Option<String>,
    /// Of the round under way, else of the last one.
    checked: u64,
    corrupt: u64,
    /// Whether somebody asked for the round.
    asked: bool,
}

/// A disk's scrub, as its loop and those who ask for it share it.
pub struct Scrub {
    path: PathBuf,
    progress: Mutex<Progress>,
    asked: Notify,
}

impl Scrub {
    /// Goes on from what is kept in `directory`; as for a new disk, where that cannot be read. Blocks.
    pub fn open(directory: &std::path::Path) -> Self {
        let path = directory.join(FILE);
        let kept = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // A new disk is not read at once: what it has was just written. It is kept, or restarts would put it off for ever.
        let begun = Progress { finished_ms: Some(now_ms()), ..Progress::default() };
        let is_new = kept.is_none();
        let scrub = Self { path, progress: Mutex::new(kept.unwrap_or(begun)), asked: Notify::new() };
        if is_new {
            scrub.keep();
        }
        scrub
    }

    /// Begins a new round at once.
    pub fn start(&self) {
        let mut progress = self.progress.lock();
        let finished_ms = progress.finished_ms;
        *progress = Progress { started_ms: Some(now_ms()), finished_ms, asked: true, ..Progress::default() };
        drop(progress);
        self.asked.notify_one();
    }

    pub fn status(&self, chunks: u64) -> ScrubStatus {
        let progress = self.progress.lock().clone();
        ScrubStatus {
            started_ms: progress.started_ms,
            finished_ms: progress.finished_ms,
            checked: progress.checked,
            corrupt: progress.corrupt,
            chunks,
        }
    }

    fn keep(&self) {
        let progress = self.progress.lock().clone();
        let kept = serde_json::to_vec(&progress).map_err(std::io::Error::other);
        if let Err(error) = kept.and_then(|bytes| durable::write_atomic(&self.path, &bytes, durable::PRIVATE)) {
            tracing::warn!(path = %self.path.display(), %error, "how far the scrub has come was not kept");
        }
    }
}

/// Scrubs the disk for as long as it is polled.
pub async fn scrub_disk(world: Arc<dyn World>, disk: DiskId, store: Arc<ChunkStore>, scrub: Arc<Scrub>) {
    let mut kept = Instant::now();
    loop {
        let begun = wait_for_round(&scrub).await;
        match step(&*world, disk, &store, &scrub, begun).await {
            Ok(more) => {
                if !more || kept.elapsed() > KEEP_EVERY {
                    let scrub = scrub.clone();
                    let _ = tokio::task::spawn_blocking(move || scrub.keep()).await;
                    kept = Instant::now();
                }
            }
            Err(error) => {
                tracing::debug!(%disk, %error, "the scrub waits");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Waits until a round is due; when it began.
async fn wait_for_round(scrub: &Scrub) -> UnixMillis {
    loop {
        let rest = {
            let mut progress = scrub.progress.lock();
            if let Some(started) = progress.started_ms {
                return started;
            }
            let period = u64::try_from(PERIOD.as_millis()).unwrap_or(u64::MAX);
            let last = progress.finished_ms.unwrap_or(0);
            match last.saturating_add(period).saturating_sub(now_ms()) {
                0 => {
                    let finished_ms = progress.finished_ms;
                    *progress = Progress { started_ms: Some(now_ms()), finished_ms, ..Progress::default() };
                    continue;
                }
                rest => Duration::from_millis(rest),
            }
        };
        let _ = tokio::time::timeout(rest, scrub.asked.notified()).await;
    }
}

/// Verifies the next chunks of the round; whether there are more.
async fn step(
    world: &dyn World,
    disk: DiskId,
    store: &Arc<ChunkStore>,
    scrub: &Scrub,
    round: UnixMillis,
) -> Result<bool, DiskError> {
    let after: Option<ChunkId> = scrub.progress.lock().after.as_ref().and_then(|text| text.parse().ok());
    let listing = store.clone();
    let chunks = tokio::task::spawn_blocking(move || listing.list(after, STEP))
        .await
        .map_err(|error| DiskError::Unavailable(error.to_string()))??;
    for (id, info) in &chunks {
        let begun = Instant::now();
        let corrupt = match store.verify(*id).await {
            Ok(()) | Err(DiskError::NotFound) => false,
            Err(DiskError::Corrupt) => true,
            Err(error) => return Err(error),
        };
        if corrupt {
            tracing::warn!(%disk, chunk = %id, "a copy had rotted");
            metrics::counter!("cairn_scrub_corrupt_total", "disk" => disk.to_string()).increment(1);
            let command = Command::QueueRepair { hashes: vec![id.hash], known: Vec::new() };
            // Where the group does not take it, the walk finds what is missing.
            let _ = world.client().command(id.group, command).await;
        }
        metrics::counter!("cairn_scrub_bytes_total", "disk" => disk.to_string()).increment(u64::from(info.len));
        let rate = {
            let mut progress = scrub.progress.lock();
            if progress.started_ms != Some(round) {
                // Another one was asked for.
                return Ok(true);
            }
            progress.checked += 1;
            progress.corrupt += u64::from(corrupt);
            progress.after = Some(id.to_string());
            let slow = (store.usage().bytes as f64 / PERIOD.as_secs_f64()).max(SLOWEST);
            if progress.asked { ASKED_FOR } else { slow }
        };
        let rest = Duration::from_secs_f64(f64::from(info.len) / rate).saturating_sub(begun.elapsed());
        let _ = tokio::time::timeout(rest, scrub.asked.notified()).await;
    }
    if chunks.len() == STEP {
        return Ok(true);
    }
    let mut progress = scrub.progress.lock();
    if progress.started_ms == Some(round) {
        let (checked, corrupt) = (progress.checked, progress.corrupt);
        *progress = Progress { finished_ms: Some(now_ms()), checked, corrupt, ..Progress::default() };
        tracing::info!(%disk, checked, corrupt, "a scrub has come to its end");
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrub_goes_on_where_it_was_and_a_broken_file_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let scrub = Scrub::open(dir.path());
        let begun = scrub.status(7);
        assert_eq!((begun.started_ms, begun.chunks, begun.finished_ms.is_some()), (None, 7, true));
        assert_eq!(Scrub::open(dir.path()).status(7), begun, "a restart does not put it off");
        scrub.start();
        scrub.progress.lock().checked = 5;
        scrub.keep();
        let again = Scrub::open(dir.path());
        assert_eq!(*again.progress.lock(), *scrub.progress.lock());
        assert!(again.progress.lock().asked && again.status(7).started_ms.is_some());
        std::fs::write(dir.path().join(FILE), b"{").unwrap();
        assert_eq!(Scrub::open(dir.path()).status(7).started_ms, None);
    }
}
