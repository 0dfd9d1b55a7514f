use super::*;
use crate::policy::testing::{ACCOUNT, OTHER_ACCOUNT, arn, caller, policy};
use crate::policy::{Context, Kind};

const OWNER: Owner = Owner { account: ACCOUNT, canonical_id: "canonical-anna" };

/// What one policy says, or each of the policies of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Allow,
    Deny,
    Silence,
}

use Says::{Allow, Deny, Silence};

/// Whom a bucket's policy allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bucket {
    Nothing,
    Denies,
    Everyone,
    Caller,
    /// The role or the user behind a session.
    Parent,
    Account,
    SomeoneElse,
}

fn one(says: Says) -> Arc<Policy> {
    let (effect, action) = match says {
        Allow => ("Allow", r#"["s3:GetObject", "s3:*BucketPolicy"]"#),
        Deny => ("Deny", r#"["s3:GetObject", "s3:*BucketPolicy"]"#),
        Silence => ("Allow", r#""s3:PutObject""#),
    };
    let json = format!(
        r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "{effect}", "Action": {action}, "Resource": "*"}}}}"#
    );
    Arc::new(policy(&json, Kind::Identity))
}

fn of_bucket(bucket: Bucket, who: &Principal) -> Option<Policy> {
    let arn = |arn: &str| format!(r#"{{"AWS": "{arn}"}}"#);
    let nobody = arn("arn:aws:iam::999999999999:user/nobody");
    let named = match (bucket, who) {
        (Bucket::Nothing, _) => return None,
        (Bucket::Denies | Bucket::Everyone, _) => r#""*""#.to_owned(),
        (Bucket::Caller, Principal::Root(identity) | Principal::User(identity)) => arn(identity.arn),
        (Bucket::Caller, Principal::Session(session)) => arn(session.arn),
        (Bucket::Caller, Principal::Service(name)) => format!(r#"{{"Service": "{name}"}}"#),
        (Bucket::Parent, Principal::Session(session)) => arn(session.of.arn),
        (Bucket::Account, _) => who.account().map_or(nobody, arn),
        (Bucket::Caller | Bucket::Parent | Bucket::SomeoneElse, _) => nobody,
    };
    let effect = if bucket == Bucket::Denies { "Deny" } else { "Allow" };
    let json = format!(
        r#"{{"Version": "2012-10-17", "Statement": {{"Sid": "of the bucket", "Effect": "{effect}",
            "Principal": {named}, "Action": "s3:*", "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}}}}"#
    );
    Some(policy(&json, Kind::Bucket))
}

#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    who: &'a str,
    user: Says,
    group: Says,
    bucket: Bucket,
    layers: &'a [&'a [Says]],
    acl: bool,
}

impl Case<'_> {
    /// Runs `use_it` on the decision of this case, about anna's bucket or an object in it.
    fn decide<T>(self, action: &str, resource: &str, use_it: impl FnOnce(Decision) -> T) -> T {
        let principal = caller(self.who);
        let (user, groups) = ([one(self.user)], [one(self.group)]);
        let layers: Vec<Vec<_>> = self.layers.iter().map(|layer| layer.iter().copied().map(one).collect()).collect();
        let narrowing: Vec<_> = layers.iter().map(Vec::as_slice).collect();
        let bucket = of_bucket(self.bucket, &principal);
        let (context, resource) = (Context::new(), arn(resource));
        let asked = Asked { principal: &principal, action, resource: &resource, context: &context };
        let grounds = Grounds {
            user: &user,
            groups: &groups,
            narrowing: &narrowing,
            bucket: bucket.as_ref(),
            owner: Some(OWNER),
        };
        use_it(decide(&asked, &grounds, || self.acl))
    }

    /// The plain model: who needs what, a row for each kind of caller.
    fn expected(self, action: &str) -> bool {
        let has_policies = !matches!(self.who.split([':', '@']).next(), Some("anonymous" | "root" | "service"));
        let own = has_policies && [self.user, self.group].contains(&Allow);
        let puts_right = ["root", "anna"].contains(&self.who) && action.ends_with("BucketPolicy");
        let denied = has_policies && [self.user, self.group].contains(&Deny)
            || self.bucket == Bucket::Denies && !puts_right
            || self.layers.concat().contains(&Deny);
        let within = self.layers.iter().all(|layer| layer.contains(&Allow));
        let bucket = |allowed: &[Bucket]| allowed.contains(&self.bucket);
        use Bucket::{Account, Caller, Everyone, Parent};
        let allowed = match self.who {
            "root" | "anna" => within,
            "federated:anna" => within || bucket(&[Everyone, Caller]),
            "anonymous" => within && (bucket(&[Everyone]) || self.acl),
            "service:logging" => within && (bucket(&[Everyone, Caller]) || self.acl),
            "root@444455556666" => within && (bucket(&[Everyone, Caller, Account]) || self.acl),
            "ben" => within && (own || bucket(&[Everyone, Caller]) || self.acl),
            "ben@444455556666" => within && own && (bucket(&[Everyone, Caller, Account]) || self.acl),
            "role:reader/s" => bucket(&[Everyone, Caller]) || within && (own || bucket(&[Parent]) || self.acl),
            "role:reader/s@444455556666" => within && own && (bucket(&[Everyone, Caller, Parent, Account]) || self.acl),
            who => panic!("{who} is not in the model"),
        };
        allowed && !denied
    }
}

const CALLERS: &[&str] = &[
    "anonymous",
    "root",
    "anna",
    "federated:anna",
    "ben",
    "role:reader/s",
    "root@444455556666",
    "ben@444455556666",
    "role:reader/s@444455556666",
    "service:logging",
];

const LAYERS: &[&[&[Says]]] = &[
    &[],
    &[&[Allow]],
    &[&[Silence]],
    &[&[Deny]],
    &[&[]],
    &[&[Silence, Allow]],
    &[&[Allow], &[Silence]],
    &[&[Silence], &[Allow]],
    &[&[Allow], &[Allow, Deny]],
];

#[test]
fn all_combinations_are_decided_as_in_the_plain_model() {
    use Bucket::{Account, Caller, Denies, Everyone, Nothing, Parent, SomeoneElse};
    let mut cases = 0;
    for who in CALLERS {
        assert!(!who.contains('@') || who.ends_with(OTHER_ACCOUNT));
        for bucket in [Nothing, Denies, Everyone, Caller, Parent, Account, SomeoneElse] {
            for (user, group) in
                [Allow, Deny, Silence].map(|user| [Allow, Deny, Silence].map(|group| (user, group))).concat()
            {
                for layers in LAYERS {
                    for acl in [false, true] {
                        let case = Case { who, user, group, bucket, layers, acl };
                        for (action, resource) in [("s3:GetObject", "b/k"), ("s3:PutBucketPolicy", "b")] {
                            let allowed = case.decide(action, resource, |decision| decision.allowed);
                            assert_eq!(allowed, case.expected(action), "{case:?} {action}");
                            cases += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(cases, 10 * 7 * 9 * 9 * 2 * 2);
}

const QUIET: Case =
    Case { who: "ben", user: Silence, group: Silence, bucket: Bucket::Nothing, layers: &[], acl: false };

#[test]
fn a_decision_says_what_decided() {
    let table = [
        (QUIET, "nothing allows it"),
        (Case { who: "root", ..QUIET }, "the caller is root"),
        (Case { who: "anna", ..QUIET }, "the caller owns the bucket"),
        (Case { user: Allow, ..QUIET }, "statement 1 of policy 1 of the user allows it"),
        (Case { group: Allow, ..QUIET }, "statement 1 of policy 1 of the groups allows it"),
        (Case { group: Deny, user: Allow, ..QUIET }, "statement 1 of policy 1 of the groups denies it"),
        (
            Case { bucket: Bucket::Everyone, ..QUIET },
            "statement 1 (\"of the bucket\") of the bucket's policy allows it",
        ),
        (Case { bucket: Bucket::Denies, ..QUIET }, "statement 1 (\"of the bucket\") of the bucket's policy denies it"),
        (Case { acl: true, ..QUIET }, "an ACL grants it"),
        (
            Case { user: Allow, layers: &[&[Allow], &[Silence]], ..QUIET },
            "the policy that narrows the caller's rights (2) does not allow it",
        ),
        (Case { layers: &[&[Silence, Deny]], ..QUIET }, "statement 1 of narrowing policy 1.2 denies it"),
        (
            Case { who: "ben@444455556666", bucket: Bucket::Everyone, ..QUIET },
            "no policy of the caller's own account allows it",
        ),
        (Case { who: "ben@444455556666", user: Allow, ..QUIET }, "the account that owns the bucket does not allow it"),
    ];
    for (case, expected) in table {
        let said = case.decide("s3:GetObject", "b/k", |decision| decision.because.to_string());
        assert_eq!(said, expected, "{case:?}");
    }
}

#[test]
fn root_and_the_owner_can_put_a_policy_right_that_denies_them_everything() {
    let denied = |who| Case { who, bucket: Bucket::Denies, ..QUIET };
    let may = |case: Case, action: &str, resource: &str| case.decide(action, resource, |decision| decision.allowed);
    for action in ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"] {
        for who in ["root", "anna"] {
            assert!(may(denied(who), action, "b"), "{action} {who}");
            assert!(may(Case { layers: &[&[Allow]], ..denied(who) }, action, "b"), "{action} {who}: a key that may");
            assert!(!may(Case { layers: &[&[Silence]], ..denied(who) }, action, "b"), "{action} {who}: a narrowed key");
        }
        assert!(!may(Case { user: Deny, ..denied("anna") }, action, "b"), "{action}: her own policy denies it");
        for who in ["ben", "federated:anna", "anna@444455556666", "root@444455556666", "anonymous"] {
            assert!(!may(Case { user: Allow, acl: true, ..denied(who) }, action, "b"), "{action} {who}");
        }
    }
    for who in ["root", "anna"] {
        for (action, resource) in [("s3:ListBucket", "b"), ("s3:GetBucketPolicyStatus", "b"), ("s3:GetObject", "b/k")] {
            assert!(!may(denied(who), action, resource), "{action} {who}");
        }
    }
}

#[test]
fn what_is_about_no_bucket_is_for_the_policies_of_the_caller() {
    let may = |who: &str, says: Says, owner: Option<Owner>| {
        let principal = caller(who);
        let (context, user) = (Context::new(), [one(says)]);
        let asked =
            Asked { principal: &principal, action: "s3:GetObject", resource: "arn:aws:s3:::", context: &context };
        let grounds = Grounds { user: &user, owner, ..Grounds::default() };
        decide(&asked, &grounds, || false).allowed
    };
    assert!(may("ben", Allow, None));
    assert!(!may("ben", Silence, None));
    assert!(may("root", Silence, None));
    assert!(!may("anonymous", Allow, None));
    let itself = Owner { account: ACCOUNT, canonical_id: "canonical-ben" };
    assert!(may("ben", Silence, Some(itself)), "what everyone may do with what is theirs");
    assert!(!may("ben", Deny, Some(itself)));
    assert!(!may("ben", Silence, Some(Owner { account: ACCOUNT, canonical_id: "" })));
}

/// IAM User Guide, "Policy evaluation logic": Carlos saves to his own bucket, and not to one of logs.
#[test]
fn the_documented_example_of_two_policies_has_its_documented_outcome() {
    let own = r#"{"Version": "2012-10-17", "Statement": [
        {"Sid": "List", "Effect": "Allow", "Action": ["s3:GetBucketLocation", "s3:ListAllMyBuckets"], "Resource": "arn:aws:s3:::*"},
        {"Sid": "Self", "Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::carlos/*", "arn:aws:s3:::carlos"]},
        {"Sid": "DenyLogs", "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::*log*"}]}"#;
    let bucket = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111122223333:user/carlos"}, "Action": "s3:*",
        "Resource": ["arn:aws:s3:::carlos/*", "arn:aws:s3:::carlos"]}]}"#;
    let (own, bucket) = (Arc::new(policy(own, Kind::Identity)), policy(bucket, Kind::Bucket));
    let may = |who: &str, user: &[Arc<Policy>], bucket: Option<&Policy>, resource: &str| {
        let (principal, context, resource) = (caller(who), Context::new(), arn(resource));
        let asked = Asked { principal: &principal, action: "s3:PutObject", resource: &resource, context: &context };
        let owner = Some(Owner { account: ACCOUNT, canonical_id: "canonical-admin" });
        decide(&asked, &Grounds { user, bucket, owner, ..Grounds::default() }, || false).allowed
    };
    let own = std::slice::from_ref(&own);
    assert!(!may("carlos", own, None, "carlos-logs/a"));
    assert!(may("carlos", own, Some(&bucket), "carlos/a"));
    assert!(may("carlos", own, None, "carlos/a"), "one of the two is enough");
    assert!(may("carlos", &[], Some(&bucket), "carlos/a"), "one of the two is enough");
    assert!(!may("carlos", own, Some(&bucket), "carlos/log"), "an explicit deny goes before both");
}

/// IAM User Guide, "Cross-account policy evaluation logic".
#[test]
fn the_documented_example_of_two_accounts_has_its_documented_outcome() {
    let own = r#"{"Version": "2012-10-17", "Statement": [
        {"Sid": "Production", "Effect": "Allow", "Action": "s3:*Object*", "Resource": "arn:aws:s3:::Production/*"},
        {"Sid": "DenyLogs", "Effect": "Deny", "Action": "s3:*", "Resource": ["arn:aws:s3:::*log*", "arn:aws:s3:::*log*/*"]}]}"#;
    let bucket = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Action": ["s3:GetObject*", "s3:PutObject*", "s3:ReplicateObject", "s3:RestoreObject"],
        "Principal": {"AWS": "arn:aws:iam::444455556666:user/carlos"}, "Resource": "arn:aws:s3:::Production/*"}]}"#;
    let (own, bucket) = ([Arc::new(policy(own, Kind::Identity))], policy(bucket, Kind::Bucket));
    let may = |action: &str, bucket: Option<&Policy>, resource: &str| {
        let (principal, context, resource) = (caller("carlos@444455556666"), Context::new(), arn(resource));
        let asked = Asked { principal: &principal, action, resource: &resource, context: &context };
        decide(&asked, &Grounds { user: &own, bucket, owner: Some(OWNER), ..Grounds::default() }, || false).allowed
    };
    assert!(may("s3:PutObject", Some(&bucket), "Production/a"));
    assert!(!may("s3:PutObject", None, "Production-logs/a"));
    assert!(!may("s3:DeleteObject", Some(&bucket), "Production/a"), "the other account does not allow it");
    assert!(!may("s3:PutObject", None, "Production/a"), "both accounts must allow it");
}
