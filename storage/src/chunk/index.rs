//! The index of a disk's chunks: a RocksDB of its own, which only this room opens. Knows what an entry looks like, and
//! nothing of segments' bytes.
//!
//! All keys are in one column family, so that what a crash leaves is always a prefix of what was written:
//!
//! | key | value |
//! | --- | --- |
//! | `c` chunk id | where its record is, its times, its blocks' checksums |
//! | `f` segment, offset | a record that the index has let go and whose room is still to be given back: its length and chunk id |
//! | `s` segment | how many chunks of it the index holds, and their bytes |
//! | `p` | the checkpoint: all records before this position are in the index, or are not to be |
//!
//! Keys are big-endian, values little-endian. Values are format version 1.

use std::path::Path;

use rocksdb::{DB, Direction, IteratorMode, WriteBatch, WriteOptions};

use super::error::ChunkError;
use super::format::{blocks, decode_checksums, record_len, u32_at, u64_at};
use crate::types::{ChunkId, UnixMillis};

const CHUNK: u8 = b'c';
const FREED: u8 = b'f';
const LIVE: u8 = b's';
const CHECKPOINT: &[u8] = b"p";
const ENTRY_VERSION: u8 = 1;
const ENTRY_FIXED: usize = 48;

/// The place of a record. A record that was written later compares greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Location {
    pub segment: u64,
    /// In bytes, from the segment's beginning.
    pub offset: u64,
}

/// What the index knows of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub location: Location,
    /// The chunk's length, in bytes.
    pub len: u32,
    /// When its record was written.
    pub stored_ms: UnixMillis,
    /// When it was last put or touched.
    pub touched_ms: UnixMillis,
    /// Since when it has stood condemned.
    pub condemned_ms: Option<UnixMillis>,
    /// CRC-32C of each block; here too, so that a range read needs no second look at the record's header.
    pub checksums: Box<[u32]>,
}

/// How many chunks of a segment the index holds, and how many bytes these have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Live {
    pub chunks: u64,
    pub bytes: u64,
}

/// A record whose room is to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freed {
    pub location: Location,
    /// The whole record's length, in bytes.
    pub len: u64,
    pub id: ChunkId,
}

/// Several changes that take effect together.
#[derive(Default)]
pub struct Changes(WriteBatch);

pub struct Index {
    db: DB,
    #[cfg(test)]
    synced: super::sim::SyncedLog,
}

impl Entry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ENTRY_FIXED + 4 * self.checksums.len());
        out.extend_from_slice(&[ENTRY_VERSION, u8::from(self.condemned_ms.is_some()), 0, 0]);
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.location.segment.to_le_bytes());
        out.extend_from_slice(&self.location.offset.to_le_bytes());
        out.extend_from_slice(&self.stored_ms.to_le_bytes());
        out.extend_from_slice(&self.touched_ms.to_le_bytes());
        out.extend_from_slice(&self.condemned_ms.unwrap_or(0).to_le_bytes());
        for checksum in &self.checksums {
            out.extend_from_slice(&checksum.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        if value.len() < ENTRY_FIXED || value[0] != ENTRY_VERSION {
            return None;
        }
        let len = u32_at(value, 4)?;
        let sums = &value[ENTRY_FIXED..];
        (sums.len() == 4 * blocks(len)).then_some(())?;
        Some(Self {
            location: Location { segment: u64_at(value, 8)?, offset: u64_at(value, 16)? },
            len,
            stored_ms: u64_at(value, 24)?,
            touched_ms: u64_at(value, 32)?,
            condemned_ms: if value[1] & 1 == 1 { Some(u64_at(value, 40)?) } else { None },
            checksums: decode_checksums(sums),
        })
    }
}

impl Index {
    /// Opens the index, or makes an empty one where there is none.
    pub fn open(path: &Path, options: &super::Options) -> Result<Self, ChunkError> {
        let db = DB::open(&database_options(options), path)?;
        Ok(Self {
            db,
            #[cfg(test)]
            synced: super::sim::SyncedLog::new(path),
        })
    }

    /// A point read: microseconds where the block is cached, one read of the disk otherwise.
    pub fn get(&self, id: &ChunkId) -> Result<Option<Entry>, ChunkError> {
        let Some(value) = self.db.get_pinned(chunk_key(id))? else { return Ok(None) };
        Entry::decode(&value).map(Some).ok_or_else(|| malformed("entry"))
    }

    /// Up to `limit` chunks, in the order of their ids, from the one after `after`.
    pub fn list(&self, after: Option<&ChunkId>, limit: usize) -> Result<Vec<(ChunkId, Entry)>, ChunkError> {
        let from = match after {
            // The first key that is greater than the chunk's.
            Some(id) => chunk_key(id).into_iter().chain([0]).collect(),
            None => vec![CHUNK],
        };
        let mut out = Vec::new();
        for item in self.db.iterator(IteratorMode::From(&from, Direction::Forward)).take(limit) {
            let (key, value) = item?;
            if key.first() != Some(&CHUNK) {
                break;
            }
            let id = ChunkId::from_bytes(&key[1..]).ok_or_else(|| malformed("key"))?;
            out.push((id, Entry::decode(&value).ok_or_else(|| malformed("entry"))?));
        }
        Ok(out)
    }

    /// Up to `limit` records whose room is to be given back, from `from` on.
    pub fn freed(&self, from: Location, limit: usize) -> Result<Vec<Freed>, ChunkError> {
        let mut out = Vec::new();
        for item in self.db.iterator(IteratorMode::From(&freed_key(from), Direction::Forward)).take(limit) {
            let (key, value) = item?;
            if key.first() != Some(&FREED) {
                break;
            }
            out.push(decode_freed(&key, &value).ok_or_else(|| malformed("freed record"))?);
        }
        Ok(out)
    }

    /// Whether the record at this place is to be given back.
    pub fn is_freed(&self, location: Location) -> Result<bool, ChunkError> {
        Ok(self.db.get_pinned(freed_key(location))?.is_some())
    }

    /// What the index holds of each segment.
    pub fn live(&self) -> Result<Vec<(u64, Live)>, ChunkError> {
        let mut out = Vec::new();
        for item in self.db.iterator(IteratorMode::From(&[LIVE], Direction::Forward)) {
            let (key, value) = item?;
            if key.first() != Some(&LIVE) {
                break;
            }
            let decode = || {
                let segment = u64::from_be_bytes(key[1..].try_into().ok()?);
                Some((segment, Live { chunks: u64_at(&value, 0)?, bytes: u64_at(&value, 8)? }))
            };
            out.push(decode().ok_or_else(|| malformed("segment figures"))?);
        }
        Ok(out)
    }

    /// All records before this position are in the index, or are not to be. The beginning, where there is none.
    pub fn checkpoint(&self) -> Result<Location, ChunkError> {
        let Some(value) = self.db.get_pinned(CHECKPOINT)? else { return Ok(Location::default()) };
        let decode = || Some(Location { segment: u64_at(&value, 0)?, offset: u64_at(&value, 8)? });
        decode().ok_or_else(|| malformed("checkpoint"))
    }

    /// Notes that all records before this position are in the index, or are not to be. It is in the same log as their
    /// entries, and after them, so that no crash can keep the note and lose an entry; all of it is on the disk on return.
    pub fn set_checkpoint(&self, position: Location) -> Result<(), ChunkError> {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&position.segment.to_le_bytes());
        value[8..].copy_from_slice(&position.offset.to_le_bytes());
        let mut changes = Changes::default();
        changes.0.put(CHECKPOINT, value);
        self.write(changes, true)
    }

    /// Makes the changes. With `sync` they, and all before them, are on the disk on return.
    pub fn write(&self, changes: Changes, sync: bool) -> Result<(), ChunkError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(changes.0, &options)?;
        #[cfg(test)]
        self.synced.note(sync);
        Ok(())
    }

    /// How much of the log would survive a power failure.
    #[cfg(test)]
    pub fn synced(&self) -> std::collections::HashMap<std::path::PathBuf, u64> {
        self.synced.get()
    }

    /// Writes all that is in memory to tables, so that the next start has no log to replay.
    pub fn flush(&self) -> Result<(), ChunkError> {
        Ok(self.db.flush()?)
    }
}

impl Changes {
    pub fn put(&mut self, id: &ChunkId, entry: &Entry) {
        self.0.put(chunk_key(id), entry.encode());
    }

    pub fn remove(&mut self, id: &ChunkId) {
        self.0.delete(chunk_key(id));
    }

    /// Notes that the record's room is to be given back.
    pub fn free(&mut self, location: Location, len: u32, id: &ChunkId) {
        let mut value = [0; 8 + ChunkId::LEN];
        value[..8].copy_from_slice(&record_len(len).to_le_bytes());
        value[8..].copy_from_slice(&id.to_bytes());
        self.0.put(freed_key(location), value);
    }

    /// The room was given back.
    pub fn forget_freed(&mut self, location: Location) {
        self.0.delete(freed_key(location));
    }

    pub fn set_live(&mut self, segment: u64, live: Live) {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&live.chunks.to_le_bytes());
        value[8..].copy_from_slice(&live.bytes.to_le_bytes());
        self.0.put(live_key(segment), value);
    }

    /// The segment is gone.
    pub fn forget_segment(&mut self, segment: u64) {
        self.0.delete(live_key(segment));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn database_options(options: &super::Options) -> rocksdb::Options {
    let mut table = rocksdb::BlockBasedOptions::default();
    table.set_bloom_filter(10.0, false);
    // All memory that grows with the number of chunks is in the cache, whose size is bounded.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if let Some(cache) = &options.block_cache {
        table.set_block_cache(cache);
    }
    let mut out = rocksdb::Options::default();
    out.create_if_missing(true);
    out.set_block_based_table_factory(&table);
    // Hashes and checksums do not compress.
    out.set_compression_type(rocksdb::DBCompressionType::None);
    out.set_write_buffer_size(16 << 20);
    // It is written out before it can take up the reserve.
    out.set_max_total_wal_size((options.reserve_bytes / 8).clamp(8 << 20, 64 << 20));
    out.set_max_open_files(256);
    out.set_bytes_per_sync(1 << 20);
    // A log whose end was lost is read up to there; see the module for why no more is needed.
    out.set_wal_recovery_mode(rocksdb::DBRecoveryMode::PointInTime);
    out.set_keep_log_file_num(2);
    out.set_log_level(rocksdb::LogLevel::Warn);
    if let Some(manager) = &options.write_buffer_manager {
        out.set_write_buffer_manager(manager);
    }
    out
}

fn chunk_key(id: &ChunkId) -> [u8; 1 + ChunkId::LEN] {
    let mut key = [CHUNK; 1 + ChunkId::LEN];
    key[1..].copy_from_slice(&id.to_bytes());
    key
}

fn freed_key(location: Location) -> [u8; 17] {
    let mut key = [FREED; 17];
    key[1..9].copy_from_slice(&location.segment.to_be_bytes());
    key[9..].copy_from_slice(&location.offset.to_be_bytes());
    key
}

pub(super) fn decode_freed(key: &[u8], value: &[u8]) -> Option<Freed> {
    let segment = u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    let offset = u64::from_be_bytes(key.get(9..)?.try_into().ok()?);
    let id = ChunkId::from_bytes(value.get(8..)?)?;
    Some(Freed { location: Location { segment, offset }, len: u64_at(value, 0)?, id })
}

fn live_key(segment: u64) -> [u8; 9] {
    let mut key = [LIVE; 9];
    key[1..].copy_from_slice(&segment.to_be_bytes());
    key
}

fn malformed(what: &str) -> ChunkError {
    ChunkError::Index(format!("a malformed {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::GroupId;

    #[test]
    fn an_entry_reads_back_and_its_format_is_frozen() {
        let entry = Entry {
            location: Location { segment: 2, offset: 8192 },
            len: 70_000,
            stored_ms: 3,
            touched_ms: 4,
            condemned_ms: Some(5),
            checksums: Box::new([6, 7]),
        };
        assert_eq!(Entry::decode(&entry.encode()), Some(entry.clone()));
        assert_eq!(hex::encode(entry.encode()), ENTRY_V1);
        let cleared = Entry { condemned_ms: None, ..entry };
        assert_eq!(Entry::decode(&cleared.encode()), Some(cleared.clone()));
        assert_eq!(Entry::decode(&cleared.encode()[1..]), None);
    }

    const ENTRY_V1: &str = "0101000070110100020000000000000000200000000000000300000000000000040000000000000005000000000000000600000007000000";

    #[test]
    fn lists_go_on_after_a_chunk_and_stop_at_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path(), &super::super::Options::default()).unwrap();
        let mut ids: Vec<ChunkId> = (0..10u32).map(|i| ChunkId::of(GroupId(i % 2), &i.to_le_bytes())).collect();
        ids.sort();
        let mut changes = Changes::default();
        for (i, id) in ids.iter().enumerate() {
            let location = Location { segment: 1, offset: i as u64 };
            let entry =
                Entry { location, len: 0, stored_ms: 0, touched_ms: 0, condemned_ms: None, checksums: Box::new([]) };
            changes.put(id, &entry);
            changes.free(location, 0, id);
        }
        index.write(changes, false).unwrap();
        let mut seen = Vec::new();
        while let Some((last, _)) = index.list(seen.last(), 3).unwrap().last() {
            let next: Vec<ChunkId> = index.list(seen.last(), 3).unwrap().iter().map(|(id, _)| *id).collect();
            assert_eq!(next.last(), Some(last));
            seen.extend(next);
        }
        assert_eq!(seen, ids);
        assert_eq!(index.freed(Location { segment: 1, offset: 4 }, 100).unwrap().len(), 6);
    }
}
