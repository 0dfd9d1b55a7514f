//! One open disk of this node: its directory, its chunk store and its metadata database.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use rocksdb::{Cache, WriteBufferManager};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::options::NodeOptions;
use crate::ballast::{self, Ballast};
use crate::chunk::{self, ChunkStore};
use crate::client::{DiskError, DiskService, RepairService};
use crate::cluster::identity::{self, Found};
use crate::cluster::{Directory, Identity};
use crate::meta;
use crate::probe::Probe;
use crate::raft::{DiskDb, DiskDbOptions};
use crate::repair::Scrub;
use crate::types::{ChunkId, DiskId, Epoch};
use crate::wire::{Listed, ScrubStatus, Stat};

/// How many looks at the index of a disk may be under way at once.
const LOOKS: usize = 16;
/// How long the end of a chunk store is waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What all disks of the process share: the memory of their databases, so that it is bounded together, and the epoch of
/// the map that the process goes by.
#[derive(Clone)]
pub struct Memory {
    cache: Cache,
    write_buffers: WriteBufferManager,
    reserve: u64,
    epoch: Arc<AtomicU64>,
}

impl Memory {
    pub fn new(options: &NodeOptions) -> Self {
        let cache = Cache::new_lru_cache(options.cache_bytes);
        // The threads that write out and compact are those of all databases. Each disk has two of them, and each of these
        // takes one of a kind at most: a disk that hangs must not take those of the others.
        let threads = i32::try_from(2 * options.directories.len()).unwrap_or(i32::MAX);
        match rocksdb::Env::new() {
            Ok(mut env) => {
                env.set_high_priority_background_threads(threads);
                env.set_low_priority_background_threads(threads);
            }
            Err(error) => tracing::warn!(%error, "the databases share few threads"),
        }
        // Write buffers count against the cache.
        let write_buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(options.write_buffer_bytes, false, cache.clone());
        Self { cache, write_buffers, reserve: options.reserve_bytes, epoch: Arc::default() }
    }

    /// Opens a disk's database of metadata. Blocks.
    ///
    /// # Errors
    /// Why it cannot be used, for a person.
    pub fn open_db(&self, disk: DiskId, path: &Path) -> Result<Arc<DiskDb>, String> {
        let options = DiskDbOptions {
            cache: &self.cache,
            write_buffers: &self.write_buffers,
            column_families: meta::column_families(&self.cache),
            reserve: self.reserve,
        };
        DiskDb::open(disk, path, options).map_err(|error| error.to_string())
    }

    pub fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, Ordering::Release);
    }
}

/// A disk that is open. It serves until it is marked as down, and never again after that.
pub struct LocalDisk {
    pub directory: Directory,
    pub store: Arc<ChunkStore>,
    pub db: Arc<DiskDb>,
    pub scrub: Arc<Scrub>,
    probe: Probe,
    looks: Arc<Semaphore>,
    down: AtomicBool,
    /// Ends the loops that work on the disk.
    pub stop: CancellationToken,
    /// How many of its chunks had their homes elsewhere at the last look.
    pub misplaced: AtomicU64,
    /// The generation of the cluster in which all homes of its chunks were seen to have them; `u64::MAX` for none.
    pub settled: AtomicU64,
    epoch: Arc<AtomicU64>,
    /// Why it is an older copy of the disk, once that is known.
    superseded: OnceLock<&'static str>,
    /// Shared by those that let go of a copy, from the look at the epoch to the drop; nothing is promised meanwhile.
    letting_go: tokio::sync::RwLock<()>,
}

impl LocalDisk {
    /// Opens what is in the directory. Blocks, for as long as it takes to read what was written last.
    ///
    /// # Errors
    /// Why the disk cannot be used, for a person.
    pub fn open(directory: Directory, options: &NodeOptions, memory: &Memory) -> Result<Arc<Self>, String> {
        let identity = &directory.identity;
        let chunk_options = chunk::Options {
            label: identity.disk.to_string(),
            segment_len: options.segment_len,
            reserve_bytes: options.reserve_bytes,
            ballast: Some(Arc::new(Ballast::new(&directory.path, options.reserve_bytes))),
            block_cache: Some(memory.cache.clone()),
            write_buffer_manager: Some(memory.write_buffers.clone()),
            ..chunk::Options::default()
        };
        // Where that cannot be told, the opening itself says what is wrong.
        let _ = ballast::release_if_short(&directory.path, options.reserve_bytes);
        let db = memory.open_db(identity.disk, &directory.path.join("meta"))?;
        let store = ChunkStore::open(&directory.path, chunk_options).map_err(|error| error.to_string())?;
        let scrub = Arc::new(Scrub::open(&directory.path));
        Ok(Arc::new(Self {
            scrub,
            probe: Probe::new(&directory.path),
            looks: Arc::new(Semaphore::new(LOOKS)),
            directory,
            store,
            db,
            down: AtomicBool::new(false),
            stop: CancellationToken::new(),
            misplaced: AtomicU64::new(0),
            settled: AtomicU64::new(u64::MAX),
            epoch: memory.epoch.clone(),
            superseded: OnceLock::new(),
            letting_go: tokio::sync::RwLock::default(),
        }))
    }

    fn is_of(&self, epoch: Epoch) -> Result<(), DiskError> {
        if self.epoch.load(Ordering::Acquire) == epoch.0 {
            return Ok(());
        }
        Err(DiskError::Refused("the cluster map is of another epoch here".to_owned()))
    }

    /// Lets go of a chunk that has its homes elsewhere, each of which was asked under the map of this epoch and holds
    /// it; whether it did.
    ///
    /// # Errors
    /// The map has moved on, or the disk does not do it.
    ///
    /// Two disks never let go of their copies relying on each other's, nor do more in a circle. A disk asks and lets go
    /// under one epoch; a home of that epoch lets go under another only, so under one that comes after its promise, and
    /// it begins to ask after its promise, too. In a circle each would have promised before the next one did.
    pub async fn release(&self, id: ChunkId, epoch: Epoch) -> Result<bool, DiskError> {
        let _letting_go = self.letting_go.read().await;
        self.is_of(epoch)?;
        let store = self.serving()?;
        store.condemn(vec![id]).await?;
        store.drop_condemned(id, 0).await
    }

    pub fn id(&self) -> DiskId {
        self.directory.identity.disk
    }

    pub fn identity(&self) -> &Identity {
        &self.directory.identity
    }

    pub fn path(&self) -> &Path {
        &self.directory.path
    }

    /// Whether it takes and gives chunks.
    pub fn is_up(&self) -> bool {
        !self.is_down() && !self.store.failed()
    }

    fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire) || self.superseded.get().is_some()
    }

    /// Others have seen the disk later than it is here: it votes no more, and takes and gives nothing, not after the next
    /// start either.
    pub fn supersede(&self, why: &'static str) {
        if self.superseded.set(why).is_err() {
            return;
        }
        tracing::error!(disk = %self.id(), path = %self.path().display(), why, "a disk is not used any more");
        self.db.fail(why);
        let (path, identity) = (self.path().to_owned(), self.identity().clone());
        tokio::task::spawn_blocking(move || {
            // Unless somebody else has it by now.
            if matches!(identity::read(&path), Ok(Found::Disk(found)) if found.life() == identity.life()) {
                let marked = Identity { superseded: Some(why.to_owned()), ..identity }.write(&path);
                if let Err(error) = marked {
                    tracing::warn!(path = %path.display(), %error, "a disk cannot be marked as an older copy");
                }
            }
        });
    }

    /// From now on no call is answered.
    pub fn mark_down(&self) {
        self.down.store(true, Ordering::Release);
    }

    /// Answers calls again, after a pause in which it only did not answer in time.
    pub fn mark_up(&self) {
        self.down.store(false, Ordering::Release);
    }

    /// Looks whether the disk is there and works. Blocks on the file system.
    ///
    /// That the directory is gone counts first: what fails because of that may come back with it.
    pub fn check(&self) -> Result<(), Trouble> {
        if let Some(why) = self.superseded.get() {
            return Err(Trouble::Failed((*why).to_owned()));
        }
        let file = self.path().join(identity::FILE);
        match std::fs::metadata(file) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(Trouble::Gone("its directory is not there any more".to_owned()));
            }
            _ => {}
        }
        match identity::read(self.path()) {
            Ok(Found::Disk(identity)) if identity.disk == self.id() && identity.life() == self.identity().life() => {}
            Ok(Found::Disk(identity)) if identity.disk == self.id() => {
                return Err(Trouble::Failed("it was opened once more, by another process or machine".to_owned()));
            }
            Ok(Found::Disk(identity)) => return Err(Trouble::Gone(format!("disk {} is in its place", identity.disk))),
            Ok(Found::Unreadable(why)) => return Err(Trouble::Failed(why)),
            Ok(Found::Missing | Found::Empty) => return Err(Trouble::Gone("it is not there any more".to_owned())),
            Err(error) => return Err(Trouble::Failed(error.to_string())),
        }
        let chunks = self.store.failure().map(|why| format!("the chunk store has failed: {why}"));
        let metadata = || self.db.failure().borrow().as_deref().map(|why| format!("the metadata has failed: {why}"));
        match chunks.or_else(metadata) {
            Some(why) if ballast::is_no_room(&why) => Err(Trouble::Full(why)),
            Some(why) => Err(Trouble::Failed(why)),
            None => self.probe.run().map_err(|error| Trouble::Failed(format!("it does not work: {error}"))),
        }
    }

    /// Ends its loops and closes its chunk store. Its database is closed by the one who runs the replicas.
    pub async fn close(&self) {
        self.mark_down();
        self.stop.cancel();
        match tokio::time::timeout(CLOSE_TIMEOUT, self.store.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(disk = %self.id(), %error, "the chunk store did not close well"),
            Err(_) => tracing::warn!(disk = %self.id(), "the disk hangs, and its chunk store is left behind"),
        }
    }

    /// Runs what looks at the index on a thread where it may block, a bounded number at once: a disk that hangs must not
    /// take the threads of the others.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let gone = |error: &dyn std::fmt::Display| DiskError::Unavailable(error.to_string());
        let place = self.looks.clone().acquire_owned().await.map_err(|error| gone(&error))?;
        let work = move || {
            let _place = place;
            work()
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(gone(&error)))
    }

    fn serving(&self) -> Result<&ChunkStore, DiskError> {
        if self.is_down() {
            return Err(DiskError::Unavailable("the disk is down".to_owned()));
        }
        Ok(&self.store)
    }
}

/// Why a disk is taken out of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Its directory is not there any more. It may come back.
    Gone(String),
    /// It does not answer. What waits for it is left behind; it is opened anew when it answers again.
    Hangs(String),
    /// There was no room for a write of a database, which is of no use then until it is opened again.
    Full(String),
    /// A write or an fsync failed. Nothing is tried again before the process is started anew.
    Failed(String),
}

impl DiskService for LocalDisk {
    fn put(&self, id: ChunkId, data: Vec<Bytes>) -> BoxFuture<'_, Result<(), DiskError>> {
        match self.serving() {
            Ok(store) => DiskService::put(store, id, data),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn get(&self, id: ChunkId, range: Range<u32>) -> BoxFuture<'_, Result<Vec<Bytes>, DiskError>> {
        match self.serving() {
            Ok(store) => DiskService::get(store, id, range),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn touch(&self, ids: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<bool>, DiskError>> {
        match self.serving() {
            Ok(store) => DiskService::touch(store, ids),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }
}

impl RepairService for LocalDisk {
    fn list(&self, after: Option<ChunkId>, limit: u32) -> BoxFuture<'_, Result<Vec<Listed>, DiskError>> {
        async move {
            self.serving()?;
            let store = self.store.clone();
            let look = move || {
                let listed = store.list(after, limit as usize)?.into_iter().map(|(id, info)| Listed {
                    id,
                    len: info.len,
                    touched_ms: info.touched_ms,
                    condemned_ms: info.condemned_ms,
                });
                Ok(listed.collect())
            };
            self.look(look).await
        }
        .boxed()
    }

    fn stat(&self, ids: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<Option<Stat>>, DiskError>> {
        async move {
            self.serving()?;
            let store = self.store.clone();
            let look = move || {
                ids.iter()
                    .map(|id| Ok(store.stat(id)?.map(|info| Stat { len: info.len, stored_ms: info.stored_ms })))
                    .collect()
            };
            self.look(look).await
        }
        .boxed()
    }

    fn scrub(&self, start: bool) -> BoxFuture<'_, Result<ScrubStatus, DiskError>> {
        let answer = self.serving().map(|store| {
            if start {
                self.scrub.start();
            }
            self.scrub.status(store.usage().chunks)
        });
        std::future::ready(answer).boxed()
    }

    fn verify(&self, id: ChunkId) -> BoxFuture<'_, Result<(), DiskError>> {
        async move { self.serving()?.verify(id).await }.boxed()
    }

    fn hold(&self, id: ChunkId, epoch: Epoch) -> BoxFuture<'_, Result<(), DiskError>> {
        async move {
            self.is_of(epoch)?;
            // What is being let go under the map of before is gone after this.
            drop(self.letting_go.write().await);
            self.serving()?.verify(id).await
        }
        .boxed()
    }
}

/// A disk of the map that is not open here: every call says so.
pub struct AbsentDisk;

impl AbsentDisk {
    fn answer<T: Send + 'static>() -> BoxFuture<'static, Result<T, DiskError>> {
        std::future::ready(Err(DiskError::Unavailable("the disk is not there".to_owned()))).boxed()
    }
}

impl DiskService for AbsentDisk {
    fn put(&self, _: ChunkId, _: Vec<Bytes>) -> BoxFuture<'_, Result<(), DiskError>> {
        Self::answer()
    }

    fn get(&self, _: ChunkId, _: Range<u32>) -> BoxFuture<'_, Result<Vec<Bytes>, DiskError>> {
        Self::answer()
    }

    fn touch(&self, _: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<bool>, DiskError>> {
        Self::answer()
    }
}
