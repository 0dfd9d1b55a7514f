//! The thread through which every change of the index goes, one after the other: it makes what the writer wrote
//! durable, with one fsync for all who wait, and decides puts, touches, condemnations and drops in a single order.
//! That order is why a drop cannot pass a touch: no locks, one thread.
//!
//! What has to be on the disk before an answer, and why that is enough, is in the module `chunk`.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::batch::Batch;
use super::error::ChunkError;
use super::file::SegmentFile;
use super::format::record_len;
use super::index::{Entry, Location};
use super::shared::Shared;
use super::writer::Put;
use crate::client::DiskError;
use crate::types::ChunkId;

/// The most operations that are decided together.
const BATCH: usize = 1024;

type Answer<T> = oneshot::Sender<Result<T, DiskError>>;

/// A change of the index.
pub enum Op {
    /// A record was written.
    Stored(Stored),
    /// Marks chunks as in use, and clears their condemnation; for each, whether it is there. With `at`, only a copy at
    /// this place counts.
    Touch { ids: Vec<ChunkId>, at: Option<Location>, answer: Answer<Vec<bool>> },
    /// Condemns chunks, from now on or from when they were before; for each, whether it is there.
    Condemn { ids: Vec<ChunkId>, answer: Answer<Vec<bool>> },
    /// Drops a chunk if it has stood condemned for that long; whether it did.
    Drop { id: ChunkId, grace_ms: u64, answer: Answer<bool> },
    /// Drops a copy that does not verify; whether it was still there.
    Discard { id: ChunkId, at: Location, answer: Answer<bool> },
    /// Take nothing more, and end.
    Stop,
}

/// A record that was written, and is neither durable nor in the index.
pub struct Stored {
    pub id: ChunkId,
    pub entry: Entry,
    /// The copy that it takes the place of, where that is still the one in the index.
    pub replaces: Option<Location>,
    pub file: Arc<dyn SegmentFile>,
    pub answer: Answer<Put>,
}

/// An answer that waits for the batch to be written.
enum Held {
    Put(Answer<Put>),
    Flag(Answer<bool>, bool),
    Flags(Answer<Vec<bool>>, Vec<bool>),
}

/// Runs until it is told to stop, or until nobody is left who could ask for anything.
pub fn run(shared: &Shared, mut ops: mpsc::Receiver<Op>) {
    let mut pending = Vec::with_capacity(BATCH);
    while ops.blocking_recv_many(&mut pending, BATCH) > 0 {
        let stop = pending.iter().position(|op| matches!(op, Op::Stop));
        pending.truncate(stop.unwrap_or(pending.len()));
        commit(shared, &mut pending);
        if stop.is_some() {
            return;
        }
    }
}

fn commit(shared: &Shared, pending: &mut Vec<Op>) {
    if shared.check().is_ok()
        && let Err(error) = sync_segments(shared, pending)
    {
        shared.fail("an fsync of a segment", &error);
    }
    if let Err(error) = shared.check() {
        pending.drain(..).for_each(|op| refuse(op, &error));
        return;
    }
    let mut batch = Batch::new(&shared.index, &shared.segments);
    let mut held = Vec::with_capacity(pending.len());
    let mut written = Written::default();
    let mut result = Ok(());
    for op in pending.drain(..) {
        // Where the index cannot be read, nothing of the batch is made.
        match decide(shared, &mut batch, &mut written, op) {
            Ok(answer) => held.push(answer),
            Err(error) => result = Err(error),
        }
    }
    let frees = batch.frees;
    if let Err(error) = result.and_then(|()| batch.write()) {
        shared.fail("the chunk index", &error);
        let error = DiskError::from(error);
        held.into_iter().for_each(|held| held.refuse(&error));
        return;
    }
    written.publish(shared);
    if frees {
        shared.bell.ring_reap();
    }
    held.into_iter().for_each(Held::give);
}

/// One fsync per segment, for all records that were written before it began.
fn sync_segments(shared: &Shared, pending: &[Op]) -> std::io::Result<()> {
    let mut last = None;
    let mut puts = 0u32;
    for op in pending.iter().rev() {
        let Op::Stored(stored) = op else { continue };
        puts += 1;
        // Records come in the order of their places, so those of one segment are next to each other.
        let segment = stored.entry.location.segment;
        if last != Some(segment) {
            last = Some(segment);
            let began = Instant::now();
            stored.file.sync()?;
            shared.metrics.fsyncs.increment(1);
            shared.metrics.fsync_seconds.record(began.elapsed());
        }
    }
    if puts > 0 {
        shared.metrics.fsync_batch.record(puts);
    }
    Ok(())
}

/// Decides one operation on what those before it left.
fn decide(shared: &Shared, batch: &mut Batch<'_>, written: &mut Written, op: Op) -> Result<Held, ChunkError> {
    match op {
        Op::Stored(stored) => {
            written.add(&stored);
            decide_stored(batch, stored.id, stored.entry, stored.replaces)?;
            Ok(Held::Put(stored.answer))
        }
        Op::Touch { ids, at, answer } => {
            let now = shared.now_ms();
            let touch = |id: ChunkId| match batch.look(&id)? {
                Some(entry) if at.is_none_or(|at| at == entry.location) => {
                    touch(batch, id, entry, now);
                    Ok(true)
                }
                _ => Ok(false),
            };
            Ok(Held::Flags(answer, ids.into_iter().map(touch).collect::<Result<_, ChunkError>>()?))
        }
        Op::Condemn { ids, answer } => {
            let now = shared.now_ms();
            let condemn = |id: ChunkId| {
                let Some(mut entry) = batch.look(&id)? else { return Ok(false) };
                if entry.condemned_ms.is_none() {
                    entry.condemned_ms = Some(now);
                    batch.update(id, entry);
                }
                Ok(true)
            };
            Ok(Held::Flags(answer, ids.into_iter().map(condemn).collect::<Result<_, ChunkError>>()?))
        }
        Op::Drop { id, grace_ms, answer } => {
            let now = shared.now_ms();
            let stood = |entry: &Entry| entry.condemned_ms.and_then(|since| now.checked_sub(since));
            let entry = batch.look(&id)?.filter(|entry| stood(entry).is_some_and(|stood| stood >= grace_ms));
            Ok(Held::Flag(answer, remove(batch, id, entry)))
        }
        Op::Discard { id, at, answer } => {
            let entry = batch.look(&id)?.filter(|entry| entry.location == at);
            let dropped = remove(batch, id, entry);
            if dropped {
                shared.metrics.corrupt.increment(1);
                tracing::warn!(disk = %shared.options.label, chunk = %id, ?at, "a corrupt copy was dropped");
            }
            Ok(Held::Flag(answer, dropped))
        }
        Op::Stop => Err(ChunkError::Unusable("a stop in the middle of a batch".into())),
    }
}

/// A record is durable: it becomes the chunk's, unless another put of the same chunk came first.
fn decide_stored(
    batch: &mut Batch<'_>,
    id: ChunkId,
    entry: Entry,
    replaces: Option<Location>,
) -> Result<(), ChunkError> {
    match batch.look(&id)? {
        Some(first) if Some(first.location) != replaces => {
            batch.free(&id, entry.location, entry.len);
            let later = first.touched_ms.max(entry.touched_ms);
            touch(batch, id, first, later);
        }
        before => batch.insert(id, before.as_ref(), entry),
    }
    Ok(())
}

/// Marks a chunk as in use. That it is not condemned has to be durable; the time of the touch has not. What was noted
/// before may be later, by a clock that was ahead.
fn touch(batch: &mut Batch<'_>, id: ChunkId, mut entry: Entry, now: u64) {
    batch.sync |= entry.condemned_ms.take().is_some();
    entry.touched_ms = now;
    batch.update(id, entry);
}

/// Drops a chunk. Durably, before its record is given back: an entry must never point to what was punched out.
fn remove(batch: &mut Batch<'_>, id: ChunkId, entry: Option<Entry>) -> bool {
    let Some(entry) = entry else { return false };
    batch.remove(id, &entry);
    batch.sync = true;
    true
}

/// What the records of a batch amount to, once they are in the index.
#[derive(Default)]
struct Written {
    segments: Vec<u64>,
    bytes: u64,
    end: Option<Location>,
}

impl Written {
    fn add(&mut self, stored: &Stored) {
        let Location { segment, offset } = stored.entry.location;
        self.segments.push(segment);
        self.bytes += u64::from(stored.entry.len);
        self.end = Some(Location { segment, offset: offset + record_len(stored.entry.len) });
    }

    fn publish(self, shared: &Shared) {
        if let Some(end) = self.end {
            // Records come in the order of their places: all before this one are in the index, or were given up.
            *shared.committed.lock() = end;
            shared.metrics.puts.increment(self.segments.len() as u64);
            shared.metrics.put_bytes.increment(self.bytes);
        }
        self.segments.into_iter().for_each(|segment| shared.segments.end(segment));
    }
}

// Whoever asked may have gone away; then nobody needs the answer.
impl Held {
    fn give(self) {
        match self {
            Held::Put(answer) => drop(answer.send(Ok(Put::Stored))),
            Held::Flag(answer, flag) => drop(answer.send(Ok(flag))),
            Held::Flags(answer, flags) => drop(answer.send(Ok(flags))),
        }
    }

    fn refuse(self, error: &DiskError) {
        match self {
            Held::Put(answer) => drop(answer.send(Err(error.clone()))),
            Held::Flag(answer, _) => drop(answer.send(Err(error.clone()))),
            Held::Flags(answer, _) => drop(answer.send(Err(error.clone()))),
        }
    }
}

fn refuse(op: Op, error: &DiskError) {
    match op {
        Op::Stored(stored) => drop(stored.answer.send(Err(error.clone()))),
        Op::Touch { answer, .. } | Op::Condemn { answer, .. } => drop(answer.send(Err(error.clone()))),
        Op::Drop { answer, .. } | Op::Discard { answer, .. } => drop(answer.send(Err(error.clone()))),
        Op::Stop => {}
    }
}
