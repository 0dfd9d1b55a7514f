//! Memory stays bounded, whatever the clients do.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
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
