//! The paths of the internal HTTP; `server` has the routes for them.

use std::ops::Range;

use crate::types::{ChunkId, DiskId, GroupId};

/// Answers without the secret: whether the node works, and nothing more.
pub const HEALTH: &str = "/v1/health";
/// GET: a [`super::View`].
pub const VIEW: &str = "/v1/map";
/// POST: a [`super::Hello`]; the other node's.
pub const HELLO: &str = "/v1/hello";
/// GET: a [`super::Overview`].
pub const OVERVIEW: &str = "/v1/overview";
/// GET: the [`crate::cluster::Ballot`] of a node that waits for a cluster to be formed.
pub const WAITING: &str = "/v1/waiting";
/// POST: a message of Raft, opaque here.
pub const RAFT: &str = "/v1/raft";

/// PUT: stores the body. GET: the bytes of a range, see [`chunk_range`].
pub fn chunk(disk: DiskId, chunk: &ChunkId) -> String {
    format!("/v1/disks/{disk}/chunks/{chunk}")
}

/// GET: the bytes `range` of a chunk.
pub fn chunk_range(disk: DiskId, chunk: &ChunkId, range: &Range<u32>) -> String {
    format!("/v1/disks/{disk}/chunks/{chunk}?start={}&end={}", range.start, range.end)
}

/// POST: chunk ids; for each, whether it is there and was touched.
pub fn touch(disk: DiskId) -> String {
    format!("/v1/disks/{disk}/touch")
}

/// POST: chunk ids; for each, a [`super::Stat`] where it is there.
pub fn stat(disk: DiskId) -> String {
    format!("/v1/disks/{disk}/stat")
}

/// POST: the chunk id to go on after, if any, and a limit; the chunks that follow.
pub fn list(disk: DiskId) -> String {
    format!("/v1/disks/{disk}/list")
}

/// POST: whether to begin a new round; how the scrub stands.
pub fn scrub(disk: DiskId) -> String {
    format!("/v1/disks/{disk}/scrub")
}

/// POST: a chunk id; nothing, where it is there and verifies.
pub fn verify(disk: DiskId) -> String {
    format!("/v1/disks/{disk}/verify")
}

/// POST: a map's epoch and a chunk id; nothing, where the map is the same there, and the chunk is there and verifies.
pub fn hold(disk: DiskId) -> String {
    format!("/v1/disks/{disk}/hold")
}

/// POST: an envelope; its result.
pub fn command(group: GroupId) -> String {
    format!("/v1/groups/{group}/command")
}

/// POST: a query; its answer.
pub fn query(group: GroupId) -> String {
    format!("/v1/groups/{group}/query")
}
