//! Messages and errors, as they are encoded.

use std::sync::Arc;

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::client::{DiskError, ServiceError};
use crate::types::{
    ChunkId, ClusterId, ClusterMap, DiskId, Epoch, GroupId, Life, NodeEntry, NodeId, ReplicaId, Stamp, UnixMillis,
};

/// The first byte of every encoded message. What follows is postcard.
const VERSION: u8 = 4;

/// The largest small body (everything but chunks and Raft messages), in bytes: a command of the greatest length, with
/// room for what is around it.
pub const MAX_REQUEST_LEN: usize = crate::types::MAX_COMMAND_LEN + (64 << 10);
/// The largest answer that a client reads, in bytes: a thousand keys with all their attributes, several times over.
pub const MAX_ANSWER_LEN: usize = 32 << 20;
const _: () = assert!(MAX_ANSWER_LEN > crate::meta::query::MAX_TABLE_LEN + 64);
/// The largest Raft message, in bytes.
pub const MAX_RAFT_LEN: usize = 16 << 20;
/// The most chunks in one request to touch or stat.
pub const MAX_IDS: usize = 16_384;

/// A message that is not of this version, or not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("message version {0} is not understood")]
    Version(u8),
    #[error("the message is not well formed")]
    Malformed,
}

/// The version byte and the message.
///
/// # Errors
/// [`MessageError::Malformed`] for what postcard cannot encode; none of our messages.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, MessageError> {
    postcard::to_extend(message, vec![VERSION]).map_err(|_| MessageError::Malformed)
}

/// The inverse of [`encode`]. The bytes must end where the message does.
///
/// # Errors
/// See [`MessageError`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MessageError> {
    decode_version(VERSION, bytes)
}

/// The same of what an earlier version wrote, into a file.
///
/// # Errors
/// See [`MessageError`].
pub fn decode_version<T: DeserializeOwned>(expected: u8, bytes: &[u8]) -> Result<T, MessageError> {
    let (version, rest) = bytes.split_first().ok_or(MessageError::Malformed)?;
    if *version != expected {
        return Err(MessageError::Version(*version));
    }
    match postcard::take_from_bytes(rest) {
        Ok((message, [])) => Ok(message),
        _ => Err(MessageError::Malformed),
    }
}

/// What a node tells of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct View {
    pub map: Arc<ClusterMap>,
    /// The disks that take and give chunks right now, as far as this node knows.
    pub up: Vec<DiskId>,
    /// Where each disk was heard of last.
    pub places: Vec<Place>,
}

/// What nodes say to each other every second, and answer each other with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub cluster: ClusterId,
    pub node: NodeEntry,
    /// Random, of this run of the process.
    pub session: u64,
    /// Of the program.
    pub version: String,
    /// Of the newest map that it knows.
    pub epoch: Epoch,
    pub generation: Stamp,
    /// Its own disks that are open.
    pub disks: Vec<DiskNews>,
    /// Its directories that are older copies of disks, and not used.
    pub old_copies: Vec<String>,
    /// Where it believes that every disk is.
    pub places: Vec<Place>,
    /// How many chunks it put where they belong in the last minute.
    pub settled_per_minute: u64,
    /// The groups that are led by a replica of this node.
    pub leads: Vec<(GroupId, ReplicaId, DiskId)>,
}

/// How a disk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskNews {
    pub id: DiskId,
    /// Its last runs, the present one last.
    pub lives: Vec<Life>,
    /// How far its metadata went when it was opened, and how far it is durable now: a number that only grows.
    pub began: u64,
    pub synced: u64,
    /// Whether it takes and gives chunks.
    pub up: bool,
    /// Bytes of its file system.
    pub capacity: u64,
    /// Bytes that are free for chunks.
    pub free: u64,
    pub chunks: u64,
    /// Of the chunks, those that had their homes elsewhere when it was last looked.
    pub misplaced: u64,
    /// Whether all homes of its chunks were seen to have them since the cluster changed last.
    pub settled: bool,
    /// The replicas that the map has on it and that do not run.
    pub ended: Vec<EndedNews>,
}

/// Why a replica does not run on a disk that is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedNews {
    pub group: GroupId,
    pub replica: ReplicaId,
    /// Whether it broke on what its whole group has; otherwise it alone is lost.
    pub broken: bool,
    /// For a person, in at most [`MAX_WHY_LEN`] bytes.
    pub why: String,
}

/// The longest reason that is told of a replica, in bytes.
pub const MAX_WHY_LEN: usize = 256;

/// The cluster, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    pub map: Arc<ClusterMap>,
    /// What the nodes said last of themselves; those that were never heard of since this one started are not among
    /// them.
    pub nodes: Vec<NodeNews>,
    /// Who leads, of the groups that have a leader.
    pub leaders: Vec<(GroupId, ReplicaId, DiskId)>,
    /// Who says that it is a node of the cluster, and is not taken for one.
    pub refused: Vec<RefusedNode>,
}

/// A node that is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedNode {
    pub node: NodeId,
    pub address: String,
    pub why: String,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNews {
    pub id: NodeId,
    /// Whether it answers.
    pub up: bool,
    /// Of its program.
    pub version: String,
    /// Of the map that it knew when it spoke.
    pub epoch: Epoch,
    /// How many chunks it put where they belong in the last minute.
    pub settled_per_minute: u64,
    /// Its disks that were open when it spoke.
    pub disks: Vec<DiskNews>,
}

/// Where a disk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub disk: DiskId,
    pub node: NodeId,
    /// `host:port`.
    pub address: String,
    /// The last of its runs that was heard of.
    pub life: Life,
    /// See [`DiskNews::synced`].
    pub synced: u64,
}

/// A chunk that a disk has. Times are by the disk's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub id: ChunkId,
    /// Its length, in bytes.
    pub len: u32,
    /// When it was last put or touched.
    pub touched_ms: UnixMillis,
    /// Since when nobody was seen to refer to it.
    pub condemned_ms: Option<UnixMillis>,
}

/// How far the scrub of a disk has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// When the round that is under way began.
    pub started_ms: Option<UnixMillis>,
    /// When the last round ended.
    pub finished_ms: Option<UnixMillis>,
    /// Copies that were read in the round that is under way, else in the last one.
    pub checked: u64,
    /// Those of them that had rotted.
    pub corrupt: u64,
    /// All that the disk has.
    pub chunks: u64,
}

/// What a disk says of a chunk that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// Of the chunk's bytes.
    pub len: u32,
    /// When its record was written, by the disk's clock.
    pub stored_ms: UnixMillis,
}

/// The header that names a typed error; the body of such an answer is a text for the log.
pub const ERROR_HEADER: &str = "x-cairn-error";

/// The status, the code and the text of a disk's error.
pub fn disk_error(error: &DiskError) -> (StatusCode, &'static str, String) {
    let (status, code) = match error {
        DiskError::NotFound => (StatusCode::NOT_FOUND, "disk-not-found"),
        DiskError::Corrupt => (StatusCode::UNPROCESSABLE_ENTITY, "disk-corrupt"),
        DiskError::Full => (StatusCode::INSUFFICIENT_STORAGE, "disk-full"),
        DiskError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "disk-busy"),
        DiskError::Unavailable(_) => (StatusCode::BAD_GATEWAY, "disk-unavailable"),
        DiskError::Refused(_) => (StatusCode::BAD_REQUEST, "disk-refused"),
    };
    let text = match error {
        DiskError::Unavailable(text) | DiskError::Refused(text) => text.clone(),
        other => other.to_string(),
    };
    (status, code, text)
}

/// The inverse of [`disk_error`]. A code that is not a disk's means that the node did not do its part.
pub fn to_disk_error(code: &str, text: String) -> DiskError {
    match code {
        "disk-not-found" => DiskError::NotFound,
        "disk-corrupt" => DiskError::Corrupt,
        "disk-full" => DiskError::Full,
        "disk-busy" | "busy" => DiskError::Busy,
        "disk-refused" | "refused" => DiskError::Refused(text),
        _ => DiskError::Unavailable(text),
    }
}

/// The status, the code and the text of a group's error.
pub fn service_error(error: &ServiceError) -> (StatusCode, &'static str, String) {
    match error {
        ServiceError::Unavailable => (StatusCode::BAD_GATEWAY, "unavailable", error.to_string()),
        ServiceError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", error.to_string()),
        ServiceError::Full => (StatusCode::INSUFFICIENT_STORAGE, "full", error.to_string()),
        ServiceError::Refused(text) => (StatusCode::BAD_REQUEST, "refused", text.clone()),
    }
}

/// The inverse of [`service_error`].
pub fn to_service_error(code: &str, text: String) -> ServiceError {
    match code {
        "busy" => ServiceError::Busy,
        "full" => ServiceError::Full,
        "refused" => ServiceError::Refused(text),
        _ => ServiceError::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_and_another_version_is_refused() {
        let bytes = encode(&(7u32, "seven".to_owned())).unwrap();
        assert_eq!(decode::<(u32, String)>(&bytes), Ok((7, "seven".to_owned())));
        let mut newer = bytes.clone();
        newer[0] = 9;
        assert_eq!(decode::<(u32, String)>(&newer), Err(MessageError::Version(9)));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode::<(u32, String)>(&longer), Err(MessageError::Malformed));
        assert_eq!(decode::<(u32, String)>(&bytes[..bytes.len() - 1]), Err(MessageError::Malformed));
        assert_eq!(decode::<u32>(&[]), Err(MessageError::Malformed));
    }

    #[test]
    fn every_disk_error_keeps_its_type_over_the_wire() {
        let text = || "why".to_owned();
        for error in [
            DiskError::NotFound,
            DiskError::Corrupt,
            DiskError::Full,
            DiskError::Busy,
            DiskError::Unavailable(text()),
            DiskError::Refused(text()),
        ] {
            let (_, code, text) = disk_error(&error);
            let back = to_disk_error(code, text);
            assert_eq!(format!("{back:?}"), format!("{error:?}"));
        }
    }

    #[test]
    fn every_service_error_keeps_its_type_over_the_wire() {
        let refused = ServiceError::Refused("why".to_owned());
        for error in [ServiceError::Unavailable, ServiceError::Busy, ServiceError::Full, refused] {
            let (_, code, text) = service_error(&error);
            assert_eq!(format!("{:?}", to_service_error(code, text)), format!("{error:?}"));
        }
    }
}
