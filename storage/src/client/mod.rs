//! What a gateway, and every loop of a node, sees of the cluster: metadata groups and disks, wherever they are.
//! A disk or a replica in the same process is called directly; the code above does not know the difference.

pub mod mdns;
pub mod remote;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::meta::{Answer, Command, Envelope, Outcome, Query, Rejection};
use crate::types::{BucketId, ChunkId, ClusterMap, DiskId, Epoch, GroupId, OperationId};
use crate::wire::{Listed, Overview, ScrubStatus, Stat};

/// Why a call to a group gave no answer. Whether a command took effect is then unknown; it is safe to send the same
/// envelope again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ServiceError {
    /// No leader was found in time, or it could not reach a majority.
    #[error("the group has no leader that answers")]
    Unavailable,
    /// A queue is full.
    #[error("too much is under way")]
    Busy,
    /// Most of the group's disks have no room for more; what deletes goes on.
    #[error("the group's disks are full")]
    Full,
    /// A bound was broken, or the two sides do not understand each other: trying again does not help.
    #[error("refused: {0}")]
    Refused(String),
}

/// Why a disk did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DiskError {
    /// It does not have the chunk.
    #[error("no such chunk")]
    NotFound,
    /// What it has does not verify. It has dropped the copy from its index and counted it.
    #[error("the chunk is corrupt")]
    Corrupt,
    /// No room for new chunks; reads, drops and collection go on.
    #[error("the disk is full")]
    Full,
    /// A queue is full.
    #[error("the disk is busy")]
    Busy,
    /// It is lost, failed, or does not answer.
    #[error("the disk is not there: {0}")]
    Unavailable(String),
    /// The request was wrong: an unknown disk, a bad length, a hash that is not the bytes'.
    #[error("refused: {0}")]
    Refused(String),
}

/// The metadata groups.
pub trait MetaService: Send + Sync + 'static {
    /// Has the group's leader commit and apply the command. Tries again by itself, with the same id, for about five
    /// seconds. The outer error means that the result is unknown.
    fn command(
        &self,
        group: GroupId,
        envelope: Envelope,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ServiceError>>;

    /// Answers from a state that holds everything that was committed before the call.
    fn query(&self, group: GroupId, query: Query) -> BoxFuture<'_, Result<Answer, ServiceError>>;
}

/// One disk's chunks.
pub trait DiskService: Send + Sync + 'static {
    /// Stores a chunk, whose bytes are `data` end to end. Answers when it is fsynced. Where it is there already it is
    /// verified and touched, and any condemnation is cleared.
    fn put(&self, id: ChunkId, data: Vec<Bytes>) -> BoxFuture<'_, Result<(), DiskError>>;

    /// Reads and verifies a range of the chunk's bytes; `0..len` for all of it. The answer is the range, in pieces.
    fn get(&self, id: ChunkId, range: Range<u32>) -> BoxFuture<'_, Result<Vec<Bytes>, DiskError>>;

    /// Marks chunks as in use now and clears their condemnation, durably. For each, whether it is there.
    fn touch(&self, ids: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<bool>, DiskError>>;
}

/// What repair and the administrator's commands need of a disk on top of that.
pub trait RepairService: DiskService {
    /// Up to `limit` (at most 16,384) of its chunks in the order of their ids, from the one after `after`.
    fn list(&self, after: Option<ChunkId>, limit: u32) -> BoxFuture<'_, Result<Vec<Listed>, DiskError>>;

    /// For each chunk, what the disk has of it; it says nothing of whether the bytes still verify.
    fn stat(&self, ids: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<Option<Stat>>, DiskError>>;

    /// How the scrub of the disk stands; begins a new round first, if `start`.
    fn scrub(&self, start: bool) -> BoxFuture<'_, Result<ScrubStatus, DiskError>>;

    /// Reads all of a chunk and verifies it. A copy that is corrupt is dropped: the next put makes it anew.
    fn verify(&self, id: ChunkId) -> BoxFuture<'_, Result<(), DiskError>>;

    /// Verifies the chunk, so that the asker may drop its own copy, which has its home elsewhere. Refused where this
    /// side's map is of another epoch than the asker's.
    fn hold(&self, id: ChunkId, epoch: Epoch) -> BoxFuture<'_, Result<(), DiskError>>;
}

/// The cluster, as seen from this process. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    meta: Arc<dyn MetaService>,
    disks: Arc<dyn Disks>,
}

/// The disks of the map, and which of them are worth asking.
pub trait Disks: Send + Sync + 'static {
    /// The newest map that this process has seen.
    fn map(&self) -> Arc<ClusterMap>;

    /// The way to a disk; `None` where the map does not have it.
    fn disk(&self, id: DiskId) -> Option<Arc<dyn DiskService>>;

    /// The same, with what repair needs of it.
    fn repair_disk(&self, id: DiskId) -> Option<Arc<dyn RepairService>>;

    /// Whether the disk answered lately. A disk that did not is tried last for reads, and passed over for writes.
    fn is_up(&self, id: DiskId) -> bool;

    /// How the nodes and disks are, for people.
    fn overview(&self) -> BoxFuture<'_, Result<Overview, ServiceError>>;
}

impl Client {
    pub fn new(meta: Arc<dyn MetaService>, disks: Arc<dyn Disks>) -> Self {
        Self { meta, disks }
    }

    /// Sends a command under a new operation id.
    pub async fn command(&self, group: GroupId, command: Command) -> Result<Result<Outcome, Rejection>, ServiceError> {
        self.meta.command(group, Envelope { operation: OperationId::new(), command, judged: Vec::new() }).await
    }

    /// The same, if the settings of these buckets still are of these epochs when it is applied.
    pub async fn command_judged_by(
        &self,
        judged: Vec<(BucketId, u64)>,
        group: GroupId,
        command: Command,
    ) -> Result<Result<Outcome, Rejection>, ServiceError> {
        let envelope = Envelope { operation: OperationId::new(), command, judged };
        self.meta.command(group, envelope).await
    }

    /// Asks a group; linearizable.
    pub async fn query(&self, group: GroupId, query: Query) -> Result<Answer, ServiceError> {
        self.meta.query(group, query).await
    }

    pub fn map(&self) -> Arc<ClusterMap> {
        self.disks.map()
    }

    pub fn disk(&self, id: DiskId) -> Option<Arc<dyn DiskService>> {
        self.disks.disk(id)
    }

    pub fn repair_disk(&self, id: DiskId) -> Option<Arc<dyn RepairService>> {
        self.disks.repair_disk(id)
    }

    pub fn is_up(&self, id: DiskId) -> bool {
        self.disks.is_up(id)
    }

    /// How the nodes and disks are, for people.
    ///
    /// # Errors
    /// No node answers.
    pub async fn overview(&self) -> Result<Overview, ServiceError> {
        self.disks.overview().await
    }
}
