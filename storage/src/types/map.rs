//! The cluster map: which nodes, disks and groups there are. It is data; what follows from it is in `placement`.

use serde::{Deserialize, Serialize};

use super::{ClusterId, DiskId, Epoch, GroupId, NodeId, ReplicaId};

/// Everything that placement and routing need to know of the cluster. Its epoch only grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMap {
    pub cluster: ClusterId,
    pub epoch: Epoch,
    pub nodes: Vec<NodeEntry>,
    pub disks: Vec<DiskEntry>,
    /// Every group with its replicas, the root group first.
    pub groups: Vec<GroupEntry>,
}

/// One process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    pub id: NodeId,
    /// Where its internal HTTP answers, `host:port`. A hint: the address table of the nodes goes first.
    pub address: String,
    pub rack: String,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskEntry {
    pub id: DiskId,
    pub node: NodeId,
    /// Relative share of the chunks; 0 while it is being drained.
    pub weight: u32,
    pub state: DiskState,
}

/// What may be done with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DiskState {
    /// Takes and gives chunks.
    Active,
    /// Gives chunks and takes none; what it holds is on its way to others.
    Draining,
    /// Out of the map for good; its id is never used again.
    Removed,
}

/// A group and the replicas that it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    pub id: GroupId,
    pub replicas: Vec<(ReplicaId, DiskId)>,
}

impl ClusterMap {
    /// How many copies of each chunk this map asks for: three, or as many as there are disks that take chunks.
    pub fn copies(&self) -> usize {
        self.disks.iter().filter(|disk| disk.state == DiskState::Active && disk.weight > 0).count().min(3)
    }

    /// The metadata groups, without the root group.
    pub fn metadata_groups(&self) -> impl Iterator<Item = GroupId> {
        self.groups.iter().map(|group| group.id).filter(|id| *id != super::ROOT_GROUP)
    }

    pub fn disk(&self, id: DiskId) -> Option<&DiskEntry> {
        self.disks.iter().find(|disk| disk.id == id)
    }

    pub fn node(&self, id: NodeId) -> Option<&NodeEntry> {
        self.nodes.iter().find(|node| node.id == id)
    }
}
