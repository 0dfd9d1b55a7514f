//! The repair queue: each chunk stands in it once, at the time when it was last queued.

use super::super::command::Outcome;
use super::super::error::MetaError;
use super::super::overlay::Read;
use super::super::stored::{Flag, StoredRepair};
use super::{Applied, Applier, demand, less, more};
use crate::types::{DiskId, MAX_CHUNKS_PER_BODY, UnixMillis};

/// The most disks that an entry remembers.
const MAX_KNOWN: usize = 32;

impl Applier<'_> {
    /// `Command::QueueRepair`.
    pub(super) fn queue_repairs(&mut self, hashes: &[[u8; 32]], known: &[DiskId]) -> Applied<Outcome> {
        demand(hashes.len() <= MAX_CHUNKS_PER_BODY && known.len() <= MAX_KNOWN)?;
        for hash in hashes {
            self.queue_repair(hash, known)?;
        }
        Ok(Outcome::Done)
    }

    /// Queues a chunk. One that is queued already moves to the end, by at least a millisecond: a repair that was begun
    /// before may finish what it saw, not this.
    pub(super) fn queue_repair(&mut self, hash: &[u8; 32], known: &[DiskId]) -> Result<(), MetaError> {
        let key = self.keys.repair(hash);
        let mut entry = StoredRepair { queued_ms: self.noted_ms, known: known.to_vec() };
        if let Some(old) = self.overlay.load::<StoredRepair>(&key)? {
            self.overlay.delete(self.keys.repair_order(old.queued_ms, hash));
            entry.queued_ms = entry.queued_ms.max(old.queued_ms.saturating_add(1));
            entry.known.extend(old.known.into_iter().filter(|disk| !known.contains(disk)));
            entry.known.truncate(MAX_KNOWN);
        } else {
            more(&mut self.state.statistics.queued_repairs, 1);
        }
        self.overlay.put(self.keys.repair_order(entry.queued_ms, hash), &Flag)?;
        self.overlay.put(key, &entry)
    }

    /// `Command::FinishRepair`.
    pub(super) fn finish_repairs(&mut self, done: &[([u8; 32], UnixMillis)]) -> Applied<Outcome> {
        demand(done.len() <= MAX_CHUNKS_PER_BODY)?;
        for (hash, seen_ms) in done {
            let key = self.keys.repair(hash);
            let Some(entry) = self.overlay.load::<StoredRepair>(&key)? else { continue };
            if entry.queued_ms <= *seen_ms {
                self.overlay.delete(self.keys.repair_order(entry.queued_ms, hash));
                self.overlay.delete(key);
                less(&mut self.state.statistics.queued_repairs, 1);
            }
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
#[path = "repair_test.rs"]
mod tests;
