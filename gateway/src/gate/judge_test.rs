use cairn_storage::meta::record::{Setting, UserRecord};
use cairn_storage::types::UserId;

use super::*;
use crate::acl::{Canned, Ownership};
use crate::gate::rights::Rights;
use crate::policy::Kind;

fn user(id: u8, name: &str, root: bool) -> Identity {
    Identity::from(&UserRecord {
        id: UserId([id; 16]),
        name: name.to_owned(),
        display_name: String::new(),
        access_key: String::new(),
        secret_key: String::new(),
        root,
        created_ms: 0,
    })
}

/// A bucket `b` of user 1.
fn bucket(policy: Option<&str>, block: Option<&str>) -> Bucket {
    Bucket::of_user(UserId([1; 16]), policy, block)
}

fn may(caller: &Identity, action: &str, found: &Bucket, key: &str) -> bool {
    let context = Context::new();
    of_bucket(caller, action, found, key, || &context) == Verdict::Allowed
}

const PUBLIC: &str = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*",
    "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}}"#;

#[test]
fn without_a_policy_a_bucket_is_its_owners_and_roots() {
    let found = bucket(None, None);
    for action in ["s3:GetObject", "s3:DeleteObject", "s3:PutBucketPolicy"] {
        assert!(may(&user(1, "anna", false), action, &found, "k"));
        assert!(may(&user(3, "root", true), action, &found, "k"));
        assert!(!may(&user(2, "ben", false), action, &found, "k"));
        assert!(!may(&Identity::anonymous(), action, &found, "k"));
    }
}

#[test]
fn everybody_gets_at_data_only_whatever_a_policy_allows() {
    let found = bucket(Some(PUBLIC), None);
    for (action, key) in [("s3:GetObject", "k"), ("s3:PutObject", "k"), ("s3:ListBucket", ""), ("s3:DeleteObject", "")]
    {
        assert!(may(&Identity::anonymous(), action, &found, key), "{action}");
    }
    for action in [
        "s3:PutBucketPolicy",
        "s3:GetBucketPolicy",
        "s3:DeleteBucket",
        "s3:GetBucketAcl",
        "s3:PutObjectAcl",
        "s3:PutBucketObjectLockConfiguration",
    ] {
        assert!(!may(&Identity::anonymous(), action, &found, ""), "{action}");
        assert!(
            may(&user(2, "ben", false), action, &found, if action.contains("Object") { "k" } else { "" }),
            "{action}"
        );
    }
}

#[test]
fn a_public_bucket_that_is_restricted_is_open_to_users_only() {
    let found = bucket(Some(PUBLIC), Some(r#"{"RestrictPublicBuckets": true}"#));
    assert!(!may(&Identity::anonymous(), "s3:GetObject", &found, "k"));
    assert!(may(&user(2, "ben", false), "s3:GetObject", &found, "k"));
    // What cannot be read blocks everything.
    assert!(!may(&Identity::anonymous(), "s3:GetObject", &bucket(Some(PUBLIC), Some("?")), "k"));
}

#[test]
fn a_list_of_keys_is_read_of_those_only_who_might_delete_one() {
    let text = r#"{"Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:user/ben"},
        "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::b/x/*"}}"#;
    let found = bucket(Some(text), None);
    assert!(may(&user(2, "ben", false), "s3:DeleteObject", &found, ""));
    assert!(!may(&user(2, "ben", false), "s3:DeleteObject", &found, "k"));
    assert!(may(&user(2, "ben", false), "s3:DeleteObject", &found, "x/k"));
    assert!(!may(&user(4, "carl", false), "s3:DeleteObject", &found, ""));
    assert!(!may(&Identity::anonymous(), "s3:DeleteObject", &found, ""));
    assert!(may(&user(1, "anna", false), "s3:DeleteObject", &found, ""));
}

/// The same user, with a policy of its own.
fn with(user: &Identity, text: &str, narrowing: Option<&str>) -> Identity {
    let read = |text: &str, kind| Arc::new(Policy::parse(text.as_bytes(), kind).unwrap());
    user.with_rights(Rights {
        user: if text.is_empty() { Vec::new() } else { vec![read(text, Kind::Identity)] },
        groups: Vec::new(),
        narrowing: narrowing.map(|text| vec![read(text, Kind::Session)]),
    })
}

fn allows(action: &str) -> String {
    format!(r#"{{"Statement": {{"Effect": "Allow", "Action": "{action}", "Resource": "arn:aws:s3:::*"}}}}"#)
}

#[test]
fn a_users_own_policies_open_other_buckets_and_close_the_own() {
    let (found, ben) = (bucket(None, None), user(2, "ben", false));
    let reader = with(&ben, &allows("s3:GetObject"), None);
    assert!(may(&reader, "s3:GetObject", &found, "k") && !may(&reader, "s3:PutObject", &found, "k"));
    assert!(!may(&reader, "s3:DeleteObject", &found, ""), "no key can be allowed");
    assert!(may(&with(&ben, &allows("s3:Delete*"), None), "s3:DeleteObject", &found, ""));
    let denied = allows("s3:GetObject").replace("Allow", "Deny");
    assert!(!may(&with(&user(1, "anna", false), &denied, None), "s3:GetObject", &found, "k"));
    assert!(may(&with(&user(1, "root", true), &denied, None), "s3:GetObject", &found, "k"), "they do not bind root");
    let context = Context::new();
    let explained = explain(&reader, "s3:GetObject", &found, ("k", None), &context);
    assert!(explained.allowed && explained.statement.unwrap().contains("s3:GetObject"), "{}", explained.because);
}

#[test]
fn a_key_that_is_narrowed_does_what_both_allow() {
    let (found, anna) = (bucket(None, None), user(1, "anna", false));
    let narrowed = with(&anna, "", Some(&allows("s3:GetObject")));
    assert!(may(&narrowed, "s3:GetObject", &found, "k") && !may(&narrowed, "s3:PutObject", &found, "k"));
    let stranger = with(&user(2, "ben", false), "", Some(&allows("s3:*")));
    assert!(!may(&stranger, "s3:GetObject", &found, "k"), "it gives nothing");
    let root = with(&user(3, "root", true), "", Some(&allows("s3:GetObject")));
    assert!(may(&root, "s3:GetObject", &found, "k") && !may(&root, "s3:PutObject", &found, "k"));
}

#[test]
fn every_user_makes_buckets_and_nobody_without_a_signature() {
    for action in ["s3:CreateBucket", "s3:ListAllMyBuckets"] {
        let context = Context::new();
        let may = |caller: &Identity| of_service(caller, action, "b", || &context);
        assert!(may(&user(1, "anna", false)) && may(&user(1, "root", true)));
        assert!(!may(&Identity::anonymous()));
        let denied = allows(action).replace("Allow", "Deny");
        assert!(!may(&with(&user(1, "anna", false), &denied, None)));
        assert!(!may(&with(&user(1, "anna", false), "", Some(&allows("s3:GetObject")))));
    }
}

#[test]
fn the_admin_api_is_for_root_by_a_key_that_nothing_narrows() {
    let root = user(1, "root", true);
    let admit = |caller: Identity| crate::gate::admit_to_admin(&Arc::new(caller)).is_ok();
    assert!(admit(root.clone()));
    assert!(!admit(with(&root, "", Some(&allows("s3:*")))));
    assert!(!admit(with(&user(2, "ben", false), &allows("*"), None)));
}

/// A bucket `b` of user 1 with lists, one of them its own.
fn listed(own: Canned, policy: Option<&str>, block: Option<&str>) -> Bucket {
    let owner = UserId([1; 16]);
    let set = [
        (Setting::OwnershipControls, Ownership::ObjectWriter.encode()),
        (Setting::Acl, own.list(owner, owner).encode(owner)),
        (Setting::Policy, policy.map(|text| text.to_owned().into())),
        (Setting::PublicAccessBlock, block.map(|text| text.to_owned().into())),
    ];
    let values: Vec<_> = set.into_iter().filter_map(|(setting, value)| Some((setting, value?))).collect();
    Bucket::with(owner, &values)
}

/// Whether somebody may do something with an object of a user with a list.
fn may_object(caller: &Identity, action: &str, found: &Bucket, owner: u8, list: Canned) -> bool {
    let context = Context::new();
    let owner = UserId([owner; 16]);
    let list = list.list(owner, found.entry.owner);
    match of_bucket(caller, action, found, "k", || &context) {
        Verdict::OfObject => of_object(caller, action, found, ("k", (owner, &list)), || &context),
        verdict => verdict == Verdict::Allowed,
    }
}

#[test]
fn an_object_is_its_owners_and_whose_its_list_names() {
    let (anna, ben, carl) = (user(1, "anna", false), user(2, "ben", false), user(4, "carl", false));
    let (root, nobody) = (user(3, "root", true), Identity::anonymous());
    let found = listed(Canned::Private, None, None);
    // Ben's object in Anna's bucket.
    let may = |caller: &Identity, action, list| may_object(caller, action, &found, 2, list);
    for action in ["s3:GetObject", "s3:GetObjectAcl", "s3:PutObjectAcl"] {
        assert!(may(&ben, action, Canned::Private) && may(&root, action, Canned::Private), "{action}");
        assert!(!may(&anna, action, Canned::Private), "{action} is not the bucket's owner's");
        assert!(may(&anna, action, Canned::BucketOwnerFullControl), "{action}");
        assert!(!may(&carl, action, Canned::BucketOwnerFullControl) && !may(&nobody, action, Canned::Private));
    }
    assert!(may(&nobody, "s3:GetObject", Canned::PublicRead) && may(&carl, "s3:GetObject", Canned::AuthenticatedRead));
    assert!(!may(&nobody, "s3:GetObject", Canned::AuthenticatedRead));
    assert!(!may(&nobody, "s3:GetObjectAcl", Canned::PublicRead) && !may(&carl, "s3:PutObjectAcl", Canned::PublicRead));
    let ignoring = listed(Canned::Private, None, Some(r#"{"IgnorePublicAcls": true}"#));
    assert!(!may_object(&nobody, "s3:GetObject", &ignoring, 2, Canned::PublicRead));
    assert!(may_object(&ben, "s3:GetObject", &ignoring, 2, Canned::PublicRead));
}

#[test]
fn a_bucket_policy_gives_what_is_the_bucket_owners_and_denies_all() {
    let (carl, nobody) = (user(4, "carl", false), Identity::anonymous());
    let found = listed(Canned::Private, Some(PUBLIC), None);
    assert!(may_object(&nobody, "s3:GetObject", &found, 1, Canned::Private));
    assert!(!may_object(&nobody, "s3:GetObject", &found, 2, Canned::Private));
    let denying = PUBLIC.replace("Allow", "Deny");
    let found = listed(Canned::PublicReadWrite, Some(&denying), None);
    assert!(!may_object(&carl, "s3:GetObject", &found, 2, Canned::PublicRead));
    assert!(!may_object(&user(2, "ben", false), "s3:GetObject", &found, 2, Canned::Private), "its owner neither");
    assert!(!may(&carl, "s3:PutObject", &found, "k"));
}

#[test]
fn a_buckets_list_is_about_the_bucket() {
    let (ben, nobody) = (user(2, "ben", false), Identity::anonymous());
    let found = listed(Canned::PublicReadWrite, None, None);
    for (action, key) in
        [("s3:ListBucket", ""), ("s3:PutObject", "k"), ("s3:DeleteObject", "k"), ("s3:DeleteObject", "")]
    {
        assert!(may(&ben, action, &found, key) && may(&nobody, action, &found, key), "{action}");
    }
    for action in ["s3:GetBucketAcl", "s3:PutBucketAcl", "s3:DeleteBucket", "s3:PutBucketPolicy"] {
        assert!(!may(&ben, action, &found, "") && !may(&nobody, action, &found, ""), "{action}");
    }
    assert!(!may_object(&ben, "s3:GetObject", &found, 1, Canned::Private), "it gives no object");
    // Where there are no lists one that was left behind says nothing.
    let owner = UserId([1; 16]);
    let list = Canned::PublicReadWrite.list(owner, owner).encode(owner).unwrap();
    let without = Bucket::with(owner, &[(Setting::Acl, list)]);
    assert!(!may(&ben, "s3:ListBucket", &without, "") && !may(&nobody, "s3:PutObject", &without, "k"));
}
