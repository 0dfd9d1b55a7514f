//! The calls of a chunk store. They may come from the runtime's workers: what blocks goes to threads of its own.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::Options;
use super::commit::{self, Op};
use super::copies::{Copies, Copy};
use super::error::ChunkError;
use super::index::{Entry, Index, Location};
use super::keeper;
use super::read::Verified;
use super::recover::{Home, recover};
use super::shared::Shared;
use super::writer::{Job, Put, PutJob, Writer};
use crate::client::{DiskError, DiskService};
use crate::types::{ChunkId, MAX_CHUNK_LEN, MAX_CHUNKS_PER_BODY, UnixMillis};

/// How many puts, and how many changes of the index, wait at most; more are answered `Busy`.
const QUEUE: usize = 4096;
/// How many reads wait or run at most; more are answered `Busy`.
const READS: usize = 4096;
/// How often a call begins again because the chunk was dropped or replaced while it looked.
const ROUNDS: usize = 4;

/// What a store knows of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkInfo {
    /// The chunk's length, in bytes.
    pub len: u32,
    /// When its record was written, by this disk's clock.
    pub stored_ms: UnixMillis,
    /// When it was last put or touched, by this disk's clock.
    pub touched_ms: UnixMillis,
    /// Since when it has stood condemned, by this disk's clock.
    pub condemned_ms: Option<UnixMillis>,
}

/// How full a disk is. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The size of its file system.
    pub capacity: u64,
    /// What may still be written on it, the reserve included and the ballast not; less than a second old.
    pub free: u64,
    /// How many chunks it holds.
    pub chunks: u64,
    /// Their bytes, without headers and padding.
    pub bytes: u64,
}

/// The chunks of one disk.
///
/// A put is trusted to have the bytes of its id: whoever takes it from the network checks them first, with
/// [`hashes_to`]; a gateway in the same process has just computed the id.
pub struct ChunkStore {
    pub(super) shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    ops: mpsc::Sender<Op>,
    /// Reads that run.
    readers: Arc<Semaphore>,
    /// Reads that wait or run.
    reads: Arc<Semaphore>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: JoinHandle<()>,
    committer: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

impl ChunkStore {
    /// Opens the chunk store of the disk at `dir`, or makes one. Blocking: reads and verifies what was written since
    /// the last checkpoint, two seconds' worth after a crash. The metrics' recorder must be installed before.
    ///
    /// Fails, and changes nothing, where the store has a newer format, is no chunk store, or is in use.
    pub fn open(dir: &Path, options: Options) -> Result<Arc<Self>, ChunkError> {
        let home = Home::take(dir)?;
        let segments = home.segments(&options);
        let index = Index::open(&home.index(), &options)?;
        let (report, next) = recover(&index, &segments, &options)?;
        tracing::info!(disk = %options.label, ?report, "the chunk store is open");
        let committed = Location { segment: next, offset: 0 };
        let readers = Arc::new(Semaphore::new(options.readers));
        let shared = Arc::new(Shared::new(index, segments, options, committed, home.lock));
        keeper::look(&shared);

        let (jobs, job_queue) = mpsc::channel(QUEUE);
        let (ops, op_queue) = mpsc::channel(QUEUE);
        let writer = Writer::new(shared.clone(), ops.clone(), next);
        let (for_commit, for_keeper) = (shared.clone(), shared.clone());
        let threads = Threads {
            writer: spawn("chunk-write", move || writer.run(job_queue))?,
            committer: spawn("chunk-commit", move || commit::run(&for_commit, op_queue))?,
            keeper: spawn("chunk-keep", move || keeper::run(&for_keeper))?,
        };
        let (reads, threads) = (Arc::new(Semaphore::new(READS)), Mutex::new(Some(threads)));
        Ok(Arc::new(Self { shared, jobs, ops, readers, reads, threads }))
    }

    /// Stores a chunk, at most 8 MiB, whose bytes are `data` end to end; returns when it is durable. A chunk that is
    /// there already is verified and touched instead, and its condemnation is cleared. Goes on to the end even if the
    /// future is dropped.
    pub async fn put(&self, id: ChunkId, mut data: Vec<Bytes>) -> Result<(), DiskError> {
        let len: usize = data.iter().map(Bytes::len).sum();
        if len > MAX_CHUNK_LEN {
            return Err(DiskError::Refused("a chunk is at most 8 MiB".into()));
        }
        let mut replaces = None;
        for _ in 0..ROUNDS {
            let entry = match self.append(id, data, replaces).await? {
                Put::Stored => return Ok(()),
                Put::Exists(entry, back) => {
                    data = back;
                    entry
                }
            };
            if entry.len as usize != len {
                return Err(DiskError::Refused("the chunk is there with another length".into()));
            }
            match self.blocking(move |copies| copies.check(&id, &entry)).await? {
                Copy::Good(at) if self.touch_at(vec![id], Some(at)).await? == [true] => return Ok(()),
                Copy::Good(_) | Copy::Gone => replaces = None,
                Copy::Unreadable(at) => replaces = Some(at),
            }
        }
        Err(DiskError::Busy)
    }

    async fn append(&self, id: ChunkId, data: Vec<Bytes>, replaces: Option<Location>) -> Result<Put, DiskError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(Job::Put(PutJob { id, data, replaces, answer })).map_err(refused)?;
        answered.await.map_err(|_| closed())?
    }

    /// Reads and verifies a range of a chunk's bytes, in pieces of up to 256 KiB.
    pub async fn get(&self, id: ChunkId, range: Range<u32>) -> Result<Vec<Bytes>, DiskError> {
        let pieces = self.blocking(move |copies| copies.read(&id, range)).await?;
        self.shared.metrics.gets.increment(1);
        self.shared.metrics.get_bytes.increment(pieces.iter().map(|piece| piece.len() as u64).sum());
        Ok(pieces)
    }

    /// Marks chunks as in use now, and clears their condemnation, durably. For each, whether it is there. At most as
    /// many as one body can have.
    pub async fn touch(&self, ids: Vec<ChunkId>) -> Result<Vec<bool>, DiskError> {
        self.touch_at(ids, None).await
    }

    async fn touch_at(&self, ids: Vec<ChunkId>, at: Option<Location>) -> Result<Vec<bool>, DiskError> {
        bounded(&ids)?;
        self.change(|answer| Op::Touch { ids, at, answer }).await
    }

    /// Condemns chunks, from now on; those that are condemned stay so from when they were. For each, whether it is
    /// there. A crash may lose it.
    pub async fn condemn(&self, ids: Vec<ChunkId>) -> Result<Vec<bool>, DiskError> {
        bounded(&ids)?;
        self.change(|answer| Op::Condemn { ids, answer }).await
    }

    /// Drops a chunk, durably, if it has stood condemned for at least `grace_ms` by this disk's clock; whether it did.
    /// A touch or a put comes either before it, and keeps the chunk, or after it, and does not find it. Many calls at
    /// once share an fsync. The room is given back soon after.
    pub async fn drop_condemned(&self, id: ChunkId, grace_ms: u64) -> Result<bool, DiskError> {
        self.change(|answer| Op::Drop { id, grace_ms, answer }).await
    }

    async fn change<T>(&self, op: impl FnOnce(oneshot::Sender<Result<T, DiskError>>) -> Op) -> Result<T, DiskError> {
        let (answer, answered) = oneshot::channel();
        self.ops.try_send(op(answer)).map_err(refused)?;
        answered.await.map_err(|_| closed())?
    }

    /// What is known of a chunk; does not read it. Blocking, for microseconds where the index is cached.
    pub fn stat(&self, id: &ChunkId) -> Result<Option<ChunkInfo>, DiskError> {
        Ok(self.shared.index.get(id)?.map(ChunkInfo::from))
    }

    /// Up to `limit` chunks in the order of their ids, from the one after `after`. Blocking.
    pub fn list(&self, after: Option<ChunkId>, limit: usize) -> Result<Vec<(ChunkId, ChunkInfo)>, DiskError> {
        let found = self.shared.index.list(after.as_ref(), limit)?;
        Ok(found.into_iter().map(|(id, entry)| (id, entry.into())).collect())
    }

    /// Reads all of a chunk, and verifies its blocks and that it hashes to its id; `Corrupt` where it does not, and the
    /// copy is dropped. A record whose header alone is damaged is written anew.
    pub async fn verify(&self, id: ChunkId) -> Result<(), DiskError> {
        let (at, verified) = self.blocking(move |copies| copies.verify(&id)).await?;
        match verified {
            Verified::Whole => Ok(()),
            Verified::HeaderLost(data) => {
                tracing::warn!(disk = %self.shared.options.label, chunk = %id, "a record's header is damaged");
                self.append(id, data, Some(at)).await.map(drop)
            }
        }
    }

    pub fn usage(&self) -> Usage {
        let (space, total) = (self.shared.room.now(), self.shared.segments.total());
        Usage { capacity: space.capacity, free: space.free, chunks: total.chunks, bytes: total.bytes }
    }

    /// Whether the disk has failed: it takes no more writes until the process is started anew.
    pub fn failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// Why it has.
    pub fn failure(&self) -> Option<&str> {
        self.shared.failure()
    }

    /// Finishes what was begun, makes the index durable, and ends the store's threads. Every later change is answered
    /// `Unavailable`.
    pub async fn close(&self) -> Result<(), ChunkError> {
        self.stop().await;
        let shared = self.shared.clone();
        let flush = move || {
            if shared.has_failed() {
                return Ok(());
            }
            keeper::note_checkpoint(&shared, &mut Location::default())?;
            shared.index.flush()
        };
        let flushed = tokio::task::spawn_blocking(flush).await;
        flushed.unwrap_or_else(|error| Err(ChunkError::Unusable(error.to_string())))
    }

    /// Ends the threads, the writer first: what it has begun is still committed.
    pub(super) async fn stop(&self) {
        let Some(threads) = self.threads.lock().take() else { return };
        let (jobs, ops, shared) = (self.jobs.clone(), self.ops.clone(), self.shared.clone());
        let stop = move || {
            // A send fails where the thread is gone already; then there is nothing left to stop.
            let _ = jobs.blocking_send(Job::Stop);
            let wrote = threads.writer.join();
            let _ = ops.blocking_send(Op::Stop);
            let committed = threads.committer.join();
            shared.bell.ring_stop();
            let kept = threads.keeper.join();
            if wrote.is_err() || committed.is_err() || kept.is_err() {
                shared.fail("stopping", &"a thread of the chunk store panicked");
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(stop).await {
            tracing::warn!(%error, "the chunk store's threads did not end well");
        }
    }

    /// Runs what reads the disk on a thread where it may block, a bounded number at once.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Copies) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let place = self.reads.clone().try_acquire_owned().map_err(|_| DiskError::Busy)?;
        let turn = self.readers.clone().acquire_owned().await.map_err(|_| closed())?;
        let copies = Copies { shared: self.shared.clone(), ops: self.ops.clone() };
        let work = move || {
            // They are held for as long as the thread is, even if nobody waits for it any more.
            let _held = (place, turn);
            work(copies)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(DiskError::Unavailable(error.to_string())))
    }
}

impl Drop for ChunkStore {
    /// The writer and the committer end with their queues, once these are empty; the keeper has to be told.
    fn drop(&mut self) {
        self.shared.bell.ring_stop();
    }
}

impl DiskService for ChunkStore {
    fn put(&self, id: ChunkId, data: Vec<Bytes>) -> BoxFuture<'_, Result<(), DiskError>> {
        self.put(id, data).boxed()
    }

    fn get(&self, id: ChunkId, range: Range<u32>) -> BoxFuture<'_, Result<Vec<Bytes>, DiskError>> {
        self.get(id, range).boxed()
    }

    fn touch(&self, ids: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<bool>, DiskError>> {
        self.touch(ids).boxed()
    }
}

impl From<Entry> for ChunkInfo {
    fn from(entry: Entry) -> Self {
        let Entry { len, stored_ms, touched_ms, condemned_ms, .. } = entry;
        Self { len, stored_ms, touched_ms, condemned_ms }
    }
}

/// Whether the bytes, end to end, are those of the chunk. For 8 MiB it takes milliseconds of a processor.
pub fn hashes_to(id: &ChunkId, data: &[Bytes]) -> bool {
    let mut hasher = blake3::Hasher::new();
    for piece in data {
        hasher.update(piece);
    }
    *hasher.finalize().as_bytes() == id.hash
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ChunkError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(ChunkError::io("starting a thread"))
}

fn bounded(ids: &[ChunkId]) -> Result<(), DiskError> {
    if ids.len() > MAX_CHUNKS_PER_BODY {
        return Err(DiskError::Refused("too many chunks at once".into()));
    }
    Ok(())
}

fn refused<T>(error: TrySendError<T>) -> DiskError {
    match error {
        TrySendError::Full(_) => DiskError::Busy,
        TrySendError::Closed(_) => closed(),
    }
}

fn closed() -> DiskError {
    DiskError::Unavailable("the chunk store is closed".into())
}
