//! Disks and groups in memory, with the failures of real ones, for the data path's tests.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cairn_storage::client::{Client, DiskError, DiskService, Disks, MetaService, RepairService, ServiceError};
use cairn_storage::meta::command::NewBody;
use cairn_storage::meta::record::ChunkSpan;
use cairn_storage::meta::{Answer, Command, Envelope, Outcome, Query, Rejection};
use cairn_storage::types::{ChunkId, ClusterMap, DiskEntry, DiskId, DiskState, Epoch, GroupId, ManifestId, NodeId};
use cairn_storage::wire::Overview;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::{DataPath, DataSettings};

pub(super) const GROUP: GroupId = GroupId(1);

/// A cluster of disks in memory. Chunks are placed in the order of the map.
pub(super) struct Fake {
    pub disks: Vec<Arc<FakeDisk>>,
    map: Mutex<Arc<ClusterMap>>,
    down: Mutex<HashSet<DiskId>>,
    pub commands: Mutex<Vec<(GroupId, Command)>>,
    manifests: Mutex<HashMap<ManifestId, Vec<ChunkSpan>>>,
    pub queries: AtomicUsize,
    pub traffic: Arc<Traffic>,
}

/// What is on its way to all the disks together.
#[derive(Default)]
pub(super) struct Traffic {
    under_way: Mutex<HashMap<ChunkId, (usize, usize)>>,
    /// The most bytes of different chunks that were in puts at one time.
    pub peak_bytes: AtomicUsize,
}

/// One disk in memory.
pub(super) struct FakeDisk {
    pub id: DiskId,
    pub chunks: Mutex<HashMap<ChunkId, Vec<u8>>>,
    pub mood: Mutex<Mood>,
    pub puts: AtomicUsize,
    pub gets: Mutex<Vec<(ChunkId, Range<u32>)>>,
    traffic: Arc<Traffic>,
}

/// How a disk answers.
#[derive(Clone, Default)]
pub(super) struct Mood {
    pub put_error: Option<DiskError>,
    pub get_error: Option<DiskError>,
    /// So many gets are answered with `Busy` first.
    pub busy_gets: usize,
    /// So many puts are answered with `Busy` first.
    pub busy_puts: usize,
    pub put_delay: Duration,
    pub get_delay: Duration,
}

/// Longer than any test waits.
pub(super) const FOREVER: Duration = Duration::from_secs(1 << 30);

impl Fake {
    pub(super) fn new(disks: usize) -> Arc<Self> {
        let traffic = Arc::new(Traffic::default());
        let disks: Vec<_> = (0..disks)
            .map(|number| {
                Arc::new(FakeDisk {
                    id: DiskId([number as u8; 16]),
                    chunks: Mutex::default(),
                    mood: Mutex::default(),
                    puts: AtomicUsize::new(0),
                    gets: Mutex::default(),
                    traffic: traffic.clone(),
                })
            })
            .collect();
        let entry =
            |disk: &Arc<FakeDisk>| DiskEntry { id: disk.id, node: NodeId(1), weight: 1, state: DiskState::Active };
        let map = ClusterMap { epoch: Epoch(1), disks: disks.iter().map(entry).collect(), ..ClusterMap::default() };
        Arc::new(Self {
            disks,
            map: Mutex::new(Arc::new(map)),
            down: Mutex::default(),
            commands: Mutex::default(),
            manifests: Mutex::default(),
            queries: AtomicUsize::new(0),
            traffic,
        })
    }

    pub(super) fn client(self: &Arc<Self>) -> Client {
        Client::new(self.clone(), self.clone())
    }

    pub(super) fn path(self: &Arc<Self>, settings: DataSettings) -> DataPath {
        DataPath::with_placement(self.client(), settings, map_order)
    }

    pub(super) fn set_down(&self, disk: usize) {
        self.down.lock().insert(self.disks[disk].id);
    }

    pub(super) fn set_state(&self, disk: usize, state: DiskState) {
        let mut map = self.map.lock();
        let map = Arc::make_mut(&mut map);
        map.disks[disk].state = state;
        map.epoch.0 += 1;
    }

    pub(super) fn mood(&self, disk: usize, change: impl FnOnce(&mut Mood)) {
        change(&mut self.disks[disk].mood.lock());
    }

    /// Puts `chunks` on all disks and makes a manifest of them.
    pub(super) fn manifest(&self, chunks: &[Vec<u8>]) -> (ManifestId, Vec<ChunkSpan>) {
        let mut spans = Vec::new();
        let mut offset = 0;
        for chunk in chunks {
            let id = ChunkId::of(GROUP, chunk);
            for disk in &self.disks {
                disk.chunks.lock().insert(id, chunk.clone());
            }
            spans.push(ChunkSpan { offset, hash: id.hash, len: chunk.len() as u32 });
            offset += chunk.len() as u64;
        }
        let id = ManifestId::random();
        self.manifests.lock().insert(id, spans.clone());
        (id, spans)
    }

    /// The chunks of a body, as its manifest would have them.
    pub(super) fn spans(body: &NewBody) -> Vec<ChunkSpan> {
        let NewBody::Chunks { chunks, .. } = body else { return Vec::new() };
        let mut offset = 0;
        let span = |chunk: &cairn_storage::meta::record::ChunkEntry| {
            offset += u64::from(chunk.len);
            ChunkSpan { offset: offset - u64::from(chunk.len), hash: chunk.hash, len: chunk.len }
        };
        chunks.iter().map(span).collect()
    }
}

/// All disks that take chunks, as they stand in the map.
fn map_order(_: &ChunkId, map: &ClusterMap) -> Vec<DiskId> {
    map.disks.iter().filter(|disk| disk.weight > 0).map(|disk| disk.id).collect()
}

impl Disks for Fake {
    fn map(&self) -> Arc<ClusterMap> {
        self.map.lock().clone()
    }

    fn disk(&self, id: DiskId) -> Option<Arc<dyn DiskService>> {
        let disk = self.disks.iter().find(|disk| disk.id == id)?;
        Some(disk.clone())
    }

    fn repair_disk(&self, _: DiskId) -> Option<Arc<dyn RepairService>> {
        None
    }

    fn is_up(&self, id: DiskId) -> bool {
        !self.down.lock().contains(&id)
    }

    fn overview(&self) -> BoxFuture<'_, Result<Overview, ServiceError>> {
        std::future::ready(Err(ServiceError::Unavailable)).boxed()
    }
}

impl MetaService for Fake {
    fn command(
        &self,
        group: GroupId,
        envelope: Envelope,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ServiceError>> {
        self.commands.lock().push((group, envelope.command));
        async { Ok(Ok(Outcome::Done)) }.boxed()
    }

    fn query(&self, _: GroupId, query: Query) -> BoxFuture<'_, Result<Answer, ServiceError>> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let Query::Chunks { manifest, offset, limit } = query else {
            return async { Err(ServiceError::Unavailable) }.boxed();
        };
        let manifests = self.manifests.lock();
        let spans = manifests.get(&manifest).map(Vec::as_slice).unwrap_or_default();
        // Shorter pages than asked for: every boundary is met in tests with few chunks.
        let limit = limit.min(3) as usize;
        let spans = spans.iter().filter(|span| span.offset + u64::from(span.len) > offset).take(limit);
        let spans = spans.cloned().collect();
        async { Ok(Answer::Chunks(spans)) }.boxed()
    }
}

impl DiskService for FakeDisk {
    fn put(&self, id: ChunkId, data: Vec<Bytes>) -> BoxFuture<'_, Result<(), DiskError>> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        let mood = {
            let mut mood = self.mood.lock();
            let mut now = mood.clone();
            if mood.busy_puts > 0 {
                mood.busy_puts -= 1;
                now.put_error = Some(DiskError::Busy);
            }
            now
        };
        async move {
            let _passing = self.traffic.enter(id, data.iter().map(Bytes::len).sum());
            tokio::time::sleep(mood.put_delay).await;
            if let Some(error) = mood.put_error {
                return Err(error);
            }
            let bytes = data.concat();
            assert_eq!(ChunkId::of(id.group, &bytes), id, "the bytes are not the chunk's");
            self.chunks.lock().insert(id, bytes);
            Ok(())
        }
        .boxed()
    }

    fn get(&self, id: ChunkId, range: Range<u32>) -> BoxFuture<'_, Result<Vec<Bytes>, DiskError>> {
        self.gets.lock().push((id, range.clone()));
        let mood = {
            let mut mood = self.mood.lock();
            let mut now = mood.clone();
            if mood.busy_gets > 0 {
                mood.busy_gets -= 1;
                now.get_error = Some(DiskError::Busy);
            }
            now
        };
        async move {
            tokio::time::sleep(mood.get_delay).await;
            if let Some(error) = mood.get_error {
                return Err(error);
            }
            let chunks = self.chunks.lock();
            let bytes = chunks.get(&id).ok_or(DiskError::NotFound)?;
            let bytes = bytes.get(range.start as usize..range.end as usize);
            let bytes = bytes.ok_or_else(|| DiskError::Refused("a bad range".into()))?;
            let (head, tail) = bytes.split_at(bytes.len() / 2);
            Ok(vec![Bytes::copy_from_slice(head), Bytes::copy_from_slice(tail)])
        }
        .boxed()
    }

    fn touch(&self, ids: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<bool>, DiskError>> {
        let chunks = self.chunks.lock();
        let there = ids.iter().map(|id| chunks.contains_key(id)).collect();
        async { Ok(there) }.boxed()
    }
}

impl Traffic {
    fn enter(self: &Arc<Self>, id: ChunkId, len: usize) -> impl Drop + use<> {
        let mut under_way = self.under_way.lock();
        under_way.entry(id).or_insert((0, len)).0 += 1;
        let total: usize = under_way.values().map(|(_, len)| len).sum();
        self.peak_bytes.fetch_max(total, Ordering::Relaxed);
        Passing { traffic: self.clone(), id }
    }
}

struct Passing {
    traffic: Arc<Traffic>,
    id: ChunkId,
}

impl Drop for Passing {
    fn drop(&mut self) {
        let mut under_way = self.traffic.under_way.lock();
        if let Some(entry) = under_way.get_mut(&self.id) {
            entry.0 -= 1;
            if entry.0 == 0 {
                under_way.remove(&self.id);
            }
        }
    }
}
