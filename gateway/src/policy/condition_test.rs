use super::*;
use crate::policy::testing::{caller, context, policy};
use crate::policy::{Context, Kind, Policy, Verdict};

fn under(operator: &str, values: &str) -> Policy {
    let json = format!(
        r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", "Action": "*", "Resource": "*",
            "Condition": {{"{operator}": {{"a:Key": {values}}}}}}}}}"#
    );
    policy(&json, Kind::Identity)
}

fn holds_in(policy: &Policy, context: &Context) -> bool {
    let principal = caller("anna");
    let asked = Asked { principal: &principal, action: "s3:GetObject", resource: "arn:aws:s3:::b/k", context };
    matches!(policy.evaluate(&asked), Verdict::Allow(_))
}

fn holds(operator: &str, wanted: &str, values: &[&'static str]) -> bool {
    let values: Vec<_> = values.iter().map(|value| ("a:key", *value)).collect();
    holds_in(&under(operator, wanted), &context(&values))
}

/// With an absent key as the last.
const WITHOUT_SET: &[(&str, &str, &str, bool)] = &[
    ("StringEquals", r#""x""#, "x", true),
    ("StringEquals", r#""x""#, "X", false),
    ("StringEquals", r#"["x", "y"]"#, "y", true),
    ("StringEquals", r#""x*""#, "xy", false),
    ("StringEquals", r#""x*""#, "x*", true),
    ("StringEquals", r#""""#, "", true),
    ("StringEquals", "7", "7", true),
    ("StringEquals", "true", "true", true),
    ("StringEquals", r#""${aws:username}""#, "anna", true),
    ("StringEquals", r#""${aws:nothing}""#, "", false),
    ("StringNotEquals", r#""x""#, "x", false),
    ("StringNotEquals", r#"["x", "y"]"#, "z", true),
    ("StringNotEquals", r#"["x", "y"]"#, "y", false),
    ("StringNotEquals", r#""${aws:nothing}""#, "x", true),
    ("StringEqualsIgnoreCase", r#""xY""#, "Xy", true),
    ("StringNotEqualsIgnoreCase", r#""xY""#, "Xy", false),
    ("StringLike", r#""x*y?""#, "x--yz", true),
    ("StringLike", r#""x*y?""#, "x--y", false),
    ("StringLike", r#""*""#, "", true),
    ("StringNotLike", r#""x*""#, "xy", false),
    ("StringNotLike", r#""x*""#, "y", true),
    ("NumericEquals", r#""10""#, "10.0", true),
    ("NumericEquals", r#""10""#, "ten", false),
    ("NumericNotEquals", r#""10""#, "11", true),
    ("NumericNotEquals", r#""10""#, "10", false),
    ("NumericLessThan", "10", "9.5", true),
    ("NumericLessThan", "10", "10", false),
    ("NumericLessThanEquals", "10", "10", true),
    ("NumericGreaterThan", "-1.5e1", "-14", true),
    ("NumericGreaterThan", "10", "10", false),
    ("NumericGreaterThanEquals", "10", "10", true),
    ("DateEquals", r#""2020-01-01T00:00:00Z""#, "1577836800", true),
    ("DateNotEquals", r#""2020-01-01T00:00:00Z""#, "1577836800", false),
    ("DateLessThan", r#""1577836800""#, "2019-12-31", true),
    ("DateLessThanEquals", r#""2020""#, "2020-01-01T00:00:00Z", true),
    ("DateGreaterThan", r#""2020""#, "2020-01-01T00:00:00Z", false),
    ("DateGreaterThan", r#""2020""#, "2020-01-01T00:00:00.5Z", true),
    ("DateGreaterThanEquals", r#""2020""#, "2020-01-01T00:00:00Z", true),
    ("DateLessThan", r#""2020""#, "soon", false),
    ("Bool", r#""true""#, "true", true),
    ("Bool", "true", "TRUE", true),
    ("Bool", "true", "false", false),
    ("Bool", r#"["true", "false"]"#, "maybe", false),
    ("BinaryEquals", r#""QmluYXJ5""#, "Binary", true),
    ("BinaryEquals", r#""QmluYXJ5""#, "QmluYXJ5", false),
    ("IpAddress", r#""203.0.113.0/24""#, "203.0.113.9", true),
    ("IpAddress", r#""203.0.113.0/24""#, "203.0.113", false),
    ("NotIpAddress", r#""203.0.113.0/24""#, "203.0.113.9", false),
    ("NotIpAddress", r#"["203.0.113.0/24", "::1"]"#, "198.51.100.1", true),
    ("ArnEquals", r#""arn:aws:iam::*:user/*""#, "arn:aws:iam::1:user/a", true),
    ("ArnLike", r#""arn:aws:iam::*:user/*""#, "arn:aws:iam::1:role/a", false),
    ("ArnLike", r#""arn:aws:iam::*:user/*""#, "arn:aws:iam:1:2:3:user/a", false),
    ("ArnLike", r#""arn:aws:s3:::b/*""#, "arn:aws:s3:::b/a:b", true),
    ("ArnLike", r#""*""#, "arn:aws:s3:::b", true),
    ("ArnLike", r#""arn:aws:iam::111122223333:user/${aws:username}""#, "arn:aws:iam::111122223333:user/anna", true),
    ("ArnLike", r#""arn:aws:iam::${aws:PrincipalAccount}:user/*""#, "arn:aws:iam::111122223333:user/ben", true),
    ("ArnNotEquals", r#""arn:aws:iam::*:user/a""#, "arn:aws:iam::1:user/a", false),
    ("ArnNotLike", r#""arn:aws:iam::*:user/a""#, "no arn", true),
    ("Null", r#""true""#, "x", false),
    ("Null", r#""false""#, "x", true),
    ("Null", r#""false""#, "", true),
];

#[test]
fn each_operator_compares_in_its_own_way() {
    for (operator, wanted, value, expected) in WITHOUT_SET {
        assert_eq!(holds(operator, wanted, &[*value]), *expected, "{operator} {wanted} {value}");
    }
}

#[test]
fn an_absent_key_matches_nothing() {
    for (operator, wanted, ..) in WITHOUT_SET {
        let absent = match *operator {
            "Null" => wanted.contains("true"),
            _ => operator.contains("Not"),
        };
        assert_eq!(holds(operator, wanted, &[]), absent, "{operator}");
        if *operator != "Null" {
            assert!(holds(&format!("{operator}IfExists"), wanted, &[]), "{operator}IfExists");
        }
    }
}

#[test]
fn if_exists_changes_nothing_where_the_key_exists() {
    for (operator, wanted, value, expected) in WITHOUT_SET.iter().filter(|(operator, ..)| *operator != "Null") {
        assert_eq!(holds(&format!("{operator}IfExists"), wanted, &[*value]), *expected, "{operator} {wanted} {value}");
    }
}

#[test]
fn several_values_are_judged_as_the_operator_says() {
    let table: [(&str, &str, &[&'static str], bool); 20] = [
        ("StringEquals", r#"["x", "y"]"#, &["z", "y"], true),
        ("StringNotEquals", r#"["x", "y"]"#, &["z", "y"], false),
        ("ForAllValues:StringEquals", r#"["x", "y"]"#, &["y", "x"], true),
        ("ForAllValues:StringEquals", r#"["x", "y"]"#, &["y", "z"], false),
        ("ForAllValues:StringEquals", r#"["x", "y"]"#, &[], true),
        ("ForAllValues:StringEquals", r#"["x", "y"]"#, &[""], true),
        ("ForAllValues:StringNotEquals", r#"["x", "y"]"#, &["z", "w"], true),
        ("ForAllValues:StringNotEquals", r#"["x", "y"]"#, &["z", "x"], false),
        ("ForAllValues:StringNotLike", r#""x*""#, &[], true),
        ("ForAllValues:StringEqualsIfExists", r#""x""#, &["y"], false),
        ("ForAnyValue:StringEquals", r#"["x", "y"]"#, &["z", "y"], true),
        ("ForAnyValue:StringEquals", r#"["x", "y"]"#, &["z"], false),
        ("ForAnyValue:StringEquals", r#"["x", "y"]"#, &[], false),
        ("ForAnyValue:StringEquals", r#"["x", ""]"#, &[""], false),
        ("ForAnyValue:StringNotEquals", r#""x""#, &["x", "y"], true),
        ("ForAnyValue:StringNotEquals", r#""x""#, &["x"], false),
        ("ForAnyValue:StringNotEquals", r#""x""#, &[], false),
        ("ForAnyValue:StringEqualsIfExists", r#""x""#, &[], true),
        ("ForAnyValue:IpAddress", r#""10.0.0.0/8""#, &["1.1.1.1", "10.1.1.1"], true),
        ("ForAllValues:NumericLessThan", "10", &["1", "11"], false),
    ];
    for (operator, wanted, values, expected) in table {
        assert_eq!(holds(operator, wanted, values), expected, "{operator} {wanted} {values:?}");
    }
}

#[test]
fn values_have_types() {
    let address: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
    let at = Value::Time(1_577_836_800_000);
    let table = [
        ("IpAddress", r#""10.0.0.0/8""#, Value::Address(address), true),
        ("StringEquals", r#""10.1.2.3""#, Value::Address(address), true),
        ("NumericEquals", "10", Value::Number(10), true),
        ("StringEquals", r#""10""#, Value::Number(10), true),
        ("DateEquals", r#""1577836800""#, Value::Number(1_577_836_800), true),
        ("DateEquals", r#""2020""#, at.clone(), true),
        ("NumericEquals", "1577836800", at.clone(), true),
        ("StringLike", r#""2020-01-01T00:00:00Z""#, at.clone(), true),
        ("Bool", "true", Value::Flag(true), true),
        ("StringEquals", r#""false""#, Value::Flag(false), true),
        ("IpAddress", r#""10.0.0.0/8""#, Value::Flag(true), false),
        ("NumericEquals", "1", Value::Flag(true), false),
        ("DateEquals", r#""2020""#, Value::Flag(true), false),
        ("Bool", "true", at, false),
    ];
    for (operator, wanted, value, expected) in table {
        let context = Context::new().with("A:KEY", value.clone());
        assert_eq!(holds_in(&under(operator, wanted), &context), expected, "{operator} {wanted} {value:?}");
    }
}

#[test]
fn a_key_that_is_not_there_is_looked_up() {
    let lookup = |key: &str| if key == "a:key" { vec![Value::from("x".to_owned()), "y".into()] } else { Vec::new() };
    let mut context = Context::new().with("a:other", "z");
    context.look_up(&lookup);
    assert!(holds_in(&under("ForAllValues:StringEquals", r#"["x", "y"]"#), &context));
    assert!(!holds_in(&under("StringEquals", r#""${a:other}""#), &context));
    let context = context.with("a:key", "z");
    assert!(holds_in(&under("StringEquals", r#""${a:other}""#), &context), "what is there goes first");
}

#[test]
fn who_asks_is_known_by_keys() {
    let user: &[(&str, &str)] = &[
        ("aws:username", "anna"),
        ("aws:userid", "ID-anna"),
        ("aws:PrincipalArn", "arn:aws:iam::111122223333:user/anna"),
        ("aws:PrincipalAccount", "111122223333"),
        ("aws:PrincipalType", "User"),
        ("aws:PrincipalIsAWSService", "false"),
    ];
    let root: &[(&str, &str)] = &[
        ("aws:username", ""),
        ("aws:userid", "111122223333"),
        ("aws:PrincipalArn", "arn:aws:iam::111122223333:root"),
        ("aws:PrincipalType", "Account"),
    ];
    let role: &[(&str, &str)] = &[
        ("aws:username", ""),
        ("aws:userid", "ID-reader:s"),
        ("aws:PrincipalArn", "arn:aws:iam::111122223333:role/reader"),
        ("aws:PrincipalType", "AssumedRole"),
    ];
    let federated: &[(&str, &str)] = &[
        ("aws:userid", "111122223333:anna"),
        ("aws:PrincipalArn", "arn:aws:sts::111122223333:federated-user/anna"),
        ("aws:PrincipalType", "FederatedUser"),
    ];
    let anonymous: &[(&str, &str)] = &[
        ("aws:userid", "anonymous"),
        ("aws:PrincipalArn", ""),
        ("aws:PrincipalAccount", ""),
        ("aws:PrincipalType", "Anonymous"),
    ];
    let service: &[(&str, &str)] =
        &[("aws:PrincipalServiceName", "logging"), ("aws:PrincipalIsAWSService", "true"), ("aws:userid", "")];
    let callers = [
        ("anna", user),
        ("root", root),
        ("role:reader/s", role),
        ("federated:anna", federated),
        ("anonymous", anonymous),
        ("service:logging", service),
    ];
    let context = Context::new();
    for (who, keys) in callers {
        let principal = caller(who);
        let asked = Asked { principal: &principal, action: "", resource: "", context: &context };
        for (key, expected) in keys {
            let value = asked.variable(&key.to_lowercase()).flatten().unwrap_or_default();
            assert_eq!(value, *expected, "{who} {key}");
        }
    }
}

#[test]
fn a_policy_says_which_keys_it_asks_for() {
    let json = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*",
        "Resource": "arn:aws:s3:::b/${aws:PrincipalTag/Team}/*", "Condition": {
            "StringEquals": {"s3:ExistingObjectTag/a": "${jwt:sub}"}, "ArnLike": {"aws:SourceArn": "arn:aws:s3:::${a:b}"}}}}"#;
    let policy = policy(json, Kind::Identity);
    for key in ["s3:ExistingObjectTag/", "s3:existingobjecttag/A", "aws:principaltag/", "jwt:", "aws:SourceArn", "a:b"]
    {
        assert!(policy.mentions(key), "{key}");
    }
    for key in ["s3:RequestObjectTag/", "aws:username", "a:bc", "3:"] {
        assert!(!policy.mentions(key), "{key}");
    }
}
