//! Disks that rot, go missing, come back, and fill up, under a real server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use http::StatusCode;

use crate::harness::{Server, SmallDisk, body, eventually, flip_byte, segments};

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_never_served_and_is_healed_from_another_copy() {
    let server = Server::start(3, &["--reserve", "1MiB"]).await;
    let s3 = server.s3();
    s3.create_bucket("rot").await;
    let bytes = body(1, 200_000);
    s3.put("rot", "key", bytes.clone()).await;

    // The third copy may still be under way when the put is answered.
    let disks = server.disks().to_vec();
    let needle = bytes[100_000..100_032].to_vec();
    eventually("three copies", Duration::from_secs(10), || async {
        disks.iter().filter(|disk| holds(disk, &needle)).count() == 3
    })
    .await;
    // A read asks one disk first, and nobody outside knows which: the copy that rots is the one that is read.
    let mut read_first = None;
    for disk in &disks {
        assert!(flip_byte(disk, &needle), "the copy on {} is where it was", disk.display());
        assert_eq!(s3.get("rot", "key").await.as_deref(), Some(&bytes[..]));
        if server.metric("cairn_chunk_corrupt_total", "").await >= 1.0 {
            read_first = Some(disk);
            break;
        }
        let mut rotten = needle.clone();
        rotten[0] = !rotten[0];
        assert!(flip_byte(disk, &rotten), "the byte is flipped back");
    }
    let disk = read_first.expect("one of the copies was read, found bad, and counted");
    eventually("the copy is healed", Duration::from_secs(60), || async { holds(disk, &needle) }).await;
    assert_eq!(s3.get("rot", "key").await.as_deref(), Some(&bytes[..]));
}

fn holds(disk: &Path, needle: &[u8]) -> bool {
    segments(disk).iter().any(|path| {
        let bytes = fs::read(path).expect("a segment can be read");
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_copy_only_a_flipped_byte_fails_the_read() {
    let server = Server::start(1, &[]).await;
    let s3 = server.s3();
    s3.create_bucket("rot").await;
    let bytes = body(2, 100_000);
    s3.put("rot", "key", bytes.clone()).await;
    assert!(flip_byte(&server.disks()[0], &bytes[50_000..50_032]));
    let answer = s3.send("GET", "/rot/key", "", Vec::new()).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text().await.expect("a body").contains("<Code>InternalError</Code>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_goes_away_at_run_time_is_passed_over_and_catches_up_when_it_is_back() {
    let mut server = Server::start(3, &[]).await;
    let s3 = server.s3();
    s3.create_bucket("away").await;
    s3.put("away", "before", body(1, 100_000)).await;

    let disk = server.disks()[0].clone();
    let aside = server.path().join("aside");
    rename(&disk, &aside);
    eventually("writes go on", Duration::from_secs(15), || async {
        s3.try_put("away", "during", body(2, 100_000)).await.is_ok_and(|status| status.is_success())
    })
    .await;
    for round in 0..20 {
        s3.put("away", &format!("during/{round}"), body(round, 60_000)).await;
    }
    assert_eq!(s3.get("away", "before").await, Some(body(1, 100_000)));
    assert_eq!(s3.get("away", "during").await, Some(body(2, 100_000)));

    server.kill();
    rename(&aside, &disk);
    server.restart().await;
    assert_eq!(s3.get("away", "during").await, Some(body(2, 100_000)));
    let needle = body(2, 100_000)[70_000..70_032].to_vec();
    eventually("the disk has what it missed", Duration::from_secs(60), || async { holds(&disk, &needle) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_missing_at_the_start_is_done_without() {
    let mut server = Server::start(3, &[]).await;
    let s3 = server.s3();
    s3.create_bucket("gone").await;
    s3.put("gone", "before", body(1, 100_000)).await;
    server.kill();
    fs::remove_dir_all(&server.disks()[1]).expect("the disk is removed");
    server.restart().await;
    assert_eq!(s3.get("gone", "before").await, Some(body(1, 100_000)));
    s3.put("gone", "after", body(2, 100_000)).await;
    assert_eq!(s3.get("gone", "after").await, Some(body(2, 100_000)));
    assert_eq!(s3.list("gone").await, ["after", "before"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_new_data_and_gives_space_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = SmallDisk::mount(directory.path().join("small"), 320) else {
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    let server = Server::start_on(directory, vec![disk.0.clone()], &["--gc-grace", "2s", "--reserve", "64MiB"]).await;
    let s3 = server.s3();
    s3.create_bucket("full").await;

    let mut stored = Vec::new();
    let refused = loop {
        let key = format!("{:03}", stored.len());
        let answer = s3.send("PUT", &format!("/full/{key}"), "", body(stored.len() as u64, 8 << 20)).await;
        let answer = answer.expect("an answer");
        if !answer.status().is_success() {
            break answer;
        }
        stored.push(key);
        assert!(stored.len() < 60, "more than fits was taken");
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().await.expect("a body").contains("<Code>StorageFull</Code>"));

    assert_eq!(s3.get("full", "000").await, Some(body(0, 8 << 20)));
    assert_eq!(s3.list("full").await, stored);
    for key in &stored[1..] {
        s3.delete("full", key).await;
    }
    eventually("space comes back", Duration::from_secs(60), || async {
        s3.try_put("full", "again", body(99, 8 << 20)).await.is_ok_and(|status| status.is_success())
    })
    .await;
    assert_eq!(s3.get("full", "000").await, Some(body(0, 8 << 20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_can_be_made_anew_from_the_segments() {
    let mut server = Server::start(1, &[]).await;
    let s3 = server.s3();
    s3.create_bucket("index").await;
    for number in 0..20 {
        s3.put("index", &format!("{number}"), body(number, 50_000 + number as usize)).await;
    }
    server.kill();
    fs::remove_dir_all(server.disks()[0].join("chunks/index")).expect("the index is removed");
    let done = crate::harness::cairn().arg("rebuild-index").arg(&server.disks()[0]).output().expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    server.restart().await;
    for number in 0..20 {
        assert_eq!(s3.get("index", &format!("{number}")).await, Some(body(number, 50_000 + number as usize)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_data_is_collected_after_the_grace_time() {
    let server = Server::start(3, &["--gc-grace", "2s"]).await;
    let s3 = server.s3();
    s3.create_bucket("garbage").await;
    for number in 0..30 {
        s3.put("garbage", &format!("{number}"), body(number, 1 << 20)).await;
    }
    s3.put("garbage", "kept", body(1000, 1 << 20)).await;
    eventually("three copies", Duration::from_secs(10), || async { chunks(&server).await == 93.0 }).await;
    for number in 0..30 {
        s3.delete("garbage", &format!("{number}")).await;
    }
    eventually("the garbage is gone", Duration::from_secs(60), || async { chunks(&server).await == 3.0 }).await;
    assert_eq!(s3.get("garbage", "kept").await, Some(body(1000, 1 << 20)));
}

async fn chunks(server: &Server) -> f64 {
    server.metric("cairn_chunk_chunks", "").await
}

#[allow(clippy::disallowed_methods, reason = "a test takes a disk away; nothing needs to be durable")]
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).expect("a directory is moved");
}
