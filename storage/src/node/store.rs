//! Joins the state machine of `meta` with the consensus of `raft`, which know nothing of each other.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use rocksdb::DB;

use crate::meta::{Answer, Batch, GroupStore, MetaError, Query};
use crate::raft::{Applied, SnapshotFrames, StateMachineStore, StoreError};
use crate::types::GroupId;

/// A group's state machine, as consensus drives it.
struct Store(Arc<GroupStore>);

/// Opens the state of a group in a disk's database. Blocks.
pub fn open(db: Arc<DB>, group: GroupId) -> Result<Arc<dyn StateMachineStore>, StoreError> {
    Ok(Arc::new(Store(Arc::new(GroupStore::open(db, group)?))))
}

impl From<MetaError> for StoreError {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Database(_) => Self::Disk(error.to_string()),
            _ => Self::State(error.to_string()),
        }
    }
}

impl StateMachineStore for Store {
    fn applied(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.applied())
    }

    fn apply(&self, entries: &[(u64, &Batch)], marker: &[u8]) -> Result<Vec<Applied>, StoreError> {
        Ok(self.0.apply(entries, marker)?)
    }

    fn query(&self, query: &Query) -> Result<Answer, StoreError> {
        Ok(self.0.query(query)?)
    }

    fn query_in_memory(&self, query: &Query) -> Result<Option<Answer>, StoreError> {
        Ok(self.0.query_in_memory(query)?)
    }

    fn snapshot(&self) -> Result<Box<dyn SnapshotFrames>, StoreError> {
        Ok(Box::new(Frames::start(self.0.clone())?))
    }

    fn install(&self, frames: &mut dyn SnapshotFrames, marker: &[u8]) -> Result<(), StoreError> {
        let frames = std::iter::from_fn(|| frames.next_frame().map_err(std::io::Error::other).transpose());
        Ok(self.0.install(frames, marker)?)
    }

    fn wipe(&self) -> Result<(), StoreError> {
        Ok(self.0.wipe()?)
    }
}

/// The frames of a snapshot. The view that they are read from borrows the database, so a thread holds both; it ends
/// when nobody wants its frames any more.
struct Frames {
    marker: Option<Vec<u8>>,
    frames: Receiver<Result<Vec<u8>, MetaError>>,
}

impl Frames {
    fn start(store: Arc<GroupStore>) -> Result<Self, StoreError> {
        let (opened, open) = sync_channel(1);
        let (sender, frames) = sync_channel(1);
        let read = move || {
            let reader = match store.snapshot_reader() {
                Ok(reader) => reader,
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            // Wherever nobody listens the snapshot was given up.
            if opened.send(Ok(reader.marker().map(<[u8]>::to_vec))).is_err() {
                return;
            }
            for frame in reader {
                let failed = frame.is_err();
                if sender.send(frame).is_err() || failed {
                    return;
                }
            }
        };
        let failed = |error: &dyn std::fmt::Display| StoreError::Disk(format!("a snapshot cannot be read: {error}"));
        std::thread::Builder::new().name("meta-snapshot".to_owned()).spawn(read).map_err(|error| failed(&error))?;
        let marker = open.recv().map_err(|error| failed(&error))??;
        Ok(Self { marker, frames })
    }
}

impl SnapshotFrames for Frames {
    fn next_frame(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        // The sender is gone after the last frame.
        Ok(self.frames.recv().ok().transpose()?)
    }

    fn marker(&self) -> Option<&[u8]> {
        self.marker.as_deref()
    }
}
