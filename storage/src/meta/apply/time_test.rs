use std::collections::HashMap;

use proptest::prelude::*;

use super::super::super::check::check;
use super::super::super::command::{Batch, Command, Envelope, NewBody, Outcome, Rejection, WriteCondition};
use super::super::super::testing::{BUCKET, Rig, START_MS, chunks, create_bucket, dump, fresh_store, put};
use super::*;
use crate::types::OperationId;

const MINUTE: u64 = 60 * 1000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn time(rig: &Rig) -> UnixMillis {
    rig.store.live.lock().state.time_ms
}

/// An entry of one command, whose issuer's clock is right, by a leader whose clock says `stamped`.
fn stamped(rig: &mut Rig, stamped: UnixMillis, command: Command) -> Result<Outcome, Rejection> {
    let envelope = rig.envelope(command);
    rig.apply_stamped(stamped, vec![envelope]).remove(0)
}

#[test]
fn one_stamp_moves_the_time_by_an_hour_at_most() {
    let mut rig = Rig::with_bucket();
    for ahead in [DAY, 400 * DAY, u64::MAX - START_MS] {
        let before = time(&rig);
        rig.apply_stamped(rig.now + ahead, Vec::new());
        assert_eq!(time(&rig), before + STEP_MS);
    }
    check(&rig.store);
}

#[test]
fn a_clock_that_was_ahead_for_one_command_or_for_hours_stops_nothing_once_it_is_set_back() {
    for commands in [1, 2, 100] {
        let mut rig = Rig::with_bucket();
        rig.put("before", NewBody::Empty, 0).unwrap();
        for _ in 0..commands {
            rig.apply_stamped(rig.now + 5 * HOUR, Vec::new());
        }
        rig.now += MINUTE;
        rig.put("after", NewBody::Empty, 0).unwrap();
        assert_eq!(time(&rig), rig.now);
        rig.put("later", NewBody::Empty, 0).unwrap();
        check(&rig.store);
    }
}

#[test]
fn where_all_clocks_were_ahead_only_what_was_under_way_as_they_were_set_back_is_refused() {
    let mut rig = Rig::with_bucket();
    let real = rig.now;
    for minutes in 0..120 {
        rig.now = real + 5 * HOUR + minutes * MINUTE;
        rig.put(&format!("ahead {minutes}"), NewBody::Empty, 0).unwrap();
    }
    rig.now = real + 120 * MINUTE;
    let under_way = rig.envelope(put("k", NewBody::Empty, 0));
    rig.now += 20;
    assert_eq!(rig.apply(vec![under_way]), [Err(Rejection::OperationTooOld)]);
    rig.put("k", NewBody::Empty, 0).unwrap();
    assert_eq!(time(&rig), rig.now);
    check(&rig.store);
}

#[test]
fn an_operation_is_not_repeated_because_the_time_went_ahead_and_back() {
    let mut rig = Rig::with_bucket();
    let first = rig.envelope(put("k", NewBody::Empty, 0));
    let answer = rig.apply(vec![first.clone()]);
    rig.delete("k").unwrap();
    for commands in 0..7 {
        rig.apply_stamped(rig.now + 5 * HOUR + commands, Vec::new());
    }
    rig.now += 1000;
    assert_eq!(rig.apply(vec![first.clone()]), answer);
    assert_eq!(time(&rig), rig.now);
    assert!(rig.keys().is_empty());
}

#[test]
fn clocks_that_are_apart_as_far_as_nodes_tolerate_neither_stop_nor_turn_the_time() {
    let mut rig = Rig::with_bucket();
    rig.apply_stamped(rig.now + SKEW_MS, Vec::new());
    rig.put("k", NewBody::Empty, 0).unwrap();
    assert_eq!(time(&rig), rig.now + SKEW_MS);
}

#[test]
fn a_leader_whose_clock_is_behind_turns_the_time_back_and_the_next_one_forth_at_once() {
    let mut rig = Rig::with_bucket();
    rig.now += 5 * HOUR;
    rig.put("a", NewBody::Empty, 0).unwrap();
    rig.apply_stamped(START_MS, Vec::new());
    assert_eq!(time(&rig), START_MS);
    rig.now += 10;
    stamped(&mut rig, START_MS + 5 * HOUR + 10, put("c", NewBody::Empty, 0)).unwrap();
    assert_eq!(time(&rig), rig.now);
    // A clock that was never set is nobody's.
    stamped(&mut rig, 1000, put("d", NewBody::Empty, 0)).unwrap();
    assert_eq!(time(&rig), rig.now);
    check(&rig.store);
}

#[test]
fn a_group_that_was_formed_by_a_clock_that_was_never_set_comes_to_the_time_at_once() {
    let mut rig = Rig::over(fresh_store());
    let created = Envelope {
        operation: OperationId { issued_ms: 7, random: 1 },
        command: create_bucket(BUCKET),
        judged: Vec::new(),
    };
    rig.apply_stamped(10, vec![created])[0].as_ref().unwrap();
    assert_eq!(time(&rig), 10);
    stamped(&mut rig, START_MS, put("k", NewBody::Empty, 0)).unwrap();
    assert_eq!(time(&rig), START_MS);
}

#[test]
fn what_is_made_while_the_time_catches_up_is_noted_by_the_leaders_clock() {
    let mut rig = Rig::with_bucket();
    rig.now += 30 * DAY;
    let made = stamped(&mut rig, START_MS + 30 * DAY, put("k", NewBody::Empty, 0)).unwrap();
    assert!(time(&rig) < rig.now);
    assert!(matches!(made, Outcome::Version(record) if record.modified_ms == rig.now), "as an S3 client expects it");
}

#[test]
fn a_person_can_set_the_time_both_ways_in_every_group() {
    let dir = tempfile::tempdir().unwrap();
    for mut rig in [Rig::with_bucket(), Rig::root(dir.path())] {
        rig.apply_stamped(rig.now, Vec::new());
        rig.now += 30 * DAY;
        stamped(&mut rig, START_MS + 30 * DAY, Command::ResetClock).unwrap();
        assert_eq!(time(&rig), START_MS + 30 * DAY, "after a month in which the cluster was off");
        rig.now = START_MS + DAY;
        stamped(&mut rig, START_MS + DAY, Command::ResetClock).unwrap();
        assert_eq!(time(&rig), START_MS + DAY);
        rig.apply_stamped(START_MS + 30 * DAY, Vec::new());
        assert_eq!(time(&rig), START_MS + DAY + STEP_MS, "it does not leap where it has been by mistake");
        check(&rig.store);
    }
}

#[test]
fn garbage_that_was_made_before_the_time_went_back_and_after_is_collected() {
    let mut rig = Rig::with_bucket();
    rig.put_chunks("a", &[5]);
    rig.put_chunks("b", &[5]);
    rig.now += 5 * HOUR;
    rig.delete("a").unwrap();
    rig.collect_all(10, 0);
    rig.now -= 4 * HOUR;
    rig.delete("b").unwrap();
    rig.collect_all(10, 0);
    assert_eq!(check(&rig.store), 0);
}

#[test]
fn a_longer_grace_time_holds_only_for_what_was_touched_since() {
    let mut rig = Rig::with_bucket();
    let commit = |rig: &mut Rig, key: &str, age: u64| {
        let id = rig.id();
        let (mut body, size) = chunks(id, &[5]);
        if let NewBody::Chunks { oldest_touch_age_ms, .. } = &mut body {
            *oldest_touch_age_ms = age;
        }
        rig.put(key, body, size).map(drop)
    };
    let too_old = Err(Rejection::TouchTooOld);
    rig.run(Command::SetGrace { grace_ms: 10 * MINUTE }).unwrap();
    assert_eq!(commit(&mut rig, "a", 5 * MINUTE), Ok(()));
    assert_eq!(commit(&mut rig, "b", 5 * MINUTE + 1), too_old, "a shorter one holds at once");
    rig.run(Command::SetGrace { grace_ms: DAY }).unwrap();
    assert_eq!(commit(&mut rig, "b", 5 * MINUTE + 1), too_old, "its chunks may have been dropped before");
    rig.now += 30 * MINUTE;
    rig.run(Command::SetGrace { grace_ms: DAY }).unwrap();
    assert_eq!(commit(&mut rig, "b", 15 * MINUTE + 1), too_old);
    assert_eq!(commit(&mut rig, "b", 15 * MINUTE), Ok(()), "to set it again does not begin anew");
    rig.run(Command::SetGrace { grace_ms: 20 * MINUTE }).unwrap();
    rig.run(Command::SetGrace { grace_ms: DAY }).unwrap();
    assert_eq!(commit(&mut rig, "c", 10 * MINUTE + 1), too_old);
    assert_eq!(commit(&mut rig, "c", 10 * MINUTE), Ok(()));
    rig.now += 2 * DAY;
    assert_eq!(commit(&mut rig, "d", DAY / 2), Ok(()));
    assert_eq!(commit(&mut rig, "e", DAY / 2 + 1), too_old);
}

/// What happens next: the real time passes, a clock is set so far off, and then so many operations are sent, of which
/// some are sent again at once or up to a minute later.
type Turn = (u64, i64, Vec<(u8, bool)>);

fn turn() -> impl Strategy<Value = Turn> {
    let off = prop_oneof![
        6 => Just(0i64),
        1 => Just(20 * MINUTE as i64),
        1 => Just(5 * HOUR as i64),
        1 => Just(3 * DAY as i64),
        1 => Just(-(2 * HOUR as i64)),
    ];
    let passes = prop_oneof![4 => 0..2000u64, 2 => 0..MINUTE, 1 => 9 * MINUTE..15 * MINUTE, 1 => HOUR..2 * DAY];
    (passes, off, prop::collection::vec((any::<u8>(), any::<bool>()), 0..6))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_the_clock_does_nothing_takes_effect_twice_and_a_right_clock_is_served(
        turns in prop::collection::vec(turn(), 1..40),
        cut in 1..9usize,
    ) {
        let mut rig = Rig::with_bucket();
        let mut real = rig.now;
        let mut sent: Vec<(u64, Envelope)> = Vec::new();
        let mut answers: HashMap<u64, Result<Outcome, Rejection>> = HashMap::new();
        for (passes, off, operations) in turns {
            real += passes;
            let clock = real.saturating_add_signed(off);
            rig.now = clock;
            let mut envelopes = Vec::new();
            for (pick, again) in operations {
                let late = sent.iter().filter(|(at, _)| real - at <= MINUTE).count();
                let envelope = match late {
                    1.. if again => sent[sent.len() - 1 - usize::from(pick) % late].1.clone(),
                    _ => {
                        let id = rig.id();
                        let mut command = put(&hex::encode(id.0), NewBody::Empty, 0);
                        if let Command::PutObject { condition, .. } = &mut command {
                            *condition = WriteCondition::Absent;
                        }
                        let envelope = rig.envelope(command);
                        sent.push((real, envelope.clone()));
                        envelope
                    }
                };
                envelopes.push(envelope);
            }
            let before = rig.store.live.lock().state.high_ms;
            let results = rig.apply_stamped(clock, envelopes.clone());
            prop_assert!(time(&rig) <= before + STEP_MS);
            for (result, envelope) in results.into_iter().zip(envelopes) {
                let answer = answers.entry(envelope.operation.random).or_insert_with(|| result.clone());
                prop_assert!(result == *answer || result == Err(Rejection::OperationTooOld), "{result:?} {answer:?}");
            }
        }
        // Two commands later all is well again.
        rig.apply_stamped(real, Vec::new());
        rig.now = real + 1;
        prop_assert!(stamped(&mut rig, real + 1, put("k", NewBody::Empty, 0)).is_ok());
        check(&rig.store);

        let again = fresh_store();
        for entries in rig.log.chunks(cut) {
            let (last, _) = entries.last().unwrap();
            again.apply::<Batch>(entries, &last.to_be_bytes()).unwrap();
        }
        prop_assert_eq!(dump(&again), dump(&rig.store));
    }
}
