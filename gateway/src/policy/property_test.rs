//! One policy, and what it says, against a plain model that reads its JSON anew each time.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::testing::{arn, caller, context, word};
use super::{Asked, Kind, Policy};

const ACTIONS: &[&str] = &["s3:GetObject", "s3:PutObject", "s3:GetBucketAcl"];
const ACTION_PATTERNS: &[&str] = &["s3:GetObject", "S3:putobject", "s3:Get*", "s3:?etObject", "*", "iam:*"];
const RESOURCES: &[&str] = &["a", "a/k", "a/x/k", "b/k"];
const RESOURCE_PATTERNS: &[&str] = &["*", "arn:aws:s3:::a", "arn:aws:s3:::a/*", "arn:aws:s3:::*/k", "arn:aws:s3:::?/k"];
const CALLERS: &[&str] = &["anonymous", "root", "anna", "ben", "ben@444455556666", "federated:anna"];
const VALUES: &[&str] = &["", "u", "v", "uv"];

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(words)
}

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Json> {
    prop_oneof![
        one_of(words).prop_map(|word| json!(word)),
        prop::collection::vec(one_of(words), 1..3).prop_map(|words| json!(words)),
    ]
}

fn principal() -> impl Strategy<Value = Json> {
    let arns = &["*", "arn:aws:iam::111122223333:user/anna", "111122223333", "arn:aws:iam::444455556666:root"];
    prop_oneof![
        Just(json!("*")),
        some_of(arns).prop_map(|names| json!({ "AWS": names })),
        Just(json!({ "CanonicalUser": "canonical-ben" })),
        Just(json!({ "Service": "logging.s3.amazonaws.com" })),
    ]
}

fn operator() -> impl Strategy<Value = String> {
    let base = one_of(&["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"]);
    let set = one_of(&["", "ForAllValues:", "ForAnyValue:"]);
    let end = one_of(&["", "IfExists"]);
    let named = (set, base, end).prop_map(|(set, base, end)| format!("{set}{base}{end}"));
    prop_oneof![4 => named, 1 => Just("Null".to_owned())]
}

fn condition() -> impl Strategy<Value = Option<Json>> {
    let values = some_of(&["u", "v", "u*", "?", ""]);
    let line = (operator(), values, one_of(&["true", "false"])).prop_map(|(operator, values, absent)| {
        let values = if operator == "Null" { json!(absent) } else { values };
        json!({ operator: { "s3:k": values } })
    });
    prop::option::of(line)
}

prop_compose! {
    fn statement()(
        deny in any::<bool>(),
        (not_principal, principal) in (any::<bool>(), principal()),
        (not_action, action) in (any::<bool>(), some_of(ACTION_PATTERNS)),
        (not_resource, resource) in (any::<bool>(), some_of(RESOURCE_PATTERNS)),
        condition in condition(),
    ) -> Json {
        let not = |not: bool, name: &str| if not { format!("Not{name}") } else { name.to_owned() };
        let mut statement = json!({
            "Effect": if deny { "Deny" } else { "Allow" },
            not(not_principal && deny, "Principal"): principal,
            not(not_action, "Action"): action,
            not(not_resource, "Resource"): resource,
        });
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        statement
    }
}

/// The model. Each function is a sentence of the User Guide.
mod model {
    use super::{Json, arn};

    pub(super) fn verdict(policy: &Json, who: &str, action: &str, resource: &str, values: &[&str]) -> &'static str {
        let about = |effect: &str| {
            let statements = policy["Statement"].as_array().unwrap();
            statements.iter().any(|statement| {
                statement["Effect"] == effect
                    && names(statement, who, action)
                    && element(statement, "Resource", |pattern| glob(pattern, &arn(resource)))
                    && condition(statement, values)
            })
        };
        if about("Deny") {
            "Deny"
        } else if about("Allow") {
            "Allow"
        } else {
            "Silent"
        }
    }

    pub(super) fn names(statement: &Json, who: &str, action: &str) -> bool {
        element(statement, "Action", |pattern| glob(&pattern.to_lowercase(), &action.to_lowercase()))
            && principal(statement, who)
    }

    fn list(value: &Json) -> Vec<&str> {
        value
            .as_array()
            .map_or_else(|| vec![value], |list| list.iter().collect())
            .iter()
            .map(|value| value.as_str().unwrap())
            .collect()
    }

    fn element(statement: &Json, name: &str, matches: impl Fn(&str) -> bool) -> bool {
        match statement.get(name) {
            Some(patterns) => list(patterns).iter().any(|pattern| matches(pattern)),
            None => !list(&statement[format!("Not{name}")]).iter().any(|pattern| matches(pattern)),
        }
    }

    /// No part of a resource of this test has a colon, so that the parts of an ARN need no looking at.
    fn glob(pattern: &str, text: &str) -> bool {
        match (pattern.chars().next(), text.chars().next()) {
            (None, None) => true,
            (Some('*'), None) => glob(&pattern[1..], text),
            (Some('*'), Some(_)) => glob(&pattern[1..], text) || glob(pattern, &text[1..]),
            (Some('?'), Some(_)) => glob(&pattern[1..], &text[1..]),
            (Some(wanted), Some(char)) => wanted == char && glob(&pattern[1..], &text[1..]),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    fn principal(statement: &Json, who: &str) -> bool {
        if let Some(named) = statement.get("Principal") {
            return named == "*" || covers(named, who, true);
        }
        let named = &statement["NotPrincipal"];
        named != "*" && !covers(named, who, false)
    }

    /// Whether one of the names is for the caller; by its account or by the user behind it only where that counts.
    fn covers(named: &Json, who: &str, loosely: bool) -> bool {
        let names = |kind: &str| named.get(kind).map(list).unwrap_or_default();
        let account = match who {
            "anonymous" => "",
            "ben@444455556666" => "444455556666",
            _ => "111122223333",
        };
        let canonical = who == "ben" || who == "ben@444455556666";
        names("AWS").iter().any(|name| match *name {
            "*" => true,
            "arn:aws:iam::111122223333:user/anna" => who == "anna" || (loosely && who == "federated:anna"),
            name => !account.is_empty() && name.contains(account) && (loosely || who == "root"),
        }) || (canonical && names("CanonicalUser") == ["canonical-ben"])
    }

    fn condition(statement: &Json, values: &[&str]) -> bool {
        let Some(lines) = statement.get("Condition") else { return true };
        lines.as_object().unwrap().iter().all(|(operator, keys)| holds(operator, &list(&keys["s3:k"]), values))
    }

    fn holds(operator: &str, wanted: &[&str], values: &[&str]) -> bool {
        if operator == "Null" {
            return (wanted == ["true"]) == values.is_empty();
        }
        let not = operator.contains("Not");
        let like = operator.contains("Like");
        let matches =
            |value: &str| wanted.iter().any(|wanted| if like { glob(wanted, value) } else { *wanted == value });
        let full = || values.iter().filter(|value| !value.is_empty());
        if operator.starts_with("ForAllValues:") {
            full().all(|value| matches(value) != not)
        } else if operator.starts_with("ForAnyValue:") {
            full().any(|value| matches(value) != not) || (full().count() == 0 && operator.ends_with("IfExists"))
        } else if values.is_empty() {
            not || operator.ends_with("IfExists")
        } else {
            values.iter().any(|value| matches(value)) != not
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_policy_says_what_the_plain_model_says(
        statements in prop::collection::vec(statement(), 1..4),
        who in one_of(CALLERS),
        action in one_of(ACTIONS),
        resource in one_of(RESOURCES),
        values in prop::collection::vec(one_of(VALUES), 0..3),
    ) {
        let json = json!({ "Version": "2012-10-17", "Statement": statements });
        let text = json.to_string();
        let policy = Policy::parse(text.as_bytes(), Kind::Bucket).unwrap();
        let pairs: Vec<_> = values.iter().map(|value| ("s3:k", *value)).collect();
        let (principal, context, full) = (caller(who), context(&pairs), arn(resource));
        let asked = Asked { principal: &principal, action, resource: &full, context: &context };
        prop_assert_eq!(word(policy.evaluate(&asked)), model::verdict(&json, who, action, resource, &values), "{}", text);
        prop_assert_eq!(policy.text(), text);
        let could = json["Statement"].as_array().unwrap().iter().any(|statement| {
            statement["Effect"] == "Allow" && model::names(statement, who, action)
        });
        prop_assert_eq!(policy.could_allow(&principal, action), could);
        prop_assert!(could || word(policy.evaluate(&asked)) != "Allow");
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,60}", jsonish in "[\\[\\]{}\",:a1StatemenEfc]{0,60}") {
        for kind in [Kind::Identity, Kind::Bucket, Kind::Session] {
            let _ = Policy::parse(text.as_bytes(), kind);
            let _ = Policy::parse(jsonish.as_bytes(), kind);
        }
    }

    #[test]
    fn no_json_makes_the_reader_panic(statement in broken_statement(), kind in prop::sample::select(&[Kind::Identity, Kind::Bucket])) {
        let text = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        if let Err(fault) = Policy::parse(text.as_bytes(), kind) {
            prop_assert!(fault.path.starts_with("Statement[0]"), "{} {}", fault, text);
        }
    }
}

/// A statement with one of its values changed for any other.
fn broken_statement() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|flag| json!(flag)),
        any::<i64>().prop_map(|number| json!(number)),
        "\\PC{0,8}".prop_map(|text| json!(text)),
        "[a:*?${}/.]{0,12}".prop_map(|text| json!(text)),
    ];
    let value = leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!(list)),
            prop::collection::btree_map("StringLike|Null|AWS|s3:k|a?", inner, 0..4).prop_map(|map| json!(map)),
        ]
    });
    let field = one_of(&["Sid", "Effect", "Principal", "Action", "Resource", "Condition", "Other"]);
    (statement(), field, value).prop_map(|(mut statement, field, value)| {
        statement[field] = value;
        statement
    })
}
