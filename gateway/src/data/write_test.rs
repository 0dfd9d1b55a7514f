use std::sync::atomic::Ordering;

use cairn_storage::types::ClusterMap;
use proptest::prelude::*;
use tokio::time::Instant;

use super::super::fake::{FOREVER, Fake, GROUP};
use super::super::{DataPath, DataSettings, Stored};
use super::*;
use crate::data::checksum::Asked;

const LEN: usize = 20_000;

fn settings() -> DataSettings {
    DataSettings { chunk_size: 64 << 10, third_copy_wait: Duration::ZERO, ..DataSettings::default() }
}

/// Stores chunks of 64 KiB and a last one of 20,000 bytes.
async fn store(path: &DataPath, chunks: usize) -> Result<Stored, S3Error> {
    let bytes: Vec<Bytes> = (1..chunks).map(|n| vec![n as u8; 64 << 10].into()).collect();
    let length = (chunks - 1) * (64 << 10) + LEN;
    let pieces: Vec<_> = bytes.into_iter().chain([vec![0; LEN].into()]).map(Ok).collect();
    path.store_stream(GROUP, futures::stream::iter(pieces), length as u64, Asked::default(), true).await
}

/// (disk numbers that acknowledged, disk numbers that are homes) of a body's chunk.
fn told(body: &NewBody, chunk: usize) -> (Vec<u8>, Vec<u8>) {
    let NewBody::Chunks { disks, acknowledged, homes, .. } = body else { panic!("not in chunks") };
    let named = |bits: u32| {
        let mut named: Vec<u8> =
            (0..disks.len()).filter(|place| bits >> place & 1 == 1).map(|i| disks[i].0[0]).collect();
        named.sort_unstable();
        named
    };
    (named(acknowledged[chunk]), named(homes[chunk]))
}

fn holders(fake: &Fake) -> Vec<usize> {
    (0..fake.disks.len()).filter(|disk| !fake.disks[*disk].chunks.lock().is_empty()).collect()
}

#[tokio::test(start_paused = true)]
async fn three_copies_are_made_and_told() {
    let fake = Fake::new(4);
    let path = fake.path(DataSettings { third_copy_wait: Duration::from_secs(1), ..settings() });
    let stored = store(&path, 3).await.unwrap();
    for chunk in 0..3 {
        assert_eq!(told(&stored.body, chunk), (vec![0, 1, 2], vec![0, 1, 2]));
    }
    assert_eq!(holders(&fake), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn two_answers_are_enough_and_the_third_copy_follows() {
    let fake = Fake::new(3);
    fake.mood(1, |mood| mood.put_delay = Duration::from_secs(5));
    let path = fake.path(settings());
    let began = Instant::now();
    let stored = store(&path, 2).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(told(&stored.body, 0), (vec![0, 2], vec![0, 1, 2]));
    assert!(path.0.pool.in_use() > 0, "the third copy's buffer is still counted");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(holders(&fake), [0, 1, 2]);
    assert_eq!(path.0.pool.in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_third_copy_that_arrives_soon_is_told_too() {
    let fake = Fake::new(3);
    fake.mood(1, |mood| mood.put_delay = Duration::from_millis(10));
    let path = fake.path(DataSettings { third_copy_wait: Duration::from_millis(20), ..settings() });
    let stored = store(&path, 1).await.unwrap();
    assert_eq!(told(&stored.body, 0).0, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn past_the_budget_the_third_copy_is_waited_for() {
    let fake = Fake::new(3);
    fake.mood(2, |mood| mood.put_delay = Duration::from_millis(1_500));
    let path = fake.path(DataSettings { background_bytes: LEN, ..settings() });
    let began = Instant::now();
    store(&path, 1).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    let stored = store(&path, 1).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(1_500));
    assert!(told(&stored.body, 0).0.len() >= 2);
}

#[tokio::test(start_paused = true)]
async fn past_the_budget_a_third_copy_that_takes_long_is_left_to_repair() {
    let fake = Fake::new(3);
    fake.mood(2, |mood| mood.put_delay = FOREVER);
    let path = fake.path(DataSettings { background_bytes: 0, ..settings() });
    let began = Instant::now();
    let stored = store(&path, 1).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(told(&stored.body, 0), (vec![0, 1], vec![0, 1, 2]));
    drop(stored);
    assert_eq!(path.0.pool.in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_disk_is_asked_again() {
    let fake = Fake::new(1);
    fake.mood(0, |mood| mood.busy_puts = 2);
    let path = fake.path(settings());
    store(&path, 1).await.unwrap();
    fake.mood(0, |mood| mood.busy_puts = 100);
    assert_eq!(store(&path, 1).await.unwrap_err().code, Code::SlowDown);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_down_is_replaced_by_the_next() {
    let fake = Fake::new(5);
    fake.set_down(1);
    let path = fake.path(DataSettings { third_copy_wait: Duration::from_secs(1), ..settings() });
    let stored = store(&path, 1).await.unwrap();
    assert_eq!(told(&stored.body, 0), (vec![0, 2, 3], vec![0, 1, 2]));
    assert_eq!(fake.disks[1].puts.load(Ordering::Relaxed), 0);
    assert_eq!(fake.disks[4].puts.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_is_replaced_by_the_next() {
    let fake = Fake::new(5);
    fake.mood(0, |mood| mood.put_error = Some(DiskError::Unavailable("gone".into())));
    fake.mood(1, |mood| mood.put_error = Some(DiskError::Full));
    let path = fake.path(DataSettings { third_copy_wait: Duration::from_secs(1), ..settings() });
    let stored = store(&path, 1).await.unwrap();
    assert_eq!(told(&stored.body, 0), (vec![2, 3, 4], vec![0, 1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_replaced_in_the_background() {
    let fake = Fake::new(4);
    fake.mood(0, |mood| mood.put_delay = FOREVER);
    let path = fake.path(settings());
    let stored = store(&path, 1).await.unwrap();
    assert_eq!(told(&stored.body, 0).0, [1, 2]);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(holders(&fake), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn two_disks_of_three_are_enough_and_one_is_not() {
    let fake = Fake::new(3);
    fake.set_down(2);
    let path = fake.path(settings());
    let stored = store(&path, 2).await.unwrap();
    assert_eq!(told(&stored.body, 1), (vec![0, 1], vec![0, 1, 2]));
    for number in [0, 2] {
        fake.set_down(number);
        fake.mood(number, |mood| mood.put_error = Some(DiskError::Unavailable("down".into())));
    }
    assert_eq!(store(&path, 1).await.unwrap_err().code, Code::ServiceUnavailable);
}

#[tokio::test(start_paused = true)]
async fn where_too_few_are_said_to_be_up_the_others_are_asked_all_the_same() {
    let fake = Fake::new(3);
    (0..3).for_each(|number| fake.set_down(number));
    let path = fake.path(settings());
    assert_eq!(told(&store(&path, 1).await.unwrap().body, 0).0.len(), 2);
    fake.mood(0, |mood| mood.put_delay = FOREVER);
    let began = tokio::time::Instant::now();
    assert_eq!(told(&store(&path, 1).await.unwrap().body, 0).0, [1, 2]);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn what_was_on_a_disk_that_was_removed_meanwhile_does_not_count() {
    for (removed, enough) in [(1, true), (2, false)] {
        let fake = Fake::new(5);
        let path = fake.path(DataSettings { third_copy_wait: Duration::from_secs(1), ..settings() });
        let pieces = futures::stream::unfold((0, fake.clone()), move |(piece, fake)| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if piece == 2 {
                (0..removed).for_each(|disk| fake.set_state(disk, DiskState::Removed));
            }
            (piece < 3).then_some((Ok(Bytes::from(vec![piece as u8; 64 << 10])), (piece + 1, fake)))
        });
        let stored = path.store_stream(GROUP, pieces, 3 * (64 << 10), Asked::default(), true).await;
        match stored {
            Ok(stored) => assert!(enough && told(&stored.body, 0).0 == [1, 2]),
            Err(error) => assert!(!enough && error.code == Code::ServiceUnavailable),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_disks_both_are_needed_and_of_one_the_one() {
    let fake = Fake::new(2);
    let path = fake.path(settings());
    assert_eq!(told(&store(&path, 1).await.unwrap().body, 0), (vec![0, 1], vec![0, 1]));
    fake.mood(1, |mood| mood.put_error = Some(DiskError::Unavailable("down".into())));
    assert_eq!(store(&path, 1).await.unwrap_err().code, Code::ServiceUnavailable);

    let fake = Fake::new(1);
    let path = fake.path(settings());
    assert_eq!(told(&store(&path, 1).await.unwrap().body, 0), (vec![0], vec![0]));
    fake.set_state(0, DiskState::Draining);
    assert_eq!(store(&path, 1).await.unwrap_err().code, Code::ServiceUnavailable);
}

#[tokio::test(start_paused = true)]
async fn why_it_failed_is_told_by_the_code() {
    let cases = [
        (DiskError::Full, DiskError::Unavailable(String::new()), Code::StorageFull),
        (DiskError::Unavailable(String::new()), DiskError::Full, Code::StorageFull),
        (DiskError::Busy, DiskError::Unavailable(String::new()), Code::SlowDown),
        (DiskError::Refused(String::new()), DiskError::Unavailable(String::new()), Code::ServiceUnavailable),
    ];
    for (first, second, code) in cases {
        let fake = Fake::new(3);
        fake.mood(0, |mood| mood.put_error = Some(first));
        fake.mood(1, |mood| mood.put_error = Some(second));
        let path = fake.path(settings());
        assert_eq!(store(&path, 2).await.unwrap_err().code, code);
    }
}

#[tokio::test(start_paused = true)]
async fn the_age_is_that_of_the_first_chunk() {
    let fake = Fake::new(1);
    fake.mood(0, |mood| mood.put_delay = Duration::from_secs(2));
    let path = fake.path(DataSettings { chunks_in_flight: 1, ..settings() });
    let mut body = store(&path, 3).await.unwrap().body;
    let NewBody::Chunks { oldest_touch_age_ms, .. } = &body else { panic!("not in chunks") };
    assert!((6_000..6_100).contains(oldest_touch_age_ms));

    path.retouch(GROUP, &mut body).await.unwrap();
    let NewBody::Chunks { oldest_touch_age_ms, acknowledged, .. } = &body else { panic!("not in chunks") };
    assert!(*oldest_touch_age_ms < 100);
    assert_eq!(*acknowledged, [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_passes_between_the_body_and_its_command_makes_it_older() {
    let fake = Fake::new(1);
    let body = store(&fake.path(settings()), 2).await.unwrap().body;
    let since = Since::now();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let NewBody::Chunks { oldest_touch_age_ms, .. } = super::super::aged(&body, &since) else {
        panic!("not in chunks")
    };
    assert!((100_000..101_000).contains(&oldest_touch_age_ms), "{oldest_touch_age_ms}");
}

#[tokio::test(start_paused = true)]
async fn a_touch_forgets_copies_that_are_gone_and_fails_without_a_quorum() {
    let fake = Fake::new(3);
    let path = fake.path(DataSettings { third_copy_wait: Duration::from_secs(1), ..settings() });
    let mut body = store(&path, 2).await.unwrap().body;
    let gone = ChunkId { group: GROUP, hash: Fake::spans(&body)[1].hash };
    fake.disks[1].chunks.lock().remove(&gone);
    path.retouch(GROUP, &mut body).await.unwrap();
    assert_eq!(told(&body, 0), (vec![0, 1, 2], vec![0, 1, 2]));
    assert_eq!(told(&body, 1), (vec![0, 2], vec![0, 1, 2]));
    fake.disks[2].chunks.lock().clear();
    assert_eq!(path.retouch(GROUP, &mut body).await.unwrap_err().code, Code::ServiceUnavailable);
    path.retouch(GROUP, &mut NewBody::Empty).await.unwrap();
}

/// Each chunk on three of forty disks, which follow each other in a circle.
fn in_a_circle(id: &ChunkId, map: &ClusterMap) -> Vec<DiskId> {
    let mut order: Vec<DiskId> = map.disks.iter().map(|disk| disk.id).collect();
    let count = order.len();
    order.rotate_left(usize::from(id.hash[0]) % count);
    order
}

#[tokio::test(start_paused = true)]
async fn a_body_on_more_disks_than_it_can_name_is_touched_again() {
    let fake = Fake::new(40);
    let settings = DataSettings { third_copy_wait: Duration::from_secs(1), ..settings() };
    let path = DataPath::with_placement(fake.client(), settings, in_a_circle);
    let mut body = store(&path, 200).await.unwrap().body;
    assert_eq!(holders(&fake).len(), 40);
    path.retouch(GROUP, &mut body).await.unwrap();
    // Where a chunk is not at home it is found, too, and told to lack a home.
    let moved = ChunkId { group: GROUP, hash: Fake::spans(&body)[7].hash };
    let mut bytes = None;
    for disk in &fake.disks {
        bytes = disk.chunks.lock().remove(&moved).or(bytes);
    }
    let homes = in_a_circle(&moved, &fake.client().map());
    let number = |disk: &DiskId| usize::from(disk.0[0]);
    for disk in &homes[20..22] {
        fake.disks[number(disk)].chunks.lock().insert(moved, bytes.clone().unwrap());
    }
    path.retouch(GROUP, &mut body).await.unwrap();
    let NewBody::Chunks { acknowledged, homes: told, .. } = &body else { panic!("not in chunks") };
    assert!(told[7] & !acknowledged[7] != 0);
    fake.disks[number(&homes[20])].chunks.lock().remove(&moved);
    assert_eq!(path.retouch(GROUP, &mut body).await.unwrap_err().code, Code::ServiceUnavailable);
}

proptest! {
    #[test]
    fn bits_tell_the_truth_and_what_lacks_a_home_always_shows(
        chunks in prop::collection::vec((prop::collection::vec(0u8..60, 1..4), prop::collection::vec(0u8..60, 3)), 1..80),
    ) {
        let disk = |number: &u8| DiskId([*number; 16]);
        let chunks: Vec<(Vec<DiskId>, Vec<DiskId>)> = chunks
            .iter()
            .map(|(acknowledged, homes)| (acknowledged.iter().map(disk).collect(), homes.iter().map(disk).collect()))
            .collect();
        let (disks, acknowledged, homes) = name_disks(&chunks);
        prop_assert!(disks.len() <= MAX_NAMED_DISKS);
        prop_assert_eq!(acknowledged.len(), chunks.len());
        prop_assert_eq!(homes.len(), chunks.len());
        for (place, chunk) in chunks.iter().enumerate() {
            for (bit, disk) in disks.iter().enumerate() {
                prop_assert_eq!(acknowledged[place] >> bit & 1 == 1, chunk.0.contains(disk));
            }
            let lacks = chunk.1.iter().any(|home| !chunk.0.contains(home));
            prop_assert_eq!(homes[place] & !acknowledged[place] != 0, lacks);
        }
    }
}
