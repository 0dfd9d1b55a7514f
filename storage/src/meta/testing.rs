//! What the tests of this room share: a database, a store with a log that goes on by itself, and short ways to make
//! commands. Nothing here is part of the state machine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rocksdb::{Cache, DB, Options};
use tempfile::TempDir;

use super::command::{Batch, Command, Envelope, NamedPart, NewBody, Outcome, Rejection, WriteCondition};
use super::query::{Answer, ListEntry, ListFrom, Query, Wanted, WantedBytes};
use super::record::{Attributes, BucketRecord, ChunkEntry, ChunkSpan, ETag, Setting, VersionRecord};
use super::schema::{Cf, PREFIX_LEN};
use super::store::GroupStore;
use crate::types::{BucketId, DiskId, GroupId, ManifestId, OperationId, ROOT_GROUP, UnixMillis, UploadId, UserId};

/// When the tests' logs begin.
pub(super) const START_MS: UnixMillis = 1_700_000_000_000;

pub(super) const BUCKET: BucketId = BucketId(7);

/// Opens a database of its own.
pub(super) fn open_db(dir: &std::path::Path) -> Arc<DB> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let cache = Cache::new_lru_cache(32 << 20);
    Arc::new(DB::open_cf_with_opts(&options, dir, super::column_families(&cache)).unwrap())
}

/// A database for all tests that do not close it; each takes a group of its own.
fn shared_db() -> Arc<DB> {
    static SHARED: OnceLock<(TempDir, Arc<DB>)> = OnceLock::new();
    let (_, db) = SHARED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let db = open_db(dir.path());
        (dir, db)
    });
    db.clone()
}

/// A group that no other test has.
pub(super) fn fresh_store() -> GroupStore {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    GroupStore::open(shared_db(), GroupId(NEXT.fetch_add(1, Ordering::Relaxed))).unwrap()
}

/// All that a group has, without the generation that it has it in.
pub(super) type Dump = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

pub(super) fn dump(store: &GroupStore) -> Dump {
    let view = store.view();
    let mut out = Dump::new();
    for cf in Cf::ALL {
        view.scan(&view.keys.all(cf), usize::MAX, |key, value| {
            out.insert((cf as u8, key[PREFIX_LEN..].to_vec()), value.to_vec());
            Ok(())
        })
        .unwrap();
    }
    out
}

/// A store and the log that it has applied.
pub(super) struct Rig {
    pub store: GroupStore,
    pub now: UnixMillis,
    pub log: Vec<(u64, Batch)>,
    /// The stamp of the last entry.
    stamped: UnixMillis,
    next_id: u64,
}

impl Rig {
    pub fn new() -> Self {
        Self::over(fresh_store())
    }

    /// With a bucket, [`BUCKET`].
    pub fn with_bucket() -> Self {
        let mut rig = Self::new();
        rig.run(create_bucket(BUCKET)).unwrap();
        rig
    }

    /// A root group, in a database of its own.
    pub fn root(dir: &std::path::Path) -> Self {
        Self::over(GroupStore::open(open_db(dir), ROOT_GROUP).unwrap())
    }

    pub fn over(store: GroupStore) -> Self {
        Self { store, now: START_MS, log: Vec::new(), stamped: START_MS, next_id: 1 }
    }

    /// An id that was not given before.
    pub fn id(&mut self) -> ManifestId {
        self.next_id += 1;
        ManifestId(u128::from(self.next_id).to_be_bytes())
    }

    pub fn upload_id(&mut self) -> UploadId {
        UploadId(self.id().0)
    }

    pub fn operation(&mut self) -> OperationId {
        self.next_id += 1;
        OperationId { issued_ms: self.now, random: self.next_id }
    }

    pub fn envelope(&mut self, command: Command) -> Envelope {
        Envelope { operation: self.operation(), command, judged: Vec::new() }
    }

    /// Applies one command, as one entry.
    pub fn run(&mut self, command: Command) -> Result<Outcome, Rejection> {
        let envelope = self.envelope(command);
        self.apply(vec![envelope]).remove(0)
    }

    /// Applies one entry; before it others, as a group has them at least every minute.
    pub fn apply(&mut self, envelopes: Vec<Envelope>) -> Vec<Result<Outcome, Rejection>> {
        const MINUTE_MS: u64 = 60 * 1000;
        while self.now > self.stamped + MINUTE_MS {
            self.apply_stamped(self.stamped + MINUTE_MS, Vec::new());
        }
        self.apply_stamped(self.now, envelopes)
    }

    /// Applies one entry of a leader whose clock says so.
    pub fn apply_stamped(
        &mut self,
        stamped_ms: UnixMillis,
        envelopes: Vec<Envelope>,
    ) -> Vec<Result<Outcome, Rejection>> {
        self.stamped = stamped_ms;
        let index = self.log.len() as u64 + 1;
        let entry = (index, Batch { stamped_ms, envelopes });
        let results = self.store.apply(std::slice::from_ref(&entry), &index.to_be_bytes()).unwrap();
        self.log.push(entry);
        results.into_iter().next().unwrap()
    }

    pub fn ask(&self, query: Query) -> Answer {
        self.store.query(&query).unwrap()
    }

    pub fn put(&mut self, key: &str, body: NewBody, size: u64) -> Result<Outcome, Rejection> {
        self.run(put(key, body, size))
    }

    /// Puts an inline body.
    pub fn put_bytes(&mut self, key: &str, bytes: &'static [u8]) {
        let body = NewBody::Inline { id: self.id(), bytes: Bytes::from_static(bytes) };
        self.put(key, body, bytes.len() as u64).unwrap();
    }

    /// Puts a body of chunks of these lengths, each with bytes of its own.
    pub fn put_chunks(&mut self, key: &str, lens: &[u32]) -> ManifestId {
        let id = self.id();
        let (body, size) = chunks(id, lens);
        self.put(key, body, size).unwrap();
        id
    }

    pub fn delete(&mut self, key: &str) -> Result<Outcome, Rejection> {
        self.run(delete(&[key]))
    }

    /// Sets or removes a setting of the bucket, whatever the epoch; answers with the new one.
    pub fn set(&mut self, setting: Setting, value: Option<&[u8]>) -> Result<u64, Rejection> {
        match self.run(set(setting, value)) {
            Ok(Outcome::Settings(epoch)) => Ok(epoch),
            Ok(other) => panic!("{other:?}"),
            Err(rejection) => Err(rejection),
        }
    }

    pub fn create_upload(&mut self, key: &str) -> UploadId {
        let upload = self.upload_id();
        self.run(create_upload(key, upload)).unwrap();
        upload
    }

    /// Puts a part of chunks of these lengths; of none, an empty one.
    pub fn put_part(&mut self, key: &str, upload: UploadId, number: u16, lens: &[u32]) -> NamedPart {
        let id = self.id();
        self.run(put_part(key, upload, number, id, lens)).unwrap();
        NamedPart { number, id }
    }

    pub fn complete(
        &mut self,
        key: &str,
        upload: UploadId,
        parts: Vec<NamedPart>,
        size: u64,
    ) -> Result<Outcome, Rejection> {
        let manifest = self.id();
        self.run(complete(key, upload, parts, manifest, size))
    }

    /// What `wanted` of a key gives.
    pub fn read(&self, key: &str, wanted: Wanted, limit: u32) -> Option<(VersionRecord, WantedBytes)> {
        match self.ask(Query::Object { bucket: BUCKET, key: key.to_owned(), wanted, limit }) {
            Answer::Object { object, .. } => object.map(|object| (object.record, object.bytes)),
            other => panic!("{other:?}"),
        }
    }

    /// The chunks of `wanted` of a key.
    pub fn spans(&self, key: &str, wanted: Wanted, limit: u32) -> Vec<ChunkSpan> {
        match self.read(key, wanted, limit) {
            Some((_, WantedBytes::Chunks { spans, .. })) => spans,
            other => panic!("{other:?}"),
        }
    }

    /// The keys of the bucket.
    pub fn keys(&self) -> Vec<String> {
        let query = Query::List {
            bucket: BUCKET,
            prefix: String::new(),
            delimiter: None,
            from: ListFrom::Start,
            limit: u32::MAX,
        };
        match self.ask(query) {
            Answer::List { entries, .. } => entries
                .into_iter()
                .map(|entry| match entry {
                    ListEntry::Key(key, _) => key,
                    ListEntry::CommonPrefix(prefix) => panic!("{prefix}"),
                })
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    pub fn statistics(&self) -> super::query::GroupStatistics {
        match self.ask(Query::Statistics) {
            Answer::Statistics(statistics) => statistics,
            other => panic!("{other:?}"),
        }
    }

    /// Collects until nothing is left; answers in how many steps.
    pub fn collect_all(&mut self, limit: u32, grace_ms: u64) -> u32 {
        let mut steps = 0;
        loop {
            steps += 1;
            match self.run(Command::CollectGarbage { limit, grace_ms }).unwrap() {
                Outcome::Progress { taken, more } => {
                    assert!(taken <= limit);
                    if !more {
                        return steps;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

pub(super) fn etag(of: u64) -> ETag {
    ETag { md5: u128::from(of).to_be_bytes(), parts: None }
}

/// The hash of chunk `place` of manifest `id`.
pub(super) fn hash(id: ManifestId, place: usize) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(&id.0);
    hash[24..].copy_from_slice(&(place as u64).to_be_bytes());
    hash
}

/// A body of chunks of these lengths, on three disks that are their homes, and its size.
pub(super) fn chunks(id: ManifestId, lens: &[u32]) -> (NewBody, u64) {
    let chunks: Vec<_> =
        lens.iter().enumerate().map(|(place, len)| ChunkEntry { hash: hash(id, place), len: *len }).collect();
    let body = NewBody::Chunks {
        id,
        acknowledged: vec![0b111; chunks.len()],
        homes: vec![0b111; chunks.len()],
        chunks,
        disks: vec![DiskId([1; 16]), DiskId([2; 16]), DiskId([3; 16])],
        oldest_touch_age_ms: 0,
    };
    (body, lens.iter().map(|len| u64::from(*len)).sum())
}

pub(super) fn create_bucket(id: BucketId) -> Command {
    let bucket = BucketRecord {
        id,
        name: format!("bucket-{id}"),
        owner: UserId([9; 16]),
        region: "us-east-1".to_owned(),
        created_ms: 0,
        sealed: false,
    };
    Command::CreateBucket { bucket }
}

pub(super) fn put(key: &str, body: NewBody, size: u64) -> Command {
    Command::PutObject {
        bucket: BUCKET,
        key: key.to_owned(),
        condition: WriteCondition::Always,
        owner: UserId([9; 16]),
        size,
        etag: etag(size),
        checksum: None,
        attributes: Attributes::default(),
        body,
    }
}

pub(super) fn delete(keys: &[&str]) -> Command {
    let target = |key: &&str| super::command::DeleteTarget {
        key: (*key).to_owned(),
        condition: WriteCondition::Always,
        modified_ms: None,
        size: None,
    };
    Command::DeleteObjects { bucket: BUCKET, targets: keys.iter().map(target).collect() }
}

pub(super) fn set(setting: Setting, value: Option<&[u8]>) -> Command {
    Command::SetBucketSetting { bucket: BUCKET, setting, value: value.map(Bytes::copy_from_slice) }
}

pub(super) fn create_upload(key: &str, upload: UploadId) -> Command {
    Command::CreateUpload {
        bucket: BUCKET,
        key: key.to_owned(),
        upload,
        owner: UserId([9; 16]),
        attributes: Attributes::default(),
        checksum: None,
    }
}

pub(super) fn put_part(key: &str, upload: UploadId, number: u16, id: ManifestId, lens: &[u32]) -> Command {
    let (body, size) = if lens.is_empty() { (NewBody::Empty, 0) } else { chunks(id, lens) };
    Command::PutPart { bucket: BUCKET, key: key.to_owned(), upload, number, id, size, md5: id.0, checksum: None, body }
}

pub(super) fn complete(key: &str, upload: UploadId, parts: Vec<NamedPart>, manifest: ManifestId, size: u64) -> Command {
    Command::CompleteUpload {
        bucket: BUCKET,
        key: key.to_owned(),
        upload,
        condition: WriteCondition::Always,
        etag: ETag { md5: manifest.0, parts: u16::try_from(parts.len()).ok() },
        parts,
        manifest,
        size,
        checksum: None,
        request_digest: [0; 32],
    }
}
