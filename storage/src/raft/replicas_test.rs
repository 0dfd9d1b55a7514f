//! Three replicas in one process: commands, reads, losses and returns.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::super::testing::*;
use super::super::{DiskDb, Settings};
use super::*;
use crate::client::{MetaService, ServiceError};
use crate::meta::Query;
use crate::types::MAX_COMMAND_LEN;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_voter_answers_what_it_was_told() {
    let process = Process::formed(&[1], settings()).await;
    process.put(5).await;
    assert!(process.holds(5).await);
    assert!(!process.holds(6).await);
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_applied_on_all_three_disks() {
    let process = Process::formed(&[1, 2, 3], settings()).await;
    for number in 0..20 {
        process.put(number).await;
        assert!(process.holds(number).await, "a read after an answer sees it");
    }
    for number in 1..=3 {
        process.until_caught_up(number).await;
        assert_eq!(process.count_on(number), 20);
    }
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_come_together_share_entries_and_fsyncs() {
    let process = Process::formed(&[1, 2, 3], settings()).await;
    let counts = || {
        let all = process.replicas.local_replicas();
        let syncs = process.dbs.values().map(|db| db.statistics().syncs.load(Ordering::Relaxed)).max();
        let entries: u64 = all.iter().map(|status| status.proposed_entries).sum();
        (entries, all.iter().map(|status| status.proposed_commands).sum::<u64>(), syncs.unwrap_or(0))
    };
    let before = counts();
    let rounds = 10;
    for round in 0..rounds {
        let puts = (0..64).map(|number| process.put(round * 64 + number));
        futures::future::join_all(puts).await;
    }
    let after = counts();
    let (entries, commands, syncs) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    // More, where a leader was too slow for its followers and commands were proposed again.
    assert!(commands >= rounds * 64);
    assert!(entries <= commands / 4, "{entries} entries for {commands} commands");
    assert!(syncs <= entries + 20, "{syncs} fsyncs for {entries} entries");
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_the_leaders_disk_is_survived_and_made_good() {
    let mut process = Process::formed(&[1, 2, 3], settings()).await;
    for number in 0..10 {
        process.put(number).await;
    }
    let lost = process.leader().expect("a leader");
    process.remove(lost).await;
    let started = Instant::now();
    process.until("another leader", |process| process.leader().is_some_and(|leader| leader != lost)).await;
    eprintln!("another leader after {:?}", started.elapsed());
    for number in 10..20 {
        process.put(number).await;
    }
    assert!(process.holds(3).await && process.holds(15).await);
    process.start(lost, Origin::Existing).await;
    process.until_caught_up(lost).await;
    assert_eq!(process.count_on(lost), 20);
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_taken_away_hands_over() {
    // Nobody is elected because of a silence here.
    let patient = Settings { election_min_ms: 20_000, election_max_ms: 30_000, ..settings() };
    let mut process = Process::empty(patient);
    for number in 1..=3 {
        process.start(number, Origin::New).await;
    }
    process.replicas.initialize(GROUP, members(&[1, 2, 3])).await.unwrap();
    process.until("a leader", |process| process.replicas.ready(GROUP)).await;
    process.put(1).await;
    let leader = process.leader().expect("a leader");
    process.remove(leader).await;
    process.put(2).await;
    assert!(process.holds(1).await && process.holds(2).await);
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_was_away_too_long_is_sent_a_snapshot() {
    let small = Settings { log_bytes: 2 << 20, log_entries: 4, log_cache_bytes: 1 << 20, ..settings() };
    let mut process = Process::formed(&[1, 2, 3], small).await;
    process.put(1_000).await;
    let lost = (1..=3).find(|number| Some(*number) != process.leader()).expect("a follower");
    process.until_caught_up(lost).await;
    let seen = process.status(lost).last_index;
    process.remove(lost).await;
    for number in 0..30 {
        let result = process.replicas.command(GROUP, envelope(number, 512 << 10)).await;
        result.expect("an answer").expect("an outcome");
    }
    let cut = |process: &Process| process.replicas.local_replicas().iter().all(|status| status.purged_index > seen);
    process.until("a cut of the logs", cut).await;
    process.start(lost, Origin::Existing).await;
    process.until_caught_up(lost).await;
    assert_eq!(process.count_on(lost), 31);
    assert_eq!(process.status(lost).installed_snapshots, 1);
    // What comes after it comes by the log again, also after another start.
    process.put(2_000).await;
    process.until_caught_up(lost).await;
    process.remove(lost).await;
    process.start(lost, Origin::Existing).await;
    process.until_caught_up(lost).await;
    assert_eq!(process.count_on(lost), 32);
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_takes_its_replica_only() {
    let process = Process::formed(&[1, 2, 3], settings()).await;
    process.put(1).await;
    let failing = process.leader().expect("a leader");
    process.dbs[&failing].writer().break_next();
    process.put(2).await;
    process
        .until("the end of its replica", |process| {
            process.replicas.local_replicas().iter().all(|status| status.replica.0 != failing)
        })
        .await;
    assert!(process.dbs[&failing].failure().borrow().is_some());
    process.put(3).await;
    for number in 1..=3 {
        assert!(process.holds(number).await);
    }
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaders_disk_that_hangs_holds_nobody_up() {
    let process = Process::formed(&[1, 2, 3], settings()).await;
    process.put(0).await;
    let hanging = process.leader().expect("a leader");
    process.dbs[&hanging].writer().hang(true);
    // At first the others make its entries durable; when its queue is full one of them leads.
    for number in 1..160 {
        let result = process.replicas.command(GROUP, envelope(number, 512 << 10)).await;
        result.expect("an answer").expect("an outcome");
        assert!(process.holds(number).await);
    }
    assert_ne!(process.leader(), Some(hanging));
    process.dbs[&hanging].writer().hang(false);
    process.until_caught_up(hanging).await;
    assert_eq!(process.count_on(hanging), 160);
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_ended_only_when_its_disk_answered_again_is_sent_what_it_lacks() {
    let mut process = Process::formed(&[1, 2, 3], settings()).await;
    process.put(0).await;
    let hanging = process.leader().expect("a leader");
    let db = process.dbs.remove(&hanging).expect("its disk");
    db.writer().hang(true);
    process.replicas.leave_disk(disk(hanging)).await;
    for number in 1..20 {
        process.put(number).await;
    }
    let replicas = process.replicas.clone();
    let removing = tokio::spawn(async move { replicas.remove_disk(disk(hanging)).await });
    process.until("that it is left behind", |process| process.replicas.local_replicas().len() == 2).await;
    db.writer().hang(false);
    drop(db);
    removing.await.unwrap();
    process.start(hanging, Origin::Existing).await;
    // Without another command: nothing but what it lacks has the leader send it anything.
    process.until_caught_up(hanging).await;
    assert_eq!(process.count_on(hanging), 20);
    process.replicas.shutdown().await;
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The directories are copied while commands go on: what a process finds that was killed at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_all_are_killed_at_once() {
    let process = Process::formed(&[1, 2, 3], settings()).await;
    let acknowledged = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let copies = tempfile::tempdir().unwrap();
    let writing = async {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            process.put(number).await;
            number += 1;
            acknowledged.store(number, Ordering::Release);
        }
    };
    let killing = async {
        let mut expected = Vec::new();
        for copy in 0..5 {
            let more = acknowledged.load(Ordering::Acquire) + 20;
            process.until("some commands", |_| acknowledged.load(Ordering::Acquire) >= more).await;
            expected.push(acknowledged.load(Ordering::Acquire));
            let (from, to) = (process.dir.path().to_owned(), copies.path().join(copy.to_string()));
            tokio::task::spawn_blocking(move || copy_dir(&from, &to)).await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        expected
    };
    let ((), expected) = tokio::join!(writing, killing);
    process.replicas.shutdown().await;

    for (copy, expected) in expected.into_iter().enumerate() {
        let replicas = Replicas::new(process.cluster, None, settings(), toys()).unwrap();
        for number in 1..=3 {
            let path = copies.path().join(copy.to_string()).join(number.to_string());
            let db = open(disk(number), &path).await;
            replicas.start_replica(db, GROUP, ReplicaId(number), Origin::Existing).await.unwrap();
        }
        for number in 0..expected {
            assert!(holds(&replicas, number).await, "{number} of {expected} in copy {copy}");
        }
        put(&replicas, u64::MAX).await;
        replicas.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_from_one_voter_to_three_in_one_change() {
    let mut process = Process::formed(&[1], settings()).await;
    for number in 0..10 {
        process.put(number).await;
    }
    for number in [2, 3] {
        process.start(number, Origin::New).await;
        process.replicas.add_learner(GROUP, ReplicaId(number), disk(number)).await.unwrap();
    }
    process.replicas.change_membership(GROUP, members(&[1, 2, 3])).await.unwrap();
    process.until("three voters", |process| process.status(3).voters.len() == 3).await;
    process.put(10).await;
    // Replacing one: its successor has another id, and the disk keeps nothing of it.
    process.remove(1).await;
    process.until("a leader", |process| process.leader().is_some_and(|leader| leader != 1)).await;
    process.start(4, Origin::New).await;
    process.replicas.add_learner(GROUP, ReplicaId(4), disk(4)).await.unwrap();
    process.replicas.change_membership(GROUP, members(&[2, 3, 4])).await.unwrap();
    process.until_caught_up(4).await;
    assert_eq!(process.count_on(4), 11);
    let status = process.replicas.status(GROUP).unwrap();
    assert_eq!(status.voters, [ReplicaId(2), ReplicaId(3), ReplicaId(4)]);
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_under_way_with_writes_see_what_was_acknowledged() {
    let process = Process::formed(&[1, 2, 3], settings()).await;
    let acknowledged = AtomicU64::new(0);
    let writing = async {
        for number in 0..300 {
            process.put(number).await;
            acknowledged.store(number + 1, Ordering::Release);
        }
    };
    let reading = async {
        loop {
            let newest = acknowledged.load(Ordering::Acquire);
            if newest > 0 {
                assert!(process.holds(newest - 1).await, "{newest}");
            }
            if newest == 300 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writing, reading, async {
        // A change of leader in the middle of it.
        process.until("some commands", |_| acknowledged.load(Ordering::Acquire) > 100).await;
        let leader = process.leader().expect("a leader");
        process.replicas.stop_replica(GROUP, ReplicaId(leader)).await;
    });
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_answered() {
    let brief = Settings { retry_for: std::time::Duration::from_secs(3), ..settings() };
    let mut process = Process::formed(&[1, 2, 3], brief).await;
    process.put(1).await;
    let leader = process.leader().expect("a leader");
    for number in (1..=3).filter(|number| *number != leader) {
        process.remove(number).await;
    }
    let result = process.replicas.command(GROUP, envelope(2, 0)).await;
    assert!(matches!(result, Err(ServiceError::Unavailable)), "{result:?}");
    let result = process.replicas.query(GROUP, crate::meta::Query::Statistics).await;
    assert!(matches!(result, Err(ServiceError::Unavailable)), "{result:?}");
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_past_the_bound_is_refused_and_one_at_it_is_not() {
    let process = Process::formed(&[1], settings()).await;
    let result = process.replicas.command(GROUP, envelope(1, MAX_COMMAND_LEN + 8192)).await;
    assert!(matches!(result, Err(ServiceError::Refused(_))), "{result:?}");
    let result = process.replicas.command(GROUP, envelope(2, MAX_COMMAND_LEN)).await;
    result.expect("an answer").expect("an outcome");
    process.replicas.shutdown().await;
}

async fn refusal(replicas: &Replicas, db: &Arc<DiskDb>, replica: u64, origin: Origin) -> StartError {
    replicas.start_replica(db.clone(), GROUP, ReplicaId(replica), origin).await.expect_err("a refusal")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_its_memory_is_refused() {
    let mut process = Process::formed(&[5], settings()).await;
    process.put(1).await;
    // A directory that lost everything is no place for the old voter.
    let empty = open(disk(9), &process.path(9)).await;
    let error = refusal(&process.replicas, &empty, 4, Origin::Existing).await;
    assert!(matches!(error, StartError::Lost { .. }), "{error}");
    process.remove(5).await;
    let db = open(disk(5), &process.path(5)).await;
    // Neither is a directory with its records a new replica's.
    let error = refusal(&process.replicas, &db, 5, Origin::New).await;
    assert!(matches!(error, StartError::Refused { .. }), "{error}");
    let error = refusal(&process.replicas, &db, 6, Origin::New).await;
    assert!(matches!(error, StartError::Refused { .. }), "{error}");
    // Nor another cluster's.
    let stranger = Replicas::new(ClusterId::random(), None, settings(), toys()).unwrap();
    let error = refusal(&stranger, &db, 5, Origin::Existing).await;
    assert!(matches!(error, StartError::Refused { .. }), "{error}");
    // A retired id is never used again, nor a smaller one; a greater one starts from nothing.
    process.replicas.retire_replica(db.clone(), GROUP, ReplicaId(5)).await.unwrap();
    for (replica, origin) in [(5, Origin::Existing), (5, Origin::New), (4, Origin::New)] {
        refusal(&process.replicas, &db, replica, origin).await;
    }
    process.replicas.start_replica(db.clone(), GROUP, ReplicaId(6), Origin::New).await.unwrap();
    process.dbs.insert(6, db);
    assert_eq!(process.count_on(6), 0);
    process.replicas.shutdown().await;
}

/// The group `GROUP` on three disks, and another on the first of them.
async fn two_groups() -> (Process, GroupId) {
    let brief = Settings { retry_for: Duration::from_secs(2), ..settings() };
    let process = Process::formed(&[1, 2, 3], brief).await;
    let other = GroupId(GROUP.0 + 1);
    process.replicas.start_replica(process.dbs[&1].clone(), other, ReplicaId(81), Origin::New).await.unwrap();
    process.replicas.initialize(other, BTreeMap::from([(ReplicaId(81), disk(1))])).await.unwrap();
    process.until("a leader", |process| process.replicas.ready(other)).await;
    (process, other)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_breaks_the_state_machine_stops_its_group_and_nothing_else() {
    for breaks in [BREAKS, PANICS] {
        let (mut process, other) = two_groups().await;
        process.put(1).await;
        let result = process.replicas.command(GROUP, envelope(breaks, 0)).await;
        assert!(matches!(result, Err(ServiceError::Unavailable)), "{result:?}");
        // The third one only if it has heard that the command was committed, before the others ended.
        let stopped = |process: &Process| process.replicas.ended().len() >= 2;
        process.until("the end of the replicas", stopped).await;
        let ended = process.replicas.ended();
        assert!(
            ended.iter().all(|ended| ended.broken && ended.group == GROUP && ended.why.contains("toy")),
            "{ended:?}"
        );
        for db in process.dbs.values() {
            assert_eq!(*db.failure().borrow(), None, "the disks go on");
        }
        process.replicas.command(other, envelope(2, 0)).await.unwrap().unwrap();

        // Neither does it take the disk along at the next start.
        process.remove(1).await;
        let is_gone = |ended: &Ended| ended.replica != ReplicaId(1);
        assert!(process.replicas.ended().iter().all(is_gone), "what is not here is not waited for");
        let db = open(disk(1), &process.path(1)).await;
        let again = process.replicas.start_replica(db.clone(), GROUP, ReplicaId(1), Origin::Existing).await;
        assert!(matches!(again, Ok(()) | Err(StartError::Broken { .. })), "{again:?}");
        process.replicas.start_replica(db, other, ReplicaId(81), Origin::Existing).await.unwrap();
        process.replicas.command(other, envelope(3, 0)).await.unwrap().unwrap();
        process.replicas.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_breaks_the_state_machine_is_refused_and_fails_no_disk() {
    let (process, other) = two_groups().await;
    for group in [GROUP, other] {
        for query in [Query::Users, Query::Map] {
            let result = process.replicas.query(group, query).await;
            assert!(matches!(result, Err(ServiceError::Refused(_))), "{result:?}");
        }
        process.replicas.command(group, envelope(1, 0)).await.unwrap().unwrap();
        assert!(process.replicas.status(group).unwrap().broken.is_some(), "and it is seen");
    }
    for db in process.dbs.values() {
        assert_eq!(*db.failure().borrow(), None);
    }
    process.replicas.shutdown().await;
}
