//! Rounds of faults, drawn from a seed, each followed by the full check: what was acknowledged is there, each key's
//! history can be explained, lists are right, `fsck --verify` is clean, and nothing is left on the disks that nobody
//! refers to.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::workload::Workload;
use super::{Cluster, clock, old_disk};
use crate::full::{fill, fill_file_system};
use crate::harness::{LoopDisk, body, eventually, flip_any_byte};
use crate::hung::Frozen;

const ARGUMENTS: &[&str] = &["--gc-grace", "2s", "--reserve", "64MiB"];
const SETTINGS: [&[&str]; 4] =
    [&[], &["--cache", "32MiB"], &["--log-format", "json", "--repair-rate", "8MiB"], &["--body-pool", "128MiB"]];
/// What is left on a disk above its reserve for the small objects that fill it.
const MIB_TO_FILL: usize = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    KillTwo,
    Pause,
    /// Of minutes, in a long run.
    LongPause,
    /// Two nodes do not see each other; both see the third.
    PartialPartition,
    OneWayPartition,
    Isolation,
    SlowNetwork,
    Rot,
    Clock,
    OlderCopy,
    HungDisk,
    FullDisks,
    RollingRestart,
}

const ALL: [Fault; 14] = [
    Fault::Kill,
    Fault::KillTwo,
    Fault::Pause,
    Fault::LongPause,
    Fault::PartialPartition,
    Fault::OneWayPartition,
    Fault::Isolation,
    Fault::SlowNetwork,
    Fault::Rot,
    Fault::Clock,
    Fault::OlderCopy,
    Fault::HungDisk,
    Fault::FullDisks,
    Fault::RollingRestart,
];
/// Once in a short run; what it leaves out other tests of the suite do each by itself.
const SHORT: [Fault; 6] =
    [Fault::OneWayPartition, Fault::PartialPartition, Fault::Clock, Fault::HungDisk, Fault::Rot, Fault::LongPause];

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Three nodes, each with a file system of its own where that can be.
struct Ground {
    cluster: Cluster,
    disks: Vec<LoopDisk>,
    random: StdRng,
    has_clocks: bool,
    is_long: bool,
    _directory: TempDir,
}

impl Ground {
    async fn new(seed: u64, is_long: bool) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let disks: Option<Vec<_>> =
            (0..3).map(|node| LoopDisk::mount(&directory, &format!("node{node}"), 512)).collect();
        let disks = disks.unwrap_or_default();
        let directories: Vec<PathBuf> = (0..3).map(|node| directory.path().join(format!("node{node}"))).collect();
        let mut cluster = Cluster::start_in(directories, ARGUMENTS).await;
        cluster.name_nodes();
        let has_clocks = clock::give(&mut cluster.nodes[0]);
        if has_clocks {
            cluster.terminate(0).await;
            cluster.restart(0);
            cluster.wait_until_healthy(Duration::from_secs(60)).await;
        }
        let random = StdRng::seed_from_u64(seed);
        Self { cluster, disks, random, has_clocks, is_long, _directory: directory }
    }

    fn can(&self, fault: Fault) -> bool {
        match fault {
            Fault::Clock => self.has_clocks,
            Fault::HungDisk | Fault::FullDisks => !self.disks.is_empty(),
            _ => true,
        }
    }

    async fn apply(&mut self, fault: Fault) {
        let node = self.random.random_range(0..3);
        let other = (node + self.random.random_range(1..3)) % 3;
        let long = Duration::from_millis(self.random.random_range(500..6000));
        let cluster = &mut self.cluster;
        println!("  {fault:?} of node {node} (and {other}) for {long:?}");
        match fault {
            Fault::Kill => {
                cluster.kill(node);
                tokio::time::sleep(long).await;
                cluster.restart(node);
            }
            Fault::KillTwo => {
                cluster.kill(node);
                cluster.kill(other);
                tokio::time::sleep(long / 4).await;
                cluster.restart(other);
                tokio::time::sleep(long / 4).await;
                cluster.restart(node);
            }
            Fault::Pause | Fault::LongPause => {
                cluster.freeze(node);
                let times = if fault == Fault::Pause { 1 } else { 2 + 23 * u32::from(self.is_long) };
                tokio::time::sleep(long * times).await;
                cluster.thaw(node);
            }
            Fault::PartialPartition | Fault::OneWayPartition | Fault::Isolation | Fault::SlowNetwork => {
                match fault {
                    Fault::PartialPartition => cluster.network.cut(node, other),
                    Fault::OneWayPartition => cluster.network.cut_one_way(node, other),
                    Fault::Isolation => (1..3).for_each(|by| cluster.network.cut(node, (node + by) % 3)),
                    _ => cluster.network.slow_down(node, Duration::from_millis(self.random.random_range(20..300))),
                }
                tokio::time::sleep(long).await;
                cluster.network.heal();
            }
            Fault::Rot => {
                for _ in 0..self.random.random_range(1..20) {
                    flip_any_byte(&cluster.nodes[node].directory.join("disk"), &mut self.random);
                }
                // Two copies that rot at once are more than three copies are for.
                mend(cluster).await;
            }
            Fault::Clock => {
                // Less than nodes may be apart, and more.
                let ahead = *[40, 200, 3600, 90_000].choose(&mut self.random).expect("one of them");
                for seconds in [ahead, -ahead, 0] {
                    println!("  the clock is set by {seconds} s");
                    clock::set(&cluster.nodes[0], seconds);
                    tokio::time::sleep(Duration::from_secs(2) + long / 2).await;
                }
                cluster.wait_until_healthy(Duration::from_secs(90)).await;
                // What was queued under a later time would be looked at then.
                cluster.command(&["clock", "reset"]).await.expect("all clocks are right");
            }
            Fault::OlderCopy => self.bring_back_older(node).await,
            Fault::HungDisk => {
                let frozen = Frozen::freeze(&self.disks[node]);
                tokio::time::sleep(long * 2).await;
                drop(frozen);
            }
            Fault::FullDisks => self.fill_all().await,
            Fault::RollingRestart => {
                for node in 0..3 {
                    cluster.terminate(node).await;
                    let given = *SETTINGS.choose(&mut self.random).expect("one of them");
                    cluster.nodes[node].arguments =
                        [ARGUMENTS, given].concat().into_iter().map(str::to_owned).collect();
                    cluster.restart(node);
                    cluster.wait_until_healthy(Duration::from_secs(90)).await;
                }
            }
        }
    }

    /// The disk is put back as it was before; then, once it was refused, a new one comes in its place.
    async fn bring_back_older(&mut self, node: usize) {
        let cluster = &mut self.cluster;
        let disk = cluster.nodes[node].directory.join("disk");
        let image = cluster.nodes[node].directory.with_extension("image");
        cluster.kill(node);
        old_disk::copy(&disk, &image);
        cluster.restart(node);
        cluster.wait_until_healthy(Duration::from_secs(60)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let status = cluster.status().await.expect("a status");
        let mut nodes = status["nodes"].as_array().expect("nodes").iter();
        let old = nodes.find(|found| found["address"] == *cluster.addresses()[node]).expect("it")["id"].to_string();
        cluster.kill(node);
        fs::remove_dir_all(&disk).expect("the disk is wiped");
        old_disk::copy(&image, &disk);
        fs::remove_dir_all(&image).expect("the copy goes");
        cluster.restart(node);
        eventually("it is refused", Duration::from_secs(30), async || {
            old_disk::refused(cluster).await.contains("older copy")
        })
        .await;
        cluster.kill(node);
        fs::remove_dir_all(&disk).expect("the disk is wiped");
        fs::create_dir(&disk).expect("an empty directory");
        cluster.restart(node);
        cluster.command(&["node", "remove", &old, "--force"]).await.expect("it is let go");
        cluster.wait_until_healthy(Duration::from_secs(90)).await;
        cluster.name_nodes();
    }

    /// Strangers take most of all disks, small objects the rest.
    async fn fill_all(&mut self) {
        let s3 = self.cluster.s3();
        for disk in &self.disks {
            let stranger = disk.path.join("stranger");
            fill_file_system(&stranger);
            let left = (64 + MIB_TO_FILL) as u64;
            let file = fs::File::options().write(true).open(&stranger).expect("the stranger");
            let length = file.metadata().expect("its length").len();
            file.set_len(length.saturating_sub(left << 20)).expect("it is cut");
        }
        let stored = fill(&s3, "ledger", 0).await;
        println!("  {} small objects until the disks were full", stored.len());
        for keys in stored.chunks(16) {
            join_all(keys.iter().map(|key| s3.delete("ledger", key))).await;
        }
        for disk in &self.disks {
            fs::remove_file(disk.path.join("stranger")).expect("it goes");
        }
        eventually("there is room again", Duration::from_secs(90), || async {
            s3.try_put("ledger", "room", body(0, 1000)).await.is_ok_and(|status| status.is_success())
        })
        .await;
        s3.delete("ledger", "room").await;
    }
}

async fn mend(cluster: &Cluster) {
    eventually("every copy is whole", Duration::from_secs(90), || async {
        cluster.run(&["fsck", "--verify", "--repair"]).await.0 == 0
    })
    .await;
}

/// Whether all is clean, all copies are there, and there is nothing else.
async fn check_disks(cluster: &Cluster) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (code, said) = cluster.run(&["fsck", "--verify", "--json"]).await;
        let found: serde_json::Value = serde_json::from_str(said.trim()).unwrap_or_default();
        if code == 0 && found["garbage_chunks"] == 0 && found["misplaced"] == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "fsck: {code} {said}\n{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_each_fault_nothing_is_lost_stale_or_left_behind() {
    let long_run = setting("CAIRN_FAULT_ROUNDS");
    let seed = setting("CAIRN_FAULT_SEED").unwrap_or(11);
    println!("seed {seed}");
    let mut ground = Ground::new(seed, long_run.is_some()).await;
    let s3 = ground.cluster.s3();
    s3.create_bucket("ledger").await;
    let able: Vec<_> = ALL.into_iter().filter(|fault| ground.can(*fault)).collect();
    for fault in ALL.iter().filter(|fault| !able.contains(fault)) {
        eprintln!("left out: {fault:?} (it needs libfaketime, or file systems that can be mounted)");
    }
    let (mut values, mut acknowledged, mut deck) = ([0; super::workload::KEYS], Vec::new(), Vec::new());
    s3.create_bucket("busy").await;
    for round in 0..long_run.unwrap_or(SHORT.len() as u64) {
        // Each kind comes once before any comes again.
        if deck.is_empty() {
            deck = if long_run.is_some() { able.clone() } else { SHORT.to_vec() };
            deck.retain(|fault| able.contains(fault));
            deck.shuffle(&mut ground.random);
        }
        let Some(fault) = deck.pop() else { break };
        println!("round {round}, seed {seed}: {fault:?}");
        let began = Instant::now();
        let workload = Workload::go_on(s3.clone(), seed ^ (round << 20), values);
        s3.put("ledger", &format!("round{round}"), body(round, 150_000)).await;
        acknowledged.push(round);
        ground.apply(fault).await;
        tokio::time::sleep(Duration::from_millis(ground.random.random_range(0..1000))).await;
        ground.cluster.wait_until_healthy(Duration::from_secs(120)).await;
        let done = workload.done();
        values = workload.end().await;
        for round in acknowledged.iter().rev().take(20) {
            let found = s3.get("ledger", &format!("round{round}")).await;
            assert!(found == Some(body(*round, 150_000)), "what round {round} wrote");
        }
        let mut expected: Vec<_> = acknowledged.iter().map(|round| format!("round{round}")).collect();
        expected.sort();
        assert_eq!(s3.list("ledger").await, expected);
        check_disks(&ground.cluster).await;
        println!("  {done} requests, {:?} in all", began.elapsed());
    }
}
