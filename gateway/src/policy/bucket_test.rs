use super::*;
use crate::policy::Kind;
use crate::policy::testing::policy;

/// What is wrong with a statement about the bucket `photos`.
fn check(elements: &str) -> Option<(String, String)> {
    let json =
        format!(r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": "*", {elements}}}]}}"#);
    policy(&json, Kind::Bucket).check_bucket("photos").err().map(|fault| (fault.path, fault.problem))
}

#[test]
fn a_resource_is_of_the_bucket() {
    let table = [
        ("arn:aws:s3:::photos/*", true),
        ("arn:aws:s3:::photos/a/b", true),
        ("arn:aws:s3:::photos*", true),
        ("arn:aws:s3:::*", true),
        ("arn:aws:s3:::*/*", true),
        ("arn:aws:s3:::p?otos/*", true),
        ("arn:*:s3:::photos/*", true),
        ("arn:aws:s3:*:*:photos/*", true),
        ("*", true),
        ("arn:aws:s3:::photos/${aws:username}/*", true),
        ("arn:aws:s3:::${aws:username}/*", true),
        ("arn:aws:s3:::photo/*", false),
        ("arn:aws:s3:::photos2/*", false),
        ("arn:aws:s3:::Photos/*", false),
        ("arn:aws:s3:::music/photos/*", false),
        ("arn:aws:sqs:::photos/*", false),
        ("arn:aws:s3:eu-west-1::photos/*", false),
        ("arn:aws:s3::111122223333:photos/*", false),
    ];
    for (resource, fits) in table {
        let found = check(&format!(r#""Action": "s3:GetObject", "Resource": ["arn:aws:s3:::photos/x", "{resource}"]"#));
        let fault = Some(("Statement[0].Resource".to_owned(), "Policy has invalid resource".to_owned()));
        assert_eq!(found, if fits { None } else { fault }, "{resource}");
    }
}

#[test]
fn an_action_has_a_resource_that_it_applies_to() {
    let none = "Action does not apply to any resource(s) in statement";
    let table = [
        (r#""s3:GetObject""#, "photos/*", None),
        (r#""s3:GetObject""#, "photos*", None),
        (r#""s3:getobject""#, "photos/*", None),
        (r#""s3:GetObject""#, "photos", Some(none)),
        (r#""s3:ListBucket""#, "photos", None),
        (r#""s3:ListBucket""#, "photos/*", Some(none)),
        (r#"["s3:GetObject", "s3:ListBucket"]"#, "photos/*", Some(none)),
        (r#"["s3:GetObject", "s3:ListBucket"]"#, "*", None),
        (r#""s3:*""#, "photos", None),
        (r#""*""#, "photos/*", None),
        (r#""s3:Get*""#, "photos", None),
        (r#""s3:*Object""#, "photos", Some(none)),
        (r#""s3:?utObject""#, "photos/*", None),
        (r#""s3:Fly""#, "photos/*", Some("Policy has invalid action")),
        (r#""s3:ListAllMyBuckets""#, "photos", Some("Policy has invalid action")),
        (r#""sqs:SendMessage""#, "photos/*", Some("Policy has invalid action")),
    ];
    for (action, resource, problem) in table {
        let found = check(&format!(r#""Action": {action}, "Resource": "arn:aws:s3:::{resource}""#));
        let expected = problem.map(|problem| ("Statement[0].Action".to_owned(), problem.to_owned()));
        assert_eq!(found, expected, "{action} {resource}");
    }
}

#[test]
fn what_a_not_leaves_is_about_the_bucket() {
    assert_eq!(check(r#""NotAction": "s3:DeleteBucket", "Resource": "arn:aws:s3:::photos/*""#), None);
    assert_eq!(check(r#""Action": "s3:ListBucket", "NotResource": "arn:aws:s3:::photos/*""#), None);
    assert_eq!(check(r#""Action": "s3:GetObject", "NotResource": "arn:aws:s3:::photos/a""#), None);
    let not_its_own = check(r#""NotAction": "s3:DeleteBucket", "Resource": "arn:aws:s3:::music/*""#);
    assert_eq!(not_its_own.map(|(path, _)| path).as_deref(), Some("Statement[0].Resource"));
}

#[test]
fn no_action_stands_in_the_lists_twice() {
    let mut all: Vec<_> = OF_BUCKETS.iter().chain(OF_OBJECTS).collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count);
    assert!(all.iter().all(|action| action.starts_with("s3:")));
}

#[test]
fn a_condition_key_that_is_not_known_is_refused_with_its_place() {
    let known = |key: &str| ["aws:username", "s3:prefix"].contains(&key) || key.starts_with("s3:existingobjecttag/");
    let check = |elements: &str| {
        let json = format!(
            r#"{{"Version": "2012-10-17", "Statement": [
                {{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}},
                {{"Effect": "Allow", "Principal": "*", "Action": "s3:*", {elements}}}]}}"#
        );
        policy(&json, Kind::Bucket).check_keys(known)
    };
    let any = r#""Resource": "*", "Condition":"#;
    for elements in [
        format!(r#"{any} {{}}"#),
        format!(r#"{any} {{"StringLike": {{"S3:Prefix": "${{AWS:UserName}}/*"}}, "Null": {{"aws:username": false}}}}"#),
        format!(r#"{any} {{"StringEquals": {{"s3:ExistingObjectTag/Color": "red"}}}}"#),
        r#""Resource": "arn:aws:s3:::b/${aws:username}/${*}""#.to_owned(),
    ] {
        assert_eq!(check(&elements), Ok(()), "{elements}");
    }
    let table = [
        (
            format!(r#"{any} {{"StringLike": {{"s3:prefix": "a", "s3:Other": "b"}}}}"#),
            "Condition.StringLike",
            "s3:other",
        ),
        (format!(r#"{any} {{"Null": {{"s3:x": true}}}}"#), "Condition.Null", "s3:x"),
        (format!(r#"{any} {{"StringLike": {{"s3:prefix": "${{s3:y, 'd'}}"}}}}"#), "Condition.StringLike", "s3:y"),
        (format!(r#"{any} {{"ArnLike": {{"aws:username": "arn:${{a:b}}:s3:::b"}}}}"#), "Condition.ArnLike", "a:b"),
        (r#""Resource": ["*", "arn:aws:s3:::b/${s3:z}"]"#.to_owned(), "Resource", "s3:z"),
        (r#""NotResource": "arn:aws:s3:::b/${s3:z}""#.to_owned(), "NotResource", "s3:z"),
    ];
    for (elements, path, key) in table {
        let problem = format!("Policy has an invalid condition key: {key}");
        assert_eq!(check(&elements), Err(Fault { path: format!("Statement[1].{path}"), problem }), "{elements}");
    }
}
