use bytes::Bytes;

use super::super::super::check::check;
use super::super::super::command::Command;
use super::super::super::query::{Query, Wanted, WantedBytes};
use super::super::super::record::{ChunkSpan, MAX_LABELS_LEN};
use super::super::super::testing::{BUCKET, Rig, chunks, delete, etag, hash, put};
use super::*;
use crate::types::{MAX_CHUNK_LEN, MAX_CHUNKS_PER_BODY, MAX_INLINE_LEN};

fn put_if(rig: &mut Rig, condition: WriteCondition) -> Result<Outcome, Rejection> {
    let mut command = put("k", NewBody::Empty, 0);
    if let Command::PutObject { condition: slot, .. } = &mut command {
        *slot = condition;
    }
    rig.run(command)
}

fn delete_if(
    rig: &mut Rig,
    condition: WriteCondition,
    modified_ms: Option<u64>,
    size: Option<u64>,
) -> Result<bool, Rejection> {
    let target = DeleteTarget { key: "k".to_owned(), condition, modified_ms, size };
    match rig.run(Command::DeleteObjects { bucket: BUCKET, targets: vec![target] }) {
        Ok(Outcome::Deleted(mut results)) => results.remove(0),
        other => panic!("{other:?}"),
    }
}

/// Copies `from` onto `to` with the version that is current.
fn copy(rig: &mut Rig, from: &str, to: &str) -> Result<Outcome, Rejection> {
    let source_version = rig.read(from, Wanted::Nothing, 0).map(|(record, _)| record.version).unwrap_or_default();
    let inline_id = rig.id();
    rig.run(Command::CopyObject {
        source_bucket: BUCKET,
        source_key: from.to_owned(),
        source_version,
        bucket: BUCKET,
        key: to.to_owned(),
        condition: WriteCondition::Always,
        owner: UserId([8; 16]),
        attributes: None,
        labels: Vec::new(),
        inline_id,
        checksum: None,
    })
}

#[test]
fn conditions_of_a_put_are_judged_on_the_current_version() {
    let mut rig = Rig::with_bucket();
    let right = WriteCondition::ETag(etag(0));
    assert_eq!(put_if(&mut rig, WriteCondition::Exists), Err(Rejection::NoSuchKey));
    assert_eq!(put_if(&mut rig, right.clone()), Err(Rejection::NoSuchKey));
    assert!(put_if(&mut rig, WriteCondition::Absent).is_ok());
    assert_eq!(put_if(&mut rig, WriteCondition::Absent), Err(Rejection::PreconditionFailed));
    assert!(put_if(&mut rig, WriteCondition::Exists).is_ok());
    assert!(put_if(&mut rig, right).is_ok());
    assert_eq!(put_if(&mut rig, WriteCondition::ETag(etag(1))), Err(Rejection::PreconditionFailed));
}

#[test]
fn conditions_of_a_delete_are_judged_target_by_target() {
    let mut rig = Rig::with_bucket();
    assert_eq!(delete_if(&mut rig, WriteCondition::Always, None, None), Ok(false));
    assert_eq!(delete_if(&mut rig, WriteCondition::Exists, None, None), Err(Rejection::NoSuchKey));
    assert_eq!(delete_if(&mut rig, WriteCondition::Always, None, Some(1)), Err(Rejection::NoSuchKey));
    rig.put_bytes("k", b"12345");
    let time = rig.now;
    assert_eq!(delete_if(&mut rig, WriteCondition::Absent, None, None), Err(Rejection::Invalid));
    let failed = Err(Rejection::PreconditionFailed);
    assert_eq!(delete_if(&mut rig, WriteCondition::ETag(etag(1)), None, None), failed);
    assert_eq!(delete_if(&mut rig, WriteCondition::Always, None, Some(4)), failed);
    assert_eq!(delete_if(&mut rig, WriteCondition::Always, Some(time + 1000), Some(5)), failed);
    assert_eq!(delete_if(&mut rig, WriteCondition::ETag(etag(5)), Some(time / 1000 * 1000), Some(5)), Ok(true));
    check(&rig.store);
}

#[test]
fn a_thousand_targets_are_deleted_at_once_and_not_one_more() {
    let mut rig = Rig::with_bucket();
    let keys: Vec<String> = (0..1001).map(|place| format!("k{place}")).collect();
    for key in &keys {
        rig.put_bytes(key, b"x");
    }
    let mut targets: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(rig.run(delete(&targets)), Err(Rejection::Invalid));
    targets[999] = targets[0];
    targets.truncate(1000);
    let Ok(Outcome::Deleted(results)) = rig.run(delete(&targets)) else { panic!() };
    assert_eq!(results.len(), 1000);
    assert!(results[..999].iter().all(|result| *result == Ok(true)));
    assert_eq!(results[999], Ok(false));
    let mut left = rig.keys();
    left.sort();
    assert_eq!(left, ["k1000", "k999"]);
    check(&rig.store);
}

#[test]
fn a_put_over_an_object_lets_go_of_its_body() {
    let mut rig = Rig::with_bucket();
    rig.put_bytes("k", b"one");
    rig.put_bytes("k", b"two");
    assert_eq!(check(&rig.store), 0);
    rig.put_chunks("k", &[5, 5]);
    assert_eq!(check(&rig.store), 2);
    rig.put_bytes("k", b"three");
    let statistics = rig.statistics();
    assert_eq!((statistics.objects, statistics.object_bytes), (1, 5));
    assert_eq!((statistics.manifests, statistics.garbage_manifests), (1, 1));
    assert_eq!(check(&rig.store), 2, "references stand until the manifest is collected");
}

#[test]
fn versions_carry_the_place_in_the_log_and_the_time_of_the_state() {
    let mut rig = Rig::with_bucket();
    let commands = ["a", "b"].map(|key| rig.envelope(put(key, NewBody::Empty, 0)));
    let results = rig.apply(commands.to_vec());
    let at = |result: &Result<Outcome, Rejection>| match result {
        Ok(Outcome::Version(record)) => (record.version.log_index, record.version.position, record.modified_ms),
        other => panic!("{other:?}"),
    };
    assert_eq!(at(&results[0]), (2, 0, rig.now));
    assert_eq!(at(&results[1]), (2, 1, rig.now));

    // A leader whose clock is behind does not turn the time back.
    let time = rig.now;
    rig.now -= 5000;
    let late = rig.put("c", NewBody::Empty, 0);
    assert_eq!(at(&late), (3, 0, time));
}

#[test]
fn a_copy_shares_the_manifest_until_both_are_gone() {
    let mut rig = Rig::with_bucket();
    let id = rig.put_chunks("k", &[5, 6]);
    copy(&mut rig, "k", "copy").unwrap();
    rig.delete("k").unwrap();
    assert_eq!(rig.statistics().garbage_manifests, 0);
    let spans: Vec<_> = rig.spans("copy", Wanted::All, 10).into_iter().map(|ChunkSpan { hash, .. }| hash).collect();
    assert_eq!(spans, [hash(id, 0), hash(id, 1)]);
    assert_eq!(check(&rig.store), 2);
    rig.delete("copy").unwrap();
    assert_eq!(rig.statistics().garbage_manifests, 1);
    check(&rig.store);
}

#[test]
fn a_copy_onto_itself_keeps_the_body() {
    let mut rig = Rig::with_bucket();
    rig.put_chunks("large", &[5]);
    rig.put_bytes("small", b"small");
    for key in ["large", "small"] {
        copy(&mut rig, key, key).unwrap();
    }
    check(&rig.store);
    assert_eq!(rig.statistics().garbage_manifests, 0);
    let bytes = rig.read("small", Wanted::All, 0).unwrap().1;
    assert!(matches!(bytes, WantedBytes::Inline { bytes, .. } if bytes == Bytes::from_static(b"small")));
}

#[test]
fn a_copy_of_another_version_than_was_seen_is_refused() {
    let mut rig = Rig::with_bucket();
    assert_eq!(copy(&mut rig, "missing", "copy"), Err(Rejection::SourceChanged));
    rig.put_bytes("k", b"one");
    let seen = rig.read("k", Wanted::Nothing, 0).unwrap().0.version;
    rig.put_bytes("k", b"two");
    let inline_id = rig.id();
    let stale = Command::CopyObject {
        source_bucket: BUCKET,
        source_key: "k".to_owned(),
        source_version: seen,
        bucket: BUCKET,
        key: "copy".to_owned(),
        condition: WriteCondition::Always,
        owner: UserId([8; 16]),
        attributes: None,
        labels: Vec::new(),
        inline_id,
        checksum: None,
    };
    assert_eq!(rig.run(stale), Err(Rejection::SourceChanged));
    assert_eq!(rig.keys(), ["k"]);
}

#[test]
fn chunks_that_were_touched_too_long_ago_are_refused() {
    let mut rig = Rig::with_bucket();
    rig.run(Command::SetGrace { grace_ms: 1000 }).unwrap();
    let id = rig.id();
    let aged = |age| {
        let (mut body, size) = chunks(id, &[5]);
        if let NewBody::Chunks { oldest_touch_age_ms, .. } = &mut body {
            *oldest_touch_age_ms = age;
        }
        put("k", body, size)
    };
    assert_eq!(rig.run(aged(501)), Err(Rejection::TouchTooOld));
    assert_eq!(check(&rig.store), 0);
    assert!(rig.run(aged(500)).is_ok());
}

#[test]
fn a_body_that_breaks_a_bound_is_refused_and_leaves_nothing() {
    type Change = fn(&mut NewBody);
    fn change(change: impl Fn(&mut Vec<u32>, &mut Vec<u32>, &mut Vec<crate::types::DiskId>), body: &mut NewBody) {
        if let NewBody::Chunks { acknowledged, homes, disks, .. } = body {
            change(acknowledged, homes, disks);
        }
    }
    let mut rig = Rig::with_bucket();
    let changes: [Change; 6] = [
        |body| change(|acknowledged, _, _| acknowledged.truncate(1), body),
        |body| change(|_, homes, _| homes.push(1), body),
        |body| change(|acknowledged, _, _| acknowledged[0] = 0b1000, body),
        |body| change(|_, homes, _| homes[1] = 1 << 31, body),
        |body| change(|_, _, disks| *disks = vec![crate::types::DiskId([1; 16]); 33], body),
        |body| {
            if let NewBody::Chunks { chunks, .. } = body {
                chunks[0].len -= 1;
            }
        },
    ];
    for change in changes {
        let (mut body, size) = chunks(rig.id(), &[5, 6]);
        change(&mut body);
        assert_eq!(rig.put("k", body, size), Err(Rejection::Invalid));
    }
    for lens in [vec![], vec![0], vec![MAX_CHUNK_LEN as u32 + 1], vec![1; MAX_CHUNKS_PER_BODY + 1]] {
        let (body, size) = chunks(rig.id(), &lens);
        assert_eq!(rig.put("k", body, size), Err(Rejection::Invalid));
    }
    for (length, size) in [(0, 0), (5, 6), (MAX_INLINE_LEN + 1, MAX_INLINE_LEN as u64 + 1)] {
        let body = NewBody::Inline { id: rig.id(), bytes: vec![0; length].into() };
        assert_eq!(rig.put("k", body, size), Err(Rejection::Invalid));
    }
    assert_eq!(rig.put("k", NewBody::Empty, 1), Err(Rejection::Invalid));
    assert_eq!(rig.put("", NewBody::Empty, 0), Err(Rejection::Invalid));
    assert_eq!(rig.put(&"k".repeat(1025), NewBody::Empty, 0), Err(Rejection::Invalid));
    assert!(rig.put(&"k".repeat(1024), NewBody::Empty, 0).is_ok());
    assert_eq!(check(&rig.store), 0);

    let (body, size) = chunks(rig.id(), &vec![1; MAX_CHUNKS_PER_BODY]);
    assert!(rig.put("most", body.clone(), size).is_ok());
    assert_eq!(rig.put("again", body, size), Err(Rejection::Invalid), "an id is used once");
    assert_eq!(check(&rig.store), MAX_CHUNKS_PER_BODY);
}

#[test]
fn what_not_all_homes_acknowledged_is_queued_for_repair() {
    let mut rig = Rig::with_bucket();
    let id = rig.id();
    let (mut body, size) = chunks(id, &[1, 2, 3]);
    if let NewBody::Chunks { acknowledged, homes, .. } = &mut body {
        *acknowledged = vec![0b011, 0b111, 0b110];
        *homes = vec![0b111, 0b011, 0b110];
    }
    rig.put("k", body, size).unwrap();
    let super::super::super::Answer::Repairs(queue) = rig.ask(Query::Repairs { limit: 10 }) else { panic!() };
    assert_eq!(queue.len(), 1);
    assert_eq!((queue[0].hash, queue[0].queued_ms), (hash(id, 0), rig.now));
    assert_eq!(queue[0].known, [crate::types::DiskId([1; 16]), crate::types::DiskId([2; 16])]);
    check(&rig.store);
}

#[test]
fn a_label_is_set_of_the_version_that_was_judged_and_stays_behind_when_that_is_copied() {
    let mut rig = Rig::with_bucket();
    rig.put_bytes("k", b"one");
    let version = rig.read("k", Wanted::Nothing, 0).unwrap().0.version;
    let set = |version, expected: Option<&'static [u8]>, value: Option<Vec<u8>>| Command::SetLabel {
        bucket: BUCKET,
        key: "k".to_owned(),
        version,
        label: Label::Acl,
        expected: expected.map(Bytes::from_static),
        value: value.map(Bytes::from),
    };
    let label = |rig: &Rig, key: &str| {
        let record = rig.read(key, Wanted::Nothing, 0).unwrap().0;
        assert_eq!(record.attributes.labels.len(), usize::from(record.attributes.label(Label::Acl).is_some()));
        record.attributes.label(Label::Acl).map(|value| value.to_vec())
    };
    assert_eq!(rig.run(set(version, None, Some(b"acl".to_vec()))), Ok(Outcome::Done));
    let stale = set(version, None, Some(b"judged by the one before".to_vec()));
    assert_eq!(rig.run(stale), Err(Rejection::SourceChanged));
    assert_eq!(label(&rig, "k"), Some(b"acl".to_vec()));
    assert_eq!(rig.read("k", Wanted::Nothing, 0).unwrap().0.version, version, "it is the same version");
    copy(&mut rig, "k", "copy").unwrap();
    assert_eq!(label(&rig, "copy"), None);
    let too_long = vec![7; MAX_LABELS_LEN + 1];
    assert_eq!(rig.run(set(version, Some(b"acl"), Some(too_long))), Err(Rejection::Invalid));
    assert_eq!(label(&rig, "k"), Some(b"acl".to_vec()));
    rig.put_bytes("k", b"two");
    assert_eq!(label(&rig, "k"), None, "another version has its own");
    assert_eq!(rig.run(set(version, None, None)), Err(Rejection::SourceChanged));
    let missing = Command::SetLabel {
        bucket: BUCKET,
        key: "none".to_owned(),
        version,
        label: Label::Acl,
        expected: None,
        value: None,
    };
    assert_eq!(rig.run(missing), Err(Rejection::NoSuchKey));
}
