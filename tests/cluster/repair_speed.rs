//! What repair costs those who use the cluster meanwhile. A measurement, not a test:
//! `cargo test --release --workspace --test end_to_end -- --ignored --nocapture repair_speed`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Cluster;
use crate::harness::{S3, body};

/// What is there to be repaired: 6,400 chunks of 64 KiB, three copies of each on four nodes.
const OBJECTS: u64 = 100;
const OBJECT_LEN: usize = 4 << 20;
const CLIENTS: u64 = 4;
const LEN: usize = 64 << 10;
/// What a client does between two requests: nothing.
const REST: Duration = Duration::from_millis(10);

/// Puts and gets by a few clients until they are told to stop; how long each took, sorted.
async fn requests(s3: &S3, stop: &Arc<AtomicBool>) -> Vec<Duration> {
    let clients = (0..CLIENTS).map(|client| {
        let (s3, stop) = (s3.clone(), stop.clone());
        tokio::spawn(async move {
            let mut took = Vec::new();
            let bytes = body(1_000_000 + client, LEN);
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                if took.len() % 2 == 0 {
                    s3.put("busy", &format!("key{client}"), bytes.clone()).await;
                } else {
                    assert!(s3.get("busy", &format!("key{client}")).await.is_some());
                }
                took.push(begun.elapsed());
                tokio::time::sleep(REST).await;
            }
            took
        })
    });
    let mut all: Vec<Duration> =
        futures::future::join_all(clients).await.into_iter().flat_map(|took| took.expect("it ran")).collect();
    all.sort_unstable();
    all
}

fn print(what: &str, took: &[Duration]) -> f64 {
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    println!("{what}: {} requests, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", took.len(), at(0.5), at(0.99), at(1.0));
    at(0.99)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn repair_speed() {
    let mut cluster = Cluster::start(4, &[]).await;
    let s3 = cluster.s3();
    for bucket in ["full", "busy"] {
        s3.create_bucket(bucket).await;
    }
    for number in 0..OBJECTS {
        s3.put("full", &format!("key{number}"), body(number, OBJECT_LEN)).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (quiet, ()) = tokio::join!(requests(&s3, &stop), async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        stop.store(true, Ordering::Relaxed);
    });
    let before = print("at rest", &quiet);

    let lost = cluster.status().await.expect("a status");
    let address = &cluster.addresses()[3];
    let nodes = lost["nodes"].as_array().expect("nodes");
    let id = nodes.iter().find(|node| node["address"] == **address).expect("the node")["id"].to_string();
    cluster.kill(3);
    tokio::time::sleep(Duration::from_secs(6)).await;
    cluster.command(&["node", "remove", &id, "--force"]).await.expect("it is let go");
    let begun = Instant::now();
    stop.store(false, Ordering::Relaxed);
    let (busy, ()) = tokio::join!(requests(&s3, &stop), async {
        let mut most = 0;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let Some(status) = cluster.status().await else { continue };
            let queued = |group: &serde_json::Value| group["queued_repairs"].as_u64().unwrap_or(0);
            let left: u64 = status["groups"].as_array().map_or(0, |groups| groups.iter().map(queued).sum());
            most = most.max(left);
            if status["health"] == "healthy" {
                break;
            }
        }
        println!("healthy after {:?}; {most} chunks were queued at most", begun.elapsed());
        stop.store(true, Ordering::Relaxed);
    });
    let during = print("while chunks were repaired", &busy);
    println!("p99 while repairing: {:.2} times that at rest", during / before);
}
