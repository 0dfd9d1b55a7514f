//! The values of the state: one version byte, then postcard. Knows nothing of keys; see `schema`.
//!
//! Where a struct of `record` is stored as it travels, its form is frozen all the same: a test holds the bytes of each.
//! When one moves on, the old struct is kept here, under the version that it was written with.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::command::{Outcome, Rejection};
use super::error::MetaError;
use super::query::GroupStatistics;
use super::record::{
    AccessKey, Attributes, AttributesV1, Body, BucketRecord, Checksum, ChecksumAlgorithm, ChecksumKind, ChunkEntry,
    CompletedUpload, DirectoryEntry, ETag, Group, NamedPolicy, PartRecord, UploadRecord, UserRecord, UserRights,
    VersionRecord,
};
use super::schema::PagePlace;
use crate::types::{ClusterMap, ClusterMapV1, DiskId, UnixMillis, UploadId, UserId, VersionId};

/// A value that has an encoded form.
pub(super) trait Stored: Sized {
    /// What it is, for whoever finds it corrupt.
    const WHAT: &'static str;
    /// The version that is written.
    const VERSION: u8 = 1;

    /// Appends the encoded form, without the version byte.
    fn write(&self, out: Vec<u8>) -> postcard::Result<Vec<u8>>;

    /// Decodes what `version` wrote. `None` where it cannot have written this.
    fn read(version: u8, bytes: &[u8]) -> Option<Self>;
}

/// The bytes that are put into the database.
pub(super) fn encode<T: Stored>(value: &T) -> Result<Vec<u8>, MetaError> {
    let mut out = Vec::with_capacity(128);
    out.push(T::VERSION);
    // Fails for types that postcard has no form for, which no stored type is.
    value.write(out).map_err(|_| MetaError::corrupt(T::WHAT, &[]))
}

/// The inverse of [`encode`]; `key` is for the error only.
pub(super) fn decode<T: Stored>(bytes: &[u8], key: &[u8]) -> Result<T, MetaError> {
    bytes
        .split_first()
        .and_then(|(version, rest)| T::read(*version, rest))
        .ok_or_else(|| MetaError::corrupt(T::WHAT, key))
}

fn exact<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

/// Types whose first version is their derived form.
macro_rules! stored {
    ($($type:ty, $what:literal;)*) => {$(
        impl Stored for $type {
            const WHAT: &'static str = $what;

            fn write(&self, out: Vec<u8>) -> postcard::Result<Vec<u8>> {
                postcard::to_extend(self, out)
            }

            fn read(version: u8, bytes: &[u8]) -> Option<Self> {
                (version == 1).then(|| exact(bytes)).flatten()
            }
        }
    )*};
}

stored! {
    Pointer, "generation pointer";
    Marker, "applied marker";
    ManifestHeader, "manifest";
    ChunkPage, "page of chunks";
    PartPage, "page of parts";
    Kept, "operation result";
    UploadHandle, "upload handle";
    PartRecord, "part";
    CompletedUpload, "completed upload";
    KeySuffix, "key";
    Flag, "flag";
    StoredRepair, "repair";
    UserRecord, "user";
    UserId, "user id";
    DirectoryEntry, "directory entry";
    UserEpoch, "epoch of the users";
    UserRights, "rights";
    AccessKey, "access key";
    Group, "group of users";
    NamedPolicy, "policy";
    Attachment, "attachment";
    IdentityTotals, "totals of identities";
}

impl Stored for ClusterMap {
    const WHAT: &'static str = "cluster map";
    const VERSION: u8 = 2;

    fn write(&self, out: Vec<u8>) -> postcard::Result<Vec<u8>> {
        postcard::to_extend(self, out)
    }

    fn read(version: u8, bytes: &[u8]) -> Option<Self> {
        match version {
            1 => exact::<ClusterMapV1>(bytes).map(Self::from),
            2 => exact(bytes),
            _ => None,
        }
    }
}

/// The generation of a group that is in use, and the schema of its keys and values.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pointer {
    pub schema: u32,
    pub generation: u32,
}

/// What the group keeps only once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupState {
    /// By which it is judged what is past; see `apply/time.rs`.
    pub time_ms: UnixMillis,
    /// The greatest that `time_ms` ever was, since it was last reset.
    pub high_ms: UnixMillis,
    /// The grace time, as it was last set; what holds already is [`GroupState::grace_now`].
    pub grace_ms: u64,
    /// What held when it was set, if that is less.
    pub grace_before_ms: u64,
    pub grace_set_ms: UnixMillis,
    /// No result is kept of operations issued before this.
    pub operations_from_ms: UnixMillis,
    /// Results of operations issued before this may have been forgotten.
    pub forgotten_ms: UnixMillis,
    /// The greatest stamp, since one went back far.
    pub stamped_ms: UnixMillis,
    /// Of the minute without a leap that is under way, how much has passed; see `apply/time.rs`.
    pub calm_ms: u64,
    /// The latest issue of an operation; and as it was before each of the last ten such minutes, the oldest first.
    pub newest_issued_ms: UnixMillis,
    pub issued_ms: [UnixMillis; 10],
    /// No dead manifest is older than this: where a scan of the queue starts, past what was deleted from it.
    pub garbage_from_ms: UnixMillis,
    /// No remembered completed upload is older than this.
    pub completed_from_ms: UnixMillis,
    /// The id that the next bucket gets. Root group only.
    pub next_bucket: u64,
    pub statistics: GroupStatistics,
    /// When garbage was last made to count anew, or the time leapt in the grace time after that: until the grace time has
    /// passed since, none is collected.
    pub brought_ms: UnixMillis,
}

impl GroupState {
    /// The grace time by which commits are judged now. A shorter one holds at once. A longer one grows with the time since
    /// it was set: of what was touched before that, disks may have dropped some by the shorter one.
    pub(super) fn grace_now(&self) -> u64 {
        self.grace_before_ms.max(self.grace_ms.min(self.time_ms.saturating_sub(self.grace_set_ms)))
    }
}

impl Default for GroupState {
    fn default() -> Self {
        let grace_ms = 24 * 60 * 60 * 1000;
        Self {
            time_ms: 0,
            high_ms: 0,
            grace_ms,
            grace_before_ms: grace_ms,
            grace_set_ms: 0,
            operations_from_ms: 0,
            forgotten_ms: 0,
            stamped_ms: 0,
            calm_ms: 0,
            newest_issued_ms: 0,
            issued_ms: [0; 10],
            garbage_from_ms: 0,
            completed_from_ms: 0,
            next_bucket: 1,
            statistics: GroupStatistics::default(),
            brought_ms: 0,
        }
    }
}

/// As it was stored first.
#[derive(Debug, Serialize, Deserialize)]
struct GroupStateV1 {
    time_ms: UnixMillis,
    grace_ms: u64,
    operations_from_ms: UnixMillis,
    garbage_from_ms: UnixMillis,
    completed_from_ms: UnixMillis,
    next_bucket: u64,
    statistics: GroupStatistics,
}

impl From<GroupStateV1> for GroupState {
    fn from(old: GroupStateV1) -> Self {
        let GroupStateV1 { time_ms, grace_ms, operations_from_ms, .. } = old;
        Self {
            time_ms,
            high_ms: time_ms,
            grace_ms,
            grace_before_ms: grace_ms,
            grace_set_ms: time_ms,
            operations_from_ms,
            forgotten_ms: operations_from_ms,
            stamped_ms: time_ms,
            calm_ms: 0,
            newest_issued_ms: operations_from_ms,
            issued_ms: [0; 10],
            garbage_from_ms: old.garbage_from_ms,
            completed_from_ms: old.completed_from_ms,
            next_bucket: old.next_bucket,
            statistics: old.statistics,
            brought_ms: 0,
        }
    }
}

/// As it was stored before it had its last number: the same, one after the other.
type GroupStateV2 = ([UnixMillis; 10], [UnixMillis; 10], [u64; 3], GroupStatistics);

impl From<GroupStateV2> for GroupState {
    fn from((times, issued_ms, last, statistics): GroupStateV2) -> Self {
        let [time_ms, high_ms, grace_ms, grace_before_ms, grace_set_ms, ..] = times;
        let [.., operations_from_ms, forgotten_ms, stamped_ms, calm_ms, newest_issued_ms] = times;
        let [garbage_from_ms, completed_from_ms, next_bucket] = last;
        Self {
            time_ms,
            high_ms,
            grace_ms,
            grace_before_ms,
            grace_set_ms,
            operations_from_ms,
            forgotten_ms,
            stamped_ms,
            calm_ms,
            newest_issued_ms,
            issued_ms,
            garbage_from_ms,
            completed_from_ms,
            next_bucket,
            statistics,
            brought_ms: 0,
        }
    }
}

impl Stored for GroupState {
    const WHAT: &'static str = "group state";
    const VERSION: u8 = 3;

    fn write(&self, out: Vec<u8>) -> postcard::Result<Vec<u8>> {
        postcard::to_extend(self, out)
    }

    fn read(version: u8, bytes: &[u8]) -> Option<Self> {
        match version {
            1 => exact::<GroupStateV1>(bytes).map(Self::from),
            2 => exact::<GroupStateV2>(bytes).map(Self::from),
            3 => exact(bytes),
            _ => None,
        }
    }
}

/// The caller's marker; opaque here.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Marker(pub bytes::Bytes);

/// A bucket, or what is left of it for ever: its id is never given out again, and a late create must not revive it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StoredBucket {
    Kept {
        record: BucketRecord,
        /// How often its settings were changed.
        epoch: u64,
    },
    Purged,
}

/// As it was stored before there were settings, by the release 0.1.0 among others.
#[derive(Debug, Serialize, Deserialize)]
enum StoredBucketV1 {
    Kept(BucketRecord),
    Purged,
}

impl Stored for StoredBucket {
    const WHAT: &'static str = "bucket";
    const VERSION: u8 = 2;

    fn write(&self, out: Vec<u8>) -> postcard::Result<Vec<u8>> {
        postcard::to_extend(self, out)
    }

    fn read(version: u8, bytes: &[u8]) -> Option<Self> {
        match version {
            1 => exact(bytes).map(|old| match old {
                StoredBucketV1::Kept(record) => Self::Kept { record, epoch: 0 },
                StoredBucketV1::Purged => Self::Purged,
            }),
            2 => exact(bytes),
            _ => None,
        }
    }
}

/// The value of a key that says all by being there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Flag;

/// Another key of the same generation, without the prefix.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeySuffix(pub bytes::Bytes);

/// When an upload was initiated.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UploadHandle {
    pub initiated_ms: UnixMillis,
}

/// The head of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManifestHeader {
    /// How many versions, parts and manifests hold it. At zero it is in the garbage queue.
    pub holders: u64,
    /// Bytes.
    pub size: u64,
    pub kind: ManifestKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ManifestKind {
    /// Its pages are [`ChunkPage`]s.
    Chunks,
    /// Its pages are [`PartPage`]s. `index` has the number of the first part of each page.
    Parts { count: u16, index: Vec<(u16, PagePlace)> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChunkPage(pub Vec<ChunkEntry>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartPage(pub Vec<PartEntry>);

/// One part of a composite manifest, which holds the part's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartEntry {
    pub number: u16,
    pub size: u64,
    pub body: Body,
    pub checksum: Option<Checksum>,
}

/// What an operation answered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept(pub Result<Outcome, Rejection>);

/// A queued chunk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredRepair {
    pub queued_ms: UnixMillis,
    pub known: Vec<DiskId>,
}

/// An inline body: the bytes as they are.
#[derive(Debug)]
pub(super) struct InlineBody(pub bytes::Bytes);

impl Stored for InlineBody {
    const WHAT: &'static str = "inline body";

    fn write(&self, mut out: Vec<u8>) -> postcard::Result<Vec<u8>> {
        out.extend_from_slice(&self.0);
        Ok(out)
    }

    fn read(version: u8, bytes: &[u8]) -> Option<Self> {
        (version == 1).then(|| Self(bytes::Bytes::copy_from_slice(bytes)))
    }
}

/// The value of a bucket's setting, as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoredSetting(pub bytes::Bytes);

impl Stored for StoredSetting {
    const WHAT: &'static str = "setting";

    fn write(&self, mut out: Vec<u8>) -> postcard::Result<Vec<u8>> {
        out.extend_from_slice(&self.0);
        Ok(out)
    }

    fn read(version: u8, bytes: &[u8]) -> Option<Self> {
        (version == 1).then(|| Self(bytes::Bytes::copy_from_slice(bytes)))
    }
}

/// Tells the users as they are from the users as they ever were; see `apply/root.rs`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct UserEpoch(pub u64);

/// That a policy is attached.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attachment {
    /// It is one of the gateway's own, and not stored.
    pub builtin: bool,
}

/// How much there is of what users may do and be, besides their records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdentityTotals {
    /// Of all rights, keys, groups and policies: their values, and their keys without the prefix.
    pub bytes: u64,
    pub policies: u64,
    pub groups: u64,
    /// Of the users' records alike; `None` until they are counted, with the next that is added.
    pub users: Option<u64>,
}

/// What lists and writes need of a version. The attributes come last in the encoded form, so that this much can be
/// had without them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VersionHead {
    pub version: VersionId,
    pub modified_ms: UnixMillis,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub owner: UserId,
    pub body: Body,
}

impl VersionHead {
    /// The record, with these attributes.
    pub(super) fn with(self, attributes: Attributes) -> VersionRecord {
        let Self { version, modified_ms, size, etag, checksum, owner, body } = self;
        VersionRecord { version, modified_ms, size, etag, checksum, owner, attributes, body }
    }
}

impl Stored for VersionHead {
    const WHAT: &'static str = "version";

    /// A head alone is never stored.
    fn write(&self, _: Vec<u8>) -> postcard::Result<Vec<u8>> {
        Err(postcard::Error::WontImplement)
    }

    fn read(version: u8, bytes: &[u8]) -> Option<Self> {
        (version == 1 || version == 2).then(|| postcard::take_from_bytes(bytes).ok()).flatten().map(|(head, _)| head)
    }
}

impl Stored for VersionRecord {
    const WHAT: &'static str = "version";
    const VERSION: u8 = 2;

    fn write(&self, out: Vec<u8>) -> postcard::Result<Vec<u8>> {
        let Self { version, modified_ms, size, etag, checksum, owner, attributes, body } = self;
        postcard::to_extend(&(version, modified_ms, size, etag, checksum, owner, body, attributes), out)
    }

    fn read(version: u8, bytes: &[u8]) -> Option<Self> {
        let (head, attributes): (VersionHead, Attributes) = match version {
            1 => exact(bytes).map(|(head, old): (_, AttributesV1)| (head, old.into()))?,
            2 => exact(bytes)?,
            _ => return None,
        };
        Some(head.with(attributes))
    }
}

/// As it was stored before there were labels: the same fields, one after the other.
type UploadRecordV1 = (UploadId, String, UserId, UnixMillis, AttributesV1, Option<(ChecksumAlgorithm, ChecksumKind)>);

impl Stored for UploadRecord {
    const WHAT: &'static str = "upload";
    const VERSION: u8 = 2;

    fn write(&self, out: Vec<u8>) -> postcard::Result<Vec<u8>> {
        postcard::to_extend(self, out)
    }

    fn read(version: u8, bytes: &[u8]) -> Option<Self> {
        match version {
            1 => exact(bytes).map(|(id, key, owner, initiated_ms, attributes, checksum): UploadRecordV1| Self {
                id,
                key,
                owner,
                initiated_ms,
                attributes: attributes.into(),
                checksum,
            }),
            2 => exact(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "stored_test.rs"]
mod tests;
