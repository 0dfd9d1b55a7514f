use super::*;

#[test]
fn names_and_texts_are_bounded() {
    let mut root = Root::new();
    let long = "n".repeat(MAX_IDENTITY_NAME_LEN);
    let longer = "n".repeat(MAX_IDENTITY_NAME_LEN + 1);
    let text = |len| "t".repeat(len);
    root.put_policy(&long, &text(MAX_POLICY_LEN)).unwrap();
    root.put_group(&long).unwrap();
    root.attach(ann(), &long, true).unwrap();
    root.inline(ann(), &long, Some("text")).unwrap();
    let put = |name: &str, text: String| RootCommand::PutPolicy { name: name.to_owned(), text };
    for name in ["", longer.as_str()] {
        let attach = |builtin| RootCommand::Attach { holder: ann(), policy: name.to_owned(), attached: true, builtin };
        root.refuses(put(name, text(1)), Rejection::Invalid);
        root.refuses(RootCommand::PutGroup { name: name.to_owned() }, Rejection::Invalid);
        root.refuses(attach(true), Rejection::Invalid);
        root.refuses(attach(false), Rejection::Invalid);
        root.refuses(RootCommand::AddKey { key: key(name, "ann") }, Rejection::Invalid);
        let of_secret = AccessKey { secret_key: name.to_owned(), ..key("K", "ann") };
        root.refuses(RootCommand::AddKey { key: of_secret }, Rejection::Invalid);
    }
    root.refuses(put("p", text(0)), Rejection::Invalid);
    root.refuses(put("p", text(MAX_POLICY_LEN + 1)), Rejection::LimitExceeded);

    let described = AccessKey { description: text(MAX_DESCRIPTION_LEN + 1), ..key("K", "ann") };
    root.refuses(RootCommand::AddKey { key: described }, Rejection::Invalid);
    let narrowed = |len| AccessKey { policy: Some(text(len)), ..key("K", "ann") };
    root.refuses(RootCommand::AddKey { key: narrowed(MAX_INLINE_POLICIES_LEN + 1) }, Rejection::LimitExceeded);
    root.run(RootCommand::AddKey { key: narrowed(MAX_INLINE_POLICIES_LEN) }).unwrap();
    let narrow = |len| RootCommand::SetKey {
        access_key: "K".to_owned(),
        disabled: false,
        expires_ms: None,
        policy: Some(text(len)),
        description: String::new(),
    };
    root.refuses(narrow(MAX_INLINE_POLICIES_LEN + 1), Rejection::LimitExceeded);
    root.changes_once(narrow(MAX_INLINE_POLICIES_LEN - 1));
}

#[test]
fn a_holder_has_so_many_policies() {
    let mut root = Root::new();
    root.put_group("staff").unwrap();
    for holder in [ann(), staff()] {
        let attach = |place: usize, attached| RootCommand::Attach {
            holder: holder.clone(),
            policy: format!("builtin-{place}"),
            attached,
            builtin: true,
        };
        for place in 0..MAX_ATTACHED_POLICIES {
            root.run(attach(place, true)).unwrap();
        }
        root.refuses(attach(MAX_ATTACHED_POLICIES, true), Rejection::LimitExceeded);
        assert_eq!(root.run(attach(0, true)), DONE, "it is attached already");
        root.changes_once(attach(0, false));
        root.changes_once(attach(MAX_ATTACHED_POLICIES, true));

        let inline = |name: &str, len| RootCommand::SetInline {
            holder: holder.clone(),
            name: name.to_owned(),
            text: Some("t".repeat(len)),
        };
        root.changes_once(inline("a", MAX_INLINE_POLICIES_LEN - 1));
        root.refuses(inline("b", 2), Rejection::LimitExceeded);
        root.changes_once(inline("b", 1));
        root.refuses(inline("a", MAX_INLINE_POLICIES_LEN), Rejection::LimitExceeded);
    }
}

#[test]
fn a_user_has_so_many_keys_and_is_in_so_many_groups() {
    let mut root = Root::new();
    for place in 0..MAX_KEYS_OF_USER {
        root.add_key(&format!("K{place}"), "ann").unwrap();
    }
    root.refuses(RootCommand::AddKey { key: key("K", "ann") }, Rejection::LimitExceeded);
    root.add_key("K", "bob").unwrap();
    root.remove_key("K0").unwrap();
    root.add_key("K0", "ann").unwrap();

    for place in 0..=MAX_GROUPS_OF_USER {
        root.put_group(&format!("g{place}")).unwrap();
    }
    for place in 0..MAX_GROUPS_OF_USER {
        root.member(&format!("g{place}"), "ann", true).unwrap();
    }
    let last = format!("g{MAX_GROUPS_OF_USER}");
    let join = || RootCommand::SetMember { group: last.clone(), user: "ann".to_owned(), member: true };
    root.refuses(join(), Rejection::LimitExceeded);
    assert_eq!(root.member("g0", "ann", true), DONE, "it is in it already");
    root.member(&last, "bob", true).unwrap();
    root.member("g0", "ann", false).unwrap();
    root.changes_once(join());
    root.remove_user("ann").unwrap();
    let groups = root.table().groups;
    assert!(groups.iter().all(|group| group.members.is_empty() || group.name == last));
}

#[test]
fn there_are_so_many_policies_and_groups() {
    let mut root = Root::new();
    // As if the others were there.
    let set = |root: &mut Root, policies, groups| {
        let mut over = super::super::super::super::overlay::Overlay::new(&root.rig.store.db);
        let key = root.rig.store.view().keys.identity_totals();
        let bytes = over.load::<IdentityTotals>(&key).unwrap().unwrap_or_default().bytes;
        over.put(key, &IdentityTotals { bytes, policies, groups, users: None }).unwrap();
        root.rig.store.db.write(over.into_batch().unwrap()).unwrap();
    };
    set(&mut root, MAX_POLICIES - 1, MAX_GROUPS - 1);
    root.put_policy("p", "text").unwrap();
    root.put_group("staff").unwrap();
    root.refuses(RootCommand::PutPolicy { name: "q".to_owned(), text: "t".to_owned() }, Rejection::LimitExceeded);
    root.refuses(RootCommand::PutGroup { name: "others".to_owned() }, Rejection::LimitExceeded);
    assert_eq!(root.put_policy("p", "another"), DONE);
    root.remove_policy("p").unwrap();
    root.remove_group("staff").unwrap();
    root.put_policy("q", "text").unwrap();
    root.put_group("others").unwrap();
    set(&mut root, 1, 1);
}

/// Gateways read all of it at once: whoever makes it too long is told so, and not they.
#[test]
fn all_of_it_is_bounded_and_can_be_made_less() {
    let mut root = Root::new();
    let text = "t".repeat(MAX_POLICY_LEN);
    let count = MAX_IDENTITIES_LEN / (MAX_POLICY_LEN as u64 + 100) + 1;
    let mut put = 0;
    while root.put_policy(&format!("p{put}"), &text) == DONE {
        put += 1;
        assert!(put < count + 10);
    }
    assert!(put > count - 10);
    let more = RootCommand::PutPolicy { name: format!("p{put}"), text: text.clone() };
    root.refuses(more.clone(), Rejection::LimitExceeded);
    assert_eq!(root.put_policy("p0", "short"), DONE);
    assert_eq!(root.run(more), DONE);
    let table = root.table();
    assert_eq!(table.policies.len() as u64, put + 1);
    assert!(crate::wire::encode(&table).unwrap().len() < crate::wire::message::MAX_ANSWER_LEN / 2 + (1 << 20));
}

#[test]
fn no_user_is_added_whom_gateways_could_not_read_of() {
    let mut root = Root::new();
    let add = |name: &str, len: u64| {
        let display_name = "d".repeat(usize::try_from(len).unwrap());
        RootCommand::AddUser { user: UserRecord { display_name, ..user(name) } }
    };
    root.run(add("carl", MAX_USERS_LEN / 2)).unwrap();
    root.refuses(add("dora", MAX_USERS_LEN / 2), Rejection::LimitExceeded);
    root.run(add("dora", MAX_USERS_LEN / 4)).unwrap();
    root.remove_user("carl").unwrap();
    root.run(add("emil", MAX_USERS_LEN / 2)).unwrap();
    assert!(matches!(root.rig.ask(Query::UserTable { known: 0 }), Answer::UserTable { table: Some(_), .. }));
    check(&root.rig.store);
}
