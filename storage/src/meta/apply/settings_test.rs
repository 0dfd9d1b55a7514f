use super::super::super::check::check;
use super::super::super::command::{Command, Envelope, SMALL_SETTING_LEN};
use super::super::super::query::{Answer, Query};
use super::super::super::testing::{BUCKET, Rig, create_bucket, delete, set};
use super::*;

/// The epoch, and what is set.
fn settings(rig: &Rig, bucket: BucketId) -> (u64, Vec<(Setting, Bytes)>) {
    match rig.ask(Query::BucketSettings { bucket }) {
        Answer::BucketSettings { settings: Some(epoch), values } => (epoch, values),
        other => panic!("{other:?}"),
    }
}

fn value(bytes: &'static [u8]) -> Bytes {
    Bytes::from_static(bytes)
}

#[test]
fn settings_are_set_replaced_and_removed_and_every_change_counts() {
    let mut rig = Rig::with_bucket();
    assert_eq!(settings(&rig, BUCKET), (0, Vec::new()));
    assert_eq!(rig.set(Setting::Cors, None), Ok(0), "there is none");
    assert_eq!(rig.set(Setting::Cors, Some(b"cors")), Ok(1));
    assert_eq!(rig.set(Setting::Policy, Some(b"policy")), Ok(2));
    assert_eq!(rig.set(Setting::Policy, Some(b"other")), Ok(3));
    assert_eq!(rig.set(Setting::Policy, Some(b"other")), Ok(3), "the same again");
    assert_eq!(rig.set(Setting::Tagging, Some(b"")), Ok(4), "nothing in it is not nothing");
    let all = vec![(Setting::Policy, value(b"other")), (Setting::Tagging, value(b"")), (Setting::Cors, value(b"cors"))];
    assert_eq!(settings(&rig, BUCKET), (4, all));
    for (place, setting) in [Setting::Policy, Setting::Tagging, Setting::Cors].into_iter().enumerate() {
        assert_eq!(rig.set(setting, None), Ok(5 + place as u64));
    }
    assert_eq!(settings(&rig, BUCKET), (7, Vec::new()), "an epoch never goes back");
    check(&rig.store);
}

#[test]
fn what_was_judged_by_other_settings_changes_nothing() {
    let mut rig = Rig::with_bucket();
    let judged = |rig: &mut Rig, command, epoch| Envelope { judged: vec![(BUCKET, epoch)], ..rig.envelope(command) };
    let policy = |bytes: &'static [u8]| set(Setting::Policy, Some(bytes));
    let run = |rig: &mut Rig, command, epoch| {
        let envelope = judged(rig, command, epoch);
        rig.apply(vec![envelope]).remove(0)
    };
    assert_eq!(run(&mut rig, policy(b"one"), 1), Err(Rejection::SettingsChanged));
    assert_eq!(run(&mut rig, policy(b"one"), 0), Ok(Outcome::Settings(1)));
    assert_eq!(rig.set(Setting::Acl, Some(b"acl")), Ok(2));
    // Another setting, too, and where the value is there already.
    assert_eq!(run(&mut rig, policy(b"one"), 1), Err(Rejection::SettingsChanged));
    assert_eq!(run(&mut rig, set(Setting::Policy, None), 1), Err(Rejection::SettingsChanged));
    // Whatever it is that was judged.
    rig.put_bytes("key", b"bytes");
    assert_eq!(run(&mut rig, delete(&["key"]), 1), Err(Rejection::SettingsChanged));
    assert_eq!(rig.keys(), ["key"]);
    assert_eq!(run(&mut rig, delete(&["key"]), 2), Ok(Outcome::Deleted(vec![Ok(true)])));
    assert_eq!(run(&mut rig, Command::SealBucket { bucket: BUCKET }, 1), Err(Rejection::SettingsChanged));
    // One that is not here is the command's business; of several all must be as they were.
    let unknown = BucketId(BUCKET.0 + 7);
    for (other, expected) in [(2, Ok(Outcome::Done)), (1, Err(Rejection::SettingsChanged))] {
        let judged = vec![(unknown, 9), (BUCKET, other)];
        let envelope = Envelope { judged, ..rig.envelope(Command::Nothing) };
        assert_eq!(rig.apply(vec![envelope]), [expected]);
    }
    assert_eq!(settings(&rig, BUCKET), (2, vec![(Setting::Policy, value(b"one")), (Setting::Acl, value(b"acl"))]));
    // Of two in one entry the first one wins.
    let envelopes = [policy(b"two"), policy(b"three")].map(|command| judged(&mut rig, command, 2)).to_vec();
    assert_eq!(rig.apply(envelopes), [Ok(Outcome::Settings(3)), Err(Rejection::SettingsChanged)]);
    assert_eq!(settings(&rig, BUCKET).1[0], (Setting::Policy, value(b"two")));
}

#[test]
fn a_change_that_is_sent_again_counts_once() {
    let mut rig = Rig::with_bucket();
    let [first, second] = [b"one", b"two"].map(|bytes| rig.envelope(set(Setting::Policy, Some(bytes))));
    for _ in 0..2 {
        assert_eq!(rig.apply(vec![first.clone()]), [Ok(Outcome::Settings(1))]);
    }
    assert_eq!(rig.apply(vec![second]), [Ok(Outcome::Settings(2))]);
    assert_eq!(rig.apply(vec![first]), [Ok(Outcome::Settings(1))], "as it was answered then");
    assert_eq!(settings(&rig, BUCKET), (2, vec![(Setting::Policy, value(b"two"))]));
}

#[test]
fn a_value_is_bounded() {
    let mut rig = Rig::with_bucket();
    let longest = vec![7; MAX_SETTING_LEN];
    let longer = vec![7; MAX_SETTING_LEN + 1];
    assert_eq!(rig.set(Setting::Acl, Some(&longest)), Ok(1));
    assert_eq!(rig.set(Setting::Acl, Some(&longer)), Err(Rejection::Invalid));
    assert_eq!(settings(&rig, BUCKET), (1, vec![(Setting::Acl, longest.into())]));
}

#[test]
fn buckets_have_settings_of_their_own() {
    let mut rig = Rig::with_bucket();
    let next = BucketId(BUCKET.0 + 1);
    assert_eq!(rig.run(set_of(next)), Err(Rejection::UnknownBucket));
    rig.run(create_bucket(next)).unwrap();
    rig.set(Setting::Policy, Some(b"mine")).unwrap();
    assert_eq!(settings(&rig, next), (0, Vec::new()));
    assert_eq!(rig.run(set_of(next)), Ok(Outcome::Settings(1)));
    rig.set(Setting::Policy, None).unwrap();
    assert_eq!(settings(&rig, next), (1, vec![(Setting::Policy, value(b"its"))]));
    check(&rig.store);
}

fn set_of(bucket: BucketId) -> Command {
    Command::SetBucketSetting { bucket, setting: Setting::Policy, value: Some(value(b"its")) }
}

#[test]
fn where_disks_are_full_settings_are_removed_and_policies_set() {
    let grows = |value: Option<usize>| {
        let value = value.map(|len| vec![7; len].into());
        Command::SetBucketSetting { bucket: BUCKET, setting: Setting::Policy, value }.grows()
    };
    let lens = [None, Some(0), Some(SMALL_SETTING_LEN), Some(SMALL_SETTING_LEN + 1)];
    assert_eq!(lens.map(grows), [false, false, false, true]);
}

/// As it stands in logs; a change here is a change of their format.
#[test]
fn the_encoded_form_of_the_command_is_frozen() {
    let bytes = postcard::to_stdvec(&set(Setting::Cors, Some(b"v"))).unwrap();
    assert_eq!(bytes, [17, 7, 5, 1, 1, b'v']);
}

#[test]
fn a_bucket_is_made_with_its_settings_and_one_that_is_there_keeps_its_own() {
    let mut rig = Rig::with_bucket();
    let with = |id: BucketId, value: &'static [u8]| {
        let Command::CreateBucket { bucket } = create_bucket(id) else { panic!() };
        Command::CreateBucketWith {
            bucket,
            settings: vec![
                (Setting::OwnershipControls, Bytes::from_static(value)),
                (Setting::Acl, Bytes::from_static(b"acl")),
            ],
        }
    };
    let set = vec![(Setting::OwnershipControls, value(b"one")), (Setting::Acl, value(b"acl"))];
    let other = BucketId(BUCKET.0 + 1);
    assert!(matches!(rig.run(with(other, b"one")), Ok(Outcome::Bucket(_))));
    assert_eq!(settings(&rig, other), (1, set.clone()));
    assert!(matches!(rig.run(with(other, b"two")), Ok(Outcome::Bucket(_))), "it is there already");
    assert_eq!(settings(&rig, other), (1, set));
    assert!(matches!(rig.run(with(BUCKET, b"one")), Ok(Outcome::Bucket(_))));
    assert_eq!(settings(&rig, BUCKET), (0, Vec::new()));
    check(&rig.store);
}
