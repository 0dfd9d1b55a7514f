//! The store, call by call, on the real file system and on one that fails on demand.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::join_all;

use super::format::{BLOCK, FIRST_RECORD, PAGE, RecordHeader, SegmentHeader, checksums, header_len, record_len};
use super::index::Entry;
use super::sim::{Faults, SimDisk};
use super::*;
use crate::client::DiskError;
use crate::types::{ChunkId, GroupId, MAX_CHUNK_LEN};

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| ((i * 31 + i / 251) as u8) ^ seed).collect()
}

fn chunk(len: usize, seed: u8) -> (ChunkId, Vec<Bytes>) {
    let data = bytes(len, seed);
    (ChunkId::of(GroupId(1), &data), data.chunks(60_000).map(Bytes::copy_from_slice).collect())
}

/// A store on the real file system, with a clock that is set by hand.
struct Home {
    dir: tempfile::TempDir,
    clock: Arc<AtomicU64>,
}

impl Home {
    fn new() -> Self {
        Self { dir: sim::tempdir(), clock: Arc::new(AtomicU64::new(1)) }
    }

    fn options(&self) -> Options {
        let clock = self.clock.clone();
        let clock: Clock = Arc::new(move || clock.load(Ordering::Relaxed));
        Options { reserve_bytes: 0, clock, ..Options::default() }
    }

    fn on(&self, disk: &SimDisk) -> Options {
        Options { segments: Some(Arc::new(disk.clone())), ..self.options() }
    }

    fn open(&self) -> Arc<ChunkStore> {
        self.open_with(self.options())
    }

    fn open_with(&self, options: Options) -> Arc<ChunkStore> {
        ChunkStore::open(self.dir.path(), options).unwrap()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path().join("chunks/segments")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let file = std::fs::OpenOptions::new().write(true).open(&self.segments()[0]).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    fn flip(&self, offset: u64) {
        let file = std::fs::File::open(&self.segments()[0]).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        self.write(offset, &[byte[0] ^ 0x10]);
    }

    fn remove_index(&self) {
        std::fs::remove_dir_all(self.dir.path().join("chunks/index")).unwrap();
    }
}

async fn read(store: &ChunkStore, id: ChunkId, len: usize) -> Result<Vec<u8>, DiskError> {
    Ok(store.get(id, 0..len as u32).await?.concat())
}

fn entry(store: &ChunkStore, id: &ChunkId) -> Entry {
    store.shared.index.get(id).unwrap().unwrap()
}

fn entries(store: &ChunkStore) -> HashMap<ChunkId, Entry> {
    let all = store.shared.index.list(None, usize::MAX).unwrap();
    all.into_iter().map(|(id, entry)| (id, Entry { touched_ms: 0, condemned_ms: None, ..entry })).collect()
}

#[tokio::test]
async fn chunks_of_all_lengths_read_back_before_and_after_a_restart() {
    let home = Home::new();
    let lengths = [0, 1, 4095, 4096, BLOCK - 1, BLOCK, BLOCK + 1, 300_000, 1 << 20, MAX_CHUNK_LEN];
    let store = home.open();
    for (seed, len) in lengths.into_iter().enumerate() {
        let (id, data) = chunk(len, seed as u8);
        store.put(id, data).await.unwrap();
    }
    for round in 0..2 {
        for (seed, len) in lengths.into_iter().enumerate() {
            let (id, data) = chunk(len, seed as u8);
            assert!(read(&store, id, len).await.unwrap() == data.concat(), "{len} bytes, round {round}");
            store.verify(id).await.unwrap();
            assert_eq!(store.stat(&id).unwrap().unwrap().len as usize, len);
        }
        if round == 0 {
            store.stop().await;
        }
    }
    drop(store);
    let store = home.open();
    for (seed, len) in lengths.into_iter().enumerate() {
        let (id, data) = chunk(len, seed as u8);
        assert!(read(&store, id, len).await.unwrap() == data.concat(), "{len} bytes, after the restart");
    }
    assert_eq!(store.usage().chunks, lengths.len() as u64);
}

#[tokio::test]
async fn ranges_at_every_kind_of_border_read_back() {
    let home = Home::new();
    let store = home.open();
    let len = 5 * BLOCK + 100;
    let (id, data) = chunk(len, 7);
    store.put(id, data.clone()).await.unwrap();
    let data = data.concat();
    let borders = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 4 * BLOCK, 4 * BLOCK + 1, 5 * BLOCK, len - 1, len];
    for from in borders {
        for to in borders.into_iter().filter(|to| *to >= from) {
            let found = store.get(id, from as u32..to as u32).await.unwrap().concat();
            assert!(found == data[from..to], "{from}..{to}");
        }
    }
    for bad in [0..len as u32 + 1, len as u32 + 1..len as u32 + 2] {
        assert!(matches!(store.get(id, bad).await, Err(DiskError::Refused(_))));
    }
    assert!(matches!(store.get(chunk(1, 1).0, 0..1).await, Err(DiskError::NotFound)));
}

#[tokio::test]
async fn a_flipped_byte_is_found_on_read_and_the_chunk_can_be_stored_anew() {
    let home = Home::new();
    let store = home.open();
    let (id, data) = chunk(3 * BLOCK, 1);
    store.put(id, data.clone()).await.unwrap();
    let at = entry(&store, &id).location.offset + header_len(3 * BLOCK as u32) as u64 + BLOCK as u64 + 5;
    home.flip(at);
    // Only the blocks that are asked for are read.
    store.get(id, 0..BLOCK as u32).await.unwrap();
    assert!(matches!(read(&store, id, 3 * BLOCK).await, Err(DiskError::Corrupt)));
    assert!(matches!(read(&store, id, 3 * BLOCK).await, Err(DiskError::NotFound)));
    assert_eq!(store.touch(vec![id]).await.unwrap(), [false]);
    store.put(id, data.clone()).await.unwrap();
    assert_eq!(read(&store, id, 3 * BLOCK).await.unwrap(), data.concat());
}

#[tokio::test]
async fn a_put_over_a_corrupt_copy_stores_the_chunk_anew() {
    let home = Home::new();
    let store = home.open();
    let (id, data) = chunk(1000, 1);
    store.put(id, data.clone()).await.unwrap();
    home.flip(entry(&store, &id).location.offset + header_len(1000) as u64 + 5);
    store.put(id, data.clone()).await.unwrap();
    assert_eq!(read(&store, id, 1000).await.unwrap(), data.concat());
    assert_eq!(store.usage().chunks, 1);
}

#[tokio::test]
async fn a_copy_that_cannot_be_read_is_kept_until_it_is_put_again() {
    let (home, disk) = (Home::new(), SimDisk::new(1));
    let store = home.open_with(home.on(&disk));
    let (id, data) = chunk(1000, 1);
    store.put(id, data.clone()).await.unwrap();
    let before = entry(&store, &id).location;
    disk.set_faults(Faults { read: Some(io::ErrorKind::Other), ..Faults::default() });
    assert!(matches!(read(&store, id, 1000).await, Err(DiskError::Unavailable(_))));
    assert!(matches!(store.verify(id).await, Err(DiskError::Unavailable(_))));
    store.put(id, data.clone()).await.unwrap();
    disk.set_faults(Faults::default());
    assert_ne!(entry(&store, &id).location, before);
    assert_eq!(read(&store, id, 1000).await.unwrap(), data.concat());
    assert!(!store.failed());
}

#[tokio::test]
async fn a_damaged_record_header_is_found_by_verify_and_written_anew() {
    let home = Home::new();
    let store = home.open();
    let (id, data) = chunk(5000, 1);
    store.put(id, data.clone()).await.unwrap();
    home.flip(entry(&store, &id).location.offset + 20);
    store.verify(id).await.unwrap();
    assert_eq!(entry(&store, &id).location.offset, FIRST_RECORD + record_len(5000));
    store.close().await.unwrap();
    drop(store);
    home.remove_index();
    assert_eq!(read(&home.open(), id, 5000).await.unwrap(), data.concat());
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_id_are_found_by_verify() {
    let home = Home::new();
    let store = home.open();
    let (id, _) = chunk(5000, 1);
    let (_, other) = chunk(5000, 2);
    assert!(!hashes_to(&id, &other));
    store.put(id, other).await.unwrap();
    assert!(matches!(store.verify(id).await, Err(DiskError::Corrupt)));
    assert!(matches!(store.verify(id).await, Err(DiskError::NotFound)));
}

#[tokio::test]
async fn a_torn_record_in_the_middle_is_stepped_over() {
    let home = Home::new();
    let store = home.open();
    let chunks: Vec<_> = (0..4).map(|seed| chunk(200_000, seed)).collect();
    for (id, data) in &chunks {
        store.put(*id, data.clone()).await.unwrap();
    }
    let place = |i: usize| entry(&store, &chunks[i].0).location.offset;
    let (header_gone, payload_gone) = (place(1), place(2) + 100_000);
    store.stop().await;
    drop(store);
    home.write(header_gone, &[0; PAGE as usize]);
    home.write(payload_gone, &[0; PAGE as usize]);
    // As if neither had been acknowledged: the index does not know them.
    home.remove_index();
    let store = home.open();
    for (i, (id, data)) in chunks.iter().enumerate() {
        match i {
            1 | 2 => assert!(matches!(read(&store, *id, 200_000).await, Err(DiskError::NotFound))),
            _ => assert!(read(&store, *id, 200_000).await.unwrap() == data.concat()),
        }
    }
}

#[tokio::test]
async fn user_bytes_that_look_like_a_record_do_not_pass_for_one() {
    let home = Home::new();
    let store = home.open();
    // A record within a chunk, page-aligned, right in all but the salt, which nobody knows.
    let (forged, payload) = chunk(1000, 9);
    let len = 5 * PAGE as usize;
    let place = FIRST_RECORD + PAGE;
    let header = RecordHeader { id: forged, len: 1000, stored_ms: 1, checksums: checksums(&payload) };
    let mut data = bytes(len, 3);
    let at = PAGE as usize - header_len(len as u32);
    let record = [header.encode(&SegmentHeader::new(1).salt, place), payload.concat()].concat();
    data[at..at + record.len()].copy_from_slice(&record);
    let id = ChunkId::of(GroupId(1), &data);
    store.put(id, vec![data.into()]).await.unwrap();
    let (genuine, data) = chunk(1000, 1);
    store.put(genuine, data).await.unwrap();
    store.stop().await;
    drop(store);
    // The chunk's own header is lost, so that the scan comes upon the bytes; and a record that was moved from its
    // place is no record either.
    let mut raw = vec![0; (FIRST_RECORD + record_len(len as u32)) as usize];
    std::fs::File::open(&home.segments()[0]).unwrap().read_exact_at(&mut raw, 0).unwrap();
    home.write(FIRST_RECORD + 9 * PAGE, &raw[FIRST_RECORD as usize..]);
    home.write(FIRST_RECORD, &[0; 64]);
    home.remove_index();
    let store = home.open();
    let found = |store: &ChunkStore| store.list(None, 10).unwrap().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(found(&store), [genuine]);
    // With the right salt it would have been one: the test tests something.
    let salt = SegmentHeader::decode(&raw).unwrap().salt;
    store.close().await.unwrap();
    drop(store);
    home.write(place, &[header.encode(&salt, place), payload.concat()].concat());
    home.remove_index();
    assert!(found(&home.open()).contains(&forged));
}

#[tokio::test]
async fn what_is_dropped_gives_its_room_back() {
    let home = Home::new();
    let store = home.open_with(Options { segment_len: 4 << 20, ..home.options() });
    let chunks: Vec<_> = (0..6).map(|seed| chunk(1 << 20, seed)).collect();
    for (id, data) in &chunks {
        store.put(*id, data.clone()).await.unwrap();
    }
    let occupied = || home.segments().iter().map(|path| std::fs::metadata(path).unwrap().blocks() * 512).sum::<u64>();
    let drop_one = async |id: ChunkId| {
        assert_eq!(store.condemn(vec![id]).await.unwrap(), [true]);
        assert!(store.drop_condemned(id, 0).await.unwrap());
    };
    drop_one(chunks[1].0).await;
    keeper::reap(&store.shared).unwrap();
    let before = occupied();
    drop_one(chunks[0].0).await;
    keeper::reap(&store.shared).unwrap();
    assert!(before - occupied() >= 1 << 20, "{before} to {}", occupied());
    assert_eq!(home.segments().len(), 2);
    // Nothing is left of the first segment, and it is sealed.
    drop_one(chunks[2].0).await;
    keeper::reap(&store.shared).unwrap();
    assert_eq!(home.segments().len(), 1);
    for (id, data) in &chunks[3..] {
        assert!(read(&store, *id, 1 << 20).await.unwrap() == data.concat());
    }
    assert_eq!((store.usage().chunks, store.usage().bytes), (3, 3 << 20));
}

#[tokio::test]
async fn only_what_stood_condemned_for_the_grace_time_is_dropped() {
    let home = Home::new();
    let store = home.open();
    let (id, data) = chunk(1000, 1);
    assert_eq!(store.condemn(vec![id]).await.unwrap(), [false]);
    store.put(id, data.clone()).await.unwrap();
    assert!(!store.drop_condemned(id, 0).await.unwrap(), "it is not condemned");
    home.clock.store(100, Ordering::Relaxed);
    store.condemn(vec![id]).await.unwrap();
    home.clock.store(150, Ordering::Relaxed);
    store.condemn(vec![id]).await.unwrap();
    assert_eq!(store.stat(&id).unwrap().unwrap().condemned_ms, Some(100));
    assert!(!store.drop_condemned(id, 51).await.unwrap(), "not long enough");
    // A put of the same bytes clears it, durably.
    store.put(id, data).await.unwrap();
    assert!(!store.drop_condemned(id, 0).await.unwrap());
    assert_eq!(store.stat(&id).unwrap().unwrap().touched_ms, 150);
    store.condemn(vec![id]).await.unwrap();
    assert_eq!(store.touch(vec![id]).await.unwrap(), [true]);
    assert!(!store.drop_condemned(id, 0).await.unwrap());
    store.condemn(vec![id]).await.unwrap();
    home.clock.store(90, Ordering::Relaxed);
    assert!(!store.drop_condemned(id, 0).await.unwrap(), "a clock that went back keeps it");
    store.touch(vec![id]).await.unwrap();
    let found = store.stat(&id).unwrap().unwrap();
    assert_eq!((found.touched_ms, found.condemned_ms), (90, None), "and counts from now on");
    store.condemn(vec![id]).await.unwrap();
    home.clock.store(300, Ordering::Relaxed);
    assert!(store.drop_condemned(id, 150).await.unwrap());
    assert_eq!(store.touch(vec![id]).await.unwrap(), [false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_touch_and_a_drop_that_race_one_wins() {
    let home = Home::new();
    let store = home.open();
    let (id, data) = chunk(1000, 1);
    for round in 0..200 {
        store.put(id, data.clone()).await.unwrap();
        store.condemn(vec![id]).await.unwrap();
        let (toucher, dropper) = (store.clone(), store.clone());
        let touch = tokio::spawn(async move { toucher.touch(vec![id]).await.unwrap()[0] });
        let drop = tokio::spawn(async move { dropper.drop_condemned(id, 0).await.unwrap() });
        let (touched, dropped) = (touch.await.unwrap(), drop.await.unwrap());
        assert_ne!(touched, dropped, "round {round}");
        let there = store.stat(&id).unwrap();
        assert_eq!(there.map(|info| info.condemned_ms), touched.then_some(None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_that_race_with_drops_find_the_chunk_or_do_not_but_never_call_it_corrupt() {
    let home = Home::new();
    let store = home.open_with(Options { segment_len: 1 << 20, ..home.options() });
    let (id, data) = chunk(400_000, 1);
    let reader = {
        let (store, whole) = (store.clone(), data.concat());
        tokio::spawn(async move {
            for _ in 0..400 {
                match read(&store, id, 400_000).await {
                    Ok(found) => assert!(found == whole),
                    Err(DiskError::NotFound | DiskError::Busy) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    };
    while !reader.is_finished() {
        store.put(id, data.clone()).await.unwrap();
        store.condemn(vec![id]).await.unwrap();
        store.drop_condemned(id, 0).await.unwrap();
        keeper::reap(&store.shared).unwrap();
    }
    reader.await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_puts_and_does_all_else() {
    let (home, disk) = (Home::new(), SimDisk::new(1));
    let store = home.open_with(Options { reserve_bytes: 1 << 20, ..home.on(&disk) });
    let ((old, data), (new, more)) = (chunk(1000, 1), chunk(1000, 2));
    store.put(old, data.clone()).await.unwrap();
    disk.set_free((1 << 20) + 100);
    keeper::look(&store.shared);
    assert!(matches!(store.put(new, more.clone()).await, Err(DiskError::Full)));
    assert_eq!(read(&store, old, 1000).await.unwrap(), data.concat());
    // What is there already needs no room.
    store.put(old, data).await.unwrap();
    store.condemn(vec![old]).await.unwrap();
    assert!(store.drop_condemned(old, 0).await.unwrap());
    keeper::reap(&store.shared).unwrap();
    disk.set_free(2 << 20);
    keeper::look(&store.shared);
    store.put(new, more).await.unwrap();
    // The file system may say so before the count does.
    disk.set_faults(Faults { write: Some(io::ErrorKind::StorageFull), ..Faults::default() });
    assert!(matches!(store.put(old, vec![]).await, Err(DiskError::Full)));
    assert!(!store.failed());
    disk.set_faults(Faults::default());
    keeper::look(&store.shared);
    let (id, data) = chunk(3000, 3);
    store.put(id, data).await.unwrap();
}

#[tokio::test]
async fn a_failed_fsync_fails_the_disk_for_good() {
    let (home, disk) = (Home::new(), SimDisk::new(1));
    let store = home.open_with(home.on(&disk));
    let ((old, data), (new, more)) = (chunk(1000, 1), chunk(1000, 2));
    store.put(old, data.clone()).await.unwrap();
    disk.set_faults(Faults { sync: true, ..Faults::default() });
    assert!(matches!(store.put(new, more.clone()).await, Err(DiskError::Unavailable(_))));
    assert!(store.failed());
    disk.set_faults(Faults::default());
    let syncs = disk.syncs();
    assert!(matches!(store.put(new, more).await, Err(DiskError::Unavailable(_))));
    assert!(matches!(store.touch(vec![old]).await, Err(DiskError::Unavailable(_))));
    assert_eq!(disk.syncs(), syncs, "a failed fsync is not tried again");
    assert_eq!(read(&store, old, 1000).await.unwrap(), data.concat());
    assert!(matches!(read(&store, new, 1000).await, Err(DiskError::NotFound)));
}

#[tokio::test]
async fn a_directory_that_is_moved_away_fails_the_disk() {
    let home = Home::new();
    let store = home.open();
    let (id, data) = chunk(1000, 1);
    store.put(id, data.clone()).await.unwrap();
    let chunks = home.dir.path().join("chunks");
    crate::durable::rename(&chunks, &home.dir.path().join("away")).unwrap();
    keeper::look(&store.shared);
    assert!(store.failed());
    assert!(matches!(store.touch(vec![id]).await, Err(DiskError::Unavailable(_))));
    assert_eq!(read(&store, id, 1000).await.unwrap(), data.concat());
}

#[tokio::test]
async fn a_thousand_small_puts_share_fsyncs() {
    let (home, disk) = (Home::new(), SimDisk::new(1));
    let store = home.open_with(home.on(&disk));
    let (first, data) = chunk(10, 255);
    store.put(first, data).await.unwrap();
    let (syncs, writes) = (disk.syncs(), disk.writes());
    // The next fsync takes as long as all the writes.
    disk.set_faults(Faults { sync_after_writes: writes + 1000, ..Faults::default() });
    let puts = (0..1000u32).map(|i| {
        let data = Bytes::copy_from_slice(&i.to_le_bytes());
        store.put(ChunkId::of(GroupId(1), &data), vec![data])
    });
    for result in join_all(puts).await {
        result.unwrap();
    }
    assert!(disk.syncs() - syncs <= 3, "{} fsyncs", disk.syncs() - syncs);
    assert_eq!(store.usage().chunks, 1001);
}

#[tokio::test]
async fn an_index_that_is_made_anew_equals_the_one_that_was_lost() {
    let home = Home::new();
    let options = || Options { segment_len: 1 << 20, ..home.options() };
    let store = home.open_with(options());
    for i in 0..40 {
        let (id, data) = chunk(10_000 * i, i as u8);
        store.put(id, data).await.unwrap();
    }
    for i in (0..40).step_by(3) {
        let (id, _) = chunk(10_000 * i, i as u8);
        store.condemn(vec![id]).await.unwrap();
        assert!(store.drop_condemned(id, 0).await.unwrap());
    }
    keeper::reap(&store.shared).unwrap();
    let (before, usage) = (entries(&store), store.usage());
    assert!(matches!(rebuild_index(home.dir.path(), options()), Err(ChunkError::InUse { .. })));
    store.close().await.unwrap();
    drop(store);
    let report = rebuild_index(home.dir.path(), options()).unwrap();
    assert_eq!((report.records, report.torn), (before.len() as u64, 0));
    let store = home.open_with(options());
    assert_eq!(entries(&store), before);
    assert_eq!((store.usage().chunks, store.usage().bytes), (usage.chunks, usage.bytes));
}

#[tokio::test]
async fn puts_of_the_same_chunk_at_once_leave_one_copy() {
    let home = Home::new();
    let store = home.open();
    let (id, data) = chunk(100_000, 1);
    for result in join_all((0..20).map(|_| store.put(id, data.clone()))).await {
        result.unwrap();
    }
    keeper::reap(&store.shared).unwrap();
    assert_eq!(store.usage().chunks, 1);
    assert!(read(&store, id, 100_000).await.unwrap() == data.concat());
    store.close().await.unwrap();
    let blocks = std::fs::metadata(&home.segments()[0]).unwrap().blocks() * 512;
    assert!(blocks < 2 * record_len(100_000) + FIRST_RECORD, "{blocks}");
}

#[tokio::test]
async fn a_put_whose_caller_went_away_is_finished() {
    let home = Home::new();
    let store = home.open();
    let (id, data) = chunk(100_000, 1);
    {
        let put = store.put(id, data.clone());
        futures::pin_mut!(put);
        assert!(futures::poll!(put).is_pending());
    }
    store.close().await.unwrap();
    assert!(matches!(store.put(id, data.clone()).await, Err(DiskError::Unavailable(_))));
    assert!(read(&store, id, 100_000).await.unwrap() == data.concat());
}

#[tokio::test]
async fn a_list_goes_through_all_chunks_in_order() {
    let home = Home::new();
    let store = home.open();
    let mut ids = Vec::new();
    for i in 0..25u8 {
        let (_, data) = chunk(100, i);
        let id = ChunkId::of(GroupId(u32::from(i % 3)), &data.concat());
        store.put(id, data).await.unwrap();
        ids.push(id);
    }
    ids.sort();
    let mut seen: Vec<ChunkId> = Vec::new();
    loop {
        let page = store.list(seen.last().copied(), 7).unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|(id, _)| id));
    }
    assert_eq!(seen, ids);
}

#[test]
fn a_store_of_a_newer_format_or_of_somebody_else_is_refused_untouched() {
    let home = Home::new();
    drop(home.open());
    let chunks = home.dir.path().join("chunks");
    let tree = |path: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = tree(&chunks.join("index"));
    std::fs::write(chunks.join("FORMAT"), "cairn-chunks 2\n").unwrap();
    let opened = ChunkStore::open(home.dir.path(), home.options());
    assert!(matches!(opened, Err(ChunkError::NewerFormat { found: 2, known: 1, .. })));
    std::fs::write(chunks.join("FORMAT"), "something else\n").unwrap();
    assert!(matches!(ChunkStore::open(home.dir.path(), home.options()), Err(ChunkError::NotAStore { .. })));
    std::fs::remove_file(chunks.join("FORMAT")).unwrap();
    std::fs::write(chunks.join("segments/0000000000000001.segment"), "").unwrap();
    assert!(matches!(ChunkStore::open(home.dir.path(), home.options()), Err(ChunkError::NotAStore { .. })));
    assert_eq!(tree(&chunks.join("index")), before);
}

#[test]
fn no_index_is_made_where_there_is_no_store() {
    let home = Home::new();
    assert!(matches!(rebuild_index(home.dir.path(), home.options()), Err(ChunkError::NotAStore { .. })));
    assert_eq!(std::fs::read_dir(home.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_store_is_opened_once_at_a_time() {
    let home = Home::new();
    let store = home.open();
    assert!(matches!(ChunkStore::open(home.dir.path(), home.options()), Err(ChunkError::InUse { .. })));
    drop(store);
}
