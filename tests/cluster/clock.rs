//! The clock of one node, which a test can set: libfaketime before the C library. Monotonic time stays as it is.

use std::fs;
use std::path::{Path, PathBuf};

use super::Node;

/// Where Debian's package `libfaketime` puts the variant for programs of many threads.
fn library() -> Option<PathBuf> {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    places.iter().map(|place| Path::new(place).join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// From its next start on the node has a clock that can be set. Whether it can be had here.
pub fn give(node: &mut Node) -> bool {
    let Some(library) = library() else { return false };
    let file = file(node);
    set(node, 0);
    node.environment = vec![
        ("LD_PRELOAD".to_owned(), library),
        ("FAKETIME_TIMESTAMP_FILE".to_owned(), file),
        ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".into()),
        // It is read anew at most once a second.
        ("FAKETIME_CACHE_DURATION".to_owned(), "1".into()),
    ];
    true
}

/// The clock is so many seconds ahead from now on, or behind.
pub fn set(node: &Node, seconds: i64) {
    let (file, fresh) = (file(node), node.directory.with_extension("clock.new"));
    fs::write(&fresh, format!("{seconds:+}\n")).expect("it is written");
    // Never seen half written.
    cairn_storage::durable::rename(&fresh, &file).expect("it is in its place");
}

fn file(node: &Node) -> PathBuf {
    node.directory.with_extension("clock")
}
