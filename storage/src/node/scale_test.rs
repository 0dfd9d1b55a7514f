use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::disk::Memory;
use super::options::NodeOptions;
use crate::meta::query::{ListEntry, ListFrom, Wanted};
use crate::meta::synthetic::Load;
use crate::meta::{Answer, GroupStore, Query};
use crate::raft::DiskDb;
use crate::types::{BucketId, DiskId, GroupId};

const BUCKET: BucketId = BucketId(7);
const SEED: u64 = 3;

fn open(dir: &Path) -> (Arc<DiskDb>, GroupStore) {
    let memory = Memory::new(&NodeOptions::default());
    let db = memory.open_db(DiskId([1; 16]), dir).unwrap();
    let store = GroupStore::open(db.database().clone(), GroupId(1)).unwrap();
    (db, store)
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn bytes_below(dir: &Path) -> u64 {
    let lens = std::fs::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() { bytes_below(&entry.path()) } else { metadata.len() }
    });
    lens.sum()
}

/// Calls `work` again and again; the median and the 99th percentile.
fn percentiles(times: usize, mut work: impl FnMut()) -> (Duration, Duration) {
    let mut took: Vec<Duration> = (0..times)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    (took[times / 2], took[times * 99 / 100])
}

/// Metadata of very many objects of 64 MiB, loaded through apply: what a read, a list and a start cost.
/// `CAIRN_SCALE_OBJECTS` says how many (10 million), `CAIRN_BENCH_DIR` where.
#[test]
#[ignore = "a measurement"]
fn ten_million_objects() {
    let objects: u64 =
        std::env::var("CAIRN_SCALE_OBJECTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let dir =
        tempfile::TempDir::new_in(std::env::var("CAIRN_BENCH_DIR").unwrap_or_else(|_| "/tmp".to_owned())).unwrap();
    let mut load = Load::new(BUCKET, SEED);
    let begun = Instant::now();
    {
        let (_db, store) = open(dir.path());
        store.apply(&[(1, load.first())], b"m").unwrap();
        let mut index = 2;
        let mut left = objects;
        while left > 0 {
            let count = left.min(256);
            let batch = load.batch_of_objects(usize::try_from(count).unwrap());
            let results = store.apply(&[(index, batch)], b"m").unwrap();
            assert!(results[0].iter().all(Result::is_ok));
            index += 1;
            left -= count;
            if left % 1_000_000 < 256 {
                eprintln!("{} objects after {:?}, {} MiB resident", objects - left, begun.elapsed(), resident() >> 20);
            }
        }
    }
    eprintln!("loaded in {:?}, {} bytes an object", begun.elapsed(), bytes_below(dir.path()) / objects);

    let begun = Instant::now();
    let (_db, store) = open(dir.path());
    eprintln!("opened in {:?}", begun.elapsed());
    let mut random = StdRng::seed_from_u64(SEED);
    let get = || {
        let key = load.object_key(random.random_range(1..=objects));
        let query = Query::Object { bucket: BUCKET, key, wanted: Wanted::All, limit: 8 };
        assert!(matches!(store.query(&query).unwrap(), Answer::Object { object: Some(_), .. }));
    };
    eprintln!("a read of metadata: {:?} (p50, p99)", percentiles(20_000, get));
    let mut random = StdRng::seed_from_u64(SEED + 1);
    let list = |prefix: &str, delimiter: Option<&str>, from: ListFrom| {
        let delimiter = delimiter.map(str::to_owned);
        let query = Query::List { bucket: BUCKET, prefix: prefix.to_owned(), delimiter, from, limit: 1000 };
        match store.query(&query).unwrap() {
            Answer::List { entries, .. } => entries,
            other => panic!("{other:?}"),
        }
    };
    let page = || {
        let from = ListFrom::AfterKey(load.object_key(random.random_range(1..=objects)));
        assert!(!list("", None, from).is_empty());
    };
    eprintln!("a list of 1,000: {:?} (p50, p99)", percentiles(500, page));
    let prefixes = || {
        let entries = list("", Some("/"), ListFrom::Start);
        assert!(entries.len() == 10 && entries.iter().all(|entry| matches!(entry, ListEntry::CommonPrefix(_))));
    };
    eprintln!("a list of ten prefixes: {:?} (p50, p99)", percentiles(500, prefixes));
    eprintln!("{} MiB resident", resident() >> 20);
}
