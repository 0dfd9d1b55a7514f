//! Replicas in processes of their own, which reach each other by encoded messages only.

use std::sync::Arc;

use super::super::testing::*;
use super::super::{Origin, RemoteTransport, Settings};
use super::*;
use crate::types::ClusterId;

/// Three processes with a disk and a replica each, and one, like a gateway's, with none.
struct Network {
    wires: Arc<Wires>,
    processes: Vec<Process>,
    gateway: Process,
}

impl Network {
    async fn formed(settings: Settings) -> Self {
        let wires = Arc::new(Wires::default());
        let cluster = ClusterId::random();
        let process = || {
            let transport: Arc<dyn RemoteTransport> = wires.clone();
            Process::of(cluster, tempfile::tempdir().unwrap(), Some(transport), settings.clone())
        };
        let mut processes = Vec::new();
        for number in 1..=3 {
            let mut process = process();
            process.start(number, Origin::New).await;
            wires.connect(disk(number), &process.replicas);
            processes.push(process);
        }
        let gateway = process();
        gateway.replicas.set_members(GROUP, members(&[1, 2, 3]).into_iter().collect());
        processes[0].replicas.initialize(GROUP, members(&[1, 2, 3])).await.unwrap();
        Self { wires, processes, gateway }
    }

    fn process(&mut self, number: u64) -> &mut Process {
        &mut self.processes[number as usize - 1]
    }

    /// A number other than the leader's.
    async fn follower(&self) -> u64 {
        self.gateway.put(u64::MAX).await;
        let leader = self.leader().await;
        (1..=3).find(|number| *number != leader).unwrap()
    }

    async fn leader(&self) -> u64 {
        let leads = |process: &Process| {
            process.replicas.local_replicas().iter().find(|status| status.leads).map(|status| status.replica.0)
        };
        self.gateway.until("a leader", |_| self.processes.iter().any(|process| leads(process).is_some())).await;
        self.processes.iter().find_map(leads).unwrap()
    }

    async fn shutdown(self) {
        for process in self.processes.iter().chain([&self.gateway]) {
            process.replicas.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_process_takes_commands_and_queries() {
    let network = Network::formed(settings()).await;
    network.gateway.put(1).await;
    for (number, process) in (2..).zip(&network.processes) {
        process.put(number).await;
        assert!(network.gateway.holds(number).await);
    }
    for process in &network.processes {
        assert!(process.holds(1).await && process.holds(4).await);
        assert!(!process.holds(5).await);
    }
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_cut_off_catches_up_by_a_snapshot_over_the_wire() {
    let small = Settings { log_bytes: 2 << 20, log_entries: 4, log_cache_bytes: 1 << 20, ..settings() };
    let mut network = Network::formed(small).await;
    network.gateway.put(1_000).await;
    let cut = network.follower().await;
    let ends = network.wires.cut(disk(cut));
    network.process(cut).remove(cut).await;
    for number in 0..30 {
        let result = network.gateway.replicas.command(GROUP, envelope(number, 512 << 10)).await;
        result.expect("an answer").expect("an outcome");
    }
    for number in (1..=3).filter(|number| *number != cut) {
        let cut = |process: &Process| process.status(number).purged_index > Some(10);
        network.process(number).until("a cut of the log", cut).await;
    }
    network.wires.connect(disk(cut), &ends.unwrap());
    let process = network.process(cut);
    process.start(cut, Origin::Existing).await;
    process.until("all commands", |process| process.count_on(cut) == 32).await;
    process.until("an installed snapshot", |process| process.status(cut).installed_snapshots == 1).await;
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fell_behind_catches_up_by_one_snapshot_while_others_write() {
    let small = Settings { log_bytes: 2 << 20, log_entries: 4, log_cache_bytes: 1 << 20, ..settings() };
    let mut network = Network::formed(small).await;
    for number in 0..320 {
        network.gateway.put(1_000_000 + number).await;
    }
    let cut = network.follower().await;
    let ends = network.wires.cut(disk(cut));
    network.process(cut).remove(cut).await;
    let number = std::sync::atomic::AtomicU64::new(0);
    let write = async || {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let result = network.gateway.replicas.command(GROUP, envelope(number, 256 << 10)).await;
        result.expect("an answer").expect("an outcome");
    };
    for _ in 0..60 {
        write().await;
    }
    for number in (1..=3).filter(|number| *number != cut) {
        let process = &network.processes[number as usize - 1];
        process.until("a cut of the log", |process| process.status(number).purged_index > Some(330)).await;
    }
    // Twenty pieces and more: while they are under way more is written than a log keeps otherwise.
    *network.wires.snapshot_pause.lock() = Duration::from_millis(50);
    network.wires.connect(disk(cut), &ends.unwrap());
    let process = &mut network.processes[cut as usize - 1];
    process.start(cut, Origin::Existing).await;
    let gateway = &network.gateway;
    let write = async || {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let result = gateway.replicas.command(GROUP, envelope(number, 256 << 10)).await;
        result.expect("an answer").expect("an outcome");
    };
    let process = &network.processes[cut as usize - 1];
    let began = tokio::time::Instant::now();
    while process.status(cut).installed_snapshots == 0 {
        write().await;
        assert!(began.elapsed() < Duration::from_secs(60));
    }
    let target = number.load(std::sync::atomic::Ordering::Relaxed) + 320;
    while process.count_on(cut) < target {
        write().await;
        assert!(began.elapsed() < Duration::from_secs(120));
    }
    assert_eq!(process.status(cut).installed_snapshots, 1);
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_the_leaders_process_is_survived() {
    let mut network = Network::formed(settings()).await;
    network.gateway.put(1).await;
    let lost = network.leader().await;
    network.wires.cut(disk(lost));
    network.process(lost).replicas.shutdown().await;
    network.gateway.put(2).await;
    assert!(network.gateway.holds(1).await && network.gateway.holds(2).await);
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_cut_off_answers_no_reads() {
    let brief = Settings { retry_for: Duration::from_secs(5), ..settings() };
    let network = Network::formed(brief).await;
    network.gateway.put(1).await;
    let old = network.leader().await;
    // It still runs and believes that it leads, but hears nobody: the others elect another.
    let ends: Vec<_> = (1..=3).filter_map(|number| network.wires.cut(disk(number)).map(|end| (number, end))).collect();
    let replica = network.processes[old as usize - 1].replicas.inner.replicas(GROUP)[0].clone();
    let query = || Query::Referenced { hashes: vec![[0; 32]] };
    let read = query_here(&replica, std::slice::from_ref(&replica), query()).await;
    assert!(read.is_err(), "{read:?}");
    for (number, end) in ends {
        network.wires.connect(disk(number), &end);
    }
    network.gateway.put(2).await;
    assert!(network.gateway.holds(2).await);
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_for_somebody_else_are_refused() {
    let process = Process::formed(&[1], settings()).await;
    let right = Address { cluster: process.cluster, group: GROUP, replica: ReplicaId(1) };
    let reply = async |to: Address| {
        let message = Message { to, body: Body::Query(Box::new(Query::Statistics)) }.encode().unwrap();
        Reply::decode(&process.replicas.handle(message).await).unwrap()
    };
    assert!(matches!(reply(right).await, Reply::Query(_)));
    assert!(matches!(reply(Address { cluster: ClusterId::random(), ..right }).await, Reply::Refused(_)));
    assert!(matches!(reply(Address { group: GroupId(8), ..right }).await, Reply::Refused(_)));
    assert!(matches!(reply(Address { replica: ReplicaId(2), ..right }).await, Reply::Refused(_)));
    for garbage in [&b""[..], b"\x02", b"\x01garbage"] {
        let reply = process.replicas.handle(Bytes::from_static(garbage)).await;
        assert!(matches!(Reply::decode(&reply).unwrap(), Reply::Refused(_)));
    }
    process.replicas.shutdown().await;
}

/// Not a test: what this machine does. `cargo test --release -- --ignored --nocapture throughput`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, and needs a quiet machine"]
async fn throughput_of_three_replicas_in_one_process() {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;
    for (voters, padding) in [(&[1, 2, 3][..], 0), (&[1, 2, 3], 4096), (&[1], 0)] {
        let process = Process::formed(voters, Settings::default()).await;
        let next = AtomicU64::new(0);
        let started = Instant::now();
        let for_a_while = || started.elapsed() < Duration::from_secs(5);
        let writer = async || {
            while for_a_while() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let result = process.replicas.command(GROUP, envelope(number, padding)).await;
                result.expect("an answer").expect("an outcome");
            }
        };
        futures::future::join_all((0..32).map(|_| writer())).await;
        let status = process.replicas.status(GROUP).unwrap();
        let db = process.dbs.values().next().unwrap();
        let syncs = db.statistics().syncs.load(Ordering::Relaxed);
        let (commands, seconds) = (next.load(Ordering::Relaxed), started.elapsed().as_secs_f64());
        eprintln!(
            "{} voters, {padding} bytes: {:.0} commands/s, {:.1} commands an entry, {:.0} fsyncs/s a disk",
            voters.len(),
            commands as f64 / seconds,
            status.proposed_commands as f64 / status.proposed_entries as f64,
            syncs as f64 / seconds,
        );
        let started = Instant::now();
        let reads = AtomicU64::new(0);
        let reader = async || {
            while started.elapsed() < Duration::from_secs(2) {
                process.holds(1).await;
                reads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        };
        futures::future::join_all((0..32).map(|_| reader())).await;
        eprintln!("{} voters: {:.0} queries/s", voters.len(), reads.load(Ordering::Relaxed) as f64 / 2.0);
        process.replicas.shutdown().await;
    }
}
