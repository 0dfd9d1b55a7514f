//! What can be asked of a group, and the answers. A query changes nothing; it sees all that was committed before it
//! was asked, because the caller holds a read barrier.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::record::{
    AccessKey, BucketRecord, ChunkSpan, CompletedUpload, DirectoryEntry, Group, NamedPolicy, PartRecord, RepairEntry,
    Setting, UploadRecord, UserRecord, UserRights, VersionRecord,
};
use crate::types::{BucketId, ClusterMap, ManifestId, UnixMillis, UploadId, UserId};

/// Which bytes of an object are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// None: HEAD.
    Nothing,
    All,
    /// From this offset on, inclusive.
    From(u64),
    /// First and last byte, inclusive.
    Between(u64, u64),
    /// The last so many bytes.
    Suffix(u64),
    /// One part by its number; the whole object, where it was not made of parts and the number is 1.
    Part(u16),
    /// As `Part`, but no bytes: HEAD.
    PartHead(u16),
}

/// Where a list goes on: after this key, and after all that start with it too if it is a common prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListFrom {
    Start,
    /// Strictly after this key.
    AfterKey(String),
    /// After every key that starts with this.
    AfterPrefix(String),
}

/// What can be asked. All but the `Root` ones are for metadata groups; `Statistics` is for both. No answer has more
/// than 10,000 entries, whatever the limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// `Answer::Map`. Root group.
    Map,
    /// `Answer::User`. Root group.
    UserByAccessKey {
        access_key: String,
    },
    UserById {
        id: UserId,
    },
    /// `Answer::Users`, by name. Root group.
    Users,
    /// `Answer::Directory`. Root group.
    Directory {
        name: String,
    },
    /// `Answer::DirectoryList`, by name: `owner`'s (everybody's, if `None`) active buckets. Root group.
    DirectoryList {
        owner: Option<UserId>,
        prefix: String,
        after: Option<String>,
        limit: u32,
    },
    /// `Answer::DirectoryList`: the entries that are not active. Root group.
    DirectoryUnfinished,

    /// `Answer::Bucket`.
    Bucket {
        bucket: BucketId,
    },
    /// `Answer::Object`: the record, the bucket, and the inline body or the first `limit` chunks of what is wanted.
    Object {
        bucket: BucketId,
        key: String,
        wanted: Wanted,
        limit: u32,
    },
    /// `Answer::Chunks`: the chunks of a manifest that overlap the bytes from `offset` on.
    Chunks {
        manifest: ManifestId,
        offset: u64,
        limit: u32,
    },
    /// `Answer::ObjectParts`: the parts of an object made of parts, numbers above `after`.
    ObjectParts {
        bucket: BucketId,
        key: String,
        after: u16,
        limit: u32,
    },
    /// `Answer::List`. Byte order of the keys. `limit` counts keys and common prefixes together.
    List {
        bucket: BucketId,
        prefix: String,
        delimiter: Option<String>,
        from: ListFrom,
        limit: u32,
    },
    /// `Answer::Upload`.
    Upload {
        bucket: BucketId,
        key: String,
        upload: UploadId,
    },
    /// `Answer::Parts`: numbers above `after`, at most `limit`.
    Parts {
        bucket: BucketId,
        key: String,
        upload: UploadId,
        after: u16,
        limit: u32,
    },
    /// `Answer::Uploads`. By key, then by time of initiation and upload id.
    Uploads {
        bucket: BucketId,
        prefix: String,
        delimiter: Option<String>,
        from: ListFrom,
        /// With `ListFrom::AfterKey(key)`: go on within `key`, after this upload; from the key's first upload, where
        /// this one is no longer open.
        after_upload: Option<UploadId>,
        limit: u32,
    },
    /// `Answer::Referenced`: for each chunk of this group, whether a manifest refers to it.
    Referenced {
        hashes: Vec<[u8; 32]>,
    },
    /// `Answer::References`: the chunks that manifests refer to, each once, in the order of their hashes, after `after`.
    References {
        after: Option<[u8; 32]>,
        limit: u32,
    },
    /// `Answer::Repairs`: oldest first.
    Repairs {
        limit: u32,
    },
    /// `Answer::SealedBuckets`: those with something left to purge.
    SealedBuckets,
    /// `Answer::Statistics`.
    Statistics,
    /// `Answer::Referrers`: the manifests that refer to any of these chunks of this group, each once.
    Referrers {
        hashes: Vec<[u8; 32]>,
        limit: u32,
    },
    /// `Answer::Clock`. Any group.
    Clock,
    /// `Answer::Collectable`: as `Referenced`, for a disk that is to judge its chunks by it.
    Collectable {
        hashes: Vec<[u8; 32]>,
    },
    /// `Answer::BucketSettings`.
    BucketSettings {
        bucket: BucketId,
    },
    /// `Answer::UserTable`: the users with all that they may do, unless their epoch still is `known`. `u64::MAX` never is.
    /// `Answer::TooLarge` past [`MAX_TABLE_LEN`]. Root group.
    UserTable {
        known: u64,
    },
}

impl Query {
    /// Whether it reads a few keys only.
    pub(super) fn is_point(&self) -> bool {
        matches!(
            self,
            Self::Map
                | Self::UserByAccessKey { .. }
                | Self::UserById { .. }
                | Self::Directory { .. }
                | Self::Bucket { .. }
                | Self::Object { .. }
                | Self::Upload { .. }
                | Self::Statistics
                | Self::Clock
                | Self::BucketSettings { .. }
        )
    }
}

/// What came of a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Map(Option<Box<ClusterMap>>),
    User(Option<Box<UserRecord>>),
    Users(Vec<UserRecord>),
    Directory(Option<DirectoryEntry>),
    DirectoryList {
        entries: Vec<DirectoryEntry>,
        more: bool,
    },
    /// And the epoch of its settings. `None`: unknown, or sealed.
    Bucket(Option<(BucketRecord, u64)>),
    Object {
        /// The epoch of the bucket's settings; `None` where the bucket is unknown, or sealed. So in the following ones.
        settings: Option<u64>,
        object: Option<Box<ObjectAnswer>>,
    },
    Chunks(Vec<ChunkSpan>),
    ObjectParts {
        settings: Option<u64>,
        record: Option<Box<VersionRecord>>,
        parts: Vec<ObjectPart>,
        more: bool,
        total: u16,
    },
    List {
        settings: Option<u64>,
        entries: Vec<ListEntry>,
        more: bool,
    },
    Upload {
        settings: Option<u64>,
        upload: UploadState,
    },
    Parts {
        settings: Option<u64>,
        upload: UploadState,
        parts: Vec<PartRecord>,
        more: bool,
    },
    Uploads {
        settings: Option<u64>,
        entries: Vec<UploadEntry>,
        more: bool,
    },
    Referenced(Vec<bool>),
    References(Vec<[u8; 32]>),
    Repairs(Vec<RepairEntry>),
    SealedBuckets(Vec<BucketId>),
    Statistics(GroupStatistics),
    /// The query is not for this kind of group, or breaks a bound.
    Invalid,
    Referrers(BTreeSet<ManifestId>),
    Clock {
        /// By which the group judges what is past.
        time_ms: UnixMillis,
        /// The grace time that was set last.
        grace_ms: u64,
    },
    Collectable {
        referenced: Vec<bool>,
        /// The grace time of the group at the moment of the answer: until the next one is set no commit is accepted
        /// whose chunks were touched longer ago than half of it.
        grace_ms: u64,
    },
    BucketSettings {
        /// Their epoch: how often they were changed. It never goes back.
        settings: Option<u64>,
        /// Those that are set, each once, in the order of [`Setting`].
        values: Vec<(Setting, bytes::Bytes)>,
    },
    UserTable {
        /// Another one after each change of what is in the table. To be compared for being the same only.
        epoch: u64,
        /// `None` where the epoch is the known one.
        table: Option<Box<UserTable>>,
    },
    /// It would be longer than any client reads.
    TooLarge,
}

/// The most that the records of a [`UserTable`] are together, in bytes. With `MAX_IDENTITIES_LEN` for the rest this is
/// 100,000 users of 150 bytes.
pub const MAX_TABLE_LEN: usize = 31 << 20;

/// All users, and all that decides what they may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserTable {
    /// By name.
    pub users: Vec<UserRecord>,
    /// By id: of those of whom any are set.
    pub rights: Vec<(UserId, UserRights)>,
    /// By access key: those that are not in their users' records.
    pub keys: Vec<AccessKey>,
    /// By name.
    pub groups: Vec<Group>,
    /// By name.
    pub policies: Vec<NamedPolicy>,
}

/// The current version of a key and, as far as wanted, where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectAnswer {
    pub record: VersionRecord,
    pub bytes: WantedBytes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WantedBytes {
    /// Nothing was wanted.
    Nothing,
    /// The range starts at or after the end, is backwards, or there is no such part.
    Unsatisfiable,
    /// The whole inline body, of which `first..=last` is wanted (`first > last` for an empty object). `part` is there
    /// for a wanted part of an object that was made of parts.
    Inline { bytes: bytes::Bytes, first: u64, last: u64, part: Option<PartOfObject> },
    /// The chunks that overlap `first..=last`, in order, up to the limit. Ask `Query::Chunks` for those after it.
    /// Empty, with `first > last`, for an empty part or object; empty for `Wanted::PartHead`.
    Chunks { spans: Vec<ChunkSpan>, first: u64, last: u64, part: Option<PartOfObject> },
}

/// The answer to a wanted part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartOfObject {
    pub number: u16,
    /// How many parts the object has.
    pub count: u16,
    pub checksum: Option<super::record::Checksum>,
}

/// A part of a completed object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPart {
    pub number: u16,
    pub size: u64,
    pub checksum: Option<super::record::Checksum>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListEntry {
    /// The record comes without its attributes.
    Key(String, Box<VersionRecord>),
    CommonPrefix(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "nearly all entries of a list are uploads")]
pub enum UploadEntry {
    Upload(UploadRecord),
    CommonPrefix(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadState {
    Unknown,
    Open(Box<UploadRecord>),
    /// Completed less than a day ago.
    Completed(Box<CompletedUpload>),
}

/// Figures for the metrics. Counts are kept as the commands are applied, never counted anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatistics {
    pub buckets: u64,
    pub objects: u64,
    pub object_bytes: u64,
    pub open_uploads: u64,
    /// All that are kept, those without a holder too.
    pub manifests: u64,
    /// Those without a holder.
    pub garbage_manifests: u64,
    pub queued_repairs: u64,
}
