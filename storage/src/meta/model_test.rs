use proptest::prelude::*;

use super::super::check::check;
use super::super::command::{Batch, DeleteTarget, NamedPart};
use super::super::query::{ListEntry, ListFrom, Query, Wanted, WantedBytes};
use super::super::record::{Attributes, Label};
use super::super::store::GroupStore;
use super::super::testing::{START_MS, chunks, create_bucket, dump, etag, fresh_store};
use super::*;
use crate::types::{ManifestId, UserId};

/// A command in the making: small numbers, that pick among what there is.
#[derive(Debug, Clone)]
enum Step {
    Put { place: u8, body: u8, condition: u8 },
    Copy { from: u8, to: u8, stale: bool, condition: u8 },
    Delete { places: Vec<u8>, condition: u8 },
    CreateUpload { place: u8 },
    PutPart { upload: u8, number: u8, chunks: u8 },
    Complete { upload: u8, pick: u8, stale: bool, condition: u8 },
    Abort { upload: u8 },
    Collect { limit: u32, grace_ms: u64 },
    Bucket { bucket: u8, what: u8 },
    Setting { bucket: u8, setting: u8, value: u8 },
    Label { place: u8, value: u8, stale: bool },
    Repeat { back: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let byte = any::<u8>;
    prop_oneof![
        6 => (byte(), byte(), byte()).prop_map(|(place, body, condition)| Step::Put { place, body, condition }),
        3 => (byte(), byte(), prop::bool::weighted(0.1), byte())
            .prop_map(|(from, to, stale, condition)| Step::Copy { from, to, stale, condition }),
        3 => (prop::collection::vec(byte(), 1..4), byte())
            .prop_map(|(places, condition)| Step::Delete { places, condition }),
        2 => byte().prop_map(|place| Step::CreateUpload { place }),
        6 => (byte(), 1..5u8, 0..4u8)
            .prop_map(|(upload, number, chunks)| Step::PutPart { upload, number, chunks }),
        3 => (byte(), byte(), prop::bool::weighted(0.1), byte())
            .prop_map(|(upload, pick, stale, condition)| Step::Complete { upload, pick, stale, condition }),
        1 => byte().prop_map(|upload| Step::Abort { upload }),
        2 => (1..8u32, 0..3000u64).prop_map(|(limit, grace_ms)| Step::Collect { limit, grace_ms }),
        1 => (byte(), byte()).prop_map(|(bucket, what)| Step::Bucket { bucket, what }),
        2 => (byte(), byte(), byte())
            .prop_map(|(bucket, setting, value)| Step::Setting { bucket, setting, value }),
        2 => (byte(), byte(), prop::bool::weighted(0.1))
            .prop_map(|(place, value, stale)| Step::Label { place, value, stale }),
        1 => byte().prop_map(|back| Step::Repeat { back }),
    ]
}

/// An entry: how far the clock moves on before it (sometimes past the kept results), and its commands.
fn entry() -> impl Strategy<Value = (u64, Vec<Step>)> {
    let tick = prop_oneof![20 => 0..2000u64, 1 => 300_000..700_000u64];
    (tick, prop::collection::vec(step(), 1..5))
}

const BUCKETS: [BucketId; 3] = [BucketId(1), BucketId(2), BucketId(3)];
const KEYS: [&str; 4] = ["a", "a/", "a\0", "ÿ"];

fn place_of(place: u8) -> (BucketId, String) {
    let (bucket, key) = (place / 4, place % 4);
    // Most things happen in one bucket.
    (BUCKETS[usize::from(if bucket < 48 { 0 } else { bucket % 3 })], KEYS[usize::from(key)].to_owned())
}

struct Run {
    store: GroupStore,
    model: Model,
    now: u64,
    log: Vec<(u64, Batch)>,
    ids: u64,
    /// Every upload ever created.
    uploads: Vec<(BucketId, String, UploadId)>,
    sent: Vec<Envelope>,
}

impl Run {
    fn new() -> Self {
        let store = fresh_store();
        let (model, log) = (Model::default(), Vec::new());
        let mut run = Self { store, model, now: START_MS, log, ids: 0, uploads: Vec::new(), sent: Vec::new() };
        let commands = BUCKETS[..2].iter().map(|bucket| create_bucket(*bucket)).collect();
        run.commands(commands);
        run
    }

    fn id(&mut self) -> ManifestId {
        self.ids += 1;
        ManifestId(u128::from(self.ids).to_be_bytes())
    }

    fn condition(&self, condition: u8, place: &(BucketId, String)) -> WriteCondition {
        match condition {
            0..20 => WriteCondition::Absent,
            20..40 => WriteCondition::Exists,
            40..60 => match self.model.objects.get(place) {
                Some((record, _)) => WriteCondition::ETag(record.etag),
                None => WriteCondition::ETag(etag(0)),
            },
            60..70 => WriteCondition::ETag(etag(u64::MAX)),
            _ => WriteCondition::Always,
        }
    }

    fn upload(&self, upload: u8) -> Option<(BucketId, String, UploadId)> {
        let upload = usize::from(upload) % self.uploads.len().max(1);
        self.uploads.get(self.uploads.len().checked_sub(1 + upload.min(3))?).cloned()
    }

    fn concrete(&mut self, step: Step) -> Option<Command> {
        Some(match step {
            Step::Put { place, body, condition } => {
                let at = place_of(place);
                let condition = self.condition(condition, &at);
                let id = self.id();
                let (body, size) = match body % 4 {
                    0 => (NewBody::Empty, 0),
                    1 => (NewBody::Inline { id, bytes: vec![body; 1 + usize::from(body)].into() }, 1 + u64::from(body)),
                    _ => chunks(id, &vec![u32::from(body); 1 + usize::from(body % 3)]),
                };
                Command::PutObject {
                    bucket: at.0,
                    key: at.1,
                    condition,
                    owner: UserId([9; 16]),
                    size,
                    etag: etag(self.ids),
                    checksum: None,
                    attributes: Attributes { content_type: Some(format!("type/{size}")), ..Default::default() },
                    body,
                }
            }
            Step::Copy { from, to, stale, condition } => {
                let (from, to) = (place_of(from), place_of(to));
                let version = self.model.objects.get(&from).map(|(record, _)| record.version);
                Command::CopyObject {
                    source_bucket: from.0,
                    source_key: from.1,
                    source_version: version.filter(|_| !stale).unwrap_or_default(),
                    bucket: to.0,
                    condition: self.condition(condition, &to),
                    key: to.1,
                    owner: UserId([8; 16]),
                    attributes: None,
                    labels: if stale { Vec::new() } else { vec![(Label::Acl, Bytes::from_static(b"copied"))] },
                    inline_id: self.id(),
                    checksum: None,
                }
            }
            Step::Label { place, value, stale } => {
                let (bucket, key) = place_of(place);
                let record = self.model.objects.get(&(bucket, key.clone())).map(|(record, _)| record);
                let expected = record.and_then(|record| record.attributes.label(Label::Acl)).cloned();
                // Now of another version, now of another value.
                let expected = expected.filter(|_| !stale || value % 2 == 0);
                let version = record.map(|record| record.version).filter(|_| !stale || value % 2 == 1);
                let version = version.unwrap_or_default();
                let value = (value > 50).then(|| vec![value].into());
                Command::SetLabel { bucket, key, version, label: Label::Acl, expected, value }
            }
            Step::Delete { places, condition } => {
                let bucket = place_of(places[0]).0;
                let target = |place: &u8| {
                    let key = place_of(*place).1;
                    let condition = match self.condition(condition, &(bucket, key.clone())) {
                        WriteCondition::Absent => WriteCondition::Always,
                        other => other,
                    };
                    DeleteTarget { key, condition, modified_ms: None, size: None }
                };
                Command::DeleteObjects { bucket, targets: places.iter().map(target).collect() }
            }
            Step::CreateUpload { place } => {
                let (bucket, key) = place_of(place);
                let upload = UploadId(self.id().0);
                self.uploads.push((bucket, key.clone(), upload));
                Command::CreateUpload {
                    bucket,
                    key,
                    upload,
                    owner: UserId([9; 16]),
                    attributes: Attributes::default(),
                    checksum: None,
                }
            }
            Step::PutPart { upload, number, chunks: count } => {
                let (bucket, key, upload) = self.upload(upload)?;
                let id = self.id();
                let lens = vec![u32::from(number); usize::from(count)];
                let (body, size) = if lens.is_empty() { (NewBody::Empty, 0) } else { chunks(id, &lens) };
                let (number, md5) = (u16::from(number), [number; 16]);
                Command::PutPart { bucket, key, upload, number, id, size, md5, checksum: None, body }
            }
            Step::Complete { upload, pick, stale, condition } => {
                let at = self.upload(upload)?;
                let condition = self.condition(condition, &(at.0, at.1.clone()));
                let open = self.model.uploads.get(&at);
                let records = open.into_iter().flat_map(|open| open.parts.values()).map(|(record, _)| record);
                let picked: Vec<_> = records.filter(|record| pick >> record.number & 1 == 0).collect();
                let named = |record: &&PartRecord| NamedPart { number: record.number, id: record.id };
                let mut parts: Vec<_> = picked.iter().map(named).collect();
                let size = picked.iter().map(|record| record.size).sum();
                if parts.is_empty() || stale {
                    parts.push(NamedPart { number: 7, id: ManifestId([0xee; 16]) });
                }
                Command::CompleteUpload {
                    bucket: at.0,
                    key: at.1,
                    upload: at.2,
                    condition,
                    parts,
                    manifest: self.id(),
                    size,
                    etag: etag(self.ids),
                    checksum: None,
                    request_digest: [1; 32],
                }
            }
            Step::Abort { upload } => {
                let (bucket, key, upload) = self.upload(upload)?;
                Command::AbortUpload { bucket, key, upload }
            }
            Step::Collect { limit, grace_ms } => Command::CollectGarbage { limit, grace_ms },
            Step::Bucket { bucket, what } => {
                let bucket = BUCKETS[usize::from(bucket % 3)];
                match what % 3 {
                    0 => create_bucket(bucket),
                    1 => Command::SealBucket { bucket },
                    _ => Command::PurgeBucket { bucket, limit: 10_000 },
                }
            }
            Step::Setting { bucket, setting, value } => {
                let bucket = place_of(bucket).0;
                Command::SetBucketSetting {
                    bucket,
                    setting: Setting::ALL[usize::from(setting) % Setting::ALL.len()],
                    // Few, so that some change nothing.
                    value: (value % 3 > 0).then(|| vec![value % 3; usize::from(value % 3)].into()),
                }
            }
            Step::Repeat { .. } => return None,
        })
    }

    /// Sends what the steps come to as one entry, and compares the answers.
    fn steps(&mut self, steps: Vec<Step>) {
        let index = self.log.len() as u64 + 1;
        self.model.entry(self.now);
        let (mut envelopes, mut expected) = (Vec::new(), Vec::new());
        for step in steps {
            let envelope = match step {
                Step::Repeat { back } => match self.sent.iter().rev().nth(usize::from(back % 16)) {
                    Some(envelope) => envelope.clone(),
                    None => continue,
                },
                step => {
                    let Some(command) = self.concrete(step) else { continue };
                    self.ids += 1;
                    // Most are judged by the settings of now, some by others.
                    let epoch = |bucket| match self.ids % 16 {
                        0 => Some((bucket, self.ids / 16 % 4)),
                        1..8 => Some((bucket, self.model.epoch(bucket))),
                        _ => None,
                    };
                    let bucket = BUCKETS[usize::try_from(self.ids / 3 % 3).unwrap()];
                    let judged = epoch(bucket).into_iter().collect();
                    Envelope { operation: OperationId { issued_ms: self.now, random: self.ids }, command, judged }
                }
            };
            let place = VersionId { log_index: index, position: envelopes.len() as u32 };
            expected.push(self.model.apply(place, &envelope));
            self.sent.push(envelope.clone());
            envelopes.push(envelope);
        }
        self.send(index, envelopes, expected);
    }

    fn commands(&mut self, commands: Vec<Command>) {
        let index = self.log.len() as u64 + 1;
        self.model.entry(self.now);
        let (mut envelopes, mut expected) = (Vec::new(), Vec::new());
        for command in commands {
            self.ids += 1;
            let operation = OperationId { issued_ms: self.now, random: self.ids };
            let envelope = Envelope { operation, command, judged: Vec::new() };
            let place = VersionId { log_index: index, position: envelopes.len() as u32 };
            expected.push(self.model.apply(place, &envelope));
            envelopes.push(envelope);
        }
        self.send(index, envelopes, expected);
    }

    fn send(&mut self, index: u64, envelopes: Vec<Envelope>, expected: Vec<Answer>) {
        let entry = (index, Batch { stamped_ms: self.now, envelopes });
        let answers = self.store.apply(std::slice::from_ref(&entry), &index.to_be_bytes()).unwrap();
        for ((answer, expected), envelope) in answers[0].iter().zip(&expected).zip(&entry.1.envelopes) {
            match (answer, expected) {
                (Ok(Outcome::Progress { .. }), Ok(Outcome::Progress { .. })) => {}
                _ => assert_eq!(answer, expected, "{envelope:?}"),
            }
        }
        self.log.push(entry);
    }

    /// Compares all that can be read.
    fn compare(&self) {
        for bucket in BUCKETS {
            let query =
                Query::List { bucket, prefix: String::new(), delimiter: None, from: ListFrom::Start, limit: 1000 };
            let super::super::Answer::List { entries, .. } = self.store.query(&query).unwrap() else { panic!() };
            let listed: Vec<_> = entries
                .into_iter()
                .map(|entry| match entry {
                    ListEntry::Key(key, record) => (key, record.version),
                    ListEntry::CommonPrefix(prefix) => panic!("{prefix}"),
                })
                .collect();
            let objects = self.model.objects.iter().filter(|((at, _), _)| *at == bucket);
            let expected: Vec<_> = objects.map(|((_, key), (record, _))| (key.clone(), record.version)).collect();
            assert_eq!(listed, expected);

            let record = self.model.buckets.get(&bucket).filter(|record| !record.sealed).cloned();
            let expected = self.model.settings.get(&bucket).filter(|_| record.is_some()).cloned().unwrap_or_default();
            let expected = super::super::Answer::BucketSettings {
                settings: record.map(|_| expected.epoch),
                values: expected.values.into_iter().collect(),
            };
            assert_eq!(self.store.query(&Query::BucketSettings { bucket }).unwrap(), expected);
        }
        for ((bucket, key), (record, content)) in &self.model.objects {
            let query = Query::Object { bucket: *bucket, key: key.clone(), wanted: Wanted::All, limit: 1000 };
            let super::super::Answer::Object { object: Some(object), .. } = self.store.query(&query).unwrap() else {
                panic!("{bucket} {key}")
            };
            assert_eq!(object.record, *record);
            let read = match object.bytes {
                WantedBytes::Inline { bytes, .. } => Content { inline: bytes, chunks: Vec::new() },
                WantedBytes::Chunks { spans, .. } => {
                    let chunks = spans.iter().map(|span| (span.hash, span.len)).collect();
                    Content { inline: Bytes::new(), chunks }
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(read, *content);
        }
    }

    /// Deletes and aborts everything, and collects.
    fn tear_down(&mut self) {
        let objects: Vec<_> = self.model.objects.keys().cloned().collect();
        let delete = |(bucket, key)| {
            let target = DeleteTarget { key, condition: WriteCondition::Always, modified_ms: None, size: None };
            Command::DeleteObjects { bucket, targets: vec![target] }
        };
        let mut commands: Vec<_> = objects.into_iter().map(delete).collect();
        commands.extend(self.model.uploads.keys().cloned().map(|(bucket, key, upload)| Command::AbortUpload {
            bucket,
            key,
            upload,
        }));
        let sealed = self.model.buckets.values().filter(|record| record.sealed);
        commands.extend(sealed.map(|record| Command::PurgeBucket { bucket: record.id, limit: 10_000 }));
        commands.push(Command::CollectGarbage { limit: 100_000, grace_ms: 0 });
        self.commands(commands);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_log_gives_what_the_plain_model_says_however_it_is_cut(
        entries in prop::collection::vec(entry(), 1..60),
        cut in 1..9usize,
    ) {
        let mut run = Run::new();
        for (place, (tick, steps)) in entries.into_iter().enumerate() {
            run.now += tick;
            run.steps(steps);
            if place % 8 == 0 {
                check(&run.store);
            }
        }
        run.compare();
        check(&run.store);
        run.tear_down();
        prop_assert_eq!(check(&run.store), 0);

        // The same log in other portions, with raft's own entries between them.
        let again = fresh_store();
        for entries in run.log.chunks(cut) {
            again.apply::<Batch>(&[], b"blank").unwrap();
            let (last, _) = entries.last().unwrap();
            again.apply(entries, &last.to_be_bytes()).unwrap();
        }
        prop_assert_eq!(dump(&again), dump(&run.store));
    }
}
