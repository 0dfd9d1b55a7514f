//! Data directories of former releases open, and all that is in them is there. `fixtures/` has one of each, a disk of its
//! own with the keys of the tests' root user; none is ever changed.

use sha2::{Digest, Sha256};

use crate::harness::Server;

/// What the fixtures were filled with.
fn filling(number: u32, length: usize) -> Vec<u8> {
    let blocks = (0..length.div_ceil(32)).flat_map(|block| Sha256::digest(format!("{number}/{block}")));
    blocks.take(length).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_release_0_1_0_opens() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v0.1.0.tar.gz");
    let unpacked = std::process::Command::new("tar").arg("-xzf").arg(fixture).arg("-C").arg(directory.path()).status();
    assert!(unpacked.expect("tar runs").success());
    let disk = directory.path().join("disk");
    let mut server = Server::start_on(directory, vec![disk], &["--chunk-size", "64KiB"]).await;
    // The second start is of what this release has written.
    for _ in 0..2 {
        let s3 = server.s3();
        assert_eq!(s3.list("kept").await, ["chunks", "empty", "parts", "small/ü +"]);
        let parts = [vec![b'p'; 5 << 20], vec![b'p'; 1000]].concat();
        let whole = [
            ("empty", Vec::new()),
            ("small%2F%C3%BC%20%2B", filling(1, 1000)),
            ("chunks", filling(2, 70_000)),
            ("parts", parts),
        ];
        for (key, bytes) in whole {
            assert!(s3.get("kept", key).await == Some(bytes), "{key}");
        }
        let uploads = s3.send("GET", "/kept", "uploads=", Vec::new()).await.expect("an answer");
        assert!(uploads.text().await.expect("text").contains("<Key>open</Key>"));
        s3.put("kept", "new", filling(4, 70_000)).await;
        s3.delete("kept", "new").await;
        server.kill();
        server.restart().await;
    }
}
