//! What a recovery decided, kept in a data directory until the cluster map says it: the next start of the node tells
//! the root group, before anything acts on the map of before.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::controller;
use crate::durable;
use crate::types::{ClusterMap, DiskId, DiskState, Epoch, GroupId, ROOT_GROUP, Recovered, ReplicaId};
use crate::wire;

/// The name of the file in a data directory. Encoded with [`wire::encode`].
const FILE: &str = "recovery";
/// No such file is longer, in bytes.
const MAX_LEN: u64 = 64 << 20;
/// How far a recovery leaps: more epochs than the maps that those who are lost can have made without us.
const LEAP: u64 = 1 << 20;

/// A group that goes on with one voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alone {
    pub group: GroupId,
    pub replica: ReplicaId,
    pub disk: DiskId,
    /// How many voters the group had. With two, nothing that was acknowledged is lost.
    pub voters: u32,
}

/// Who goes on, and who never comes back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// The groups that go on with one voter.
    pub alone: Vec<Alone>,
    /// The disks that are lost.
    pub lost: Vec<DiskId>,
    /// The random id of a recovery of the root group, which begins a new generation. Other groups go on in the
    /// generation that there is: their map is not lost.
    pub generation: Option<u64>,
}

/// The form of release 0.1.0, frozen.
#[derive(Deserialize)]
struct RecoveryV1 {
    alone: Vec<Alone>,
    lost: Vec<DiskId>,
}

impl Recovery {
    /// What the directories have that the map has not been told yet. Blocks.
    pub fn load(directories: &[PathBuf]) -> Option<Self> {
        directories.iter().find_map(|directory| {
            let path = directory.join(FILE);
            if std::fs::metadata(&path).ok()?.len() > MAX_LEN {
                return None;
            }
            Self::decode(&std::fs::read(&path).ok()?)
        })
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let old = |RecoveryV1 { alone, lost }| {
            // The same whenever it is read.
            let (id, _) = blake3::hash(bytes).as_bytes().split_first_chunk().map(|(id, rest)| (*id, rest.len()))?;
            let root = alone.iter().any(|alone| alone.group == ROOT_GROUP);
            Some(Self { alone, lost, generation: root.then_some(u64::from_le_bytes(id)) })
        };
        wire::decode(bytes).ok().or_else(|| wire::decode_version(1, bytes).ok().and_then(old))
    }

    /// Keeps it in a directory. Blocks.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, directory: &Path) -> std::io::Result<()> {
        let bytes = wire::encode(self).map_err(std::io::Error::other)?;
        durable::write_atomic(&directory.join(FILE), &bytes, durable::PRIVATE)
    }

    /// The map says it now. Blocks.
    pub fn forget(directories: &[PathBuf]) {
        for directory in directories {
            match std::fs::remove_file(directory.join(FILE)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(path = %directory.display(), %error, "what a recovery decided cannot be removed");
                }
                _ => {}
            }
        }
    }

    /// The map that says it. `roots` is what the root group has, `known` the newest map that was ever heard of here: the
    /// root group may have lost the last ones, and what is known of them is gone on from; not what another recovery made of
    /// them. A group goes on alone only where
    /// the map still has the voter, or a map that was lost allotted it.
    pub fn apply(&self, roots: &ClusterMap, known: &ClusterMap) -> ClusterMap {
        let mut map = roots.clone();
        if let Some(id) = self.generation
            && roots.generation.last().is_none_or(|last| last.id != id)
        {
            if known.generation == roots.generation && known.supersedes(roots) {
                map.clone_from(known);
            }
            let (last, first) = (map.epoch, Epoch(map.epoch.0.saturating_add(LEAP)));
            map.generation = map.generation.next(Recovered { id, last, first });
            map.epoch = first;
        }
        self.name_survivors(&mut map);
        self.leave_out(&mut map);
        map
    }

    fn name_survivors(&self, map: &mut ClusterMap) {
        for alone in &self.alone {
            let voter = (alone.replica, alone.disk);
            let was_lost = map.generation.has_lost(controller::allotted_by(alone.replica));
            if let Some(entry) = map.groups.iter_mut().find(|entry| entry.id == alone.group)
                && (was_lost || entry.all().any(|member| member == voter))
            {
                entry.replicas = vec![voter];
                entry.joining.clear();
                entry.leaving.clear();
            }
        }
    }

    /// Has the map know the lost disks no more.
    pub fn leave_out(&self, map: &mut ClusterMap) {
        for disk in map.disks.iter_mut().filter(|disk| self.lost.contains(&disk.id)) {
            disk.state = DiskState::Removed;
        }
        let in_use: Vec<_> =
            map.disks.iter().filter(|disk| disk.state != DiskState::Removed).map(|disk| disk.node).collect();
        map.nodes.retain(|node| in_use.contains(&node.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClusterId, DiskEntry, Epoch, GroupEntry, Joining, NodeEntry, NodeId, ROOT_GROUP};

    fn disk(number: u8) -> DiskId {
        DiskId([number; 16])
    }

    fn alone(group: GroupId, replica: ReplicaId) -> Alone {
        Alone { group, replica, disk: disk(1), voters: 3 }
    }

    fn map() -> ClusterMap {
        let voters = |first: u64| (1..=3).map(|number| (ReplicaId(first + u64::from(number)), disk(number))).collect();
        let mut groups = vec![GroupEntry::new(ROOT_GROUP, voters(0)), GroupEntry::new(GroupId(1), voters(10))];
        groups[1].joining.push(Joining { replica: ReplicaId(20), disk: disk(4), replaces: None });
        let entry = |number: u8| DiskEntry {
            id: disk(number),
            node: NodeId(u64::from(number)),
            weight: 1,
            state: DiskState::Active,
        };
        let node =
            |number| NodeEntry { id: NodeId(number), address: format!("10.0.0.{number}:9001"), rack: String::new() };
        ClusterMap {
            cluster: ClusterId::random(),
            epoch: Epoch(3),
            nodes: (1..=4).map(node).collect(),
            disks: (1..=4).map(entry).collect(),
            groups,
            ..ClusterMap::default()
        }
    }

    #[test]
    fn the_map_says_who_goes_on_and_who_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let paths = [directory.path().join("none"), directory.path().to_owned()];
        assert_eq!(Recovery::load(&paths), None);
        let alone = vec![alone(ROOT_GROUP, ReplicaId(1)), alone(GroupId(1), ReplicaId(11))];
        let recovery = Recovery { alone, lost: vec![disk(2), disk(3)], generation: Some(7) };
        recovery.save(&paths[1]).unwrap();
        assert_eq!(Recovery::load(&paths), Some(recovery.clone()));
        let changed = recovery.apply(&map(), &map());
        assert_eq!(changed.generation.last().map(|last| (last.id, last.last)), Some((7, Epoch(3))));
        assert_eq!(changed.epoch, Epoch(3 + LEAP));
        assert_eq!(recovery.apply(&changed, &map()), changed, "once only");
        assert!(
            changed.groups.iter().all(|group| group.all().count() == 1 && group.all().all(|(_, on)| on == disk(1)))
        );
        assert_eq!(changed.nodes.iter().map(|node| node.id.0).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(changed.disks[1].state, DiskState::Removed);
        assert_eq!(changed.disks[3].state, DiskState::Active);
        Recovery::forget(&paths);
        assert_eq!(Recovery::load(&paths), None);
    }

    #[test]
    fn a_voter_that_has_left_since_does_not_come_back() {
        let alone = vec![alone(GroupId(1), ReplicaId(9))];
        let recovery = Recovery { alone, lost: Vec::new(), generation: None };
        let map = map();
        assert_eq!(recovery.apply(&map, &map), map);
    }

    #[test]
    fn what_a_node_knows_of_the_lost_maps_is_gone_on_from() {
        let mut known = ClusterMap { epoch: Epoch(9), ..map() };
        known.groups[0].replicas[0].0 = ReplicaId(9 << 16);
        let goes_on = alone(ROOT_GROUP, ReplicaId(9 << 16));
        let recovery = Recovery { alone: vec![goes_on], lost: Vec::new(), generation: Some(1) };
        let changed = recovery.apply(&map(), &known);
        assert_eq!(changed.epoch, Epoch(9 + LEAP));
        assert_eq!(changed.groups[0].replicas, [(ReplicaId(9 << 16), disk(1))]);
        // What another recovery made of it meanwhile is not: that is another cluster by now.
        let other = Recovery { alone: Vec::new(), lost: Vec::new(), generation: Some(2) }.apply(&known, &known);
        assert_eq!(recovery.apply(&map(), &other).epoch, Epoch(3 + LEAP));
        // No map that is left has the voter, which one that was lost had allotted.
        let goes_on = alone(ROOT_GROUP, ReplicaId(12 << 16));
        let recovery = Recovery { alone: vec![goes_on], lost: Vec::new(), generation: Some(1) };
        assert_eq!(recovery.apply(&map(), &known).groups[0].replicas, [(ReplicaId(12 << 16), disk(1))]);
        assert!(!controller::is_known_by(ReplicaId(12 << 16), &changed), "it must not be taken for one that left");
    }

    #[test]
    fn what_release_0_1_0_decided_is_read_and_is_one_recovery() {
        let v1 = postcard::to_extend(&(vec![alone(ROOT_GROUP, ReplicaId(1))], vec![disk(2)]), vec![1]).unwrap();
        let read = Recovery::decode(&v1).unwrap();
        assert_eq!((read.alone.len(), read.lost.as_slice()), (1, &[disk(2)][..]));
        assert!(read.generation.is_some());
        assert_eq!(Recovery::decode(&v1), Some(read));
    }
}
