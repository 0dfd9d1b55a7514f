//! What a node knows of the others: where each disk is, who answered when, and what they said of their disks. It hears
//! this from the others themselves, in the greetings that all nodes exchange every second; Raft's membership and the
//! cluster map name disks only.
//!
//! A disk is where its greatest incarnation is: an incarnation grows at each start. So a disk that was moved is found,
//! and a copy of a disk, or one from a backup, is not taken for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::types::{ClusterMap, ClusterMapV1, DiskId, Epoch, GroupId, NodeId, ReplicaId};
use crate::wire::{self, DiskNews, Hello, NodeNews, Place};

/// The file in a data directory that keeps the map and the places for the next start.
pub const FILE: &str = "cluster-map";
/// No such file is longer, in bytes.
const MAX_LEN: u64 = 64 << 20;
/// A node counts as up for so long after it answered.
const UP_FOR: Duration = Duration::from_millis(3500);

/// What outlives the process. Encoded with [`wire::encode`], whose version is that of this, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub map: ClusterMap,
    pub places: Vec<Place>,
}

/// The form of release 0.1.0, frozen.
#[derive(Deserialize)]
struct KeptV1 {
    map: ClusterMapV1,
    places: Vec<Place>,
}

impl Kept {
    /// The newest that the directories have.
    pub fn load(directories: &[PathBuf]) -> Option<Self> {
        let kept = directories.iter().filter_map(|directory| {
            let path = directory.join(FILE);
            if std::fs::metadata(&path).ok()?.len() > MAX_LEN {
                return None;
            }
            Self::decode(&std::fs::read(&path).ok()?)
        });
        kept.max_by_key(|kept| kept.map.epoch)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let old = || wire::decode_version(1, bytes).map(|KeptV1 { map, places }| Self { map: map.into(), places });
        wire::decode(bytes).or_else(|_| old()).ok()
    }

    /// Keeps it in a directory.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, directory: &Path) -> std::io::Result<()> {
        let bytes = wire::encode(self).map_err(std::io::Error::other)?;
        durable::write_atomic(&directory.join(FILE), &bytes, 0o600)
    }
}

/// Another node, as it last spoke.
#[derive(Debug, Clone)]
struct Peer {
    address: String,
    version: String,
    epoch: Epoch,
    settled_per_minute: u64,
    session: u64,
    disks: Vec<DiskNews>,
    leads: Vec<(GroupId, ReplicaId, DiskId)>,
    /// When it answered us last.
    answered: Option<Instant>,
}

/// Why a greeting is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("disk {0} is in use by another process, or is an old copy of it")]
    OldDisk(DiskId),
    #[error("node {0} runs twice")]
    SameNode(NodeId),
}

/// All that is known of the others.
#[derive(Debug)]
pub struct Peers {
    own: NodeId,
    session: u64,
    nodes: BTreeMap<NodeId, Peer>,
    places: HashMap<DiskId, Place>,
    /// When each disk was last known to be up.
    seen: HashMap<DiskId, Instant>,
    began: Instant,
}

impl Peers {
    pub fn new(own: NodeId, session: u64, places: Vec<Place>) -> Self {
        let places = places.into_iter().map(|place| (place.disk, place)).collect();
        Self { own, session, nodes: BTreeMap::new(), places, seen: HashMap::new(), began: Instant::now() }
    }

    /// Takes what a node says: in a greeting, or in the answer to ours. Only an answer shows that it can be reached.
    ///
    /// # Errors
    /// See [`Conflict`]: nothing of what it says is believed then.
    pub fn hear(&mut self, hello: &Hello, answers: bool) -> Result<(), Conflict> {
        if hello.node.id == self.own {
            if hello.session == self.session {
                return Ok(());
            }
            return Err(Conflict::SameNode(self.own));
        }
        let now = Instant::now();
        let known = self.nodes.get(&hello.node.id);
        if let Some(peer) = known.filter(|peer| peer.session != hello.session && peer.address != hello.node.address)
            && peer.answered.is_some_and(|at| now.duration_since(at) < UP_FOR)
        {
            return Err(Conflict::SameNode(hello.node.id));
        }
        for news in &hello.disks {
            let older = self.places.get(&news.id).is_some_and(|place| {
                place.incarnation > news.incarnation
                    || (place.incarnation == news.incarnation && place.node != hello.node.id)
            });
            if older {
                return Err(Conflict::OldDisk(news.id));
            }
        }
        let answered = if answers { Some(now) } else { known.and_then(|peer| peer.answered) };
        let peer = Peer {
            address: hello.node.address.clone(),
            version: hello.version.clone(),
            epoch: hello.epoch,
            settled_per_minute: hello.settled_per_minute,
            session: hello.session,
            disks: hello.disks.clone(),
            leads: hello.leads.clone(),
            answered,
        };
        if answers {
            self.seen.extend(hello.disks.iter().filter(|news| news.up).map(|news| (news.id, now)));
        }
        for news in &hello.disks {
            let (node, address) = (hello.node.id, hello.node.address.clone());
            self.places.insert(news.id, Place { disk: news.id, node, address, incarnation: news.incarnation });
        }
        for place in &hello.places {
            self.learn(place);
        }
        self.nodes.insert(hello.node.id, peer);
        Ok(())
    }

    /// Notes where a disk of this node is.
    pub fn place_own(&mut self, place: Place) {
        self.seen.insert(place.disk, Instant::now());
        self.places.insert(place.disk, place);
    }

    /// Notes that disks of this node are up. One of them that goes down is waited for as others are.
    pub fn see_own(&mut self, up: impl Iterator<Item = DiskId>) {
        let now = Instant::now();
        self.seen.extend(up.map(|disk| (disk, now)));
    }

    /// Hearsay goes before what was kept, never before what the node itself said.
    fn learn(&mut self, place: &Place) {
        let newer = self.places.get(&place.disk).is_none_or(|known| known.incarnation < place.incarnation);
        if newer && place.node != self.own {
            self.places.insert(place.disk, place.clone());
        }
    }

    pub fn places(&self) -> Vec<Place> {
        let mut places: Vec<_> = self.places.values().cloned().collect();
        places.sort_by_key(|place| place.disk);
        places
    }

    /// Where to ask for each disk of others.
    pub fn addresses(&self) -> HashMap<DiskId, String> {
        let others = self.places.values().filter(|place| place.node != self.own);
        others.map(|place| (place.disk, place.address.clone())).collect()
    }

    /// Whom to greet: every address that is known of another node, those of `map` and of `joins` too.
    pub fn to_greet(&self, map: &ClusterMap, joins: &[String], own_address: &str) -> HashSet<String> {
        let mut addresses: HashSet<String> = self.nodes.values().map(|peer| peer.address.clone()).collect();
        addresses
            .extend(self.places.values().filter(|place| place.node != self.own).map(|place| place.address.clone()));
        let silent = |id: &NodeId| !self.nodes.contains_key(id) && *id != self.own;
        addresses.extend(map.nodes.iter().filter(|node| silent(&node.id)).map(|node| node.address.clone()));
        addresses.extend(joins.iter().cloned());
        addresses.remove(own_address);
        addresses
    }

    /// The disks of others that are up: their node answered lately and said so.
    pub fn up(&self) -> HashSet<DiskId> {
        let now = Instant::now();
        let up = self.nodes.values().filter(|peer| peer.answered.is_some_and(|at| now.duration_since(at) < UP_FOR));
        up.flat_map(|peer| peer.disks.iter().filter(|news| news.up).map(|news| news.id)).collect()
    }

    /// For how long nobody heard of a disk that is not up.
    pub fn silent_for(&self, disk: DiskId) -> Duration {
        self.seen.get(&disk).unwrap_or(&self.began).elapsed()
    }

    /// Whether another node that is up says of a replica that it does not run; and whether that is for what its group has.
    pub fn ended(&self, group: GroupId, replica: ReplicaId) -> Option<bool> {
        let now = Instant::now();
        let up = self.nodes.values().filter(|peer| peer.answered.is_some_and(|at| now.duration_since(at) < UP_FOR));
        let mut ended = up.flat_map(|peer| &peer.disks).flat_map(|disk| &disk.ended);
        ended.find(|ended| (ended.group, ended.replica) == (group, replica)).map(|ended| ended.broken)
    }

    /// Whether another node that is up says that it leads the group.
    pub fn leader(&self, group: GroupId) -> Option<(ReplicaId, DiskId)> {
        let now = Instant::now();
        let up = self.nodes.values().filter(|peer| peer.answered.is_some_and(|at| now.duration_since(at) < UP_FOR));
        up.flat_map(|peer| &peer.leads).find(|lead| lead.0 == group).map(|(_, replica, disk)| (*replica, *disk))
    }

    /// What the other nodes said last of themselves and their disks, and whether they are up.
    pub fn news(&self) -> Vec<NodeNews> {
        let now = Instant::now();
        let news = |(id, peer): (&NodeId, &Peer)| NodeNews {
            id: *id,
            up: peer.answered.is_some_and(|at| now.duration_since(at) < UP_FOR),
            version: peer.version.clone(),
            epoch: peer.epoch,
            settled_per_minute: peer.settled_per_minute,
            disks: peer.disks.clone(),
        };
        self.nodes.iter().map(news).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClusterId, NodeEntry};

    fn disk(number: u8) -> DiskId {
        DiskId([number; 16])
    }

    fn hello(node: u64, session: u64, disks: &[(u8, u64)]) -> Hello {
        Hello {
            cluster: ClusterId([1; 16]),
            node: NodeEntry { id: NodeId(node), address: format!("node{node}:{session}"), rack: String::new() },
            session,
            version: "1".to_owned(),
            epoch: Epoch(1),
            disks: disks
                .iter()
                .map(|(number, incarnation)| DiskNews {
                    id: disk(*number),
                    incarnation: *incarnation,
                    up: true,
                    capacity: 1,
                    free: 1,
                    chunks: 0,
                    misplaced: 0,
                    settled: true,
                    ended: Vec::new(),
                })
                .collect(),
            places: Vec::new(),
            settled_per_minute: 0,
            leads: Vec::new(),
        }
    }

    #[test]
    fn a_disk_that_moved_is_found_where_it_started_last() {
        let mut peers = Peers::new(NodeId(1), 1, Vec::new());
        peers.hear(&hello(2, 1, &[(7, 3)]), true).unwrap();
        peers.hear(&hello(3, 1, &[(7, 4)]), true).unwrap();
        assert_eq!(peers.addresses()[&disk(7)], "node3:1");
        assert_eq!(peers.hear(&hello(2, 1, &[(7, 3)]), true), Err(Conflict::OldDisk(disk(7))));
        assert_eq!(peers.addresses()[&disk(7)], "node3:1");
    }

    #[test]
    fn a_copy_of_a_disk_and_a_node_that_runs_twice_are_refused() {
        let mut peers = Peers::new(NodeId(1), 1, Vec::new());
        peers.hear(&hello(2, 1, &[(7, 3)]), true).unwrap();
        assert_eq!(peers.hear(&hello(3, 1, &[(7, 3)]), true), Err(Conflict::OldDisk(disk(7))));
        assert_eq!(peers.hear(&hello(2, 9, &[(7, 4)]), false), Err(Conflict::SameNode(NodeId(2))));
        assert_eq!(peers.hear(&hello(1, 2, &[]), false), Err(Conflict::SameNode(NodeId(1))));
        assert_eq!(peers.hear(&hello(1, 1, &[]), true), Ok(()));
    }

    #[test]
    fn a_disk_of_this_node_is_silent_since_it_was_last_up_and_not_since_it_was_opened() {
        let mut peers = Peers::new(NodeId(1), 1, Vec::new());
        peers.place_own(Place { disk: disk(7), node: NodeId(1), address: "own".to_owned(), incarnation: 1 });
        let hour = Duration::from_secs(60 * 60);
        peers.seen.insert(disk(7), Instant::now().checked_sub(hour).unwrap());
        assert!(peers.silent_for(disk(7)) >= hour);
        peers.see_own([disk(7)].into_iter());
        assert!(peers.silent_for(disk(7)) < hour);
    }

    #[test]
    fn a_greeting_tells_where_a_node_is_but_not_that_it_can_be_reached() {
        let mut peers = Peers::new(NodeId(1), 1, Vec::new());
        peers.hear(&hello(2, 1, &[(7, 3)]), false).unwrap();
        assert!(peers.up().is_empty());
        assert_eq!(peers.addresses()[&disk(7)], "node2:1");
        peers.hear(&hello(2, 1, &[(7, 3)]), true).unwrap();
        assert!(peers.up().contains(&disk(7)));
    }

    #[test]
    fn hearsay_spreads_addresses_and_yields_to_the_node_itself() {
        let mut peers = Peers::new(NodeId(1), 1, Vec::new());
        let place = |incarnation, address: &str| Place {
            disk: disk(7),
            node: NodeId(3),
            address: address.to_owned(),
            incarnation,
        };
        let mut tells = hello(2, 1, &[]);
        tells.places = vec![place(5, "new")];
        peers.hear(&tells, true).unwrap();
        assert_eq!(peers.addresses()[&disk(7)], "new");
        tells.places = vec![place(4, "old")];
        peers.hear(&tells, true).unwrap();
        assert_eq!(peers.addresses()[&disk(7)], "new");
    }

    #[test]
    fn what_is_kept_comes_back_and_the_newest_wins() {
        let directory = tempfile::tempdir().unwrap();
        let paths = [directory.path().join("a"), directory.path().join("b")];
        let map = |epoch| ClusterMap { epoch: Epoch(epoch), ..ClusterMap::default() };
        for (path, epoch) in paths.iter().zip([4, 5]) {
            std::fs::create_dir(path).unwrap();
            Kept { map: map(epoch), places: Vec::new() }.save(path).unwrap();
        }
        assert_eq!(Kept::load(&paths).map(|kept| kept.map.epoch), Some(Epoch(5)));
        std::fs::write(paths[1].join(FILE), b"\x01junk").unwrap();
        assert_eq!(Kept::load(&paths).map(|kept| kept.map.epoch), Some(Epoch(4)));
    }
}
