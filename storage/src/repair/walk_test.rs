use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::super::fake::{Fake, GRACE_MS, disk_id};
use super::*;
use crate::chunk;

struct Setup {
    world: Arc<Fake>,
    walk: Walk,
    /// How far the disk's clock is ahead, milliseconds.
    ahead_ms: Arc<AtomicU64>,
    _directory: tempfile::TempDir,
}

fn setup(disks: u8) -> Setup {
    let directory = tempfile::tempdir().unwrap();
    let ahead_ms = Arc::<AtomicU64>::default();
    let ahead = ahead_ms.clone();
    let options = chunk::Options {
        reserve_bytes: 0,
        segment_len: 16 << 20,
        clock: Arc::new(move || now_ms() + ahead.load(Ordering::Relaxed)),
        ..chunk::Options::default()
    };
    let store = ChunkStore::open(directory.path(), options).unwrap();
    let world = Fake::new(disks);
    let walk = Walk {
        world: world.clone(),
        disk: disk_id(1),
        store,
        misplaced: 0,
        unsettled: false,
        // Nothing is so fresh that its homes are not asked.
        new_map_ms: u64::MAX,
        left: Vec::new(),
    };
    Setup { world, walk, ahead_ms, _directory: directory }
}

impl Setup {
    async fn put(&self, group: u32, data: &'static [u8]) -> ChunkId {
        let chunk = ChunkId::of(GroupId(group), data);
        self.walk.store.put(chunk, vec![Bytes::from_static(data)]).await.unwrap();
        chunk
    }

    /// Walks twice, with the grace time in between: what nobody refers to is condemned, then dropped.
    async fn walk_twice(&mut self, check_homes: bool) -> [bool; 2] {
        let pause = || tokio::task::spawn_blocking(|| sleep_really(2 * GRACE_MS + 1));
        pause().await.unwrap();
        let first = self.walk.all(MIN_PAUSE, check_homes, || false).await;
        pause().await.unwrap();
        [first, self.walk.all(MIN_PAUSE, check_homes, || false).await]
    }

    fn has(&self, chunk: ChunkId) -> bool {
        self.walk.store.stat(&chunk).unwrap().is_some()
    }
}

/// By the clock that chunks are judged by, which tests cannot advance.
fn sleep_really(ms: u64) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(ms) {
        std::thread::yield_now();
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_does_not_answer_is_in_the_way_of_no_other() {
    let mut setup = setup(1);
    let (silent, other) = (setup.put(1, b"of a silent group").await, setup.put(2, b"of another").await);
    setup.world.cluster.silent_groups.lock().insert(GroupId(1));
    assert_eq!(setup.walk_twice(false).await, [false; 2], "something is left");
    assert!(setup.has(silent) && !setup.has(other));
    setup.world.cluster.silent_groups.lock().clear();
    assert_eq!(setup.walk_twice(false).await, [true; 2]);
    assert!(!setup.has(silent));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_answers_again_is_gone_on_with_where_it_failed() {
    let mut setup = setup(1);
    let (silent, other) = (setup.put(1, b"of a silent group").await, setup.put(2, b"of another").await);
    setup.world.cluster.silent_groups.lock().insert(GroupId(1));
    let world = setup.world.clone();
    tokio::spawn(async move {
        tokio::time::sleep(RETRY_PAUSE * 2).await;
        world.cluster.silent_groups.lock().clear();
    });
    assert_eq!(setup.walk_twice(false).await, [true; 2], "one walk was enough");
    assert!(!setup.has(silent) && !setup.has(other));
}

#[tokio::test(start_paused = true)]
async fn a_home_that_does_not_answer_keeps_nothing_from_being_collected() {
    let mut setup = setup(3);
    let live = setup.put(1, b"in use").await;
    setup.world.cluster.referenced.lock().insert(live.hash);
    let garbage = setup.put(2, b"in no use").await;
    for number in 2..=3 {
        *setup.world.disk(disk_id(number)).is_silent.lock() = true;
    }
    assert_eq!(setup.walk_twice(true).await, [true; 2]);
    assert!(setup.walk.unsettled, "the homes are asked again");
    assert!(setup.has(live) && !setup.has(garbage));
}

#[tokio::test(start_paused = true)]
async fn what_was_written_by_a_clock_that_was_ahead_is_collected_and_its_homes_are_asked() {
    let mut setup = setup(3);
    // Not all is so old that its homes are asked whenever it was written.
    setup.walk.new_map_ms = 0;
    setup.ahead_ms.store(3_600_000, Ordering::Relaxed);
    let (live, garbage) = (setup.put(1, b"in use").await, setup.put(2, b"in no use").await);
    setup.world.cluster.referenced.lock().insert(live.hash);
    setup.ahead_ms.store(0, Ordering::Relaxed);
    // Once to count from now on.
    assert_eq!(setup.walk_twice(true).await, [true; 2]);
    assert!(setup.walk.unsettled, "homes lack it");
    setup.walk_twice(false).await;
    assert!(setup.has(live) && !setup.has(garbage));
}
