use super::*;
use crate::policy::{Asked, Context, Grounds, Owner, Principal, decide};

const USER: UserId = UserId([1; 16]);

fn allow(action: &str) -> String {
    format!(r#"{{"Statement": {{"Effect": "Allow", "Action": "{action}", "Resource": "*"}}}}"#)
}

fn named(name: &str, text: String) -> NamedPolicy {
    NamedPolicy { name: name.to_owned(), text, created_ms: 0, updated_ms: 0 }
}

fn group(name: &str, members: &[UserId], policies: &[&str]) -> Group {
    let policies = policies.iter().map(|name| (*name).to_owned()).collect();
    Group { name: name.to_owned(), created_ms: 0, members: members.to_vec(), policies, inline: Vec::new() }
}

fn rights(policies: &[&str], inline: &[(&str, String)]) -> UserRights {
    UserRights {
        disabled: false,
        policies: policies.iter().map(|name| (*name).to_owned()).collect(),
        inline: inline.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect(),
    }
}

/// What these allow of a bucket of somebody else's.
fn may(rights: &Rights, action: &str) -> bool {
    let of = |canonical_id| crate::policy::Identity { account: "000000000000", canonical_id, ..Default::default() };
    let (principal, context) = (Principal::User(of("1")), Context::new());
    let layer = rights.narrowing.as_deref();
    let grounds = Grounds {
        user: &rights.user,
        groups: &rights.groups,
        narrowing: layer.as_slice(),
        bucket: None,
        owner: Some(Owner { account: "000000000000", canonical_id: "2" }),
    };
    let asked = Asked { principal: &principal, action, resource: "arn:aws:s3:::b/k", context: &context };
    decide(&asked, &grounds, || false).allowed
}

#[test]
fn a_user_has_its_own_policies_and_those_of_its_groups() {
    let policies = [named("put", allow("s3:PutObject")), named("delete", allow("s3:DeleteObject"))];
    let groups = [group("writers", &[USER], &["put"]), group("others", &[UserId([2; 16])], &["delete"])];
    let library = Library::new(&policies, &groups);
    let none = library.rights(UserId([3; 16]), None);
    assert!(none.is_empty());
    let of_user = library.rights(USER, Some(&rights(&["readonly"], &[("own", allow("s3:ListBucket"))])));
    for action in ["s3:GetObject", "s3:PutObject", "s3:ListBucket"] {
        assert!(may(&of_user, action), "{action}");
    }
    assert!(!may(&of_user, "s3:DeleteObject"));
}

#[test]
fn a_policy_that_cannot_be_read_denies_whoever_has_it() {
    let library = Library::new(&[named("future", "{}".to_owned())], &[group("g", &[USER], &["future"])]);
    for of_user in [
        library.rights(USER, Some(&rights(&["readwrite"], &[]))),
        library.rights(UserId([3; 16]), Some(&rights(&["readwrite", "was-built-in"], &[]))),
        library.rights(UserId([3; 16]), Some(&rights(&["readwrite"], &[("own", "no policy".to_owned())]))),
    ] {
        assert!(!may(&of_user, "s3:GetObject"));
    }
}

#[test]
fn a_key_narrows_and_never_widens() {
    let library = Library::new(&[], &[]);
    let of_user = library.rights(USER, Some(&rights(&["readwrite"], &[])));
    let key = |policy: Option<String>| AccessKey {
        access_key: "KEY".to_owned(),
        secret_key: String::new(),
        user: USER,
        description: String::new(),
        created_ms: 0,
        disabled: false,
        expires_ms: None,
        policy,
    };
    let narrowed = of_user.narrowed_by(&key(Some(allow("s3:GetObject"))));
    assert!(may(&narrowed, "s3:GetObject") && !may(&narrowed, "s3:PutObject"));
    assert!(may(&of_user.narrowed_by(&key(None)), "s3:PutObject"));
    let of_nobody = library.rights(USER, None).narrowed_by(&key(Some(allow("s3:*"))));
    assert!(!may(&of_nobody, "s3:GetObject"));
    assert!(!may(&of_user.narrowed_by(&key(Some("?".to_owned()))), "s3:GetObject"));
}
