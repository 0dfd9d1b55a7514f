//! What a node tells of itself: for people, and for the tests.

use std::path::PathBuf;

use super::inner::Inner;
use crate::chunk::Usage;
use crate::client::Disks;
use crate::raft::ReplicaStatus;
use crate::types::{ClusterId, DiskId, Epoch, GroupId, NodeId};

/// A node, as it is now.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub epoch: Epoch,
    pub disks: Vec<DiskStatus>,
    /// The directories that were given and are not in use, each with the reason.
    pub absent: Vec<(PathBuf, String)>,
    /// Each group, and whether it has a leader.
    pub groups: Vec<(GroupId, bool)>,
    /// The replicas that run here.
    pub replicas: Vec<ReplicaStatus>,
}

/// A disk that is open.
#[derive(Debug, Clone)]
pub struct DiskStatus {
    pub id: DiskId,
    pub path: PathBuf,
    /// Whether it takes and gives chunks.
    pub up: bool,
    pub usage: Usage,
}

pub fn status(inner: &Inner) -> NodeStatus {
    let disks = inner.local_disks();
    NodeStatus {
        cluster: inner.cluster,
        node: inner.node,
        epoch: inner.map().epoch,
        disks: disks
            .iter()
            .map(|disk| DiskStatus {
                id: disk.id(),
                path: disk.path().to_owned(),
                up: disk.is_up(),
                usage: disk.store.usage(),
            })
            .collect(),
        absent: inner.absent(),
        groups: inner.ready(),
        replicas: inner.replicas.local_replicas(),
    }
}
