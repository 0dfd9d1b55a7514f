//! Applies commands: a file per family. A command first checks all that it checks, then writes; a rejected one has
//! written nothing. Everything follows from the log and the state alone: no clock, no randomness, no order of a hash.

mod bodies;
mod buckets;
mod garbage;
mod identities;
mod objects;
mod operations;
mod repair;
mod root;
mod settings;
mod time;
mod uploads;

use super::command::{Batch, Command, Envelope, MAX_JUDGED, Outcome, Rejection};
use super::error::MetaError;
use super::overlay::{Overlay, Read};
use super::schema::Keys;
use super::stored::{GroupState, StoredBucket};
use crate::types::{BucketId, GroupId, ROOT_GROUP, UnixMillis, VersionId};

/// The longest object key, in bytes of UTF-8. Source: the S3 user guide, "Naming Amazon S3 objects".
const MAX_KEY_LEN: usize = 1024;

/// Why a command has no outcome.
enum Failure {
    /// It does not hold; it has changed nothing.
    Rejected(Rejection),
    /// The state machine itself failed; nothing of this apply is written.
    Broken(MetaError),
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<MetaError> for Failure {
    fn from(error: MetaError) -> Self {
        Self::Broken(error)
    }
}

type Applied<T> = Result<T, Failure>;

/// Applies the entries of one call, in order.
pub(super) struct Applier<'a> {
    pub(super) overlay: Overlay<'a>,
    pub(super) state: GroupState,
    keys: Keys,
    group: GroupId,
    /// The place in the log of the command that is being applied.
    place: VersionId,
    /// The leader's clock when it made the entry.
    stamped_ms: UnixMillis,
    /// When what is made now is noted to have been made: the stamp, but no less than the state machine's time. For people
    /// and for clocks elsewhere; nothing here is judged by it.
    noted_ms: UnixMillis,
}

impl<'a> Applier<'a> {
    pub(super) fn new(overlay: Overlay<'a>, keys: Keys, group: GroupId, state: GroupState) -> Self {
        Self { overlay, state, keys, group, place: VersionId::default(), stamped_ms: 0, noted_ms: 0 }
    }

    /// Applies the entry at `log_index`; answers each of its envelopes.
    pub(super) fn entry(
        &mut self,
        log_index: u64,
        batch: &Batch,
    ) -> Result<Vec<Result<Outcome, Rejection>>, MetaError> {
        self.take_stamp(batch.stamped_ms);
        self.expire_operations();
        let mut results = Vec::with_capacity(batch.envelopes.len());
        for (position, envelope) in (0..).zip(&batch.envelopes) {
            self.place = VersionId { log_index, position };
            results.push(self.envelope(envelope)?);
        }
        Ok(results)
    }

    fn envelope(&mut self, envelope: &Envelope) -> Result<Result<Outcome, Rejection>, MetaError> {
        if let Some(known) = self.known_result(envelope.operation)? {
            return Ok(known);
        }
        let result = match self.check_judged(&envelope.judged).and_then(|()| self.command(&envelope.command)) {
            Ok(outcome) => Ok(outcome),
            Err(Failure::Rejected(rejection)) => Err(rejection),
            Err(Failure::Broken(error)) => return Err(error),
        };
        self.keep_result(envelope.operation, result)
    }

    fn command(&mut self, command: &Command) -> Applied<Outcome> {
        let root = self.group == ROOT_GROUP;
        match command {
            Command::Nothing => Ok(Outcome::Done),
            Command::ResetClock => {
                self.reset_clock();
                Ok(Outcome::Done)
            }
            Command::Root(command) if root => self.root(command),
            Command::Root(_) => Err(Rejection::Invalid.into()),
            _ if root => Err(Rejection::Invalid.into()),
            Command::CreateBucket { bucket } => self.create_bucket(bucket),
            Command::SealBucket { bucket } => self.seal_bucket(*bucket),
            Command::PurgeBucket { bucket, limit } => self.purge_bucket(*bucket, *limit),
            Command::CreateBucketWith { bucket, settings } => self.create_bucket_with(bucket, settings),
            Command::PutObjectV1 { bucket, key, condition, owner, size, etag, checksum, attributes, body } => {
                let attributes = attributes.clone().into();
                let (size, etag, owner) = (*size, *etag, *owner);
                let content = objects::Content { size, etag, checksum: checksum.clone(), owner, attributes };
                self.put_object((*bucket, key), condition, content, body)
            }
            Command::PutObject { bucket, key, condition, owner, size, etag, checksum, attributes, body } => {
                let attributes = attributes.clone();
                let (size, etag, owner) = (*size, *etag, *owner);
                let content = objects::Content { size, etag, checksum: checksum.clone(), owner, attributes };
                self.put_object((*bucket, key), condition, content, body)
            }
            Command::CopyObjectV1 {
                source_bucket,
                source_key,
                source_version,
                bucket,
                key,
                condition,
                owner,
                attributes,
                inline_id,
                checksum,
            } => {
                let source = objects::Source {
                    place: (*source_bucket, source_key),
                    version: *source_version,
                    attributes: attributes.clone().map(Into::into),
                    labels: &[],
                    checksum: checksum.as_ref(),
                };
                self.copy_object(source, (*bucket, key), condition, *owner, *inline_id)
            }
            Command::CopyObject {
                source_bucket,
                source_key,
                source_version,
                bucket,
                key,
                condition,
                owner,
                attributes,
                labels,
                inline_id,
                checksum,
            } => {
                let source = objects::Source {
                    place: (*source_bucket, source_key),
                    version: *source_version,
                    attributes: attributes.clone(),
                    labels,
                    checksum: checksum.as_ref(),
                };
                self.copy_object(source, (*bucket, key), condition, *owner, *inline_id)
            }
            Command::SetLabel { bucket, key, version, label, expected, value } => {
                self.set_label((*bucket, key), *version, *label, (expected.as_ref(), value.as_ref()))
            }
            Command::DeleteObjects { bucket, targets } => self.delete_objects(*bucket, targets),
            Command::CreateUploadV1 { bucket, key, upload, owner, attributes, checksum } => {
                self.create_upload((*bucket, key), *upload, *owner, attributes.clone().into(), *checksum)
            }
            Command::CreateUpload { bucket, key, upload, owner, attributes, checksum } => {
                self.create_upload((*bucket, key), *upload, *owner, attributes.clone(), *checksum)
            }
            Command::PutPart { bucket, key, upload, number, id, size, md5, checksum, body } => {
                let part = uploads::NewPart { number: *number, id: *id, size: *size, md5: *md5, checksum, body };
                self.put_part((*bucket, key), *upload, part)
            }
            Command::CompleteUpload {
                bucket,
                key,
                upload,
                condition,
                parts,
                manifest,
                size,
                etag,
                checksum,
                request_digest,
            } => {
                let complete = uploads::Complete {
                    upload: *upload,
                    parts,
                    manifest: *manifest,
                    size: *size,
                    etag: *etag,
                    checksum: checksum.as_ref(),
                    request_digest: *request_digest,
                };
                self.complete_upload((*bucket, key), condition, complete)
            }
            Command::AbortUpload { bucket, key, upload } => self.abort_upload((*bucket, key), *upload),
            Command::CollectGarbage { limit, grace_ms } => self.collect_garbage(*limit, *grace_ms),
            Command::QueueRepair { hashes, known } => self.queue_repairs(hashes, known),
            Command::FinishRepair { done } => self.finish_repairs(done),
            Command::SetGrace { grace_ms } => {
                self.set_grace(*grace_ms);
                Ok(Outcome::Done)
            }
            Command::SetBucketSetting { bucket, setting, value } => {
                self.set_bucket_setting(*bucket, *setting, value.as_ref())
            }
        }
    }

    /// `Ok` where the bucket is here and not sealed.
    fn check_bucket(&self, bucket: BucketId) -> Applied<()> {
        match self.overlay.load(&self.keys.bucket(bucket))? {
            Some(StoredBucket::Kept { record, .. }) if !record.sealed => Ok(()),
            _ => Err(Rejection::UnknownBucket.into()),
        }
    }

    /// `Ok` where the settings of these buckets are those that were judged by. Whether they are here, the command looks.
    fn check_judged(&self, judged: &[(BucketId, u64)]) -> Applied<()> {
        demand(judged.len() <= MAX_JUDGED)?;
        for (bucket, expected) in judged {
            match self.overlay.load(&self.keys.bucket(*bucket))? {
                Some(StoredBucket::Kept { record, epoch }) if !record.sealed && epoch != *expected => {
                    return Err(Rejection::SettingsChanged.into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// `Err(Rejection::Invalid)` where it does not hold.
fn demand(holds: bool) -> Result<(), Rejection> {
    if holds { Ok(()) } else { Err(Rejection::Invalid) }
}

fn check_key(key: &str) -> Result<(), Rejection> {
    demand(!key.is_empty() && key.len() <= MAX_KEY_LEN)
}

/// Statistics never stop an apply: a count that would go below zero stays at zero.
fn less(count: &mut u64, by: u64) {
    *count = count.saturating_sub(by);
}

/// As [`less`], upwards.
fn more(count: &mut u64, by: u64) {
    *count = count.saturating_add(by);
}
