//! Objects: put, copy, delete. Only here, at apply, a condition lets a write through; a gateway may refuse one earlier.

use bytes::Bytes;

use super::super::command::{DeleteTarget, NewBody, Outcome, Rejection, WriteCondition};
use super::super::error::MetaError;
use super::super::overlay::Read;
use super::super::record::{Attributes, Body, Checksum, ETag, Label, VersionRecord};
use super::super::stored::VersionHead;
use super::{Applied, Applier, Failure, check_key, demand, less, more};
use crate::types::{BucketId, ManifestId, UserId, VersionId};

/// The most keys that one command deletes. Source: the S3 API, DeleteObjects.
const MAX_DELETES: usize = 1000;

/// Bucket and key.
pub(super) type Place<'a> = (BucketId, &'a str);

/// What a new version says, but for its place, its time and its body.
pub(super) struct Content {
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub owner: UserId,
    pub attributes: Attributes,
}

/// What is copied, and what is said in place of what the source says.
pub(super) struct Source<'a> {
    pub place: Place<'a>,
    pub version: VersionId,
    /// `None` takes the source's, with these labels.
    pub attributes: Option<Attributes>,
    pub labels: &'a [(Label, Bytes)],
    pub checksum: Option<&'a Checksum>,
}

impl Applier<'_> {
    /// `Command::PutObject`.
    pub(super) fn put_object(
        &mut self,
        place: Place<'_>,
        condition: &WriteCondition,
        content: Content,
        body: &NewBody,
    ) -> Applied<Outcome> {
        check_key(place.1)?;
        demand(content.attributes.has_good_labels())?;
        self.check_body(body, content.size)?;
        self.check_bucket(place.0)?;
        let old = self.current(place)?;
        condition.judge(old.as_ref().map(|old| &old.etag))?;
        self.check_touch(body)?;

        let body = self.write_body(body, content.size)?;
        Ok(self.make_current(place, content, body, old)?)
    }

    /// `Command::CopyObject`.
    pub(super) fn copy_object(
        &mut self,
        source: Source<'_>,
        place: Place<'_>,
        condition: &WriteCondition,
        owner: UserId,
        inline_id: ManifestId,
    ) -> Applied<Outcome> {
        check_key(place.1)?;
        self.check_bucket(source.place.0)?;
        self.check_bucket(place.0)?;
        let from: Option<VersionRecord> = self.overlay.load(&self.key_of(source.place))?;
        let from = from.filter(|from| from.version == source.version).ok_or(Rejection::SourceChanged)?;
        if let Body::Inline(_) = from.body {
            demand(!self.overlay.contains(&self.keys.inline(inline_id))?)?;
        }
        let old = self.current(place)?;
        condition.judge(old.as_ref().map(|old| &old.etag))?;

        let attributes = source.attributes.unwrap_or(Attributes { labels: source.labels.to_vec(), ..from.attributes });
        demand(attributes.has_good_labels())?;
        // Shared before the old version lets go: a copy onto itself never leaves the body without a holder.
        let body = self.share(&from.body, inline_id)?;
        let content = Content {
            size: from.size,
            etag: from.etag,
            checksum: source.checksum.cloned().or(from.checksum),
            owner,
            attributes,
        };
        Ok(self.make_current(place, content, body, old)?)
    }

    /// `Command::DeleteObjects`.
    pub(super) fn delete_objects(&mut self, bucket: BucketId, targets: &[DeleteTarget]) -> Applied<Outcome> {
        demand(targets.len() <= MAX_DELETES)?;
        self.check_bucket(bucket)?;
        let mut deleted = Vec::with_capacity(targets.len());
        for target in targets {
            deleted.push(match self.delete_object(bucket, target) {
                Ok(there) => Ok(there),
                Err(Failure::Rejected(rejection)) => Err(rejection),
                Err(broken) => return Err(broken),
            });
        }
        Ok(Outcome::Deleted(deleted))
    }

    fn delete_object(&mut self, bucket: BucketId, target: &DeleteTarget) -> Applied<bool> {
        demand(target.condition != WriteCondition::Absent)?;
        let place = (bucket, target.key.as_str());
        let old = self.current(place)?;
        target.condition.judge(old.as_ref().map(|old| &old.etag))?;
        let bound = target.modified_ms.is_some() || target.size.is_some();
        let Some(old) = old else {
            return if bound { Err(Rejection::NoSuchKey.into()) } else { Ok(false) };
        };
        // Dates in HTTP have no milliseconds.
        let same_time = target.modified_ms.is_none_or(|time| time / 1000 == old.modified_ms / 1000);
        if !same_time || target.size.is_some_and(|size| size != old.size) {
            return Err(Rejection::PreconditionFailed.into());
        }

        self.overlay.delete(self.key_of(place));
        self.drop_version(&old)?;
        Ok(true)
    }

    /// `Command::SetLabel`.
    pub(super) fn set_label(
        &mut self,
        place: Place<'_>,
        version: VersionId,
        label: Label,
        (expected, value): (Option<&Bytes>, Option<&Bytes>),
    ) -> Applied<Outcome> {
        self.check_bucket(place.0)?;
        let mut record: VersionRecord = self.overlay.load(&self.key_of(place))?.ok_or(Rejection::NoSuchKey)?;
        if record.version != version || record.attributes.label(label) != expected {
            return Err(Rejection::SourceChanged.into());
        }
        record.attributes.set_label(label, value.cloned());
        demand(record.attributes.has_good_labels())?;
        self.overlay.put(self.key_of(place), &record)?;
        Ok(Outcome::Done)
    }

    /// The current version of a key.
    pub(super) fn current(&self, place: Place<'_>) -> Result<Option<VersionHead>, MetaError> {
        self.overlay.load(&self.key_of(place))
    }

    /// Makes a new version current. `body` is held by it already; `old` lets go of its own.
    pub(super) fn make_current(
        &mut self,
        place: Place<'_>,
        content: Content,
        body: Body,
        old: Option<VersionHead>,
    ) -> Result<Outcome, MetaError> {
        let Content { size, etag, checksum, owner, attributes } = content;
        let head = VersionHead { version: self.place, modified_ms: self.noted_ms, size, etag, checksum, owner, body };
        let record = head.with(attributes);
        self.overlay.put(self.key_of(place), &record)?;
        more(&mut self.state.statistics.objects, 1);
        more(&mut self.state.statistics.object_bytes, size);
        if let Some(old) = old {
            self.drop_version(&old)?;
        }
        Ok(Outcome::Version(Box::new(record)))
    }

    /// What follows when a version is gone from its place.
    fn drop_version(&mut self, old: &VersionHead) -> Result<(), MetaError> {
        less(&mut self.state.statistics.objects, 1);
        less(&mut self.state.statistics.object_bytes, old.size);
        self.release(&old.body)
    }

    fn key_of(&self, (bucket, key): Place<'_>) -> super::super::schema::Key {
        self.keys.current(bucket, key.as_bytes())
    }
}

#[cfg(test)]
#[path = "objects_test.rs"]
mod tests;
