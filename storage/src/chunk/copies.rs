//! Reading a copy that may be dropped, or be found to have rotted, while it is read. Blocking.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::commit::Op;
use super::index::{Entry, Location};
use super::read::{self, Fault, Verified};
use super::segments::Segments;
use super::shared::Shared;
use crate::client::DiskError;
use crate::types::ChunkId;

/// How often a read looks the chunk up, where it is dropped or replaced meanwhile.
const ROUNDS: usize = 4;

/// A way to the copies of one store, for a thread that may block.
pub struct Copies {
    pub shared: Arc<Shared>,
    pub ops: mpsc::Sender<Op>,
}

/// What became of a copy that a put came upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// It is right, and was still there.
    Good(Location),
    /// It was dropped: by collection, or because it is corrupt.
    Gone,
    /// The file system does not give it.
    Unreadable(Location),
}

enum Failed {
    Gone,
    Corrupt,
    Unreadable(String),
}

impl Copies {
    /// A range of a chunk's bytes, verified.
    pub fn read(&self, id: &ChunkId, range: Range<u32>) -> Result<Vec<Bytes>, DiskError> {
        let read = |entry: &Entry| {
            if range.start > range.end || range.end > entry.len {
                return Err(DiskError::Refused(format!("the chunk has {} bytes", entry.len)));
            }
            Ok(self.attempt(id, entry, |segments| read::read_range(segments, entry, range.clone())))
        };
        self.looked_up(id, read).map(|(_, pieces)| pieces)
    }

    /// All that there is of a chunk, verified, and where it is.
    pub fn verify(&self, id: &ChunkId) -> Result<(Location, Verified), DiskError> {
        self.looked_up(id, |entry| Ok(self.attempt(id, entry, |segments| read::verify(segments, id, entry))))
    }

    /// Verifies the bytes of the copy that `entry` speaks of.
    pub fn check(&self, id: &ChunkId, entry: &Entry) -> Result<Copy, DiskError> {
        Ok(match self.attempt(id, entry, |segments| read::check(segments, entry)) {
            Ok(()) => Copy::Good(entry.location),
            Err(Failed::Gone | Failed::Corrupt) => Copy::Gone,
            Err(Failed::Unreadable(_)) => Copy::Unreadable(entry.location),
        })
    }

    fn looked_up<T>(
        &self,
        id: &ChunkId,
        read: impl Fn(&Entry) -> Result<Result<T, Failed>, DiskError>,
    ) -> Result<(Location, T), DiskError> {
        for _ in 0..ROUNDS {
            let entry = self.shared.index.get(id)?.ok_or(DiskError::NotFound)?;
            match read(&entry)? {
                Ok(found) => return Ok((entry.location, found)),
                Err(Failed::Gone) => {}
                Err(Failed::Corrupt) => return Err(DiskError::Corrupt),
                Err(Failed::Unreadable(why)) => return Err(DiskError::Unavailable(why)),
            }
        }
        Err(DiskError::Busy)
    }

    /// Reads a copy, and once more where that fails. A copy that is still in the index then, and does not verify the
    /// second time either, is corrupt, and is dropped.
    fn attempt<T>(
        &self,
        id: &ChunkId,
        entry: &Entry,
        read: impl Fn(&Segments) -> Result<T, Fault>,
    ) -> Result<T, Failed> {
        if let Ok(found) = read(&self.shared.segments) {
            return Ok(found);
        }
        // Collection takes the entry out before it punches the record out: one that was dropped meanwhile shows here.
        match self.shared.index.get(id) {
            Ok(Some(now)) if now.location == entry.location => {}
            Ok(_) => return Err(Failed::Gone),
            Err(error) => return Err(Failed::Unreadable(error.to_string())),
        }
        match read(&self.shared.segments) {
            Ok(found) => Ok(found),
            Err(Fault::Corrupt) if self.discard(id, entry.location) => Err(Failed::Corrupt),
            Err(Fault::Corrupt) => Err(Failed::Gone),
            Err(Fault::Unreadable(error)) => {
                self.shared.metrics.unreadable.increment(1);
                tracing::warn!(disk = %self.shared.options.label, chunk = %id, %error, "a chunk cannot be read");
                Err(Failed::Unreadable(error.to_string()))
            }
        }
    }

    /// Has a corrupt copy dropped; whether it was still there, or it could not be dropped.
    fn discard(&self, id: &ChunkId, at: Location) -> bool {
        let (answer, answered) = oneshot::channel();
        if self.ops.blocking_send(Op::Discard { id: *id, at, answer }).is_err() {
            return true;
        }
        !matches!(answered.blocking_recv(), Ok(Ok(false)))
    }
}
