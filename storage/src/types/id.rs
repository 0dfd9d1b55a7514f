//! Identifiers. Each is its own type, so that a bucket cannot be handed over where a group is meant.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// Text that is not an identifier of the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}")]
pub struct InvalidId(pub &'static str);

macro_rules! small_id {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

small_id!(
    /// One Raft group of metadata; 0 is the root group.
    GroupId,
    u32
);
small_id!(
    /// A bucket for as long as it lives; never used again after it is deleted.
    BucketId,
    u64
);
small_id!(
    /// One process of the cluster.
    NodeId,
    u64
);
small_id!(
    /// One voter or learner of one group; openraft's node id, used once and never again.
    ReplicaId,
    u64
);
small_id!(
    /// The version of the cluster map; it only grows.
    Epoch,
    u64
);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// 128 random bits: unique without asking anybody.
            pub fn random() -> Self {
                Self(rand::rng().random())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// 32 hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0u8; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidId($what))?;
                Ok(Self(bytes))
            }
        }
    };
}

random_id!(
    /// The nodes that share one secret and one map.
    ClusterId,
    "cluster id"
);
random_id!(
    /// One directory: the unit of placement and of failure.
    DiskId,
    "disk id"
);
random_id!(
    /// An immutable list of chunks, or of other manifests; see `meta::manifest`.
    ManifestId,
    "manifest id"
);
random_id!(
    /// A multipart upload, from its creation to its completion or abort.
    UploadId,
    "upload id"
);
random_id!(
    /// A user; its text form is the canonical user id that S3 answers show.
    UserId,
    "user id"
);

/// An immutable run of object bytes: the group that references it and the BLAKE3 hash of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId {
    pub group: GroupId,
    pub hash: [u8; 32],
}

impl ChunkId {
    /// The encoded length, in bytes.
    pub const LEN: usize = 36;

    /// The id of `bytes` in `group`.
    pub fn of(group: GroupId, bytes: &[u8]) -> Self {
        Self { group, hash: *blake3::hash(bytes).as_bytes() }
    }

    /// Big-endian group, then the hash: sorts by group.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0u8; Self::LEN];
        out[..4].copy_from_slice(&self.group.0.to_be_bytes());
        out[4..].copy_from_slice(&self.hash);
        out
    }

    /// The inverse of [`ChunkId::to_bytes`]; `None` where the length is not [`ChunkId::LEN`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (group, hash) = bytes.split_at(4);
        Some(Self { group: GroupId(u32::from_be_bytes(group.try_into().ok()?)), hash: hash.try_into().ok()? })
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.group, hex::encode(self.hash))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({self})")
    }
}

impl FromStr for ChunkId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let (group, hash) = text.split_once('-')?;
            let mut id = Self { group: GroupId(group.parse().ok()?), hash: [0; 32] };
            hex::decode_to_slice(hash, &mut id.hash).ok()?;
            Some(id)
        };
        parse().ok_or(InvalidId("chunk id"))
    }
}

/// The identity of one command, the same on each retry. It carries the time of its issue, so that a command that is
/// older than the kept results can be refused instead of applied twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId {
    pub issued_ms: super::UnixMillis,
    pub random: u64,
}

impl OperationId {
    pub fn new() -> Self {
        Self { issued_ms: super::now_ms(), random: rand::rng().random() }
    }
}

impl Default for OperationId {
    fn default() -> Self {
        Self::new()
    }
}

/// The place of a version in its group's log: the index of the log entry and the place of the command within the
/// entry. A later version compares greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct VersionId {
    pub log_index: u64,
    pub position: u32,
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:08x}", self.log_index, self.position)
    }
}
