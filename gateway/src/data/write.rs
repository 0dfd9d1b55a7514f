//! Chunks to disks. Only this file knows the quorum rule: a chunk may be relied on when two disks have fsynced it, or
//! one, where the cluster keeps one copy; what is missing after that follows in the background, within a budget.

use std::collections::{HashMap, HashSet, VecDeque};
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
use tokio::time::{sleep, timeout};

use super::{DataSettings, Place, Since};
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

/// How many disks touch at once.
const TOUCHES_AT_ONCE: usize = 32;

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
    began: Since,
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
        let began = Since::now();
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
        let chunks_age_ms = chunks.iter().map(|chunk| chunk.began.age_ms()).max().unwrap_or(0);
        Ok(NewBody::Chunks {
            id: ManifestId::random(),
            chunks: chunks.into_iter().map(|chunk| chunk.entry).collect(),
            disks,
            acknowledged,
            homes,
            oldest_touch_age_ms: chunks_age_ms,
        })
    }

    /// See `DataPath::retouch`. Asks the disks that are named and today's homes, and for chunks for which these do not
    /// suffice all others: a body of many disks does not name all of them.
    pub(super) async fn retouch(&self, group: GroupId, body: &mut NewBody) -> Result<(), S3Error> {
        let NewBody::Chunks { chunks, disks, acknowledged, homes, oldest_touch_age_ms, .. } = body else {
            return Ok(());
        };
        let began = Since::now();
        let map = self.client.map();
        let enough = quorum(map.copies()).max(1);
        let ids: Vec<ChunkId> = chunks.iter().map(|chunk| ChunkId { group, hash: chunk.hash }).collect();
        // What is touched already, and what is a home, of each chunk.
        let mut placed: Vec<(Vec<DiskId>, Vec<DiskId>)> = ids
            .iter()
            .map(|id| (Vec::new(), (self.place)(id, &map).into_iter().take(map.copies()).collect()))
            .collect();
        let mut likely: HashMap<DiskId, Vec<usize>> = HashMap::new();
        for (chunk, (_, homes)) in placed.iter().enumerate() {
            let bits = acknowledged.get(chunk).copied().unwrap_or(0);
            let named = disks.iter().take(MAX_NAMED_DISKS).enumerate().filter(|(place, _)| bits >> place & 1 == 1);
            let named: Vec<DiskId> = named.map(|(_, disk)| *disk).collect();
            let others = homes.iter().filter(|home| !named.contains(home));
            for disk in named.iter().chain(others) {
                likely.entry(*disk).or_default().push(chunk);
            }
        }
        self.touch_all(&likely, &ids, &mut placed).await;
        let lacking: Vec<usize> = (0..ids.len()).filter(|chunk| placed[*chunk].0.len() < enough).collect();
        let unasked = map.disks.iter().filter(|disk| disk.state != DiskState::Removed).filter_map(|disk| {
            let asked = likely.get(&disk.id).map(Vec::as_slice).unwrap_or_default();
            let chunks: Vec<usize> =
                lacking.iter().copied().filter(|chunk| asked.binary_search(chunk).is_err()).collect();
            (!chunks.is_empty()).then_some((disk.id, chunks))
        });
        let unasked: HashMap<DiskId, Vec<usize>> = unasked.collect();
        self.touch_all(&unasked, &ids, &mut placed).await;
        if placed.iter().any(|(touched, _)| touched.len() < enough) {
            tracing::warn!(%group, "chunks of a body were gone before it was committed");
            return Err(Code::ServiceUnavailable.into());
        }
        (*disks, *acknowledged, *homes) = name_disks(&placed);
        *oldest_touch_age_ms = began.age_ms();
        Ok(())
    }

    /// Touches the chunks of these places on each disk, and adds the disk to those that it has.
    async fn touch_all(
        &self,
        asked: &HashMap<DiskId, Vec<usize>>,
        ids: &[ChunkId],
        placed: &mut [(Vec<DiskId>, Vec<DiskId>)],
    ) {
        let touches = asked.iter().map(|(disk, chunks)| {
            let ids: Vec<ChunkId> = chunks.iter().map(|chunk| ids[*chunk]).collect();
            async move { (*disk, chunks, self.touch(*disk, ids).await) }
        });
        let touches: Vec<_> = touches.collect();
        let mut touches = futures::stream::iter(touches).buffer_unordered(TOUCHES_AT_ONCE);
        while let Some((disk, chunks, there)) = touches.next().await {
            for (chunk, _) in chunks.iter().zip(there).filter(|(_, there)| *there) {
                placed[*chunk].0.push(disk);
            }
        }
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
