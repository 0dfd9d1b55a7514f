//! What the parts of a node share: its open disks, its replicas, and the newest map.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};

use super::disk::{AbsentDisk, LocalDisk, Memory};
use super::options::NodeOptions;
use crate::client::remote::Remote;
use crate::client::{Client, DiskError, DiskService, Disks, MetaService, RepairService, ServiceError};
use crate::cluster::Identity;
use crate::cluster::peers::{OLD_COPY, Peers};
use crate::raft::Replicas;
use crate::repair::{Pace, World};
use crate::server::Backend;
use crate::types::{
    ChunkId, ClusterId, ClusterMap, DiskId, DiskState, Epoch, GroupId, NodeEntry, NodeId, Relation, ReplicaId,
};
use crate::wire::{Context, DiskNews, EndedNews, Hello, MAX_WHY_LEN, NodeNews, Overview, Place, RefusedNode, Stale};

pub struct Inner {
    pub cluster: ClusterId,
    pub node: NodeId,
    /// Of this run of the process.
    pub session: u64,
    /// How the node describes itself to others.
    pub entry: NodeEntry,
    /// The disks that the node has, open or not.
    pub siblings: Vec<DiskId>,
    pub options: NodeOptions,
    pub memory: Memory,
    pub replicas: Replicas,
    pub remote: Arc<Remote>,
    pub peers: Mutex<Peers>,
    /// A recovery was decided here that the map does not say yet: another one is not taken for a successor.
    pub recovering: AtomicBool,
    /// Rung when others should hear of us at once, and when there is a newer map than ours.
    pub greet: Notify,
    pub refresh: Notify,
    /// The epoch of the map; changes with it.
    pub epoch: watch::Sender<Epoch>,
    map: RwLock<Arc<ClusterMap>>,
    /// The disks that are open.
    local: RwLock<HashMap<DiskId, Arc<LocalDisk>>>,
    /// The disks of others that are up.
    up: RwLock<HashSet<DiskId>>,
    /// Why a directory that was given is not open.
    absent: Mutex<HashMap<PathBuf, String>>,
    generation: AtomicU64,
    pace: Pace,
}

/// What a node is made of before it runs.
pub struct Parts {
    pub entry: NodeEntry,
    pub session: u64,
    pub options: NodeOptions,
    pub memory: Memory,
    pub replicas: Replicas,
    pub remote: Arc<Remote>,
    pub map: ClusterMap,
    pub places: Vec<Place>,
    pub recovering: bool,
}

impl Inner {
    pub fn new(identity: &Identity, parts: Parts) -> Self {
        let Parts { entry, session, options, memory, replicas, remote, map, places, recovering } = parts;
        let peers = Peers::new(identity.node, session, places);
        remote.set_places(peers.addresses(), &peers.places());
        remote.set_cluster(&map);
        tell_members(&replicas, &map);
        memory.set_epoch(map.epoch);
        let pace = Pace::new(options.repair.least_rate, options.repair.rate);
        Self {
            cluster: identity.cluster,
            node: identity.node,
            session,
            entry,
            siblings: identity.siblings.iter().map(|sibling| sibling.disk).collect(),
            options,
            memory,
            replicas,
            remote,
            peers: Mutex::new(peers),
            recovering: AtomicBool::new(recovering),
            greet: Notify::new(),
            refresh: Notify::new(),
            epoch: watch::Sender::new(map.epoch),
            map: RwLock::new(Arc::new(map)),
            local: RwLock::default(),
            up: RwLock::default(),
            absent: Mutex::default(),
            generation: AtomicU64::new(0),
            pace,
        }
    }

    /// Takes a map, unless a newer one is known.
    pub fn set_map(&self, map: ClusterMap) {
        let mut current = self.map.write();
        if !map.supersedes(&current) {
            return;
        }
        if map.generation != current.generation {
            tracing::warn!(from = %current.epoch, to = %map.epoch, "the cluster was recovered; this node goes by the map of after");
            self.remote.set_cluster(&map);
        }
        tracing::info!(epoch = %map.epoch, disks = map.disks.len(), "a new cluster map");
        tell_members(&self.replicas, &map);
        let epoch = map.epoch;
        let moves = !map.places_like(&current);
        *current = Arc::new(map);
        self.memory.set_epoch(epoch);
        // Before anyone can see the map: who knows it is not told that chunks are settled by the one of before.
        if moves {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        drop(current);
        self.epoch.send_replace(epoch);
        self.greet.notify_one();
    }

    /// Takes over which disks of others are up.
    pub fn set_up(&self, up: HashSet<DiskId>) {
        let mut current = self.up.write();
        if *current != up {
            for disk in up.symmetric_difference(&current) {
                tracing::info!(%disk, up = up.contains(disk), "a disk of another node");
            }
            *current = up;
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Notes that a disk was opened here; what is kept of it may say that it is an older copy. For before anything on it is
    /// started.
    ///
    /// # Errors
    /// Why it must not be used; it is marked, and stopped.
    pub fn introduce(&self, disk: &LocalDisk) -> Result<(), String> {
        let identity = disk.identity();
        self.peers.lock().introduce(self.place_of(disk), &identity.lives, disk.db.began());
        self.publish_places();
        self.check_lives(disk)
    }

    /// The same question again, after others were heard.
    ///
    /// # Errors
    /// See [`Inner::introduce`].
    pub fn check_lives(&self, disk: &LocalDisk) -> Result<(), String> {
        let Some(why) = self.peers.lock().superseded(disk.id()) else { return Ok(()) };
        disk.supersede(why);
        Err(why.to_owned())
    }

    /// Whether the map has let go of the disk.
    pub fn is_removed(&self, disk: DiskId) -> bool {
        self.map().disk(disk).is_some_and(|entry| entry.state == DiskState::Removed)
    }

    fn old_copies(&self) -> Vec<String> {
        let old = self.absent().into_iter().filter(|(_, why)| why == OLD_COPY);
        old.map(|(path, _)| path.display().to_string()).collect()
    }

    fn check_all_lives(&self) {
        for disk in self.local_disks() {
            // It stops by itself; whoever looks after it takes it down.
            let _ = self.check_lives(&disk);
        }
    }

    fn place_of(&self, disk: &LocalDisk) -> Place {
        let (node, address) = (self.node, self.entry.address.clone());
        Place {
            disk: disk.id(),
            node,
            address,
            life: disk.identity().life(),
            synced: disk.db.synced().max(disk.db.began()),
        }
    }

    fn publish_places(&self) {
        let (addresses, places) = {
            let peers = self.peers.lock();
            (peers.addresses(), peers.places())
        };
        self.remote.set_places(addresses, &places);
    }

    pub fn add_disk(&self, disk: Arc<LocalDisk>) {
        metrics::gauge!("cairn_disk_up", "disk" => disk.id().to_string()).set(1.0);
        self.absent.lock().remove(disk.path());
        self.peers.lock().place_own(self.place_of(&disk));
        self.local.write().insert(disk.id(), disk);
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.greet.notify_one();
    }

    pub fn remove_disk(&self, disk: &LocalDisk, why: String) {
        metrics::gauge!("cairn_disk_up", "disk" => disk.id().to_string()).set(0.0);
        self.absent.lock().insert(disk.path().to_owned(), why);
        self.local.write().remove(&disk.id());
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.greet.notify_one();
    }

    /// Lets go of all disks, which are closed.
    pub fn forget_disks(&self) {
        self.local.write().clear();
    }

    pub fn set_absent(&self, path: PathBuf, why: String) {
        self.absent.lock().insert(path, why);
    }

    pub fn absent(&self) -> Vec<(PathBuf, String)> {
        let mut absent: Vec<_> = self.absent.lock().iter().map(|(path, why)| (path.clone(), why.clone())).collect();
        absent.sort();
        absent
    }

    pub fn local_disks(&self) -> Vec<Arc<LocalDisk>> {
        let mut disks: Vec<_> = self.local.read().values().cloned().collect();
        disks.sort_by(|left, right| left.path().cmp(right.path()));
        disks
    }

    /// Each group of the map, and whether it has a leader.
    pub fn ready(&self) -> Vec<(GroupId, bool)> {
        let led = |group| self.replicas.ready(group) || self.peers.lock().leader(group).is_some();
        self.map().groups.iter().map(|group| (group.id, led(group.id))).collect()
    }

    /// Whether the map is known and every group has a leader.
    pub fn is_ready(&self) -> bool {
        let ready = self.ready();
        !ready.is_empty() && ready.iter().all(|(_, ready)| *ready)
    }

    /// Whether the leader of the group is a replica of this process.
    pub fn leads(&self, group: GroupId) -> bool {
        let leader = self.replicas.leader(group);
        leader.is_some_and(|(_, disk)| self.local.read().contains_key(&disk))
    }

    pub fn open_disk(&self, id: DiskId) -> Option<Arc<LocalDisk>> {
        self.local.read().get(&id).cloned()
    }

    /// The groups that are led by a replica here.
    fn led_here(&self, map: &ClusterMap) -> Vec<(GroupId, ReplicaId, DiskId)> {
        let led = map.groups.iter().filter(|group| self.leads(group.id));
        led.filter_map(|group| self.replicas.leader(group.id).map(|(id, disk)| (group.id, id, disk))).collect()
    }

    /// Who leads, of the groups that have a leader, as far as is known here.
    pub fn leaders(&self) -> Vec<(GroupId, ReplicaId, DiskId)> {
        let map = self.map();
        let here = self.led_here(&map);
        let peers = self.peers.lock();
        let led = map.groups.iter().filter_map(|group| {
            let here = here.iter().find(|(led, ..)| *led == group.id).copied();
            here.or_else(|| peers.leader(group.id).map(|(replica, disk)| (group.id, replica, disk)))
        });
        led.collect()
    }

    /// What the map has on open disks of this node and does not run: voters, for whatever reason, and those that are to
    /// join and ended before they did.
    pub fn ended(&self, map: &ClusterMap) -> Vec<(DiskId, EndedNews)> {
        let known = self.replicas.ended();
        let told = |group: GroupId, replica: ReplicaId| {
            known.iter().find(|ended| (ended.group, ended.replica) == (group, replica))
        };
        let mut ended = Vec::new();
        for group in &map.groups {
            let joining = group.joining.iter().map(|joining| (joining.replica, joining.disk));
            let joining = joining.filter(|(replica, _)| told(group.id, *replica).is_some());
            for (replica, disk) in group.replicas.iter().copied().chain(joining) {
                if !self.local.read().contains_key(&disk) || self.replicas.runs(group.id, replica) {
                    continue;
                }
                let told = told(group.id, replica);
                let why = told.map_or("the disk has no memory of it", |ended| ended.why.as_str());
                let why = why.chars().scan(0, |len, char| {
                    *len += char.len_utf8();
                    (*len <= MAX_WHY_LEN).then_some(char)
                });
                let broken = told.is_some_and(|ended| ended.broken);
                ended.push((disk, EndedNews { group: group.id, replica, broken, why: why.collect() }));
            }
        }
        ended
    }

    /// What this node says of itself.
    pub fn own_hello(&self) -> Hello {
        let map = self.map();
        let ended = self.ended(&map);
        let news = |disk: &Arc<LocalDisk>| {
            let usage = disk.store.usage();
            let ended = ended.iter().filter(|(on, _)| *on == disk.id()).map(|(_, ended)| ended.clone());
            DiskNews {
                id: disk.id(),
                lives: disk.identity().lives.clone(),
                began: disk.db.began(),
                synced: disk.db.synced(),
                up: disk.is_up(),
                capacity: usage.capacity,
                free: usage.free,
                chunks: usage.chunks,
                misplaced: disk.misplaced.load(Ordering::Acquire),
                settled: disk.settled.load(Ordering::Acquire) == self.generation.load(Ordering::Acquire),
                ended: ended.collect(),
            }
        };
        let disks = self.local_disks();
        let places = {
            let mut peers = self.peers.lock();
            disks.iter().for_each(|disk| peers.note_own(self.place_of(disk)));
            peers.places()
        };
        Hello {
            cluster: self.cluster,
            node: self.entry.clone(),
            session: self.session,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: map.epoch,
            generation: map.generation.stamp(),
            disks: disks.iter().map(news).collect(),
            old_copies: self.old_copies(),
            places,
            settled_per_minute: self.pace.per_minute(),
            leads: self.led_here(&map),
        }
    }

    /// Takes what another node said, in a greeting or in an answer to ours.
    ///
    /// # Errors
    /// Why it is not believed: a code, and a text.
    pub fn hear(&self, hello: &Hello, answers: bool) -> Result<(), (&'static str, String)> {
        if hello.cluster != self.cluster {
            let why = format!("this node is of cluster {}, and the other of {}", self.cluster, hello.cluster);
            return Err((Stale::OtherCluster.code(), why));
        }
        let relation = self.map().generation.of_stamp(hello.generation);
        if relation == Relation::Newer {
            self.remote.note_newer(&hello.node.address);
            self.refresh.notify_one();
        }
        let refuse = |code, why: String| {
            self.peers.lock().note_refused(&hello.node, &why);
            (code, why)
        };
        Stale::judge(relation).map_err(|stale| refuse(stale.code(), stale.to_string()))?;
        let heard = self.peers.lock().hear(hello, answers);
        heard.map_err(|conflict| refuse("refused", conflict.to_string()))?;
        let up = self.peers.lock().up();
        self.publish_places();
        self.check_all_lives();
        self.set_up(up);
        if hello.epoch > self.map().epoch {
            self.refresh.notify_one();
        }
        Ok(())
    }
}

/// Tells the replicas who the voters are of groups that have none here.
fn tell_members(replicas: &Replicas, map: &ClusterMap) {
    for group in &map.groups {
        replicas.set_members(group.id, group.replicas.clone());
    }
}

impl Disks for Inner {
    fn map(&self) -> Arc<ClusterMap> {
        self.map.read().clone()
    }

    fn disk(&self, id: DiskId) -> Option<Arc<dyn DiskService>> {
        match Disks::repair_disk(self, id) {
            Some(disk) => Some(disk),
            None => self.map.read().disk(id).map(|_| Arc::new(AbsentDisk) as Arc<dyn DiskService>),
        }
    }

    fn repair_disk(&self, id: DiskId) -> Option<Arc<dyn RepairService>> {
        match self.open_disk(id) {
            Some(disk) => Some(disk),
            None => self.remote.repair_disk(id),
        }
    }

    fn is_up(&self, id: DiskId) -> bool {
        match self.local.read().get(&id) {
            Some(disk) => disk.is_up(),
            None => self.up.read().contains(&id),
        }
    }

    fn overview(&self) -> BoxFuture<'_, Result<Overview, ServiceError>> {
        let own = self.own_hello();
        let mut nodes = vec![NodeNews {
            id: self.node,
            up: true,
            version: own.version,
            epoch: own.epoch,
            settled_per_minute: own.settled_per_minute,
            disks: own.disks,
        }];
        let refused = {
            let peers = self.peers.lock();
            nodes.extend(peers.news());
            let own = own.old_copies.iter().map(|path| RefusedNode {
                node: self.node,
                address: self.entry.address.clone(),
                why: format!("{path}: {OLD_COPY}"),
            });
            peers.refused().into_iter().chain(own).collect()
        };
        let overview = Overview { map: Disks::map(self), nodes, leaders: self.leaders(), refused };
        std::future::ready(Ok(overview)).boxed()
    }
}

/// The node as its server and its loops see it.
pub struct View {
    pub inner: Arc<Inner>,
    pub client: Client,
}

impl Backend for View {
    fn meta(&self) -> Arc<dyn MetaService> {
        Arc::new(self.inner.replicas.clone())
    }

    fn disks(&self) -> Arc<dyn Disks> {
        self.inner.clone()
    }

    fn local_disk(&self, id: DiskId) -> Option<Arc<dyn RepairService>> {
        let disk = self.inner.open_disk(id).filter(|disk| disk.is_up())?;
        Some(disk)
    }

    fn places(&self) -> Vec<Place> {
        self.inner.peers.lock().places()
    }

    fn admit(&self, context: &Context) -> Result<(), Stale> {
        let inner = &self.inner;
        let map = inner.map();
        context.check(inner.cluster, &map.generation)?;
        if let Some((disk, life)) = context.from {
            // Its replicas may not have heard yet of what was decided without them.
            if inner.is_removed(disk) {
                return Err(Stale::Removed(disk));
            }
            inner.peers.lock().admit(disk, life)?;
        }
        let Some((disk, life)) = context.to else { return Ok(()) };
        let admitted = inner.peers.lock().admit_to(disk, life);
        admitted.inspect_err(|_| inner.check_all_lives())
    }

    fn hello(&self, hello: Hello) -> Result<Hello, (&'static str, String)> {
        let taken = self.inner.hear(&hello, false);
        if let Err((_, why)) = &taken {
            tracing::warn!(node = %hello.node.id, address = hello.node.address, %why, "a greeting is refused");
        }
        taken.map(|()| self.inner.own_hello())
    }

    fn raft(&self, message: Bytes) -> BoxFuture<'_, Bytes> {
        self.inner.replicas.handle(message).boxed()
    }

    fn is_ready(&self) -> bool {
        self.inner.is_ready()
    }
}

impl World for View {
    fn client(&self) -> &Client {
        &self.client
    }

    fn repair_disk(&self, id: DiskId) -> Option<Arc<dyn RepairService>> {
        Disks::repair_disk(&*self.inner, id).filter(|_| Disks::is_up(&*self.inner, id))
    }

    fn has_room(&self, id: DiskId, len: u32) -> bool {
        let free = match self.inner.open_disk(id) {
            Some(disk) => Some(disk.store.usage().free),
            None => self.inner.peers.lock().free(id),
        };
        // Where nothing is known the disk itself says so. The reserve of others is taken to be ours.
        free.is_none_or(|free| free >= self.inner.options.reserve_bytes.saturating_add(len.into()))
    }

    fn release(&self, disk: DiskId, chunk: ChunkId, epoch: Epoch) -> BoxFuture<'_, Result<bool, DiskError>> {
        async move {
            let gone = || DiskError::Unavailable("the disk went down".to_owned());
            self.inner.open_disk(disk).ok_or_else(gone)?.release(chunk, epoch).await
        }
        .boxed()
    }

    fn set_checked(&self, disk: DiskId, misplaced: u64, settled: Option<u64>) {
        if let Some(disk) = self.inner.open_disk(disk) {
            disk.misplaced.store(misplaced, Ordering::Release);
            disk.settled.store(settled.unwrap_or(u64::MAX), Ordering::Release);
        }
    }

    fn leads(&self, group: GroupId) -> bool {
        self.inner.leads(group)
    }

    fn pace(&self) -> &Pace {
        &self.inner.pace
    }

    fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::Acquire)
    }
}
