use std::sync::atomic::Ordering;

use axum::body::Body;
use cairn_storage::meta::record::ChecksumAlgorithm;
use futures::StreamExt;
use md5::Digest;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::super::checksum::{self, Expected};
use super::super::fake::{FOREVER, Fake, GROUP};
use super::super::{DataPath, DataSettings, Intake, ReadPlan};
use super::*;
use crate::auth::Payload;

const KIB: usize = 1 << 10;

fn settings() -> DataSettings {
    DataSettings { chunk_size: 64 * KIB, ..DataSettings::default() }
}

/// Bytes that do not repeat.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

fn intake(bytes: &[u8], length: usize) -> Intake {
    let pieces: Vec<_> = bytes.chunks(7_000).map(|piece| Ok::<_, S3Error>(Bytes::copy_from_slice(piece))).collect();
    Intake {
        body: Body::from_stream(futures::stream::iter(pieces)),
        payload: Payload::Unsigned,
        length: length as u64,
        content_md5: None,
        checksum: Asked::default(),
        may_inline: true,
    }
}

/// A body whose bytes come when the test says so.
fn trickle(length: usize) -> (mpsc::UnboundedSender<Bytes>, Intake) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let stream = tokio_stream(receiver).map(Ok::<_, S3Error>);
    (sender, Intake { body: Body::from_stream(stream), ..intake(b"", length) })
}

fn tokio_stream(receiver: mpsc::UnboundedReceiver<Bytes>) -> impl futures::Stream<Item = Bytes> + Send {
    futures::stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) })
}

fn start(path: &DataPath, intake: Intake) -> AbortOnDropHandle<Result<Stored, S3Error>> {
    let path = path.clone();
    AbortOnDropHandle::new(tokio::spawn(async move { path.store(GROUP, intake).await }))
}

fn chunk_lens(body: &NewBody) -> Vec<usize> {
    Fake::spans(body).iter().map(|span| span.len as usize).collect()
}

/// Waits for the buffers of tasks that were given up, or go on in the background.
async fn all_given_back(path: &DataPath) {
    while path.0.pool.in_use() > 0 {
        tokio::task::yield_now().await;
    }
}

async fn read_back(path: &DataPath, stored: &Stored) -> Vec<u8> {
    if let NewBody::Inline { bytes, .. } = &stored.body {
        return bytes.to_vec();
    }
    let spans = Fake::spans(&stored.body);
    let plan = ReadPlan { manifest: ManifestId::random(), spans, first: 0, last: stored.size.saturating_sub(1) };
    if stored.size == 0 {
        return Vec::new();
    }
    let pieces: Vec<_> = path.read(GROUP, plan).collect().await;
    pieces.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn what_was_stored_is_what_was_sent() {
    let fake = Fake::new(3);
    let path = fake.path(settings());
    for length in [0, 1, 16 * KIB, 16 * KIB + 1, 64 * KIB, 64 * KIB + 1, 200_000, 3_000_000] {
        let bytes = noise(length, 1);
        let intake = Intake {
            content_md5: Some(md5::Md5::digest(&bytes).into()),
            payload: Payload::Sha256(sha2::Sha256::digest(&bytes).into()),
            checksum: Asked::computed(ChecksumAlgorithm::Sha256),
            ..intake(&bytes, length)
        };
        let stored = path.store(GROUP, intake).await.unwrap();
        assert_eq!(stored.size, length as u64);
        assert_eq!(stored.md5, <[u8; 16]>::from(md5::Md5::digest(&bytes)));
        assert_eq!(stored.checksum, Some(checksum::of(ChecksumAlgorithm::Sha256, &bytes)));
        match &stored.body {
            NewBody::Empty => assert_eq!(length, 0),
            NewBody::Inline { .. } => assert!((1..=16 * KIB).contains(&length)),
            NewBody::Chunks { .. } => assert!(length > 16 * KIB),
        }
        assert_eq!(read_back(&path, &stored).await, bytes, "{length}");
    }
    all_given_back(&path).await;
}

#[tokio::test]
async fn large_chunks_are_hashed_elsewhere_and_come_out_the_same() {
    let fake = Fake::new(3);
    let path = fake.path(DataSettings::default());
    let bytes = noise(20_000_000, 2);
    let intake = Intake { checksum: Asked::computed(ChecksumAlgorithm::Crc64Nvme), ..intake(&bytes, bytes.len()) };
    let stored = path.store(GROUP, intake).await.unwrap();
    assert_eq!(chunk_lens(&stored.body), [8 << 20, 8 << 20, 20_000_000 - (16 << 20)]);
    assert_eq!(stored.md5, <[u8; 16]>::from(md5::Md5::digest(&bytes)));
    assert_eq!(stored.checksum, Some(checksum::of(ChecksumAlgorithm::Crc64Nvme, &bytes)));
    assert_eq!(read_back(&path, &stored).await, bytes);
}

#[tokio::test]
async fn a_short_body_goes_into_chunks_where_it_may_not_be_inline() {
    let fake = Fake::new(1);
    let path = fake.path(settings());
    let stored = path.store(GROUP, Intake { may_inline: false, ..intake(b"short", 5) }).await.unwrap();
    assert_eq!(chunk_lens(&stored.body), [5]);
    let stored = path.store(GROUP, Intake { may_inline: false, ..intake(b"", 0) }).await.unwrap();
    assert_eq!(stored.body, NewBody::Empty);
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_incomplete() {
    let fake = Fake::new(1);
    let path = fake.path(settings());
    for (sent, announced) in [(0, 5), (4, 5), (6, 5), (5, 0), (100_000, 100_001), (100_001, 100_000), (10, 100_000)] {
        let error = path.store(GROUP, intake(&noise(sent, 3), announced)).await.unwrap_err();
        assert_eq!(error.code, Code::IncompleteBody, "{sent} of {announced}");
    }
    all_given_back(&path).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_incomplete_and_gives_its_buffers_back() {
    let fake = Fake::new(1);
    let path = fake.path(settings());
    let broken = || -> Result<Bytes, std::io::Error> { Err(std::io::ErrorKind::ConnectionReset.into()) };
    let pieces = vec![Ok(noise(150_000, 4).into()), broken()];
    let body = Body::from_stream(futures::stream::iter(pieces));
    let error = path.store(GROUP, Intake { body, ..intake(b"", 200_000) }).await.unwrap_err();
    assert_eq!(error.code, Code::IncompleteBody);
    all_given_back(&path).await;
}

#[tokio::test]
async fn a_hash_that_does_not_hold_is_told_by_its_own_code() {
    let fake = Fake::new(1);
    let path = fake.path(settings());
    let wrong = Bytes::from_static(&[1, 2, 3, 4]);
    for length in [5, 100_000] {
        let bytes = noise(length, 5);
        let plain = || intake(&bytes, length);
        let value = Asked { expected: Expected::Value(wrong.clone()), ..Asked::computed(ChecksumAlgorithm::Crc32) };
        let trailer = Asked { expected: Expected::Trailer, ..Asked::computed(ChecksumAlgorithm::Crc32) };
        let bad = [
            (Intake { payload: Payload::Sha256([1; 32]), ..plain() }, Code::XAmzContentSHA256Mismatch),
            (Intake { content_md5: Some([1; 16]), ..plain() }, Code::BadDigest),
            (Intake { checksum: value, ..plain() }, Code::BadDigest),
            (Intake { checksum: trailer, ..plain() }, Code::InvalidRequest),
        ];
        for (intake, code) in bad {
            assert_eq!(path.store(GROUP, intake).await.unwrap_err().code, code);
        }
    }
}

#[tokio::test]
async fn an_error_of_a_stream_is_passed_on() {
    let fake = Fake::new(1);
    let path = fake.path(settings());
    let store = |pieces: Vec<Result<Bytes, S3Error>>, length| {
        path.store_stream(GROUP, futures::stream::iter(pieces), length, Asked::default(), true)
    };
    let bytes = Bytes::from(noise(100_000, 6));
    let stored = store(vec![Ok(bytes.clone())], 100_000).await.unwrap();
    assert_eq!(read_back(&path, &stored).await, bytes);
    let error = store(vec![Ok(bytes), Err(Code::InternalError.into())], 200_000).await.unwrap_err();
    assert_eq!(error.code, Code::InternalError);
}

#[tokio::test]
async fn two_hundred_uploads_stay_within_the_pool() {
    let fake = Fake::new(3);
    for disk in 0..3 {
        fake.mood(disk, |mood| mood.put_delay = Duration::from_millis(1 + disk as u64));
    }
    let pool_bytes = 20 * 64 * KIB;
    let path = fake.path(DataSettings { pool_bytes, ..settings() });
    let uploads: Vec<_> = (0..200)
        .map(|number| {
            let bytes = noise(300_000, number);
            start(&path, intake(&bytes, bytes.len()))
        })
        .collect();
    for upload in uploads {
        upload.await.unwrap().unwrap();
    }
    let peak = fake.traffic.peak_bytes.load(Ordering::Relaxed);
    assert!(peak <= pool_bytes && peak > pool_bytes / 2, "{peak}");
}

#[tokio::test(start_paused = true)]
async fn a_chunk_of_a_silent_client_is_cut_when_others_wait() {
    let fake = Fake::new(1);
    let path = fake.path(DataSettings { pool_bytes: 64 * KIB, ..settings() });
    let bytes = noise(100_000, 7);
    let (sender, silent) = trickle(bytes.len());
    let silent = start(&path, silent);
    sender.send(Bytes::copy_from_slice(&bytes[..1_000])).unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(fake.disks[0].puts.load(Ordering::Relaxed), 0, "nobody waits, nothing is cut");

    let other = start(&path, intake(&bytes, bytes.len()));
    let began = Instant::now();
    other.await.unwrap().unwrap();
    assert!(began.elapsed() <= Duration::from_secs(6));

    sender.send(Bytes::copy_from_slice(&bytes[1_000..])).unwrap();
    drop(sender);
    let stored = silent.await.unwrap().unwrap();
    assert_eq!(chunk_lens(&stored.body), [1_000, 64 * KIB, 99_000 - 64 * KIB]);
    assert_eq!(read_back(&path, &stored).await, bytes);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_drips_is_cut_too() {
    let fake = Fake::new(1);
    let path = fake.path(DataSettings { pool_bytes: 64 * KIB, ..settings() });
    let (sender, dripping) = trickle(100_000);
    let dripping = start(&path, dripping);
    sender.send(Bytes::from_static(b"drip")).unwrap();
    tokio::task::yield_now().await;
    let other = start(&path, intake(&noise(20_000, 8), 20_000));
    let mut drips = 1;
    while !other.is_finished() {
        tokio::time::sleep(Duration::from_secs(4)).await;
        sender.send(Bytes::from_static(b"drip")).unwrap();
        drips += 1;
        assert!(drips < 20);
    }
    drop(dripping);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_for_long_is_told_so() {
    let fake = Fake::new(1);
    let path = fake.path(settings());
    for length in [5, 100_000] {
        let (_sender, intake) = trickle(length);
        let error = path.store(GROUP, intake).await.unwrap_err();
        assert_eq!(error.code, Code::RequestTimeout);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_pool_too_long_is_told_to_slow_down() {
    let fake = Fake::new(1);
    fake.mood(0, |mood| mood.put_delay = FOREVER);
    let settings = DataSettings { pool_bytes: 64 * KIB, disk_timeout: FOREVER, ..settings() };
    let path = fake.path(settings);
    let bytes = noise(64 * KIB, 9);
    let stuck = start(&path, intake(&bytes, bytes.len()));
    tokio::task::yield_now().await;
    let error = path.store(GROUP, intake(&bytes, bytes.len())).await.unwrap_err();
    assert_eq!(error.code, Code::SlowDown);
    drop(stuck);
    all_given_back(&path).await;
}

#[tokio::test]
async fn a_failed_chunk_ends_the_upload_before_all_of_it_was_read() {
    let fake = Fake::new(1);
    fake.mood(0, |mood| mood.put_error = Some(cairn_storage::client::DiskError::Full));
    let path = fake.path(settings());
    let endless = futures::stream::repeat_with(|| Ok::<_, S3Error>(Bytes::from(vec![1; 10_000])));
    let body = Body::from_stream(endless);
    let error = path.store(GROUP, Intake { body, ..intake(b"", 1 << 30) }).await.unwrap_err();
    assert_eq!(error.code, Code::StorageFull);
}

proptest! {
    #[test]
    fn a_body_never_needs_more_chunks_than_it_may_have(
        preferred in 64 * KIB..=MAX_CHUNK_LEN,
        length in 1..=(5u64 << 30),
        cuts in prop::collection::vec((0usize..4_000, 1usize..200_000), 0..40),
    ) {
        let (mut remaining, mut chunks) = (length, 0);
        let mut cuts = cuts.into_iter().peekable();
        while remaining > 0 {
            let len = chunk_len(preferred, remaining, chunks).unwrap();
            prop_assert!(len as u64 <= remaining && (1..=MAX_CHUNK_LEN).contains(&len));
            let cut = cuts.next_if(|(after, _)| chunks >= *after).map(|(_, cut)| cut.min(len));
            remaining -= cut.unwrap_or(len) as u64;
            chunks += 1;
        }
        prop_assert!(chunks <= MAX_CHUNKS_PER_BODY);
    }
}
