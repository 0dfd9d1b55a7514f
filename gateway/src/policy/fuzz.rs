//! Policies: any bytes are refused, or a policy that says what its statements say one by one; and a pattern matches what
//! its plain meaning matches.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{
    Asked, Context, Grounds, Identity, Kind, Owner, Policy, Principal, Session, Value, Verdict, builtin, decide,
    is_public,
};
use crate::fuzz::head::split;

pub const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\u0041",
    "\0",
    "\"Version\": \"2012-10-17\",",
    "\"Version\": \"2008-10-17\",",
    "\"Statement\": ",
    "\"Sid\": \"a\",",
    "\"Effect\": \"Allow\",",
    "\"Effect\": \"Deny\",",
    "\"Principal\": \"*\",",
    "\"Principal\": {\"AWS\": \"arn:aws:iam::111122223333:user/anna\"},",
    "\"NotPrincipal\": {\"CanonicalUser\": \"canonical-anna\"},",
    "\"Action\": \"*\",",
    "\"Action\": [\"s3:Get*\", \"s3:?utObject\"],",
    "\"NotAction\": \"s3:GetObject\",",
    "\"Resource\": \"*\",",
    "\"Resource\": \"arn:aws:s3:::bucket/*\",",
    "\"NotResource\": \"arn:aws:s3:::*\",",
    "\"Condition\": {",
    "\"StringEquals\": {",
    "\"StringNotLikeIfExists\": {",
    "\"ForAllValues:StringLike\": {",
    "\"ForAnyValue:StringEqualsIgnoreCase\": {",
    "\"NumericLessThan\": {",
    "\"DateGreaterThanEquals\": {",
    "\"BinaryEquals\": {",
    "\"Bool\": {",
    "\"IpAddress\": {",
    "\"ArnLike\": {",
    "\"Null\": {",
    "\"s3:prefix\": ",
    "\"aws:SourceIp\": \"10.0.0.0/8\"",
    "\"aws:username\": ",
    "\"2023-11-14T22:13:20Z\"",
    "${aws:username}",
    "${s3:prefix, 'a'}",
    "${*}",
    "${",
    "*",
    "?",
    "true",
    "null",
    "-1e3",
    "s3:GetObject",
    "s3:ListBucket",
    "admin:*",
    "arn:aws:s3:::",
    "/",
    "é",
];

/// Policies; behind a zero byte a text to be matched, behind another one a pattern for it.
pub fn seeds() -> Vec<Vec<u8>> {
    let of_buckets = [
        r#"{"Version": "2012-10-17", "Id": "i", "Statement": [{"Sid": "a", "Effect": "Allow", "Principal": "*",
          "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*", "Condition":
          {"StringLike": {"s3:prefix": ["a*", "?b"]}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
          {"Effect": "Deny", "NotPrincipal": {"AWS": ["111122223333", "arn:aws:iam::111122223333:user/anna"]},
          "NotAction": "s3:List*", "NotResource": "arn:aws:s3:::bucket/${aws:username}/*",
          "Condition": {"Bool": {"aws:SecureTransport": false}, "Null": {"aws:username": "true"}}}]}"#,
        r#"{"Statement": {"Effect": "Deny", "Principal": {"CanonicalUser": "canonical-anna", "Service":
          "logging.s3.amazonaws.com", "Federated": "f"}, "Action": ["s3:*"], "Resource": ["arn:aws:s3:::buck?t"],
          "Condition": {"DateLessThan": {"aws:CurrentTime": "2024-01-01T00:00:00Z"},
          "NumericGreaterThanEqualsIfExists": {"s3:max-keys": [10, "20"]}, "ForAllValues:StringEqualsIgnoreCase":
          {"s3:prefix": "A"}, "ForAnyValue:ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"},
          "BinaryEquals": {"k": "QQ=="}}}}"#,
    ];
    let of_users = [
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource":
          ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/${aws:username, 'none'}/${*}*"]}]}"#,
        builtin::CONSOLE_ADMIN,
        builtin::READ_ONLY,
    ];
    let ends: [&[u8]; 3] = [b"", b"\0bucket/anna/x\0b*t/an?a/*", b"\0ab\0*a**?"];
    let seeds = of_buckets.iter().chain(&of_users);
    seeds.flat_map(|json| ends.map(|end| [json.as_bytes(), end].concat())).collect()
}

const ACCOUNT: &str = "111122223333";
const ANNA: Identity = Identity {
    arn: "arn:aws:iam::111122223333:user/anna",
    account: ACCOUNT,
    canonical_id: "canonical-anna",
    name: "anna",
    id: "ID-anna",
};
const CALLERS: [Principal; 6] = [
    Principal::Anonymous,
    Principal::Root(Identity { arn: "arn:aws:iam::111122223333:root", canonical_id: "root", name: "", ..ANNA }),
    Principal::User(ANNA),
    Principal::User(Identity {
        arn: "arn:aws:iam::444455556666:user/ben",
        account: "444455556666",
        canonical_id: "canonical-ben",
        name: "ben",
        id: "ID-ben",
    }),
    Principal::Session(Session {
        arn: "arn:aws:sts::111122223333:federated-user/anna",
        id: "111122223333:anna",
        of: ANNA,
    }),
    Principal::Service("logging.s3.amazonaws.com"),
];
const OWNER: Owner = Owner { account: ACCOUNT, canonical_id: "canonical-ben" };

/// A word for each verdict.
fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Deny(_) => "Deny",
        Verdict::Allow(_) => "Allow",
        Verdict::Silent => "Silent",
    }
}

/// The policy before the first zero byte, as one of each kind; then a text and a pattern.
pub fn policy(data: &[u8]) -> bool {
    let (json, rest) = split(data);
    let (text, pattern) = split(rest);
    let (text, pattern) = (String::from_utf8_lossy(text), String::from_utf8_lossy(pattern));
    if pattern.len() <= 200 && text.len() <= 200 {
        pattern_matches(&pattern, &text);
    }

    let [identity, bucket, session] = [Kind::Identity, Kind::Bucket, Kind::Session].map(|kind| {
        let read = Policy::parse(json, kind);
        match &read {
            Ok(policy) => assert_eq!((policy.text().as_bytes(), policy.kind()), (json, kind)),
            Err(fault) => assert!(!fault.problem.is_empty() && fault.to_string().ends_with(&fault.problem)),
        }
        read
    });
    assert_eq!(identity.as_ref().err(), session.as_ref().err(), "both have no Principal");
    assert!(identity.is_err() || bucket.is_err(), "with a Principal, and without one");
    let Ok(policy) = identity.or(bucket) else { return false };
    holds(&Arc::new(policy), &text);
    true
}

/// Each statement for itself, as JSON written anew.
#[allow(clippy::expect_used, reason = "this is a test")]
fn alone(policy: &Policy) -> Option<Vec<Policy>> {
    let whole: Json = serde_json::from_str(policy.text()).expect("what was taken is JSON");
    let statements = match &whole["Statement"] {
        Json::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    };
    let texts = statements.into_iter().map(|statement| {
        let mut single = whole.clone();
        single["Statement"] = statement;
        single.to_string()
    });
    // Numbers may be longer when they are written anew.
    let short = texts.filter(|text| text.len() <= super::MAX_LEN);
    let policies: Vec<Policy> = short
        .map(|text| Policy::parse(text.as_bytes(), policy.kind()).expect("a statement of what was taken is taken"))
        .collect();
    (policies.len() == policy.statements.len()).then_some(policies)
}

/// What may be known of a request, whole and as far as the policy mentions it.
fn contexts<'a>(policy: &'a Policy, text: &'a str) -> [(Context<'a>, Context<'a>); 3] {
    let typed = vec![
        ("aws:SourceIp", Value::Address(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)))),
        ("aws:CurrentTime", Value::Time(1_700_000_000_000)),
        ("aws:SecureTransport", Value::Flag(true)),
        ("s3:max-keys", Value::Number(15)),
        ("s3:prefix", "ab".into()),
        ("s3:prefix", "".into()),
    ];
    let all_that_is_asked_for = policy.keys.iter().map(|key| (&**key, text.into())).collect();
    [Vec::new(), typed, all_that_is_asked_for].map(|facts: Vec<(&str, Value)>| {
        let only = |keep: &dyn Fn(&str) -> bool| {
            let kept = facts.iter().filter(|(key, _)| keep(key));
            kept.fold(Context::new(), |context, (key, value)| context.with(*key, value.clone()))
        };
        (only(&|_| true), only(&|key| policy.mentions(key)))
    })
}

fn holds(policy: &Arc<Policy>, text: &str) {
    let alone = alone(policy);
    let contexts = contexts(policy, text);
    let object = format!("arn:aws:s3:::{text}");
    let questions = [
        ("s3:GetObject", object.as_str()),
        ("s3:GetObject", "arn:aws:s3:::bucket/anna/x"),
        ("s3:ListBucket", "arn:aws:s3:::bucket"),
        ("admin:ServerInfo", "arn:aws:s3:::*"),
    ];
    for principal in &CALLERS {
        for (context, mentioned) in &contexts {
            for (action, resource) in questions {
                let asked = Asked { principal, action, resource, context };
                says_what_its_statements_say(policy, alone.as_deref(), &asked);
                let verdict = policy.evaluate(&Asked { context: mentioned, ..asked });
                assert_eq!(verdict, policy.evaluate(&asked), "it does not mention what it asks for: {asked:?}");
                let could = !matches!(verdict, Verdict::Allow(_)) || policy.could_allow(principal, action);
                assert!(could, "it allows what it could not: {asked:?}");
                decides(policy, &asked);
            }
        }
    }
    if policy.kind() == Kind::Bucket {
        is_public_where_strangers_are_allowed(policy, &questions);
        let _ = policy.check_bucket("bucket");
        assert_eq!(policy.check_keys(|key| policy.mentions(key)), Ok(()));
    }
}

/// A deny goes before all permissions.
fn says_what_its_statements_say(policy: &Policy, alone: Option<&[Policy]>, asked: &Asked) {
    let Some(alone) = alone else { return };
    let each: Vec<&str> = alone.iter().map(|statement| word(statement.evaluate(asked))).collect();
    let expected = ["Deny", "Allow"].into_iter().find(|word| each.contains(word)).unwrap_or("Silent");
    let verdict = policy.evaluate(asked);
    assert_eq!(word(verdict), expected, "{asked:?}");
    if let Verdict::Allow(statement) | Verdict::Deny(statement) = verdict {
        assert_eq!(each[statement.index], expected, "{asked:?}");
    }
}

/// Whoever signs nothing, and of whom nothing is known, is the public.
fn is_public_where_strangers_are_allowed(policy: &Policy, questions: &[(&str, &str)]) {
    let context = Context::new();
    for (action, resource) in questions {
        let asked = Asked { principal: &Principal::Anonymous, action, resource, context: &context };
        let allowed = matches!(policy.evaluate(&asked), Verdict::Allow(_));
        assert!(!allowed || is_public(policy), "{action} {resource}");
    }
}

/// What a policy denies to a caller whom it binds is not allowed, whatever an ACL says.
fn decides(policy: &Arc<Policy>, asked: &Asked) {
    let of_bucket = policy.kind() == Kind::Bucket;
    let grounds = if of_bucket {
        Grounds { bucket: Some(policy), owner: Some(OWNER), ..Grounds::default() }
    } else {
        Grounds { user: std::slice::from_ref(policy), owner: Some(OWNER), ..Grounds::default() }
    };
    let bound = of_bucket || matches!(asked.principal, Principal::User(_) | Principal::Session(_));
    let denied = matches!(policy.evaluate(asked), Verdict::Deny(_));
    let decision = decide(asked, &grounds, || true);
    assert!(!(decision.allowed && denied && bound), "{asked:?}: {}", decision.because);
}

/// The pattern as a resource, and as the value of a condition, matches what it means. A bucket that it matches may have
/// it for a policy.
#[allow(clippy::expect_used, reason = "this is a test")]
fn pattern_matches(pattern: &str, text: &str) {
    if pattern.is_empty() {
        return;
    }
    let means = glob(pattern, text);
    let read = |statement: Json, kind| {
        // Of a version without variables.
        let json = json!({ "Version": "2008-10-17", "Statement": statement });
        Policy::parse(json.to_string().as_bytes(), kind).expect("any text is a pattern")
    };
    let (object, arn) = (format!("arn:aws:s3:::{text}"), format!("arn:aws:s3:::{pattern}"));
    let context = Context::new().with("k", text);
    let asked = Asked { principal: &CALLERS[2], action: "s3:GetObject", resource: &object, context: &context };
    for statement in [
        json!({ "Effect": "Deny", "Action": "*", "Resource": arn }),
        json!({ "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": { "StringLike": { "k": pattern } } }),
    ] {
        let verdict = word(read(statement, Kind::Identity).evaluate(&asked));
        assert_eq!(verdict, if means { "Deny" } else { "Silent" }, "{pattern:?} {text:?}");
    }
    let (bucket, _) = text.split_once('/').unwrap_or((text, ""));
    if means {
        let statement = json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": arn });
        assert_eq!(read(statement, Kind::Bucket).check_bucket(bucket), Ok(()), "{pattern:?} {bucket:?}");
    }
}

/// The plain meaning of `*` and `?`: which ends of the text each position of the pattern leaves.
fn glob(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut left: Vec<bool> = (0..=text.len()).map(|at| at == 0).collect();
    for wanted in pattern.chars() {
        let mut next = vec![false; left.len()];
        for at in (0..left.len()).filter(|at| left[*at]) {
            match (wanted, text.get(at)) {
                ('*', _) => next[at..].fill(true),
                (wanted, Some(char)) if wanted == '?' || wanted == *char => next[at + 1] = true,
                _ => {}
            }
        }
        left = next;
    }
    left.last() == Some(&true)
}
