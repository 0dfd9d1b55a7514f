use super::super::super::check::check;
use super::super::super::command::Command;
use super::super::super::query::{Answer, Query};
use super::super::super::record::RepairEntry;
use super::super::super::testing::Rig;
use super::*;

fn queue(rig: &Rig) -> Vec<RepairEntry> {
    match rig.ask(Query::Repairs { limit: 100 }) {
        Answer::Repairs(entries) => entries,
        other => panic!("{other:?}"),
    }
}

fn disk(id: u8) -> DiskId {
    DiskId([id; 16])
}

#[test]
fn a_chunk_stands_in_the_queue_once_at_the_time_it_was_queued_last() {
    let mut rig = Rig::new();
    let add = |hashes: &[u8], known: &[u8]| Command::QueueRepair {
        hashes: hashes.iter().map(|hash| [*hash; 32]).collect(),
        known: known.iter().map(|id| disk(*id)).collect(),
    };
    rig.run(add(&[1, 2], &[7])).unwrap();
    rig.now += 10;
    rig.run(add(&[3, 1], &[8, 7])).unwrap();
    let entries = queue(&rig);
    assert_eq!(entries.iter().map(|entry| entry.hash[0]).collect::<Vec<_>>(), [2, 1, 3]);
    assert_eq!(entries[1].known, [disk(8), disk(7)]);
    assert_eq!(rig.statistics().queued_repairs, 3);
    check(&rig.store);

    let many = vec![[0; 32]; MAX_CHUNKS_PER_BODY + 1];
    assert_eq!(
        rig.run(Command::QueueRepair { hashes: many, known: Vec::new() }),
        Err(super::super::super::Rejection::Invalid)
    );
}

#[test]
fn a_finished_repair_takes_nothing_that_was_queued_after_it_was_seen() {
    let mut rig = Rig::new();
    let add = Command::QueueRepair { hashes: vec![[1; 32], [2; 32]], known: Vec::new() };
    rig.run(add).unwrap();
    let seen: Vec<_> = queue(&rig).iter().map(|entry| (entry.hash, entry.queued_ms)).collect();
    // Queued again before the clock moved on.
    rig.run(Command::QueueRepair { hashes: vec![[1; 32]], known: Vec::new() }).unwrap();
    rig.run(Command::FinishRepair { done: seen }).unwrap();
    let left = queue(&rig);
    assert_eq!(left.iter().map(|entry| entry.hash[0]).collect::<Vec<_>>(), [1]);
    check(&rig.store);
    let done = left.iter().map(|entry| (entry.hash, entry.queued_ms)).chain([([9; 32], u64::MAX)]).collect();
    rig.run(Command::FinishRepair { done }).unwrap();
    assert_eq!(rig.statistics().queued_repairs, 0);
    check(&rig.store);
}
