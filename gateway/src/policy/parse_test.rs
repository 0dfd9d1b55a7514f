use super::*;
use crate::policy::testing::policy;

fn fault(json: &str, kind: Kind) -> Fault {
    Policy::parse(json.as_bytes(), kind).expect_err(json)
}

/// A policy with one statement, whose missing elements are put in; with these elements in place of them.
fn with(elements: &str) -> String {
    let mut all = elements.to_owned();
    let given = |name: &str| elements.contains(&format!("\"{name}\"")) || elements.contains(&format!("\"Not{name}\""));
    for (name, element) in [
        ("Effect", r#""Effect": "Allow""#),
        ("Principal", r#""Principal": "*""#),
        ("Action", r#""Action": "s3:GetObject""#),
        ("Resource", r#""Resource": "arn:aws:s3:::b/*""#),
    ] {
        if !given(name) {
            all = if all.is_empty() { element.to_owned() } else { format!("{all}, {element}") };
        }
    }
    format!(r#"{{"Version": "2012-10-17", "Statement": [{{{all}}}]}}"#)
}

#[test]
fn a_fault_of_a_statement_says_where_it_is() {
    let table = [
        (r#""Other": 1"#, ".Other", "is no element of a policy here"),
        (r#""effect": "Allow""#, ".effect", "is no element of a policy here"),
        (r#""Effect": "allow""#, ".Effect", "neither \"Allow\" nor \"Deny\""),
        (r#""Effect": ["Allow"]"#, ".Effect", "must be a string"),
        (r#""Effect": "Deny", "Effect": "Allow""#, ".Effect", "stands here twice"),
        (r#""Sid": 7"#, ".Sid", "must be a string"),
        (r#""\u0000\n": 7"#, ".\u{fffd}\u{fffd}", "is no element of a policy here"),
        (r#""Principal": "arn:aws:iam::111122223333:root""#, ".Principal", "must be \"*\" or a JSON object"),
        (r#""Principal": ["*"]"#, ".Principal", "must be \"*\" or a JSON object"),
        (r#""Principal": {}"#, ".Principal", "names nobody"),
        (r#""Principal": {"AWS": []}"#, ".Principal.AWS", "is an empty list"),
        (r#""Principal": {"AWS": ["*", 7]}"#, ".Principal.AWS[1]", "must be a string"),
        (r#""Principal": {"AWS": "*", "AWS": "*"}"#, ".Principal.AWS", "stands here twice"),
        (r#""Principal": {"aws": "*"}"#, ".Principal.aws", "is no type of principal"),
        (r#""Principal": {"AWS": "anna"}"#, ".Principal.AWS", "neither \"*\" nor an account"),
        (r#""Principal": {"AWS": "1234"}"#, ".Principal.AWS", "neither \"*\" nor an account"),
        (r#""Principal": {"AWS": "arn:aws:iam::111122223333:user/*"}"#, ".Principal.AWS", "neither"),
        (r#""Principal": {"AWS": "arn:aws:iam::111122223333:group/g"}"#, ".Principal.AWS", "neither"),
        (r#""Principal": {"AWS": "arn:aws:s3:::b"}"#, ".Principal.AWS", "neither"),
        (r#""Principal": {"AWS": "arn:aws:iam::111122223333:user/"}"#, ".Principal.AWS", "neither"),
        (r#""Principal": {"AWS": "arn:aws:iam::111122223333"}"#, ".Principal.AWS", "neither"),
        (r#""Principal": {"Service": ""}"#, ".Principal.Service", "names nobody"),
        (r#""Principal": {"Service": "*"}"#, ".Principal.Service", "names nobody"),
        (r#""NotPrincipal": "*""#, ".NotPrincipal", "stands with \"Effect\": \"Deny\" only"),
        (r#""Principal": "*", "NotPrincipal": "*", "Effect": "Deny""#, "", "both Principal and NotPrincipal"),
        (r#""Action": "s3:GetObject", "NotAction": "s3:PutObject""#, "", "both Action and NotAction"),
        (r#""Action": []"#, ".Action", "is an empty list"),
        (r#""Action": {"a": 1}"#, ".Action", "must be a string"),
        (r#""Action": [["s3:GetObject"]]"#, ".Action[0]", "must be a string"),
        (r#""Action": ["s3:GetObject", "GetObject"]"#, ".Action[1]", "is no action"),
        (r#""Action": "s3:""#, ".Action", "is no action"),
        (r#""Action": ":GetObject""#, ".Action", "is no action"),
        (r#""Action": "s*:GetObject""#, ".Action", "is no action"),
        (r#""Action": "s3:Get Object""#, ".Action", "is no action"),
        (r#""Action": "s3:${aws:username}""#, ".Action", "is no action"),
        (r#""NotAction": [""]"#, ".NotAction[0]", "is no action"),
        (r#""Resource": []"#, ".Resource", "is an empty list"),
        (r#""Resource": null"#, ".Resource", "must be a string"),
        (r#""Resource": ["*", "b"]"#, ".Resource[1]", "is no ARN"),
        (r#""Resource": """#, ".Resource", "is no ARN"),
        (r#""Resource": "arn:aws:s3:::""#, ".Resource", "is no ARN"),
        (r#""Resource": "arn:aws:s3::b""#, ".Resource", "is no ARN"),
        (r#""Resource": "anr:aws:s3:::b""#, ".Resource", "is no ARN"),
        (r#""Resource": "a*:aws:s3:::b""#, ".Resource", "is no ARN"),
        (r#""Resource": "arn:aws:*:::b""#, ".Resource", "names its service with a wildcard"),
        (r#""Resource": "arn:aws:s3::${aws:PrincipalAccount}:b""#, ".Resource", "variable before its last part"),
        (r#""NotResource": "arn:aws:s3:::${""#, ".NotResource", "does not end with }"),
        (r#""Condition": []"#, ".Condition", "must be a JSON object"),
        (r#""Condition": {"StringEqual": {"a:b": "c"}}"#, ".Condition.StringEqual", "is no condition operator"),
        (r#""Condition": {"stringequals": {"a:b": "c"}}"#, ".Condition.stringequals", "is no condition operator"),
        (
            r#""Condition": {"ForSome:StringLike": {"a:b": "c"}}"#,
            ".Condition.ForSome:StringLike",
            "is no condition operator",
        ),
        (r#""Condition": {"NullIfExists": {"a:b": "true"}}"#, ".Condition.NullIfExists", "is no condition operator"),
        (
            r#""Condition": {"ForAnyValue:Null": {"a:b": "true"}}"#,
            ".Condition.ForAnyValue:Null",
            "is no condition operator",
        ),
        (r#""Condition": {"StringLike": "c"}"#, ".Condition.StringLike", "must be a JSON object"),
        (r#""Condition": {"StringLike": {}}"#, ".Condition.StringLike", "has no condition key"),
        (r#""Condition": {"StringLike": {"": "c"}}"#, ".Condition.StringLike.", "is no condition key"),
        (r#""Condition": {"StringLike": {"a:b": []}}"#, ".Condition.StringLike.a:b", "is an empty list"),
        (r#""Condition": {"StringLike": {"a:b": null}}"#, ".Condition.StringLike.a:b", "must be a string, a number"),
        (
            r#""Condition": {"StringLike": {"a:b": ["c", {}]}}"#,
            ".Condition.StringLike.a:b[1]",
            "must be a string, a number",
        ),
        (
            r#""Condition": {"StringLike": {"a:b": "c", "A:B": "d"}}"#,
            ".Condition.StringLike.A:B",
            "twice, in another case",
        ),
        (r#""Condition": {"StringLike": {"a:b": "${"}}"#, ".Condition.StringLike.a:b", "does not end with }"),
        (r#""Condition": {"Bool": {"a:b": "1"}}"#, ".Condition.Bool.a:b", "is no boolean"),
        (r#""Condition": {"Bool": {"a:b": "${a:c}"}}"#, ".Condition.Bool.a:b", "is no boolean"),
        (r#""Condition": {"Null": {"a:b": ["true", "no"]}}"#, ".Condition.Null.a:b[1]", "is no boolean"),
        (r#""Condition": {"NumericEquals": {"a:b": "ten"}}"#, ".Condition.NumericEquals.a:b", "is no number"),
        (r#""Condition": {"NumericEquals": {"a:b": "inf"}}"#, ".Condition.NumericEquals.a:b", "is no number"),
        (r#""Condition": {"NumericEquals": {"a:b": "1e999"}}"#, ".Condition.NumericEquals.a:b", "is no number"),
        (r#""Condition": {"DateLessThan": {"a:b": "2020-*"}}"#, ".Condition.DateLessThan.a:b", "is no date"),
        (
            r#""Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}"#,
            ".Condition.IpAddress.aws:SourceIp",
            "is no address",
        ),
        (r#""Condition": {"BinaryEquals": {"a:b": "*"}}"#, ".Condition.BinaryEquals.a:b", "is no base64"),
        (r#""Condition": {"ArnLike": {"a:b": "user/anna"}}"#, ".Condition.ArnLike.a:b", "is no ARN"),
    ];
    for (elements, path, problem) in table {
        let found = fault(&with(elements), Kind::Bucket);
        assert_eq!(found.path, format!("Statement[0]{path}"), "{elements}");
        assert!(found.problem.contains(problem), "{elements}: {found}");
        assert_eq!(found.to_string(), format!("{}: {}", found.path, found.problem));
    }
}

#[test]
fn a_fault_of_the_whole_says_where_it_is() {
    let good = r#"{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}"#;
    let table = [
        (String::new(), "", "is not JSON"),
        ("[]".to_owned(), "", "must be a JSON object"),
        ("{}".to_owned(), "", "has no Statement"),
        ("{} {}".to_owned(), "", "is not JSON"),
        (format!(r#"{{"Statement": {good}"#), "", "is not JSON"),
        (format!(r#"{{"Statement": {good}, "statement": 1}}"#), "statement", "is no element"),
        (format!(r#"{{"Statement": {good}, "Statement": {good}}}"#), "Statement", "stands here twice"),
        (format!(r#"{{"Version": "2012-10-18", "Statement": {good}}}"#), "Version", "is neither"),
        (format!(r#"{{"Version": 2012, "Statement": {good}}}"#), "Version", "must be a string"),
        (format!(r#"{{"Id": 1, "Statement": {good}}}"#), "Id", "must be a string"),
        (r#"{"Statement": []}"#.to_owned(), "Statement", "is an empty list"),
        (r#"{"Statement": "a"}"#.to_owned(), "Statement", "must be a JSON object"),
        (format!(r#"{{"Statement": [{good}, 1]}}"#), "Statement[1]", "must be a JSON object"),
        (format!(r#"{{"Statement": [{good}, {{}}]}}"#), "Statement[1]", "has no Effect"),
        (r#"{"Statement": {"Effect": "Allow"}}"#.to_owned(), "Statement", "has neither Action nor NotAction"),
        (
            r#"{"Statement": {"Effect": "Allow", "Action": "s3:*"}}"#.to_owned(),
            "Statement",
            "has neither Resource nor NotResource",
        ),
        (r#"{"Statement": {"Effect": "Allow", "Action": "s3"}}"#.to_owned(), "Statement.Action", "is no action"),
    ];
    for (json, path, problem) in table {
        let found = fault(&json, Kind::Identity);
        assert_eq!((found.path.as_str(), found.problem.contains(problem)), (path, true), "{json}: {found}");
    }
    assert_eq!(Policy::parse(b"{\"\xff\"}", Kind::Identity).unwrap_err().problem, "is not UTF-8");
}

#[test]
fn size_and_depth_are_bounded() {
    let json = with("");
    let longest = format!("{json}{}", " ".repeat(MAX_LEN - json.len()));
    assert!(Policy::parse(longest.as_bytes(), Kind::Bucket).is_ok());
    assert_eq!(fault(&format!("{longest} "), Kind::Bucket).problem, "is longer than 20480 bytes");
    let deep = with(&format!(r#""Condition": {}{}"#, "[".repeat(5_000), "]".repeat(5_000)));
    assert!(fault(&deep, Kind::Bucket).problem.contains("recursion limit"));
    let crowded = (0..2_000).map(|number| format!(r#""k{number}":1"#)).collect::<Vec<_>>().join(",");
    assert_eq!(fault(&format!("{{{crowded}}}"), Kind::Bucket).path, "k0");
}

/// Each value of a list has its place: 2,000 of them under a name of 10,000 letters would be 20 MB.
#[test]
fn a_long_name_stands_in_a_place_by_its_start() {
    let (name, shown) = ("é".repeat(5_000), format!("{}…", "é".repeat(100)));
    let condition = format!(r#""Condition": {{"StringLike": {{"{name}": ["a", {{}}]}}}}"#);
    assert_eq!(fault(&with(&condition), Kind::Bucket).path, format!("Statement[0].Condition.StringLike.{shown}[1]"));
}

#[test]
fn each_kind_has_its_rules() {
    let plain = with("").replace(r#""Principal": "*", "#, "");
    for kind in [Kind::Identity, Kind::Session] {
        assert!(Policy::parse(plain.as_bytes(), kind).is_ok());
        let found = fault(&with(""), kind);
        assert_eq!(
            (found.path.as_str(), found.problem.as_str()),
            ("Statement[0].Principal", "stands in the policies of buckets only")
        );
        let named = with(r#""Sid": "not so""#).replace(r#""Principal": "*", "#, "");
        assert_eq!(fault(&named, kind).path, "Statement[0].Sid");
        let twice = r#"{"Statement": [{"Sid": "a", "Effect": "Deny", "Action": "*", "Resource": "*"},
            {"Sid": "a", "Effect": "Deny", "Action": "*", "Resource": "*"}]}"#;
        assert_eq!(fault(twice, kind).path, "Statement[1].Sid");
        let without_resource = r#"{"Statement": {"Effect": "Allow", "Action": ["admin:*", "admin:ServerInfo"]}}"#;
        assert!(Policy::parse(without_resource.as_bytes(), kind).is_ok());
        let mixed = r#"{"Statement": {"Effect": "Allow", "Action": ["admin:*", "s3:*"]}}"#;
        assert_eq!(fault(mixed, kind).problem, "has neither Resource nor NotResource");
    }
    assert_eq!(fault(&plain, Kind::Bucket).problem, "has neither Principal nor NotPrincipal");
    assert!(Policy::parse(with(r#""Sid": "as it pleases""#).as_bytes(), Kind::Bucket).is_ok());
}

#[test]
fn what_the_language_has_is_read() {
    for elements in [
        r#""NotPrincipal": {"AWS": "111122223333"}, "Effect": "Deny""#,
        r#""Principal": {"AWS": ["*", "arn:aws:iam::111122223333:role/path/r", "arn:aws:sts::111122223333:assumed-role/r/s"]}"#,
        r#""Principal": {"AWS": "arn:aws:sts::111122223333:federated-user/f", "Federated": "cognito-identity.amazonaws.com"}"#,
        r#""Principal": {"AWS": "arn:aws:iam::s3tenant1:root"}"#,
        r#""NotAction": ["s3:Get*", "IAM:?", "*"]"#,
        r#""NotResource": ["*", "arn:*:s3:::b?/*", "arn:aws:s3:::b/${aws:username}/*"]"#,
        r#""Condition": {}"#,
        r#""Condition": {"Null": {"a:b": true}, "NumericEquals": {"a:b": [1, "2.5"]}, "ForAllValues:StringLikeIfExists": {"a:b": 1}}"#,
    ] {
        policy(&with(elements), Kind::Bucket);
    }
}

#[test]
fn the_text_stays_as_it_was_given() {
    let json = format!("\n{}\t", with(r#""Condition": {"NumericEquals": {"a:b": 1.50}}"#));
    let policy = policy(&json, Kind::Bucket);
    assert_eq!(policy.text(), json);
    assert_eq!(policy.kind(), Kind::Bucket);
}
