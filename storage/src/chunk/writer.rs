//! The thread that appends records to the active segment. One is enough: writes to one file take turns in the kernel
//! anyway. It does not wait for the disk; the committer's fsync runs while it writes on.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::commit::{Op, Stored};
use super::file::SegmentFile;
use super::format::{FIRST_RECORD, PAGE, RecordHeader, SegmentHeader, checksums, record_len};
use super::index::{Entry, Location};
use super::keeper;
use super::shared::Shared;
use crate::client::DiskError;
use crate::types::ChunkId;

/// How far ahead room is allocated in the active segment, in bytes: the file system then finds it in one piece.
const ALLOCATE: u64 = 32 << 20;
static PADDING: [u8; PAGE as usize] = [0; PAGE as usize];

/// What the thread is asked to do.
pub enum Job {
    Put(PutJob),
    /// Take nothing more, and end.
    Stop,
}

/// A chunk to be appended, unless it is there.
pub struct PutJob {
    pub id: ChunkId,
    pub data: Vec<Bytes>,
    /// A copy that cannot be read and that this one takes the place of.
    pub replaces: Option<Location>,
    pub answer: oneshot::Sender<Result<Put, DiskError>>,
}

/// How a put went.
pub enum Put {
    /// It is durable and in the index.
    Stored,
    /// The chunk is there already; its copy is still to be verified. The bytes are handed back.
    Exists(Box<Entry>, Vec<Bytes>),
}

pub struct Writer {
    shared: Arc<Shared>,
    commits: mpsc::Sender<Op>,
    active: Option<Active>,
    next_segment: u64,
}

struct Active {
    number: u64,
    file: Arc<dyn SegmentFile>,
    salt: [u8; 32],
    /// Where the next record goes.
    offset: u64,
    allocated: u64,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, commits: mpsc::Sender<Op>, next_segment: u64) -> Self {
        Self { shared, commits, active: None, next_segment }
    }

    /// Runs until it is told to stop, or until nobody is left who could ask for anything.
    pub fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(Job::Put(job)) = jobs.blocking_recv() {
            self.put(job);
        }
        self.seal();
    }

    fn put(&mut self, job: PutJob) {
        if let Err(error) = self.shared.check() {
            // Whoever asked may have gone away; so everywhere below.
            let _ = job.answer.send(Err(error));
            return;
        }
        if job.replaces.is_none() {
            match self.shared.index.get(&job.id) {
                Ok(None) => {}
                Ok(Some(entry)) => {
                    let _ = job.answer.send(Ok(Put::Exists(Box::new(entry), job.data)));
                    return;
                }
                Err(error) => {
                    let _ = job.answer.send(Err(error.into()));
                    return;
                }
            }
        }
        match self.append(job.id, &job.data) {
            Ok((entry, file)) => {
                let stored = Stored { id: job.id, entry, replaces: job.replaces, file, answer: job.answer };
                if self.commits.blocking_send(Op::Stored(stored)).is_err() {
                    tracing::debug!("a chunk was written while the store closed");
                }
            }
            Err(error) => {
                if matches!(error, DiskError::Full) {
                    self.shared.metrics.full.increment(1);
                }
                let _ = job.answer.send(Err(error));
            }
        }
    }

    /// Writes the record; it is not durable yet.
    fn append(&mut self, id: ChunkId, data: &[Bytes]) -> Result<(Entry, Arc<dyn SegmentFile>), DiskError> {
        let len: usize = data.iter().map(Bytes::len).sum();
        let len = u32::try_from(len).map_err(|_| DiskError::Refused("the chunk is too long".into()))?;
        let size = record_len(len);
        if !self.shared.room.take(size) {
            return Err(DiskError::Full);
        }
        let shared = self.shared.clone();
        // A record that is longer than a whole segment should be gets a segment of its own.
        let most = shared.options.segment_len.max(FIRST_RECORD + size);
        if self.active.as_ref().is_some_and(|active| active.offset + size > most) {
            self.seal();
        }
        let active = match &mut self.active {
            Some(active) => active,
            none => {
                none.insert(begin(&shared, &mut self.next_segment).map_err(|e| lost(&shared, "a new segment", &e))?)
            }
        };
        let now = shared.now_ms();
        let header = RecordHeader { id, len, stored_ms: now, checksums: checksums(data) };
        let location = Location { segment: active.number, offset: active.offset };
        let head = header.encode(&active.salt, location.offset);
        let padding = size as usize - head.len() - len as usize;
        let mut pieces = Vec::with_capacity(data.len() + 2);
        pieces.push(IoSlice::new(&head));
        pieces.extend(data.iter().map(|piece| IoSlice::new(piece)));
        pieces.push(IoSlice::new(&PADDING[..padding]));

        active.offset += size;
        if active.offset > active.allocated {
            // Only for speed. Where it does not work, the write itself says what is wrong.
            let ahead = ALLOCATE.min(shared.options.segment_len).max(size);
            let _ = active.file.allocate(location.offset, ahead);
            active.allocated = location.offset + ahead;
        }
        shared.segments.begin(active.number);
        if let Err(error) = active.file.write_at(&mut pieces, location.offset) {
            shared.segments.end(active.number);
            // What was written of it will never be acknowledged. It is no harm where this fails too.
            if active.file.punch(location.offset, size).is_ok() {
                let _ = keeper::sync_holes(&shared, location.segment);
            }
            return Err(lost(&shared, "a write to a segment", &error));
        }
        let entry =
            Entry { location, len, stored_ms: now, touched_ms: now, condemned_ms: None, checksums: header.checksums };
        Ok((entry, active.file.clone()))
    }

    /// Ends the active segment, if there is one; the next record begins another.
    fn seal(&mut self) {
        let Some(active) = self.active.take() else { return };
        match active.file.truncate(active.offset) {
            // Nobody looks there again; what is wrong with it is noted there.
            Ok(()) => drop(keeper::sync_holes(&self.shared, active.number)),
            Err(error) => {
                tracing::warn!(segment = active.number, %error, "room allocated ahead was not given back");
            }
        }
    }
}

/// Makes a segment; it is on the disk, and its name too, before it is used. No number is ever tried twice.
fn begin(shared: &Shared, next: &mut u64) -> io::Result<Active> {
    let number = *next;
    *next += 1;
    let dir = shared.segments.dir();
    let file = dir.create(number)?;
    let header = SegmentHeader::new(number);
    let bytes = header.encode();
    let written = file.write_at(&mut [IoSlice::new(&bytes)], 0).and_then(|()| file.sync());
    if let Err(error) = written.and_then(|()| dir.sync()) {
        let _ = dir.remove(number);
        return Err(error);
    }
    shared.segments.activate(number, file.clone());
    Ok(Active { number, file, salt: header.salt, offset: FIRST_RECORD, allocated: FIRST_RECORD })
}

/// What a failed write means: a full file system is no failure of the disk, all else is.
fn lost(shared: &Shared, what: &str, error: &io::Error) -> DiskError {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        shared.room.exhausted();
        return DiskError::Full;
    }
    shared.fail(what, error);
    DiskError::Unavailable(format!("{what}: {error}"))
}
