//! The garbage collector's steps. A reference to a chunk stands from the command that makes a manifest until the
//! manifest, dead for the grace time, is taken apart here.

use super::super::command::Outcome;
use super::super::error::MetaError;
use super::super::manifest::Entry;
use super::super::record::{Body, ChunkEntry};
use super::super::schema::{Cf, Key, timed};
use super::super::stored::{self, ChunkPage, Flag, KeySuffix, ManifestKind, PartEntry, PartPage, Stored};
use super::time::SKEW_MS;
use super::{Applied, Applier};
use crate::types::{ManifestId, UnixMillis, UploadId};

/// How long a completed upload is remembered, in milliseconds.
const COMPLETED_MS: u64 = 24 * 60 * 60 * 1000;

/// Dead manifests looked up at once.
const SCAN: usize = 64;

/// A page of either kind, as far as taking it apart goes.
trait Page: Stored {
    type Entry: Entry;

    fn entries(&mut self) -> &mut Vec<Self::Entry>;
}

impl Page for ChunkPage {
    type Entry = ChunkEntry;

    fn entries(&mut self) -> &mut Vec<ChunkEntry> {
        &mut self.0
    }
}

impl Page for PartPage {
    type Entry = PartEntry;

    fn entries(&mut self) -> &mut Vec<PartEntry> {
        &mut self.0
    }
}

impl Applier<'_> {
    /// `Command::SetGrace`. From when the stamp says, where the state machine's time has not come that far: it will leap.
    pub(super) fn set_grace(&mut self, grace_ms: u64) {
        if grace_ms != self.state.grace_ms {
            self.state.grace_before_ms = self.state.grace_now().min(grace_ms);
            self.state.grace_set_ms = self.noted_ms;
            self.state.grace_ms = grace_ms;
        }
    }

    /// `Command::CollectGarbage`.
    pub(super) fn collect_garbage(&mut self, limit: u32, grace_ms: u64) -> Applied<Outcome> {
        let limit = limit.max(1);
        let mut left = limit;
        let garbage = match self.state.time_ms.checked_sub(grace_ms) {
            Some(horizon) if self.state.brought_ms <= horizon => self.collect_manifests(horizon, &mut left)?,
            _ => false,
        };
        let late = self.bring_forward()?;
        let completed = match self.state.time_ms.checked_sub(COMPLETED_MS) {
            Some(horizon) => self.forget_completed(horizon, &mut left)?,
            None => false,
        };
        Ok(Outcome::Progress { taken: limit - left, more: garbage || late || completed })
    }

    /// Takes manifests apart that died no later than `horizon`; answers whether there are more.
    fn collect_manifests(&mut self, horizon: UnixMillis, left: &mut u32) -> Result<bool, MetaError> {
        loop {
            let due = self.keys.garbage_before(self.state.garbage_from_ms, horizon.saturating_add(1));
            let dead = self.overlay.scan(&due, SCAN)?;
            if dead.is_empty() {
                return Ok(false);
            }
            for (key, _) in dead {
                if *left == 0 {
                    return Ok(true);
                }
                let (since, id) = timed(&key).ok_or_else(|| MetaError::corrupt("garbage entry", &key))?;
                self.state.garbage_from_ms = since;
                if self.collect_manifest(since, ManifestId(id), left)? {
                    // What it held was queued at the same time as itself: before the rest of `dead`.
                    break;
                }
            }
        }
    }

    /// What was queued under a time that no clock of the cluster may show now counts from now on: a clock was ahead, and
    /// was set back. Or it is behind now, and will leap: then it counts from the leap (`time`). Answers whether there is
    /// more of it.
    fn bring_forward(&mut self) -> Result<bool, MetaError> {
        let now = self.state.time_ms;
        let late = self.keys.garbage_before(now.saturating_add(SKEW_MS), UnixMillis::MAX);
        for (key, _) in self.overlay.scan(&late, SCAN)? {
            let (since, id) = timed(&key).ok_or_else(|| MetaError::corrupt("garbage entry", &key))?;
            self.overlay.delete(self.keys.garbage(since, ManifestId(id)));
            self.overlay.put(self.keys.garbage(now, ManifestId(id)), &Flag)?;
            self.state.brought_ms = now;
        }
        Ok(!self.overlay.is_empty(&late)?)
    }

    /// Takes one dead manifest apart, or as much of it as `left` allows; answers whether it held others.
    fn collect_manifest(&mut self, since: UnixMillis, id: ManifestId, left: &mut u32) -> Result<bool, MetaError> {
        let kind = self.manifest(id)?.kind;
        let gone = match &kind {
            ManifestKind::Chunks => self.collect_pages::<ChunkPage>(id, left, |applier, chunk| {
                applier.overlay.delete(applier.keys.reference(&chunk.hash, id));
                Ok(())
            })?,
            // What the manifest held has been out of reach for as long as the manifest itself.
            ManifestKind::Parts { .. } => {
                self.collect_pages::<PartPage>(id, left, |applier, part| match part.body {
                    Body::Manifest(child) => applier.release_manifest(child, since),
                    other => applier.release(&other),
                })?
            }
        };
        if gone {
            self.overlay.delete(self.keys.manifest(id));
            self.overlay.delete(self.keys.garbage(since, id));
            self.forget_manifest();
        }
        Ok(matches!(kind, ManifestKind::Parts { .. }))
    }

    /// Takes pages apart, `left` entries at most; answers whether all are gone. A page is shortened from its end:
    /// what is left of it stands at the offsets at which it stood.
    fn collect_pages<P: Page>(
        &mut self,
        id: ManifestId,
        left: &mut u32,
        mut collect: impl FnMut(&mut Self, P::Entry) -> Result<(), MetaError>,
    ) -> Result<bool, MetaError> {
        loop {
            let Some((key, value)) = self.overlay.scan(&self.keys.pages(id), 1)?.pop() else { return Ok(true) };
            if *left == 0 {
                return Ok(false);
            }
            let mut page: P = stored::decode(&value, &key)?;
            let keep = page.entries().len().saturating_sub(*left as usize);
            for entry in page.entries().split_off(keep) {
                collect(self, entry)?;
                *left = left.saturating_sub(1);
            }
            let key = Key { cf: Cf::Manifests, bytes: key };
            if keep == 0 {
                self.overlay.delete(key);
            } else {
                self.overlay.put(key, &page)?;
            }
        }
    }

    /// Forgets uploads that were completed no later than `horizon`; answers whether there are more.
    fn forget_completed(&mut self, horizon: UnixMillis, left: &mut u32) -> Result<bool, MetaError> {
        let due = self.keys.completed_before(self.state.completed_from_ms, horizon.saturating_add(1));
        for (key, value) in self.overlay.scan(&due, *left as usize)? {
            let (time, upload) = timed(&key).ok_or_else(|| MetaError::corrupt("completed upload", &key))?;
            let record: KeySuffix = stored::decode(&value, &key)?;
            self.overlay.delete(self.keys.with_suffix(Cf::General, &record.0));
            self.overlay.delete(self.keys.completed_order(time, UploadId(upload)));
            self.state.completed_from_ms = time;
            *left = left.saturating_sub(1);
        }
        Ok(!self.overlay.is_empty(&due)?)
    }
}

#[cfg(test)]
#[path = "garbage_test.rs"]
mod tests;
