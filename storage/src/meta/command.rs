//! What changes a group's state, and what comes of it. A command carries its own time, ids and randomness.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::record::{
    AccessKey, Attributes, AttributesV1, BucketRecord, Checksum, ChecksumAlgorithm, ChecksumKind, ChunkEntry,
    DirectoryEntry, ETag, Label, PartRecord, Setting, UserRecord, VersionRecord, VersionRecordV1,
};
use crate::types::{
    BucketId, ClusterMap, ClusterMapV1, DiskId, Epoch, GroupId, ManifestId, OperationId, UnixMillis, UploadId, UserId,
    VersionId,
};

/// The payload of one Raft log entry: the commands that the leader gathered while the entry before was under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The leader's clock when it made the entry. What of it is believed: `apply/time.rs`.
    pub stamped_ms: UnixMillis,
    pub envelopes: Vec<Envelope>,
}

/// How many buckets a command is judged by: its own, and the source of a copy.
pub const MAX_JUDGED: usize = 2;

/// A command and its identity. Applied twice it takes effect once, and answers the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub operation: OperationId,
    pub command: Command,
    /// The buckets of the group by whose settings it was judged, with their epochs: where one is another by now, nothing is
    /// changed, and `Rejection::SettingsChanged` is the answer. At most [`MAX_JUDGED`].
    pub judged: Vec<(BucketId, u64)>,
}

/// The bytes of a new version or part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewBody {
    Empty,
    /// 1 byte to 16 KiB.
    Inline {
        id: ManifestId,
        bytes: Bytes,
    },
    /// In chunks that are durable already.
    Chunks {
        id: ManifestId,
        chunks: Vec<ChunkEntry>,
        /// The disks that `acknowledged` speaks of, at most 32.
        disks: Vec<DiskId>,
        /// For each chunk, a bit for each of `disks` that has fsynced it. As long as `chunks`.
        acknowledged: Vec<u32>,
        /// For each chunk, a bit for each of `disks` that is a home of it (its first places in the placement order).
        /// What is not acknowledged by all its homes is queued for repair.
        homes: Vec<u32>,
        /// How long ago, in milliseconds, the oldest of these chunks was put or touched. Apply refuses more than half
        /// the grace time.
        oldest_touch_age_ms: u64,
    },
}

/// A condition on the current version of a key, judged when the command is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteCondition {
    Always,
    /// `If-None-Match: *`: there is no current version. Otherwise `Rejection::PreconditionFailed`.
    Absent,
    /// `If-Match: *`: there is a current version. Otherwise `Rejection::NoSuchKey`.
    Exists,
    /// `If-Match: "etag"`. A missing key is `Rejection::NoSuchKey`, another ETag `Rejection::PreconditionFailed`.
    ETag(ETag),
}

impl WriteCondition {
    /// Whether it holds of the current version, of which the ETag is given.
    ///
    /// # Errors
    /// `Rejection::PreconditionFailed`, or `Rejection::NoSuchKey` where it asks for a version and there is none.
    pub fn judge(&self, current: Option<&ETag>) -> Result<(), Rejection> {
        match (self, current) {
            (Self::Always, _) | (Self::Absent, None) | (Self::Exists, Some(_)) => Ok(()),
            (Self::Absent, Some(_)) => Err(Rejection::PreconditionFailed),
            (Self::Exists | Self::ETag(_), None) => Err(Rejection::NoSuchKey),
            (Self::ETag(etag), Some(current)) if etag == current => Ok(()),
            (Self::ETag(_), Some(_)) => Err(Rejection::PreconditionFailed),
        }
    }
}

/// A part named by a Complete: its number and the id under which the gateway saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedPart {
    pub number: u16,
    pub id: ManifestId,
}

/// A key to delete, if its condition holds. `Absent` is not a condition of a delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTarget {
    pub key: String,
    pub condition: WriteCondition,
    /// Only if the current version was modified in this second, whatever the milliseconds.
    pub modified_ms: Option<UnixMillis>,
    /// Only if the current version has this size. With either of these a missing key is `Rejection::NoSuchKey`.
    pub size: Option<u64>,
}

impl DeleteTarget {
    /// Whether it demands anything of the object that is there.
    pub fn demands(&self) -> bool {
        self.condition != WriteCondition::Always || self.modified_ms.is_some() || self.size.is_some()
    }
}

/// The longest value of a setting that is taken where disks are full, in bytes: a bucket policy may be as long. Source: the
/// S3 user guide, "Bucket policies for Amazon S3".
pub const SMALL_SETTING_LEN: usize = 20 << 10;

/// What a group is asked to do. All but `Root` are for metadata groups. They are in logs by their position: new ones go to
/// the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Nothing; its commit shows that the group works.
    Nothing,
    Root(RootCommand),
    /// Creates the bucket that the root group reserved. Repeated with the same id it answers the same.
    CreateBucket {
        bucket: BucketRecord,
    },
    /// Seals an empty bucket, open uploads or not; `Rejection::BucketNotEmpty` otherwise.
    SealBucket {
        bucket: BucketId,
    },
    /// Takes at most `limit` records of a sealed bucket apart. Answers `Outcome::Progress`.
    PurgeBucket {
        bucket: BucketId,
        limit: u32,
    },
    /// `PutObject` of release 0.1.0, from a log.
    PutObjectV1 {
        bucket: BucketId,
        key: String,
        condition: WriteCondition,
        owner: UserId,
        size: u64,
        etag: ETag,
        checksum: Option<Checksum>,
        attributes: AttributesV1,
        body: NewBody,
    },
    /// `CopyObject` of release 0.1.0, from a log.
    CopyObjectV1 {
        source_bucket: BucketId,
        source_key: String,
        source_version: VersionId,
        bucket: BucketId,
        key: String,
        condition: WriteCondition,
        owner: UserId,
        attributes: Option<AttributesV1>,
        inline_id: ManifestId,
        checksum: Option<Checksum>,
    },
    /// Deletes current versions; a missing key without a condition is no failure. At most 1,000 targets.
    DeleteObjects {
        bucket: BucketId,
        targets: Vec<DeleteTarget>,
    },
    /// `CreateUpload` of release 0.1.0, from a log.
    CreateUploadV1 {
        bucket: BucketId,
        key: String,
        upload: UploadId,
        owner: UserId,
        attributes: AttributesV1,
        checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    },
    PutPart {
        bucket: BucketId,
        key: String,
        upload: UploadId,
        number: u16,
        /// Names this upload of the part; for `NewBody::Chunks` equal to the body's id.
        id: ManifestId,
        size: u64,
        md5: [u8; 16],
        checksum: Option<Checksum>,
        /// In chunks or empty; `NewBody::Inline` is `Rejection::Invalid`.
        body: NewBody,
    },
    /// Makes the named parts, in this order, the object. What S3 demands of them (order, sizes, ETags) the gateway
    /// has checked; `Rejection::UploadChanged` where one of them is not the one that it saw.
    CompleteUpload {
        bucket: BucketId,
        key: String,
        upload: UploadId,
        condition: WriteCondition,
        parts: Vec<NamedPart>,
        /// The manifest made of the parts' manifests.
        manifest: ManifestId,
        size: u64,
        etag: ETag,
        checksum: Option<Checksum>,
        request_digest: [u8; 32],
    },
    AbortUpload {
        bucket: BucketId,
        key: String,
        upload: UploadId,
    },
    /// Takes at most `limit` references of manifests apart that have been without a holder for `grace_ms`, forgets
    /// results of operations past ten minutes and completed uploads past a day. Answers `Outcome::Progress`.
    CollectGarbage {
        limit: u32,
        grace_ms: u64,
    },
    /// Queues chunks of this group for repair, as found bad or missing by a reader or a scrub.
    QueueRepair {
        hashes: Vec<[u8; 32]>,
        known: Vec<DiskId>,
    },
    /// Takes from the repair queue what was queued no later than the given time of the state machine.
    FinishRepair {
        done: Vec<([u8; 32], UnixMillis)>,
    },
    /// Sets the grace time on which `oldest_touch_age_ms` is judged (half of it), as the cluster map has it. Default 24
    /// hours.
    SetGrace {
        grace_ms: u64,
    },
    /// Takes the clock of the leader for the time, however far it is from what the group believed. For a person who has
    /// seen to the clocks. Any group.
    ResetClock,
    /// Sets one of the bucket's settings, or removes it. Answers `Outcome::Settings`; the epoch is one more, or the same
    /// where nothing changes. A value that is longer than [`super::record::MAX_SETTING_LEN`] is `Rejection::Invalid`.
    SetBucketSetting {
        bucket: BucketId,
        setting: Setting,
        value: Option<Bytes>,
    },
    PutObject {
        bucket: BucketId,
        key: String,
        condition: WriteCondition,
        owner: UserId,
        size: u64,
        etag: ETag,
        checksum: Option<Checksum>,
        attributes: Attributes,
        body: NewBody,
    },
    /// Makes a new version that shares the body of an existing one of the same group (an inline body is copied).
    /// `Rejection::SourceChanged` where the source has no current version, or another than `source_version`.
    CopyObject {
        source_bucket: BucketId,
        source_key: String,
        source_version: VersionId,
        bucket: BucketId,
        key: String,
        condition: WriteCondition,
        owner: UserId,
        /// `None` takes the source's, but for its labels.
        attributes: Option<Attributes>,
        /// Those of the new version where `attributes` is `None`.
        labels: Vec<(Label, Bytes)>,
        /// The id of the copied inline body, where the source's is inline.
        inline_id: ManifestId,
        /// `None` takes the source's.
        checksum: Option<Checksum>,
    },
    CreateUpload {
        bucket: BucketId,
        key: String,
        upload: UploadId,
        owner: UserId,
        attributes: Attributes,
        checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    },
    /// `CreateBucket` of one with settings, which are not looked at where it is there already: whoever sends it has to.
    CreateBucketWith {
        bucket: BucketRecord,
        settings: Vec<(Setting, Bytes)>,
    },
    /// Sets a label of a version, or removes it. `Rejection::SourceChanged` where the key's current version is another,
    /// `Rejection::NoSuchKey` where there is none, `Rejection::Invalid` past `MAX_LABELS_LEN`.
    SetLabel {
        bucket: BucketId,
        key: String,
        version: VersionId,
        label: Label,
        /// The value by which it was judged that this one may be set; `Rejection::SourceChanged` where it is another.
        expected: Option<Bytes>,
        value: Option<Bytes>,
    },
}

impl Command {
    /// Whether it needs room that it does not give back: where disks are full it is refused. What deletes, gives up,
    /// collects, heals, or changes the cluster goes on, for it is what makes room. A new command has to say.
    pub fn grows(&self) -> bool {
        match self {
            Self::CreateBucket { .. }
            | Self::CreateBucketWith { .. }
            | Self::PutObjectV1 { .. }
            | Self::PutObject { .. }
            | Self::CopyObjectV1 { .. }
            | Self::CopyObject { .. }
            | Self::CreateUploadV1 { .. }
            | Self::CreateUpload { .. }
            | Self::PutPart { .. }
            | Self::CompleteUpload { .. } => true,
            // Who has to lock a bucket on a full disk can: a policy that denies is set all the same. What settings take is
            // bounded by the number of buckets, which do not become more then, and a command so small is no more for the
            // log than one that deletes.
            Self::SetBucketSetting { value, .. } => value.as_ref().is_some_and(|value| value.len() > SMALL_SETTING_LEN),
            // Without the label it is the owner's alone.
            Self::SetLabel { value, .. } => value.is_some(),
            Self::Root(command) => command.grows(),
            Self::Nothing
            | Self::SealBucket { .. }
            | Self::PurgeBucket { .. }
            | Self::DeleteObjects { .. }
            | Self::AbortUpload { .. }
            | Self::CollectGarbage { .. }
            | Self::QueueRepair { .. }
            | Self::FinishRepair { .. }
            | Self::SetGrace { .. }
            | Self::ResetClock => false,
        }
    }
}

impl RootCommand {
    fn grows(&self) -> bool {
        match self {
            Self::AddUser { .. }
            | Self::ReserveBucket { .. }
            | Self::PutPolicy { .. }
            | Self::PutGroup { .. }
            | Self::AddKey { .. } => true,
            Self::SetMember { member: grows, .. } | Self::Attach { attached: grows, .. } => *grows,
            Self::SetInline { text, .. } => text.is_some(),
            Self::SetKey { disabled, .. } => !disabled,
            Self::FormClusterV1 { .. }
            | Self::ReplaceMapV1 { .. }
            | Self::FormCluster { .. }
            | Self::ReplaceMap { .. }
            | Self::SetRootUser { .. }
            | Self::RemoveUser { .. }
            | Self::ActivateBucket { .. }
            | Self::FreeBucket { .. }
            | Self::RemovePolicy { .. }
            | Self::RemoveGroup { .. }
            | Self::SetUserDisabled { .. }
            | Self::RemoveKey { .. } => false,
        }
    }
}

/// What the root group is asked to do. As with [`Outcome`], what was ever written stays in its place, and what is new
/// comes last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootCommand {
    /// `FormCluster` of release 0.1.0, from a log.
    FormClusterV1 { map: ClusterMapV1 },
    /// `ReplaceMap` of release 0.1.0, from a log.
    ReplaceMapV1 { expected: Epoch, map: ClusterMapV1 },
    /// Adds a user; `Rejection::Exists` where the name or the access key is taken, be it by a key that was added.
    AddUser { user: UserRecord },
    /// Creates the root user or replaces its own key; the root user that is there keeps its id, its name, and the keys
    /// that were added. `Rejection::Exists` as for `AddUser`.
    SetRootUser { user: UserRecord },
    /// Takes the user's rights, keys and memberships with it. `Rejection::NoSuchUser` where there is none,
    /// `Rejection::UserHasBuckets` where it still owns some.
    RemoveUser { name: String },
    /// Reserves a name: answers `Outcome::Directory` with a new id. Where the name is taken:
    /// `Rejection::BucketTaken` with the entry that has it; where there is no such owner: `Rejection::NoSuchUser`.
    ReserveBucket { name: String, owner: UserId, region: String, group: GroupId },
    /// The group has created it.
    ActivateBucket { name: String, bucket: BucketId },
    /// The group has sealed it, or never created it: the name is free again. No failure where the name is free, or
    /// another bucket's, already.
    FreeBucket { name: String, bucket: BucketId },
    /// The first command of a cluster. Refused (`Rejection::Exists`) where there is a map already.
    FormCluster { map: ClusterMap },
    /// Replaces the map, if its epoch still is `expected`; the new map's epoch is one more.
    ReplaceMap { expected: Epoch, map: ClusterMap },
    // What follows is about users. All of it answers `Outcome::Done`, and what sets something does nothing where all is so already. What would
    // make all of it longer than `MAX_IDENTITIES_LEN` is `Rejection::LimitExceeded`. The bounds are in `record`.
    /// Makes or replaces a policy. `Rejection::Invalid` for a name that is empty or longer than `MAX_IDENTITY_NAME_LEN`, and
    /// for no text; `Rejection::LimitExceeded` past `MAX_POLICY_LEN` and `MAX_POLICIES`.
    PutPolicy { name: String, text: String },
    /// `Rejection::NoSuchPolicy`; `Rejection::InUse` while it is attached to anyone.
    RemovePolicy { name: String },
    /// `Rejection::Exists`; `Rejection::Invalid` for its name, as for a policy; `Rejection::LimitExceeded` past `MAX_GROUPS`.
    PutGroup { name: String },
    /// `Rejection::NoSuchGroup`; `Rejection::InUse` while it has members or policies of either kind.
    RemoveGroup { name: String },
    /// `Rejection::NoSuchGroup`, `Rejection::NoSuchUser`; `Rejection::LimitExceeded` past `MAX_GROUPS_OF_USER`.
    SetMember {
        group: String,
        /// Its name.
        user: String,
        member: bool,
    },
    /// Attaches a policy or detaches it. `Rejection::NoSuchUser` or `Rejection::NoSuchGroup` for the holder;
    /// `Rejection::NoSuchPolicy`; `Rejection::Invalid` for the policy's name; `Rejection::LimitExceeded` past
    /// `MAX_ATTACHED_POLICIES`.
    Attach {
        holder: Holder,
        policy: String,
        attached: bool,
        /// The policy is one of the gateway's own: whether it is stored is not looked at.
        builtin: bool,
    },
    /// Sets an inline policy, or removes it. `Rejection::NoSuchUser` or `Rejection::NoSuchGroup`; `Rejection::Invalid` for
    /// its name, and for no text; `Rejection::LimitExceeded` past `MAX_INLINE_POLICIES_LEN`.
    SetInline { holder: Holder, name: String, text: Option<String> },
    /// `Rejection::NoSuchUser`; `Rejection::Invalid` for the root user.
    SetUserDisabled {
        /// Its name.
        user: String,
        disabled: bool,
    },
    /// Adds a key, which is noted to have been created now. `Rejection::NoSuchUser`; `Rejection::Exists` where a key has the
    /// access key, be it a user's own. `Rejection::Invalid` for an access or a secret key that is empty or longer than
    /// `MAX_IDENTITY_NAME_LEN`, and for what `SetKey` refuses; `Rejection::LimitExceeded` past `MAX_KEYS_OF_USER`.
    AddKey { key: AccessKey },
    /// Replaces what can be changed of a key. `Rejection::NoSuchAccessKey`; `Rejection::Invalid` for a user's own key, and for
    /// a description past `MAX_DESCRIPTION_LEN`; `Rejection::LimitExceeded` for a policy past `MAX_INLINE_POLICIES_LEN`.
    SetKey {
        access_key: String,
        disabled: bool,
        expires_ms: Option<UnixMillis>,
        policy: Option<String>,
        description: String,
    },
    /// `Rejection::NoSuchAccessKey`; `Rejection::Invalid` for a user's own key.
    RemoveKey { access_key: String },
}

/// What has policies, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    User(String),
    Group(String),
}

/// The result of a command that was applied and took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Done,
    /// `SealBucket`, `CreateBucket`.
    Bucket(BucketRecord),
    /// `Version` of release 0.1.0, from the results that are kept.
    VersionV1(Box<VersionRecordV1>),
    /// `DeleteObjects`: in the order of the targets; `Ok(true)` where there was something to delete.
    Deleted(Vec<Result<bool, Rejection>>),
    /// `PutPart`.
    Part(Box<PartRecord>),
    /// `PurgeBucket`, `CollectGarbage`: how much was taken apart, and whether more can be done right now.
    Progress {
        taken: u32,
        more: bool,
    },
    /// `ReserveBucket`.
    Directory(DirectoryEntry),
    /// `Map` of release 0.1.0, from the results that are kept.
    MapV1(Box<ClusterMapV1>),
    User(Box<UserRecord>),
    /// `FormCluster`, `ReplaceMap`.
    Map(Box<ClusterMap>),
    /// `SetBucketSetting`: the epoch of the bucket's settings as they are now.
    Settings(u64),
    /// `PutObject`, `CopyObject`, `CompleteUpload`: the version that became current.
    Version(Box<VersionRecord>),
}

/// Why a command was applied and changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    #[error("no bucket of this id here")]
    UnknownBucket,
    #[error("the bucket holds objects")]
    BucketNotEmpty,
    #[error("no current version of the key")]
    NoSuchKey,
    #[error("the condition does not hold")]
    PreconditionFailed,
    #[error("no such upload")]
    NoSuchUpload,
    #[error("a part is not the one that was seen")]
    UploadChanged,
    #[error("the source is not the version that was seen")]
    SourceChanged,
    #[error("the chunks were put too long ago")]
    TouchTooOld,
    #[error("the operation is older than the results that are kept")]
    OperationTooOld,
    #[error("it exists already")]
    Exists,
    #[error("no such user")]
    NoSuchUser,
    #[error("the user owns buckets")]
    UserHasBuckets,
    #[error("the name is taken")]
    BucketTaken(Box<DirectoryEntry>),
    #[error("the map has moved on")]
    MapChanged,
    #[error("the command is not for this kind of group, or breaks a bound")]
    Invalid,
    #[error("the bucket's settings have moved on")]
    SettingsChanged,
    #[error("it is in use")]
    InUse,
    #[error("no such policy")]
    NoSuchPolicy,
    #[error("no such group")]
    NoSuchGroup,
    #[error("no such access key")]
    NoSuchAccessKey,
    #[error("there may be no more, or none so long")]
    LimitExceeded,
}
