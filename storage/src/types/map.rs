//! The cluster map: which nodes, disks and groups there are. It is data; what follows from it is in `placement`.

use serde::{Deserialize, Serialize};

use super::{ClusterId, DiskId, Epoch, Generation, GroupId, NodeId, Relation, ReplicaId};

/// Everything that placement and routing need to know of the cluster. Its epoch only grows. As it is written, and
/// [`ClusterMapV1`] as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMap {
    pub cluster: ClusterId,
    pub epoch: Epoch,
    pub nodes: Vec<NodeEntry>,
    pub disks: Vec<DiskEntry>,
    /// Every group with its replicas, the root group first.
    pub groups: Vec<GroupEntry>,
    pub generation: Generation,
    pub settings: ClusterSettings,
}

/// What decides about data, the same for all nodes. `None` is what a map of release 0.1.0 says of it: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// For how long what nobody refers to is kept, in milliseconds.
    pub gc_grace_ms: Option<u64>,
    /// For how long a disk is silent before others take over its share, in milliseconds.
    pub out_after_ms: Option<u64>,
}

impl ClusterSettings {
    pub fn gc_grace_ms(&self) -> u64 {
        self.gc_grace_ms.unwrap_or(24 * 60 * 60 * 1000)
    }

    pub fn out_after_ms(&self) -> u64 {
        self.out_after_ms.unwrap_or(10 * 60 * 1000)
    }

    /// Names each setting that `given` has otherwise, for a warning.
    pub fn differing(&self, given: &Self) -> Vec<&'static str> {
        let differs = |given: Option<u64>, own: u64| given.is_some_and(|given| given != own);
        let grace = differs(given.gc_grace_ms, self.gc_grace_ms()).then_some("gc-grace");
        let out = differs(given.out_after_ms, self.out_after_ms()).then_some("out-after");
        grace.into_iter().chain(out).collect()
    }

    /// With what `given` has in place of what this lacks.
    pub fn or(&self, given: &Self) -> Self {
        Self {
            gc_grace_ms: self.gc_grace_ms.or(given.gc_grace_ms),
            out_after_ms: self.out_after_ms.or(given.out_after_ms),
        }
    }

    /// All of them, as they hold.
    pub fn whole(&self) -> Self {
        Self { gc_grace_ms: Some(self.gc_grace_ms()), out_after_ms: Some(self.out_after_ms()) }
    }
}

/// The form of release 0.1.0, frozen: it is in logs, states and files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMapV1 {
    cluster: ClusterId,
    epoch: Epoch,
    nodes: Vec<NodeEntry>,
    disks: Vec<DiskEntry>,
    groups: Vec<GroupEntry>,
}

impl From<ClusterMapV1> for ClusterMap {
    fn from(map: ClusterMapV1) -> Self {
        let ClusterMapV1 { cluster, epoch, nodes, disks, groups } = map;
        let (generation, settings) = (Generation::default(), ClusterSettings::default());
        Self { cluster, epoch, nodes, disks, groups, generation, settings }
    }
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
    /// Has been silent for too long: others have its share until it is heard of again.
    Out,
    /// Out of the map for good; its id is never used again.
    Removed,
}

/// A group and the replicas that it was given.
///
/// A replica is first `joining`, then one of `replicas`, at last `leaving`; then its id is forgotten, and never used
/// again. Only while it is joining it may be started without a memory: it has voted for nobody yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    pub id: GroupId,
    /// Who votes, or is to vote as soon as the group has been told.
    pub replicas: Vec<(ReplicaId, DiskId)>,
    pub joining: Vec<Joining>,
    /// Voters and learners that the group is to let go.
    pub leaving: Vec<(ReplicaId, DiskId)>,
}

/// A replica that is to become a voter once it has caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    pub replica: ReplicaId,
    pub disk: DiskId,
    /// The voter that leaves for it.
    pub replaces: Option<ReplicaId>,
}

impl GroupEntry {
    /// A group of these voters.
    pub fn new(id: GroupId, replicas: Vec<(ReplicaId, DiskId)>) -> Self {
        Self { id, replicas, joining: Vec::new(), leaving: Vec::new() }
    }

    /// Every replica that has to do with the group now, in whatever state.
    pub fn all(&self) -> impl Iterator<Item = (ReplicaId, DiskId)> + '_ {
        let joining = self.joining.iter().map(|joining| (joining.replica, joining.disk));
        self.replicas.iter().copied().chain(joining).chain(self.leaving.iter().copied())
    }
}

impl ClusterMap {
    /// How many copies of each chunk this map asks for: three, or as many as there are disks that take chunks.
    pub fn copies(&self) -> usize {
        self.disks.iter().filter(|disk| disk.state == DiskState::Active && disk.weight > 0).count().min(3)
    }

    /// The map that `new` becomes as the next one after this: its epoch is one more. Only a recovery leaps, and nobody goes
    /// back behind one: no epoch is used twice, not by those either who lived on without it. `None` where that cannot be.
    pub fn succeeded_by(&self, new: Self) -> Option<Self> {
        let next = Epoch(self.epoch.0.checked_add(1)?);
        let epoch = match self.generation.of(&new.generation) {
            Relation::Same => next,
            Relation::Newer => next.max(new.epoch),
            Relation::Older | Relation::Foreign => return None,
        };
        (self.cluster == new.cluster).then_some(Self { epoch, ..new })
    }

    /// Whether it takes the place of the other: it comes after it, or after a recovery that the other knows nothing of.
    pub fn supersedes(&self, other: &Self) -> bool {
        match other.generation.of(&self.generation) {
            Relation::Newer => true,
            Relation::Same => self.epoch > other.epoch,
            Relation::Older | Relation::Foreign => false,
        }
    }

    /// The metadata groups, without the root group.
    pub fn metadata_groups(&self) -> impl Iterator<Item = GroupId> {
        self.groups.iter().map(|group| group.id).filter(|id| *id != super::ROOT_GROUP)
    }

    /// Whether chunks have the same homes under both maps.
    pub fn places_like(&self, other: &Self) -> bool {
        let racks = |map: &Self| map.nodes.iter().map(|node| (node.id, node.rack.clone())).collect::<Vec<_>>();
        self.disks == other.disks && racks(self) == racks(other)
    }

    pub fn group(&self, id: GroupId) -> Option<&GroupEntry> {
        self.groups.iter().find(|group| group.id == id)
    }

    pub fn disk(&self, id: DiskId) -> Option<&DiskEntry> {
        self.disks.iter().find(|disk| disk.id == id)
    }

    pub fn node(&self, id: NodeId) -> Option<&NodeEntry> {
        self.nodes.iter().find(|node| node.id == id)
    }
}
