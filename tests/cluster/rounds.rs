//! Rounds of faults, drawn from a seed, each followed by the full check of [`aftermath`].
//!
//! [`aftermath`]: super::aftermath

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::aftermath::{Ledger, check_disks};
use super::power::{self, Power};
use super::workload::{KEYS, Workload};
use super::{Cluster, clock, old_disk};
use crate::full::take_room;
use crate::harness::{LoopDisk, S3, body, eventually, flip_any_byte};
use crate::hung::Frozen;

const ARGUMENTS: &[&str] = &["--gc-grace", "2s", "--reserve", "64MiB"];
const SETTINGS: [&[&str]; 4] =
    [&[], &["--cache", "32MiB"], &["--log-format", "json", "--repair-rate", "8MiB"], &["--body-pool", "128MiB"]];
/// What is left free on each disk for the small objects that fill it: the reserve, and some of it above.
const LEFT_TO_FILL: u64 = (64 + 30) << 20;
const SMALL: usize = 10 << 10;
/// However busy the machine is, what is waited for has come by then.
const PATIENCE: Duration = Duration::from_secs(180);
/// A group's time stays where a clock has led it that was no further ahead than clocks may be apart.
const MAX_SKEW_SECONDS: i64 = 6 * 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Of one node, or of all at once.
    PowerCut,
}

const ALL: [Fault; 15] = [
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
    Fault::PowerCut,
];
/// Once in a short run; what it leaves out other tests of the suite do each by itself.
const SHORT: [Fault; 8] = [
    Fault::OneWayPartition,
    Fault::PartialPartition,
    Fault::Isolation,
    Fault::SlowNetwork,
    Fault::Clock,
    Fault::HungDisk,
    Fault::Rot,
    Fault::LongPause,
];

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Three nodes, each with a file system of its own where that can be.
struct Ground {
    cluster: Cluster,
    power: Option<Power>,
    disks: Vec<LoopDisk>,
    random: StdRng,
    has_clocks: bool,
    is_long: bool,
    /// Until then the time of a group may be ahead.
    late_until: Instant,
    _directory: TempDir,
}

impl Ground {
    async fn new(seed: u64, is_long: bool) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let disks: Option<Vec<_>> =
            (0..3).map(|node| LoopDisk::mount(&directory, &format!("node{node}"), 768)).collect();
        let disks = disks.unwrap_or_default();
        let directories: Vec<PathBuf> = (0..3).map(|node| directory.path().join(format!("node{node}"))).collect();
        let mut cluster = Cluster::start_in(directories, ARGUMENTS).await;
        cluster.name_nodes();
        let has_clocks = clock::give(&mut cluster.nodes[0]);
        if has_clocks {
            cluster.terminate(0).await;
            cluster.restart(0);
            cluster.wait_until_healthy(PATIENCE).await;
        }
        let random = StdRng::seed_from_u64(seed);
        let late_until = Instant::now();
        Self { cluster, power: None, disks, random, has_clocks, is_long, late_until, _directory: directory }
    }

    /// Which of the kinds can be had here; the others are told.
    fn able(&self, kinds: &[Fault]) -> Vec<Fault> {
        let has_power = power::is_possible();
        let (able, unable) = kinds.iter().copied().partition::<Vec<Fault>, _>(|fault| match fault {
            Fault::Clock => self.has_clocks,
            Fault::HungDisk | Fault::FullDisks => !self.disks.is_empty(),
            Fault::PowerCut => has_power,
            _ => true,
        });
        for fault in unable {
            eprintln!("left out: {fault:?} (it needs libfaketime, or file systems that can be mounted)");
        }
        able
    }

    async fn stop_all(&mut self) {
        for node in 0..3 {
            self.cluster.terminate(node).await;
        }
    }

    async fn start_all(&mut self) {
        for node in 0..3 {
            self.cluster.restart(node);
        }
        self.cluster.wait_until_healthy(PATIENCE).await;
    }

    /// What has to be so before clients come.
    async fn prepare(&mut self, fault: Fault) {
        if fault == Fault::Clock && self.is_long {
            // Where its clock was further ahead before, the header that shows it would say so still.
            self.cluster.terminate(0).await;
            self.cluster.restart(0);
            self.cluster.wait_until_healthy(PATIENCE).await;
        }
        if fault == Fault::PowerCut {
            self.stop_all().await;
            self.power = Some(Power::give(&self.cluster).expect("it could be mounted before"));
            self.start_all().await;
        }
    }

    /// As it was before.
    async fn clean_up(&mut self) {
        if self.power.is_some() {
            self.stop_all().await;
            self.power.take().expect("it is there").take(&self.cluster);
            self.start_all().await;
        }
    }

    async fn apply(&mut self, fault: Fault) {
        let node = self.random.random_range(0..3);
        let other = (node + self.random.random_range(1..3)) % 3;
        let most = if self.is_long { 6000 } else { 3000 };
        let long = Duration::from_millis(self.random.random_range(500..most));
        println!("  {fault:?} of node {node} (and {other}) for {long:?}");
        let cluster = &mut self.cluster;
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
                let long = match (fault, self.is_long) {
                    (Fault::Pause, _) => long,
                    (_, false) => Duration::from_secs(8),
                    (_, true) => Duration::from_secs(self.random.random_range(60..150)),
                };
                println!("  it is paused for {long:?}");
                cluster.freeze(node);
                tokio::time::sleep(long).await;
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
                eventually("every copy is whole", PATIENCE, || async {
                    cluster.run(&["fsck", "--verify", "--repair"]).await.0 == 0
                })
                .await;
            }
            Fault::Clock => self.turn_clock(long).await,
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
                    cluster.wait_until_healthy(PATIENCE).await;
                }
            }
            Fault::PowerCut => {
                tokio::time::sleep(long).await;
                let nodes = if self.random.random() { vec![node] } else { vec![0, 1, 2] };
                println!("  the power of {nodes:?} is cut");
                self.power.as_mut().expect("it was prepared").cut(cluster, &nodes, &mut self.random);
                for node in nodes {
                    cluster.restart(node);
                }
            }
        }
    }

    /// Forward, back, and right again.
    async fn turn_clock(&mut self, long: Duration) {
        // Less than nodes may be apart, and more; what goes on after the former takes its time.
        let ahead: &[i64] = if self.is_long { &[40, 200, 3600, 90_000] } else { &[3600] };
        let ahead = *ahead.choose(&mut self.random).expect("one of them");
        for seconds in [ahead, -ahead, 0] {
            println!("  the clock is set by {seconds} s");
            clock::set(&self.cluster.nodes[0], seconds).await;
            if ahead > MAX_SKEW_SECONDS {
                let up = if seconds == 0 { 3 } else { 2 };
                eventually("the others judge it by its clock", PATIENCE, async || self.cluster.disks_up().await == up)
                    .await;
            }
            tokio::time::sleep(long / 2).await;
        }
        if ahead <= MAX_SKEW_SECONDS {
            self.late_until = Instant::now() + Duration::from_secs(ahead.unsigned_abs());
        }
    }

    /// The disk is put back as it was before; then, once it was refused, a new one comes in its place.
    async fn bring_back_older(&mut self, node: usize) {
        let cluster = &mut self.cluster;
        let disk = cluster.nodes[node].directory.join("disk");
        let image = cluster.nodes[node].directory.with_extension("image");
        let old = old_disk::node_id(&disk);
        cluster.kill(node);
        old_disk::copy(&disk, &image);
        cluster.restart(node);
        cluster.wait_until_healthy(PATIENCE).await;
        // The others hear every second how far a disk is.
        tokio::time::sleep(Duration::from_secs(3)).await;
        cluster.kill(node);
        fs::remove_dir_all(&disk).expect("the disk is wiped");
        old_disk::copy(&image, &disk);
        fs::remove_dir_all(&image).expect("the copy goes");
        cluster.restart(node);
        eventually("it is refused", PATIENCE, async || old_disk::refused(cluster).await.contains("older copy")).await;
        cluster.kill(node);
        fs::remove_dir_all(&disk).expect("the disk is wiped");
        fs::create_dir(&disk).expect("an empty directory");
        cluster.restart(node);
        eventually("it is let go", PATIENCE, async || {
            cluster.command(&["node", "remove", &old, "--force"]).await.is_ok()
        })
        .await;
        cluster.wait_until_healthy(PATIENCE).await;
        cluster.name_nodes();
    }

    /// Strangers take most of all disks, small objects the rest.
    async fn fill_all(&mut self) {
        let s3 = self.cluster.s3();
        for disk in &self.disks {
            take_room(&disk.path.join("stranger"), LEFT_TO_FILL);
        }
        let stored = fill(&s3).await;
        println!("  {stored} small objects until the disks were full");
        assert!(stored > 100, "there was room for more");
        // What deletes goes on.
        eventually("all of it is deleted", PATIENCE, async || {
            let Ok(keys) = s3.try_list(FILLED).await else { return false };
            for keys in keys.chunks(16) {
                join_all(keys.iter().map(|key| s3.try_delete(FILLED, key))).await;
            }
            keys.is_empty()
        })
        .await;
        for disk in &self.disks {
            fs::remove_file(disk.path.join("stranger")).expect("it goes");
        }
        eventually("there is room again", PATIENCE, async || {
            s3.try_put(FILLED, "room", body(0, 1000)).await.is_ok_and(|status| status.is_success())
        })
        .await;
    }
}

/// The bucket of the small objects.
const FILLED: &str = "filled";

/// Several write small objects until each was told that the disks are full; how many were taken.
async fn fill(s3: &S3) -> usize {
    let writers = (0..16).map(|writer| {
        let s3 = s3.clone();
        tokio::spawn(async move {
            let (mut stored, deadline) = (0, Instant::now() + PATIENCE);
            loop {
                assert!(Instant::now() < deadline && stored < 10_000, "more than fits was taken: {stored}");
                let path = format!("/{FILLED}/{writer}/{stored}");
                if let Ok(answer) = s3.send("PUT", &path, "", body(stored, SMALL)).await {
                    if answer.status().is_success() {
                        stored += 1;
                        continue;
                    }
                    if answer.text().await.is_ok_and(|text| text.contains("<Code>StorageFull</Code>")) {
                        return stored;
                    }
                }
                // While the lead changes.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    });
    let stored = join_all(writers).await.into_iter().map(|stored| stored.expect("a writer ends"));
    stored.map(|stored| usize::try_from(stored).expect("a number")).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_each_fault_nothing_is_lost_stale_or_left_behind() {
    let long_run = setting("CAIRN_FAULT_ROUNDS");
    let seed = setting("CAIRN_FAULT_SEED").unwrap_or(11);
    println!("seed {seed}");
    let mut ground = Ground::new(seed, long_run.is_some()).await;
    let mut able = ground.able(if long_run.is_some() { &ALL } else { &SHORT });
    // Of all kinds, or of those that are named.
    if let Ok(kinds) = std::env::var("CAIRN_FAULT_KINDS") {
        able.retain(|fault| kinds.split(',').any(|kind| kind == format!("{fault:?}")));
    }
    let s3 = ground.cluster.s3();
    s3.create_bucket(super::workload::BUCKET).await;
    s3.create_bucket(FILLED).await;
    let mut ledger = Ledger::new(s3.clone()).await;
    let (mut values, mut deck, mut done) = ([0; KEYS], Vec::new(), BTreeMap::<Fault, (u32, Duration)>::new());
    let (mut requests, began) = (0, Instant::now());
    for round in 0..long_run.unwrap_or(able.len() as u64) {
        // Each kind comes once before any comes again.
        if deck.is_empty() {
            deck.clone_from(&able);
            deck.shuffle(&mut ground.random);
        }
        let Some(fault) = deck.pop() else { break };
        println!("round {round}, seed {seed}: {fault:?}");
        let began = Instant::now();
        ground.prepare(fault).await;
        let workload = Workload::go_on(s3.clone(), seed ^ (round << 20), values);
        ledger.write(round).await;
        ground.apply(fault).await;
        tokio::time::sleep(Duration::from_millis(ground.random.random_range(0..1000))).await;
        ground.cluster.wait_until_healthy(PATIENCE).await;
        let answered = workload.done();
        values = workload.end().await;
        println!("  {answered} requests, the check after {:?}", began.elapsed());
        ledger.check().await;
        check_disks(&ground.cluster, ledger.chunks() + super::workload::chunks(&values), ground.late_until).await;
        ground.clean_up().await;
        println!("  {:?} in all", began.elapsed());
        let (times, took) = done.entry(fault).or_default();
        (*times, *took, requests) = (*times + 1, *took + began.elapsed(), requests + answered);
    }
    assert!(requests > 0, "clients were answered");
    for (fault, (times, took)) in &done {
        println!("{fault:?}: {times} times, {:?} each", *took / *times);
    }
    println!("seed {seed}: {requests} requests, {:?}", began.elapsed());
}
