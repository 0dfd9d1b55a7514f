//! Signature version 2, which clients still sign URLs with by default: in the query (`AWSAccessKeyId`, `Expires`,
//! `Signature`) and in the header (`Authorization: AWS KEY:SIGNATURE`). Knows no users and no clock.
//!
//! The host is not signed, but the bucket that it names is: the canonical resource begins with the bucket, wherever it
//! comes from. Of the query only subresources are signed, so that each parameter that makes another operation of a
//! request is taken for one.
//!
//! Source: Amazon S3 Developer Guide, "Signing and Authenticating REST Requests".

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::RequestHead;
use super::date::Moment;
use super::error::{AuthError, Place};
use super::query;
use super::verify::{MAX_SKEW_MS, header_moment};

/// The scheme of the header.
pub(super) const SCHEME: &str = "AWS";

const KEY: &str = "AWSAccessKeyId";
const EXPIRES: &str = "Expires";
const SIGNATURE: &str = "Signature";

/// Parameters that are part of the resource: those that the guide names, and those that S3 got since. The overrides of
/// headers of the answer are sorted among them, with whichever other there are.
const SUBRESOURCES: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "attributes",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// What a request says of itself, and what its signature must be of.
pub(super) struct Claim {
    pub access_key: String,
    pub signature: String,
    /// What clients sign: they differ in the `=` of a subresource without a value, and in the slash behind a bucket.
    pub strings: Vec<Vec<u8>>,
    /// Parameters of a presigned query that count as headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub place: Place,
}

/// Whether a parameter is signed as part of the resource.
pub(super) fn is_subresource(name: &str) -> bool {
    SUBRESOURCES.contains(&name)
}

/// `credentials` is what follows `AWS ` in the header.
pub(super) fn parse_header(head: &RequestHead, credentials: &str, now_ms: u64) -> Result<Claim, AuthError> {
    let (access_key, signature) = credentials.trim().rsplit_once(':').ok_or(AuthError::InvalidVersion2)?;
    if access_key.is_empty() || signature.is_empty() {
        return Err(AuthError::InvalidVersion2);
    }
    let moment = header_moment(head.headers).ok_or(AuthError::NoDate)?;
    if moment.ms().abs_diff(now_ms) > MAX_SKEW_MS {
        return Err(AuthError::TimeTooSkewed { request_ms: moment.ms(), now_ms });
    }
    check_subresources(head.raw_query, Place::Header)?;
    // `x-amz-date` is signed among its like.
    let has_amz_date = head.headers.get("x-amz-date").is_some_and(|value| !value.is_empty());
    let date = if has_amz_date { &b""[..] } else { value(head.headers, header::DATE) };
    Ok(Claim {
        access_key: access_key.to_owned(),
        signature: signature.to_owned(),
        strings: strings_to_sign(head, date, &[]),
        headers: Vec::new(),
        place: Place::Header,
    })
}

pub(super) fn parse_query(head: &RequestHead, now_ms: u64) -> Result<Claim, AuthError> {
    let (mut access_key, mut signature, mut expires) = (None, None, None);
    let mut headers = Vec::new();
    for (name, value) in query::pairs(head.raw_query) {
        let Ok(name) = std::str::from_utf8(&name) else { continue };
        let slot = match name {
            KEY => &mut access_key,
            SIGNATURE => &mut signature,
            EXPIRES => &mut expires,
            name => {
                headers.extend(as_header(name, &value)?);
                continue;
            }
        };
        if slot.replace(String::from_utf8_lossy(&value).into_owned()).is_some() {
            return Err(AuthError::malformed(Place::Query, "an authentication parameter is there twice."));
        }
    }
    let (Some(access_key), Some(signature), Some(expires)) = (access_key, signature, expires) else {
        return Err(AuthError::IncompleteVersion2);
    };
    check_subresources(head.raw_query, Place::Query)?;
    if !expires.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AuthError::InvalidExpires(expires));
    }
    let expires_at = expires.parse::<u64>().map_err(|_| AuthError::InvalidExpires(expires.clone()))?;
    if now_ms / 1000 > expires_at {
        let expires_at_ms = Moment::from_ms(expires_at.saturating_mul(1000)).map_or(0, Moment::ms);
        return Err(AuthError::Expired { expires_seconds: None, expires_at_ms, now_ms });
    }
    Ok(Claim {
        strings: strings_to_sign(head, expires.as_bytes(), &headers),
        access_key,
        signature,
        headers,
        place: Place::Query,
    })
}

/// The parameters of a presigned query that stand for headers.
fn as_header(name: &str, value: &[u8]) -> Result<Option<(HeaderName, HeaderValue)>, AuthError> {
    let is_amz = name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
    if !is_amz && !matches!(name, "content-type" | "content-md5") {
        return Ok(None);
    }
    let bad = || AuthError::BadHeader(name.to_owned());
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
    Ok(Some((header, HeaderValue::from_bytes(value).map_err(|_| bad())?)))
}

/// Whether the secret has made this signature of one of the strings.
pub(super) fn is_signature(signature: &str, strings: &[Vec<u8>], secret: &str) -> bool {
    strings.iter().any(|string| {
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return false };
        mac.update(string);
        let expected = BASE64.encode(mac.finalize().into_bytes());
        expected.as_bytes().ct_eq(signature.as_bytes()).into()
    })
}

fn strings_to_sign(head: &RequestHead, date: &[u8], of_query: &[(HeaderName, HeaderValue)]) -> Vec<Vec<u8>> {
    let mut start = Vec::with_capacity(256);
    let of_query_or_head = |name: HeaderName| match head.headers.get(&name) {
        Some(_) => value(head.headers, name),
        None => of_query.iter().find(|(given, _)| *given == name).map_or(&b""[..], |(_, value)| value.as_bytes()),
    };
    let content_md5 = of_query_or_head(HeaderName::from_static("content-md5"));
    let content_type = of_query_or_head(header::CONTENT_TYPE);
    for line in [head.method.as_str().as_bytes(), content_md5, content_type, date] {
        start.extend_from_slice(line.trim_ascii());
        start.push(b'\n');
    }
    for (name, value) in amz_headers(head.headers, of_query) {
        start.extend_from_slice(name.as_bytes());
        start.push(b':');
        start.extend_from_slice(&value);
        start.push(b'\n');
    }
    if !head.bucket_of_host.is_empty() {
        start.push(b'/');
        start.extend_from_slice(head.bucket_of_host.as_bytes());
    }
    start.extend_from_slice(head.raw_path.as_bytes());

    let mut strings = Vec::with_capacity(4);
    let ends = if is_bucket_alone(head) { &["", "/"][..] } else { &[""] };
    for end in ends {
        for keeps_equals in [true, false] {
            let mut string = start.clone();
            string.extend_from_slice(end.as_bytes());
            write_subresources(&mut string, head.raw_query, keeps_equals);
            if !strings.contains(&string) {
                strings.push(string);
            }
        }
    }
    strings
}

/// Whether the path is a bucket without a slash behind it. Clients sign it with one: it is the same resource.
fn is_bucket_alone(head: &RequestHead) -> bool {
    match head.raw_path.strip_prefix('/') {
        Some(bucket) => head.bucket_of_host.is_empty() && !bucket.is_empty() && !bucket.contains(['/', '%']),
        None => head.raw_path.is_empty(),
    }
}

/// All `x-amz-*` headers, in order, each with its values joined.
fn amz_headers<'a>(headers: &'a HeaderMap, of_query: &'a [(HeaderName, HeaderValue)]) -> BTreeMap<&'a str, Vec<u8>> {
    let mut found: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let of_head = headers.iter();
    let of_query = of_query.iter().map(|(name, value)| (name, value)).filter(|(name, _)| !headers.contains_key(*name));
    for (name, value) in of_head.chain(of_query).filter(|(name, _)| name.as_str().starts_with("x-amz-")) {
        let value = value.as_bytes().trim_ascii();
        found
            .entry(name.as_str())
            .and_modify(|joined| {
                joined.push(b',');
                joined.extend_from_slice(value);
            })
            .or_insert_with(|| value.to_vec());
    }
    found
}

/// The subresources of a query, decoded.
fn subresources(raw_query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Option<Cow<'_, [u8]>>)> {
    query::pairs_as_sent(raw_query).filter(|(name, _)| is_named(name))
}

fn is_named(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(is_subresource)
}

/// Subresources are signed decoded, so that an escaped `&` or `=` is signed like one that separates. Whoever has a
/// signature must not make another request of it: a value that could be the next subresource, too, is refused.
fn check_subresources(raw_query: &str, place: Place) -> Result<(), AuthError> {
    let name_of = |piece: &[u8]| piece.split(|byte| *byte == b'=').next().is_some_and(is_named);
    let is_ambiguous = |value: Cow<'_, [u8]>| value.split(|byte| *byte == b'&').skip(1).any(name_of);
    if subresources(raw_query).filter_map(|(_, value)| value).any(is_ambiguous) {
        return Err(AuthError::malformed(place, "a parameter could be taken for another one as it is signed."));
    }
    Ok(())
}

/// `?name=value&...` of the subresources, sorted by name, decoded.
fn write_subresources(out: &mut Vec<u8>, raw_query: &str, keeps_equals: bool) {
    let mut named: Vec<_> = subresources(raw_query).collect();
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (index, (name, value)) in named.iter().enumerate() {
        out.push(if index == 0 { b'?' } else { b'&' });
        out.extend_from_slice(name);
        if let Some(value) = value.as_ref().filter(|value| keeps_equals || !value.is_empty()) {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

fn value(headers: &HeaderMap, name: HeaderName) -> &[u8] {
    headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default()
}

#[cfg(test)]
#[path = "version2_test.rs"]
mod tests;
