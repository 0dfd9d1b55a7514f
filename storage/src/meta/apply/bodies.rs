//! The bodies of versions and parts: how they come to be, are shared, and lose their holders.

use super::super::command::{NewBody, Rejection};
use super::super::error::MetaError;
use super::super::manifest;
use super::super::overlay::Read;
use super::super::record::{Body, ChunkEntry};
use super::super::stored::{ChunkPage, Flag, InlineBody, ManifestHeader, ManifestKind};
use super::{Applied, Applier, demand, less, more};
use crate::types::{DiskId, MAX_CHUNK_LEN, MAX_CHUNKS_PER_BODY, MAX_INLINE_LEN, ManifestId, UnixMillis};

/// The most disks that a body's bits speak of.
const MAX_DISKS: usize = 32;

impl Applier<'_> {
    /// Whether `body` is well-formed, of `size` bytes, and its id is new.
    pub(super) fn check_body(&self, body: &NewBody, size: u64) -> Applied<()> {
        match body {
            NewBody::Empty => demand(size == 0)?,
            NewBody::Inline { id, bytes } => {
                demand(!bytes.is_empty() && bytes.len() <= MAX_INLINE_LEN && bytes.len() as u64 == size)?;
                demand(!self.overlay.contains(&self.keys.inline(*id))?)?;
            }
            NewBody::Chunks { id, chunks, disks, acknowledged, homes, .. } => {
                demand(!chunks.is_empty() && chunks.len() <= MAX_CHUNKS_PER_BODY)?;
                demand(chunks.len() == acknowledged.len() && chunks.len() == homes.len())?;
                demand(chunks.iter().all(|chunk| chunk.len >= 1 && chunk.len as usize <= MAX_CHUNK_LEN))?;
                demand(chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>() == size)?;
                demand(disks.len() <= MAX_DISKS)?;
                let unknown = if disks.len() == MAX_DISKS { 0 } else { u32::MAX << disks.len() };
                demand(acknowledged.iter().chain(homes).all(|bits| bits & unknown == 0))?;
                demand(!self.overlay.contains(&self.keys.manifest(*id))?)?;
            }
        }
        Ok(())
    }

    /// Whether the chunks of `body` were touched so lately that none can have been dropped since.
    pub(super) fn check_touch(&self, body: &NewBody) -> Result<(), Rejection> {
        match body {
            NewBody::Chunks { oldest_touch_age_ms, .. } if *oldest_touch_age_ms > self.state.grace_now() / 2 => {
                Err(Rejection::TouchTooOld)
            }
            _ => Ok(()),
        }
    }

    /// Writes a body that was checked, with one holder: whom it is returned to.
    pub(super) fn write_body(&mut self, body: &NewBody, size: u64) -> Result<Body, MetaError> {
        match body {
            NewBody::Empty => Ok(Body::Empty),
            NewBody::Inline { id, bytes } => {
                self.overlay.put(self.keys.inline(*id), &InlineBody(bytes.clone()))?;
                Ok(Body::Inline(*id))
            }
            NewBody::Chunks { id, chunks, disks, acknowledged, homes, .. } => {
                self.write_chunks(*id, chunks)?;
                self.write_manifest(*id, &ManifestHeader { holders: 1, size, kind: ManifestKind::Chunks })?;
                for ((chunk, acknowledged), homes) in chunks.iter().zip(acknowledged).zip(homes) {
                    if acknowledged & homes != *homes {
                        self.queue_repair(&chunk.hash, &named(disks, *acknowledged))?;
                    }
                }
                Ok(Body::Manifest(*id))
            }
        }
    }

    fn write_chunks(&mut self, id: ManifestId, chunks: &[ChunkEntry]) -> Result<(), MetaError> {
        for (place, page) in manifest::pages(chunks) {
            self.overlay.put(self.keys.page(id, place), &ChunkPage(page.to_vec()))?;
        }
        for chunk in chunks {
            self.overlay.put(self.keys.reference(&chunk.hash, id), &Flag)?;
        }
        Ok(())
    }

    /// Writes the header of a new manifest, which has a holder.
    pub(super) fn write_manifest(&mut self, id: ManifestId, header: &ManifestHeader) -> Result<(), MetaError> {
        more(&mut self.state.statistics.manifests, 1);
        self.overlay.put(self.keys.manifest(id), header)
    }

    /// One more holder of `body`. An inline body is copied, as `inline_id`, which the caller found to be new.
    pub(super) fn share(&mut self, body: &Body, inline_id: ManifestId) -> Result<Body, MetaError> {
        match body {
            Body::Empty => Ok(Body::Empty),
            Body::Inline(id) => {
                let key = self.keys.inline(*id);
                let bytes: InlineBody =
                    self.overlay.load(&key)?.ok_or_else(|| MetaError::corrupt("inline body", &key.bytes))?;
                self.overlay.put(self.keys.inline(inline_id), &bytes)?;
                Ok(Body::Inline(inline_id))
            }
            Body::Manifest(id) => {
                let mut header = self.manifest(*id)?;
                header.holders = header.holders.saturating_add(1);
                self.overlay.put(self.keys.manifest(*id), &header)?;
                Ok(Body::Manifest(*id))
            }
        }
    }

    /// One holder less of `body`.
    pub(super) fn release(&mut self, body: &Body) -> Result<(), MetaError> {
        match body {
            Body::Empty => Ok(()),
            Body::Inline(id) => {
                self.overlay.delete(self.keys.inline(*id));
                Ok(())
            }
            Body::Manifest(id) => self.release_manifest(*id, self.state.time_ms),
        }
    }

    /// One holder less of a manifest. Without one it is queued as garbage, dead since `since`.
    pub(super) fn release_manifest(&mut self, id: ManifestId, since: UnixMillis) -> Result<(), MetaError> {
        let mut header = self.manifest(id)?;
        header.holders = header
            .holders
            .checked_sub(1)
            .ok_or_else(|| MetaError::corrupt("count of holders", &self.keys.manifest(id).bytes))?;
        if header.holders == 0 {
            more(&mut self.state.statistics.garbage_manifests, 1);
            self.overlay.put(self.keys.garbage(since, id), &Flag)?;
        }
        self.overlay.put(self.keys.manifest(id), &header)
    }

    /// The head of a manifest that something refers to.
    pub(super) fn manifest(&self, id: ManifestId) -> Result<ManifestHeader, MetaError> {
        let key = self.keys.manifest(id);
        self.overlay.load(&key)?.ok_or_else(|| MetaError::corrupt("reference to a manifest", &key.bytes))
    }

    /// Takes a dead manifest out of the statistics.
    pub(super) fn forget_manifest(&mut self) {
        less(&mut self.state.statistics.manifests, 1);
        less(&mut self.state.statistics.garbage_manifests, 1);
    }
}

/// The disks that `bits` names.
fn named(disks: &[DiskId], bits: u32) -> Vec<DiskId> {
    disks.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1).map(|(_, disk)| *disk).collect()
}
