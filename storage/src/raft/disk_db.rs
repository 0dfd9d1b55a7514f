//! The metadata RocksDB of one disk: the logs and votes of all its replicas, and their state machines' column families.
//! It opens, checks and closes the database and owns its writer; it does not know what the records mean.
//!
//! Durability. What Raft promises (votes, log entries) goes through the disk's [`Writer`] and is fsynced before anyone
//! hears of it. What state machines apply is written without an fsync, into the same write-ahead log and after the
//! entries it comes from: it can be made again from them. A crash cuts that log at one point, so a purge never survives
//! the loss of the state that made it safe.
//!
//! That nothing promised was lost between two starts is checked twice. Each batch of the writer carries the last log id
//! of the replica, which must be the last one found (`log_store`). And every few seconds the database's sequence number,
//! as far as it is fsynced, is noted in a file beside it; a database that comes back with a smaller one has lost
//! promises, and none of its replicas is started.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fs, io};

use parking_lot::Mutex;
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    Options, WriteBufferManager,
};
use tokio::sync::{Semaphore, watch};

use super::codec::{self, FormatError, ReplicaRecord};
use super::keys;
use super::writer::{Writer, WriterStatistics};
use crate::durable;
use crate::types::{ClusterId, DiskId};

/// What this version writes at the path of the database; a file of more than this is of a newer version.
const FORMAT: &[u8] = b"cairn metadata 1\n";

const LOG: &str = "raft_log";
const STATE: &str = "raft_state";

/// Why a disk's metadata cannot be used. The database is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the metadata at {0} is of a newer or an unknown format")]
    Format(PathBuf),
    /// What an earlier run had promised is not there any more. The disk's replicas are lost; others must replace them.
    #[error("the metadata at {path} has lost writes that were promised: {promised} expected, {found} found")]
    LostWrites { path: PathBuf, promised: u64, found: u64 },
    #[error("the metadata at {path} cannot be opened: {source}")]
    Database { path: PathBuf, source: rocksdb::Error },
    #[error("the metadata at {path} cannot be opened: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// What the RocksDBs of a process share, and what the state machines need of this one.
pub struct DiskDbOptions<'a> {
    pub cache: &'a Cache,
    pub write_buffers: &'a WriteBufferManager,
    /// The state machines' column families.
    pub column_families: Vec<(&'static str, Options)>,
    /// What is to be kept free on the disk, in bytes: what waits in the write-ahead log to be written out must fit there.
    pub reserve: u64,
}

/// The open metadata of one disk.
pub struct DiskDb {
    disk: DiskId,
    path: PathBuf,
    db: Arc<DB>,
    writer: Arc<Writer>,
    /// The sequence number that the promise file has.
    noted: AtomicU64,
    noting: Mutex<()>,
    /// Room for queries that read the disk.
    readers: Arc<Semaphore>,
    /// The names of the column families.
    names: Vec<&'static str>,
    /// The sequence number up to which room was made.
    made_room: AtomicU64,
    compacting: AtomicBool,
    began: u64,
}

/// How many queries read a disk at a time.
const READERS: usize = 32;

impl DiskDb {
    /// Opens the database at `path` (`DIR/meta`), or makes a new one. Blocks.
    pub fn open(disk: DiskId, path: &Path, options: DiskDbOptions<'_>) -> Result<Arc<Self>, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        durable::create_dir(path).map_err(io)?;
        check_format(path)?;
        let promised = read_promise(path)?;

        let DiskDbOptions { cache, write_buffers, column_families, reserve } = options;
        let mut families = vec![
            ("default", family_options(cache, 1 << 20)),
            (LOG, family_options(cache, part_of(reserve, 16, 4 << 20..=32 << 20) as usize)),
            (STATE, family_options(cache, 2 << 20)),
        ];
        families.extend(column_families);
        let names = families.iter().map(|(name, _)| *name).collect();
        let families = families.into_iter().map(|(name, mut options)| {
            bound_compactions(&mut options, reserve);
            ColumnFamilyDescriptor::new(name, options)
        });
        let db = DB::open_cf_descriptors(&database_options(write_buffers, reserve), path.join("db"), families)
            .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
        let found = db.latest_sequence_number();
        if found < promised {
            return Err(OpenError::LostWrites { path: path.to_owned(), promised, found });
        }
        // The directory entries that RocksDB made are its own to sync, except that of its directory.
        durable::sync_dir(path).map_err(io)?;

        let db = Arc::new(db);
        let writer = Writer::start(disk, db.clone()).map_err(io)?;
        remove_leftovers(&path.join("incoming")).map_err(io)?;
        let (path, noted, made_room) = (path.to_owned(), AtomicU64::new(promised), AtomicU64::new(0));
        let (noting, readers) = (Mutex::default(), Arc::new(Semaphore::new(READERS)));
        let compacting = AtomicBool::new(false);
        Ok(Arc::new(Self {
            disk,
            path,
            db,
            writer,
            noted,
            noting,
            readers,
            names,
            made_room,
            compacting,
            began: found,
        }))
    }

    pub fn disk(&self) -> DiskId {
        self.disk
    }

    /// The database, for the state machines' stores.
    pub fn database(&self) -> &Arc<DB> {
        &self.db
    }

    pub(super) fn writer(&self) -> &Arc<Writer> {
        &self.writer
    }

    pub(super) fn readers(&self) -> &Arc<Semaphore> {
        &self.readers
    }

    /// What its writer did since the database was opened.
    pub fn statistics(&self) -> &WriterStatistics {
        self.writer.statistics()
    }

    /// The number of the last write that was there when it was opened; 0 in a new one.
    pub fn began(&self) -> u64 {
        self.began
    }

    /// The number of the last write that is fsynced; 0 before the first one.
    pub fn synced(&self) -> u64 {
        self.writer.synced_sequence()
    }

    /// Why the disk failed, once it has. It never comes back.
    pub fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.writer.failure()
    }

    /// Takes the disk's metadata out of use for good: every replica on it stops. For a caller that saw it fail.
    pub fn fail(&self, why: &str) {
        self.writer.fail(why);
    }

    /// Whether RocksDB compacts by itself. It does not before it is told to.
    pub fn is_compacting(&self) -> bool {
        self.compacting.load(Ordering::Relaxed)
    }

    /// Says whether RocksDB is to compact by itself: there must be room for what it writes meanwhile. Blocks.
    pub fn set_compacting(&self, compacting: bool) {
        self.compacting.store(compacting, Ordering::Relaxed);
        let disabled = if compacting { "false" } else { "true" };
        for name in &self.names {
            let Ok(family) = self.family(name) else { continue };
            if let Err(error) = self.db.set_options_cf(&family, &[("disable_auto_compactions", disabled)]) {
                tracing::warn!(disk = %self.disk, name, %error, "compactions were not turned on or off");
            }
        }
    }

    /// Gives back to the file system what can be given back, if anything was written since the last time: writes out what
    /// is in memory, so that the write-ahead log can go, and takes out what was deleted. What would need more than
    /// `spare` bytes meanwhile is left to RocksDB, which goes about it in smaller steps. Blocks, for seconds.
    pub fn make_room(&self, spare: u64) {
        let sequence = self.db.latest_sequence_number();
        if self.writer.has_failed() || self.made_room.swap(sequence, Ordering::Relaxed) == sequence {
            return;
        }
        let size = |family: &Arc<BoundColumnFamily<'_>>, property| {
            self.db.property_int_value_cf(family, property).ok().flatten().unwrap_or(0)
        };
        for name in &self.names {
            let Ok(family) = self.family(name) else { continue };
            if let Err(error) = self.db.flush_cf(&family) {
                tracing::warn!(disk = %self.disk, name, %error, "what is in memory was not written out");
                return;
            }
        }
        for name in &self.names {
            let Ok(family) = self.family(name) else { continue };
            // Of blobs a quarter is moved, at most.
            let need = size(&family, "rocksdb.total-sst-files-size") + size(&family, "rocksdb.live-blob-file-size") / 4;
            if need <= spare {
                self.db.compact_range_cf(&family, None::<&[u8]>, None::<&[u8]>);
            }
        }
    }

    /// Where snapshots are kept while they arrive. Nothing in it outlives a start.
    pub(super) fn incoming(&self) -> PathBuf {
        self.path.join("incoming")
    }

    pub(super) fn log_family(&self) -> io::Result<Arc<BoundColumnFamily<'_>>> {
        self.family(LOG)
    }

    pub(super) fn state_family(&self) -> io::Result<Arc<BoundColumnFamily<'_>>> {
        self.family(STATE)
    }

    fn family(&self, name: &str) -> io::Result<Arc<BoundColumnFamily<'_>>> {
        family(&self.db, name)
    }

    /// Reads one of a replica's records. Blocks.
    pub(super) fn state(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.db.get_cf(&self.state_family()?, key).map_err(io::Error::other)
    }

    /// Every replica that was ever made on this disk, retired ones too, by group and id. Blocks.
    pub fn replicas(&self) -> Result<Vec<ReplicaRecord>, io::Error> {
        let family = self.state_family()?;
        let mut records = Vec::new();
        for item in self.db.full_iterator_cf(&family, rocksdb::IteratorMode::Start) {
            let (key, value) = item.map_err(io::Error::other)?;
            if keys::is_record(&key) {
                records.push(codec::decode_replica(&value)?);
            }
        }
        Ok(records)
    }

    /// Refuses the disk where any of its replicas is another cluster's. Blocks.
    pub(super) fn check_cluster(&self, cluster: ClusterId) -> Result<(), io::Error> {
        match self.replicas()?.iter().find(|record| record.cluster != cluster) {
            Some(record) => {
                Err(FormatError::new("the metadata", format_args!("it is of cluster {}", record.cluster)).into())
            }
            None => Ok(()),
        }
    }

    /// Notes durably how far the database is fsynced, if that has grown. Called every few seconds. Blocks.
    pub(super) fn note_promise(&self) {
        // One that hangs is not waited for.
        let Some(_noting) = self.noting.try_lock() else { return };
        let synced = self.writer.synced_sequence();
        if synced <= self.noted.load(Ordering::Relaxed) || self.writer.has_failed() {
            return;
        }
        match durable::write_atomic(&promise_path(&self.path), &promise_bytes(synced), durable::PRIVATE) {
            Ok(()) => self.noted.store(synced, Ordering::Relaxed),
            Err(error) => self.writer.fail(&format!("its promise cannot be noted: {error}")),
        }
    }

    /// Writes out what waits, fsyncs and stops the writer. The database itself closes when its last user is gone.
    /// Blocks.
    pub fn close(&self) {
        self.writer.stop();
        self.note_promise();
        if !self.writer.has_failed() {
            self.db.cancel_all_background_work(true);
        }
    }
}

impl Drop for DiskDb {
    fn drop(&mut self) {
        self.writer.stop();
    }
}

pub(super) fn family<'a>(db: &'a DB, name: &str) -> io::Result<Arc<BoundColumnFamily<'a>>> {
    db.cf_handle(name).ok_or_else(|| io::Error::other(format!("column family {name} is missing")))
}

pub(super) fn writer_families(db: &DB) -> io::Result<(Arc<BoundColumnFamily<'_>>, Arc<BoundColumnFamily<'_>>)> {
    Ok((family(db, LOG)?, family(db, STATE)?))
}

fn database_options(write_buffers: &WriteBufferManager, reserve: u64) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_write_buffer_manager(write_buffers);
    options.set_paranoid_checks(true);
    // After a crash the write-ahead log is good up to some point, which is at or after the last fsync.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(part_of(reserve, 4, 8 << 20..=256 << 20));
    options.set_max_background_jobs(2);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 << 20);
    options.set_stats_dump_period_sec(0);
    options
}

fn family_options(cache: &Cache, write_buffer: usize) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_format_version(5);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(write_buffer);
    // Log entries are gone before they would be worth it.
    options.set_compression_type(DBCompressionType::None);
    options
}

/// What a compaction writes before it gives anything back must fit into half of the reserve, or it takes the last room
/// from those who write. None is begun before it is said that there is room, see [`DiskDb::set_compacting`].
fn bound_compactions(options: &mut Options, reserve: u64) {
    options.set_target_file_size_base(part_of(reserve, 32, 2 << 20..=64 << 20));
    options.set_max_bytes_for_level_base(part_of(reserve, 8, 16 << 20..=256 << 20));
    options.set_max_compaction_bytes(part_of(reserve, 4, 32 << 20..=1600 << 20));
    options.set_disable_auto_compactions(true);
}

fn part_of(reserve: u64, part: u64, bounds: RangeInclusive<u64>) -> u64 {
    (reserve / part).clamp(*bounds.start(), *bounds.end())
}

fn check_format(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let file = path.join("format");
    match fs::read(&file) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(_) => Err(OpenError::Format(path.to_owned())),
        // A database without its format is not one of ours.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.join("db").exists() => {
            Err(OpenError::Format(path.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            durable::write_atomic(&file, FORMAT, durable::PRIVATE).map_err(io)
        }
        Err(error) => Err(io(error)),
    }
}

fn promise_path(path: &Path) -> PathBuf {
    path.join("promise")
}

/// A version byte and the sequence number, big-endian.
fn promise_bytes(sequence: u64) -> [u8; 9] {
    let mut bytes = [1; 9];
    bytes[1..].copy_from_slice(&sequence.to_be_bytes());
    bytes
}

fn read_promise(path: &Path) -> Result<u64, OpenError> {
    match fs::read(promise_path(path)) {
        Ok(bytes) => match bytes.split_first() {
            Some((1, sequence)) => {
                sequence.try_into().map(u64::from_be_bytes).map_err(|_| OpenError::Format(path.to_owned()))
            }
            _ => Err(OpenError::Format(path.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

fn remove_leftovers(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir(path),
    }
}

#[cfg(test)]
#[path = "disk_db_test.rs"]
mod tests;
