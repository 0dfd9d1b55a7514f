use super::super::super::check::check;
use super::super::super::command::Command;
use super::super::super::query::{Answer, Query, UploadState, Wanted};
use super::super::super::testing::{BUCKET, Rig, chunks, complete, create_upload, put_part};
use super::*;

fn state(rig: &Rig, key: &str, upload: UploadId) -> UploadState {
    match rig.ask(Query::Upload { bucket: BUCKET, key: key.to_owned(), upload }) {
        Answer::Upload { upload, .. } => upload,
        other => panic!("{other:?}"),
    }
}

fn numbers(rig: &Rig, upload: UploadId, after: u16, limit: u32) -> (Vec<u16>, bool) {
    match rig.ask(Query::Parts { bucket: BUCKET, key: "k".to_owned(), upload, after, limit }) {
        Answer::Parts { parts, more, .. } => (parts.iter().map(|part| part.number).collect(), more),
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_are_listed_by_number_and_a_second_one_replaces_the_first() {
    let mut rig = Rig::with_bucket();
    let upload = rig.create_upload("k");
    for number in [300, 2, 10_000, 1, 2] {
        rig.put_part("k", upload, number, &[5]);
    }
    assert_eq!(numbers(&rig, upload, 0, 10), (vec![1, 2, 300, 10_000], false));
    assert_eq!(numbers(&rig, upload, 1, 2), (vec![2, 300], true));
    assert_eq!(numbers(&rig, upload, 300, 1), (vec![10_000], false));
    assert_eq!(numbers(&rig, upload, 0, 0), (vec![], false));
    assert_eq!(rig.statistics().garbage_manifests, 1);
    check(&rig.store);
}

#[test]
fn a_part_is_refused_without_its_upload_or_out_of_bounds() {
    let mut rig = Rig::with_bucket();
    let upload = rig.create_upload("k");
    let id = rig.id();
    assert_eq!(rig.run(put_part("other", upload, 1, id, &[5])), Err(Rejection::NoSuchUpload));
    assert_eq!(rig.run(put_part("k", UploadId([1; 16]), 1, id, &[5])), Err(Rejection::NoSuchUpload));
    assert_eq!(rig.run(put_part("k", upload, 0, id, &[5])), Err(Rejection::Invalid));
    assert_eq!(rig.run(put_part("k", upload, 10_001, id, &[5])), Err(Rejection::Invalid));
    let with_body = |body| {
        let mut command = put_part("k", upload, 1, id, &[5]);
        if let Command::PutPart { body: slot, .. } = &mut command {
            *slot = body;
        }
        command
    };
    let inline = NewBody::Inline { id, bytes: vec![0; 5].into() };
    assert_eq!(rig.run(with_body(inline)), Err(Rejection::Invalid));
    let (other, _) = chunks(ManifestId([3; 16]), &[5]);
    assert_eq!(rig.run(with_body(other)), Err(Rejection::Invalid), "the id is another than the body's");
    assert!(rig.run(put_part("k", upload, 1, id, &[5])).is_ok());
    assert_eq!(rig.run(create_upload("k", upload)), Err(Rejection::Exists));
    check(&rig.store);
}

#[test]
fn complete_takes_over_the_named_parts_and_lets_go_of_the_others() {
    let mut rig = Rig::with_bucket();
    rig.put_chunks("k", &[1]);
    let upload = rig.create_upload("k");
    let first = rig.put_part("k", upload, 1, &[5, 6]);
    rig.put_part("k", upload, 2, &[9]);
    let third = rig.put_part("k", upload, 3, &[7]);
    let Ok(Outcome::Version(record)) = rig.complete("k", upload, vec![first, third], 18) else { panic!() };
    assert_eq!((record.size, record.owner), (18, UserId([9; 16])));
    assert_eq!(rig.spans("k", Wanted::All, 10).len(), 3);
    let statistics = rig.statistics();
    assert_eq!((statistics.open_uploads, statistics.garbage_manifests), (0, 2));
    let UploadState::Completed(completed) = state(&rig, "k", upload) else { panic!() };
    assert_eq!((completed.version, completed.size), (record.version, 18));
    check(&rig.store);

    rig.now += 1;
    rig.collect_all(100, 0);
    assert_eq!(check(&rig.store), 3);
    rig.delete("k").unwrap();
    rig.collect_all(1, 0);
    assert_eq!(check(&rig.store), 0);
}

#[test]
fn complete_with_another_part_than_was_seen_leaves_the_upload_open() {
    let mut rig = Rig::with_bucket();
    let upload = rig.create_upload("k");
    let old = rig.put_part("k", upload, 1, &[5]);
    let new = rig.put_part("k", upload, 1, &[5]);
    let second = rig.put_part("k", upload, 2, &[6]);
    let missing = NamedPart { number: 3, id: second.id };
    for (parts, size) in [(vec![old], 5), (vec![old, second], 11), (vec![new, second, missing], 17)] {
        assert_eq!(rig.complete("k", upload, parts, size), Err(Rejection::UploadChanged));
    }
    assert_eq!(rig.complete("k", upload, vec![new, second], 10), Err(Rejection::Invalid), "a wrong size");
    assert_eq!(rig.complete("k", upload, vec![second, new], 11), Err(Rejection::Invalid), "a wrong order");
    assert_eq!(rig.complete("k", upload, vec![new, new], 10), Err(Rejection::Invalid), "a part twice");
    assert_eq!(rig.complete("k", upload, vec![], 0), Err(Rejection::Invalid));
    assert!(matches!(state(&rig, "k", upload), UploadState::Open(_)));
    assert!(rig.keys().is_empty());
    check(&rig.store);
    assert!(rig.complete("k", upload, vec![new, second], 11).is_ok());
    assert_eq!(rig.complete("k", upload, vec![new, second], 11), Err(Rejection::NoSuchUpload));
}

#[test]
fn a_condition_that_fails_at_complete_leaves_the_upload_open() {
    let mut rig = Rig::with_bucket();
    rig.put_bytes("k", b"here");
    let upload = rig.create_upload("k");
    let part = rig.put_part("k", upload, 1, &[5]);
    let mut command = complete("k", upload, vec![part], ManifestId([9; 16]), 5);
    if let Command::CompleteUpload { condition, .. } = &mut command {
        *condition = WriteCondition::Absent;
    }
    assert_eq!(rig.run(command), Err(Rejection::PreconditionFailed));
    assert!(matches!(state(&rig, "k", upload), UploadState::Open(_)));
    check(&rig.store);
}

#[test]
fn an_upload_of_one_empty_part_makes_an_empty_object() {
    let mut rig = Rig::with_bucket();
    let upload = rig.create_upload("k");
    let part = rig.put_part("k", upload, 1, &[]);
    rig.complete("k", upload, vec![part], 0).unwrap();
    assert!(rig.spans("k", Wanted::All, 10).is_empty());
    assert!(rig.spans("k", Wanted::Part(1), 10).is_empty());
    check(&rig.store);
    rig.delete("k").unwrap();
    rig.collect_all(10, 0);
    assert_eq!(rig.statistics().manifests, 0);
}

#[test]
fn abort_lets_go_of_all_parts() {
    let mut rig = Rig::with_bucket();
    let upload = rig.create_upload("k");
    for number in 1..=5 {
        rig.put_part("k", upload, number, &[5]);
    }
    let abort = Command::AbortUpload { bucket: BUCKET, key: "k".to_owned(), upload };
    assert_eq!(rig.run(abort.clone()), Ok(Outcome::Done));
    assert_eq!(rig.run(abort), Err(Rejection::NoSuchUpload));
    assert_eq!(state(&rig, "k", upload), UploadState::Unknown);
    let statistics = rig.statistics();
    assert_eq!((statistics.open_uploads, statistics.garbage_manifests), (0, 5));
    check(&rig.store);
    rig.collect_all(2, 0);
    assert_eq!(check(&rig.store), 0);
}

#[test]
fn a_completed_upload_is_remembered_for_a_day() {
    let mut rig = Rig::with_bucket();
    let upload = rig.create_upload("k");
    let part = rig.put_part("k", upload, 1, &[5]);
    rig.complete("k", upload, vec![part], 5).unwrap();
    let day = 24 * 60 * 60 * 1000;
    rig.now += day - 1;
    rig.collect_all(10, day);
    assert!(matches!(state(&rig, "k", upload), UploadState::Completed(_)));
    rig.now += 1;
    rig.collect_all(10, day);
    assert_eq!(state(&rig, "k", upload), UploadState::Unknown);
    check(&rig.store);
}
