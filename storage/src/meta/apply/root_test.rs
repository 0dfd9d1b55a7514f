use super::super::super::command::Command;
use super::super::super::query::{Answer, Query};
use super::super::super::record::Setting;
use super::super::super::testing::{Rig, create_bucket};
use super::*;
use crate::types::{ClusterId, Generation, GroupId, Recovered};

struct Root {
    _dir: tempfile::TempDir,
    rig: Rig,
}

impl Root {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rig = Rig::root(dir.path());
        Self { _dir: dir, rig }
    }

    fn run(&mut self, command: RootCommand) -> Result<Outcome, Rejection> {
        self.rig.run(Command::Root(command))
    }

    fn add_user(&mut self, name: &str) -> UserId {
        let user = user(name);
        let id = user.id;
        self.run(RootCommand::AddUser { user }).unwrap();
        id
    }

    fn reserve(&mut self, name: &str, owner: UserId) -> Result<DirectoryEntry, Rejection> {
        let (name, region) = (name.to_owned(), "us-east-1".to_owned());
        match self.run(RootCommand::ReserveBucket { name, owner, region, group: GroupId(1) }) {
            Ok(Outcome::Directory(entry)) => Ok(entry),
            Ok(other) => panic!("{other:?}"),
            Err(rejection) => Err(rejection),
        }
    }

    fn activate(&mut self, name: &str, bucket: BucketId) -> Result<Outcome, Rejection> {
        self.run(RootCommand::ActivateBucket { name: name.to_owned(), bucket })
    }

    fn list(&self, owner: Option<UserId>, prefix: &str, after: Option<&str>, limit: u32) -> (Vec<String>, bool) {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        names(self.rig.ask(Query::DirectoryList { owner, prefix, after, limit }))
    }

    fn users(&self) -> Vec<String> {
        match self.rig.ask(Query::Users) {
            Answer::Users(users) => users.into_iter().map(|user| user.name).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn user_table(&self, known: u64) -> (u64, Option<Vec<String>>) {
        match self.rig.ask(Query::UserTable { known }) {
            Answer::UserTable { epoch, table } => {
                (epoch, table.map(|table| table.users.into_iter().map(|user| user.name).collect()))
            }
            other => panic!("{other:?}"),
        }
    }

    /// What comes with the change of a user: another epoch, and these users for whoever does not know it.
    fn changed(&self, known: u64, users: &[&str]) -> u64 {
        let (epoch, found) = self.user_table(known);
        assert_ne!(epoch, known);
        assert_eq!(found.unwrap(), users);
        assert_eq!(self.user_table(epoch), (epoch, None));
        epoch
    }
}

fn names(answer: Answer) -> (Vec<String>, bool) {
    match answer {
        Answer::DirectoryList { entries, more } => (entries.into_iter().map(|entry| entry.name).collect(), more),
        other => panic!("{other:?}"),
    }
}

fn user(name: &str) -> UserRecord {
    let mut id = [0; 16];
    id[..name.len()].copy_from_slice(name.as_bytes());
    UserRecord {
        id: UserId(id),
        name: name.to_owned(),
        display_name: name.to_owned(),
        access_key: format!("AK{name}"),
        secret_key: "secret".to_owned(),
        root: false,
        created_ms: 0,
    }
}

fn map(cluster: u8, epoch: u64) -> ClusterMap {
    ClusterMap { cluster: ClusterId([cluster; 16]), epoch: Epoch(epoch), ..ClusterMap::default() }
}

#[test]
fn the_map_is_formed_once_and_replaced_epoch_by_epoch() {
    let mut root = Root::new();
    assert_eq!(root.rig.ask(Query::Map), Answer::Map(None));
    let replace = |expected, map| RootCommand::ReplaceMap { expected: Epoch(expected), map };
    assert_eq!(root.run(replace(0, map(1, 1))), Err(Rejection::MapChanged));
    assert_eq!(root.run(RootCommand::FormCluster { map: map(1, 1) }), Ok(Outcome::Map(Box::new(map(1, 1)))));
    assert_eq!(root.run(RootCommand::FormCluster { map: map(2, 1) }), Err(Rejection::Exists));
    assert_eq!(root.run(replace(1, map(1, 1))), Ok(Outcome::Map(Box::new(map(1, 2)))));
    assert_eq!(root.run(replace(1, map(1, 1))), Err(Rejection::MapChanged));
    assert_eq!(root.run(replace(2, map(2, 3))), Err(Rejection::Invalid), "of another cluster");
    assert_eq!(root.rig.ask(Query::Map), Answer::Map(Some(Box::new(map(1, 2)))));
}

#[test]
fn a_recovery_leaps_and_nobody_goes_back_behind_it() {
    let mut root = Root::new();
    let replace = |expected, map| RootCommand::ReplaceMap { expected: Epoch(expected), map };
    root.run(RootCommand::FormCluster { map: map(1, 1) }).unwrap();
    // By itself no command leaps.
    assert_eq!(root.run(replace(1, map(1, 900))), Ok(Outcome::Map(Box::new(map(1, 2)))));
    let generation = Generation::default().next(Recovered { id: 7, last: Epoch(4), first: Epoch(900) });
    let recovered = ClusterMap { generation, ..map(1, 900) };
    assert_eq!(root.run(replace(2, recovered.clone())), Ok(Outcome::Map(Box::new(recovered.clone()))));
    assert_eq!(root.run(replace(900, map(1, 900))), Err(Rejection::Invalid));
    let generation = Generation::default().next(Recovered { id: 8, last: Epoch(4), first: Epoch(900) });
    assert_eq!(root.run(replace(900, ClusterMap { generation, ..map(1, 900) })), Err(Rejection::Invalid));
    let next = ClusterMap { epoch: Epoch(901), ..recovered.clone() };
    assert_eq!(root.run(replace(900, recovered)), Ok(Outcome::Map(Box::new(next))));
}

#[test]
fn names_and_access_keys_of_users_are_unique() {
    let mut root = Root::new();
    let ann = root.add_user("ann");
    root.add_user("bob");
    let same_key = UserRecord { access_key: "AKann".to_owned(), ..user("eve") };
    for taken in [user("ann"), same_key, UserRecord { id: ann, ..user("eve") }] {
        assert_eq!(root.run(RootCommand::AddUser { user: taken }), Err(Rejection::Exists));
    }
    assert_eq!(root.run(RootCommand::RemoveUser { name: "eve".to_owned() }), Err(Rejection::NoSuchUser));
    root.run(RootCommand::RemoveUser { name: "ann".to_owned() }).unwrap();
    assert_eq!(root.rig.ask(Query::UserByAccessKey { access_key: "AKann".to_owned() }), Answer::User(None));
    assert_eq!(root.rig.ask(Query::UserById { id: ann }), Answer::User(None));
    assert_eq!(root.users(), ["bob"]);
    root.add_user("ann");
    assert_eq!(root.users(), ["ann", "bob"]);
}

#[test]
fn the_root_user_keeps_its_id_when_its_keys_are_replaced() {
    let mut root = Root::new();
    root.add_user("ann");
    let set = |name: &str, key: &str| {
        let user = UserRecord { access_key: key.to_owned(), ..user(name) };
        RootCommand::SetRootUser { user }
    };
    assert_eq!(root.run(set("root", "AKann")), Err(Rejection::Exists));
    assert_eq!(root.run(set("ann", "AK1")), Err(Rejection::Exists));
    root.run(set("root", "AK1")).unwrap();
    let Ok(Outcome::User(second)) = root.run(set("other", "AK2")) else { panic!() };
    assert_eq!((second.id, &*second.name, second.root), (user("root").id, "root", true));
    assert_eq!(root.rig.ask(Query::UserByAccessKey { access_key: "AK1".to_owned() }), Answer::User(None));
    let by_key = root.rig.ask(Query::UserByAccessKey { access_key: "AK2".to_owned() });
    assert_eq!(by_key, Answer::User(Some(second)));
    assert_eq!(root.run(set("root", "AK2")).map(|_| ()), Ok(()), "the same again");
    assert_eq!(root.run(RootCommand::RemoveUser { name: "root".to_owned() }), Err(Rejection::Invalid));
    let another = UserRecord { root: true, ..user("eve") };
    assert_eq!(root.run(RootCommand::AddUser { user: another }), Err(Rejection::Invalid));
    assert_eq!(root.users(), ["ann", "root"]);
}

#[test]
fn the_user_table_has_another_epoch_after_each_change_and_after_nothing_else() {
    let mut root = Root::new();
    assert_eq!(root.user_table(0), (0, None), "as in a directory of a release that had no epoch");
    assert_eq!(root.user_table(u64::MAX), (0, Some(Vec::new())));
    root.run(RootCommand::SetRootUser { user: user("root") }).unwrap();
    let formed = root.changed(0, &["root"]);
    root.run(RootCommand::SetRootUser { user: user("root") }).unwrap();
    assert_eq!(root.user_table(formed), (formed, None), "the same keys");
    root.run(RootCommand::SetRootUser { user: UserRecord { secret_key: "new".to_owned(), ..user("root") } }).unwrap();
    let other_key = root.changed(formed, &["root"]);
    let ann = root.add_user("ann");
    let added = root.changed(other_key, &["ann", "root"]);

    assert_eq!(root.run(RootCommand::AddUser { user: user("ann") }), Err(Rejection::Exists));
    let entry = root.reserve("b", ann).unwrap();
    assert_eq!(root.run(RootCommand::RemoveUser { name: "ann".to_owned() }), Err(Rejection::UserHasBuckets));
    root.run(RootCommand::FreeBucket { name: "b".to_owned(), bucket: entry.id }).unwrap();
    assert_eq!(root.user_table(added), (added, None));
    root.run(RootCommand::RemoveUser { name: "ann".to_owned() }).unwrap();
    let removed = root.changed(added, &["root"]);
    assert!(formed < other_key && other_key < added && added < removed);
    assert_eq!(root.user_table(u64::MAX), (removed, Some(vec!["root".to_owned()])));
}

/// One was recovered from a voter that had not heard of the last change; both then see one at the same place of the log.
#[test]
fn what_a_recovery_lost_is_not_taken_for_what_came_after() {
    let [mut lost, mut recovered] = [Root::new(), Root::new()];
    for root in [&mut lost, &mut recovered] {
        root.run(RootCommand::FormCluster { map: map(1, 1) }).unwrap();
        root.add_user("ann");
    }
    lost.add_user("bob");
    lost.add_user("eve");
    let generation = Generation::default().next(Recovered { id: 7, last: Epoch(1), first: Epoch(900) });
    let map = ClusterMap { generation, ..map(1, 900) };
    recovered.run(RootCommand::ReplaceMap { expected: Epoch(1), map }).unwrap();
    recovered.add_user("joe");
    assert_eq!(lost.rig.log.len(), recovered.rig.log.len());
    let (known, _) = lost.user_table(0);
    recovered.changed(known, &["ann", "joe"]);
}

/// A voter may have applied the first changes under a release that kept no epoch.
#[test]
fn voters_agree_on_the_epoch_whoever_saw_all_changes() {
    let [mut all, mut later] = [Root::new(), Root::new()];
    all.add_user("ann");
    later.run(RootCommand::FreeBucket { name: "nothing".to_owned(), bucket: BucketId(1) }).unwrap();
    for root in [&mut all, &mut later] {
        root.add_user("bob");
    }
    assert_eq!(all.user_table(0).0, later.user_table(0).0);
}

#[test]
fn a_bucket_is_reserved_activated_and_freed() {
    let mut root = Root::new();
    let ann = root.add_user("ann");
    assert_eq!(root.reserve("b", UserId([9; 16])).unwrap_err(), Rejection::NoSuchUser);
    let entry = root.reserve("b", ann).unwrap();
    assert_eq!((entry.state, entry.created_ms), (DirectoryState::Creating, root.rig.now));
    assert_eq!(root.reserve("b", ann).unwrap_err(), Rejection::BucketTaken(Box::new(entry.clone())));
    assert_eq!(root.list(None, "", None, 10), (vec![], false));
    assert_eq!(names(root.rig.ask(Query::DirectoryUnfinished)).0, ["b"]);

    assert_eq!(root.activate("b", BucketId(99)), Err(Rejection::UnknownBucket));
    assert_eq!(root.activate("none", entry.id), Err(Rejection::UnknownBucket));
    for _ in 0..2 {
        assert_eq!(root.activate("b", entry.id), Ok(Outcome::Done));
    }
    assert_eq!(root.list(None, "", None, 10).0, ["b"]);
    assert!(names(root.rig.ask(Query::DirectoryUnfinished)).0.is_empty());
    let Answer::Directory(Some(found)) = root.rig.ask(Query::Directory { name: "b".to_owned() }) else { panic!() };
    assert_eq!(found, DirectoryEntry { state: DirectoryState::Active, ..entry.clone() });

    let free = |bucket| RootCommand::FreeBucket { name: "b".to_owned(), bucket };
    let remove = RootCommand::RemoveUser { name: "ann".to_owned() };
    assert_eq!(root.run(free(BucketId(99))), Ok(Outcome::Done));
    assert_eq!(root.run(remove.clone()), Err(Rejection::UserHasBuckets));
    for _ in 0..2 {
        assert_eq!(root.run(free(entry.id)), Ok(Outcome::Done));
    }
    let again = root.reserve("b", ann).unwrap();
    assert!(again.id > entry.id, "an id is never used again");
    root.run(free(again.id)).unwrap();
    assert!(names(root.rig.ask(Query::DirectoryUnfinished)).0.is_empty());
    assert_eq!(root.run(remove), Ok(Outcome::Done));
}

#[test]
fn buckets_are_listed_by_name_for_one_owner_or_for_all() {
    let mut root = Root::new();
    let (ann, bob) = (root.add_user("ann"), root.add_user("bob"));
    for (name, owner) in [("c", bob), ("a1", ann), ("a2", bob), ("b", ann), ("a3", ann)] {
        let entry = root.reserve(name, owner).unwrap();
        root.activate(name, entry.id).unwrap();
    }
    root.reserve("a0", ann).unwrap();
    let list = |owner, prefix, after, limit| {
        let (names, more) = root.list(owner, prefix, after, limit);
        (names.join(" "), more)
    };
    assert_eq!(list(None, "", None, 10), ("a1 a2 a3 b c".to_owned(), false));
    assert_eq!(list(None, "", Some("a2"), 2), ("a3 b".to_owned(), true));
    assert_eq!(list(None, "a", None, 3), ("a1 a2 a3".to_owned(), false));
    assert_eq!(list(None, "a", Some("b"), 3), (String::new(), false));
    assert_eq!(list(Some(ann), "", None, 2), ("a1 a3".to_owned(), true));
    assert_eq!(list(Some(ann), "a", Some("a1"), 2), ("a3".to_owned(), false));
    assert_eq!(list(Some(bob), "", None, 2), ("a2 c".to_owned(), false));
    assert_eq!(list(Some(bob), "", None, 0), (String::new(), false));
}

#[test]
fn a_group_refuses_what_is_for_the_other_kind() {
    let mut root = Root::new();
    assert_eq!(root.rig.run(create_bucket(BucketId(1))), Err(Rejection::Invalid));
    assert_eq!(root.rig.run(Command::Nothing), Ok(Outcome::Done));
    assert_eq!(root.rig.ask(Query::SealedBuckets), Answer::Invalid);
    let set = Command::SetBucketSetting { bucket: BucketId(1), setting: Setting::Acl, value: None };
    assert_eq!(root.rig.run(set), Err(Rejection::Invalid));
    assert_eq!(root.rig.ask(Query::BucketSettings { bucket: BucketId(1) }), Answer::Invalid);
    let mut other = Rig::new();
    let add = Command::Root(RootCommand::AddUser { user: user("ann") });
    assert_eq!(other.run(add), Err(Rejection::Invalid));
    assert_eq!(other.ask(Query::Map), Answer::Invalid);
    assert_eq!(other.ask(Query::UserTable { known: 0 }), Answer::Invalid);
}
