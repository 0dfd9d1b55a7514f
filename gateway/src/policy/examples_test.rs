//! The policies of AWS's documentation, with the outcomes that it states: `identity_examples.txt`, `bucket_examples.txt`.

use super::testing::{ask, policy};
use super::{Kind, Policy, builtin, is_public};

struct Example {
    page: &'static str,
    policy: Policy,
    cases: Vec<&'static str>,
}

/// Each starts with `# `, has a policy, and a line for each case.
fn examples(text: &'static str, kind: Kind) -> Vec<Example> {
    let read = |example: &'static str| {
        let (page, rest) = example.split_once('\n').unwrap();
        let (cases, json): (Vec<_>, Vec<_>) = rest.lines().partition(|line| line.contains(" -> "));
        Example { page, policy: policy(&json.join("\n"), kind), cases }
    };
    text.split("\n# ").skip(1).map(read).collect()
}

fn check(Example { page, policy, cases }: &Example) {
    assert!(!cases.is_empty(), "{page}");
    for case in cases {
        let (question, expected) = case.split_once(" -> ").unwrap();
        let mut words = question.split(' ');
        let [who, action, resource] = [(); 3].map(|()| words.next().unwrap());
        let values: Vec<_> = words.map(|word| word.split_once('=').unwrap()).collect();
        let said = ask(policy, who, action, resource.trim_start_matches('-'), &values);
        assert_eq!(said, expected, "{page}: {case}");
    }
}

#[test]
fn the_documented_policies_of_identities_have_their_documented_outcomes() {
    let examples = examples(include_str!("identity_examples.txt"), Kind::Identity);
    assert_eq!(examples.len(), 38);
    examples.iter().for_each(check);
}

#[test]
fn the_documented_policies_of_buckets_have_their_documented_outcomes() {
    let examples = examples(include_str!("bucket_examples.txt"), Kind::Bucket);
    assert_eq!(examples.len(), 37);
    for example in &examples {
        check(example);
        let (_, behind) = example.page.split_once('[').unwrap();
        let (bucket, public) = behind.split_once(']').unwrap();
        assert_eq!(example.policy.check_bucket(bucket), Ok(()), "{}", example.page);
        assert!(example.policy.check_bucket("another-bucket").is_err(), "{}", example.page);
        assert_eq!(is_public(&example.policy), public == " public", "{}", example.page);
    }
}

#[test]
fn the_built_in_policies_allow_what_their_names_say() {
    let cases = [
        ("readonly", "s3:GetObject", "Allow"),
        ("readonly", "s3:PutObject", "Silent"),
        ("readonly", "s3:ListBucket", "Silent"),
        ("writeonly", "s3:PutObject", "Allow"),
        ("writeonly", "s3:GetObject", "Silent"),
        ("readwrite", "s3:DeleteObject", "Allow"),
        ("readwrite", "admin:ServerInfo", "Silent"),
        ("diagnostics", "admin:ServerInfo", "Allow"),
        ("diagnostics", "admin:CreateUser", "Silent"),
        ("diagnostics", "s3:GetObject", "Silent"),
        ("consoleAdmin", "admin:CreateUser", "Allow"),
        ("consoleAdmin", "s3:DeleteObject", "Allow"),
        ("consoleAdmin", "iam:CreateUser", "Silent"),
    ];
    for (name, action, expected) in cases {
        let policy = policy(builtin::find(name).unwrap(), Kind::Identity);
        assert_eq!(ask(&policy, "anna", action, "b/k", &[]), expected, "{name} {action}");
    }
    assert_eq!(builtin::find("nobody"), None);
    for (name, _) in builtin::ALL {
        assert!(cases.iter().any(|(tried, ..)| tried == name), "{name}");
    }
}
