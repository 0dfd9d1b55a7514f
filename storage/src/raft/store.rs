//! What this room needs of a state machine's store. `meta::GroupStore` is the one; the tests have a toy.

use std::sync::Arc;

use rocksdb::DB;

use super::consensus::Applied;
use crate::meta::{Answer, Batch, Query};
use crate::types::GroupId;

/// Why a store could not do what it was asked: its database failed, or holds what it cannot read. The replica stops.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// The state of one group on one disk. All calls block, for microseconds unless said otherwise.
pub trait StateMachineStore: Send + Sync + 'static {
    /// The marker of the last [`StateMachineStore::apply`] or [`StateMachineStore::install`]; `None` where there was
    /// none yet.
    fn applied(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies the commands of log entries, each with its index, and keeps the marker: all in one write, without an
    /// fsync. No entries: the marker alone. Answers for each entry what came of its commands.
    fn apply(&self, entries: &[(u64, &Batch)], marker: &[u8]) -> Result<Vec<Applied>, StoreError>;

    /// Answers from the state as it is. Lists may block for milliseconds.
    fn query(&self, query: &Query) -> Result<Answer, StoreError>;

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
