//! The chunk store of one disk: append-only segments of self-describing records, and an index that can always be made
//! anew from them. Knows chunks by their ids; knows nothing of metadata, of HTTP, or of who refers to a chunk.
//!
//! ```text
//! DIR/chunks/FORMAT                         version of what follows
//! DIR/chunks/LOCK                           held by the process that uses it
//! DIR/chunks/segments/0000000000000001.segment ...
//! DIR/chunks/index/                         RocksDB, this room's alone
//! ```
//!
//! # A put
//! The writer appends the record; the committer fsyncs the segment, once for all records that were written before the
//! fsync began, then puts them into the index, then answers. The index write is not synced, and need not be: the
//! record is on the disk, and after a crash everything since the checkpoint is read again and put into the index. The
//! checkpoint is in the index's log, after the entries that it speaks of, and of a log a crash can only take the end.
//! So for each acknowledged chunk either the index on the disk has it, or its record is behind the checkpoint there.
//!
//! No entry points to a record that is not durable. Therefore a touch of a chunk that the index has needs no fsync for
//! its bytes.
//!
//! # Condemned and dropped
//! What must be durable about a touch is that the chunk is not condemned. So a touch that clears a condemnation is
//! fsynced before it is answered, and one that finds none is not: there is nothing that a crash could bring back. (If
//! the chunk's entry itself was not synced yet, a crash makes it anew from the record, uncondemned.) A condemnation is
//! not fsynced: a crash that loses it keeps the chunk longer. A drop is fsynced before the record is punched out, with
//! a note of the room to be given back, so that a crash in between leaks nothing.
//!
//! An index made anew brings back dropped records that were not punched out yet, and no condemnation: both only keep
//! more than need be.
//!
//! All changes of the index go through one thread, in one order; see [`commit`].
//!
//! # Reads
//! The index entry has the checksum of each 64 KiB block; a read needs one look at the index, and then only the blocks
//! that it touches. A copy that does not verify is dropped from the index, so that the chunk can be stored anew; one
//! that the file system does not give is kept, and replaced by the next put of the chunk.

mod batch;
mod buffer;
mod commit;
mod copies;
mod error;
mod file;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod index;
mod keeper;
mod read;
mod recover;
mod scan;
mod segments;
mod shared;
mod store;
mod writer;

#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod store_test;

use std::sync::Arc;

use crate::ballast::Ballast;
use crate::types::UnixMillis;

pub use error::ChunkError;
pub use file::{SegmentDir, SegmentFile, Space};
pub use recover::{Report, rebuild_index};
pub use store::{ChunkInfo, ChunkStore, Usage, hashes_to};

/// Where the store gets the time from: milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// How a chunk store is to be run.
#[derive(Clone)]
pub struct Options {
    /// The disk's name in logs and metrics.
    pub label: String,
    /// When a segment is full and the next one begins, in bytes.
    pub segment_len: u64,
    /// The room, in bytes, that puts leave free for the index and for deletes.
    pub reserve_bytes: u64,
    /// What is held back beyond that, for the moment in which there is no room at all.
    pub ballast: Option<Arc<Ballast>>,
    /// How many reads may wait for the disk at once; a disk that hangs must not take the threads of the others.
    pub readers: usize,
    /// The block cache that all RocksDBs of the process share. A small one of its own without.
    pub block_cache: Option<rocksdb::Cache>,
    /// What bounds the write buffers of all RocksDBs of the process.
    pub write_buffer_manager: Option<rocksdb::WriteBufferManager>,
    /// For touches and condemnations.
    pub clock: Clock,
    /// Another place for the segments than the directory; for tests.
    pub segments: Option<Arc<dyn SegmentDir>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            label: String::new(),
            segment_len: 1 << 30,
            reserve_bytes: 1 << 30,
            ballast: None,
            readers: 32,
            block_cache: None,
            write_buffer_manager: None,
            clock: Arc::new(crate::types::now_ms),
            segments: None,
        }
    }
}
