//! The signature examples of the Amazon S3 API Reference.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::sign::{self, Credentials, Unsigned};
use super::{AuthError, Decoder, Parsed, Payload, RequestHead, Rules, SignedRequest, parse};
use crate::error::{Code, S3Error};

pub(super) const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub(super) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(super) const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// 2013-05-24T00:00:00Z
pub(super) const NOW_MS: u64 = 1_369_353_600_000;
const BUCKET_HOST: &str = "examplebucket.s3.amazonaws.com";

/// A request in the making.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
}

impl Sent {
    pub(super) fn new(method: Method, target: &str, headers: &[(&str, &str)]) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut sent = Self { method, path: path.to_owned(), query: query.to_owned(), headers: HeaderMap::new() };
        headers.iter().for_each(|(name, value)| sent.set(name, value));
        sent
    }

    /// GET Object of the documentation, signed.
    pub(super) fn get_object() -> Self {
        let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        let signed = "host;range;x-amz-content-sha256;x-amz-date";
        Self::new(
            Method::GET,
            "/test.txt",
            &[
                ("host", BUCKET_HOST),
                ("range", "bytes=0-9"),
                ("x-amz-content-sha256", EMPTY),
                ("x-amz-date", "20130524T000000Z"),
                ("authorization", &authorization(signed, signature)),
            ],
        )
    }

    /// The presigned URL of the documentation.
    pub(super) fn presigned() -> Self {
        let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
            &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
            &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
            &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        Self::new(Method::GET, &format!("/test.txt?{query}"), &[("host", BUCKET_HOST)])
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(super) fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.query.contains(from));
        self.query = self.query.replace(from, to);
        self
    }

    pub(super) fn replace_authorization(self, from: &str, to: &str) -> Self {
        let old = self.headers["authorization"].to_str().unwrap().to_owned();
        assert!(old.contains(from));
        self.with("authorization", &old.replace(from, to))
    }

    pub(super) fn parse_at(&self, now_ms: u64) -> Result<Parsed, AuthError> {
        let head = RequestHead {
            method: &self.method,
            raw_path: &self.path,
            raw_query: &self.query,
            headers: &self.headers,
            bucket_of_host: "",
        };
        parse(&head, &Rules::s3("us-east-1"), now_ms)
    }

    pub(super) fn signed(&self) -> Result<Box<SignedRequest>, AuthError> {
        match self.parse_at(NOW_MS)? {
            Parsed::Signed(signed) => Ok(signed),
            Parsed::Anonymous(_) => panic!("the signature was not seen"),
        }
    }

    pub(super) fn verify(&self) -> Result<Payload, AuthError> {
        let signed = self.signed()?;
        assert_eq!(signed.access_key(), ACCESS_KEY);
        signed.verify(SECRET_KEY)
    }

    pub(super) fn sign(mut self, body_hash: &str) -> Self {
        let credentials = Credentials { access_key: ACCESS_KEY, secret_key: SECRET_KEY };
        let request =
            Unsigned { method: &self.method, raw_path: &self.path, raw_query: &self.query, headers: &self.headers };
        let rules = Rules::s3("us-east-1");
        let added = sign::sign_headers(&request, body_hash, credentials, &rules, NOW_MS).unwrap();
        self.headers.extend(added);
        self
    }

    #[track_caller]
    pub(super) fn is_refused(&self, code: Code, message: &str) -> S3Error {
        let error = S3Error::from(self.verify().expect_err("it was accepted"));
        assert_eq!(error.code, code, "{error}");
        assert!(error.message().contains(message), "{error}");
        error
    }
}

pub(super) fn authorization(signed_headers: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,\
         SignedHeaders={signed_headers},Signature={signature}"
    )
}

pub(super) fn detail<'a>(error: &'a S3Error, name: &str) -> &'a str {
    error.details.iter().find(|(detail, _)| *detail == name).map(|(_, value)| value.as_str()).unwrap_or_default()
}

#[test]
fn the_documented_get_object_is_accepted() {
    assert!(matches!(Sent::get_object().verify(), Ok(Payload::Sha256(hash)) if hex::encode(hash) == EMPTY));
}

#[test]
fn the_documented_put_object_is_accepted() {
    let hash = sign::payload_hash(b"Welcome to Amazon S3.");
    let put = Sent::new(
        Method::PUT,
        "/test%24file.text",
        &[
            ("host", BUCKET_HOST),
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ],
    )
    .sign(&hash);
    let expected = authorization(
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    // The documentation writes no space after the commas; both are accepted.
    assert_eq!(put.headers["authorization"].to_str().unwrap().replace(", ", ","), expected);
    assert!(put.verify().is_ok());
    assert!(put.with("authorization", &expected).verify().is_ok());
}

#[test]
fn the_documented_bucket_requests_are_accepted() {
    for (target, signature) in [
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ("/?prefix=J&max-keys=2", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ] {
        let headers = [("host", BUCKET_HOST), ("x-amz-content-sha256", EMPTY), ("x-amz-date", "20130524T000000Z")];
        let get = Sent::new(Method::GET, target, &headers)
            .with("authorization", &authorization("host;x-amz-content-sha256;x-amz-date", signature));
        assert!(get.verify().is_ok(), "{target}");
    }
}

#[test]
fn the_documented_presigned_url_is_accepted_and_made() {
    let sent = Sent::presigned();
    assert!(matches!(sent.verify(), Ok(Payload::Unsigned)));
    let request = Unsigned { method: &sent.method, raw_path: "/test.txt", raw_query: "", headers: &sent.headers };
    let credentials = Credentials { access_key: ACCESS_KEY, secret_key: SECRET_KEY };
    assert_eq!(sign::presign(&request, credentials, &Rules::s3("us-east-1"), NOW_MS, 86400), sent.query);
}

const CHUNKS: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];

const CHUNKS_BEFORE_TRAILER: [&str; 3] = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
];

/// 65 KiB of `a` in two chunks, then what follows the last chunk's line.
fn chunked_body(signatures: [&str; 3], end: &str) -> Vec<u8> {
    let [first, second, last] = signatures;
    let mut body = format!("10000;chunk-signature={first}\r\n").into_bytes();
    body.extend([b'a'; 65536]);
    body.extend(format!("\r\n400;chunk-signature={second}\r\n").into_bytes());
    body.extend([b'a'; 1024]);
    body.extend(format!("\r\n0;chunk-signature={last}\r\n{end}").into_bytes());
    body
}

fn documented_upload(body_hash: &str, signed: &str, signature: &str) -> Sent {
    Sent::new(
        Method::PUT,
        "/examplebucket/chunkObject.txt",
        &[
            ("host", "s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", body_hash),
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("content-length", "66824"),
            ("authorization", &authorization(signed, signature)),
        ],
    )
}

fn decode(payload: Payload, body: Vec<u8>) -> Result<(usize, HeaderMap), AuthError> {
    let Payload::Chunked(chunked) = payload else { panic!("not chunked: {payload:?}") };
    let mut decoder = Decoder::new(chunked);
    let mut out = Vec::new();
    decoder.push(Bytes::from(body), &mut out)?;
    assert!(out.iter().all(|piece| piece.iter().all(|byte| *byte == b'a')));
    Ok((out.iter().map(Bytes::len).sum(), decoder.finish()?))
}

#[test]
fn the_documented_chunked_upload_is_accepted() {
    let put = documented_upload(
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
         x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    );
    let payload = put.verify().unwrap();
    for end in ["\r\n", ""] {
        let body = chunked_body(CHUNKS, end);
        let (length, trailers) = decode(payload.clone(), body).unwrap();
        assert_eq!((length, trailers.len()), (66560, 0));
    }
    let mut altered = CHUNKS;
    altered[1] = CHUNKS[0];
    assert_eq!(decode(payload, chunked_body(altered, "\r\n")), Err(AuthError::BodySignatureDoesNotMatch));
}

#[test]
fn the_documented_upload_with_a_trailer_is_accepted() {
    let put = documented_upload(
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;\
         x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    )
    .with("x-amz-trailer", "x-amz-checksum-crc32c");
    let payload = put.verify().unwrap();
    let signature = "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
    for end in [
        format!("x-amz-checksum-crc32c:sOO8/Q==\r\n{signature}\r\n\r\n"),
        // As it is printed in the documentation, as some servers want it, and as some clients end it.
        format!("x-amz-checksum-crc32c:sOO8/Q==\n\r\n{signature}\r\n"),
        format!("\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n{signature}\r\n"),
        format!("x-amz-checksum-crc32c: sOO8/Q== \r\n{signature}"),
    ] {
        let (length, trailers) = decode(payload.clone(), chunked_body(CHUNKS_BEFORE_TRAILER, &end)).unwrap();
        assert_eq!(length, 66560);
        assert_eq!(trailers["x-amz-checksum-crc32c"], "sOO8/Q==", "{end:?}");
    }
    let altered = chunked_body(CHUNKS_BEFORE_TRAILER, &format!("x-amz-checksum-crc32c:sOO8/A==\r\n{signature}\r\n"));
    assert_eq!(decode(payload, altered), Err(AuthError::BodySignatureDoesNotMatch));
}

/// Where debug code is not measured: the best of some rounds, so that a busy machine does not fail it.
#[cfg(not(debug_assertions))]
#[test]
fn a_small_get_is_verified_in_less_than_20_microseconds() {
    let get = Sent::get_object();
    let rounds = (0..20).map(|_| {
        let start = std::time::Instant::now();
        for _ in 0..500 {
            assert!(get.verify().is_ok());
        }
        start.elapsed() / 500
    });
    let best = rounds.min().unwrap();
    println!("verified in {best:?}");
    assert!(best < std::time::Duration::from_micros(20), "{best:?}");
}
