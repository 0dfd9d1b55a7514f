//! The words that every room shares: identifiers that must not be mixed up, and the cluster map.

mod generation;
mod id;
mod life;
mod map;

pub use generation::{Generation, Recovered, Relation, Stamp};
pub use id::{
    BucketId, ChunkId, ClusterId, DiskId, Epoch, GroupId, ManifestId, NodeId, OperationId, ReplicaId, UploadId, UserId,
    VersionId,
};
pub use life::Life;
pub use map::{ClusterMap, ClusterMapV1, ClusterSettings, DiskEntry, DiskState, GroupEntry, Joining, NodeEntry};

/// Milliseconds since the Unix epoch, UTC.
pub type UnixMillis = u64;

/// The largest chunk, in bytes (8 MiB).
pub const MAX_CHUNK_LEN: usize = 8 << 20;

/// The largest object body, in bytes, that travels inside a metadata command (16 KiB).
pub const MAX_INLINE_LEN: usize = 16 << 10;

/// The most chunks that one put or one part may be cut into; a manifest of that many fits into one command.
pub const MAX_CHUNKS_PER_BODY: usize = 16_384;

/// The largest encoded command, in bytes (1 MiB).
pub const MAX_COMMAND_LEN: usize = 1 << 20;

/// The group that holds the cluster map, the users and the bucket directory.
pub const ROOT_GROUP: GroupId = GroupId(0);

/// The wall clock of this process.
pub fn now_ms() -> UnixMillis {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        .unwrap_or(0)
}
