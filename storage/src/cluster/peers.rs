//! What a node knows of the others: where each disk is, who answered when, and what they said of their disks. It hears
//! this from the others themselves, in the greetings that all nodes exchange every second; Raft's membership and the
//! cluster map name disks only.
//!
//! A disk is where its last life is: each start begins one, and knows those before. So a disk that was moved is found, and
//! a copy of a disk, or one from a backup, is not taken for it, however often it is started: it has not lived what is
//! remembered of the disk. One that was copied in the life that is remembered has less than it had promised since.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::types::{ClusterMap, ClusterMapV1, DiskId, Epoch, GroupId, Life, NodeEntry, NodeId, ReplicaId};
use crate::wire::{self, DiskNews, Hello, NodeNews, Place, RefusedNode, Stale};

/// The file in a data directory that keeps the map and the places for the next start.
pub const FILE: &str = "cluster-map";
/// No such file is longer, in bytes.
const MAX_LEN: u64 = 64 << 20;
/// A node counts as up for so long after it answered.
const UP_FOR: Duration = Duration::from_millis(3500);
/// How long a node that was refused is spoken of, and of how many.
const REFUSED_FOR: Duration = Duration::from_secs(30);
const MAX_REFUSED: usize = 64;

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
    places: Vec<PlaceV1>,
}

#[derive(Deserialize)]
struct PlaceV1 {
    disk: DiskId,
    node: NodeId,
    address: String,
    incarnation: u64,
}

impl From<PlaceV1> for Place {
    fn from(place: PlaceV1) -> Self {
        let PlaceV1 { disk, node, address, incarnation } = place;
        Self { disk, node, address, life: Life { incarnation, instance: 0 }, synced: 0 }
    }
}

/// What a person reads of a disk that must not be used.
pub const OLD_COPY: &str = "it is an older copy of a disk that others have seen since; it neither votes nor takes data. \
    Empty the directory and start again: it comes back as a new disk";

/// Why a disk that says this of itself is not the one that is remembered, if it is not.
fn judge(place: &Place, lives: &[Life], began: u64) -> Option<&'static str> {
    let is_later = lives.last().is_some_and(|now| !now.is(place.life));
    // One whose metadata is gone altogether is known to its groups.
    let has_less = is_later && 0 < began && began < place.synced;
    (!place.life.was_lived(lives) || has_less).then_some(OLD_COPY)
}

impl Kept {
    /// The newest that the directories have; of each disk the last that any of them remembers.
    pub fn load(directories: &[PathBuf]) -> Option<Self> {
        let kept = directories.iter().filter_map(|directory| {
            let path = directory.join(FILE);
            if std::fs::metadata(&path).ok()?.len() > MAX_LEN {
                return None;
            }
            Self::decode(&std::fs::read(&path).ok()?)
        });
        Self::newest(kept)
    }

    pub fn newest(all: impl Iterator<Item = Self>) -> Option<Self> {
        all.reduce(|first, second| {
            let (mut newest, other) = if second.map.supersedes(&first.map) { (second, first) } else { (first, second) };
            for place in other.places {
                match newest.places.iter_mut().find(|known| known.disk == place.disk) {
                    Some(known) if is_later(&place, known) => *known = place,
                    Some(_) => {}
                    None => newest.places.push(place),
                }
            }
            newest
        })
    }

    /// Whether the other is as good to keep: disks that went on in their lives are no news.
    pub fn is_like(&self, other: &Self) -> bool {
        let places = |kept: &Self| {
            let without = |place: &Place| Place { synced: 0, ..place.clone() };
            kept.places.iter().map(without).collect::<Vec<_>>()
        };
        self.map == other.map && places(self) == places(other)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let old = || {
            wire::decode_version(1, bytes).map(|KeptV1 { map, places }| Self {
                map: map.into(),
                places: places.into_iter().map(Place::from).collect(),
            })
        };
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

fn is_later(place: &Place, than: &Place) -> bool {
    (place.life.incarnation, place.synced) > (than.life.incarnation, than.synced)
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
    /// Who greeted lately and was not believed.
    refused: BTreeMap<NodeId, (Instant, RefusedNode)>,
    /// Where others say that a disk is in a later life than is known here.
    rumours: HashMap<DiskId, String>,
    /// The disks of this node: their lives, and how far each was when it was opened.
    disks: HashMap<DiskId, (Vec<Life>, u64)>,
    /// Those of them that others have seen later than they are here, and why that is so.
    superseded: HashMap<DiskId, &'static str>,
}

impl Peers {
    pub fn new(own: NodeId, session: u64, places: Vec<Place>) -> Self {
        let places = places.into_iter().map(|place| (place.disk, place)).collect();
        let (seen, began) = (HashMap::new(), Instant::now());
        Self {
            own,
            session,
            nodes: BTreeMap::new(),
            places,
            seen,
            began,
            refused: BTreeMap::new(),
            rumours: HashMap::new(),
            disks: HashMap::new(),
            superseded: HashMap::new(),
        }
    }

    /// A disk of this node was opened.
    pub fn introduce(&mut self, place: Place, lives: &[Life], began: u64) {
        let disk = place.disk;
        self.disks.insert(disk, (lives.to_vec(), began));
        self.superseded.remove(&disk);
        match self.places.get(&disk).and_then(|known| judge(known, lives, began)) {
            Some(why) => drop(self.superseded.insert(disk, why)),
            None => self.place_own(place),
        }
    }

    /// Why a disk of this node must not be used, if that is so.
    pub fn superseded(&self, disk: DiskId) -> Option<&'static str> {
        self.superseded.get(&disk).copied()
    }

    /// Somebody who is believed remembers this of a disk.
    fn is_told(&mut self, place: &Place) {
        if let Some((lives, began)) = self.disks.get(&place.disk)
            && let Some(why) = judge(place, lives, *began)
        {
            self.superseded.insert(place.disk, why);
        }
    }

    /// Whether a message of this life of a disk is to be heard.
    ///
    /// # Errors
    /// It is older than what is remembered, or has not been introduced.
    pub fn admit(&self, disk: DiskId, life: Life) -> Result<(), Stale> {
        match self.places.get(&disk) {
            Some(place) if life.incarnation > place.life.incarnation => Err(Stale::UnknownLife(disk)),
            Some(place) if !life.is(place.life) => Err(Stale::OldDisk(disk)),
            _ => Ok(()),
        }
    }

    /// Whether a disk of this node is the one that somebody who is believed remembers.
    ///
    /// # Errors
    /// It is older; from now on it is known to be.
    pub fn admit_to(&mut self, disk: DiskId, remembered: Life) -> Result<(), Stale> {
        let Some((lives, _)) = self.disks.get(&disk) else { return Ok(()) };
        if remembered.was_lived(lives) {
            return Ok(());
        }
        self.superseded.insert(disk, OLD_COPY);
        Err(Stale::OldDisk(disk))
    }

    /// Notes for people that a node is not believed.
    pub fn note_refused(&mut self, node: &NodeEntry, why: &str) {
        self.refused.retain(|_, (at, _)| at.elapsed() < REFUSED_FOR);
        if self.refused.len() < MAX_REFUSED || self.refused.contains_key(&node.id) {
            let refused = RefusedNode { node: node.id, address: node.address.clone(), why: why.to_owned() };
            self.refused.insert(node.id, (Instant::now(), refused));
        }
    }

    /// Who greeted lately and was not believed, and why.
    pub fn refused(&self) -> Vec<RefusedNode> {
        let lately = self.refused.values().filter(|(at, _)| at.elapsed() < REFUSED_FOR);
        lately.map(|(_, refused)| refused.clone()).collect()
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
        let place_of = |news: &DiskNews| Place {
            disk: news.id,
            node: hello.node.id,
            address: hello.node.address.clone(),
            life: news.lives.last().copied().unwrap_or_default(),
            synced: news.synced.max(news.began),
        };
        let is_old = |news: &&DiskNews| {
            self.places.get(&news.id).is_some_and(|place| judge(place, &news.lives, news.began).is_some())
        };
        let (old, disks): (Vec<&DiskNews>, Vec<&DiskNews>) = hello.disks.iter().partition(is_old);
        let (disks, places): (Vec<DiskNews>, Vec<Place>) =
            disks.into_iter().map(|news| (news.clone(), place_of(news))).unzip();
        let said = hello.old_copies.iter().cloned();
        if let Some(which) = old.iter().map(|news| format!("disk {}", news.id)).chain(said).next() {
            self.note_refused(&hello.node, &format!("{which}: {OLD_COPY}"));
        }
        let known = self.nodes.get(&hello.node.id);
        let answered = if answers { Some(now) } else { known.and_then(|peer| peer.answered) };
        let peer = Peer {
            address: hello.node.address.clone(),
            version: hello.version.clone(),
            epoch: hello.epoch,
            settled_per_minute: hello.settled_per_minute,
            session: hello.session,
            disks,
            leads: hello.leads.clone(),
            answered,
        };
        if answers {
            self.seen.extend(peer.disks.iter().filter(|news| news.up).map(|news| (news.id, now)));
        }
        self.nodes.insert(hello.node.id, peer);
        for place in places {
            self.is_told(&place);
            self.rumours.remove(&place.disk);
            self.place(place);
        }
        // Of its own disks it has said all above.
        for place in hello.places.iter().filter(|place| place.node != hello.node.id) {
            self.is_told(place);
            self.learn(place);
        }
        Ok(())
    }

    /// Notes where a disk of this node is.
    pub fn place_own(&mut self, place: Place) {
        self.seen.insert(place.disk, Instant::now());
        self.place(place);
    }

    /// Notes how far a disk of this node is; not that it is up.
    pub fn note_own(&mut self, place: Place) {
        self.place(place);
    }

    /// Notes that disks of this node are up. One of them that goes down is waited for as others are.
    pub fn see_own(&mut self, up: impl Iterator<Item = DiskId>) {
        let now = Instant::now();
        self.seen.extend(up.map(|disk| (disk, now)));
    }

    /// Never goes back to what was before.
    fn place(&mut self, place: Place) {
        let synced = match self.places.get(&place.disk) {
            Some(known) if known.life.incarnation > place.life.incarnation => return,
            Some(known) if known.life == place.life => place.synced.max(known.synced),
            _ => place.synced,
        };
        self.places.insert(place.disk, Place { synced, ..place });
    }

    /// Hearsay says where a disk is of which nothing is known, and how far one is whose life is known. Of a later life it
    /// says only where to ask: whether that is the disk, it must show itself.
    fn learn(&mut self, place: &Place) {
        match self.places.get(&place.disk) {
            _ if place.node == self.own => {}
            Some(known) if known.life.incarnation < place.life.incarnation => {
                self.rumours.insert(place.disk, place.address.clone());
            }
            Some(known) if known.life != place.life => {}
            _ => self.place(place.clone()),
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
        addresses.extend(joins.iter().chain(self.rumours.values()).cloned());
        addresses.remove(own_address);
        addresses
    }

    /// The disks of others that are up: their node answered lately and said so.
    pub fn up(&self) -> HashSet<DiskId> {
        let now = Instant::now();
        let up = self.nodes.values().filter(|peer| peer.answered.is_some_and(|at| now.duration_since(at) < UP_FOR));
        up.flat_map(|peer| peer.disks.iter().filter(|news| news.up).map(|news| news.id)).collect()
    }

    /// The bytes that are free on a disk of another node, as that node said last.
    pub fn free(&self, disk: DiskId) -> Option<u64> {
        self.nodes.values().flat_map(|peer| &peer.disks).find(|news| news.id == disk).map(|news| news.free)
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
#[path = "peers_test.rs"]
mod tests;
