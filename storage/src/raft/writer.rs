//! The one writer of a disk's logs and votes. A thread gathers what all replicas of the disk want written, writes it as
//! one batch, fsyncs once, and tells each that it is done: the more there is to write, the less an fsync costs each.
//!
//! An fsync that failed is never tried again: the kernel may have dropped the pages. The disk has then failed for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;
use std::{io, mem};

use parking_lot::{Condvar, Mutex};
use rocksdb::{DB, WriteBatch};
use tokio::sync::{Notify, watch};

use super::disk_db::writer_families;
use crate::types::DiskId;

/// A change of a record or of a log.
pub(super) enum Change {
    PutEntry {
        key: [u8; 20],
        value: Vec<u8>,
    },
    /// From the first key on, up to the second and without it.
    DeleteEntries {
        from: [u8; 20],
        to: [u8; 20],
    },
    PutState {
        key: [u8; 13],
        value: Vec<u8>,
    },
    DeleteState {
        key: [u8; 13],
    },
}

/// Called once, on the writer's thread, with what came of it. Must not block.
type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

struct Request {
    changes: Vec<Change>,
    sync: bool,
    bytes: usize,
    done: Done,
}

/// While so many bytes wait or are being written, replicas wait with more: a disk that hangs must not fill the memory.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Past so many bytes a batch is written before more is taken into it.
const BATCH_BYTES: usize = 16 << 20;

#[derive(Default)]
struct Queue {
    requests: Vec<Request>,
    /// Of the requests that wait or are being written.
    bytes: usize,
    stopping: bool,
}

/// Counts of what a writer did, since it was started.
#[derive(Debug, Default)]
pub struct WriterStatistics {
    /// Requests: appends, votes, truncations, purges.
    pub requests: AtomicU64,
    /// Batches that were fsynced.
    pub syncs: AtomicU64,
}

pub(super) struct Writer {
    disk: DiskId,
    queue: Mutex<Queue>,
    arrived: Condvar,
    written: Notify,
    thread: Mutex<Option<JoinHandle<()>>>,
    failure: watch::Sender<Option<Arc<str>>>,
    synced_sequence: AtomicU64,
    statistics: WriterStatistics,
    #[cfg(test)]
    break_next: std::sync::atomic::AtomicBool,
    #[cfg(test)]
    hang: std::sync::atomic::AtomicBool,
}

/// Where the thread panics the disk has failed, and nothing is taken into the queue any more.
struct PanicGuard<'a>(&'a Writer);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        self.0.fail("its writer panicked");
        let abandoned = {
            let mut queue = self.0.queue.lock();
            queue.stopping = true;
            mem::take(&mut queue.requests)
        };
        drop(abandoned);
    }
}

impl Writer {
    pub(super) fn start(disk: DiskId, db: Arc<DB>) -> io::Result<Arc<Self>> {
        let writer = Arc::new(Self {
            disk,
            queue: Mutex::default(),
            arrived: Condvar::new(),
            written: Notify::new(),
            thread: Mutex::default(),
            failure: watch::Sender::new(None),
            synced_sequence: AtomicU64::new(0),
            statistics: WriterStatistics::default(),
            #[cfg(test)]
            break_next: Default::default(),
            #[cfg(test)]
            hang: Default::default(),
        });
        let runner = writer.clone();
        let thread = std::thread::Builder::new().name("meta-writer".to_owned()).spawn(move || {
            let guard = PanicGuard(&runner);
            runner.run(&db);
            mem::forget(guard);
        })?;
        *writer.thread.lock() = Some(thread);
        Ok(writer)
    }

    /// Waits until there is room for more. Whoever submits much waits for it first.
    pub(super) async fn room(&self) {
        loop {
            let written = self.written.notified();
            if self.queue.lock().bytes < MAX_QUEUED_BYTES {
                return;
            }
            written.await;
        }
    }

    /// Queues changes, in order with all that were queued before. With `sync` they are fsynced before `done` is called.
    pub(super) fn submit(&self, changes: Vec<Change>, sync: bool, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        let bytes = changes
            .iter()
            .map(|change| match change {
                Change::PutEntry { value, .. } => value.len() + 32,
                _ => 64,
            })
            .sum();
        let mut queue = self.queue.lock();
        if queue.stopping {
            drop(queue);
            done(Err(io::Error::other("the disk's metadata is closed")));
            return;
        }
        queue.bytes += bytes;
        queue.requests.push(Request { changes, sync, bytes, done: Box::new(done) });
        if queue.requests.len() == 1 {
            self.arrived.notify_one();
        }
    }

    /// As [`Writer::submit`], at once; the future that it returns waits until it is done.
    pub(super) fn write(
        &self,
        changes: Vec<Change>,
        sync: bool,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let (tx, rx) = tokio::sync::oneshot::channel();
        self.submit(changes, sync, move |result| {
            // Whoever waited may have gone.
            let _ = tx.send(result);
        });
        async move { rx.await.unwrap_or_else(|_| Err(io::Error::other("the disk's metadata is closed"))) }
    }

    pub(super) fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.failure.subscribe()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    pub(super) fn statistics(&self) -> &WriterStatistics {
        &self.statistics
    }

    /// The database's sequence number up to which it is fsynced, as far as this writer did it.
    pub(super) fn synced_sequence(&self) -> u64 {
        self.synced_sequence.load(Ordering::Relaxed)
    }

    pub(super) fn fail(&self, why: &str) {
        let first = self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| why.into());
            first
        });
        if first {
            tracing::error!(disk = %self.disk, why, "the disk's metadata has failed");
            metrics::counter!("cairn_meta_disk_failures_total").increment(1);
        }
    }

    /// Writes what waits and ends the thread.
    pub(super) fn stop(&self) {
        self.queue.lock().stopping = true;
        self.arrived.notify_one();
        let thread = self.thread.lock().take();
        // The last owner may be a callback, on the thread itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!(disk = %self.disk, "the writer of the disk's metadata panicked");
        }
    }

    /// Makes the next write fail as a broken disk would.
    #[cfg(test)]
    pub(super) fn break_next(&self) {
        self.break_next.store(true, Ordering::SeqCst);
    }

    /// Makes writes wait, as on a disk that does not answer, until it is called with `false`.
    #[cfg(test)]
    pub(super) fn hang(&self, hang: bool) {
        self.hang.store(hang, Ordering::SeqCst);
    }

    fn run(&self, db: &DB) {
        loop {
            let (requests, stopping) = {
                let mut queue = self.queue.lock();
                while queue.requests.is_empty() && !queue.stopping {
                    self.arrived.wait(&mut queue);
                }
                (mem::take(&mut queue.requests), queue.stopping)
            };
            if requests.is_empty() && stopping {
                return;
            }
            self.write_all(db, requests);
        }
    }

    /// Writes the requests in as few batches as the bound allows.
    fn write_all(&self, db: &DB, requests: Vec<Request>) {
        let mut batch = Vec::with_capacity(requests.len());
        let mut bytes = 0;
        for request in requests {
            bytes += request.bytes;
            batch.push(request);
            if bytes >= BATCH_BYTES {
                self.write_batch(db, mem::take(&mut batch));
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.write_batch(db, batch);
        }
    }

    fn write_batch(&self, db: &DB, requests: Vec<Request>) {
        let sync = requests.iter().any(|request| request.sync);
        let result = if self.has_failed() {
            Err(io::Error::other("the disk's metadata has failed"))
        } else {
            self.try_write(db, &requests, sync)
        };
        if let Err(error) = &result {
            self.fail(&error.to_string());
        }
        self.statistics.requests.fetch_add(requests.len() as u64, Ordering::Relaxed);
        self.queue.lock().bytes -= requests.iter().map(|request| request.bytes).sum::<usize>();
        self.written.notify_waiters();
        for request in requests {
            (request.done)(match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::other(error.to_string())),
            });
        }
    }

    fn try_write(&self, db: &DB, requests: &[Request], sync: bool) -> io::Result<()> {
        let (log, state) = writer_families(db)?;
        let mut batch = WriteBatch::default();
        for change in requests.iter().flat_map(|request| &request.changes) {
            match change {
                Change::PutEntry { key, value } => batch.put_cf(&log, key, value),
                Change::DeleteEntries { from, to } => batch.delete_range_cf(&log, from, to),
                Change::PutState { key, value } => batch.put_cf(&state, key, value),
                Change::DeleteState { key } => batch.delete_cf(&state, key),
            }
        }
        #[cfg(test)]
        while self.hang.load(Ordering::SeqCst) {
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        #[cfg(test)]
        if self.break_next.load(Ordering::SeqCst) {
            return Err(io::Error::other("broken by a test"));
        }
        // Written first and fsynced after: whoever applies to the database meanwhile does not wait for the fsync.
        db.write(batch).map_err(io::Error::other)?;
        if sync {
            let sequence = db.latest_sequence_number();
            let started = Instant::now();
            db.flush_wal(true).map_err(io::Error::other)?;
            self.synced_sequence.store(sequence, Ordering::Relaxed);
            self.statistics.syncs.fetch_add(1, Ordering::Relaxed);
            metrics::histogram!("cairn_meta_sync_seconds").record(started.elapsed());
            metrics::histogram!("cairn_meta_sync_requests").record(requests.len() as f64);
        }
        Ok(())
    }
}
