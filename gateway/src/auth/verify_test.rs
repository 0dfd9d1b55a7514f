//! What is refused, and what S3 answers to it. The requests begin as the documented examples.

use http::{HeaderMap, HeaderValue, Method};

use crate::auth::examples_test::{ACCESS_KEY, EMPTY, NOW_MS, SECRET_KEY, Sent, authorization, detail};
use crate::auth::sign::{self, Credentials, Unsigned};
use crate::auth::{AuthError, Parsed, Payload, RequestHead, Rules, parse};
use crate::error::{Code, S3Error};

const MINUTE_MS: u64 = 60_000;

#[test]
fn a_request_without_a_signature_is_anonymous() {
    for sent in [
        Sent::new(Method::GET, "/b/k?prefix=X-Amz-Signature&Expires=1", &[("host", "h")]),
        Sent::new(Method::PUT, "/b/k", &[("host", "h"), ("authorization", ""), ("x-amz-acl", "private")]),
    ] {
        assert!(matches!(sent.parse_at(NOW_MS), Ok(Parsed::Anonymous(_))));
    }
}

#[test]
fn spaces_and_commas_in_the_authorization_may_vary() {
    let get = Sent::get_object();
    for to in [", ", " ,  ", " ", ",,\t"] {
        assert!(get.clone().replace_authorization(",", to).verify().is_ok(), "{to:?}");
    }
}

#[test]
fn another_key_secret_or_request_does_not_match() {
    let get = Sent::get_object();
    assert!(matches!(get.signed().unwrap().verify("other"), Err(AuthError::SignatureDoesNotMatch(_))));
    let mut other = get.clone();
    other.method = Method::HEAD;
    let error = other.is_refused(Code::SignatureDoesNotMatch, "does not match");
    assert_eq!(detail(&error, "AWSAccessKeyId"), ACCESS_KEY);
    assert!(detail(&error, "CanonicalRequest").starts_with("HEAD\n/test.txt\n\nhost:examplebucket"));
    let start = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n";
    assert!(detail(&error, "StringToSign").starts_with(start));
    assert!(!format!("{error:?}").contains(SECRET_KEY));
    get.clone().with("range", "bytes=0-8").is_refused(Code::SignatureDoesNotMatch, "");
    get.without("range").is_refused(Code::SignatureDoesNotMatch, "");
}

#[test]
fn a_malformed_authorization_says_what_is_wrong() {
    let malformed = Code::AuthorizationHeaderMalformed;
    let get = Sent::get_object();
    let cases = [
        ("us-east-1", "eu-central-1", "the region 'eu-central-1' is wrong; expecting 'us-east-1'"),
        ("/s3/", "/ec2/", "incorrect service \"ec2\". This endpoint belongs to \"s3\"."),
        ("aws4_request", "aws4", "incorrect terminal \"aws4\""),
        ("/20130524/", "/2013-05-24/", "incorrect date format \"2013-05-24\""),
        ("/20130524/", "/20130523/", "Invalid credential date \"20130523\""),
        ("AKIAIOSFODNN7EXAMPLE/", "", "the Credential is mal-formed"),
        ("AKIAIOSFODNN7EXAMPLE/", "/", "a non-empty Access Key"),
        (",SignedHeaders=host;range;x-amz-content-sha256;x-amz-date", "", "requires three components"),
        ("SignedHeaders=host;", "SignedHeaders=host;;", "SignedHeaders is not a list"),
        ("SignedHeaders=host;", "SignedHeaders=host;host;", "SignedHeaders is not a list"),
        ("SignedHeaders=host;range", "SignedHeaders=host;range;RANGE", "SignedHeaders is not a list"),
        ("SignedHeaders=host", "Signature=1,SignedHeaders=host", "twice"),
        ("SignedHeaders=host", "Other=1,SignedHeaders=host", "unknown component"),
        ("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", "", "a non-empty Signature"),
    ];
    for (from, to, message) in cases {
        get.clone().replace_authorization(from, to).is_refused(malformed, message);
    }
    let error = get.clone().replace_authorization("us-east-1", "x").is_refused(malformed, "");
    assert_eq!(detail(&error, "Region"), "us-east-1");
    let mut two = get;
    two.headers.append("authorization", HeaderValue::from_static("AWS4-HMAC-SHA256"));
    two.is_refused(malformed, "more than one");
}

#[test]
fn any_region_will_do_where_none_was_chosen() {
    for region in ["auto", "garage", "eu-west-1", "us-east-1"] {
        let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("h"))]);
        let unsigned = Unsigned { method: &Method::GET, raw_path: "/b/k", raw_query: "", headers: &headers };
        let credentials = Credentials { access_key: ACCESS_KEY, secret_key: SECRET_KEY };
        let query = sign::presign(&unsigned, credentials, &Rules::s3(region), NOW_MS, 60);
        let sent = Sent::new(Method::GET, &format!("/b/k?{query}"), &[("host", "h")]);
        let head = RequestHead {
            method: &sent.method,
            raw_path: &sent.path,
            raw_query: &sent.query,
            headers: &sent.headers,
            bucket_of_host: "",
        };
        let any = Rules { any_region: true, ..Rules::s3("us-east-1") };
        let Ok(Parsed::Signed(signed)) = parse(&head, &any, NOW_MS) else { panic!("{region}") };
        assert!(signed.verify(SECRET_KEY).is_ok(), "{region}");
        assert!(signed.verify("other").is_err(), "{region}");
        assert_eq!(parse(&head, &Rules::s3("us-east-1"), NOW_MS).is_ok(), region == "us-east-1", "{region}");
    }
}

#[test]
fn other_mechanisms_are_refused() {
    let please = "Please use AWS4-HMAC-SHA256.";
    let get = Sent::get_object();
    get.clone().with("authorization", "AWS key:sig").is_refused(Code::InvalidRequest, please);
    get.clone().with("authorization", "AWS4-ECDSA-P256-SHA256 Credential=x").is_refused(Code::InvalidRequest, please);
    get.with("authorization", "Basic eDp5").is_refused(Code::InvalidArgument, "Unsupported Authorization Type");
    for query in ["AWSAccessKeyId=k&Signature=s&Expires=1", "Signature=s&Expires=1"] {
        Sent::new(Method::GET, &format!("/b/k?{query}"), &[("host", "h")]).is_refused(Code::InvalidRequest, please);
    }
    let both = Sent::presigned().with("authorization", "AWS4-HMAC-SHA256 Credential=x");
    both.is_refused(Code::InvalidArgument, "Only one auth mechanism allowed");
}

#[test]
fn a_date_must_be_there_and_near() {
    let get = Sent::get_object();
    let message = "AWS authentication requires a valid Date or x-amz-date header";
    get.clone().without("x-amz-date").is_refused(Code::AccessDenied, message);
    get.clone().with("x-amz-date", "Bad Date").is_refused(Code::AccessDenied, message);
    get.clone().with("x-amz-date", "").is_refused(Code::AccessDenied, message);
    for (now_ms, near) in [
        (NOW_MS + 15 * MINUTE_MS, true),
        (NOW_MS - 15 * MINUTE_MS, true),
        (NOW_MS + 15 * MINUTE_MS + 1, false),
        (NOW_MS - 15 * MINUTE_MS - 1, false),
        (0, false),
        (u64::MAX, false),
    ] {
        match get.parse_at(now_ms).map_err(S3Error::from) {
            Ok(_) => assert!(near, "{now_ms}"),
            Err(error) => {
                assert!(!near, "{now_ms}");
                assert_eq!(error.code, Code::RequestTimeTooSkewed);
                assert_eq!(detail(&error, "RequestTime"), "2013-05-24T00:00:00Z");
                assert_eq!(detail(&error, "MaxAllowedSkewMilliseconds"), "900000");
            }
        }
    }
}

#[test]
fn the_date_header_stands_in_for_x_amz_date() {
    // botocore sends this form where a caller has set a date.
    let date = "Fri, 24 May 2013 00:00:00 -0000";
    let sent = Sent::new(Method::GET, "/b/k", &[("host", "h"), ("date", date)]).sign(EMPTY);
    let request = Sent::new(Method::GET, "/b/k", &[("host", "h"), ("date", date), ("x-amz-content-sha256", EMPTY)])
        .with("authorization", &authorization("date;host;x-amz-content-sha256", &"0".repeat(64)));
    assert!(sent.verify().is_ok());
    let error = request.is_refused(Code::SignatureDoesNotMatch, "");
    assert!(detail(&error, "StringToSign").starts_with("AWS4-HMAC-SHA256\n20130524T000000Z\n"));
}

#[test]
fn the_hash_of_the_body_must_be_there_and_make_sense() {
    let get = Sent::get_object();
    let missing = "Missing required header for this request: x-amz-content-sha256";
    for (header, value) in [("content-length", "3"), ("transfer-encoding", "chunked")] {
        let put = get.clone().with(header, value);
        put.clone().without("x-amz-content-sha256").is_refused(Code::InvalidRequest, missing);
        put.with("x-amz-content-sha256", "").is_refused(Code::InvalidRequest, missing);
    }
    for bad in ["UNSIGNED", "abc", &EMPTY[1..], "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"] {
        let error = get.clone().with("x-amz-content-sha256", bad).is_refused(Code::InvalidArgument, "must be");
        assert_eq!(detail(&error, "ArgumentValue"), bad);
    }
    let put = |hash: &str| Sent::new(Method::PUT, "/b/k", &[("host", "h")]).sign(hash).verify().unwrap();
    assert!(matches!(put("UNSIGNED-PAYLOAD"), Payload::Unsigned));
    assert!(matches!(put(EMPTY), Payload::Sha256(_)));
}

#[test]
fn trailers_are_declared_where_the_body_has_them_and_nowhere_else() {
    let put = |hash: &str, trailers: &str| {
        let put = Sent::new(Method::PUT, "/b/k", &[("host", "h"), ("x-amz-trailer", trailers)]);
        match put.sign(hash).verify()? {
            Payload::Chunked(chunked) => Ok((chunked.is_signed(), chunked.trailers().len())),
            other => panic!("{other:?}"),
        }
    };
    let two = "x-amz-checksum-crc32, X-Amz-Checksum-Sha1";
    assert_eq!(put("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", two), Ok((true, 2)));
    assert_eq!(put("STREAMING-UNSIGNED-PAYLOAD-TRAILER", two), Ok((false, 2)));
    assert_eq!(put("STREAMING-UNSIGNED-PAYLOAD-TRAILER", ""), Ok((false, 0)));
    for bad in ["a b", &"a,".repeat(17)] {
        let error = put("STREAMING-UNSIGNED-PAYLOAD-TRAILER", bad);
        assert_eq!(error, Err(AuthError::BadHeader("x-amz-trailer".to_owned())));
    }
    for hash in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "UNSIGNED-PAYLOAD", EMPTY] {
        assert!(matches!(put(hash, two), Err(AuthError::MalformedTrailer(_))), "{hash}");
    }
    let plain = Sent::new(Method::PUT, "/b/k", &[("host", "h")]).sign("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    assert!(matches!(plain.verify(), Ok(Payload::Chunked(chunked)) if chunked.trailers().is_empty()));
}

#[test]
fn the_host_and_all_amz_headers_must_be_signed() {
    let message = "There were headers present in the request which were not signed";
    let error = Sent::get_object()
        .with("x-amz-tagging", "a=b")
        .with("x-amz-acl", "private")
        .with("x-amzn-trace-id", "not an amz header")
        .is_refused(Code::AccessDenied, message);
    assert_eq!(detail(&error, "HeadersNotSigned"), "x-amz-acl, x-amz-tagging");
    let error = Sent::get_object().replace_authorization("host;", "").is_refused(Code::AccessDenied, message);
    assert_eq!(detail(&error, "HeadersNotSigned"), "host");
    Sent::presigned().with("x-amz-acl", "private").is_refused(Code::AccessDenied, message);
    Sent::presigned().replace("SignedHeaders=host", "SignedHeaders=range").is_refused(Code::AccessDenied, message);
}

#[test]
fn a_presigned_url_ends_when_it_says() {
    let sent = Sent::presigned();
    let day = 86_400_000;
    assert!(sent.parse_at(NOW_MS + day).is_ok());
    let error = S3Error::from(sent.parse_at(NOW_MS + day + 1).unwrap_err());
    assert_eq!((error.code, error.message()), (Code::AccessDenied, "Request has expired"));
    assert_eq!(detail(&error, "Expires"), "2013-05-25T00:00:00Z");
    assert_eq!(detail(&error, "ServerTime"), "2013-05-25T00:00:00Z");
    assert_eq!(detail(&error, "X-Amz-Expires"), "86400");
    assert!(sent.parse_at(NOW_MS - 15 * MINUTE_MS).is_ok());
    let error = S3Error::from(sent.parse_at(NOW_MS - 15 * MINUTE_MS - 1).unwrap_err());
    assert_eq!((error.code, error.message()), (Code::AccessDenied, "Request is not yet valid"));
}

#[test]
fn a_malformed_presigned_url_says_what_is_wrong() {
    let code = Code::AuthorizationQueryParametersError;
    let sent = Sent::presigned();
    for (from, to, message) in [
        ("Expires=86400", "Expires=0", "at least 1"),
        ("Expires=86400", "Expires=-1", "non-negative"),
        ("Expires=86400", "Expires=604801", "less than a week"),
        ("Expires=86400", "Expires=1e3", "should be a number"),
        ("Expires=86400", "Expires=99999999999999999999", "should be a number"),
        ("X-Amz-Date=20130524T000000Z", "X-Amz-Date=20130524", "ISO8601"),
        ("X-Amz-Date=20130524T000000Z", "X-Amz-Date=20130523T235959Z", "Invalid credential date"),
        ("HMAC-SHA256", "HMAC-SHA1", "X-Amz-Algorithm only supports"),
        ("&X-Amz-SignedHeaders=host", "", "requires the X-Amz-Algorithm"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&", "", "requires the X-Amz-Algorithm"),
        ("us-east-1", "eu-west-1", "the region 'eu-west-1' is wrong; expecting 'us-east-1'"),
        ("%2Fs3%2F", "%2Fec2%2F", "incorrect service"),
        ("SignedHeaders=host", "SignedHeaders=host%0A", "SignedHeaders is not a list"),
        ("SignedHeaders=host", "SignedHeaders=host%FF", "not UTF-8"),
        ("X-Amz-Expires=86400", "X-Amz-Expires=86400&X-Amz-Expires=1", "twice"),
    ] {
        sent.clone().replace(from, to).is_refused(code, message);
    }
    sent.clone().replace("Expires=86400", "Expires=86401").is_refused(Code::SignatureDoesNotMatch, "");
    let mut other = sent.clone();
    other.query.push_str("&versionId=1");
    other.is_refused(Code::SignatureDoesNotMatch, "");
    sent.with("host", "other").is_refused(Code::SignatureDoesNotMatch, "");
}

#[test]
fn amz_parameters_of_a_presigned_query_count_as_headers() {
    let headers = HeaderMap::from_iter([("host".parse().unwrap(), HeaderValue::from_static("h"))]);
    let own = "x-amz-acl=private&X-Amz-Meta-Name=a%20b&partNumber=1&x-id=PutObject&X-Amz-Security-Token=t\
               &X-Amz-Content-Sha256=UNSIGNED-PAYLOAD";
    let request = Unsigned { method: &Method::PUT, raw_path: "/b/k", raw_query: own, headers: &headers };
    let credentials = Credentials { access_key: ACCESS_KEY, secret_key: SECRET_KEY };
    let query = sign::presign(&request, credentials, &Rules::s3("us-east-1"), NOW_MS, 60);
    let sent = Sent::new(Method::PUT, &format!("/b/k?{query}"), &[("host", "h")]);
    let signed = sent.signed().unwrap();
    assert!(matches!(signed.verify(SECRET_KEY), Ok(Payload::Unsigned)));
    let merged: Vec<_> = signed.presigned_headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
    assert_eq!(merged, [("x-amz-acl", "private"), ("x-amz-meta-name", "a b")]);
    assert!(Sent::get_object().signed().unwrap().presigned_headers().is_empty());

    let bad = sent.replace("x-amz-acl=private", "x-amz-acl=a%0Ab");
    bad.is_refused(Code::InvalidArgument, "x-amz-acl");
}

#[test]
fn nothing_prints_a_secret_or_a_presigned_signature() {
    let sent = Sent::presigned();
    let signed = sent.signed().unwrap();
    assert!(!format!("{signed:?}").contains("aeeed9bb"));
    let put = Sent::new(Method::PUT, "/b/k", &[("host", "h")]).sign("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let shown = format!("{:?}", put.verify().unwrap());
    assert_eq!(shown, "Chunked(ChunkedPayload { signed: true, trailers: None, .. })");
    let credentials = Credentials { access_key: ACCESS_KEY, secret_key: SECRET_KEY };
    assert!(!format!("{credentials:?}").contains(SECRET_KEY));
}
