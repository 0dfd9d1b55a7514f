//! What the state machine keeps, in the form in which it travels. The encoded forms are versioned; see `schema`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::types::{BucketId, DiskId, GroupId, ManifestId, UnixMillis, UploadId, UserId, VersionId};

/// An MD5 and, for an object made of parts, how many there were: S3 shows it as `md5` or `md5-count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ETag {
    pub md5: [u8; 16],
    pub parts: Option<u16>,
}

impl std::fmt::Display for ETag {
    /// Without the quotes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.md5))?;
        match self.parts {
            Some(count) => write!(f, "-{count}"),
            None => Ok(()),
        }
    }
}

/// S3's checksum algorithms. Kept by their position: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
    Sha512,
    Md5,
    XxHash64,
    XxHash3,
    XxHash128,
}

/// Whether a checksum is of the bytes, or of the checksums of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumKind {
    FullObject,
    Composite,
}

/// A checksum that is kept with an object or a part. `value` is raw, 4 to 64 bytes, big-endian
/// for the CRCs and the XXHashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    pub algorithm: ChecksumAlgorithm,
    pub kind: ChecksumKind,
    pub value: Bytes,
}

/// What a client said of an object besides its bytes. Kept as given; bounds are checked by the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributes {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub expires: Option<String>,
    pub website_redirect: Option<String>,
    /// `x-amz-meta-` headers: name without the prefix, lower case; value.
    pub user: Vec<(String, String)>,
    /// What else there is: sorted, each once, at most [`MAX_LABELS_LEN`] together.
    pub labels: Vec<(Label, Bytes)>,
}

/// `Attributes` of release 0.1.0, without labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttributesV1 {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub expires: Option<String>,
    pub website_redirect: Option<String>,
    pub user: Vec<(String, String)>,
}

impl From<AttributesV1> for Attributes {
    fn from(old: AttributesV1) -> Self {
        let AttributesV1 { content_type, cache_control, content_disposition, content_encoding, .. } = old;
        Self {
            content_type,
            cache_control,
            content_disposition,
            content_encoding,
            content_language: old.content_language,
            expires: old.expires,
            website_redirect: old.website_redirect,
            user: old.user,
            labels: Vec::new(),
        }
    }
}

/// What is kept with a version besides what its headers say. Kept by its position: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Label {
    Acl,
}

/// The labels of a version together, in bytes. What is in them is the gateway's business.
pub const MAX_LABELS_LEN: usize = 32 << 10;

impl Attributes {
    /// The label's value, if it is set.
    pub fn label(&self, label: Label) -> Option<&Bytes> {
        self.labels.iter().find(|(own, _)| *own == label).map(|(_, value)| value)
    }

    /// Sets a label, or removes it.
    pub fn set_label(&mut self, label: Label, value: Option<Bytes>) {
        self.labels.retain(|(own, _)| *own != label);
        self.labels.extend(value.map(|value| (label, value)));
        self.labels.sort_unstable_by_key(|(own, _)| *own);
    }

    /// Whether the labels are sorted, each once, and within their bound.
    pub fn has_good_labels(&self) -> bool {
        self.labels.is_sorted_by(|(one, _), (next, _)| one < next)
            && self.labels.iter().map(|(_, value)| value.len()).sum::<usize>() <= MAX_LABELS_LEN
    }
}

/// Where the bytes of a version or of a part are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// No bytes at all.
    Empty,
    /// At most 16 KiB, kept by the group itself under this id.
    Inline(ManifestId),
    /// A counted reference to a manifest.
    Manifest(ManifestId),
}

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    pub version: VersionId,
    pub modified_ms: UnixMillis,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub owner: UserId,
    pub attributes: Attributes,
    pub body: Body,
}

/// `VersionRecord` of release 0.1.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecordV1 {
    pub version: VersionId,
    pub modified_ms: UnixMillis,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub owner: UserId,
    pub attributes: AttributesV1,
    pub body: Body,
}

impl From<VersionRecordV1> for VersionRecord {
    fn from(old: VersionRecordV1) -> Self {
        let VersionRecordV1 { version, modified_ms, size, etag, checksum, owner, attributes, body } = old;
        Self { version, modified_ms, size, etag, checksum, owner, attributes: attributes.into(), body }
    }
}

/// A bucket's configuration, kept by the group that holds the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRecord {
    pub id: BucketId,
    pub name: String,
    pub owner: UserId,
    pub region: String,
    pub created_ms: UnixMillis,
    /// Set by a delete that found it empty: every later command on the id answers `UnknownBucket`.
    pub sealed: bool,
}

/// What is set of a bucket besides its record. Kept by its position: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Setting {
    Policy,
    PublicAccessBlock,
    OwnershipControls,
    Acl,
    Tagging,
    Cors,
}

impl Setting {
    pub const ALL: [Self; 6] =
        [Self::Policy, Self::PublicAccessBlock, Self::OwnershipControls, Self::Acl, Self::Tagging, Self::Cors];

    pub(super) fn tag(self) -> u8 {
        self as u8
    }

    pub(super) fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.tag() == tag)
    }
}

/// The longest value of a setting, in bytes. What is in it is the gateway's business.
pub const MAX_SETTING_LEN: usize = 256 << 10;

/// An open multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    pub id: UploadId,
    pub key: String,
    pub owner: UserId,
    pub initiated_ms: UnixMillis,
    pub attributes: Attributes,
    /// What the client asked for at creation, if it did.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// A part of an open upload. Uploading the same number again replaces it, under a new `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// 1 to 10,000.
    pub number: u16,
    /// Names this very upload of the part. For a part in chunks it is its manifest.
    pub id: ManifestId,
    pub modified_ms: UnixMillis,
    pub size: u64,
    pub md5: [u8; 16],
    pub checksum: Option<Checksum>,
    pub body: Body,
}

/// What is remembered of a completed upload for a day, so that an identical Complete can be answered again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedUpload {
    pub id: UploadId,
    pub key: String,
    pub completed_ms: UnixMillis,
    /// BLAKE3 of the request's list of parts; the gateway's business.
    pub request_digest: [u8; 32],
    pub etag: ETag,
    pub version: VersionId,
    pub size: u64,
    pub checksum: Option<Checksum>,
}

/// One chunk of a body, in the order of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkEntry {
    pub hash: [u8; 32],
    /// 1 to 8 MiB.
    pub len: u32,
}

/// A chunk where it lies within an object or a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkSpan {
    /// Of the chunk's first byte, from the start of the object.
    pub offset: u64,
    pub hash: [u8; 32],
    pub len: u32,
}

/// A user of the cluster. The root user is one of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    pub id: UserId,
    pub name: String,
    pub display_name: String,
    pub access_key: String,
    pub secret_key: String,
    /// May do everything, everywhere, and use the admin API.
    pub root: bool,
    pub created_ms: UnixMillis,
}

impl std::fmt::Debug for UserRecord {
    /// Without the secret key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("access_key", &self.access_key)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// The longest name of a policy, of a group, or of an access key, in bytes. None is empty.
pub const MAX_IDENTITY_NAME_LEN: usize = 128;
/// The longest text of a policy, in bytes. What is in it is the gateway's business.
pub const MAX_POLICY_LEN: usize = 20 << 10;
/// How much the inline policies of one user or group are together, and the policy of a key, in bytes of their texts.
pub const MAX_INLINE_POLICIES_LEN: usize = 10_240;
/// How many policies are attached to one user or group.
pub const MAX_ATTACHED_POLICIES: usize = 20;
/// How many groups a user is in: as in IAM.
pub const MAX_GROUPS_OF_USER: usize = 10;
/// How many keys a user has, besides the one in its record.
pub const MAX_KEYS_OF_USER: usize = 50;
/// The longest description of a key, in bytes.
pub const MAX_DESCRIPTION_LEN: usize = 256;
/// How many policies there are; and how many groups.
pub const MAX_POLICIES: u64 = 10_000;
pub const MAX_GROUPS: u64 = 10_000;
/// What all rights, keys, groups and policies take together, in bytes: gateways read all of it at once, with all users.
pub const MAX_IDENTITIES_LEN: u64 = 16 << 20;

/// What the records of users take together, in bytes: some 100,000 users.
pub const MAX_USERS_LEN: u64 = 14 << 20;

/// What a user may do and be, besides its record, whose form is frozen. Absent where nothing is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRights {
    pub disabled: bool,
    /// The names of those that are attached: sorted, each once.
    pub policies: Vec<String>,
    /// Name and text, by name.
    pub inline: Vec<(String, String)>,
}

/// One more key of a user, besides the one in its record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    pub access_key: String,
    pub secret_key: String,
    pub user: UserId,
    pub description: String,
    pub created_ms: UnixMillis,
    pub disabled: bool,
    /// From then on it opens nothing. It stays until it is removed.
    pub expires_ms: Option<UnixMillis>,
    /// The text of a policy that narrows what the key may do.
    pub policy: Option<String>,
}

impl std::fmt::Debug for AccessKey {
    /// Without the secret key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey")
            .field("access_key", &self.access_key)
            .field("user", &self.user)
            .field("disabled", &self.disabled)
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// A group of users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    pub created_ms: UnixMillis,
    /// Sorted, each once.
    pub members: Vec<UserId>,
    /// As those of [`UserRights`].
    pub policies: Vec<String>,
    pub inline: Vec<(String, String)>,
}

/// A policy that can be attached to users and groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedPolicy {
    pub name: String,
    pub text: String,
    pub created_ms: UnixMillis,
    pub updated_ms: UnixMillis,
}

/// Where a bucket stands on its way between the root group and its metadata group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectoryState {
    /// Reserved by the root group, not yet known to be created by its group.
    Creating,
    Active,
}

/// An entry of the bucket directory, kept by the root group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    pub name: String,
    pub id: BucketId,
    pub group: GroupId,
    pub owner: UserId,
    pub region: String,
    pub created_ms: UnixMillis,
    pub state: DirectoryState,
}

/// A chunk that has, or may have, fewer verified copies than it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairEntry {
    pub hash: [u8; 32],
    pub queued_ms: UnixMillis,
    /// The disks that are known to have had it.
    pub known: Vec<DiskId>,
}
