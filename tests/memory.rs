//! Memory stays bounded, whatever the clients do.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Server, body, eventually};

const UPLOADS: usize = 200;
const DECLARED_BYTES: u64 = 1 << 30;
const BOUND_BYTES: u64 = 1 << 30;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_uploads_of_a_gibibyte_at_once_stay_under_a_gibibyte() {
    let server = Server::start(3, &["--gc-grace", "5s"]).await;
    let s3 = server.s3();
    s3.create_bucket("many").await;
    let block = body(5, 1 << 20);
    let uploads: Vec<_> = (0..UPLOADS)
        .map(|number| {
            let head = s3.unsigned_payload_head("PUT", &format!("/many/{number}"), DECLARED_BYTES);
            let address = server.url().trim_start_matches("http://").to_owned();
            let block = block.clone();
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.expect("it connects");
                stream.write_all(head.as_bytes()).await.expect("the head is taken");
                // As fast as the server takes it, until it has had enough or the test has.
                while stream.write_all(&block).await.is_ok() {}
            })
        })
        .collect();

    let mut peak = 0;
    for _ in 0..80 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        peak = peak.max(server.resident_bytes());
    }
    for upload in &uploads {
        upload.abort();
    }
    assert!(peak < BOUND_BYTES, "{} MiB were resident", peak >> 20);

    // The cut-off uploads are not visible, and the server is none the worse.
    eventually("the pool is free again", Duration::from_secs(30), || async {
        s3.try_put("many", "after", body(1, 1 << 20)).await.is_ok_and(|status| status.is_success())
    })
    .await;
    assert_eq!(s3.list("many").await, ["after"]);
}

const READERS: usize = 500;
const OBJECT_BYTES: usize = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_readers_that_take_nothing_stay_under_a_gibibyte_and_keep_nobody_from_reading() {
    let server = Server::start(3, &[]).await;
    let s3 = server.s3();
    s3.create_bucket("slow").await;
    let block = body(7, OBJECT_BYTES);
    s3.put("slow", "large", block.clone()).await;

    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).await.expect("it connects");
        let head = s3.unsigned_payload_head("GET", "/slow/large", 0);
        stream.write_all(head.as_bytes()).await.expect("the head is taken");
        // The first bytes, and never another.
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");
        readers.push(stream);
    }
    let others = async {
        for number in 0..4 {
            assert_eq!(s3.get("slow", "large").await.as_deref(), Some(&block[..]));
            s3.put("slow", &format!("other{number}"), body(number, 20 << 20)).await;
            assert_eq!(s3.list("slow").await.len() as u64, number + 2);
        }
    };
    let mut peak = 0;
    let watched = async {
        loop {
            peak = peak.max(server.resident_bytes());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        done = tokio::time::timeout(Duration::from_secs(100), others) => done.expect("others are served"),
        () = watched => {}
    }
    assert!(peak > 0 && peak < BOUND_BYTES, "{} MiB were resident", peak >> 20);
    drop(readers);
}
