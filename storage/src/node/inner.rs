//! What the parts of a node share: its open disks, its replicas, and the newest map.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};

use super::disk::{AbsentDisk, LocalDisk, Memory};
use super::options::NodeOptions;
use crate::client::{Client, DiskService, Disks, MetaService, RepairService};
use crate::cluster::Identity;
use crate::raft::Replicas;
use crate::repair::World;
use crate::server::Backend;
use crate::types::{ClusterId, ClusterMap, DiskId, GroupId, NodeId};

pub struct Inner {
    pub cluster: ClusterId,
    pub node: NodeId,
    /// The disks that the node has, open or not.
    pub siblings: Vec<DiskId>,
    pub options: NodeOptions,
    pub memory: Memory,
    pub replicas: Replicas,
    map: RwLock<Arc<ClusterMap>>,
    /// The disks that are open.
    local: RwLock<HashMap<DiskId, Arc<LocalDisk>>>,
    /// Why a directory that was given is not open.
    absent: Mutex<HashMap<PathBuf, String>>,
    generation: AtomicU64,
}

impl Inner {
    pub fn new(identity: &Identity, options: NodeOptions, memory: Memory, replicas: Replicas, map: ClusterMap) -> Self {
        Self {
            cluster: identity.cluster,
            node: identity.node,
            siblings: identity.siblings.clone(),
            options,
            memory,
            replicas,
            map: RwLock::new(Arc::new(map)),
            local: RwLock::default(),
            absent: Mutex::default(),
            generation: AtomicU64::new(0),
        }
    }

    /// Takes a map, unless a newer one is known.
    pub fn set_map(&self, map: ClusterMap) {
        let mut current = self.map.write();
        if map.epoch > current.epoch {
            tracing::info!(epoch = %map.epoch, disks = map.disks.len(), "a new cluster map");
            for group in &map.groups {
                self.replicas.set_members(group.id, group.replicas.clone());
            }
            *current = Arc::new(map);
        }
    }

    pub fn add_disk(&self, disk: Arc<LocalDisk>) {
        metrics::gauge!("cairn_disk_up", "disk" => disk.id().to_string()).set(1.0);
        self.absent.lock().remove(disk.path());
        self.local.write().insert(disk.id(), disk);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub fn remove_disk(&self, disk: &LocalDisk, why: String) {
        metrics::gauge!("cairn_disk_up", "disk" => disk.id().to_string()).set(0.0);
        self.absent.lock().insert(disk.path().to_owned(), why);
        self.local.write().remove(&disk.id());
        self.generation.fetch_add(1, Ordering::AcqRel);
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
        self.map().groups.iter().map(|group| (group.id, self.replicas.ready(group.id))).collect()
    }

    fn open_disk(&self, id: DiskId) -> Option<Arc<LocalDisk>> {
        self.local.read().get(&id).cloned()
    }
}

impl Disks for Inner {
    fn map(&self) -> Arc<ClusterMap> {
        self.map.read().clone()
    }

    fn disk(&self, id: DiskId) -> Option<Arc<dyn DiskService>> {
        match self.open_disk(id) {
            Some(disk) => Some(disk),
            None => self.map.read().disk(id).map(|_| Arc::new(AbsentDisk) as Arc<dyn DiskService>),
        }
    }

    fn is_up(&self, id: DiskId) -> bool {
        self.local.read().get(&id).is_some_and(|disk| disk.is_up())
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
        self.repair_disk(id)
    }

    fn raft(&self, message: Bytes) -> BoxFuture<'_, Bytes> {
        self.inner.replicas.handle(message).boxed()
    }

    fn is_ready(&self) -> bool {
        self.inner.ready().iter().all(|(_, ready)| *ready)
    }
}

impl World for View {
    fn client(&self) -> &Client {
        &self.client
    }

    fn repair_disk(&self, id: DiskId) -> Option<Arc<dyn RepairService>> {
        let disk = self.inner.open_disk(id).filter(|disk| disk.is_up())?;
        Some(disk)
    }

    fn leads(&self, group: GroupId) -> bool {
        let leader = self.inner.replicas.leader(group);
        leader.is_some_and(|(_, disk)| self.inner.local.read().contains_key(&disk))
    }

    fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::Acquire)
    }
}
