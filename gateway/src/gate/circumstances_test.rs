use std::collections::BTreeSet;

use super::*;
use crate::gate::Identity;
use crate::policy::{Asked, Kind, Policy, Principal, Verdict};
use crate::testing::request_of;

/// A request with all that gives keys values.
fn full() -> Request {
    let mut request = request_of(Identity::anonymous());
    let headers = HEADERS.iter().map(|(name, _)| (*name, "value"));
    let headers =
        headers.chain([("x-amz-copy-source", "/bucket/a%20b?versionId=null"), ("x-amz-content-sha256", "a header")]);
    let pair = |(name, value): (&str, &str)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    request.headers = Arc::new(headers.map(pair).collect());
    request.query = Params(PARAMETERS.iter().map(|(name, _)| ((*name).to_owned(), "1".to_owned())).collect()).into();
    request.signature = Some(SignatureFacts {
        kind: "REST-HEADER",
        version: "AWS4-HMAC-SHA256",
        signed_ms: Some(1),
        content: Content::Sha256([0xab; 32]),
    });
    request.peer = Some(Peer { address: [192, 0, 2, 1].into(), secure: false });
    (request.method, request.key) = (http::Method::PUT, "k".to_owned());
    request
}

/// Whether a condition holds of a request without a signature.
fn holds(request: &Request, version: Version, operator: &str, key: &str, value: &str) -> bool {
    let text = format!(
        r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", "Principal": "*", "Action": "s3:*",
            "Resource": "*", "Condition": {{"{operator}": {{"{key}": "{value}"}}}}}}}}"#
    );
    let policy = Policy::parse(text.as_bytes(), Kind::Bucket).unwrap();
    let context = Circumstances::of(request, version).context(&[]);
    let principal = Principal::Anonymous;
    let asked =
        Asked { principal: &principal, action: "s3:GetObject", resource: "arn:aws:s3:::b/k", context: &context };
    matches!(policy.evaluate(&asked), Verdict::Allow(_))
}

#[test]
fn what_a_policy_may_ask_for_is_what_requests_have() {
    let request = full();
    let of_caller =
        |key: &str| key.starts_with("aws:principal") || key.starts_with("aws:user") && key != "aws:useragent";
    let keys: BTreeSet<&str> =
        OTHERS.iter().copied().chain(HEADERS.iter().chain(PARAMETERS).map(|(_, key)| *key)).collect();
    for key in keys.iter().copied().filter(|key| !of_caller(key)) {
        assert!(is_key(key));
        assert!(holds(&request, Version::Null, "Null", key, "false"), "{key} is absent");
    }
    for key in ["s3:tlsversion", "aws:sourcevpc", "aws:sourceips", "s3:existingobjecttag/x", ""] {
        assert!(!is_key(key), "{key}");
    }
}

#[test]
fn keys_have_the_values_that_the_request_means() {
    let request = full();
    let hash = "ab".repeat(32);
    let is = |key, value: &str| holds(&request, Version::Id("v1".to_owned()), "StringEquals", key, value);
    assert!(is("s3:x-amz-copy-source", "bucket/a b"));
    assert!(is("s3:versionid", "v1"));
    assert!(is("s3:x-amz-content-sha256", &hash), "what was checked, whatever a header says");
    assert!(is("aws:ResourceAccount", "000000000000"));
    assert!(is("aws:userid", "anonymous"));
    assert!(is("s3:authType", "REST-HEADER"));
    assert!(holds(&request, Version::Current, "IpAddress", "aws:SourceIp", "192.0.2.0/24"));
    assert!(!holds(&request, Version::Current, "IpAddress", "aws:SourceIp", "192.0.3.0/24"));
    assert!(holds(&request, Version::Current, "Bool", "aws:SecureTransport", "false"));
    assert!(holds(&request, Version::Current, "Null", "s3:versionid", "true"));
}

#[test]
fn an_empty_header_is_none() {
    let mut request = full();
    let mut headers = (*request.headers).clone();
    headers.insert("x-amz-acl", "".parse().unwrap());
    request.headers = headers.into();
    assert!(holds(&request, Version::Current, "Null", "s3:x-amz-acl", "true"));
}

#[test]
fn it_is_told_whether_an_object_comes_of_a_request() {
    for (method, query, creates) in [
        ("PUT", "", Some("true")),
        ("PUT", "uploadId", Some("false")),
        ("POST", "uploadId", Some("true")),
        ("POST", "uploads", Some("false")),
        ("GET", "", None),
        ("DELETE", "uploadId", None),
    ] {
        let mut request = full();
        request.method = method.parse().unwrap();
        request.query = Params(vec![(query.to_owned(), String::new())]).into();
        let is = |operator, value| holds(&request, Version::Current, operator, "s3:ObjectCreationOperation", value);
        assert!(creates.map_or(is("Null", "true"), |creates| is("Bool", creates)), "{method} {query}");
    }
}

#[test]
fn what_is_too_long_to_be_asked_for_is_refused() {
    let mut request = full();
    let check = |request: &Request| Circumstances::of(request, Version::Current).check_lengths();
    assert!(check(&request).is_ok());
    for name in ["referer", "x-amz-copy-source"] {
        let mut headers = (*full().headers).clone();
        headers.insert(name, "x".repeat(5_000).parse().unwrap());
        request.headers = headers.into();
        assert_eq!(check(&request).unwrap_err().code, Code::InvalidArgument, "{name}");
    }
    let mut request = full();
    request.query = Params(vec![("prefix".to_owned(), "p".repeat(5_000))]).into();
    assert_eq!(check(&request).unwrap_err().code, Code::InvalidArgument);
}

#[test]
fn a_payload_that_is_not_signed_is_said_to_be_so() {
    let mut request = request_of(Identity::anonymous());
    let unsigned = |request: &Request| {
        holds(request, Version::Current, "StringEquals", "s3:x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    };
    assert!(!unsigned(&request));
    request.signature =
        Some(SignatureFacts { kind: "REST-QUERY-STRING", version: "AWS", signed_ms: None, content: Content::Unsigned });
    assert!(unsigned(&request));
}
