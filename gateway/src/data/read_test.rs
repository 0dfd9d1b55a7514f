use std::sync::atomic::Ordering;

use cairn_storage::meta::Command;
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::super::DataPath;
use super::super::fake::{FOREVER, Fake, GROUP};
use super::*;
use crate::error::Code;

fn numbered(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8) ^ seed).collect()
}

fn whole(chunk: &[u8], fake: &Fake) -> ReadPlan {
    let (manifest, spans) = fake.manifest(&[chunk.to_vec()]);
    ReadPlan { manifest, spans, first: 0, last: chunk.len() as u64 - 1 }
}

async fn read(path: &DataPath, plan: ReadPlan) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let mut pieces = std::pin::pin!(path.read(GROUP, plan));
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// The bytes of a body, each of which is dropped at once, as a socket does that takes them.
async fn taken(mut body: axum::body::Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    bytes
}

/// What was queued for repair, once there was time to tell.
async fn repairs(fake: &Fake) -> Vec<(Vec<[u8; 32]>, Vec<DiskId>)> {
    sleep(Duration::from_secs(1)).await;
    let commands = fake.commands.lock();
    let queued = commands.iter().map(|(group, command)| match command {
        Command::QueueRepair { hashes, known } if *group == GROUP => (hashes.clone(), known.clone()),
        other => panic!("not a repair: {other:?}"),
    });
    queued.collect()
}

#[tokio::test]
async fn a_range_asks_the_disk_for_no_more_than_its_bytes() {
    let fake = Fake::new(3);
    let path = fake.path(DataSettings::default());
    let chunks = [numbered(3 << 20, 1), numbered(100, 2), numbered(2 << 20, 3)];
    let (manifest, spans) = fake.manifest(&chunks);
    let first = (3 << 20) - 10;
    let plan = ReadPlan { manifest, spans, first, last: first + 119 };
    assert_eq!(read(&path, plan).await.unwrap(), chunks.concat()[first as usize..][..120]);
    let ranges: Vec<_> = fake.disks[0].gets.lock().iter().map(|(_, range)| range.clone()).collect();
    assert_eq!(ranges, [(3 << 20) - 10..3 << 20, 0..100, 0..10]);
    assert!(fake.disks[1].gets.lock().is_empty());
}

#[tokio::test]
async fn nothing_wanted_is_an_empty_body() {
    let fake = Fake::new(1);
    let path = fake.path(DataSettings::default());
    let plan = ReadPlan { manifest: ManifestId::random(), spans: Vec::new(), first: 1, last: 0 };
    let body = path.open(GROUP, plan).await.unwrap();
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(0));
    assert!(body.collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn a_body_says_how_long_it_is() {
    let fake = Fake::new(1);
    let path = fake.path(DataSettings::default());
    let chunk = numbered(3_000_000, 1);
    let body = path.open(GROUP, ReadPlan { first: 5, ..whole(&chunk, &fake) }).await.unwrap();
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(2_999_995));
    assert_eq!(body.collect().await.unwrap().to_bytes(), chunk[5..]);
}

#[tokio::test(start_paused = true)]
async fn a_bad_replica_is_passed_over_and_told_once() {
    for error in [DiskError::Corrupt, DiskError::NotFound] {
        let fake = Fake::new(3);
        fake.mood(0, |mood| mood.get_error = Some(error));
        let path = fake.path(DataSettings::default());
        let chunk = numbered(4_000_000, 1);
        let plan = whole(&chunk, &fake);
        for _ in 0..3 {
            assert_eq!(read(&path, plan.clone()).await.unwrap(), chunk);
        }
        assert_eq!(repairs(&fake).await, [(vec![plan.spans[0].hash], vec![fake.disks[1].id])]);
        assert_eq!(read(&path, plan).await.unwrap(), chunk);
        assert_eq!(repairs(&fake).await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_answer_is_no_matter_for_repair() {
    let fake = Fake::new(3);
    fake.mood(0, |mood| mood.get_error = Some(DiskError::Unavailable("gone".into())));
    let path = fake.path(DataSettings::default());
    let chunk = numbered(10_000, 1);
    assert_eq!(read(&path, whole(&chunk, &fake)).await.unwrap(), chunk);
    assert!(repairs(&fake).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_replica_is_passed_over_and_asked_last_for_a_while() {
    let fake = Fake::new(3);
    fake.mood(0, |mood| mood.get_delay = FOREVER);
    let path = fake.path(DataSettings::default());
    let chunk = numbered(3 << 20, 1);
    let plan = whole(&chunk, &fake);
    let began = Instant::now();
    assert_eq!(read(&path, plan.clone()).await.unwrap(), chunk);
    assert_eq!(began.elapsed().as_secs(), 1);
    let before = fake.disks[0].gets.lock().len();
    assert_eq!(read(&path, plan.clone()).await.unwrap(), chunk);
    assert_eq!(began.elapsed().as_secs(), 1);
    assert_eq!(fake.disks[0].gets.lock().len(), before);
    sleep(SLOW).await;
    assert_eq!(read(&path, plan).await.unwrap(), chunk);
    assert!(fake.disks[0].gets.lock().len() > before);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_down_is_asked_last_and_one_that_is_drained_is_asked() {
    let fake = Fake::new(4);
    let path = fake.path(DataSettings::default());
    let chunk = numbered(10, 1);
    let plan = whole(&chunk, &fake);
    fake.set_down(0);
    assert_eq!(read(&path, plan.clone()).await.unwrap(), chunk);
    assert!(fake.disks[0].gets.lock().is_empty());
    fake.set_state(3, DiskState::Draining);
    for disk in 0..3 {
        fake.disks[disk].chunks.lock().clear();
    }
    assert_eq!(read(&path, plan).await.unwrap(), chunk);
}

#[tokio::test(start_paused = true)]
async fn a_busy_disk_is_asked_again() {
    let fake = Fake::new(1);
    fake.mood(0, |mood| mood.busy_gets = 2);
    let path = fake.path(DataSettings::default());
    let chunk = numbered(10, 1);
    assert_eq!(read(&path, whole(&chunk, &fake)).await.unwrap(), chunk);
    fake.mood(0, |mood| mood.busy_gets = 100);
    assert!(matches!(read(&path, whole(&chunk, &fake)).await, Err(ReadError::Unavailable)));
}

#[tokio::test(start_paused = true)]
async fn a_total_failure_at_the_start_is_a_clean_error() {
    let fake = Fake::new(1);
    let path = fake.path(DataSettings::default());
    let chunk = numbered(10, 1);
    let plan = whole(&chunk, &fake);
    for (error, code) in [
        (DiskError::Corrupt, Code::InternalError),
        (DiskError::NotFound, Code::InternalError),
        (DiskError::Unavailable(String::new()), Code::ServiceUnavailable),
    ] {
        fake.mood(0, |mood| mood.get_error = Some(error));
        assert_eq!(path.open(GROUP, plan.clone()).await.unwrap_err().code, code);
    }
    fake.mood(0, |mood| (mood.get_error, mood.get_delay) = (None, FOREVER));
    assert_eq!(path.open(GROUP, plan).await.unwrap_err().code, Code::ServiceUnavailable);
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_the_middle_ends_the_body_with_an_error() {
    let fake = Fake::new(2);
    let path = fake.path(DataSettings::default());
    let chunks = [numbered(1 << 20, 1), numbered(1 << 20, 2), numbered(1 << 20, 3)];
    let (manifest, spans) = fake.manifest(&chunks);
    let lost = ChunkId { group: GROUP, hash: spans[1].hash };
    for disk in &fake.disks {
        disk.chunks.lock().remove(&lost);
    }
    let plan = ReadPlan { manifest, spans, first: 0, last: (3 << 20) - 1 };
    let mut body = path.open(GROUP, plan).await.unwrap();
    let mut got = 0;
    let error = loop {
        match body.frame().await.unwrap() {
            Ok(frame) => got += frame.into_data().unwrap().len(),
            Err(error) => break error,
        }
    };
    assert_eq!(got, 1 << 20);
    assert!(error.to_string().contains("lost"), "{error}");
    assert!(body.frame().await.is_none());
    assert_eq!(repairs(&fake).await, [(vec![lost.hash], vec![])]);
}

#[tokio::test]
async fn a_manifest_that_ends_too_soon_is_an_error() {
    let fake = Fake::new(1);
    let path = fake.path(DataSettings::default());
    let chunk = numbered(10, 1);
    let plan = ReadPlan { last: 10, ..whole(&chunk, &fake) };
    assert!(matches!(read(&path, plan).await, Err(ReadError::Manifest)));
}

#[tokio::test(start_paused = true)]
async fn no_more_is_read_ahead_than_allowed() {
    let fake = Fake::new(1);
    let settings = DataSettings { read_ahead_bytes: 3 << 20, read_pool_bytes: 16 << 20, ..DataSettings::default() };
    let path = fake.path(settings);
    let chunk = numbered(8 << 20, 1);
    let plan = whole(&chunk, &fake);
    let asked = || fake.disks[0].gets.lock().len();

    // Of 16 MiB 2 are the copies', and 8 those of short ranges: ahead there may be 3.
    let mut one = std::pin::pin!(path.read(GROUP, plan.clone()));
    one.next().await.unwrap().unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(asked(), 3, "one for the copy and two ahead");

    let mut two = std::pin::pin!(path.read(GROUP, plan.clone()));
    two.next().await.unwrap().unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(asked(), 5, "there was plenty of room for one more");

    let three = path.read(GROUP, plan.clone());
    let waited = timeout(Duration::from_secs(5), std::pin::pin!(three).next()).await;
    assert!(waited.is_err(), "two copies are all that there may be at once");
    let rest: Vec<_> = one.collect().await;
    assert_eq!(rest.into_iter().map(|piece| piece.unwrap().len()).sum::<usize>(), (8 << 20) - (512 << 10));
}

#[tokio::test(start_paused = true)]
async fn clients_that_take_nothing_hold_no_more_than_the_room_and_keep_nobody_from_reading() {
    let fake = Fake::new(1);
    let settings = DataSettings { read_pool_bytes: 16 << 20, ..DataSettings::default() };
    let path = fake.path(settings);
    let chunk = numbered(8 << 20, 1);
    let plan = whole(&chunk, &fake);
    let read_bytes = || fake.disks[0].gets.lock().iter().map(|(_, range)| range.len()).sum::<usize>();

    let mut stalled = Vec::new();
    for _ in 0..60 {
        let mut body = path.open(GROUP, plan.clone()).await.unwrap();
        // As far as a socket's queue goes.
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        stalled.push((body, first));
    }
    assert!(read_bytes() <= 14 << 20, "{} bytes are held", read_bytes());
    assert_eq!(taken(path.open(GROUP, plan.clone()).await.unwrap()).await, chunk, "one that takes its answer goes on");
    assert_eq!(read(&path, plan.clone()).await.unwrap(), chunk, "and so does a copy");

    // Until there is no room at all: then they wait, are told so, and go on when one of the others has gone.
    let refused = loop {
        match path.open(GROUP, plan.clone()).await {
            Ok(body) => stalled.push((body, Bytes::new())),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code, Code::SlowDown);
    let waiting = tokio::spawn({
        let (path, plan) = (path.clone(), plan.clone());
        async move { path.open(GROUP, plan).await.map(drop) }
    });
    sleep(Duration::from_secs(1)).await;
    stalled.pop();
    waiting.await.unwrap().unwrap();
    drop(stalled);
    assert_eq!(taken(path.open(GROUP, plan).await.unwrap()).await, chunk);
}

#[tokio::test]
async fn chunks_past_the_known_ones_are_asked_for() {
    let fake = Fake::new(1);
    let path = fake.path(DataSettings::default());
    let chunks: Vec<_> = (0..20).map(|n| numbered(1_000, n)).collect();
    let (manifest, mut spans) = fake.manifest(&chunks);
    spans.truncate(2);
    let plan = ReadPlan { manifest, spans, first: 0, last: 19_999 };
    assert_eq!(read(&path, plan).await.unwrap(), chunks.concat());
    assert_eq!(fake.queries.load(Ordering::Relaxed), 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_range_is_the_same_as_that_of_a_vector(
        lengths in prop::collection::vec(prop_oneof![1usize..3_000, 900_000usize..2_300_000], 1..6),
        known in 0usize..4,
        range in any::<(prop::sample::Index, prop::sample::Index)>(),
        bad in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fake = Fake::new(5);
            let path = fake.path(DataSettings::default());
            let chunks: Vec<_> = lengths.iter().enumerate().map(|(n, length)| numbered(*length, n as u8)).collect();
            let whole = chunks.concat();
            let (manifest, spans) = fake.manifest(&chunks);
            for (disk, chunk) in bad {
                let id = ChunkId { group: GROUP, hash: spans[chunk.index(spans.len())].hash };
                fake.disks[disk.index(4)].chunks.lock().remove(&id);
            }
            let (a, b) = (range.0.index(whole.len()), range.1.index(whole.len()));
            let (first, last) = (a.min(b), a.max(b));
            let overlapping = spans.into_iter().filter(|span| span.offset + u64::from(span.len) > first as u64);
            let spans = overlapping.take(known).collect();
            let plan = ReadPlan { manifest, spans, first: first as u64, last: last as u64 };
            let body = path.open(GROUP, plan).await.unwrap().collect().await.unwrap().to_bytes();
            assert!(body == whole[first..=last]);
        });
    }
}
