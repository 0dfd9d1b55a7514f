//! What a recovery decided, kept in a data directory until the cluster map says it: the next start of the node tells
//! the root group, before anything acts on the map of before.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::types::{ClusterMap, DiskId, DiskState, GroupId, ReplicaId};
use crate::wire;

/// The name of the file in a data directory. Encoded with [`wire::encode`].
const FILE: &str = "recovery";
/// No such file is longer, in bytes.
const MAX_LEN: u64 = 64 << 20;

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
}

impl Recovery {
    /// What the directories have that the map has not been told yet. Blocks.
    pub fn load(directories: &[PathBuf]) -> Option<Self> {
        directories.iter().find_map(|directory| {
            let path = directory.join(FILE);
            if std::fs::metadata(&path).ok()?.len() > MAX_LEN {
                return None;
            }
            let bytes = std::fs::read(&path).ok()?;
            // Release 0.1.0 wrote the same under another version.
            wire::decode(&bytes).or_else(|_| wire::decode_version(1, &bytes)).ok()
        })
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

    /// Has the map say it; of a group only where it still has the voter.
    pub fn apply(&self, map: &mut ClusterMap) {
        for alone in &self.alone {
            let voter = (alone.replica, alone.disk);
            if let Some(entry) = map.groups.iter_mut().find(|entry| entry.id == alone.group)
                && entry.all().any(|member| member == voter)
            {
                entry.replicas = vec![voter];
                entry.joining.clear();
                entry.leaving.clear();
            }
        }
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
        let recovery = Recovery { alone, lost: vec![disk(2), disk(3)] };
        recovery.save(&paths[1]).unwrap();
        assert_eq!(Recovery::load(&paths), Some(recovery.clone()));
        let mut changed = map();
        recovery.apply(&mut changed);
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
        let recovery = Recovery { alone: vec![alone(GroupId(1), ReplicaId(9))], lost: Vec::new() };
        let before = map();
        let mut changed = before.clone();
        recovery.apply(&mut changed);
        assert_eq!(changed, before);
    }
}
