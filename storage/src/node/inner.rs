//! What the parts of a node share: its open disks, its replicas, and the newest map.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
use crate::cluster::peers::Peers;
use crate::raft::Replicas;
use crate::repair::{Pace, World};
use crate::server::Backend;
use crate::types::{ChunkId, ClusterId, ClusterMap, DiskId, Epoch, GroupId, NodeEntry, NodeId, ReplicaId};
use crate::wire::{DiskNews, EndedNews, Hello, MAX_WHY_LEN, NodeNews, Overview, Place};

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
}

impl Inner {
    pub fn new(identity: &Identity, parts: Parts) -> Self {
        let Parts { entry, session, options, memory, replicas, remote, map, places } = parts;
        let peers = Peers::new(identity.node, session, places);
        remote.set_addresses(peers.addresses());
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
        if map.epoch <= current.epoch {
            return;
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

    pub fn add_disk(&self, disk: Arc<LocalDisk>) {
        metrics::gauge!("cairn_disk_up", "disk" => disk.id().to_string()).set(1.0);
        self.absent.lock().remove(disk.path());
        self.peers.lock().place_own(Place {
            disk: disk.id(),
            node: self.node,
            address: self.entry.address.clone(),
            incarnation: disk.identity().incarnation,
        });
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
                incarnation: disk.identity().incarnation,
                up: disk.is_up(),
                capacity: usage.capacity,
                free: usage.free,
                chunks: usage.chunks,
                misplaced: disk.misplaced.load(Ordering::Acquire),
                settled: disk.settled.load(Ordering::Acquire) == self.generation.load(Ordering::Acquire),
                ended: ended.collect(),
            }
        };
        Hello {
            cluster: self.cluster,
            node: self.entry.clone(),
            session: self.session,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: map.epoch,
            disks: self.local_disks().iter().map(news).collect(),
            places: self.peers.lock().places(),
            settled_per_minute: self.pace.per_minute(),
            leads: self.led_here(&map),
        }
    }

    /// Takes what another node said, in a greeting or in an answer to ours.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn hear(&self, hello: &Hello, answers: bool) -> Result<(), String> {
        if hello.cluster != self.cluster {
            return Err(format!("this node is of cluster {}, and the other of {}", self.cluster, hello.cluster));
        }
        let (addresses, up) = {
            let mut peers = self.peers.lock();
            peers.hear(hello, answers).map_err(|conflict| conflict.to_string())?;
            (peers.addresses(), peers.up())
        };
        self.remote.set_addresses(addresses);
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
        nodes.extend(self.peers.lock().news());
        std::future::ready(Ok(Overview { map: Disks::map(self), nodes, leaders: self.leaders() })).boxed()
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

    fn hello(&self, hello: Hello) -> Result<Hello, String> {
        let taken = self.inner.hear(&hello, false);
        if let Err(why) = &taken {
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
