//! What the tests of this room share: a toy state machine, disks in temporary directories, and a process's replicas.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use rocksdb::{Cache, DB, IteratorMode, Options, WriteBatch, WriteBufferManager};

use super::*;
use crate::client::MetaService;
use crate::meta::query::GroupStatistics;
use crate::meta::{Answer, Batch, Command, Envelope, Outcome, Query};
use crate::types::{ClusterId, DiskId, GroupId, OperationId, ReplicaId, now_ms};

pub(super) const GROUP: GroupId = GroupId(7);

/// An operation that the toy cannot apply, and one on which it panics.
pub(super) const BREAKS: u64 = 0xbbbb_0001;
pub(super) const PANICS: u64 = 0xbbbb_0002;

/// Remembers which operations it has seen. `Query::Referenced` tells of single ones, `Query::Statistics` how many. It
/// cannot answer `Query::Users`, and panics on `Query::Map`.
pub(super) struct Toy {
    db: Arc<DB>,
    group: GroupId,
}

const TOY: &str = "toy";

impl Toy {
    fn key(&self, kind: u8, rest: &[u8]) -> Vec<u8> {
        [&self.group.0.to_be_bytes()[..], &[kind], rest].concat()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let family = self.db.cf_handle(TOY).expect("the toy's column family");
        self.db.get_cf(&family, key).map_err(|error| StoreError::Disk(error.to_string()))
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        self.db.write(batch).map_err(|error| StoreError::Disk(error.to_string()))
    }

    fn operations(&self) -> Vec<Vec<u8>> {
        let family = self.db.cf_handle(TOY).expect("the toy's column family");
        let prefix = self.key(b'o', b"");
        self.db
            .iterator_cf(&family, IteratorMode::From(&prefix, rocksdb::Direction::Forward))
            .map(|item| item.expect("a readable database").0.to_vec())
            .take_while(|key| key.starts_with(&prefix))
            .map(|key| key[prefix.len()..].to_vec())
            .collect()
    }
}

impl StateMachineStore for Toy {
    fn applied(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(&self.key(b'm', b""))
    }

    fn apply(&self, entries: &[(u64, &Batch)], marker: &[u8]) -> Result<Vec<Applied>, StoreError> {
        let family = self.db.cf_handle(TOY).expect("the toy's column family");
        let mut batch = WriteBatch::default();
        batch.put_cf(&family, self.key(b'm', b""), marker);
        let mut results = Vec::new();
        for (index, entry) in entries {
            for envelope in &entry.envelopes {
                match envelope.operation.random {
                    BREAKS => return Err(StoreError::State("a corrupt toy".to_owned())),
                    PANICS => panic!("a toy that panics"),
                    _ => {}
                }
                let key = self.key(b'o', &envelope.operation.random.to_be_bytes());
                batch.put_cf(&family, key, index.to_be_bytes());
            }
            results.push(vec![Ok(Outcome::Done); entry.envelopes.len()]);
        }
        self.write(batch)?;
        Ok(results)
    }

    fn query(&self, query: &Query) -> Result<Answer, StoreError> {
        match query {
            Query::Referenced { hashes } => hashes
                .iter()
                .map(|hash| Ok(self.get(&self.key(b'o', &hash[..8]))?.is_some()))
                .collect::<Result<_, _>>()
                .map(Answer::Referenced),
            Query::Statistics => {
                let objects = self.operations().len() as u64;
                Ok(Answer::Statistics(GroupStatistics { objects, ..Default::default() }))
            }
            Query::Users => Err(StoreError::State("a corrupt toy".to_owned())),
            Query::Map => panic!("a toy that panics"),
            _ => Ok(Answer::Invalid),
        }
    }

    fn query_in_memory(&self, query: &Query) -> Result<Option<Answer>, StoreError> {
        // What breaks does so in either way.
        match query {
            Query::Users | Query::Map if self.group != GROUP => self.query(query).map(Some),
            _ => Ok(None),
        }
    }

    fn snapshot(&self) -> Result<Box<dyn SnapshotFrames>, StoreError> {
        let frames = self.operations().chunks(16).map(|chunk| chunk.concat()).collect::<Vec<_>>();
        Ok(Box::new(ToyFrames { marker: self.applied()?, frames: frames.into_iter() }))
    }

    fn install(&self, frames: &mut dyn SnapshotFrames, marker: &[u8]) -> Result<(), StoreError> {
        self.wipe()?;
        let family = self.db.cf_handle(TOY).expect("the toy's column family");
        let mut batch = WriteBatch::default();
        while let Some(frame) = frames.next_frame()? {
            for operation in frame.chunks(8) {
                batch.put_cf(&family, self.key(b'o', operation), b"");
            }
        }
        batch.put_cf(&family, self.key(b'm', b""), marker);
        self.write(batch)
    }

    fn wipe(&self) -> Result<(), StoreError> {
        let family = self.db.cf_handle(TOY).expect("the toy's column family");
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(&family, self.key(0, b""), self.key(255, b""));
        self.write(batch)
    }
}

struct ToyFrames {
    marker: Option<Vec<u8>>,
    frames: std::vec::IntoIter<Vec<u8>>,
}

impl SnapshotFrames for ToyFrames {
    fn next_frame(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.frames.next())
    }

    fn marker(&self) -> Option<&[u8]> {
        self.marker.as_deref()
    }
}

pub(super) fn toys() -> Arc<dyn Stores> {
    Arc::new(|db: Arc<DB>, group: GroupId| Ok(Arc::new(Toy { db, group }) as Arc<dyn StateMachineStore>))
}

pub(super) fn try_open(disk: DiskId, path: &Path) -> Result<Arc<DiskDb>, OpenError> {
    let cache = Cache::new_lru_cache(4 << 20);
    let write_buffers = WriteBufferManager::new_write_buffer_manager(64 << 20, false);
    let column_families = vec![(TOY, Options::default())];
    DiskDb::open(
        disk,
        path,
        DiskDbOptions { cache: &cache, write_buffers: &write_buffers, column_families, reserve: 1 << 30 },
    )
}

/// Opens a disk's database, which somebody else may just be about to close.
pub(super) async fn open(disk: DiskId, path: &Path) -> Arc<DiskDb> {
    let mut tries = 0;
    loop {
        match try_open(disk, path) {
            Ok(db) => return db,
            Err(OpenError::Database { .. }) if tries < 1000 => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
        tries += 1;
    }
}

/// Shorter times than in production, for elections that a test waits for.
pub(super) fn settings() -> Settings {
    Settings {
        heartbeat_ms: 100,
        election_min_ms: 300,
        election_max_ms: 500,
        upkeep_every: Duration::from_millis(50),
        retry_for: Duration::from_secs(30),
        ..Settings::default()
    }
}

/// A process with three disks, and a replica of `GROUP` on each: replica n on disk n.
pub(super) struct Process {
    pub(super) cluster: ClusterId,
    pub(super) dir: tempfile::TempDir,
    pub(super) replicas: Replicas,
    pub(super) dbs: BTreeMap<u64, Arc<DiskDb>>,
}

pub(super) fn disk(number: u64) -> DiskId {
    DiskId([number as u8; 16])
}

pub(super) fn members(numbers: &[u64]) -> BTreeMap<ReplicaId, DiskId> {
    numbers.iter().map(|number| (ReplicaId(*number), disk(*number))).collect()
}

impl Process {
    /// A process without replicas.
    pub(super) fn empty(settings: Settings) -> Self {
        let cluster = ClusterId::random();
        Self::of(cluster, tempfile::tempdir().expect("a temporary directory"), None, settings)
    }

    pub(super) fn of(
        cluster: ClusterId,
        dir: tempfile::TempDir,
        transport: Option<Arc<dyn RemoteTransport>>,
        settings: Settings,
    ) -> Self {
        let replicas = Replicas::new(cluster, transport, settings, toys()).expect("good settings");
        Self { cluster, dir, replicas, dbs: BTreeMap::new() }
    }

    /// A group of these voters, formed, with a leader.
    pub(super) async fn formed(numbers: &[u64], settings: Settings) -> Self {
        let mut process = Self::empty(settings);
        for number in numbers {
            process.start(*number, Origin::New).await;
        }
        process.replicas.initialize(GROUP, members(numbers)).await.expect("a new group");
        process.until("a leader", |process| process.replicas.ready(GROUP)).await;
        process
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.path().join(number.to_string())
    }

    pub(super) async fn start(&mut self, number: u64, origin: Origin) {
        let db = open(disk(number), &self.path(number)).await;
        self.dbs.insert(number, db.clone());
        self.replicas.start_replica(db, GROUP, ReplicaId(number), origin).await.expect("a replica that starts");
    }

    /// Takes a disk away, as by pulling it out.
    pub(super) async fn remove(&mut self, number: u64) {
        self.dbs.remove(&number);
        self.replicas.remove_disk(disk(number)).await;
    }

    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..6000 {
            if condition(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{what} did not come; {:#?}", self.replicas.local_replicas());
    }

    /// Waits until the replica has applied all that any of them has committed.
    pub(super) async fn until_caught_up(&self, number: u64) {
        let index = self.replicas.local_replicas().iter().filter_map(|status| status.committed_index).max();
        self.until("what was committed", |process| process.status(number).applied_index >= index).await;
    }

    pub(super) fn status(&self, number: u64) -> ReplicaStatus {
        let all = self.replicas.local_replicas();
        all.into_iter().find(|status| status.replica == ReplicaId(number)).expect("a replica that runs")
    }

    pub(super) fn leader(&self) -> Option<u64> {
        self.replicas.leader(GROUP).map(|(replica, _)| replica.0)
    }

    pub(super) async fn put(&self, number: u64) {
        put(&self.replicas, number).await;
    }

    pub(super) async fn holds(&self, number: u64) -> bool {
        holds(&self.replicas, number).await
    }

    /// What the replica's own store holds, whoever leads.
    pub(super) fn count_on(&self, number: u64) -> u64 {
        let toy = Toy { db: self.dbs[&number].database().clone(), group: GROUP };
        toy.operations().len() as u64
    }
}

pub(super) fn envelope(number: u64, padding: usize) -> Envelope {
    let command = match padding {
        0 => Command::Nothing,
        _ => Command::QueueRepair { hashes: vec![[9; 32]; padding / 32], known: Vec::new() },
    };
    Envelope { operation: OperationId { issued_ms: now_ms(), random: number }, command, judged: Vec::new() }
}

pub(super) async fn put(service: &dyn MetaService, number: u64) {
    let result = service.command(GROUP, envelope(number, 0)).await;
    assert_eq!(result.expect("an answer"), Ok(Outcome::Done));
}

pub(super) async fn holds(service: &dyn MetaService, number: u64) -> bool {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    match service.query(GROUP, Query::Referenced { hashes: vec![hash] }).await {
        Ok(Answer::Referenced(found)) => found == [true],
        other => panic!("{other:?}"),
    }
}

/// Processes that reach each other by messages, as over a network.
#[derive(Default)]
pub(super) struct Wires {
    ends: parking_lot::Mutex<BTreeMap<DiskId, Replicas>>,
    /// How long each piece of a snapshot takes.
    pub(super) snapshot_pause: parking_lot::Mutex<Duration>,
}

impl Wires {
    pub(super) fn connect(&self, disk: DiskId, replicas: &Replicas) {
        self.ends.lock().insert(disk, replicas.clone());
    }

    pub(super) fn cut(&self, disk: DiskId) -> Option<Replicas> {
        self.ends.lock().remove(&disk)
    }
}

impl RemoteTransport for Wires {
    fn send(
        &self,
        _from: Option<DiskId>,
        disk: DiskId,
        message: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Bytes, TransportError>> {
        async move {
            let end = self.ends.lock().get(&disk).cloned();
            let end = end.ok_or_else(|| TransportError("cut".to_owned()))?;
            let body = message::Message::decode(&message).expect("a message of ours").body;
            if matches!(body, message::Body::SnapshotFrame { .. }) {
                let pause = *self.snapshot_pause.lock();
                tokio::time::sleep(pause).await;
            }
            tokio::time::timeout(timeout, end.handle(message)).await.map_err(|_| TransportError("late".to_owned()))
        }
        .boxed()
    }
}
