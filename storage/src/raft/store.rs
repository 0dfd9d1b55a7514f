//! What this room needs of a state machine's store. `meta::GroupStore` is the one; the tests have a toy.

use std::sync::Arc;

use rocksdb::DB;

use super::consensus::Applied;
use crate::meta::{Answer, Batch, Query};
use crate::types::GroupId;

/// Why a store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Its database failed: nothing on the disk can be trusted any more.
    #[error("{0}")]
    Disk(String),
    /// The state holds what it cannot hold, or does not take what it must take. All replicas of the group have the same
    /// state, so that it would be the same on any disk: the group stops, and everything else on the disk goes on.
    #[error("{0}")]
    State(String),
}

/// The state of one group on one disk. All calls block, for microseconds unless said otherwise.
pub trait StateMachineStore: Send + Sync + 'static {
    /// The marker of the last [`StateMachineStore::apply`] or [`StateMachineStore::install`]; `None` where there was
    /// none yet.
    fn applied(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies the commands of log entries, each with its index, and keeps the marker: all in one write, without an
    /// fsync. No entries: the marker alone. Answers for each entry what came of its commands.
    fn apply(&self, entries: &[(u64, &Batch)], marker: &[u8]) -> Result<Vec<Applied>, StoreError>;

    /// Answers from the state as it is. Blocks, for as long as the disk takes.
    fn query(&self, query: &Query) -> Result<Answer, StoreError>;

    /// The same, if all that it takes is in memory; `None` where it is not, or may take long. Does not block.
    fn query_in_memory(&self, query: &Query) -> Result<Option<Answer>, StoreError>;

    /// A view of the whole state and its marker, which later writes do not change. Costs nothing until it is read.
    fn snapshot(&self) -> Result<Box<dyn SnapshotFrames>, StoreError>;

    /// Replaces the whole state by what the frames of a snapshot hold, and the marker, durably and at once: after a
    /// crash there is the old state or the new one. May block for minutes.
    fn install(&self, frames: &mut dyn SnapshotFrames, marker: &[u8]) -> Result<(), StoreError>;

    /// Removes the state and the marker.
    fn wipe(&self) -> Result<(), StoreError>;
}

/// A snapshot on its way, in pieces of at most about a mebibyte.
pub trait SnapshotFrames: Send + 'static {
    /// The next piece; `None` after the last. Blocks.
    fn next_frame(&mut self) -> Result<Option<Vec<u8>>, StoreError>;

    /// The marker of the state that the view shows; `None` where nothing was applied.
    fn marker(&self) -> Option<&[u8]>;
}

/// Opens the stores of groups in a disk's database.
pub trait Stores: Send + Sync + 'static {
    /// Blocks.
    fn open(&self, db: Arc<DB>, group: GroupId) -> Result<Arc<dyn StateMachineStore>, StoreError>;
}

impl<F> Stores for F
where
    F: Fn(Arc<DB>, GroupId) -> Result<Arc<dyn StateMachineStore>, StoreError> + Send + Sync + 'static,
{
    fn open(&self, db: Arc<DB>, group: GroupId) -> Result<Arc<dyn StateMachineStore>, StoreError> {
        self(db, group)
    }
}
