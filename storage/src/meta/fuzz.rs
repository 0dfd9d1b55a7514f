//! What the state machine keeps, and its snapshots.

use bytes::Bytes;

use super::record::{
    AccessKey, Body, ChunkEntry, CompletedUpload, DirectoryEntry, Group, NamedPolicy, PartRecord, UploadRecord,
    UserRecord, UserRights, VersionRecord,
};
use super::schema::{
    Cf, Keys, PREFIX_LEN, PagePlace, SCHEMA, current_key, name_after, page_place, referenced_hash, referring_manifest,
    sealed_id, timed, upload_key,
};
use super::snapshot::Frame;
use super::stored::{
    self, Attachment, ChunkPage, Flag, GroupState, IdentityTotals, InlineBody, Kept, KeySuffix, ManifestHeader,
    ManifestKind, Marker, PartEntry, PartPage, Pointer, Stored, StoredBucket, StoredRepair, StoredSetting,
    UploadHandle, UserEpoch, VersionHead,
};
use crate::fuzz::holds;
use crate::fuzz::samples::{self, BUCKET, DISK, MANIFEST, OWNER};
use crate::types::{BucketId, ClusterMap, GroupId, ManifestId, UploadId, UserId, VersionId};

fn value<T: Stored + std::fmt::Debug>(bytes: &[u8]) -> bool {
    holds(bytes, |bytes| stored::decode::<T>(bytes, b"key").ok(), |value| stored::encode(value).unwrap_or_default())
}

/// A value that is any bytes, behind its version.
#[allow(clippy::expect_used, reason = "this is a test")]
fn raw<T: Stored>(bytes: &[u8]) -> bool {
    stored::decode::<T>(bytes, b"key").is_ok_and(|value| {
        assert_eq!(stored::encode(&value).expect("any bytes"), bytes);
        true
    })
}

macro_rules! kinds {
    ($($number:literal $type:ty,)*) => {
        /// A value; the first byte says of which kind.
        #[allow(clippy::expect_used, reason = "this is a test")]
        pub fn meta_value(data: &[u8]) -> bool {
            let Some((kind, bytes)) = data.split_first() else { return false };
            match kind {
                $($number => value::<$type>(bytes),)*
                100 => {
                    // A version's head can be read without its attributes, and says the same.
                    let Ok(record) = stored::decode::<VersionRecord>(bytes, b"key") else { return false };
                    let head: VersionHead = stored::decode(bytes, b"key").expect("the head of what is read");
                    assert_eq!(head.with(record.attributes.clone()), record);
                    value::<VersionRecord>(bytes)
                }
                101 => raw::<InlineBody>(bytes),
                102 => raw::<StoredSetting>(bytes),
                _ => false,
            }
        }
    };
}

kinds! {
    0 Pointer,
    1 Marker,
    2 StoredBucket,
    3 ManifestHeader,
    4 ChunkPage,
    5 PartPage,
    6 Kept,
    7 UploadHandle,
    8 UploadRecord,
    9 PartRecord,
    10 CompletedUpload,
    11 KeySuffix,
    12 Flag,
    13 StoredRepair,
    14 UserRecord,
    15 UserId,
    16 DirectoryEntry,
    17 ClusterMap,
    18 GroupState,
    19 UserRights,
    20 AccessKey,
    21 Group,
    22 NamedPolicy,
    23 Attachment,
    24 IdentityTotals,
    25 UserEpoch,
}

pub fn value_seeds() -> Vec<Vec<u8>> {
    fn seed<T: Stored>(kind: u8, value: &T) -> Vec<u8> {
        [vec![kind], stored::encode(value).unwrap_or_default()].concat()
    }
    let place = PagePlace { offset: 1 << 33, entry: 256 };
    let header = |kind| ManifestHeader { holders: 2, size: 1 << 40, kind };
    let entry = PartEntry { number: 300, size: 6, body: Body::Manifest(MANIFEST), checksum: Some(samples::checksum()) };
    // As release 0.1.0 wrote it: no generation, no settings.
    let map_v1 = {
        let map = samples::changing_map();
        let fields = (map.cluster, map.epoch, map.nodes, map.disks, map.groups);
        postcard::to_extend(&fields, vec![17, 1]).unwrap_or_default()
    };
    // Before it had settings.
    let bucket_v1 = postcard::to_extend(&samples::bucket(), vec![2, 1, 0]).unwrap_or_default();
    let mut seeds = vec![
        seed(0, &Pointer { schema: SCHEMA, generation: 300 }),
        seed(1, &Marker(Bytes::from_static(b"marker"))),
        seed(2, &StoredBucket::Kept { record: samples::bucket(), epoch: 300 }),
        seed(2, &StoredBucket::Purged),
        bucket_v1,
        seed(3, &header(ManifestKind::Chunks)),
        seed(3, &header(ManifestKind::Parts { count: 300, index: vec![(1, place)] })),
        seed(4, &ChunkPage(vec![ChunkEntry { hash: [8; 32], len: 8 << 20 }; 2])),
        seed(5, &PartPage(vec![entry])),
        seed(7, &UploadHandle { initiated_ms: 1 << 40 }),
        seed(8, &samples::upload()),
        seed(9, &samples::part()),
        seed(10, &samples::completed()),
        seed(11, &KeySuffix(Bytes::from_static(b"key\0\xff"))),
        seed(12, &Flag),
        seed(13, &StoredRepair { queued_ms: 5, known: vec![DISK] }),
        seed(14, &samples::user()),
        seed(15, &OWNER),
        seed(16, &samples::directory_entry()),
        seed(17, &samples::changing_map()),
        map_v1,
        seed(18, &GroupState::default()),
        vec![18, 1, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, 6, 7],
        seed(100, &samples::version()),
        seed(101, &InlineBody(Bytes::from_static(b"abc"))),
        seed(19, &samples::rights()),
        seed(20, &samples::access_key()),
        seed(21, &samples::group()),
        seed(22, &samples::policy()),
        seed(23, &Attachment { builtin: true }),
        seed(24, &IdentityTotals { bytes: 300, policies: 1, groups: 2, users: Some(300) }),
        seed(25, &UserEpoch(1 << 48 | 7)),
        seed(102, &StoredSetting(Bytes::from_static(b"{}"))),
    ];
    seeds.extend(samples::results().into_iter().map(|result| seed(6, &Kept(result))));
    seeds
}

pub fn key_seeds() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 6] = [
        b"\x03a\0b",
        b"\x04a\0/ba\0",
        b"\x02a\xffa\0\x01",
        b"\x01\0\0",
        b"\x00bucket",
        b"\x09\xff\xff\xff\xff\0\0\0\0\x01\xff\xff\xff\xff",
    ];
    let long = [&b"\x20"[..], &[7; 80]].concat();
    seeds.iter().map(|seed| seed.to_vec()).chain([long]).collect()
}

/// Two object keys. They come back from the keys of the database, are there in their own order, and what starts with one
/// of them is found by it alone. Whatever else stands there as a key is no key, or none that breaks.
#[allow(clippy::expect_used, reason = "this is a test")]
pub fn meta_key(data: &[u8]) -> bool {
    let Some((len, rest)) = data.split_first() else { return false };
    let (one, other) = rest.split_at(usize::from(*len).min(rest.len()));
    let keys = Keys::new(GroupId(5), 1);

    let current = |key: &[u8]| keys.current(BUCKET, key).bytes;
    assert_eq!(current_key(&current(one)).as_deref(), Some(one));
    let upload = |key: &[u8], id: u8| keys.upload(BUCKET, key, u64::from_be_bytes([id; 8]), UploadId([id; 16])).bytes;
    for id in [0, 1, 0xff] {
        assert_eq!(upload_key(&upload(one, id)).as_deref(), Some(one));
    }
    let version = |key: &[u8], log_index| keys.version(BUCKET, key, VersionId { log_index, position: 0 }).bytes;
    if one != other {
        for ids in [(0, 0xff), (0xff, 0)] {
            assert_eq!(upload(one, ids.0) < upload(other, ids.1), one < other);
            assert_eq!(version(one, ids.0.into()) < version(other, ids.1.into()), one < other);
        }
        assert_eq!(current(one) < current(other), one < other);
    } else {
        assert!(version(one, 9) < version(one, 8));
    }
    let starts = one.starts_with(other);
    let (uploads, currents) = (keys.uploads_of(BUCKET, other), keys.current_of(BUCKET, other));
    assert_eq!((uploads.from..uploads.to).contains(&upload(one, 7)), starts);
    assert_eq!((currents.from..currents.to).contains(&current(one)), starts);
    let exact = keys.uploads_to(BUCKET, other);
    assert_eq!((exact.from..exact.to).contains(&upload(one, 7)), one == other);

    // Any bytes, as a key of each table.
    let raw = keys.with_suffix(Cf::General, rest).bytes;
    let tail = |skip: usize| raw.get(PREFIX_LEN + skip..).unwrap_or_default();
    if let Some((time, id)) = timed::<16>(&raw) {
        assert_eq!(keys.garbage(time, ManifestId(id)).bytes[PREFIX_LEN + 1..], *tail(1));
    }
    if let Some((time, hash)) = timed::<32>(&raw) {
        assert_eq!(keys.repair_order(time, &hash).bytes[PREFIX_LEN + 1..], *tail(1));
    }
    if let (Some(hash), Some(manifest)) = (referenced_hash(&raw), referring_manifest(&raw)) {
        assert_eq!(keys.reference(&hash, manifest).bytes, raw);
    }
    if let Some(bucket) = sealed_id(&raw) {
        assert_eq!(keys.sealed_bucket(bucket).bytes[PREFIX_LEN + 1..], *tail(1));
    }
    if let Some(place) = page_place(&raw) {
        let id = tail(0).first_chunk().copied().expect("the id comes before the place");
        assert_eq!(keys.page(ManifestId(id), place).bytes, raw);
    }
    if let Some(name) = name_after(&raw, 0) {
        assert_eq!(keys.directory(name).bytes[PREFIX_LEN + 1..], *tail(1));
    }
    if let Some(name) = name_after(&raw, 16) {
        let id = tail(1).first_chunk().copied().expect("the owner comes before the name");
        assert_eq!(keys.directory_by_owner(UserId(id), name).bytes[PREFIX_LEN + 1..], *tail(1));
    }
    // A key that was found says what stands before its end; at its own place it is the same.
    if let Some(key) = upload_key(&raw) {
        let bucket = tail(1).first_chunk().map(|bytes| BucketId(u64::from_be_bytes(*bytes))).expect("a bucket");
        let range = keys.uploads_to(bucket, &key);
        assert!(raw[PREFIX_LEN + 1..].starts_with(&range.from[PREFIX_LEN + 1..]));
    }
    !one.is_empty() && !other.is_empty()
}

pub fn frame_seeds() -> Vec<Vec<u8>> {
    let record = |cf: Cf, value: &'static [u8]| (cf as u8, Bytes::from_static(b"suffix"), Bytes::from_static(value));
    let frames = [
        Frame::Head { schema: SCHEMA, group: GroupId(3) },
        Frame::Records(vec![record(Cf::Current, b"value"), record(Cf::General, b""), record(Cf::Inline, &[7; 300])]),
        Frame::Records(Vec::new()),
        Frame::End { records: 300, digest: [7; 32] },
    ];
    frames.iter().filter_map(|frame| frame.encode().ok()).collect()
}

/// A frame of a snapshot.
pub fn snapshot_frame(data: &[u8]) -> bool {
    holds(data, |bytes| Frame::decode(bytes).ok(), |frame| frame.encode().unwrap_or_default())
}
