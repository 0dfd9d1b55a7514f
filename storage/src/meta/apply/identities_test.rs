use proptest::prelude::*;

use super::super::super::check::check;
use super::super::super::command::{Command, RootCommand};
use super::super::super::query::{Answer, Query, UserTable};
use super::super::super::record::UserRecord;
use super::super::super::testing::{Rig, dump};
use super::*;

#[path = "identities_limits_test.rs"]
mod limits;

struct Root {
    _dir: tempfile::TempDir,
    rig: Rig,
}

type Done = Result<Outcome, Rejection>;

const DONE: Done = Ok(Outcome::Done);

impl Root {
    /// With the root user, ann and bob.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rig = Rig::root(dir.path());
        let mut root = Self { _dir: dir, rig };
        root.run(RootCommand::SetRootUser { user: user("root") }).unwrap();
        root.add_user("ann").unwrap();
        root.add_user("bob").unwrap();
        root
    }

    fn run(&mut self, command: RootCommand) -> Done {
        self.rig.run(Command::Root(command))
    }

    fn add_user(&mut self, name: &str) -> Done {
        self.run(RootCommand::AddUser { user: user(name) })
    }

    fn remove_user(&mut self, name: &str) -> Done {
        self.run(RootCommand::RemoveUser { name: name.to_owned() })
    }

    fn put_policy(&mut self, name: &str, text: &str) -> Done {
        self.run(RootCommand::PutPolicy { name: name.to_owned(), text: text.to_owned() })
    }

    fn remove_policy(&mut self, name: &str) -> Done {
        self.run(RootCommand::RemovePolicy { name: name.to_owned() })
    }

    fn put_group(&mut self, name: &str) -> Done {
        self.run(RootCommand::PutGroup { name: name.to_owned() })
    }

    fn remove_group(&mut self, name: &str) -> Done {
        self.run(RootCommand::RemoveGroup { name: name.to_owned() })
    }

    fn member(&mut self, group: &str, user: &str, member: bool) -> Done {
        self.run(RootCommand::SetMember { group: group.to_owned(), user: user.to_owned(), member })
    }

    fn attach(&mut self, holder: Holder, policy: &str, attached: bool) -> Done {
        self.run(RootCommand::Attach { holder, policy: policy.to_owned(), attached, builtin: false })
    }

    fn attach_builtin(&mut self, holder: Holder, policy: &str, attached: bool) -> Done {
        self.run(RootCommand::Attach { holder, policy: policy.to_owned(), attached, builtin: true })
    }

    fn inline(&mut self, holder: Holder, name: &str, text: Option<&str>) -> Done {
        self.run(RootCommand::SetInline { holder, name: name.to_owned(), text: text.map(str::to_owned) })
    }

    fn disable(&mut self, user: &str, disabled: bool) -> Done {
        self.run(RootCommand::SetUserDisabled { user: user.to_owned(), disabled })
    }

    fn add_key(&mut self, access_key: &str, user: &str) -> Done {
        self.run(RootCommand::AddKey { key: key(access_key, user) })
    }

    fn remove_key(&mut self, access_key: &str) -> Done {
        self.run(RootCommand::RemoveKey { access_key: access_key.to_owned() })
    }

    fn asked(&self, known: u64) -> (u64, Option<UserTable>) {
        match self.rig.ask(Query::UserTable { known }) {
            Answer::UserTable { epoch, table } => (epoch, table.map(|table| *table)),
            other => panic!("{other:?}"),
        }
    }

    fn table(&self) -> UserTable {
        self.asked(u64::MAX).1.unwrap()
    }

    fn rights(&self, name: &str) -> Option<UserRights> {
        let id = user(name).id;
        self.table().rights.into_iter().find(|(user, _)| *user == id).map(|(_, rights)| rights)
    }

    /// Twice the same command: the first one is a change, the second one is none.
    fn changes_once(&mut self, command: RootCommand) {
        let (before, _) = self.asked(u64::MAX);
        assert_eq!(self.run(command.clone()), DONE, "{command:?}");
        let (changed, _) = self.asked(u64::MAX);
        assert_ne!(before, changed, "{command:?}");
        let dumped = self.table();
        assert_eq!(self.run(command.clone()), DONE, "{command:?}");
        assert_eq!(self.asked(changed), (changed, None), "{command:?} again");
        assert_eq!(self.table(), dumped);
        check(&self.rig.store);
    }

    /// It is refused, and nothing is changed.
    fn refuses(&mut self, command: RootCommand, why: Rejection) {
        let before = (self.asked(u64::MAX), self.table());
        assert_eq!(self.run(command.clone()), Err(why), "{command:?}");
        assert_eq!((self.asked(u64::MAX), self.table()), before);
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            check(&self.rig.store);
        }
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

fn key(access_key: &str, of: &str) -> AccessKey {
    AccessKey {
        access_key: access_key.to_owned(),
        secret_key: "its secret".to_owned(),
        user: user(of).id,
        description: "for the backup".to_owned(),
        created_ms: 0,
        disabled: false,
        expires_ms: Some(5),
        policy: None,
    }
}

fn set_key(access_key: &str) -> RootCommand {
    RootCommand::SetKey {
        access_key: access_key.to_owned(),
        disabled: true,
        expires_ms: None,
        policy: Some("narrow".to_owned()),
        description: "other".to_owned(),
    }
}

fn ann() -> Holder {
    Holder::User("ann".to_owned())
}

fn staff() -> Holder {
    Holder::Group("staff".to_owned())
}

#[test]
fn a_policy_is_made_replaced_and_removed() {
    let mut root = Root::new();
    let put = |text: &str| RootCommand::PutPolicy { name: "p".to_owned(), text: text.to_owned() };
    let made = root.rig.now;
    root.changes_once(put("one"));
    root.rig.now += 10;
    root.changes_once(put("two"));
    let policies = root.table().policies;
    let policy = NamedPolicy { name: "p".to_owned(), text: "two".to_owned(), created_ms: made, updated_ms: made + 10 };
    assert_eq!(policies, [policy]);
    assert_eq!(root.remove_policy("p"), DONE);
    root.refuses(RootCommand::RemovePolicy { name: "p".to_owned() }, Rejection::NoSuchPolicy);
    assert_eq!(root.table().policies, []);
}

#[test]
fn a_policy_stays_while_anyone_holds_it() {
    let mut root = Root::new();
    for name in ["p", "p\0", "p2"] {
        root.put_policy(name, "text").unwrap();
    }
    root.put_group("staff").unwrap();
    for holder in [ann(), staff()] {
        root.attach(holder.clone(), "p", true).unwrap();
        root.refuses(RootCommand::RemovePolicy { name: "p".to_owned() }, Rejection::InUse);
        root.attach(holder, "p", false).unwrap();
    }
    root.attach(ann(), "p", true).unwrap();
    for name in ["p\0", "p2"] {
        assert_eq!(root.remove_policy(name), DONE, "another's name is no name of this");
    }
    root.remove_user("ann").unwrap();
    assert_eq!(root.remove_policy("p"), DONE);
}

#[test]
fn policies_are_attached_and_detached() {
    let mut root = Root::new();
    root.put_policy("p", "text").unwrap();
    root.put_policy("a", "text").unwrap();
    root.put_group("staff").unwrap();
    for holder in [ann(), staff()] {
        let attach = |policy: &str, attached, builtin| RootCommand::Attach {
            holder: holder.clone(),
            policy: policy.to_owned(),
            attached,
            builtin,
        };
        root.changes_once(attach("p", true, false));
        root.changes_once(attach("readonly", true, true));
        root.changes_once(attach("a", true, false));
        root.refuses(attach("none", true, false), Rejection::NoSuchPolicy);
        root.refuses(attach("none", false, false), Rejection::NoSuchPolicy);
        root.refuses(attach("", true, true), Rejection::Invalid);
    }
    let names = ["a", "p", "readonly"];
    assert_eq!(root.rights("ann").unwrap().policies, names);
    assert_eq!(root.table().groups[0].policies, names);
    for policy in names {
        // What is attached can be detached, whoever's policy it is said to be.
        assert_eq!(root.attach(ann(), policy, false), DONE);
        assert_eq!(root.attach_builtin(staff(), policy, false), DONE);
    }
    assert_eq!((root.rights("ann"), root.table().groups[0].policies.len()), (None, 0));
    let nobody = |holder| RootCommand::Attach { holder, policy: "p".to_owned(), attached: true, builtin: false };
    root.refuses(nobody(Holder::User("eve".to_owned())), Rejection::NoSuchUser);
    root.refuses(nobody(Holder::Group("none".to_owned())), Rejection::NoSuchGroup);
}

#[test]
fn inline_policies_are_set_and_removed() {
    let mut root = Root::new();
    root.put_group("staff").unwrap();
    for holder in [ann(), staff()] {
        let set = |name: &str, text: Option<&str>| RootCommand::SetInline {
            holder: holder.clone(),
            name: name.to_owned(),
            text: text.map(str::to_owned),
        };
        root.changes_once(set("p", Some("one")));
        root.changes_once(set("a", Some("a")));
        root.changes_once(set("p", Some("two")));
        root.changes_once(set("a", None));
        assert_eq!(root.run(set("none", None)), DONE);
        root.refuses(set("p", Some("")), Rejection::Invalid);
        root.refuses(set("", Some("text")), Rejection::Invalid);
    }
    let kept = [("p".to_owned(), "two".to_owned())];
    assert_eq!(root.rights("ann").unwrap().inline, kept);
    assert_eq!(root.table().groups[0].inline, kept);
    let nobody = |holder| RootCommand::SetInline { holder, name: "p".to_owned(), text: None };
    root.refuses(nobody(Holder::User("eve".to_owned())), Rejection::NoSuchUser);
    root.refuses(nobody(Holder::Group("none".to_owned())), Rejection::NoSuchGroup);
}

#[test]
fn a_group_has_members_and_is_removed_when_it_has_nothing() {
    let mut root = Root::new();
    let remove = || RootCommand::RemoveGroup { name: "staff".to_owned() };
    let set = |user: &str, member| RootCommand::SetMember { group: "staff".to_owned(), user: user.to_owned(), member };
    root.refuses(remove(), Rejection::NoSuchGroup);
    root.refuses(set("ann", true), Rejection::NoSuchGroup);
    assert_eq!(root.put_group("staff"), DONE);
    root.refuses(RootCommand::PutGroup { name: "staff".to_owned() }, Rejection::Exists);
    root.refuses(set("eve", true), Rejection::NoSuchUser);
    root.changes_once(set("bob", true));
    root.changes_once(set("ann", true));
    let group = root.table().groups.remove(0);
    assert_eq!((group.name.as_str(), group.created_ms), ("staff", root.rig.now));
    assert_eq!(group.members, [user("ann").id, user("bob").id]);
    root.changes_once(set("ann", false));
    root.refuses(remove(), Rejection::InUse);
    root.changes_once(set("bob", false));

    root.inline(staff(), "p", Some("text")).unwrap();
    root.refuses(remove(), Rejection::InUse);
    root.inline(staff(), "p", None).unwrap();
    root.attach_builtin(staff(), "readonly", true).unwrap();
    root.refuses(remove(), Rejection::InUse);
    root.attach_builtin(staff(), "readonly", false).unwrap();
    assert_eq!(root.remove_group("staff"), DONE);
    assert_eq!(root.table().groups, []);
}

#[test]
fn a_user_is_disabled_and_enabled_and_the_root_user_never() {
    let mut root = Root::new();
    let set = |user: &str, disabled| RootCommand::SetUserDisabled { user: user.to_owned(), disabled };
    assert_eq!(root.disable("ann", false), DONE);
    assert_eq!(root.rights("ann"), None);
    root.changes_once(set("ann", true));
    assert!(root.rights("ann").unwrap().disabled);
    root.changes_once(set("ann", false));
    assert_eq!(root.rights("ann"), None, "as if nothing had ever been set");
    root.refuses(set("root", true), Rejection::Invalid);
    root.refuses(set("eve", true), Rejection::NoSuchUser);
}

#[test]
fn a_key_is_added_changed_and_removed() {
    let mut root = Root::new();
    assert_eq!(root.add_key("K2", "ann"), DONE);
    assert_eq!(root.add_key("K1", "root"), DONE);
    let made = root.rig.now;
    let added = AccessKey { created_ms: made, ..key("K2", "ann") };
    assert_eq!(root.table().keys, [AccessKey { created_ms: made, ..key("K1", "root") }, added.clone()]);
    root.refuses(RootCommand::AddKey { key: key("K3", "eve") }, Rejection::NoSuchUser);
    for taken in ["K2", "AKann", "AKroot"] {
        root.refuses(RootCommand::AddKey { key: key(taken, "bob") }, Rejection::Exists);
    }
    root.rig.now += 10;
    root.changes_once(set_key("K2"));
    let changed = AccessKey {
        disabled: true,
        expires_ms: None,
        policy: Some("narrow".to_owned()),
        description: "other".to_owned(),
        ..added
    };
    assert_eq!(root.table().keys[1], changed);
    for own in [RootCommand::RemoveKey { access_key: "AKann".to_owned() }, set_key("AKann")] {
        root.refuses(own, Rejection::Invalid);
    }
    for none in [RootCommand::RemoveKey { access_key: "K3".to_owned() }, set_key("K3")] {
        root.refuses(none, Rejection::NoSuchAccessKey);
    }
    assert_eq!(root.remove_key("K2"), DONE);
    assert_eq!(root.table().keys.len(), 1);
    assert_eq!(root.add_key("K2", "bob"), DONE, "it is free again");
    assert!(!format!("{:?}", key("K1", "ann")).contains("secret"));
}

#[test]
fn no_user_gets_an_access_key_that_was_added() {
    let mut root = Root::new();
    root.add_key("AKeve", "ann").unwrap();
    root.refuses(RootCommand::AddUser { user: user("eve") }, Rejection::Exists);
    for of in ["eve", "root"] {
        let user = UserRecord { access_key: "AKeve".to_owned(), ..user(of) };
        root.refuses(RootCommand::SetRootUser { user }, Rejection::Exists);
    }
    root.remove_key("AKeve").unwrap();
    root.add_user("eve").unwrap();
}

#[test]
fn the_root_user_keeps_its_further_keys_when_its_own_is_replaced() {
    let mut root = Root::new();
    root.add_key("K1", "root").unwrap();
    let other = UserRecord { access_key: "AKother".to_owned(), ..user("root") };
    root.run(RootCommand::SetRootUser { user: other }).unwrap();
    assert_eq!(root.table().keys.len(), 1);
    assert_eq!(root.add_key("AKroot", "root"), DONE);
}

#[test]
fn a_removed_user_takes_all_that_it_had_with_it() {
    let mut root = Root::new();
    root.put_policy("p", "text").unwrap();
    root.put_group("staff").unwrap();
    root.put_group("others").unwrap();
    root.add_user("eve").unwrap();
    root.member("staff", "bob", true).unwrap();
    root.add_key("K0", "bob").unwrap();
    root.attach(Holder::User("bob".to_owned()), "p", true).unwrap();
    let before = (root.table(), root.rig.statistics());
    let dumped = dump(&root.rig.store);

    root.remove_user("eve").unwrap();
    root.add_user("eve").unwrap();
    let eve = || Holder::User("eve".to_owned());
    for group in ["staff", "others"] {
        root.member(group, "eve", true).unwrap();
    }
    root.attach(eve(), "p", true).unwrap();
    root.attach_builtin(eve(), "readonly", true).unwrap();
    root.inline(eve(), "i", Some("text")).unwrap();
    root.disable("eve", true).unwrap();
    for key in ["K1", "K2", "K3"] {
        root.add_key(key, "eve").unwrap();
    }
    check(&root.rig.store);
    root.remove_user("eve").unwrap();
    check(&root.rig.store);
    root.add_user("eve").unwrap();
    assert_eq!((root.table(), root.rig.statistics()), before);
    let left: Vec<_> = dump(&root.rig.store).into_keys().filter(|key| !dumped.contains_key(key)).collect();
    assert!(left.iter().all(|(cf, _)| *cf == super::super::super::schema::Cf::Operations as u8), "{left:?}");
}

/// Where disks are full, what takes away or shuts out goes on.
#[test]
fn what_adds_needs_room_and_what_takes_away_does_not() {
    let grows = |command: RootCommand| Command::Root(command).grows();
    let growing: Vec<bool> = commands().into_iter().map(grows).collect();
    assert_eq!(growing, [true, false, true, false, true, true, true, false, true, false, false]);
    let (name, text) = ("n".to_owned(), None);
    assert!(!grows(RootCommand::SetMember { group: name.clone(), user: name.clone(), member: false }));
    assert!(!grows(RootCommand::Attach { holder: ann(), policy: name.clone(), attached: false, builtin: false }));
    assert!(!grows(RootCommand::SetInline { holder: ann(), name, text }));
    let RootCommand::SetKey { access_key, expires_ms, policy, description, .. } = set_key("K") else { panic!() };
    assert!(grows(RootCommand::SetKey { access_key, disabled: false, expires_ms, policy, description }));
}

/// One of each, in the order in which they are in logs.
fn commands() -> Vec<RootCommand> {
    let (name, text) = ("n".to_owned(), "t".to_owned());
    vec![
        RootCommand::PutPolicy { name: name.clone(), text: text.clone() },
        RootCommand::RemovePolicy { name: name.clone() },
        RootCommand::PutGroup { name: name.clone() },
        RootCommand::RemoveGroup { name: name.clone() },
        RootCommand::SetMember { group: name.clone(), user: "u".to_owned(), member: true },
        RootCommand::Attach { holder: ann(), policy: name.clone(), attached: true, builtin: false },
        RootCommand::SetInline { holder: staff(), name: name.clone(), text: Some(text) },
        RootCommand::SetUserDisabled { user: name.clone(), disabled: true },
        RootCommand::AddKey { key: AccessKey { user: UserId([1; 16]), ..key("K", "ann") } },
        set_key("K"),
        RootCommand::RemoveKey { access_key: name },
    ]
}

/// As they stand in logs; a change here is a change of their format.
#[test]
fn the_encoded_forms_of_the_commands_are_frozen() {
    let forms: Vec<Vec<u8>> =
        commands().into_iter().map(|command| postcard::to_stdvec(&Command::Root(command)).unwrap()).collect();
    let key = [&[1, 18, 1, b'K', 10][..], b"its secret", &[1; 16], &[14], b"for the backup", &[0, 0, 1, 5, 0]].concat();
    let change = [&[1, 19, 1, b'K', 1, 0, 1, 6][..], b"narrow", &[5], b"other"].concat();
    let expected: Vec<&[u8]> = vec![
        &[1, 10, 1, b'n', 1, b't'],
        &[1, 11, 1, b'n'],
        &[1, 12, 1, b'n'],
        &[1, 13, 1, b'n'],
        &[1, 14, 1, b'n', 1, b'u', 1],
        &[1, 15, 0, 3, b'a', b'n', b'n', 1, b'n', 1, 0],
        &[1, 16, 1, 5, b's', b't', b'a', b'f', b'f', 1, b'n', 1, 1, b't'],
        &[1, 17, 1, b'n', 1],
        &key,
        &change,
        &[1, 20, 1, b'n'],
    ];
    assert_eq!(forms, expected);
}

#[test]
fn a_metadata_group_refuses_all_of_it() {
    let mut other = Rig::new();
    for command in commands() {
        assert_eq!(other.run(Command::Root(command)), Err(Rejection::Invalid));
    }
}

/// A command that small numbers pick.
fn command() -> impl Strategy<Value = RootCommand> {
    let user = || prop::sample::select(vec!["root", "ann", "bob", "eve"]);
    let name = || prop::sample::select(vec!["p", "q", "staff", "K"]).prop_map(str::to_owned);
    let holder = || {
        (user(), name(), any::<bool>()).prop_map(|(user, group, is_user)| match is_user {
            true => Holder::User(user.to_owned()),
            false => Holder::Group(group),
        })
    };
    let text = || prop::option::of(Just("text".to_owned()));
    prop_oneof![
        user().prop_map(|name| RootCommand::AddUser { user: self::user(name) }),
        user().prop_map(|name| RootCommand::RemoveUser { name: name.to_owned() }),
        (user(), name()).prop_map(|(of, access_key)| {
            RootCommand::SetRootUser { user: UserRecord { access_key, ..self::user(of) } }
        }),
        name().prop_map(|name| RootCommand::PutPolicy { text: name.clone(), name }),
        name().prop_map(|name| RootCommand::RemovePolicy { name }),
        name().prop_map(|name| RootCommand::PutGroup { name }),
        name().prop_map(|name| RootCommand::RemoveGroup { name }),
        (name(), user(), any::<bool>())
            .prop_map(|(group, user, member)| { RootCommand::SetMember { group, user: user.to_owned(), member } }),
        (holder(), name(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(holder, policy, attached, builtin)| {
            RootCommand::Attach { holder, policy, attached, builtin }
        }),
        (holder(), name(), text()).prop_map(|(holder, name, text)| RootCommand::SetInline { holder, name, text }),
        (user(), any::<bool>())
            .prop_map(|(user, disabled)| { RootCommand::SetUserDisabled { user: user.to_owned(), disabled } }),
        (name(), user()).prop_map(|(access_key, of)| RootCommand::AddKey { key: key(&access_key, of) }),
        name().prop_map(|access_key| set_key(&access_key)),
        name().prop_map(|access_key| RootCommand::RemoveKey { access_key }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever comes: the records bear each other out, and what is refused has changed nothing.
    #[test]
    fn the_table_never_contradicts_itself(commands in prop::collection::vec(command(), 1..60)) {
        let mut root = Root::new();
        for command in commands {
            let before = root.asked(u64::MAX);
            let result = root.run(command);
            let after = root.asked(u64::MAX);
            check(&root.rig.store);
            // Another epoch says that something was changed, and the same one that nothing was.
            prop_assert_eq!(before.0 == after.0, before.1 == after.1);
            prop_assert!(result.is_ok() || before == after);
        }
    }
}
