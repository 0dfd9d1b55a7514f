//! The clock of one node, which a test can set: libfaketime before the C library. Monotonic time stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_gateway::xml::http_date;
use cairn_storage::types::now_ms;
use http::HeaderValue;

use super::Node;
use crate::harness::eventually;

/// So much later than the question the answer may come, seconds. Less than what the clock is set by.
const TOLERANCE: i64 = 15;

/// The file is read anew at most so often.
const CACHE: Duration = Duration::from_secs(1);

/// Where Debian's package `libfaketime` puts the variant for programs of many threads.
fn library() -> Option<PathBuf> {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    places.iter().map(|place| Path::new(place).join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// From its next start on the node has a clock that can be set. Whether it can be had here.
pub fn give(node: &mut Node) -> bool {
    let Some(library) = library() else { return false };
    let file = file(node);
    write(node, 0);
    node.environment = vec![
        ("LD_PRELOAD".to_owned(), library),
        ("FAKETIME_TIMESTAMP_FILE".to_owned(), file),
        ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".into()),
        ("FAKETIME_CACHE_DURATION".to_owned(), CACHE.as_secs().to_string().into()),
    ];
    true
}

/// From now on the node's clock is so many seconds ahead, or behind. Waits until it goes by it.
pub async fn set(node: &Node, seconds: i64) {
    write(node, seconds);
    if seconds <= 0 {
        // The header is not told anew before its time has come again.
        return tokio::time::sleep(CACHE * 2).await;
    }
    eventually("the node's clock is ahead", Duration::from_secs(60), async || {
        let now = now_ms();
        let Some(date) = date(node).await else { return false };
        let is = |off: i64| http_date(now.saturating_add_signed((seconds + off) * 1000)) == date;
        (-TOLERANCE..=TOLERANCE).any(is)
    })
    .await;
}

/// What the node says that it is, in the header of an answer.
async fn date(node: &Node) -> Option<HeaderValue> {
    let answer = reqwest::get(format!("http://127.0.0.1:{}/v1/health", node.rpc_port)).await.ok()?;
    answer.headers().get("date").cloned()
}

fn write(node: &Node, seconds: i64) {
    let (file, fresh) = (file(node), node.directory.with_extension("clock.new"));
    fs::write(&fresh, format!("{seconds:+}\n")).expect("it is written");
    // Never seen half written.
    cairn_storage::durable::rename(&fresh, &file).expect("it is in its place");
}

fn file(node: &Node) -> PathBuf {
    node.directory.with_extension("clock")
}
