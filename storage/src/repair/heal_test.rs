use std::sync::atomic::Ordering;

use super::super::fake::Fake;
use super::*;

const GROUP: GroupId = GroupId(1);

struct Queued {
    world: Arc<Fake>,
    map: Arc<ClusterMap>,
    chunk: ChunkId,
    /// The homes of the chunk, and then the others.
    order: Vec<DiskId>,
}

/// A chunk on the first two of its homes, which is queued for the third. There are four disks.
fn queued() -> Queued {
    let world = Fake::new(4);
    let map = world.client().map();
    let data = Bytes::from_static(b"the bytes of a chunk");
    let chunk = ChunkId::of(GROUP, &data);
    let order = placement::order(&chunk, &map);
    for disk in &order[..2] {
        world.disk(*disk).chunks.lock().insert(chunk, data.clone());
    }
    world.cluster.referenced.lock().insert(chunk.hash);
    world.cluster.queue.lock().push(RepairEntry { hash: chunk.hash, queued_ms: 0, known: order[..2].to_vec() });
    Queued { world, map, chunk, order }
}

impl Queued {
    async fn round(&self) -> Round {
        self.round_of(&RepairOptions::default(), &mut Seen::new()).await
    }

    async fn round_of(&self, options: &RepairOptions, seen: &mut Seen) -> Round {
        let heal = Heal { world: &*self.world, options, map: &self.map, group: GROUP };
        heal.round(seen).await.unwrap()
    }

    fn reads(&self) -> usize {
        self.order.iter().map(|disk| self.world.disk(*disk).reads.load(Ordering::Relaxed)).sum()
    }

    fn has(&self, place: usize) -> bool {
        self.world.disk(self.order[place]).has(&self.chunk)
    }
}

#[tokio::test]
async fn a_home_that_lacks_its_copy_gets_it() {
    let queued = queued();
    assert_eq!(queued.round().await.settled, 1);
    assert!(queued.has(2) && !queued.has(3));
    assert!(queued.world.cluster.queue.lock().is_empty());
}

#[tokio::test]
async fn a_full_home_is_passed_over_for_the_next_and_gets_its_copy_when_it_has_room() {
    let queued = queued();
    let home = queued.world.disk(queued.order[2]);
    *home.is_full.lock() = true;
    let round = queued.round().await;
    assert_eq!((round.settled, round.waiting), (0, 1), "it stays queued");
    assert!(queued.has(3) && !queued.has(2));
    let reads = queued.reads();
    queued.round().await;
    assert_eq!(queued.reads(), reads, "nothing is read for what waits");
    *home.is_full.lock() = false;
    assert_eq!(queued.round().await.settled, 1);
    assert!(queued.has(2));
    assert!(queued.world.cluster.queue.lock().is_empty());
}

#[tokio::test]
async fn what_waits_for_room_costs_nothing() {
    let queued = queued();
    for disk in &queued.order[2..] {
        *queued.world.disk(*disk).is_full.lock() = true;
    }
    assert_eq!(queued.round().await.waiting, 1);
    assert_eq!(queued.reads(), 0);
}

/// Walks over the homes of a chunk queue it again and again for as long as one lacks it, however short their rest.
#[tokio::test]
async fn what_is_always_queued_anew_has_its_turn_and_not_at_once() {
    let queued = queued();
    queued.world.cluster.queue.lock()[0].queued_ms = UnixMillis::MAX;
    let options = RepairOptions { settle_ms: 20, ..RepairOptions::default() };
    let mut seen = Seen::new();
    let began = Instant::now();
    while queued.round_of(&options, &mut seen).await.settled == 0 {
        assert!(!queued.has(2) && began.elapsed() < Duration::from_secs(60), "it waits for ever");
        // Queued anew it is behind more than a page for a while.
        let entry = queued.world.cluster.queue.lock().pop().expect("it is queued");
        queued.round_of(&options, &mut seen).await;
        queued.world.cluster.queue.lock().push(entry);
        tokio::task::yield_now().await;
    }
    assert!(began.elapsed() >= Duration::from_millis(20));
    assert!(queued.has(2) && seen.is_empty());
}
