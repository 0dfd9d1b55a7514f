//! Bytes out: which replica is asked for which bytes, how far ahead, and what happens when one does not answer.
//!
//! Every range was verified by the disk that gave it; this file trusts lengths to nobody.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cairn_storage::client::{Client, DiskError};
use cairn_storage::meta::record::ChunkSpan;
use cairn_storage::meta::{Answer, Query};
use cairn_storage::types::{ChunkId, DiskId, DiskState, GroupId, ManifestId};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, Stream, StreamExt};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::notes::Notes;
use super::room::{Permit, Room, UNIT, counted};
use super::{DataSettings, Place, ReadError, ReadPlan};

/// How many ranges of one body are read ahead, however short they are.
const MAX_AHEAD: usize = 16;

/// How many chunks are asked of the group at once.
const PAGE: u32 = 1_024;

/// For so long a disk that was slow is asked only after the others.
const SLOW: Duration = Duration::from_secs(10);

/// How many reads may ask a second disk at once because the first is slow: where all disks are, asking twice makes it
/// worse.
const MAX_HEDGED: usize = 16;

/// How often a disk that is busy is asked for one range, and the pause before the second time.
const BUSY_ATTEMPTS: u32 = 4;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A disk, how often it was asked for this range, and its last answer.
type Asked = (DiskId, u32, Result<Vec<Bytes>, DiskError>);

/// Reads chunks from disks.
pub(super) struct Reader {
    client: Client,
    place: Place,
    settings: DataSettings,
    notes: Notes,
    room: Arc<Room>,
    slow: Mutex<HashMap<DiskId, Instant>>,
    hedges: Semaphore,
}

impl Reader {
    pub(super) fn new(client: Client, place: Place, settings: DataSettings, room: Arc<Room>) -> Self {
        let (notes, hedges) = (Notes::new(client.clone()), Semaphore::new(MAX_HEDGED));
        Self { client, place, settings, notes, room, slow: Mutex::default(), hedges }
    }

    /// A range of a chunk, from the first replica that gives it: one after another as they fail, and one more whenever
    /// the others are slow.
    async fn fetch(&self, id: ChunkId, range: Range<u32>) -> Result<Vec<Bytes>, ReadError> {
        let (homes, mut candidates) = self.candidates(&id);
        let mut calls: FuturesUnordered<BoxFuture<'_, Asked>> = FuturesUnordered::new();
        let mut asked = Vec::new();
        let mut hedges = Vec::new();
        let mut is_bad = false;
        let mut may_come_back = false;
        loop {
            if calls.is_empty() {
                let Some((disk, attempt)) = candidates.pop_front() else { break };
                asked.push(disk);
                calls.push(Box::pin(self.ask(disk, attempt, id, range.clone())));
            }
            let hedge = async {
                sleep(self.settings.hedge_after).await;
                self.hedges.acquire().await
            };
            let answer = tokio::select! {
                biased;
                answer = calls.next() => answer,
                permit = hedge, if !candidates.is_empty() => {
                    hedges.extend(permit);
                    None
                }
            };
            let Some((disk, attempt, answer)) = answer else {
                metrics::counter!("cairn_reads_hedged_total").increment(1);
                self.mark_slow(&asked);
                if let Some((disk, attempt)) = candidates.pop_front() {
                    asked.push(disk);
                    calls.push(Box::pin(self.ask(disk, attempt, id, range.clone())));
                }
                continue;
            };
            match answer {
                Ok(pieces) => {
                    if is_bad {
                        self.notes.bad(id, vec![disk]);
                    }
                    return Ok(pieces);
                }
                Err(DiskError::Busy) if attempt < BUSY_ATTEMPTS => candidates.push_back((disk, attempt + 1)),
                Err(error) => {
                    metrics::counter!("cairn_read_failovers_total").increment(1);
                    tracing::debug!(%disk, chunk = %id, %error, "a replica did not give a chunk");
                    match error {
                        DiskError::Corrupt => is_bad = true,
                        // Where it is no home of the chunk nobody said that it had it.
                        DiskError::NotFound => is_bad |= homes.contains(&disk),
                        DiskError::Full | DiskError::Busy | DiskError::Unavailable(_) | DiskError::Refused(_) => {
                            may_come_back = true;
                        }
                    }
                }
            }
        }
        if is_bad {
            self.notes.bad(id, Vec::new());
        }
        tracing::error!(chunk = %id, may_come_back, "no replica gave a chunk");
        Err(if may_come_back { ReadError::Unavailable } else { ReadError::Lost })
    }

    /// The chunk's homes, and all disks that may have it in the order in which to ask them: as placement has them,
    /// then those that take no chunks any more; of these first the ones that are up and were not slow lately.
    fn candidates(&self, id: &ChunkId) -> (Vec<DiskId>, VecDeque<(DiskId, u32)>) {
        let map = self.client.map();
        let mut order = (self.place)(id, &map);
        let homes = order.iter().take(map.copies()).copied().collect();
        for disk in &map.disks {
            if disk.state != DiskState::Removed && !order.contains(&disk.id) {
                order.push(disk.id);
            }
        }
        let slow = self.slow.lock();
        order.sort_by_cached_key(|disk| {
            let is_slow = !slow.is_empty() && slow.get(disk).is_some_and(|since| since.elapsed() < SLOW);
            (!self.client.is_up(*disk), is_slow)
        });
        (homes, order.into_iter().map(|disk| (disk, 1)).collect())
    }

    async fn ask(&self, disk: DiskId, attempt: u32, id: ChunkId, range: Range<u32>) -> Asked {
        if attempt > 1 {
            sleep(BUSY_PAUSE * (attempt - 1)).await;
        }
        let Some(service) = self.client.disk(disk) else {
            return (disk, attempt, Err(DiskError::Unavailable("not in the map".into())));
        };
        let answer = match timeout(self.settings.disk_timeout, service.get(id, range.clone())).await {
            Ok(Ok(pieces)) if pieces.iter().map(Bytes::len).sum::<usize>() != range.len() => {
                Err(DiskError::Refused("it answered with another length".into()))
            }
            Ok(answer) => answer,
            Err(_) => Err(DiskError::Unavailable("no answer in time".into())),
        };
        (disk, attempt, answer)
    }

    fn mark_slow(&self, disks: &[DiskId]) {
        let mut slow = self.slow.lock();
        slow.retain(|_, since| since.elapsed() < SLOW);
        slow.extend(disks.iter().map(|disk| (*disk, Instant::now())));
    }
}

/// One body on its way out.
pub(super) struct Run {
    reader: Arc<Reader>,
    group: GroupId,
    manifest: ManifestId,
    /// Chunks that are known, from the one with the byte `next` on.
    spans: VecDeque<ChunkSpan>,
    /// Offset of the first byte that was not asked for yet.
    next: u64,
    /// Offset after the last byte.
    end: u64,
    ahead: VecDeque<Flight>,
    ahead_bytes: usize,
    ready: VecDeque<Bytes>,
    kind: Kind,
}

/// Who takes the bytes, and so how they are counted.
enum Kind {
    /// A client. Each range waits for room of its own, which comes back when the socket has taken its last byte.
    Answer,
    /// A copy, which waits for room among the uploads while it holds what it has read. The room for a range is its own
    /// from before its first byte to its end: it must not wait for any while it holds what an upload waits for.
    Copy(Option<Permit>),
}

/// A range that was asked for.
struct Flight {
    bytes: usize,
    answer: BoxFuture<'static, Result<Vec<Bytes>, ReadError>>,
    /// `None` where it is in the standing room of a copy.
    permit: Option<Permit>,
}

impl Run {
    /// For a client.
    pub(super) fn answer(reader: Arc<Reader>, group: GroupId, plan: ReadPlan) -> Self {
        Self::new(reader, group, plan, Kind::Answer)
    }

    /// For a copy.
    pub(super) fn copy(reader: Arc<Reader>, group: GroupId, plan: ReadPlan) -> Self {
        Self::new(reader, group, plan, Kind::Copy(None))
    }

    fn new(reader: Arc<Reader>, group: GroupId, plan: ReadPlan, kind: Kind) -> Self {
        let end = if plan.first > plan.last { plan.first } else { plan.last.saturating_add(1) };
        Self {
            reader,
            group,
            manifest: plan.manifest,
            spans: plan.spans.into(),
            next: plan.first,
            end,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            ready: VecDeque::new(),
            kind,
        }
    }

    /// How many bytes there are to come, before the first of them was taken.
    pub(super) fn len(&self) -> u64 {
        self.end - self.next
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            self.look_ahead().await?;
            let Some(flight) = self.ahead.pop_front() else { return Ok(None) };
            self.ahead_bytes -= flight.bytes;
            let pieces = flight.answer.await?;
            self.ready = match flight.permit {
                Some(permit) => counted(pieces, permit).into(),
                None => pieces.into(),
            };
        }
    }

    /// Asks for what comes next: always for the next range, once there is room for it, and for more as far as the bounds
    /// allow.
    async fn look_ahead(&mut self) -> Result<(), ReadError> {
        let (limit, timeout) = (self.reader.settings.read_ahead_bytes, self.reader.settings.disk_timeout);
        while self.next < self.end && self.ahead.len() < MAX_AHEAD {
            let (id, range, permit) = if self.ahead.is_empty() {
                let (step, mut permit) = self.room().await?;
                let (id, range) = self.unit(step, timeout).await?;
                if let Some(permit) = &mut permit {
                    // The end of the chunk may have come first.
                    drop(permit.split(permit.num_permits().saturating_sub(range.len())));
                }
                (id, range, permit)
            } else {
                let (id, range) = self.unit(UNIT, timeout).await?;
                if self.ahead_bytes + range.len() > limit {
                    break;
                }
                let Some(permit) = self.reader.room.try_ahead(range.end - range.start) else { break };
                (id, range, Some(permit))
            };
            let bytes = range.len();
            self.next += bytes as u64;
            self.ahead_bytes += bytes;
            let reader = self.reader.clone();
            let fetch = async move { reader.fetch(id, range).await };
            let answer: BoxFuture<'static, _> = if self.ahead.is_empty() && self.next == self.end {
                // Nothing comes after it and nothing is before it: it is awaited right now.
                Box::pin(fetch)
            } else {
                let task = AbortOnDropHandle::new(tokio::spawn(fetch));
                Box::pin(async move {
                    task.await.unwrap_or_else(|error| {
                        tracing::error!(%error, "a read did not come back");
                        Err(ReadError::Unavailable)
                    })
                })
            };
            self.ahead.push_back(Flight { bytes, answer, permit });
        }
        Ok(())
    }

    /// How long the next range may be, in bytes, and the room for it where it is not a copy's standing one.
    async fn room(&mut self) -> Result<(u64, Option<Permit>), ReadError> {
        let (room, patience) = (&self.reader.room, self.reader.settings.pool_wait);
        match &mut self.kind {
            Kind::Answer => {
                let (step, permit) = room.next(self.end - self.next, patience).await.ok_or(ReadError::Busy)?;
                Ok((step, Some(permit)))
            }
            Kind::Copy(Some(_)) => Ok((UNIT, None)),
            Kind::Copy(standing) => {
                *standing = Some(room.standing(patience).await.ok_or(ReadError::Busy)?);
                Ok((UNIT, None))
            }
        }
    }

    /// The next range to ask for, within one chunk, up to a multiple of `step`.
    async fn unit(&mut self, step: u64, limit: Duration) -> Result<(ChunkId, Range<u32>), ReadError> {
        loop {
            match self.spans.front() {
                Some(span) if span.offset + u64::from(span.len) <= self.next => {
                    self.spans.pop_front();
                }
                Some(span) if span.offset <= self.next => {
                    let from = self.next - span.offset;
                    let to = (from / step + 1) * step;
                    let to = to.min(u64::from(span.len)).min(self.end - span.offset);
                    let narrow = |at: u64| u32::try_from(at).map_err(|_| ReadError::Manifest);
                    return Ok((ChunkId { group: self.group, hash: span.hash }, narrow(from)?..narrow(to)?));
                }
                Some(_) => return Err(ReadError::Manifest),
                None => {
                    let query = Query::Chunks { manifest: self.manifest, offset: self.next, limit: PAGE };
                    let answer = timeout(limit, self.reader.client.query(self.group, query)).await;
                    match answer {
                        Ok(Ok(Answer::Chunks(spans))) => {
                            let reaches = |span: &ChunkSpan| span.offset + u64::from(span.len) > self.next;
                            if !spans.last().is_some_and(reaches) {
                                return Err(ReadError::Manifest);
                            }
                            self.spans = spans.into();
                        }
                        Ok(Ok(_)) => return Err(ReadError::Manifest),
                        Ok(Err(_)) | Err(_) => return Err(ReadError::Unavailable),
                    }
                }
            }
        }
    }

    /// As a stream that ends after an error.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static {
        futures::stream::unfold(Some(self), |run| async {
            let mut run = run?;
            match run.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(run))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// As the body of an answer, when its first bytes are there.
    pub(super) async fn into_body(mut self) -> Result<axum::body::Body, ReadError> {
        let left = self.len();
        let first = self.next().await?;
        let pieces = futures::stream::iter(first.map(Ok)).chain(self.into_stream()).boxed();
        Ok(axum::body::Body::new(Outgoing { pieces, left }))
    }
}

/// A body that knows its length. An error in it makes hyper close the connection, so that the client sees that the
/// answer is not whole.
struct Outgoing {
    pieces: BoxStream<'static, Result<Bytes, ReadError>>,
    left: u64,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        self.pieces.poll_next_unpin(context).map_ok(|piece| {
            self.left = self.left.saturating_sub(piece.len() as u64);
            metrics::counter!("cairn_sent_bytes_total").increment(piece.len() as u64);
            Frame::data(piece)
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
#[path = "read_test.rs"]
mod tests;
