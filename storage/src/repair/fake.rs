//! A cluster in memory for the tests of the loops: groups that know what is referenced and queued, disks that hold
//! chunks, and each of them may be silent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;

use super::{Pace, World};
use crate::client::{Client, DiskError, DiskService, Disks, MetaService, RepairService, ServiceError};
use crate::meta::record::RepairEntry;
use crate::meta::{Answer, Command, Envelope, Outcome, Query, Rejection};
use crate::types::{ChunkId, ClusterMap, DiskEntry, DiskId, DiskState, Epoch, GroupEntry, GroupId, NodeEntry, NodeId};
use crate::wire::{Listed, Overview, ScrubStatus, Stat};

pub const GRACE_MS: u64 = 2;

#[derive(Default)]
pub struct Disk {
    pub chunks: Mutex<BTreeMap<ChunkId, Bytes>>,
    pub is_silent: Mutex<bool>,
    pub is_full: Mutex<bool>,
    pub reads: AtomicUsize,
}

#[derive(Default)]
pub struct Cluster {
    map: Arc<ClusterMap>,
    pub disks: HashMap<DiskId, Arc<Disk>>,
    pub silent_groups: Mutex<HashSet<GroupId>>,
    pub referenced: Mutex<HashSet<[u8; 32]>>,
    pub queue: Mutex<Vec<RepairEntry>>,
}

pub struct Fake {
    client: Client,
    pub cluster: Arc<Cluster>,
    pace: Pace,
}

pub fn disk_id(number: u8) -> DiskId {
    DiskId([number; 16])
}

impl Fake {
    /// `disks` disks, each of a node of its own, and two groups.
    pub fn new(disks: u8) -> Arc<Self> {
        let numbers = 1..=disks;
        let node = |number: u8| NodeEntry {
            id: NodeId(number.into()),
            address: format!("node{number}:1"),
            rack: String::new(),
        };
        let disk = |number: u8| DiskEntry {
            id: disk_id(number),
            node: NodeId(number.into()),
            weight: 1,
            state: DiskState::Active,
        };
        let map = ClusterMap {
            epoch: Epoch(1),
            nodes: numbers.clone().map(node).collect(),
            disks: numbers.clone().map(disk).collect(),
            groups: (0..=2).map(|group| GroupEntry::new(GroupId(group), Vec::new())).collect(),
            ..ClusterMap::default()
        };
        let disks = numbers.map(|number| (disk_id(number), Arc::default())).collect();
        let cluster = Arc::new(Cluster { map: Arc::new(map), disks, ..Cluster::default() });
        let client = Client::new(cluster.clone(), cluster.clone());
        Arc::new(Self { client, cluster, pace: Pace::new(1 << 30, 1 << 30) })
    }

    pub fn disk(&self, id: DiskId) -> &Disk {
        &self.cluster.disks[&id]
    }
}

impl MetaService for Cluster {
    fn command(
        &self,
        _: GroupId,
        envelope: Envelope,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ServiceError>> {
        if let Command::FinishRepair { done } = envelope.command {
            self.queue.lock().retain(|entry| !done.contains(&(entry.hash, entry.queued_ms)));
        }
        ready(Ok(Ok(Outcome::Done))).boxed()
    }

    fn query(&self, group: GroupId, query: Query) -> BoxFuture<'_, Result<Answer, ServiceError>> {
        if self.silent_groups.lock().contains(&group) {
            return ready(Err(ServiceError::Unavailable)).boxed();
        }
        let referenced = |hashes: Vec<[u8; 32]>| -> Vec<bool> {
            let known = self.referenced.lock();
            hashes.iter().map(|hash| known.contains(hash)).collect()
        };
        let answer = match query {
            Query::Collectable { hashes } => Answer::Collectable { referenced: referenced(hashes), grace_ms: GRACE_MS },
            Query::Referenced { hashes } => Answer::Referenced(referenced(hashes)),
            Query::Repairs { .. } => Answer::Repairs(self.queue.lock().clone()),
            other => panic!("{other:?}"),
        };
        ready(Ok(answer)).boxed()
    }
}

impl Disks for Cluster {
    fn map(&self) -> Arc<ClusterMap> {
        self.map.clone()
    }

    fn disk(&self, id: DiskId) -> Option<Arc<dyn DiskService>> {
        Some(self.disks.get(&id)?.clone())
    }

    fn repair_disk(&self, id: DiskId) -> Option<Arc<dyn RepairService>> {
        Some(self.disks.get(&id)?.clone())
    }

    fn is_up(&self, _: DiskId) -> bool {
        true
    }

    fn overview(&self) -> BoxFuture<'_, Result<Overview, ServiceError>> {
        ready(Err(ServiceError::Unavailable)).boxed()
    }
}

impl Disk {
    fn answer<T: Send + 'static>(&self, what: impl FnOnce(&Self) -> T) -> BoxFuture<'static, Result<T, DiskError>> {
        let silent = || DiskError::Unavailable("it is silent".to_owned());
        ready(if *self.is_silent.lock() { Err(silent()) } else { Ok(what(self)) }).boxed()
    }

    pub fn has(&self, chunk: &ChunkId) -> bool {
        self.chunks.lock().contains_key(chunk)
    }
}

impl DiskService for Disk {
    fn put(&self, id: ChunkId, data: Vec<Bytes>) -> BoxFuture<'_, Result<(), DiskError>> {
        if *self.is_full.lock() {
            return ready(Err(DiskError::Full)).boxed();
        }
        self.answer(|disk| drop(disk.chunks.lock().insert(id, data.concat().into())))
    }

    fn get(&self, id: ChunkId, range: Range<u32>) -> BoxFuture<'_, Result<Vec<Bytes>, DiskError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let found = self.chunks.lock().get(&id).map(|data| data.slice(range.start as usize..range.end as usize));
        ready(found.map(|piece| vec![piece]).ok_or(DiskError::NotFound)).boxed()
    }

    fn touch(&self, ids: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<bool>, DiskError>> {
        self.answer(|disk| ids.iter().map(|id| disk.has(id)).collect())
    }
}

impl RepairService for Disk {
    fn list(&self, _: Option<ChunkId>, _: u32) -> BoxFuture<'_, Result<Vec<Listed>, DiskError>> {
        self.answer(|_| Vec::new())
    }

    fn stat(&self, ids: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<Option<Stat>>, DiskError>> {
        let stat = |data: &Bytes| Stat { len: data.len() as u32, stored_ms: u64::MAX };
        self.answer(|disk| ids.iter().map(|id| disk.chunks.lock().get(id).map(stat)).collect())
    }

    fn scrub(&self, _: bool) -> BoxFuture<'_, Result<ScrubStatus, DiskError>> {
        self.answer(|_| ScrubStatus::default())
    }

    fn verify(&self, _: ChunkId) -> BoxFuture<'_, Result<(), DiskError>> {
        self.answer(|_| ())
    }

    fn hold(&self, id: ChunkId, _: Epoch) -> BoxFuture<'_, Result<(), DiskError>> {
        let held = self.has(&id);
        ready(if held { Ok(()) } else { Err(DiskError::NotFound) }).boxed()
    }
}

impl World for Fake {
    fn client(&self) -> &Client {
        &self.client
    }

    fn repair_disk(&self, id: DiskId) -> Option<Arc<dyn RepairService>> {
        self.client.repair_disk(id)
    }

    fn has_room(&self, id: DiskId, _: u32) -> bool {
        !*self.disk(id).is_full.lock()
    }

    fn release(&self, _: DiskId, _: ChunkId, _: Epoch) -> BoxFuture<'_, Result<bool, DiskError>> {
        ready(Ok(false)).boxed()
    }

    fn set_checked(&self, _: DiskId, _: u64, _: Option<u64>) {}

    fn leads(&self, _: GroupId) -> bool {
        true
    }

    fn pace(&self) -> &Pace {
        &self.pace
    }

    fn generation(&self) -> u64 {
        0
    }
}
