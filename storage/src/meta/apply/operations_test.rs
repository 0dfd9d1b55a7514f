use super::super::super::check::check;
use super::super::super::command::{Command, Envelope, NewBody};
use super::super::super::schema::Cf;
use super::super::super::testing::{Rig, START_MS, create_bucket, delete, dump, put};
use super::*;

fn kept(rig: &Rig) -> usize {
    dump(&rig.store).keys().filter(|(cf, _)| *cf == Cf::Operations as u8).count()
}

#[test]
fn a_repeated_operation_takes_no_effect_and_answers_the_same() {
    let mut rig = Rig::with_bucket();
    let first = rig.envelope(put("k", NewBody::Empty, 0));
    let answer = rig.apply(vec![first.clone()]);
    rig.delete("k").unwrap();
    rig.now += KEPT_MS;
    assert_eq!(rig.apply(vec![first.clone()]), answer);
    assert!(rig.keys().is_empty());

    // Within one entry as well, and for a refusal.
    let refused = rig.envelope(Command::SealBucket { bucket: crate::types::BucketId(99) });
    let results = rig.apply(vec![refused.clone(), refused.clone()]);
    assert_eq!(results, [Err(Rejection::UnknownBucket), Err(Rejection::UnknownBucket)]);
    rig.run(create_bucket(crate::types::BucketId(99))).unwrap();
    assert_eq!(rig.apply(vec![refused]), [Err(Rejection::UnknownBucket)]);
    check(&rig.store);
}

#[test]
fn an_operation_older_than_the_kept_results_is_refused() {
    let mut rig = Rig::with_bucket();
    let old = rig.envelope(put("k", NewBody::Empty, 0));
    let kept = rig.envelope(delete(&["k"]));
    let answer = rig.apply(vec![kept.clone()]);
    rig.now += KEPT_MS;
    assert_eq!(rig.apply(vec![kept.clone()]), answer);
    rig.now += 1;
    assert_eq!(rig.apply(vec![old]), [Err(Rejection::OperationTooOld)]);
    assert_eq!(rig.apply(vec![kept]), [Err(Rejection::OperationTooOld)]);
    assert!(rig.keys().is_empty());
}

#[test]
fn results_are_forgotten_once_their_operations_would_be_refused() {
    let mut rig = Rig::with_bucket();
    for _ in 0..50 {
        rig.run(Command::Nothing).unwrap();
        rig.now += 1000;
    }
    assert_eq!(kept(&rig), 51);
    rig.now = START_MS + KEPT_MS;
    rig.run(Command::Nothing).unwrap();
    assert_eq!(kept(&rig), 52);
    rig.now += 2 * STEP_MS;
    let envelope = Envelope { operation: rig.operation(), command: Command::Nothing, judged: Vec::new() };
    rig.apply(vec![envelope]);
    assert_eq!(kept(&rig), 2);
}
