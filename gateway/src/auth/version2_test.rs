use http::Method;

use super::*;
use crate::auth::{Parsed, Payload, Rules, parse};
use crate::error::{Code, S3Error};
use crate::table::ROWS;

const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// 2007-03-28T02:00:00Z
const NOW_MS: u64 = 1_175_047_200_000;
const HOUR_MS: u64 = 3_600_000;

#[derive(Clone)]
struct Sent {
    method: Method,
    bucket: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
}

impl Sent {
    fn new(line: &str, bucket: &'static str, headers: &[(&'static str, &str)]) -> Self {
        let (method, target) = line.split_once(' ').unwrap();
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { method: method.parse().unwrap(), bucket, target: target.to_owned(), headers }
    }

    fn signed(mut self, signature: &str) -> Self {
        self.headers.push(("authorization", format!("AWS {ACCESS_KEY}:{signature}")));
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn to(mut self, target: &str) -> Self {
        self.target = target.to_owned();
        self
    }

    fn verify_by(&self, rules: &Rules, secret: &str, now_ms: u64) -> Result<Payload, S3Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let (raw_path, raw_query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let head =
            RequestHead { method: &self.method, raw_path, raw_query, headers: &headers, bucket_of_host: self.bucket };
        match parse(&head, rules, now_ms)? {
            Parsed::Signed(signed) => {
                assert_eq!(signed.access_key(), ACCESS_KEY);
                Ok(signed.verify(secret)?)
            }
            Parsed::Anonymous(_) => panic!("the signature was not seen"),
        }
    }

    fn verify_at(&self, now_ms: u64) -> Result<Payload, Code> {
        let rules = Rules { version2: true, ..Rules::s3("us-east-1") };
        self.verify_by(&rules, SECRET_KEY, now_ms).map_err(|error| error.code)
    }

    /// At the time of its `Date`.
    fn verify(&self) -> Result<Payload, Code> {
        let moment = |name: &str| {
            let (_, value) = self.headers.iter().find(|(given, _)| *given == name)?;
            Some(Moment::from_any(value)?.ms())
        };
        self.verify_at(moment("x-amz-date").or_else(|| moment("date")).unwrap_or(NOW_MS))
    }

    #[track_caller]
    fn is_refused(&self, code: Code) {
        assert_eq!(self.verify().err(), Some(code), "{} {}", self.method, self.target);
    }
}

/// The examples of the guide: the request line, the bucket of the host, the headers, the signature.
fn examples() -> Vec<Sent> {
    let example = |line, bucket, headers: &[_], signature| Sent::new(line, bucket, headers).signed(signature);
    let upload = [
        ("date", "Tue, 27 Mar 2007 21:06:08 +0000"),
        ("x-amz-acl", "public-read"),
        ("content-type", "application/x-download"),
        ("content-md5", "4gJE4saaMU4BqNR0kLY+lw=="),
        ("x-amz-meta-reviewedby", "joe@johnsmith.net"),
        ("x-amz-meta-reviewedby", "jane@johnsmith.net"),
        ("x-amz-meta-filechecksum", "0x02661779"),
        ("x-amz-meta-checksumalgorithm", "crc32"),
        ("content-disposition", "attachment; filename=database.dat"),
        ("content-encoding", "gzip"),
    ];
    vec![
        example(
            "GET /photos/puppy.jpg",
            "awsexamplebucket1",
            &[("date", "Tue, 27 Mar 2007 19:36:42 +0000")],
            "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=",
        ),
        example(
            "PUT /photos/puppy.jpg",
            "johnsmith",
            &[("date", "Tue, 27 Mar 2007 21:15:45 +0000"), ("content-type", "image/jpeg")],
            "MyyxeRY7whkBe+bq8fHCL/2kKUg=",
        ),
        example(
            "GET /?prefix=photos&max-keys=50&marker=puppy",
            "johnsmith",
            &[("date", "Tue, 27 Mar 2007 19:42:41 +0000")],
            "htDYFYduRNen8P9ZfE/s9SuKy0U=",
        ),
        example(
            "GET /?acl",
            "johnsmith",
            &[("date", "Tue, 27 Mar 2007 19:44:46 +0000")],
            "c2WLPFtWHVgbEmeEG93a4cG37dM=",
        ),
        example(
            "DELETE /johnsmith/photos/puppy.jpg",
            "",
            &[("date", "Tue, 27 Mar 2007 21:20:27 +0000"), ("x-amz-date", "Tue, 27 Mar 2007 21:20:26 +0000")],
            "R4dJ53KECjStyBO5iTBJZ4XVOaI=",
        ),
        example("PUT /db-backup.dat.gz", "static.johnsmith.net", &upload, "ilyl83RwaSoYIEdixDQcA4OnAnc="),
        example("GET /", "", &[("date", "Wed, 28 Mar 2007 01:29:59 +0000")], "qGdzdERIC03wnaRNKh6OqZehG9s="),
        example(
            "GET /dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re",
            "",
            &[("date", "Wed, 28 Mar 2007 01:49:49 +0000")],
            "DNEZGsoieTZ92F3bUfSPQcbGmlM=",
        ),
    ]
}

/// The presigned URL of the guide.
fn presigned() -> Sent {
    let query = "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620";
    Sent::new(&format!("GET /photos/puppy.jpg?{query}"), "johnsmith", &[])
}

#[test]
fn the_documented_requests_are_accepted() {
    for sent in examples() {
        assert!(matches!(sent.verify(), Ok(Payload::Unsigned)), "{} {}", sent.method, sent.target);
    }
    assert!(matches!(presigned().verify(), Ok(Payload::Unsigned)));
}

#[test]
fn it_can_be_switched_off() {
    for sent in [presigned(), examples().remove(0)] {
        let error = sent.verify_by(&Rules::s3("us-east-1"), SECRET_KEY, NOW_MS).unwrap_err();
        assert_eq!(error.code, Code::InvalidRequest);
        assert!(error.message().contains("Please use AWS4-HMAC-SHA256."));
    }
}

#[test]
fn another_secret_does_not_match_and_none_is_told() {
    let rules = Rules { version2: true, ..Rules::s3("us-east-1") };
    let error = presigned().verify_by(&rules, "other", NOW_MS).unwrap_err();
    assert_eq!(error.code, Code::SignatureDoesNotMatch);
    let detail = |name| error.details.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str());
    assert_eq!(detail("StringToSign"), Some("GET\n\n\n1175139620\n/johnsmith/photos/puppy.jpg"));
    assert_eq!((detail("AWSAccessKeyId"), detail("CanonicalRequest")), (Some(ACCESS_KEY), None));
    assert!(!format!("{error:?}").contains(SECRET_KEY));
}

#[test]
fn a_signature_is_good_for_one_resource_under_any_host() {
    let other = |bucket, target: &str| Sent { bucket, ..presigned() }.to(&target.replace('?', &query()));
    fn query() -> String {
        format!("?{}", presigned().target.split_once('?').unwrap().1)
    }
    // The same resource, path style.
    assert!(other("", "/johnsmith/photos/puppy.jpg?").verify().is_ok());
    for (bucket, target) in [
        ("", "/photos/puppy.jpg?"),
        ("photos", "/puppy.jpg?"),
        ("other", "/johnsmith/photos/puppy.jpg?"),
        ("other", "/photos/puppy.jpg?"),
        ("johnsmith", "/photos/other.jpg?"),
        ("johnsmith", "//photos/puppy.jpg?"),
        ("johnsmith", "/photos%2Fpuppy.jpg?"),
        ("johnsmith", "/photos/puppy.jpg/?"),
        ("johnsmith", "/johnsmith/photos/puppy.jpg?"),
    ] {
        other(bucket, target).is_refused(Code::SignatureDoesNotMatch);
    }
}

#[test]
fn what_makes_another_operation_of_a_request_is_signed() {
    let target = presigned().target;
    for more in ["acl", "uploads", "uploadId=x", "partNumber=1", "attributes", "versionId=x", "response-expires=x"] {
        presigned().to(&format!("{target}&{more}")).is_refused(Code::SignatureDoesNotMatch);
        presigned().to(&format!("{target}&{}", more.replacen('a', "%61", 1))).is_refused(Code::SignatureDoesNotMatch);
    }
    for more in ["x-amz-acl=public-read", "X-Amz-Copy-Source=/b/k", "content-type=text/html", "content-md5=x"] {
        presigned().to(&format!("{target}&{more}")).is_refused(Code::SignatureDoesNotMatch);
    }
    presigned().with("x-amz-acl", "public-read").is_refused(Code::SignatureDoesNotMatch);
    presigned().with("content-type", "text/html").is_refused(Code::SignatureDoesNotMatch);
    let mut post = presigned();
    post.method = Method::POST;
    post.is_refused(Code::SignatureDoesNotMatch);
    for name in ROWS.iter().map(|row| row.subresource).filter(|name| !name.is_empty()) {
        assert!(is_subresource(name), "{name}");
    }
}

#[test]
fn a_url_expires() {
    let expires_ms = 1_175_139_620_000;
    assert!(presigned().verify_at(expires_ms).is_ok());
    assert_eq!(presigned().verify_at(expires_ms + 1_000).err(), Some(Code::AccessDenied));
    let target = presigned().target;
    for expires in ["1175139621", "-1", "+1175139620", "soon", "", "99999999999999999999"] {
        let sent = presigned().to(&target.replace("1175139620", expires));
        assert!(matches!(sent.verify_at(NOW_MS), Err(Code::AccessDenied | Code::SignatureDoesNotMatch)), "{expires}");
    }
    for part in ["&Expires=1175139620", "&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D"] {
        presigned().to(&target.replace(part, "")).is_refused(Code::AccessDenied);
    }
    let twice = format!("{target}&Expires=9999999999");
    presigned().to(&twice).is_refused(Code::AuthorizationQueryParametersError);
}

#[test]
fn a_header_is_good_for_a_quarter_of_an_hour() {
    let get = examples().remove(0);
    let date_ms = 1_175_024_202_000;
    for (now_ms, expected) in [
        (date_ms + HOUR_MS / 4, None),
        (date_ms - HOUR_MS / 4, None),
        (date_ms + HOUR_MS / 4 + 1, Some(Code::RequestTimeTooSkewed)),
        (date_ms - HOUR_MS / 4 - 1, Some(Code::RequestTimeTooSkewed)),
        (u64::MAX, Some(Code::RequestTimeTooSkewed)),
    ] {
        assert_eq!(get.verify_at(now_ms).err(), expected, "{now_ms}");
    }
    let mut undated = get.clone();
    undated.headers.retain(|(name, _)| *name != "date");
    undated.is_refused(Code::AccessDenied);
    // Neither date may be moved: the one that counts is signed.
    let late = "Wed, 28 Mar 2007 01:00:00 +0000";
    get.with("x-amz-date", late).is_refused(Code::SignatureDoesNotMatch);
    let mut delete = examples().remove(4);
    delete.headers[1].1 = late.to_owned();
    delete.is_refused(Code::SignatureDoesNotMatch);
}

#[test]
fn a_malformed_header_says_so() {
    for given in ["AWS", "AWS ", "AWS key", "AWS :sig", "AWS key:"] {
        Sent::new("GET /b/k", "", &[("authorization", given)]).is_refused(Code::InvalidArgument);
    }
    let mut two = examples().remove(0);
    two.headers.push(("authorization", "AWS a:b".to_owned()));
    two.is_refused(Code::AuthorizationHeaderMalformed);
    let mut both = presigned();
    both.headers.push(("authorization", "AWS a:b".to_owned()));
    both.is_refused(Code::InvalidArgument);
}

#[test]
fn a_subresource_without_a_value_is_signed_with_or_without_its_equals_sign() {
    let mut acl = examples().remove(3);
    for target in ["/?acl", "/?acl=", "/?x=1&acl", "/?prefix=a&acl="] {
        acl = acl.to(target);
        assert!(acl.verify().is_ok(), "{target}");
    }
    acl.to("/?acl=x").is_refused(Code::SignatureDoesNotMatch);
}

#[test]
fn overrides_are_sorted_among_the_subresources_decoded_and_nothing_else_is_one() {
    let resource = |query: &str| {
        let headers = HeaderMap::new();
        let method = Method::GET;
        let head =
            RequestHead { method: &method, raw_path: "/b/k", raw_query: query, headers: &headers, bucket_of_host: "" };
        let strings = strings_to_sign(&head, b"", &[]);
        String::from_utf8(strings[0].clone()).unwrap().rsplit('\n').next().unwrap().to_owned()
    };
    let all = "versionId=null&response-content-type=a%2Fb%26c&uploadId=x&prefix=p&response-expires=e&acl&partNumber=1";
    let signed = "/b/k?acl&partNumber=1&response-content-type=a/b&c&response-expires=e&uploadId=x&versionId=null";
    assert_eq!(resource(all), signed);
    let six =
        ["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"];
    for name in six {
        assert_eq!(resource(&format!("response-{name}=x")), format!("/b/k?response-{name}=x"));
    }
    // Nobody reads it, and no client that goes by the guide signs it.
    for name in ["response-x", "response-", "response-content-length", "Response-Expires"] {
        assert_eq!(resource(&format!("{name}=x")), "/b/k", "{name}");
    }
}

#[test]
fn a_bucket_is_signed_with_or_without_its_slash() {
    let list = examples().remove(2);
    for target in ["/johnsmith", "/johnsmith/", "/johnsmith?prefix=a"] {
        assert!(Sent { bucket: "", ..list.clone() }.to(target).verify().is_ok(), "{target}");
    }
    // The guide's own is of the bucket with a slash; nothing else gets one.
    for (bucket, target) in [("", "/johnsmith%2F"), ("", "/johnsmith//"), ("johnsmith", "//"), ("other", "/johnsmith")]
    {
        Sent { bucket, ..list.clone() }.to(target).is_refused(Code::SignatureDoesNotMatch);
    }
}

#[test]
fn a_body_that_is_announced_is_checked() {
    let get = examples().remove(0);
    let string = |hash: &str| {
        let date = "Tue, 27 Mar 2007 19:36:42 +0000";
        format!("GET\n\n\n{date}\nx-amz-content-sha256:{hash}\n/awsexamplebucket1/photos/puppy.jpg")
    };
    let sign = |hash: &str| {
        let mut mac = Hmac::<Sha1>::new_from_slice(SECRET_KEY.as_bytes()).unwrap();
        mac.update(string(hash).as_bytes());
        let mut sent = get.clone();
        sent.headers.pop();
        sent.with("x-amz-content-sha256", hash).signed(&BASE64.encode(mac.finalize().into_bytes()))
    };
    assert!(matches!(sign(&"ab".repeat(32)).verify(), Ok(Payload::Sha256(_))));
    assert!(matches!(sign("UNSIGNED-PAYLOAD").verify(), Ok(Payload::Unsigned)));
    assert!(matches!(sign("STREAMING-UNSIGNED-PAYLOAD-TRAILER").verify(), Ok(Payload::Chunked(_))));
    // Its chunks would be signed by the other version.
    sign("STREAMING-AWS4-HMAC-SHA256-PAYLOAD").is_refused(Code::InvalidArgument);
    sign("nonsense").is_refused(Code::InvalidArgument);
}

#[test]
fn one_signature_is_not_good_for_two_queries_that_are_one_when_they_are_decoded() {
    let query = |query: &str| format!("AWSAccessKeyId={ACCESS_KEY}&Expires=1175139620&{query}");
    let signed = |sent: &str, string: &str| {
        let mut mac = Hmac::<Sha1>::new_from_slice(SECRET_KEY.as_bytes()).unwrap();
        mac.update(format!("GET\n\n\n1175139620\n/b/k{string}").as_bytes());
        let signature = super::super::sign::uri_encode(&BASE64.encode(mac.finalize().into_bytes()));
        Sent::new(&format!("GET /b/k?{}&Signature={signature}", query(sent)), "", &[]).verify_by(
            &Rules { version2: true, ..Rules::s3("us-east-1") },
            SECRET_KEY,
            NOW_MS,
        )
    };
    let one = "?response-content-type=a&uploadId=b";
    assert!(signed("response-content-type=a&uploadId=b", one).is_ok());
    assert_eq!(
        signed("response-content-type=a%26uploadId=b", one).unwrap_err().code,
        Code::AuthorizationQueryParametersError
    );
    assert_eq!(
        signed("response-content-type=a%26uploadId%3Db", one).unwrap_err().code,
        Code::AuthorizationQueryParametersError
    );
    let other = "?response-content-disposition=attachment";
    assert!(signed("response-content-disposition=attachment", other).is_ok());
    assert!(signed("response-content-disposition%3Dattachment", other).is_err());
    // What names no parameter is part of a value like anything else.
    let file = "?response-content-disposition=attachment; filename=\"a&b=c&acl.txt\"";
    assert!(signed("response-content-disposition=attachment;+filename=%22a%26b%3Dc%26acl.txt%22", file).is_ok());
}
