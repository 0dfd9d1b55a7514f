//! Chunks to disks. Only this file knows the quorum rule: a chunk may be relied on when two disks have fsynced it, or
//! one, where the cluster keeps one copy; what is missing after that follows in the background, within a budget.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_storage::client::{Client, DiskError};
use cairn_storage::meta::command::NewBody;
use cairn_storage::meta::record::ChunkEntry;
use cairn_storage::types::{ChunkId, DiskId, DiskState, Epoch, GroupId, ManifestId};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{DataSettings, Place};
use crate::error::{Code, S3Error};

/// How many disks must have fsynced a chunk before it is relied on, where `copies` are kept.
fn quorum(copies: usize) -> usize {
    copies.min(2)
}

/// How many disks a body can name, see `NewBody::Chunks`.
const MAX_NAMED_DISKS: usize = 32;

/// How often a disk that is busy is asked to take one chunk, and the pause before the second time.
const BUSY_ATTEMPTS: u32 = 4;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How long one is waited for that is not said to be up.
const DOUBTFUL_TIMEOUT: Duration = Duration::from_secs(3);

/// How many chunks one call touches.
const TOUCH_BATCH: usize = 1_024;

/// Sends chunks to disks.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
    place: Place,
    timeout: Duration,
    /// A permit for each byte of a third copy that goes on alone.
    background: Arc<Semaphore>,
    /// How long a chunk waits for its third copy where the budget has no room for it.
    patience: Duration,
}

/// A chunk that a quorum of disks has fsynced.
pub(super) struct Written {
    id: ChunkId,
    entry: ChunkEntry,
    /// By the map of this epoch.
    homes: Vec<DiskId>,
    epoch: Epoch,
    /// Grows as long as copies are under way.
    acknowledged: Arc<Mutex<Vec<DiskId>>>,
    began: Instant,
    rest: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn new(client: Client, place: Place, settings: &DataSettings) -> Self {
        Self {
            client,
            place,
            timeout: settings.disk_timeout,
            background: Arc::new(Semaphore::new(settings.background_bytes.min(Semaphore::MAX_PERMITS))),
            patience: settings.third_copy_patience,
        }
    }

    /// Stores a chunk whose bytes are `pieces` end to end. `StorageFull` where disks have no room, `SlowDown` where
    /// they are busy, `ServiceUnavailable` where too few are there.
    pub(super) async fn write(&self, id: ChunkId, pieces: Vec<Bytes>) -> Result<Written, S3Error> {
        let began = Instant::now();
        let len: usize = pieces.iter().map(Bytes::len).sum();
        let len = u32::try_from(len).map_err(|_| Code::InternalError)?;
        let map = self.client.map();
        let copies = map.copies();
        if copies == 0 {
            return Err(Code::ServiceUnavailable.into());
        }
        let order = (self.place)(&id, &map);
        let homes = order.iter().take(copies).copied().collect();
        let mut fan = Fan {
            id,
            pieces,
            copies,
            order: order.into_iter(),
            doubtful: VecDeque::new(),
            calls: FuturesUnordered::new(),
            acknowledged: Arc::new(Mutex::new(Vec::with_capacity(copies))),
            worst: None,
            client: self.client.clone(),
            timeout: self.timeout,
        };
        let acknowledged = fan.acknowledged.clone();
        if !fan.reach(quorum(copies)).await {
            return Err(fan.failure());
        }
        metrics::counter!("cairn_chunks_written_total").increment(1);
        let rest = self.complete(fan, len).await;
        Ok(Written { id, entry: ChunkEntry { hash: id.hash, len }, homes, epoch: map.epoch, acknowledged, began, rest })
    }

    /// Has the copies that are still missing made: by a task, as soon as the budget has room for it, else here. Where
    /// neither comes about in time they are given up, and left to repair: one slow disk must not stop all uploads.
    async fn complete(&self, mut fan: Fan, len: u32) -> Option<JoinHandle<()>> {
        let copies = fan.copies;
        let budget = tokio::select! {
            biased;
            _ = fan.reach(copies) => return None,
            budget = self.background.clone().acquire_many_owned(len) => budget.ok()?,
            () = sleep(self.patience) => {
                metrics::counter!("cairn_third_copies_given_up_total").increment(1);
                return None;
            }
        };
        Some(tokio::spawn(async move {
            fan.reach(copies).await;
            drop(budget);
        }))
    }

    /// The body made of these chunks, in order, as far as is known when `patience` has passed for copies still under
    /// way. Their homes are those of the newest map: what the chunks of a long upload lack by then is to be repaired.
    /// `ServiceUnavailable` where so many of their disks were removed meanwhile that a chunk has no quorum any more.
    pub(super) async fn body(&self, mut chunks: Vec<Written>, patience: Duration) -> Result<NewBody, S3Error> {
        let rest: Vec<_> = chunks.iter_mut().filter_map(|chunk| chunk.rest.take()).collect();
        if !rest.is_empty() {
            let _ = timeout(patience, futures::future::join_all(rest)).await;
        }
        let oldest = chunks.iter().map(|chunk| chunk.began).min().unwrap_or_else(Instant::now);
        let map = self.client.map();
        let homes = |chunk: &Written| {
            if chunk.epoch == map.epoch {
                return chunk.homes.clone();
            }
            (self.place)(&chunk.id, &map).into_iter().take(map.copies()).collect()
        };
        let is_there = |disk: &DiskId| map.disk(*disk).is_some_and(|entry| entry.state != DiskState::Removed);
        let mut placed = Vec::with_capacity(chunks.len());
        for chunk in &chunks {
            let mut acknowledged = chunk.acknowledged.lock().clone();
            let before = acknowledged.len();
            acknowledged.retain(is_there);
            if acknowledged.len() < before.min(quorum(map.copies())) {
                return Err(Code::ServiceUnavailable.into());
            }
            placed.push((acknowledged, homes(chunk)));
        }
        let (disks, acknowledged, homes) = name_disks(&placed);
        Ok(NewBody::Chunks {
            id: ManifestId::random(),
            chunks: chunks.into_iter().map(|chunk| chunk.entry).collect(),
            disks,
            acknowledged,
            homes,
            oldest_touch_age_ms: age_ms(oldest),
        })
    }

    /// See `DataPath::retouch`.
    pub(super) async fn retouch(&self, group: GroupId, body: &mut NewBody) -> Result<(), S3Error> {
        let NewBody::Chunks { chunks, disks, acknowledged, oldest_touch_age_ms, .. } = body else { return Ok(()) };
        let began = Instant::now();
        let touches = disks.iter().enumerate().map(|(place, disk)| {
            let held =
                (0..chunks.len()).filter(|chunk| acknowledged.get(*chunk).is_some_and(|bits| bits >> place & 1 == 1));
            let held: Vec<usize> = held.collect();
            let ids = held.iter().map(|chunk| ChunkId { group, hash: chunks[*chunk].hash }).collect();
            async move { (place, self.touch(*disk, ids).await, held) }
        });
        let mut touched = vec![0u32; chunks.len()];
        for (place, there, held) in futures::future::join_all(touches).await {
            for (chunk, _) in held.into_iter().zip(there).filter(|(_, there)| *there) {
                touched[chunk] |= 1 << place;
            }
        }
        let enough = quorum(self.client.map().copies()).max(1);
        if touched.iter().any(|bits| (bits.count_ones() as usize) < enough) {
            tracing::warn!(%group, "chunks of a body were gone before it was committed");
            return Err(Code::ServiceUnavailable.into());
        }
        *acknowledged = touched;
        *oldest_touch_age_ms = age_ms(began);
        Ok(())
    }

    /// For each chunk whether the disk has touched it. A disk that does not answer has touched none.
    async fn touch(&self, disk: DiskId, ids: Vec<ChunkId>) -> Vec<bool> {
        let mut there = Vec::with_capacity(ids.len());
        let Some(service) = self.client.disk(disk) else { return there };
        for batch in ids.chunks(TOUCH_BATCH) {
            match timeout(self.timeout, service.touch(batch.to_vec())).await {
                Ok(Ok(answer)) if answer.len() == batch.len() => there.extend(answer),
                _ => break,
            }
        }
        there
    }
}

/// One chunk on its way to its disks.
struct Fan {
    id: ChunkId,
    pieces: Vec<Bytes>,
    copies: usize,
    /// The disks that were not asked yet, best first.
    order: std::vec::IntoIter<DiskId>,
    /// Those that were passed over since they are not said to be up.
    doubtful: VecDeque<DiskId>,
    calls: FuturesUnordered<BoxFuture<'static, (DiskId, Result<(), DiskError>)>>,
    acknowledged: Arc<Mutex<Vec<DiskId>>>,
    /// The failure that says most about why there are too few.
    worst: Option<DiskError>,
    client: Client,
    timeout: Duration,
}

impl Fan {
    /// Goes on until `goal` disks have the chunk, with as many calls under way as copies are missing. False where the
    /// disks do not suffice. May be dropped and called again.
    async fn reach(&mut self, goal: usize) -> bool {
        loop {
            let have = self.acknowledged.lock().len();
            if have >= goal {
                return true;
            }
            while have + self.calls.len() < self.copies && self.start_next() {}
            match self.calls.next().await {
                Some((disk, Ok(()))) => self.acknowledged.lock().push(disk),
                Some((disk, Err(error))) => self.note(disk, error),
                None => return false,
            }
        }
    }

    /// Sends the chunk to the next disk that is up; where too few are, to one that is not said to be: that is hearsay,
    /// and may be a moment old. False where there is none.
    fn start_next(&mut self) -> bool {
        loop {
            let (disk, limit) = match self.order.next() {
                Some(disk) if self.client.is_up(disk) => (disk, self.timeout),
                Some(disk) => {
                    self.doubtful.push_back(disk);
                    continue;
                }
                None if self.acknowledged.lock().len() + self.calls.len() >= quorum(self.copies) => return false,
                None => match self.doubtful.pop_front() {
                    Some(disk) => (disk, self.timeout.min(DOUBTFUL_TIMEOUT)),
                    None => return false,
                },
            };
            let Some(service) = self.client.disk(disk) else { continue };
            let (id, pieces) = (self.id, self.pieces.clone());
            self.calls.push(Box::pin(async move {
                let mut attempt = 1;
                loop {
                    match timeout(limit, service.put(id, pieces.clone())).await {
                        Ok(Err(DiskError::Busy)) if attempt < BUSY_ATTEMPTS => sleep(BUSY_PAUSE * attempt).await,
                        Ok(answer) => return (disk, answer),
                        Err(_) => return (disk, Err(DiskError::Unavailable("no answer in time".into()))),
                    }
                    attempt += 1;
                }
            }));
            return true;
        }
    }

    fn note(&mut self, disk: DiskId, error: DiskError) {
        metrics::counter!("cairn_chunk_write_failures_total").increment(1);
        tracing::warn!(%disk, chunk = %self.id, %error, "a disk did not take a chunk");
        let weight = |error: &DiskError| match error {
            DiskError::Full => 3,
            DiskError::Busy => 2,
            _ => 1,
        };
        if self.worst.as_ref().is_none_or(|worst| weight(&error) > weight(worst)) {
            self.worst = Some(error);
        }
    }

    fn failure(&self) -> S3Error {
        match self.worst {
            Some(DiskError::Full) => Code::StorageFull.into(),
            Some(DiskError::Busy) => Code::SlowDown.into(),
            _ => Code::ServiceUnavailable.into(),
        }
    }
}

fn age_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Turns (acknowledged, homes) of each chunk into at most 32 named disks and bits for them. Chunks that lack a home
/// come first, so that all that needs repair can be told. Where even these do not fit, a home that cannot be named is
/// told as another that did not acknowledge, which queues the chunk all the same.
fn name_disks(chunks: &[(Vec<DiskId>, Vec<DiskId>)]) -> (Vec<DiskId>, Vec<u32>, Vec<u32>) {
    let lacks =
        |(acknowledged, homes): &&(Vec<DiskId>, Vec<DiskId>)| homes.iter().any(|home| !acknowledged.contains(home));
    let lacking = chunks.iter().filter(lacks);
    let complete = chunks.iter().filter(|chunk| !lacks(chunk));
    let mut seen = HashSet::new();
    let mut disks = Vec::new();
    for disk in lacking.chain(complete).flat_map(|(acknowledged, homes)| homes.iter().chain(acknowledged)) {
        if disks.len() == MAX_NAMED_DISKS {
            break;
        }
        if seen.insert(*disk) {
            disks.push(*disk);
        }
    }
    let bits = |of: &[DiskId]| {
        let named = disks.iter().enumerate().filter(|(_, disk)| of.contains(disk));
        named.fold(0u32, |bits, (place, _)| bits | 1 << place)
    };
    let all = if disks.len() == MAX_NAMED_DISKS { u32::MAX } else { (1 << disks.len()) - 1 };
    let told = chunks.iter().map(|chunk| {
        let (acknowledged, mut homes) = (bits(&chunk.0), bits(&chunk.1));
        if lacks(&chunk) && homes & !acknowledged == 0 {
            let others = all & !acknowledged;
            homes |= others & others.wrapping_neg();
        }
        (acknowledged, homes)
    });
    let (acknowledged, homes) = told.unzip();
    (disks, acknowledged, homes)
}

#[cfg(test)]
#[path = "write_test.rs"]
mod tests;
