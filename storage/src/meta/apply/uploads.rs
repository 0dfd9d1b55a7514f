//! Multipart uploads: create, part, complete, abort. Parts stay where they were written: Complete makes a manifest of
//! their manifests, which takes over their holders.

use super::super::command::{NamedPart, NewBody, Outcome, Rejection, WriteCondition};
use super::super::error::MetaError;
use super::super::manifest;
use super::super::overlay::Read;
use super::super::record::{
    Attributes, Body, Checksum, ChecksumAlgorithm, ChecksumKind, CompletedUpload, ETag, PartRecord, UploadRecord,
};
use super::super::schema::PREFIX_LEN;
use super::super::stored::{self, KeySuffix, ManifestHeader, ManifestKind, PartEntry, PartPage, UploadHandle};
use super::objects::{Content, Place};
use super::{Applied, Applier, check_key, demand, less, more};
use crate::types::{ManifestId, UnixMillis, UploadId, UserId};

/// The most parts of an upload. Source: the S3 user guide, "Amazon S3 multipart upload limits".
pub(super) const MAX_PARTS: usize = 10_000;

/// What `Command::PutPart` brings.
pub(super) struct NewPart<'a> {
    pub number: u16,
    pub id: ManifestId,
    pub size: u64,
    pub md5: [u8; 16],
    pub checksum: &'a Option<Checksum>,
    pub body: &'a NewBody,
}

/// What `Command::CompleteUpload` brings.
pub(super) struct Complete<'a> {
    pub upload: UploadId,
    pub parts: &'a [NamedPart],
    pub manifest: ManifestId,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<&'a Checksum>,
    pub request_digest: [u8; 32],
}

impl Applier<'_> {
    /// `Command::CreateUpload`.
    pub(super) fn create_upload(
        &mut self,
        (bucket, key): Place<'_>,
        upload: UploadId,
        owner: UserId,
        attributes: Attributes,
        checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    ) -> Applied<Outcome> {
        check_key(key)?;
        demand(attributes.has_good_labels())?;
        self.check_bucket(bucket)?;
        let handle = self.keys.upload_handle(bucket, key.as_bytes(), upload);
        if self.overlay.contains(&handle)? {
            return Err(Rejection::Exists.into());
        }

        let initiated_ms = self.noted_ms;
        let record = UploadRecord { id: upload, key: key.to_owned(), owner, initiated_ms, attributes, checksum };
        self.overlay.put(handle, &UploadHandle { initiated_ms })?;
        self.overlay.put(self.keys.upload(bucket, key.as_bytes(), initiated_ms, upload), &record)?;
        more(&mut self.state.statistics.open_uploads, 1);
        Ok(Outcome::Done)
    }

    /// `Command::PutPart`.
    pub(super) fn put_part(&mut self, place: Place<'_>, upload: UploadId, part: NewPart<'_>) -> Applied<Outcome> {
        let NewPart { number, id, size, md5, checksum, body } = part;
        demand((1..=MAX_PARTS).contains(&usize::from(number)))?;
        // Never inline: what reads an object made of parts finds chunks only.
        demand(match body {
            NewBody::Empty => true,
            NewBody::Inline { .. } => false,
            NewBody::Chunks { id: body, .. } => *body == id,
        })?;
        self.check_body(body, size)?;
        self.check_bucket(place.0)?;
        self.initiated(place, upload)?;
        self.check_touch(body)?;

        let slot = self.keys.part(upload, number);
        if let Some(old) = self.overlay.load::<PartRecord>(&slot)? {
            self.release(&old.body)?;
        }
        let body = self.write_body(body, size)?;
        let modified_ms = self.noted_ms;
        let record = PartRecord { number, id, modified_ms, size, md5, checksum: checksum.clone(), body };
        self.overlay.put(slot, &record)?;
        Ok(Outcome::Part(Box::new(record)))
    }

    /// `Command::CompleteUpload`.
    pub(super) fn complete_upload(
        &mut self,
        place: Place<'_>,
        condition: &WriteCondition,
        complete: Complete<'_>,
    ) -> Applied<Outcome> {
        let Complete { upload, parts, manifest, size, etag, checksum, .. } = complete;
        demand(!parts.is_empty() && parts.len() <= MAX_PARTS)?;
        demand(parts.is_sorted_by(|one, next| one.number < next.number))?;
        demand(!self.overlay.contains(&self.keys.manifest(manifest))?)?;
        self.check_bucket(place.0)?;
        let initiated_ms = self.initiated(place, upload)?;
        let (entries, others) = self.named_parts(upload, parts)?;
        demand(entries.iter().try_fold(0u64, |sum, entry| sum.checked_add(entry.size)) == Some(size))?;
        let old = self.current(place)?;
        condition.judge(old.as_ref().map(|old| &old.etag))?;

        for part in &others {
            self.release(&part.body)?;
            self.overlay.delete(self.keys.part(upload, part.number));
        }
        for entry in &entries {
            self.overlay.delete(self.keys.part(upload, entry.number));
        }
        let record = self.close_upload(place, initiated_ms, upload)?;
        self.write_parts(manifest, size, &entries)?;
        self.remember(place, &complete)?;
        let content =
            Content { size, etag, checksum: checksum.cloned(), owner: record.owner, attributes: record.attributes };
        Ok(self.make_current(place, content, Body::Manifest(manifest), old)?)
    }

    /// `Command::AbortUpload`.
    pub(super) fn abort_upload(&mut self, place: Place<'_>, upload: UploadId) -> Applied<Outcome> {
        self.check_bucket(place.0)?;
        let initiated_ms = self.initiated(place, upload)?;
        for part in self.parts(upload, usize::MAX)? {
            self.release(&part.body)?;
            self.overlay.delete(self.keys.part(upload, part.number));
        }
        self.close_upload(place, initiated_ms, upload)?;
        Ok(Outcome::Done)
    }

    /// When an open upload was initiated.
    fn initiated(&self, (bucket, key): Place<'_>, upload: UploadId) -> Applied<UnixMillis> {
        let handle: Option<UploadHandle> =
            self.overlay.load(&self.keys.upload_handle(bucket, key.as_bytes(), upload))?;
        Ok(handle.ok_or(Rejection::NoSuchUpload)?.initiated_ms)
    }

    /// The first `limit` parts of an upload.
    pub(super) fn parts(&self, upload: UploadId, limit: usize) -> Result<Vec<PartRecord>, MetaError> {
        let pairs = self.overlay.scan(&self.keys.parts_of(upload, 0), limit)?;
        pairs.iter().map(|(key, value)| stored::decode(value, key)).collect()
    }

    /// The named parts, as entries of a manifest, and those that were not named.
    fn named_parts(&self, upload: UploadId, named: &[NamedPart]) -> Applied<(Vec<PartEntry>, Vec<PartRecord>)> {
        let mut named = named.iter().peekable();
        let (mut entries, mut others) = (Vec::with_capacity(named.len()), Vec::new());
        for part in self.parts(upload, usize::MAX)? {
            if named.next_if(|named| named.number == part.number && named.id == part.id).is_some() {
                let PartRecord { number, size, body, checksum, .. } = part;
                entries.push(PartEntry { number, size, body, checksum });
            } else {
                others.push(part);
            }
        }
        // Both are in order of the numbers: one that is missing or another holds up all those after it.
        if named.next().is_some() {
            return Err(Rejection::UploadChanged.into());
        }
        Ok((entries, others))
    }

    fn write_parts(&mut self, id: ManifestId, size: u64, entries: &[PartEntry]) -> Result<(), MetaError> {
        let mut index = Vec::new();
        for (place, page) in manifest::pages(entries) {
            index.extend(page.first().map(|entry| (entry.number, place)));
            self.overlay.put(self.keys.page(id, place), &PartPage(page.to_vec()))?;
        }
        let count = u16::try_from(entries.len()).unwrap_or(u16::MAX);
        self.write_manifest(id, &ManifestHeader { holders: 1, size, kind: ManifestKind::Parts { count, index } })
    }

    /// Takes an upload out of the tables; its parts are gone or taken over already.
    pub(super) fn close_upload(
        &mut self,
        (bucket, key): Place<'_>,
        initiated_ms: UnixMillis,
        upload: UploadId,
    ) -> Result<UploadRecord, MetaError> {
        let slot = self.keys.upload(bucket, key.as_bytes(), initiated_ms, upload);
        let record = self.overlay.load(&slot)?.ok_or_else(|| MetaError::corrupt("upload", &slot.bytes))?;
        self.overlay.delete(slot);
        self.overlay.delete(self.keys.upload_handle(bucket, key.as_bytes(), upload));
        less(&mut self.state.statistics.open_uploads, 1);
        Ok(record)
    }

    /// Remembers a completed upload, so that the same Complete can be answered again.
    fn remember(&mut self, (bucket, key): Place<'_>, complete: &Complete<'_>) -> Result<(), MetaError> {
        let record = CompletedUpload {
            id: complete.upload,
            key: key.to_owned(),
            completed_ms: self.state.time_ms,
            request_digest: complete.request_digest,
            etag: complete.etag,
            version: self.place,
            size: complete.size,
            checksum: complete.checksum.cloned(),
        };
        let slot = self.keys.completed(bucket, key.as_bytes(), complete.upload);
        let suffix = KeySuffix(bytes::Bytes::copy_from_slice(&slot.bytes[PREFIX_LEN..]));
        self.overlay.put(self.keys.completed_order(record.completed_ms, complete.upload), &suffix)?;
        self.overlay.put(slot, &record)
    }
}

#[cfg(test)]
#[path = "uploads_test.rs"]
mod tests;
