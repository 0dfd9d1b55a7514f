//! Where everything lies in RocksDB: column families and the encoding of keys. Knows nothing of values; see `stored`.
//!
//! Every key begins with group and generation, four bytes each, big-endian. Generation 0 holds only the pointer to the
//! generation in use; an installed snapshot becomes a new generation. Keys of objects are flat bytes: as the last
//! component they need no escaping; where something follows, a zero byte becomes `00 ff` and the key ends in `00 01`,
//! which keeps the order and lets no key be a prefix of another.

mod identities;

use std::borrow::Cow;

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, Options};

use super::record::Setting;
use crate::types::{BucketId, GroupId, ManifestId, OperationId, UnixMillis, UploadId, UserId, VersionId};

pub(super) use identities::{HolderId, user_in};

/// The schema that this release writes, and the newest that it reads.
pub(super) const SCHEMA: u32 = 1;

/// Length of group and generation.
pub(super) const PREFIX_LEN: usize = 8;

/// The generation that a new group starts with.
pub(super) const FIRST_GENERATION: u32 = 1;

/// A column family. The discriminants travel in snapshots: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum Cf {
    /// bucket, key: the current version. A list steps over this family only.
    Current = 0,
    /// bucket, escaped key, version with all bits flipped: non-current versions, newest first.
    Versions = 1,
    /// id: an inline body.
    Inline = 2,
    /// id: a manifest's header. id, offset of the first byte, place of the first entry: a page of it.
    Manifests = 3,
    /// chunk hash, manifest id.
    References = 4,
    /// time of issue, random: the kept result of an operation.
    Operations = 5,
    /// A table's tag, then the table's own key: everything else.
    General = 6,
}

impl Cf {
    pub(super) const ALL: [Cf; 7] =
        [Cf::Current, Cf::Versions, Cf::Inline, Cf::Manifests, Cf::References, Cf::Operations, Cf::General];

    pub(super) fn name(self) -> &'static str {
        match self {
            Cf::Current => "meta_current",
            Cf::Versions => "meta_versions",
            Cf::Inline => "meta_inline",
            Cf::Manifests => "meta_manifests",
            Cf::References => "meta_references",
            Cf::Operations => "meta_operations",
            Cf::General => "meta_general",
        }
    }

    pub(super) fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cf| *cf as u8 == tag)
    }
}

/// The column families of the state machine and how to open them; `cache` is shared by all databases of the process.
/// Every database that holds a [`super::GroupStore`] is opened with all of them.
pub fn column_families(cache: &Cache) -> Vec<(&'static str, Options)> {
    Cf::ALL.into_iter().map(|cf| (cf.name(), options(cf, cache))).collect()
}

fn options(cf: Cf, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(16 << 10);
    table.set_format_version(5);
    table.set_bloom_filter(10.0, false);
    table.set_optimize_filters_for_memory(true);
    // Index and filters count against the cache: memory does not grow with the number of objects.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);

    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_write_buffer_size(match cf {
        Cf::Inline => 32 << 20,
        Cf::Versions => 2 << 20,
        _ => 8 << 20,
    });
    options.set_max_write_buffer_number(3);
    match cf {
        // What was deleted in bulk must not slow down the scans over its place.
        Cf::Current | Cf::Versions | Cf::General => options.add_compact_on_deletion_collector_factory(4096, 2048, 0.5),
        // Bodies are written once and read whole: kept out of the compactions.
        Cf::Inline => {
            options.set_enable_blob_files(true);
            options.set_min_blob_size(1 << 10);
            options.set_blob_file_size(64 << 20);
            options.set_blob_compression_type(DBCompressionType::None);
            options.set_enable_blob_gc(true);
            options.set_blob_gc_force_threshold(0.5);
            options.set_blob_cache(cache);
        }
        _ => {}
    }
    options
}

/// A key and the column family that it is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub cf: Cf,
    pub bytes: Vec<u8>,
}

/// The keys of one family from `from`, inclusive, to `to`, exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub cf: Cf,
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

impl KeyRange {
    /// All keys that start with `prefix`.
    pub(super) fn starting_with(cf: Cf, prefix: Vec<u8>) -> Self {
        let to = successor(&prefix);
        Self { cf, from: prefix, to }
    }

    /// The part of the range at and after `from`.
    pub(super) fn starting_at(mut self, from: Vec<u8>) -> Self {
        if from > self.from {
            self.from = from;
        }
        self
    }
}

/// The least byte string that is greater than all that start with `prefix`. A prefix of nothing but `ff` has none;
/// the longest key there can be stands for it.
pub(super) fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut out = prefix.to_vec();
    while let Some(last) = out.pop() {
        if last < 0xff {
            out.push(last + 1);
            return out;
        }
    }
    vec![0xff; 4096]
}

/// The tables of [`Cf::General`]. Never reuse a tag.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Table {
    Pointer = 0x01,
    State = 0x02,
    Marker = 0x03,
    Bucket = 0x10,
    SealedBucket = 0x11,
    Setting = 0x12,
    UploadHandle = 0x20,
    Upload = 0x21,
    Part = 0x22,
    Completed = 0x23,
    CompletedOrder = 0x24,
    Garbage = 0x30,
    Repair = 0x38,
    RepairOrder = 0x39,
    Map = 0x40,
    User = 0x48,
    UserByName = 0x49,
    UserByAccessKey = 0x4a,
    RootUser = 0x4b,
    UserEpoch = 0x4c,
    Directory = 0x50,
    DirectoryByOwner = 0x51,
    DirectoryUnfinished = 0x52,
    Rights = 0x58,
    AccessKey = 0x59,
    AccessKeyByUser = 0x5a,
    UserGroup = 0x5b,
    GroupByMember = 0x5c,
    Policy = 0x5d,
    Attachment = 0x5e,
    IdentityTotals = 0x5f,
}

/// Where a page of a manifest starts: its first byte, and its first entry (parts may be empty, and share an offset).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct PagePlace {
    pub offset: u64,
    pub entry: u32,
}

/// Makes the keys of one generation of one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    prefix: [u8; PREFIX_LEN],
}

/// The key that names the generation in use of `group`.
pub(super) fn pointer(group: GroupId) -> Key {
    Keys::new(group, 0).general(Table::Pointer, &[])
}

impl Keys {
    pub(super) fn new(group: GroupId, generation: u32) -> Self {
        let mut prefix = [0; PREFIX_LEN];
        prefix[..4].copy_from_slice(&group.0.to_be_bytes());
        prefix[4..].copy_from_slice(&generation.to_be_bytes());
        Self { prefix }
    }

    fn bytes(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::with_capacity(PREFIX_LEN + parts.iter().map(|part| part.len()).sum::<usize>());
        out.extend_from_slice(&self.prefix);
        for part in parts {
            out.extend_from_slice(part);
        }
        out
    }

    fn key(&self, cf: Cf, parts: &[&[u8]]) -> Key {
        Key { cf, bytes: self.bytes(parts) }
    }

    fn general(&self, table: Table, parts: &[&[u8]]) -> Key {
        let mut key = self.key(Cf::General, &[&[table as u8]]);
        for part in parts {
            key.bytes.extend_from_slice(part);
        }
        key
    }

    fn table(&self, table: Table, parts: &[&[u8]]) -> KeyRange {
        KeyRange::starting_with(Cf::General, self.general(table, parts).bytes)
    }

    /// Everything of this generation in one family.
    pub(super) fn all(&self, cf: Cf) -> KeyRange {
        KeyRange::starting_with(cf, self.prefix.to_vec())
    }

    /// `suffix` as it stands in a snapshot.
    pub(super) fn with_suffix(&self, cf: Cf, suffix: &[u8]) -> Key {
        self.key(cf, &[suffix])
    }

    pub(super) fn state(&self) -> Key {
        self.general(Table::State, &[])
    }

    pub(super) fn marker(&self) -> Key {
        self.general(Table::Marker, &[])
    }

    pub(super) fn bucket(&self, bucket: BucketId) -> Key {
        self.general(Table::Bucket, &[&bucket.0.to_be_bytes()])
    }

    pub(super) fn sealed_bucket(&self, bucket: BucketId) -> Key {
        self.general(Table::SealedBucket, &[&bucket.0.to_be_bytes()])
    }

    pub(super) fn sealed_buckets(&self) -> KeyRange {
        self.table(Table::SealedBucket, &[])
    }

    pub(super) fn setting(&self, bucket: BucketId, setting: Setting) -> Key {
        self.general(Table::Setting, &[&bucket.0.to_be_bytes(), &[setting.tag()]])
    }

    pub(super) fn settings_of(&self, bucket: BucketId) -> KeyRange {
        self.table(Table::Setting, &[&bucket.0.to_be_bytes()])
    }

    pub(super) fn current(&self, bucket: BucketId, key: &[u8]) -> Key {
        self.key(Cf::Current, &[&bucket.0.to_be_bytes(), key])
    }

    /// The current versions of a bucket whose keys start with `prefix`.
    pub(super) fn current_of(&self, bucket: BucketId, prefix: &[u8]) -> KeyRange {
        KeyRange::starting_with(Cf::Current, self.current(bucket, prefix).bytes)
    }

    /// A non-current version. Unversioned buckets have none; the place is theirs from the first day.
    #[cfg_attr(
        not(any(test, feature = "fuzzing")),
        expect(dead_code, reason = "written once buckets can be versioned")
    )]
    pub(super) fn version(&self, bucket: BucketId, key: &[u8], version: VersionId) -> Key {
        let (index, position) = ((!version.log_index).to_be_bytes(), (!version.position).to_be_bytes());
        self.key(Cf::Versions, &[&bucket.0.to_be_bytes(), &escaped(key), &KEY_END, &index, &position])
    }

    pub(super) fn versions_of(&self, bucket: BucketId) -> KeyRange {
        KeyRange::starting_with(Cf::Versions, self.bytes(&[&bucket.0.to_be_bytes()]))
    }

    pub(super) fn inline(&self, id: ManifestId) -> Key {
        self.key(Cf::Inline, &[&id.0])
    }

    pub(super) fn manifest(&self, id: ManifestId) -> Key {
        self.key(Cf::Manifests, &[&id.0])
    }

    pub(super) fn page(&self, id: ManifestId, place: PagePlace) -> Key {
        self.key(Cf::Manifests, &[&id.0, &place.offset.to_be_bytes(), &place.entry.to_be_bytes()])
    }

    /// The pages of a manifest, without its header.
    pub(super) fn pages(&self, id: ManifestId) -> KeyRange {
        let range = KeyRange::starting_with(Cf::Manifests, self.bytes(&[&id.0]));
        range.starting_at(self.page(id, PagePlace { offset: 0, entry: 0 }).bytes)
    }

    pub(super) fn reference(&self, hash: &[u8; 32], manifest: ManifestId) -> Key {
        self.key(Cf::References, &[hash, &manifest.0])
    }

    pub(super) fn references_to(&self, hash: &[u8; 32]) -> KeyRange {
        KeyRange::starting_with(Cf::References, self.bytes(&[hash]))
    }

    pub(super) fn operation(&self, id: OperationId) -> Key {
        self.key(Cf::Operations, &[&id.issued_ms.to_be_bytes(), &id.random.to_be_bytes()])
    }

    /// The kept results of operations issued from `from` on, before `to`.
    pub(super) fn operations(&self, from: UnixMillis, to: UnixMillis) -> KeyRange {
        let at = |time: UnixMillis| self.bytes(&[&time.to_be_bytes()]);
        KeyRange { cf: Cf::Operations, from: at(from), to: at(to) }
    }

    /// Tells when an upload was initiated, which is part of the key of its record.
    pub(super) fn upload_handle(&self, bucket: BucketId, key: &[u8], upload: UploadId) -> Key {
        self.general(Table::UploadHandle, &[&bucket.0.to_be_bytes(), &escaped(key), &KEY_END, &upload.0])
    }

    /// An upload's record, in the order of lists.
    pub(super) fn upload(&self, bucket: BucketId, key: &[u8], initiated: UnixMillis, upload: UploadId) -> Key {
        let bucket = bucket.0.to_be_bytes();
        self.general(Table::Upload, &[&bucket, &escaped(key), &KEY_END, &initiated.to_be_bytes(), &upload.0])
    }

    /// The uploads of a bucket whose keys start with `prefix`.
    pub(super) fn uploads_of(&self, bucket: BucketId, prefix: &[u8]) -> KeyRange {
        self.table(Table::Upload, &[&bucket.0.to_be_bytes(), &escaped(prefix)])
    }

    /// The uploads of one key.
    pub(super) fn uploads_to(&self, bucket: BucketId, key: &[u8]) -> KeyRange {
        self.table(Table::Upload, &[&bucket.0.to_be_bytes(), &escaped(key), &KEY_END])
    }

    pub(super) fn part(&self, upload: UploadId, number: u16) -> Key {
        self.general(Table::Part, &[&upload.0, &number.to_be_bytes()])
    }

    /// The parts of an upload with numbers above `after`.
    pub(super) fn parts_of(&self, upload: UploadId, after: u16) -> KeyRange {
        let range = self.table(Table::Part, &[&upload.0]);
        let to = range.to.clone();
        range.starting_at(after.checked_add(1).map_or(to, |number| self.part(upload, number).bytes))
    }

    pub(super) fn completed(&self, bucket: BucketId, key: &[u8], upload: UploadId) -> Key {
        self.general(Table::Completed, &[&bucket.0.to_be_bytes(), &escaped(key), &KEY_END, &upload.0])
    }

    pub(super) fn completed_of(&self, bucket: BucketId) -> KeyRange {
        self.table(Table::Completed, &[&bucket.0.to_be_bytes()])
    }

    /// When what is at `completed` may be forgotten, in order. The value is the key itself.
    pub(super) fn completed_order(&self, time: UnixMillis, upload: UploadId) -> Key {
        self.general(Table::CompletedOrder, &[&time.to_be_bytes(), &upload.0])
    }

    pub(super) fn completed_before(&self, from: UnixMillis, to: UnixMillis) -> KeyRange {
        self.times(Table::CompletedOrder, from, to)
    }

    pub(super) fn garbage(&self, since: UnixMillis, manifest: ManifestId) -> Key {
        self.general(Table::Garbage, &[&since.to_be_bytes(), &manifest.0])
    }

    pub(super) fn garbage_before(&self, from: UnixMillis, to: UnixMillis) -> KeyRange {
        self.times(Table::Garbage, from, to)
    }

    pub(super) fn repair(&self, hash: &[u8; 32]) -> Key {
        self.general(Table::Repair, &[hash])
    }

    pub(super) fn repair_order(&self, queued: UnixMillis, hash: &[u8; 32]) -> Key {
        self.general(Table::RepairOrder, &[&queued.to_be_bytes(), hash])
    }

    pub(super) fn repairs(&self) -> KeyRange {
        self.table(Table::RepairOrder, &[])
    }

    fn times(&self, table: Table, from: UnixMillis, to: UnixMillis) -> KeyRange {
        let at = |time: UnixMillis| self.general(table, &[&time.to_be_bytes()]).bytes;
        KeyRange { cf: Cf::General, from: at(from), to: at(to) }
    }

    pub(super) fn map(&self) -> Key {
        self.general(Table::Map, &[])
    }

    pub(super) fn user(&self, id: UserId) -> Key {
        self.general(Table::User, &[&id.0])
    }

    pub(super) fn user_by_name(&self, name: &str) -> Key {
        self.general(Table::UserByName, &[name.as_bytes()])
    }

    pub(super) fn users_by_name(&self) -> KeyRange {
        self.table(Table::UserByName, &[])
    }

    pub(super) fn user_by_access_key(&self, access_key: &str) -> Key {
        self.general(Table::UserByAccessKey, &[access_key.as_bytes()])
    }

    pub(super) fn root_user(&self) -> Key {
        self.general(Table::RootUser, &[])
    }

    /// Tells when a user was changed last. There from the first change on.
    pub(super) fn user_epoch(&self) -> Key {
        self.general(Table::UserEpoch, &[])
    }

    pub(super) fn directory(&self, name: &str) -> Key {
        self.general(Table::Directory, &[name.as_bytes()])
    }

    pub(super) fn directory_from(&self, prefix: &str) -> KeyRange {
        self.table(Table::Directory, &[prefix.as_bytes()])
    }

    pub(super) fn directory_by_owner(&self, owner: UserId, name: &str) -> Key {
        self.general(Table::DirectoryByOwner, &[&owner.0, name.as_bytes()])
    }

    pub(super) fn directory_of(&self, owner: UserId, prefix: &str) -> KeyRange {
        self.table(Table::DirectoryByOwner, &[&owner.0, prefix.as_bytes()])
    }

    pub(super) fn directory_unfinished(&self, name: &str) -> Key {
        self.general(Table::DirectoryUnfinished, &[name.as_bytes()])
    }

    pub(super) fn all_directory_unfinished(&self) -> KeyRange {
        self.table(Table::DirectoryUnfinished, &[])
    }
}

/// Ends an escaped key: less than any byte that could follow in one that goes on.
const KEY_END: [u8; 2] = [0x00, 0x01];

/// `key` with its zero bytes escaped, without its end: still a prefix of every longer key's.
pub(super) fn escaped(key: &[u8]) -> Cow<'_, [u8]> {
    if !key.contains(&0) {
        return Cow::Borrowed(key);
    }
    let mut out = Vec::with_capacity(key.len() + 8);
    for &byte in key {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    Cow::Owned(out)
}

/// The key that starts `bytes`, without its escapes. `None` where it does not end.
fn unescaped(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let zero = bytes.iter().position(|byte| *byte == 0)?;
    if bytes.get(zero + 1) == Some(&KEY_END[1]) {
        return Some(Cow::Borrowed(&bytes[..zero]));
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        match rest {
            [0x00, 0xff, tail @ ..] => {
                out.push(0);
                rest = tail;
            }
            [0x00, ..] => return rest.starts_with(&KEY_END).then_some(Cow::Owned(out)),
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
            [] => return None,
        }
    }
}

/// The object key in a key of [`Cf::Current`].
pub(super) fn current_key(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    raw.get(PREFIX_LEN + 8..).map(Cow::Borrowed)
}

/// The object key in a key of the uploads' table.
pub(super) fn upload_key(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    unescaped(raw.get(PREFIX_LEN + 1 + 8..)?)
}

/// The time and the 16 or 32 bytes of id in a key of one of the tables that are ordered by time.
pub(super) fn timed<const N: usize>(raw: &[u8]) -> Option<(UnixMillis, [u8; N])> {
    let (time, id) = raw.get(PREFIX_LEN + 1..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), id.try_into().ok()?))
}

/// The chunk's hash in a reference's key.
pub(super) fn referenced_hash(raw: &[u8]) -> Option<[u8; 32]> {
    raw.get(PREFIX_LEN..)?.first_chunk().copied()
}

/// The manifest in a reference's key.
pub(super) fn referring_manifest(raw: &[u8]) -> Option<ManifestId> {
    Some(ManifestId(raw.get(PREFIX_LEN + 32..)?.try_into().ok()?))
}

/// The bucket in a key of the sealed buckets' table.
pub(super) fn sealed_id(raw: &[u8]) -> Option<BucketId> {
    Some(BucketId(u64::from_be_bytes(raw.get(PREFIX_LEN + 1..)?.try_into().ok()?)))
}

/// The setting in a key of the settings' table.
pub(super) fn setting_in(raw: &[u8]) -> Option<Setting> {
    match raw.get(PREFIX_LEN + 1 + 8..)? {
        [tag] => Setting::from_tag(*tag),
        _ => None,
    }
}

/// The name in a key of the directory's tables, `skip` bytes after the table's tag.
pub(super) fn name_after(raw: &[u8], skip: usize) -> Option<&str> {
    std::str::from_utf8(raw.get(PREFIX_LEN + 1 + skip..)?).ok()
}

/// The place of a page, from its key; `None` for a manifest's header.
pub(super) fn page_place(raw: &[u8]) -> Option<PagePlace> {
    let (offset, entry) = raw.get(PREFIX_LEN + 16..)?.split_first_chunk::<8>()?;
    Some(PagePlace { offset: u64::from_be_bytes(*offset), entry: u32::from_be_bytes(entry.try_into().ok()?) })
}

#[cfg(test)]
#[path = "schema_test.rs"]
mod tests;
