//! The commands on buckets and objects, said plainly over maps in memory: what the state machine is compared with.
//! For tests. It knows no manifests and no counts, only which bytes are where.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::command::{Command, Envelope, NewBody, Outcome, Rejection, WriteCondition};
use super::record::{Attributes, Body, BucketRecord, PartRecord, Setting, VersionRecord};
use crate::types::{BucketId, OperationId, UnixMillis, UploadId, VersionId};

type Answer = Result<Outcome, Rejection>;

/// The bytes of a body, as far as the state machine knows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    pub inline: Bytes,
    pub chunks: Vec<([u8; 32], u32)>,
}

#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub parts: BTreeMap<u16, (PartRecord, Content)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Settings {
    pub epoch: u64,
    pub values: BTreeMap<Setting, Bytes>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub time_ms: UnixMillis,
    pub buckets: BTreeMap<BucketId, BucketRecord>,
    pub purged: Vec<BucketId>,
    pub settings: BTreeMap<BucketId, Settings>,
    pub objects: BTreeMap<(BucketId, String), (VersionRecord, Content)>,
    pub uploads: BTreeMap<(BucketId, String, UploadId), Upload>,
    results: HashMap<OperationId, Answer>,
}

impl Model {
    pub fn entry(&mut self, stamped_ms: UnixMillis) {
        self.time_ms = self.time_ms.max(stamped_ms);
    }

    /// Of the settings of a bucket.
    pub fn epoch(&self, bucket: BucketId) -> u64 {
        self.settings.get(&bucket).map_or(0, |settings| settings.epoch)
    }

    /// Answers as the state machine has to. Of progress it knows only that there is some.
    pub fn apply(&mut self, place: VersionId, envelope: &Envelope) -> Answer {
        if envelope.operation.issued_ms + 600_000 < self.time_ms {
            return Err(Rejection::OperationTooOld);
        }
        if let Some(known) = self.results.get(&envelope.operation) {
            return known.clone();
        }
        let is_other = |(bucket, epoch): &(BucketId, u64)| self.live(*bucket).is_ok() && *epoch != self.epoch(*bucket);
        let answer = match envelope.judged.iter().any(is_other) {
            true => Err(Rejection::SettingsChanged),
            false => self.command(place, &envelope.command),
        };
        self.results.insert(envelope.operation, answer.clone());
        answer
    }

    fn live(&self, bucket: BucketId) -> Result<(), Rejection> {
        let live = self.buckets.get(&bucket).is_some_and(|record| !record.sealed);
        live.then_some(()).ok_or(Rejection::UnknownBucket)
    }

    fn judge(&self, bucket: BucketId, key: &str, condition: &WriteCondition) -> Result<(), Rejection> {
        let current = self.objects.get(&(bucket, key.to_owned())).map(|(record, _)| record.etag);
        match (condition, current) {
            (WriteCondition::Always, _) | (WriteCondition::Absent, None) | (WriteCondition::Exists, Some(_)) => Ok(()),
            (WriteCondition::Exists | WriteCondition::ETag(_), None) => Err(Rejection::NoSuchKey),
            (WriteCondition::ETag(etag), Some(current)) if *etag == current => Ok(()),
            _ => Err(Rejection::PreconditionFailed),
        }
    }

    fn command(&mut self, place: VersionId, command: &Command) -> Answer {
        match command.clone() {
            Command::CreateBucket { bucket } => {
                if let Some(record) = self.buckets.get(&bucket.id).filter(|record| !record.sealed) {
                    return Ok(Outcome::Bucket(record.clone()));
                }
                if self.buckets.contains_key(&bucket.id) || self.purged.contains(&bucket.id) {
                    return Err(Rejection::UnknownBucket);
                }
                let record = BucketRecord { created_ms: self.time_ms, ..bucket };
                self.buckets.insert(record.id, record.clone());
                Ok(Outcome::Bucket(record))
            }
            Command::SealBucket { bucket } => {
                self.live(bucket)?;
                if self.objects.keys().any(|(at, _)| *at == bucket) {
                    return Err(Rejection::BucketNotEmpty);
                }
                let record = self.buckets.get_mut(&bucket).ok_or(Rejection::UnknownBucket)?;
                record.sealed = true;
                Ok(Outcome::Bucket(record.clone()))
            }
            Command::PurgeBucket { bucket, .. } => match self.buckets.get(&bucket) {
                None => Err(Rejection::UnknownBucket),
                Some(record) if !record.sealed => Err(Rejection::Invalid),
                Some(_) => {
                    // The tests purge with a limit that is never reached.
                    self.buckets.remove(&bucket);
                    self.purged.push(bucket);
                    self.uploads.retain(|(at, _, _), _| *at != bucket);
                    self.settings.remove(&bucket);
                    Ok(Outcome::Progress { taken: 0, more: false })
                }
            },
            Command::CollectGarbage { .. } => Ok(Outcome::Progress { taken: 0, more: false }),
            Command::PutObject { bucket, key, condition, owner, size, etag, checksum, attributes, body } => {
                self.live(bucket)?;
                self.judge(bucket, &key, &condition)?;
                let (body, content) = content_of(&body);
                let modified_ms = self.time_ms;
                let record =
                    VersionRecord { version: place, modified_ms, size, etag, checksum, owner, attributes, body };
                self.objects.insert((bucket, key), (record.clone(), content));
                Ok(Outcome::Version(Box::new(record)))
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
                self.live(source_bucket)?;
                self.live(bucket)?;
                let source = self.objects.get(&(source_bucket, source_key)).cloned();
                let source = source.filter(|(record, _)| record.version == source_version);
                let (from, content) = source.ok_or(Rejection::SourceChanged)?;
                self.judge(bucket, &key, &condition)?;
                let record = VersionRecord {
                    version: place,
                    modified_ms: self.time_ms,
                    owner,
                    attributes: attributes.unwrap_or(Attributes { labels, ..from.attributes }),
                    checksum: checksum.or(from.checksum),
                    body: if let Body::Inline(_) = from.body { Body::Inline(inline_id) } else { from.body },
                    ..from
                };
                self.objects.insert((bucket, key), (record.clone(), content));
                Ok(Outcome::Version(Box::new(record)))
            }
            Command::SetLabel { bucket, key, version, label, expected, value } => {
                self.live(bucket)?;
                let (record, _) = self.objects.get_mut(&(bucket, key)).ok_or(Rejection::NoSuchKey)?;
                if record.version != version || record.attributes.label(label) != expected.as_ref() {
                    return Err(Rejection::SourceChanged);
                }
                record.attributes.set_label(label, value);
                Ok(Outcome::Done)
            }
            Command::DeleteObjects { bucket, targets } => {
                self.live(bucket)?;
                let delete = |target: super::command::DeleteTarget| {
                    self.judge(bucket, &target.key, &target.condition)?;
                    Ok(self.objects.remove(&(bucket, target.key)).is_some())
                };
                Ok(Outcome::Deleted(targets.into_iter().map(delete).collect()))
            }
            Command::CreateUpload { bucket, key, upload, .. } => {
                self.live(bucket)?;
                self.uploads.insert((bucket, key, upload), Upload { parts: BTreeMap::new() });
                Ok(Outcome::Done)
            }
            Command::PutPart { bucket, key, upload, number, id, size, md5, checksum, body } => {
                self.live(bucket)?;
                let upload = self.uploads.get_mut(&(bucket, key, upload)).ok_or(Rejection::NoSuchUpload)?;
                let (body, content) = content_of(&body);
                let record = PartRecord { number, id, modified_ms: self.time_ms, size, md5, checksum, body };
                upload.parts.insert(number, (record.clone(), content));
                Ok(Outcome::Part(Box::new(record)))
            }
            Command::CompleteUpload {
                bucket, key, upload, condition, parts, manifest, size, etag, checksum, ..
            } => {
                self.live(bucket)?;
                let at = (bucket, key.clone(), upload);
                let open = self.uploads.get(&at).ok_or(Rejection::NoSuchUpload)?;
                let mut content = Content::default();
                for part in parts {
                    let found = open.parts.get(&part.number).filter(|(record, _)| record.id == part.id);
                    content.chunks.extend(found.ok_or(Rejection::UploadChanged)?.1.chunks.iter().copied());
                }
                self.judge(bucket, &key, &condition)?;
                self.uploads.remove(&at);
                let record = VersionRecord {
                    version: place,
                    modified_ms: self.time_ms,
                    size,
                    etag,
                    checksum,
                    owner: crate::types::UserId([9; 16]),
                    attributes: Default::default(),
                    body: Body::Manifest(manifest),
                };
                self.objects.insert((bucket, key), (record.clone(), content));
                Ok(Outcome::Version(Box::new(record)))
            }
            Command::AbortUpload { bucket, key, upload } => {
                self.live(bucket)?;
                self.uploads.remove(&(bucket, key, upload)).ok_or(Rejection::NoSuchUpload)?;
                Ok(Outcome::Done)
            }
            Command::SetBucketSetting { bucket, setting, value } => {
                self.live(bucket)?;
                let settings = self.settings.entry(bucket).or_default();
                let before = settings.values.clone();
                match value {
                    Some(value) => settings.values.insert(setting, value),
                    None => settings.values.remove(&setting),
                };
                settings.epoch += u64::from(settings.values != before);
                Ok(Outcome::Settings(settings.epoch))
            }
            other => panic!("{other:?}"),
        }
    }
}

fn content_of(body: &NewBody) -> (Body, Content) {
    match body {
        NewBody::Empty => (Body::Empty, Content::default()),
        NewBody::Inline { id, bytes } => (Body::Inline(*id), Content { inline: bytes.clone(), chunks: Vec::new() }),
        NewBody::Chunks { id, chunks, .. } => {
            let chunks = chunks.iter().map(|chunk| (chunk.hash, chunk.len)).collect();
            (Body::Manifest(*id), Content { inline: Bytes::new(), chunks })
        }
    }
}

#[path = "model_test.rs"]
mod tests;
