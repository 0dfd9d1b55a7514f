//! The loop that looks after room: tells the replicas which disks are short of it, as far as this node knows, and has
//! the metadata of its own disks give back what it can.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::disk::LocalDisk;
use super::inner::Inner;
use crate::raft::Room;
use crate::types::DiskId;

const LOOK: Duration = Duration::from_millis(100);
/// What others say of their disks comes once a second.
const LOOKS_PER_HEARSAY: u32 = 10;
/// How often a disk that stays short is made to give room back.
const MAKE_EVERY: Duration = Duration::from_secs(10);

/// Looks after room for as long as it is polled.
pub async fn watch(inner: Arc<Inner>) {
    let mut looks = 0u32;
    let mut others = HashMap::new();
    let mut keepers: HashMap<DiskId, Keeper> = HashMap::new();
    loop {
        let reserve = inner.options.reserve_bytes;
        if looks.is_multiple_of(LOOKS_PER_HEARSAY) {
            let news = inner.peers.lock().news();
            let up = news.into_iter().filter(|node| node.up).flat_map(|node| node.disks);
            // Their settings are taken to be ours.
            others = up.map(|disk| (disk.id, Room::of(disk.free, reserve))).collect();
        }
        looks = looks.wrapping_add(1);
        let mut rooms = others.clone();
        let mut starves = false;
        for disk in inner.local_disks() {
            let free = disk.store.usage().free;
            let room = Room::of(free, reserve);
            rooms.insert(disk.id(), room);
            starves |= room == Room::Starved;
            keepers.entry(disk.id()).or_default().keep(&disk, room, free);
        }
        inner.replicas.set_rooms(rooms);
        if starves {
            inner.replicas.leave_starved().await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is done about the room of one disk, one thing at a time.
#[derive(Default)]
struct Keeper {
    work: Option<JoinHandle<()>>,
    /// When it was made to give room back.
    made: Option<Instant>,
}

impl Keeper {
    fn keep(&mut self, disk: &LocalDisk, room: Room, free: u64) {
        if self.work.as_ref().is_some_and(|work| !work.is_finished()) {
            return;
        }
        let db = disk.db.clone();
        let compacting = room != Room::Starved;
        if db.is_compacting() != compacting {
            self.work = Some(tokio::task::spawn_blocking(move || db.set_compacting(compacting)));
        } else if room != Room::Ample && self.made.is_none_or(|made| made.elapsed() >= MAKE_EVERY) {
            self.made = Some(Instant::now());
            // What it takes meanwhile comes out of the reserve.
            self.work = Some(tokio::task::spawn_blocking(move || db.make_room(free / 4)));
        }
    }
}
