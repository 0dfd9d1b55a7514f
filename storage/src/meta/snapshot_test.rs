use super::super::check::check;
use super::super::command::{Command, Holder, RootCommand};
use super::super::overlay::Overlay;
use super::super::query::{Answer, Query};
use super::super::record::{AccessKey, MAX_SETTING_LEN, Setting, UserRecord};
use super::super::testing::{BUCKET, Rig, dump, open_db};
use super::*;
use crate::types::{ROOT_GROUP, UserId};

/// A store with something in every family.
fn furnished(store: GroupStore) -> Rig {
    let mut rig = Rig::over(store);
    rig.run(super::super::testing::create_bucket(BUCKET)).unwrap();
    for place in 0..200 {
        rig.put_bytes(&format!("inline-{place}"), &[7; 9000]);
    }
    rig.put_chunks("large", &[100; 700]);
    let upload = rig.create_upload("made of parts");
    let parts = vec![rig.put_part("made of parts", upload, 1, &[5, 6]), rig.put_part("made of parts", upload, 2, &[7])];
    rig.complete("made of parts", upload, parts, 18).unwrap();
    let upload = rig.create_upload("open");
    rig.put_part("open", upload, 4, &[9]);
    rig.run(Command::QueueRepair { hashes: vec![[3; 32]], known: Vec::new() }).unwrap();
    rig.set(Setting::Policy, Some(&[7; MAX_SETTING_LEN])).unwrap();
    rig.set(Setting::Cors, Some(b"cors")).unwrap();
    rig.set(Setting::Cors, None).unwrap();
    rig
}

fn frames(store: &GroupStore) -> Vec<Vec<u8>> {
    store.snapshot_reader().unwrap().map(Result::unwrap).collect()
}

fn stream(frames: &[Vec<u8>]) -> impl Iterator<Item = std::io::Result<Vec<u8>>> + '_ {
    frames.iter().cloned().map(Ok)
}

/// Two stores of one group, each with its database.
fn two() -> (tempfile::TempDir, Rig, GroupStore) {
    let dir = tempfile::tempdir().unwrap();
    let open = |name| GroupStore::open(open_db(&dir.path().join(name)), GroupId(3)).unwrap();
    let (rig, other) = (furnished(open("one")), open("two"));
    (dir, rig, other)
}

#[test]
fn an_installed_snapshot_is_the_state_that_was_read() {
    let (dir, mut rig, other) = two();
    let frames = frames(&rig.store);
    assert!(frames.len() > 5);
    assert!(frames.iter().all(|frame| frame.len() < 2 * FRAME_LEN));
    let marker = rig.store.applied().unwrap();
    assert_eq!(rig.store.snapshot_reader().unwrap().marker(), Some(&marker[..]));

    other.install(stream(&frames), &marker).unwrap();
    assert_eq!(dump(&other), dump(&rig.store));
    assert_eq!(other.applied(), Some(marker));
    check(&other);
    let settings = other.query(&Query::BucketSettings { bucket: BUCKET }).unwrap();
    let Answer::BucketSettings { settings: Some(3), values } = settings else { panic!("{settings:?}") };
    assert_eq!(values, [(Setting::Policy, vec![7; MAX_SETTING_LEN].into())]);

    // Both go on alike.
    rig.put_bytes("more", b"more");
    other.apply(&rig.log[rig.log.len() - 1..], &(rig.log.len() as u64).to_be_bytes()).unwrap();
    assert_eq!(dump(&other), dump(&rig.store));

    // And again, over what is there; then from the disk.
    other.install(stream(&super::tests::frames(&rig.store)), b"second").unwrap();
    drop(other);
    let again = GroupStore::open(open_db(&dir.path().join("two")), GroupId(3)).unwrap();
    assert_eq!(again.applied().as_deref(), Some(&b"second"[..]));
    check(&again);
    let view = again.view();
    assert!(view.keys.all(Cf::Current).from.ends_with(&3u32.to_be_bytes()));
}

#[test]
fn a_snapshot_that_is_cut_or_changed_leaves_the_old_state() {
    let (_dir, rig, other) = two();
    let whole = frames(&rig.store);
    let mut mine = Rig::over(other);
    mine.run(super::super::testing::create_bucket(BUCKET)).unwrap();
    mine.put_bytes("mine", b"mine");
    let before = dump(&mine.store);

    let mut broken = vec![Vec::new(), whole[..whole.len() - 1].to_vec(), whole[1..].to_vec()];
    broken.push([&whole[..2], &whole[3..]].concat());
    broken.push([&whole[..2], &whole[1..]].concat());
    let mut flipped = whole.clone();
    let last = flipped[2].len() - 1;
    flipped[2][last] ^= 1;
    broken.push(flipped);
    for place in [0, 1, whole.len() - 1] {
        let mut longer = whole.clone();
        longer[place].push(0);
        broken.push(longer);
    }
    for frames in broken {
        assert!(matches!(mine.store.install(stream(&frames), b"m"), Err(MetaError::BadSnapshot(_))));
        assert_eq!(dump(&mine.store), before);
    }
    let failing = whole.iter().take(3).cloned().map(Ok).chain([Err(std::io::Error::other("gone"))]);
    assert!(matches!(mine.store.install(failing, b"m"), Err(MetaError::Transfer(_))));
    assert_eq!(dump(&mine.store), before);
    assert_eq!(mine.keys(), ["mine"]);

    mine.store.install(stream(&whole), b"m").unwrap();
    assert_eq!(mine.keys().len(), 202);
}

#[test]
fn an_install_that_a_crash_cut_off_is_cleared_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = GroupStore::open(open_db(dir.path()), GroupId(3)).unwrap();
    let rig = furnished(store);
    let before = dump(&rig.store);
    let whole = frames(&rig.store);
    rig.store.receive(stream(&whole), Keys::new(GroupId(3), 2)).unwrap();
    drop(rig);

    let store = GroupStore::open(open_db(dir.path()), GroupId(3)).unwrap();
    assert_eq!(dump(&store), before);
    let over = Overlay::new(&store.db);
    assert!(Cf::ALL.into_iter().all(|cf| over.is_empty(&Keys::new(GroupId(3), 2).all(cf)).unwrap()));
}

#[test]
fn a_wiped_group_is_as_new_and_its_neighbours_stay() {
    let dir = tempfile::tempdir().unwrap();
    let db = open_db(dir.path());
    let neighbours: Vec<_> =
        [2, 4].map(|id| furnished(GroupStore::open(db.clone(), GroupId(id)).unwrap())).into_iter().collect();
    let before: Vec<_> = neighbours.iter().map(|rig| dump(&rig.store)).collect();
    let mut rig = furnished(GroupStore::open(db.clone(), GroupId(3)).unwrap());
    rig.store.wipe().unwrap();
    assert!(dump(&rig.store).is_empty());
    assert_eq!(rig.store.applied(), None);
    let after: Vec<_> = neighbours.iter().map(|rig| dump(&rig.store)).collect();
    assert_eq!(before, after);

    rig.run(super::super::testing::create_bucket(BUCKET)).unwrap();
    rig.put_bytes("again", b"again");
    assert_eq!(rig.keys(), ["again"]);
}

#[test]
fn a_reader_sees_nothing_of_what_is_applied_after_it_was_made() {
    let (_dir, rig, other) = two();
    let before = dump(&rig.store);
    let frames: Vec<_> = {
        let reader = rig.store.snapshot_reader().unwrap();
        let marker = reader.marker().map(<[u8]>::to_vec);
        let index = rig.log.len() as u64 + 1;
        let envelope = super::super::Envelope {
            operation: Default::default(),
            command: super::super::testing::delete(&["large"]),
            judged: Vec::new(),
        };
        let batch = super::super::Batch { stamped_ms: rig.now, envelopes: vec![envelope] };
        rig.store.apply(&[(index, batch)], b"later").unwrap();
        assert_eq!(reader.marker(), marker.as_deref());
        reader.map(Result::unwrap).collect()
    };
    let marker = 210u64.to_be_bytes();
    other.install(stream(&frames), &marker).unwrap();
    let mut after = dump(&other);
    after.retain(|key, value| before.get(key) != Some(value));
    assert!(after.len() <= 1, "only the marker may differ");
}

#[test]
fn a_snapshot_of_the_root_group_has_all_that_users_may_do() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name| GroupStore::open(open_db(&dir.path().join(name)), ROOT_GROUP).unwrap();
    let (mut rig, other) = (Rig::over(open("one")), open("two"));
    let (ann, staff) = ("ann".to_owned(), "staff".to_owned());
    let user = UserRecord {
        id: UserId([1; 16]),
        name: ann.clone(),
        display_name: ann.clone(),
        access_key: "A".to_owned(),
        secret_key: "s".to_owned(),
        root: false,
        created_ms: 0,
    };
    let key = AccessKey {
        access_key: "B".to_owned(),
        secret_key: "s".to_owned(),
        user: user.id,
        description: String::new(),
        created_ms: 0,
        disabled: false,
        expires_ms: None,
        policy: None,
    };
    let attach = |holder| RootCommand::Attach { holder, policy: "p".to_owned(), attached: true, builtin: false };
    for command in [
        RootCommand::AddUser { user },
        RootCommand::AddKey { key },
        RootCommand::PutPolicy { name: "p".to_owned(), text: "t".to_owned() },
        RootCommand::PutGroup { name: staff.clone() },
        RootCommand::SetMember { group: staff.clone(), user: ann.clone(), member: true },
        attach(Holder::User(ann)),
        attach(Holder::Group(staff)),
    ] {
        rig.run(Command::Root(command)).unwrap();
    }

    other.install(stream(&frames(&rig.store)), &rig.store.applied().unwrap()).unwrap();
    assert_eq!(dump(&other), dump(&rig.store));
    check(&other);
    let asked = Query::UserTable { known: 0 };
    let answer = other.query(&asked).unwrap();
    assert_eq!(answer, rig.ask(asked));
    let Answer::UserTable { table: Some(table), .. } = answer else { panic!("{answer:?}") };
    let counts = [table.users.len(), table.rights.len(), table.keys.len(), table.groups.len(), table.policies.len()];
    assert_eq!(counts, [1; 5]);
}
