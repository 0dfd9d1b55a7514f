use super::super::super::check::check;
use super::super::super::command::{Command, NewBody};
use super::super::super::query::{Answer, ListFrom, Query, UploadState, Wanted};
use super::super::super::record::Setting;
use super::super::super::testing::{BUCKET, Rig, create_bucket, create_upload, delete, put, put_part, set};
use super::*;
use crate::types::{ManifestId, UploadId};

fn seal(rig: &mut Rig) -> Result<Outcome, Rejection> {
    rig.run(Command::SealBucket { bucket: BUCKET })
}

fn purge(rig: &mut Rig, limit: u32) -> Result<Outcome, Rejection> {
    rig.run(Command::PurgeBucket { bucket: BUCKET, limit })
}

#[test]
fn a_bucket_is_created_once_and_a_second_create_answers_the_same() {
    let mut rig = Rig::new();
    let first = rig.run(create_bucket(BUCKET)).unwrap();
    rig.now += 1000;
    assert_eq!(rig.run(create_bucket(BUCKET)), Ok(first.clone()));
    let Outcome::Bucket(record) = first else { panic!() };
    assert_eq!(record.created_ms, rig.now - 1000);
    assert_eq!(rig.ask(Query::Bucket { bucket: BUCKET }), Answer::Bucket(Some((record, 0))));
    assert_eq!(rig.statistics().buckets, 1);
}

#[test]
fn only_an_empty_bucket_is_sealed_and_open_uploads_do_not_matter() {
    let mut rig = Rig::with_bucket();
    rig.create_upload("k");
    rig.put_bytes("k", b"x");
    assert_eq!(seal(&mut rig), Err(Rejection::BucketNotEmpty));
    // Emptied in the same entry.
    let commands = [delete(&["k"]), Command::SealBucket { bucket: BUCKET }, put("k", NewBody::Empty, 0)];
    let envelopes = commands.map(|command| rig.envelope(command)).to_vec();
    let results = rig.apply(envelopes);
    assert!(matches!(&results[1], Ok(Outcome::Bucket(record)) if record.sealed));
    assert_eq!(results[2], Err(Rejection::UnknownBucket));
    check(&rig.store);
}

#[test]
fn filled_in_the_same_entry_it_is_not_empty() {
    let mut rig = Rig::with_bucket();
    let commands = [put("k", NewBody::Empty, 0), Command::SealBucket { bucket: BUCKET }];
    let envelopes = commands.map(|command| rig.envelope(command)).to_vec();
    assert_eq!(rig.apply(envelopes)[1], Err(Rejection::BucketNotEmpty));
}

#[test]
fn a_sealed_bucket_is_unknown_to_every_command_and_query() {
    let mut rig = Rig::with_bucket();
    let upload = rig.create_upload("k");
    rig.set(Setting::Policy, Some(b"policy")).unwrap();
    seal(&mut rig).unwrap();
    let abort = Command::AbortUpload { bucket: BUCKET, key: "k".to_owned(), upload };
    let commands = [
        create_bucket(BUCKET),
        put("k", NewBody::Empty, 0),
        delete(&["k"]),
        create_upload("k", UploadId([1; 16])),
        put_part("k", upload, 1, ManifestId([1; 16]), &[5]),
        abort,
        Command::SealBucket { bucket: BUCKET },
        set(Setting::Policy, None),
    ];
    for command in commands {
        assert_eq!(rig.run(command), Err(Rejection::UnknownBucket));
    }
    assert_eq!(rig.ask(Query::Bucket { bucket: BUCKET }), Answer::Bucket(None));
    let none = Answer::BucketSettings { settings: None, values: Vec::new() };
    assert_eq!(rig.ask(Query::BucketSettings { bucket: BUCKET }), none);
    let (bucket, key) = (BUCKET, "k".to_owned());
    let query = Query::Object { bucket, key: key.clone(), wanted: Wanted::All, limit: 1 };
    assert_eq!(rig.ask(query), Answer::Object { settings: None, object: None });
    let query = Query::List { bucket, prefix: String::new(), delimiter: None, from: ListFrom::Start, limit: 1 };
    assert_eq!(rig.ask(query), Answer::List { settings: None, entries: Vec::new(), more: false });
    let query = Query::Upload { bucket, key, upload };
    assert_eq!(rig.ask(query), Answer::Upload { settings: None, upload: UploadState::Unknown });
    assert_eq!(rig.ask(Query::SealedBuckets), Answer::SealedBuckets(vec![BUCKET]));
    check(&rig.store);
}

#[test]
fn a_purge_goes_in_bounded_steps_and_ends_with_nothing() {
    let mut rig = Rig::with_bucket();
    assert_eq!(purge(&mut rig, 10), Err(Rejection::Invalid), "it is not sealed");
    for key in ["a", "b"] {
        let upload = rig.create_upload(key);
        for number in 1..=10 {
            rig.put_part(key, upload, number, &[5]);
        }
    }
    let upload = rig.create_upload("c");
    let part = rig.put_part("c", upload, 1, &[5]);
    rig.complete("c", upload, vec![part], 5).unwrap();
    rig.delete("c").unwrap();
    for setting in Setting::ALL {
        rig.set(setting, Some(b"value")).unwrap();
    }
    rig.set(Setting::Acl, None).unwrap();
    seal(&mut rig).unwrap();

    let mut total = 0;
    loop {
        let Ok(Outcome::Progress { taken, more }) = purge(&mut rig, 4) else { panic!() };
        assert!(taken <= 4);
        total += taken;
        check(&rig.store);
        if !more {
            break;
        }
    }
    assert_eq!(total, 20 + 2 + 1 + 5 + 1, "parts, uploads, a completed upload, settings, the bucket");
    assert_eq!(rig.ask(Query::SealedBuckets), Answer::SealedBuckets(Vec::new()));
    assert_eq!(purge(&mut rig, 4), Err(Rejection::UnknownBucket));
    assert_eq!(rig.run(create_bucket(BUCKET)), Err(Rejection::UnknownBucket), "an id is never used again");
    assert_eq!(rig.statistics().open_uploads, 0);
    rig.collect_all(5, 0);
    assert_eq!(check(&rig.store), 0);
}
