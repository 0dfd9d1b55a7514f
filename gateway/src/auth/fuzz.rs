//! Signatures: what is signed is taken, and nothing else is taken for it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha1::Sha1;

use super::canonical::{Canonical, Forms};
use super::sign::{Credentials, Unsigned, presign, sign_headers, uri_encode};
use super::{AuthError, Parsed, Payload, Rules, SignedRequest, parse, version2};
use crate::fuzz::edit;
use crate::fuzz::head::{self, Head, parameters, split};
use crate::operation::Target;

pub(super) const KEY: &str = "key/with/slashes";
const SECRET: &str = "a secret";
const CREDENTIALS: Credentials = Credentials { access_key: KEY, secret_key: SECRET };
/// 2023-11-14T22:13:20Z
pub(super) const NOW_MS: u64 = 1_700_000_000_000;
const MINUTE_MS: u64 = 60_000;
/// What a canonical request has as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How long a presigned URL lives.
const EXPIRES_SECONDS: u64 = 60;
/// Parts of the authentication itself, in headers.
const OWN_HEADERS: &[&str] =
    &["authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-trailer", "x-amz-security-token"];
/// The same in queries, in lower case.
const OWN_PARAMETERS: &[&[u8]] = &[b"awsaccesskeyid", b"signature", b"expires"];

/// Heads, each followed by a script of changes to what is made of it.
pub fn seeds() -> Vec<Vec<u8>> {
    let heads = [
        "GET /\nhost: localhost:9000",
        "GET /bucket?list-type=2&prefix=a%2Fb+c&delimiter=/\nhost: localhost\nx-amz-meta-a: b  c\nx-amz-meta-a: d",
        "PUT /b/a//b/../c%20d%C3%A9?partNumber=1&uploadId=abc\nhost: localhost\ncontent-type: text/plain\nexpect: 100-continue",
        "POST /?delete\nhost: bucket.localhost\ncontent-md5: 1B2M2Y8AsgTpgAmY7PhCfg==\nx-amz-acl: private",
        "GET /bucket?acl\nhost: localhost\ndate: Tue, 14 Nov 2023 22:13:20 GMT",
        "GET /b/k?response-content-type=text/plain%26x&response-expires=0&versionId=null\nhost: localhost",
        "GET /b/k?x-amz-meta-a=1&X-Amz-Checksum-Mode=ENABLED\nhost: localhost\nrange: bytes=0-1",
        "GET /b/k?AWSAccessKeyId=key&Expires=1700000060&Signature=abc%3D\nhost: localhost",
        "GET /b/k\nhost: localhost\ndate: Tue, 14 Nov 2023 22:13:20 GMT\nauthorization: AWS key:abc=",
        "GET /b/k\nhost: localhost\nx-amz-date: 20231114T221320Z\nx-amz-content-sha256: UNSIGNED-PAYLOAD\nauthorization: \
         AWS4-HMAC-SHA256 Credential=key/20231114/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00",
        "GET /b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=key%2F20231114%2Fus-east-1%2Fs3%2Faws4_request&\
         X-Amz-Date=20231114T221320Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00\nhost: localhost",
    ];
    let scripts: [&[u8]; 5] =
        [b"", b"\0", b"\0\x04\0\x06\0\0", b"\0\0\0\x05x\0\x01\0\x20\0\0", b"\0\x05\0\x08\x40\x07"];
    heads.iter().flat_map(|head| scripts.map(|script| [head.as_bytes(), script].concat())).collect()
}

fn rules() -> Rules {
    Rules { version2: true, ..Rules::s3("us-east-1") }
}

/// All that a signature of version 4 is of, each part for itself, so that no two requests have the same by chance.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    method: String,
    path: Vec<u8>,
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Meaning {
    fn of<'a>(head: &Head, names: impl IntoIterator<Item = &'a str>, skip: Option<&str>) -> Self {
        let mut parameters = parameters(head.query());
        parameters.retain(|(name, _)| skip.is_none_or(|skip| name != skip.as_bytes()));
        parameters.sort();
        let path = if head.path().is_empty() { "/" } else { head.path() };
        Self {
            method: head.method.to_string(),
            path: head::decoded(path),
            parameters,
            headers: names.into_iter().map(|name| (name.to_owned(), head::header(&head.headers, name))).collect(),
        }
    }

    /// The canonical request as the documentation spells it out, without a thought for speed.
    fn canonical(&self) -> Vec<u8> {
        let encode = |bytes: &[u8]| percent_encode(bytes, UNRESERVED).to_string();
        let mut query: Vec<_> = self.parameters.iter().map(|(name, value)| (encode(name), encode(value))).collect();
        query.sort();
        let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let path = encode(&self.path).replace("%2F", "/");
        let mut out = [self.method.as_str(), &path, &query.join("&"), ""].join("\n").into_bytes();
        for (name, value) in &self.headers {
            out.extend([name.as_bytes(), b":", value, b"\n"].concat());
        }
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        out.extend_from_slice(format!("\n{}\nUNSIGNED-PAYLOAD", names.join(";")).as_bytes());
        out
    }
}

/// The names of all headers, in order.
fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

fn forms(head: &Head, names: &[&str], skip: Option<&str>) -> Forms {
    let canonical = Canonical {
        method: head.method.as_str(),
        raw_path: head.path(),
        normalise_path: false,
        raw_query: head.query(),
        skip_parameter: skip,
        headers: &head.headers,
        signed_headers: &names.join(";"),
        body_hash: "UNSIGNED-PAYLOAD",
    };
    canonical.forms()
}

/// The canonical form is that of the documentation. Two requests have the same if and only if they mean the same, and what
/// a request is when it is signed as it was sent is no other's.
pub fn canonical_request(data: &[u8]) -> bool {
    let (text, script) = split(data);
    let Some(one) = Head::read(text) else { return false };
    let skip = (script.len() % 2 == 1).then_some("X-Amz-Signature");
    let one_names = names(&one.headers);
    if one_names.is_empty() {
        // No list of signed headers is without the host.
        return false;
    }
    let (one_forms, meaning) = (forms(&one, &one_names, skip), Meaning::of(&one, one_names.iter().copied(), skip));
    let text_of = |forms: &Forms| String::from_utf8_lossy(&forms.canonical).into_owned();
    assert_eq!(text_of(&one_forms), String::from_utf8_lossy(&meaning.canonical()));

    // A canonical form is its own.
    let text = text_of(&one_forms);
    let mut lines = text.split('\n').skip(1);
    let (path, query) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    if path.starts_with('/')
        && let Ok(uri) = target.parse()
    {
        let again = forms(&Head { uri, ..one.clone() }, &one_names, skip);
        assert_eq!(text_of(&again), text);
        assert!(again.as_sent.is_none());
    }

    let mut other = split(data).0.to_vec();
    edit(&mut other, script);
    if let Some(other) = Head::read(&other) {
        let other_names = names(&other.headers);
        let forms = forms(&other, &other_names, skip);
        let same = Meaning::of(&other, other_names.iter().copied(), skip) == meaning;
        assert_eq!(forms.canonical == one_forms.canonical, same, "{}\n{}", text_of(&forms), text);
        assert!(forms.as_sent.is_none() || same || forms.as_sent != one_forms.as_sent);
        assert_ne!(forms.as_sent.as_ref(), Some(&one_forms.canonical));
        assert_ne!(one_forms.as_sent.as_ref(), Some(&forms.canonical));
    }
    true
}

/// What a head claims; `None` without a claim.
fn claim(head: &Head, bucket: &str, now_ms: u64) -> Result<Option<SignedRequest>, AuthError> {
    match parse(&head.as_signed(bucket), &rules(), now_ms)? {
        Parsed::Signed(signed) => Ok(Some(*signed)),
        Parsed::Anonymous(_) => Ok(None),
    }
}

/// Whether the signature is that of our key.
pub(super) fn is_ours(head: &Head, bucket: &str, now_ms: u64) -> Result<Payload, AuthError> {
    match claim(head, bucket, now_ms)? {
        Some(claim) if claim.access_key() == KEY => claim.verify(SECRET),
        _ => Err(AuthError::Truncated),
    }
}

/// The head as it is sent before it is signed; `None` where that could not be.
pub(super) fn unsigned(data: &[u8]) -> Option<Head> {
    let mut head = Head::read(split(data).0)?;
    // Whoever does not know the secret has no signature, whatever is sent.
    if let Ok(Some(claim)) = claim(&head, "", NOW_MS) {
        assert!(claim.verify("a secret that nobody told").is_err());
    }
    OWN_HEADERS.iter().for_each(|name| drop(head.headers.remove(*name)));
    head.headers.entry(header::HOST).or_insert(HeaderValue::from_static("localhost:9000"));
    let is_own = |name: &[u8]| {
        let name = name.to_ascii_lowercase();
        OWN_PARAMETERS.contains(&name.as_slice())
            || name.starts_with(b"x-amz-") && HeaderName::from_bytes(&name).is_err()
    };
    let of_signature: &[&[u8]] = &[
        b"x-amz-algorithm",
        b"x-amz-credential",
        b"x-amz-signedheaders",
        b"x-amz-signature",
        b"x-amz-date",
        b"x-amz-expires",
        b"x-amz-content-sha256",
    ];
    let could_be = |(name, value): &(Vec<u8>, Vec<u8>)| {
        !is_own(name)
            && !of_signature.contains(&name.to_ascii_lowercase().as_slice())
            && HeaderValue::from_bytes(value).is_ok()
    };
    parameters(head.query()).iter().all(could_be).then_some(head)
}

/// The head after the changes that the script asks for; `None` where no server would read it.
fn changed(head: &Head, data: &[u8]) -> Option<Head> {
    let mut text = head.write();
    edit(&mut text, split(data).1);
    Head::read(&text)
}

/// Signs the head, with this for the hash of its body.
#[allow(clippy::expect_used, reason = "this is a test")]
pub(super) fn sign(head: &mut Head, body: &str) {
    let request =
        Unsigned { method: &head.method, raw_path: head.path(), raw_query: head.query(), headers: &head.headers };
    let added = sign_headers(&request, body, CREDENTIALS, &rules(), NOW_MS).expect("all of it can be in a header");
    head.headers.extend(added);
}

#[allow(clippy::expect_used, reason = "this is a test")]
pub fn sigv4_header(data: &[u8]) -> bool {
    let Some(mut head) = unsigned(data) else { return false };
    let bodies = [
        "UNSIGNED-PAYLOAD",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    ];
    sign(&mut head, bodies[data.len() % bodies.len()]);

    let payload = is_ours(&head, "", NOW_MS).expect("what is signed is taken");
    let kind = match payload {
        Payload::Unsigned => 0,
        Payload::Sha256(_) => 1,
        Payload::Chunked(payload) => {
            if payload.is_signed() {
                2
            } else {
                3
            }
        }
    };
    assert_eq!(kind, [0, 1, 2, 3, 2][data.len() % bodies.len()]);
    for skew in [16 * MINUTE_MS, 24 * 60 * MINUTE_MS] {
        assert!(is_ours(&head, "", NOW_MS + skew).is_err() && is_ours(&head, "", NOW_MS - skew).is_err());
    }

    let signed: Vec<&str> = names(&head.headers).into_iter().filter(|name| *name != "authorization").collect();
    if let Some(other) = changed(&head, data)
        && is_ours(&other, "", NOW_MS).is_ok()
    {
        let meaning = |head| Meaning::of(head, signed.iter().copied(), None);
        assert_eq!(meaning(&other), meaning(&head), "more than one request for one signature");
        let added = names(&other.headers).into_iter().find(|name| name.starts_with("x-amz-") && !signed.contains(name));
        assert_eq!(added, None, "a header that is not signed");
    }
    true
}

pub fn sigv4_query(data: &[u8]) -> bool {
    let Some(head) = unsigned(data) else { return false };
    let request =
        Unsigned { method: &head.method, raw_path: head.path(), raw_query: head.query(), headers: &head.headers };
    let query = presign(&request, CREDENTIALS, &rules(), NOW_MS, EXPIRES_SECONDS);
    let Some(head) = head.with_query(&query) else { return false };

    assert!(matches!(is_ours(&head, "", NOW_MS), Ok(Payload::Unsigned)), "what is signed is taken: {head:?}");
    let last_ms = NOW_MS + EXPIRES_SECONDS * 1000;
    assert!(is_ours(&head, "", last_ms).is_ok());
    assert!(matches!(is_ours(&head, "", last_ms + 1), Err(AuthError::Expired { .. })));
    assert!(matches!(is_ours(&head, "", NOW_MS - 16 * MINUTE_MS), Err(AuthError::NotYetValid { .. })));

    let signed = names(&head.headers);
    if let Some(other) = changed(&head, data)
        && is_ours(&other, "", NOW_MS).is_ok()
    {
        let meaning = |head| Meaning::of(head, signed.iter().copied(), Some("X-Amz-Signature"));
        assert_eq!(meaning(&other), meaning(&head), "more than one request for one signature");
        let added = names(&other.headers).into_iter().find(|name| name.starts_with("x-amz-") && !signed.contains(name));
        assert_eq!(added, None, "a header that is not signed");
        let headers = |head| claim(head, "", NOW_MS).ok().flatten().map(|claim| sorted(claim.presigned_headers()));
        assert_eq!(headers(&other), headers(&head));
    }
    true
}

fn sorted(headers: &[(HeaderName, HeaderValue)]) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    all.sort();
    all
}

/// All that a signature of version 2 is of.
#[derive(Debug, PartialEq, Eq)]
struct Meaning2 {
    method: String,
    bucket: String,
    key: String,
    lines: [Vec<u8>; 3],
    amz: BTreeMap<String, Vec<u8>>,
    subresources: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// The bucket that the host names, as the middleware finds it, and what the request is about.
fn target(head: &Head) -> Option<(String, Target)> {
    let host = head.headers.get(header::HOST)?.to_str().ok()?;
    let target = Target::parse(host, head.path(), head.uri.query(), &["localhost".to_owned()]).ok()?;
    Some((if target.virtual_host { target.bucket.clone() } else { String::new() }, target))
}

impl Meaning2 {
    /// `expires` is that of a presigned URL.
    fn of(head: &Head, target: &Target, in_query: bool) -> Self {
        let mut amz: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let of_query: Vec<_> = parameters(if in_query { head.query() } else { "" });
        let of_query = of_query.iter().filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
            (!head.headers.contains_key(&name)).then_some((name, value.as_slice()))
        });
        let of_head = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes()));
        for (name, value) in of_head.chain(of_query.clone()).filter(|(name, _)| name.starts_with("x-amz-")) {
            match amz.get_mut(&name) {
                Some(joined) => *joined = [joined, &b","[..], value.trim_ascii()].concat(),
                None => drop(amz.insert(name, value.trim_ascii().to_vec())),
            }
        }
        let line = |name: &str| {
            let sent = head.headers.get(name).map(HeaderValue::as_bytes);
            let of_query = of_query.clone().find(|(given, _)| given == name).map(|(_, value)| value);
            sent.or(of_query).unwrap_or_default().trim_ascii().to_vec()
        };
        let date = match head.headers.get("x-amz-date") {
            _ if in_query => line("expires"),
            Some(date) if !date.is_empty() => Vec::new(),
            _ => line("date"),
        };
        let mut subresources: Vec<_> = head
            .query()
            .split('&')
            .filter(|piece| !piece.is_empty())
            .collect::<Vec<_>>()
            .iter()
            .map(|piece| match piece.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (*piece, None),
            })
            .map(|(name, value)| (parameter(name), value.map(parameter)))
            .filter(|(name, _)| std::str::from_utf8(name).is_ok_and(version2::is_subresource))
            .collect();
        subresources.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self {
            method: head.method.to_string(),
            bucket: target.bucket.clone(),
            key: target.key.clone(),
            lines: [line("content-md5"), line("content-type"), date],
            amz,
            subresources,
        }
    }

    /// What a client signs, as the guide has it.
    fn string(&self, bucket_of_host: &str, raw_path: &str) -> Vec<u8> {
        let mut out = [self.method.as_bytes(), &self.lines[0], &self.lines[1], &self.lines[2], b""].join(&b'\n');
        for (name, value) in &self.amz {
            out.extend([name.as_bytes(), b":", value, b"\n"].concat());
        }
        if !bucket_of_host.is_empty() {
            out.extend_from_slice(format!("/{bucket_of_host}").as_bytes());
        }
        out.extend_from_slice(raw_path.as_bytes());
        for (index, (name, value)) in self.subresources.iter().enumerate() {
            out.push(if index == 0 { b'?' } else { b'&' });
            out.extend_from_slice(name);
            if let Some(value) = value {
                out.extend_from_slice(&[b"=", &value[..]].concat());
            }
        }
        out
    }

    /// The form in which two requests that are one are equal: a client may leave the `=` of an empty value out.
    fn without_equals(mut self) -> Self {
        self.subresources.iter_mut().for_each(|(_, value)| *value = value.take().filter(|value| !value.is_empty()));
        self
    }
}

fn parameter(raw: &str) -> Vec<u8> {
    head::decoded(&raw.replace('+', "%20"))
}

fn signature2(string: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(string);
    BASE64.encode(mac.finalize().into_bytes())
}

/// Whatever is taken of the changes to a head that was signed is the same request.
fn nothing_else_is_taken(head: &Head, data: &[u8], target_of_head: &Target, in_query: bool) {
    let Some(other) = changed(head, data) else { return };
    let Some((bucket, target_of_other)) = target(&other) else { return };
    let Ok(Some(claim)) = claim(&other, &bucket, NOW_MS) else { return };
    if claim.is_version2() && claim.access_key() == KEY && claim.verify(SECRET).is_ok() {
        let is_in_query = claim.place() == super::Place::Query;
        let meaning = |head, target, in_query| Meaning2::of(head, target, in_query).without_equals();
        let expected = meaning(head, target_of_head, in_query);
        assert_eq!(meaning(&other, &target_of_other, is_in_query), expected, "more than one request for one signature");
    }
}

pub fn sigv2_header(data: &[u8]) -> bool {
    let Some(mut head) = unsigned(data) else { return false };
    let name = if data.len().is_multiple_of(2) { "x-amz-date" } else { "date" };
    head.headers.insert(name, HeaderValue::from_static("Tue, 14 Nov 2023 22:13:20 GMT"));
    let Some((bucket, target)) = target(&head) else { return false };
    let string = Meaning2::of(&head, &target, false).string(&bucket, head.path());
    let Ok(value) = HeaderValue::from_str(&format!("AWS {KEY}:{}", signature2(&string))) else { return false };
    head.headers.insert(header::AUTHORIZATION, value);

    if let Err(error) = is_ours(&head, &bucket, NOW_MS) {
        assert!(is_ambiguous(&head), "what is signed is taken: {error}, {head:?}");
        return false;
    }
    assert!(is_ours(&head, &bucket, NOW_MS + 16 * MINUTE_MS).is_err());
    nothing_else_is_taken(&head, data, &target, false);
    true
}

pub fn sigv2_query(data: &[u8]) -> bool {
    let Some(head) = unsigned(data) else { return false };
    let expires = NOW_MS / 1000 + EXPIRES_SECONDS;
    let separator = if head.query().is_empty() { "" } else { "&" };
    let query = format!("{}{separator}AWSAccessKeyId={}&Expires={expires}", head.query(), uri_encode(KEY));
    let Some(head) = head.with_query(&query) else { return false };
    let Some((bucket, target)) = target(&head) else { return false };
    let string = Meaning2::of(&head, &target, true).string(&bucket, head.path());
    let query = format!("{query}&Signature={}", uri_encode(&signature2(&string)));
    let Some(head) = head.with_query(&query) else { return false };

    if let Err(error) = is_ours(&head, &bucket, NOW_MS) {
        assert!(is_ambiguous(&head), "what is signed is taken: {error}, {head:?}");
        return false;
    }
    let last_ms = expires * 1000 + 999;
    assert!(is_ours(&head, &bucket, last_ms).is_ok());
    assert!(matches!(is_ours(&head, &bucket, last_ms + 1), Err(AuthError::Expired { .. })));
    nothing_else_is_taken(&head, data, &target, true);
    true
}

/// Whether a parameter could be taken for two as it stands in what is signed: that is refused.
fn is_ambiguous(head: &Head) -> bool {
    let is_subresource = |name: &[u8]| std::str::from_utf8(name).is_ok_and(version2::is_subresource);
    let mut decoded = parameters(head.query()).into_iter().filter(|(name, _)| is_subresource(name));
    decoded.any(|(_, value)| {
        let names = value.split(|byte| *byte == b'&').skip(1).map(|piece| piece.split(|byte| *byte == b'=').next());
        names.flatten().any(is_subresource)
    })
}
