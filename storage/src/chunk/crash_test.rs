//! The store against a plain map, on a disk that loses any subset of what was not fsynced: everything acknowledged
//! reads back, nothing reads back wrong, and the store opens, whenever the power fails.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::join_all;
use proptest::prelude::*;

use super::index::{Entry, Location};
use super::keeper;
use super::sim::{self, Faults, SimDisk};
use super::{ChunkStore, Options, rebuild_index};
use crate::client::DiskError;
use crate::types::{ChunkId, GroupId};

const KEYS: u8 = 10;
const GRACE_MS: u64 = 100;

/// What is done to the store.
#[derive(Debug, Clone)]
enum Step {
    /// Puts at the same time.
    Put(Vec<u8>),
    /// A bad sector, and a put over the copy that it is in. (An empty chunk has no bytes that could be in one.)
    SpoilAndPut(u8),
    Get(u8, u16, u16),
    Touch(u8),
    Condemn(u8),
    Drop(u8),
    Wait,
    Reap,
    Checkpoint,
    /// Puts at the same time, and a power failure among them.
    PutAndCrash(Vec<u8>, u64, IndexLoss),
    Crash(IndexLoss),
    /// Puts whose fsync fails, and the process is killed: what was written is there, and not durable.
    PutUnsyncedAndKill(Vec<u8>),
    /// The process is killed: nothing is lost, nothing was closed.
    Kill,
    Reopen,
    Rebuild,
}

/// What a crash leaves of the index.
#[derive(Debug, Clone, Copy)]
enum IndexLoss {
    /// What was written, although not all of it was synced.
    None,
    /// A part, in 256ths, of what was written and not synced.
    Unsynced(u8),
    /// All of it.
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum There {
    Yes,
    No,
    Perhaps,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Condemned {
    No,
    Since(u64),
    /// A crash may have lost it, or it may never have been written.
    PerhapsSince(u64),
}

#[derive(Debug, Clone, Copy)]
struct Known {
    there: There,
    condemned: Condemned,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = || prop::collection::vec(0..KEYS, 1..6);
    let loss = prop_oneof![
        Just(IndexLoss::None),
        any::<u8>().prop_map(IndexLoss::Unsynced),
        any::<u8>().prop_map(IndexLoss::Unsynced),
        Just(IndexLoss::Whole)
    ];
    let step = prop_oneof![
        6 => keys().prop_map(Step::Put),
        1 => (1..KEYS).prop_map(Step::SpoilAndPut),
        4 => (0..KEYS, any::<u16>(), any::<u16>()).prop_map(|(key, from, to)| Step::Get(key, from, to)),
        3 => (0..KEYS).prop_map(Step::Touch),
        5 => (0..KEYS).prop_map(Step::Condemn),
        6 => (0..KEYS).prop_map(Step::Drop),
        3 => Just(Step::Wait),
        2 => Just(Step::Reap),
        1 => Just(Step::Checkpoint),
        2 => (keys(), 0..14u64, loss.clone()).prop_map(|(keys, after, loss)| Step::PutAndCrash(keys, after, loss)),
        1 => loss.prop_map(Step::Crash),
        1 => keys().prop_map(Step::PutUnsyncedAndKill),
        1 => Just(Step::Kill),
        1 => Just(Step::Reopen),
        1 => Just(Step::Rebuild),
    ];
    prop::collection::vec(step, 5..60)
}

fn content(key: u8) -> Vec<Bytes> {
    let len = [0, 1, 4000, 4096, 20_000, 65_536, 65_537, 100_000, 140_000, 260_000][usize::from(key)];
    let bytes: Vec<u8> = (0..len).map(|i: u32| (i.wrapping_mul(u32::from(key) + 3) >> 3) as u8 ^ key).collect();
    bytes.chunks(50_000).map(Bytes::copy_from_slice).collect()
}

fn whole(key: u8) -> Vec<u8> {
    content(key).concat()
}

fn id(key: u8) -> ChunkId {
    ChunkId::of(GroupId(1), &whole(key))
}

struct World {
    dir: tempfile::TempDir,
    disk: SimDisk,
    store: Option<Arc<ChunkStore>>,
    clock: Arc<AtomicU64>,
    known: HashMap<u8, Known>,
}

impl World {
    fn new(seed: u64) -> Self {
        let dir = sim::tempdir();
        let (disk, clock) = (SimDisk::new(seed), Arc::new(AtomicU64::new(1000)));
        let store = ChunkStore::open(dir.path(), options(&disk, &clock)).unwrap();
        let known = (0..KEYS).map(|key| (key, Known { there: There::No, condemned: Condemned::No })).collect();
        Self { dir, disk, store: Some(store), clock, known }
    }

    fn store(&self) -> Arc<ChunkStore> {
        self.store.clone().unwrap()
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn known(&mut self, key: u8) -> &mut Known {
        self.known.get_mut(&key).unwrap()
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Put(keys) => {
                for (key, result) in self.put(&keys).await {
                    result.unwrap_or_else(|error| panic!("{key}: {error}"));
                }
            }
            Step::SpoilAndPut(key) => {
                let entry = self.store().shared.index.get(&id(key)).unwrap();
                if let Some(Entry { location, .. }) = entry {
                    self.disk.spoil(location.segment, location.offset);
                }
                self.put(&[key]).await.pop().unwrap().1.unwrap();
                self.get(key, 0, u16::MAX).await;
            }
            Step::Get(key, from, to) => self.get(key, from, to).await,
            Step::Touch(key) => self.touch(key).await,
            Step::Condemn(key) => self.condemn(key).await,
            Step::Drop(key) => self.drop_condemned(key).await,
            Step::Wait => drop(self.clock.fetch_add(GRACE_MS * 2 / 3, Ordering::Relaxed)),
            Step::Reap => keeper::reap(&self.store().shared).unwrap(),
            Step::Checkpoint => keeper::note_checkpoint(&self.store().shared, &mut Location::default()).unwrap(),
            Step::PutAndCrash(keys, after, loss) => {
                self.disk.crash_after(after);
                let _ = self.put(&keys).await;
                self.restart(true, loss).await;
            }
            Step::Crash(loss) => self.restart(true, loss).await,
            Step::PutUnsyncedAndKill(keys) => {
                self.disk.set_faults(Faults { sync: true, ..Faults::default() });
                let _ = self.put(&keys).await;
                self.disk.set_faults(Faults::default());
                self.restart(false, IndexLoss::None).await;
            }
            Step::Kill => self.restart(false, IndexLoss::None).await,
            Step::Reopen => {
                self.store().close().await.unwrap();
                self.open();
            }
            Step::Rebuild => {
                self.store().close().await.unwrap();
                self.store = None;
                let report = rebuild_index(self.dir.path(), options(&self.disk, &self.clock)).unwrap();
                assert_eq!(report.unreadable_segments, Vec::<u64>::new());
                self.forget();
                self.open();
            }
        }
    }

    async fn put(&mut self, keys: &[u8]) -> Vec<(u8, Result<(), DiskError>)> {
        let store = self.store();
        let puts = keys.iter().map(|key| store.put(id(*key), content(*key)));
        let results: Vec<_> = keys.iter().copied().zip(join_all(puts).await).collect();
        for (key, result) in &results {
            let known = self.known(*key);
            match (result, known.there) {
                (Ok(()), _) => *known = Known { there: There::Yes, condemned: Condemned::No },
                (Err(_), There::No) => known.there = There::Perhaps,
                (Err(_), _) => {}
            }
            if let (Err(_), Condemned::Since(at)) = (result, known.condemned) {
                known.condemned = Condemned::PerhapsSince(at);
            }
        }
        results
    }

    async fn get(&mut self, key: u8, from: u16, to: u16) {
        let len = whole(key).len() as u32;
        let place = |part: u16| (u64::from(len) * u64::from(part) / u64::from(u16::MAX)) as u32;
        let (from, to) = (place(from.min(to)), place(from.max(to)));
        let result = self.store().get(id(key), from..to).await;
        self.check_read(key, result, from as usize..to as usize);
    }

    fn check_read(&mut self, key: u8, result: Result<Vec<Bytes>, DiskError>, range: std::ops::Range<usize>) {
        let known = self.known(key);
        match result {
            Ok(pieces) => {
                assert!(pieces.concat() == whole(key)[range], "key {key} reads back wrong");
                assert_ne!(known.there, There::No, "key {key} was dropped");
            }
            Err(DiskError::NotFound) => assert_ne!(known.there, There::Yes, "key {key} was acknowledged"),
            Err(error) => panic!("key {key}: {error}"),
        }
    }

    async fn touch(&mut self, key: u8) {
        let there = self.store().touch(vec![id(key)]).await.unwrap()[0];
        let known = self.known(key);
        assert_ne!(known.there, if there { There::No } else { There::Yes }, "key {key}");
        known.there = if there { There::Yes } else { There::No };
        known.condemned = Condemned::No;
    }

    async fn condemn(&mut self, key: u8) {
        let now = self.now();
        let there = self.store().condemn(vec![id(key)]).await.unwrap()[0];
        let known = self.known(key);
        assert_ne!(known.there, if there { There::No } else { There::Yes }, "key {key}");
        known.there = if there { There::Yes } else { There::No };
        if there && known.condemned == Condemned::No {
            known.condemned = Condemned::Since(now);
        }
    }

    async fn drop_condemned(&mut self, key: u8) {
        let now = self.now();
        let dropped = self.store().drop_condemned(id(key), GRACE_MS).await.unwrap();
        let known = self.known(key);
        match known.condemned {
            Condemned::No => assert!(!dropped, "key {key} was not condemned"),
            Condemned::Since(at) if known.there == There::Yes => assert_eq!(dropped, now - at >= GRACE_MS, "key {key}"),
            Condemned::Since(at) | Condemned::PerhapsSince(at) => assert!(!dropped || now - at >= GRACE_MS),
        }
        if dropped {
            *known = Known { there: There::No, condemned: Condemned::No };
        }
    }

    /// The process ends, with or without the machine, and starts again.
    async fn restart(&mut self, power: bool, loss: IndexLoss) {
        self.store().stop().await;
        let synced = self.store().shared.index.synced();
        if power {
            self.disk = self.disk.crash();
        }
        self.store = None;
        match loss {
            IndexLoss::None => {}
            IndexLoss::Unsynced(part) => {
                for (path, len) in sim::log_lengths(&self.dir.path().join("chunks/index")) {
                    let synced = synced.get(&path).copied().unwrap_or(0);
                    let kept = synced + (len - synced) * u64::from(part) / 256;
                    OpenOptions::new().write(true).open(&path).unwrap().set_len(kept).unwrap();
                }
            }
            IndexLoss::Whole => std::fs::remove_dir_all(self.dir.path().join("chunks/index")).unwrap(),
        }
        if power {
            self.forget();
        }
        self.open();
        self.check_all().await;
        // What was found must not have been in memory only.
        self.disk.evict();
        self.check_all().await;
    }

    /// All that was acknowledged is there now, not only when it is asked for some day, and is counted.
    async fn check_all(&mut self) {
        for key in 0..KEYS {
            let result = self.store().get(id(key), 0..whole(key).len() as u32).await;
            self.check_read(key, result, 0..whole(key).len());
        }
        let (usage, list) = (self.store().usage(), self.store().list(None, 1000).unwrap());
        let bytes: u64 = list.iter().map(|(_, info)| u64::from(info.len)).sum();
        assert_eq!((usage.chunks, usage.bytes), (list.len() as u64, bytes));
    }

    /// When all chunks are dropped, all the room comes back, whatever crashes there were.
    async fn end(mut self) {
        self.check_all().await;
        for (id, _) in self.store().list(None, 1000).unwrap() {
            self.store().condemn(vec![id]).await.unwrap();
            self.clock.fetch_add(GRACE_MS, Ordering::Relaxed);
            assert!(self.store().drop_condemned(id, GRACE_MS).await.unwrap());
        }
        self.store().close().await.unwrap();
        self.open();
        keeper::reap(&self.store().shared).unwrap();
        assert_eq!(self.disk.occupied(), 0);
        self.store().close().await.unwrap();
    }

    /// What nobody can know any more.
    fn forget(&mut self) {
        for known in self.known.values_mut() {
            if known.there == There::No {
                known.there = There::Perhaps;
            }
            if let Condemned::Since(at) = known.condemned {
                known.condemned = Condemned::PerhapsSince(at);
            }
        }
    }

    fn open(&mut self) {
        self.store = None;
        self.store = Some(ChunkStore::open(self.dir.path(), options(&self.disk, &self.clock)).unwrap());
    }
}

fn options(disk: &SimDisk, clock: &Arc<AtomicU64>) -> Options {
    let clock = clock.clone();
    Options {
        segment_len: 600_000,
        reserve_bytes: 0,
        clock: Arc::new(move || clock.load(Ordering::Relaxed)),
        segments: Some(Arc::new(disk.clone())),
        ..Options::default()
    }
}

fn run(seed: u64, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed);
        for step in steps {
            world.run(step).await;
        }
        world.end().await;
    });
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_was_acknowledged_survives_any_crash_and_nothing_reads_back_wrong(seed: u64, steps in steps()) {
        run(seed, steps);
    }
}

#[test]
fn a_touch_that_was_answered_is_not_forgotten_by_a_crash() {
    let lost = Step::Crash(IndexLoss::Unsynced(0));
    let (touch, put) = (Step::Touch(5), Step::Put(vec![5]));
    for clear in [touch, put.clone()] {
        let condemned = [put.clone(), Step::Condemn(5), Step::Checkpoint];
        let after = [clear, lost.clone(), Step::Wait, Step::Wait, Step::Drop(5)];
        run(1, condemned.into_iter().chain(after).collect());
    }
}

#[test]
fn a_record_is_not_punched_out_before_its_drop_is_durable() {
    let dropped = [Step::Put(vec![5]), Step::Reopen, Step::Condemn(5), Step::Wait, Step::Wait, Step::Drop(5)];
    let after = [Step::Reap, Step::Crash(IndexLoss::Unsynced(0))];
    let steps: Vec<Step> = dropped.into_iter().chain(after).collect();
    for seed in 0..8 {
        run(seed, steps.clone());
    }
}

#[test]
fn what_an_fsync_failed_to_write_is_not_counted_on_after_a_restart() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(1);
        world.run(Step::Put(vec![3])).await;
        world.disk.set_faults(Faults { sync: true, ..Faults::default() });
        assert!(world.put(&[7]).await.iter().all(|(_, result)| result.is_err()));
        world.disk.set_faults(Faults::default());
        world.store().stop().await;
        world.store = None;
        world.open();
        assert_eq!(world.store().list(None, 10).unwrap().len(), 1, "they read well from memory only");
        // Put again they are there, whatever the kernel drops.
        assert!(world.put(&[7]).await.iter().all(|(_, result)| result.is_ok()));
        world.disk.evict();
        world.check_all().await;
        world.end().await;
    });
}

#[test]
fn room_is_not_lost_where_a_crash_takes_back_the_hole_and_not_the_note() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for seed in 0..8 {
        runtime.block_on(async {
            let mut world = World::new(seed);
            world.run(Step::Put(vec![1])).await;
            let kept = world.disk.occupied();
            world.run(Step::Put(vec![6])).await;
            for step in [Step::Condemn(6), Step::Wait, Step::Wait, Step::Drop(6), Step::Reap, Step::Checkpoint] {
                world.run(step).await;
            }
            assert_eq!(world.disk.occupied(), kept);
            world.run(Step::Crash(IndexLoss::None)).await;
            keeper::reap(&world.store().shared).unwrap();
            assert_eq!(world.disk.occupied(), kept, "seed {seed}");
        });
    }
}

/// The same cases each time, unless the environment says otherwise.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 32;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = proptest::test_runner::RngSeed::Fixed(0x0ca1_2a00);
    }
    config
}
