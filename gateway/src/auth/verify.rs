//! The server's side of a signature: what a head claims, and whether it holds. Knows no users and no clock.
//!
//! Sources: Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header" and "Authenticating
//! Requests: Using Query Parameters".

use std::borrow::Cow;
use std::collections::HashSet;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use subtle::ConstantTimeEq;

use super::canonical::{Canonical, Forms};
use super::chunked::{Chain, ChunkedPayload};
use super::date::{self, Moment};
use super::error::{AuthError, CREDENTIAL_PREFIX, Mismatch, Place};
use super::query;
use super::signature::{self, ALGORITHM, EMPTY_SHA256, Hex, Scope, TERMINATOR};
use super::{Payload, RequestHead, Rules, version2};

/// How far a request's time may be from ours, either way.
pub(super) const MAX_SKEW_MS: u64 = 15 * 60 * 1000;
/// How long a presigned URL may live: a week.
pub(super) const MAX_EXPIRES_SECONDS: u64 = 7 * 24 * 60 * 60;
/// No client declares more than one.
const MAX_TRAILERS: usize = 16;

const CONTENT_SHA256: &str = "x-amz-content-sha256";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Whose request it is, as far as the request itself says.
#[derive(Debug)]
pub enum Parsed {
    /// It carries no signature. How the body is to be checked.
    Anonymous(Payload),
    /// It carries one, not yet verified.
    Signed(Box<SignedRequest>),
}

/// A request's claim to be of an access key. Owns what it needs, so that a look-up may come between.
pub struct SignedRequest {
    access_key: String,
    signature: String,
    signs: Signs,
    body: Body,
    presigned_headers: Vec<(HeaderName, HeaderValue)>,
    place: Place,
}

/// What a signature is of.
enum Signs {
    Version4 {
        scope: Scope,
        timestamp: String,
        forms: Forms,
    },
    /// One of these strings.
    Version2(Vec<Vec<u8>>),
}

/// What `x-amz-content-sha256` says.
enum Body {
    Unsigned,
    Sha256([u8; 32]),
    Chunked { signed: bool, trailers: Option<Vec<HeaderName>> },
}

impl Body {
    /// How it is to be checked; `chain` begins with the signature of the head.
    fn payload(&self, chain: Option<Chain>) -> Payload {
        match self {
            Self::Unsigned => Payload::Unsigned,
            Self::Sha256(hash) => Payload::Sha256(*hash),
            Self::Chunked { signed, trailers } => {
                Payload::Chunked(ChunkedPayload::new(chain.filter(|_| *signed), trailers.clone()))
            }
        }
    }
}

/// The parts of a signature as they came.
#[derive(Default)]
struct Claim<'a> {
    credential: Option<Cow<'a, str>>,
    signed_headers: Option<Cow<'a, str>>,
    signature: Option<Cow<'a, str>>,
}

/// The authentication parameters of a query.
#[derive(Default)]
struct Presigned<'a> {
    algorithm: Option<Cow<'a, str>>,
    claim: Claim<'a>,
    date: Option<Cow<'a, str>>,
    expires: Option<Cow<'a, str>>,
    content_sha256: Option<Cow<'a, str>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Reads a request's head: all that can be judged without the secret is judged here. `now_ms` is in milliseconds since
/// 1970.
pub fn parse(head: &RequestHead, rules: &Rules, now_ms: u64) -> Result<Parsed, AuthError> {
    let authorization = match head.headers.get(header::AUTHORIZATION) {
        // S3 takes an empty header for none.
        Some(value) => Some(value.to_str().map_err(|_| AuthError::UnknownMechanism)?.trim()).filter(|v| !v.is_empty()),
        None => None,
    };
    let mechanism = query_mechanism(head.raw_query);
    let signed = match (authorization, mechanism) {
        (None, None) => {
            return Ok(Parsed::Anonymous(
                body_without_chain(head.headers.get(CONTENT_SHA256), head.headers)?.payload(None),
            ));
        }
        (Some(_), Some(_)) => return Err(AuthError::TwoMechanisms),
        (None, Some(Mechanism::Version2)) if rules.version2 => {
            from_version2(version2::parse_query(head, now_ms)?, head.headers)?
        }
        (None, Some(Mechanism::Version2)) => return Err(AuthError::UnsupportedMechanism),
        (None, Some(Mechanism::Version4)) => parse_query(head, rules, now_ms)?,
        (Some(authorization), None) => parse_header(head, authorization, rules, now_ms)?,
    };
    Ok(Parsed::Signed(Box::new(signed)))
}

enum Mechanism {
    Version2,
    Version4,
}

/// What kind of signature a query carries, if any.
fn query_mechanism(raw_query: &str) -> Option<Mechanism> {
    let (mut key, mut signature, mut expires) = (false, false, false);
    for (name, _) in query::pairs(raw_query) {
        match &*name {
            b"X-Amz-Algorithm" | b"X-Amz-Credential" | b"X-Amz-Signature" => return Some(Mechanism::Version4),
            b"AWSAccessKeyId" => key = true,
            b"Signature" => signature = true,
            b"Expires" => expires = true,
            _ => {}
        }
    }
    (key || signature && expires).then_some(Mechanism::Version2)
}

fn parse_header(
    head: &RequestHead,
    authorization: &str,
    rules: &Rules,
    now_ms: u64,
) -> Result<SignedRequest, AuthError> {
    let (algorithm, rest) = authorization.split_once([' ', '\t', ',']).unwrap_or((authorization, ""));
    let malformed = |problem: &str| AuthError::malformed(Place::Header, problem);
    if head.headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
        return Err(malformed("there is more than one authorization header."));
    }
    match algorithm {
        ALGORITHM => {}
        version2::SCHEME if rules.version2 => {
            return from_version2(version2::parse_header(head, rest, now_ms)?, head.headers);
        }
        version2::SCHEME | "AWS4-ECDSA-P256-SHA256" => return Err(AuthError::UnsupportedMechanism),
        _ => return Err(AuthError::UnknownMechanism),
    }
    let mut claim = Claim::default();
    for component in rest.split([' ', '\t', ',']).filter(|component| !component.is_empty()) {
        let (name, value) = component.split_once('=').unwrap_or((component, ""));
        let slot = match name {
            "Credential" => &mut claim.credential,
            "SignedHeaders" => &mut claim.signed_headers,
            "Signature" => &mut claim.signature,
            _ => return Err(malformed("the authorization header has an unknown component.")),
        };
        if slot.replace(Cow::Borrowed(value)).is_some() {
            return Err(malformed("a component of the authorization header is there twice."));
        }
    }
    let (Some(credential), Some(signed_headers), Some(signature)) =
        (claim.credential, claim.signed_headers, claim.signature)
    else {
        return Err(malformed(
            "the authorization header requires three components: Credential, SignedHeaders, and Signature.",
        ));
    };
    let moment = header_moment(head.headers).ok_or(AuthError::NoDate)?;
    let (access_key, scope) = parse_credential(&credential, Place::Header, rules)?;
    check_scope_date(&scope, moment, Place::Header)?;
    if moment.ms().abs_diff(now_ms) > MAX_SKEW_MS {
        return Err(AuthError::TimeTooSkewed { request_ms: moment.ms(), now_ms });
    }
    let body_hash = match (head.headers.get(CONTENT_SHA256), &rules.assumed_body_hash) {
        (Some(value), _) if !value.is_empty() => text(value)?,
        (_, Some(assumed)) => assumed,
        // S3 wants the header even so, but curl before 8 never sends it, and signs this hash.
        _ if has_no_body(head.headers) => EMPTY_SHA256,
        _ => return Err(AuthError::NoContentSha256),
    };
    let signed_headers = check_signed_headers(&signed_headers, head.headers, Place::Header)?;
    let canonical = Canonical {
        method: head.method.as_str(),
        raw_path: head.raw_path,
        normalise_path: rules.normalise_path,
        raw_query: head.raw_query,
        skip_parameter: None,
        headers: head.headers,
        signed_headers: &signed_headers,
        body_hash,
    };
    Ok(SignedRequest {
        signs: Signs::Version4 { scope, timestamp: moment.iso_basic(), forms: canonical.forms() },
        access_key,
        signature: check_signature(&signature, Place::Header)?,
        body: parse_body(body_hash, head.headers)?,
        presigned_headers: Vec::new(),
        place: Place::Header,
    })
}

fn parse_query(head: &RequestHead, rules: &Rules, now_ms: u64) -> Result<SignedRequest, AuthError> {
    let malformed = |problem: &str| AuthError::malformed(Place::Query, problem);
    let presigned = read_presigned(head.raw_query)?;
    let (Some(algorithm), Some(credential), Some(signed_headers), Some(signature), Some(date), Some(expires)) = (
        presigned.algorithm,
        presigned.claim.credential,
        presigned.claim.signed_headers,
        presigned.claim.signature,
        presigned.date,
        presigned.expires,
    ) else {
        return Err(malformed(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
             X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
        ));
    };
    if algorithm != ALGORITHM {
        return Err(malformed("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"."));
    }
    let moment = Moment::from_iso_basic(&date)
        .ok_or_else(|| malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"."))?;
    let (access_key, scope) = parse_credential(&credential, Place::Query, rules)?;
    check_scope_date(&scope, moment, Place::Query)?;
    let expires_seconds = parse_expires(&expires)?;
    if moment.ms() > now_ms.saturating_add(MAX_SKEW_MS) {
        return Err(AuthError::NotYetValid { request_ms: moment.ms(), now_ms });
    }
    let expires_at_ms = moment.ms() + expires_seconds * 1000;
    if now_ms > expires_at_ms {
        return Err(AuthError::Expired { expires_seconds: Some(expires_seconds), expires_at_ms, now_ms });
    }
    let body_hash = match (&presigned.content_sha256, head.headers.get(CONTENT_SHA256), &rules.assumed_body_hash) {
        (Some(value), ..) if !value.is_empty() => value,
        (_, Some(value), _) if !value.is_empty() => text(value)?,
        (.., Some(assumed)) => assumed,
        _ => UNSIGNED_PAYLOAD,
    };
    let signed_headers = check_signed_headers(&signed_headers, head.headers, Place::Query)?;
    let canonical = Canonical {
        method: head.method.as_str(),
        raw_path: head.raw_path,
        normalise_path: rules.normalise_path,
        raw_query: head.raw_query,
        skip_parameter: Some("X-Amz-Signature"),
        headers: head.headers,
        signed_headers: &signed_headers,
        body_hash,
    };
    Ok(SignedRequest {
        signs: Signs::Version4 { scope, timestamp: moment.iso_basic(), forms: canonical.forms() },
        access_key,
        signature: check_signature(&signature, Place::Query)?,
        body: parse_body(body_hash, head.headers)?,
        presigned_headers: presigned.headers,
        place: Place::Query,
    })
}

fn from_version2(claim: version2::Claim, headers: &HeaderMap) -> Result<SignedRequest, AuthError> {
    let of_query = claim.headers.iter().find(|(name, _)| name == CONTENT_SHA256).map(|(_, value)| value);
    let body = body_without_chain(headers.get(CONTENT_SHA256).or(of_query), headers)?;
    let version2::Claim { access_key, signature, strings, headers, place } = claim;
    Ok(SignedRequest {
        access_key,
        signature,
        signs: Signs::Version2(strings),
        body,
        presigned_headers: headers,
        place,
    })
}

/// Of a request whose head has no signature of version 4: that would be the first of a chain.
fn body_without_chain(hash: Option<&HeaderValue>, headers: &HeaderMap) -> Result<Body, AuthError> {
    let hash = match hash {
        Some(value) if !value.is_empty() => text(value)?,
        _ => UNSIGNED_PAYLOAD,
    };
    match parse_body(hash, headers)? {
        Body::Chunked { signed: true, .. } => Err(AuthError::BadContentSha256(hash.to_owned())),
        body => Ok(body),
    }
}

fn read_presigned(raw_query: &str) -> Result<Presigned<'_>, AuthError> {
    let mut presigned = Presigned::default();
    for (name, value) in query::pairs(raw_query) {
        let slot = match &*name {
            b"X-Amz-Algorithm" => &mut presigned.algorithm,
            b"X-Amz-Credential" => &mut presigned.claim.credential,
            b"X-Amz-SignedHeaders" => &mut presigned.claim.signed_headers,
            b"X-Amz-Signature" => &mut presigned.claim.signature,
            b"X-Amz-Date" => &mut presigned.date,
            b"X-Amz-Expires" => &mut presigned.expires,
            b"X-Amz-Content-Sha256" => &mut presigned.content_sha256,
            b"X-Amz-Security-Token" => continue,
            other => {
                if other.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"x-amz-")) {
                    let bad = || AuthError::BadHeader(String::from_utf8_lossy(other).into_owned());
                    let name = HeaderName::from_bytes(other).map_err(|_| bad())?;
                    let value = HeaderValue::from_bytes(&value).map_err(|_| bad())?;
                    presigned.headers.push((name, value));
                }
                continue;
            }
        };
        if slot.replace(into_text(value)?).is_some() {
            return Err(AuthError::malformed(Place::Query, "an authentication parameter is there twice."));
        }
    }
    Ok(presigned)
}

fn into_text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, AuthError> {
    let text = match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    };
    text.ok_or_else(|| AuthError::malformed(Place::Query, "an authentication parameter is not UTF-8."))
}

fn text(value: &HeaderValue) -> Result<&str, AuthError> {
    value.to_str().map_err(|_| AuthError::BadContentSha256(String::from_utf8_lossy(value.as_bytes()).into_owned()))
}

/// Whether a head says that no body follows (RFC 9112, 6.3).
fn has_no_body(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.get(header::CONTENT_LENGTH).is_none_or(|length| length.as_bytes() == b"0")
}

/// `x-amz-date` if there is one, else `Date`; both may come in either form.
pub(super) fn header_moment(headers: &HeaderMap) -> Option<Moment> {
    let value = headers.get("x-amz-date").filter(|value| !value.is_empty()).or_else(|| headers.get(header::DATE))?;
    Moment::from_any(value.to_str().ok()?.trim())
}

/// Takes `KEY/20130524/us-east-1/s3/aws4_request` apart. A key may hold slashes itself.
fn parse_credential(credential: &str, place: Place, rules: &Rules) -> Result<(String, Scope), AuthError> {
    let malformed = |problem: String| match place {
        Place::Header => AuthError::malformed(place, problem),
        Place::Query => AuthError::malformed(place, format!("{CREDENTIAL_PREFIX}{problem}")),
    };
    let mut parts = credential.rsplitn(5, '/');
    let (Some(terminator), Some(service), Some(region), Some(date), Some(access_key)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed(
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".".to_owned(),
        ));
    };
    if access_key.is_empty() {
        return Err(malformed("a non-empty Access Key (AKID) must be provided in the credential.".to_owned()));
    }
    if terminator != TERMINATOR {
        return Err(malformed(format!("incorrect terminal \"{terminator}\". This endpoint uses \"{TERMINATOR}\".")));
    }
    if service != rules.service {
        let expected = &rules.service;
        return Err(malformed(format!("incorrect service \"{service}\". This endpoint belongs to \"{expected}\".")));
    }
    if !date::is_day(date) {
        return Err(malformed(format!(
            "incorrect date format \"{date}\". This date in the credential must be in the format \"yyyyMMdd\"."
        )));
    }
    if region != rules.region && !rules.any_region {
        return Err(AuthError::WrongRegion { place, given: region.to_owned(), expected: rules.region.clone() });
    }
    let scope = Scope { date: date.to_owned(), region: region.to_owned(), service: service.to_owned() };
    Ok((access_key.to_owned(), scope))
}

fn check_scope_date(scope: &Scope, moment: Moment, place: Place) -> Result<(), AuthError> {
    let timestamp = moment.iso_basic();
    match timestamp.split_once('T') {
        Some((day, _)) if day == scope.date => Ok(()),
        _ => {
            let given = &scope.date;
            Err(AuthError::malformed(
                place,
                format!(
                    "Invalid credential date \"{given}\". This date is not the same as X-Amz-Date: \"{timestamp}\"."
                ),
            ))
        }
    }
}

fn parse_expires(expires: &str) -> Result<u64, AuthError> {
    let malformed = |problem: &str| AuthError::malformed(Place::Query, problem);
    let seconds: i64 = expires.parse().map_err(|_| malformed("X-Amz-Expires should be a number"))?;
    let seconds = u64::try_from(seconds).map_err(|_| malformed("X-Amz-Expires must be non-negative"))?;
    match seconds {
        0 => Err(malformed("X-Amz-Expires must be at least 1 second")),
        1..=MAX_EXPIRES_SECONDS => Ok(seconds),
        _ => Err(malformed(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds",
        )),
    }
}

/// All that changes what a request means must be signed: the host and each `x-amz-*` header that is there.
/// Returns the list in lower case.
fn check_signed_headers(list: &str, headers: &HeaderMap, place: Place) -> Result<String, AuthError> {
    let list = list.to_ascii_lowercase();
    // The list goes into the canonical form by itself; a line break in it could pass for more than it is. What is named
    // is written there, so that a short list must not name a long header again and again.
    let mut signed = HashSet::new();
    if list.split(';').any(|name| HeaderName::from_bytes(name.as_bytes()).is_err() || !signed.insert(name)) {
        return Err(AuthError::malformed(
            place,
            "SignedHeaders is not a list of distinct header names separated by semicolons.",
        ));
    }
    let mut missing: Vec<&str> = headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-") && !signed.contains(name))
        .collect();
    if !signed.contains("host") {
        missing.push("host");
    }
    drop(signed);
    if missing.is_empty() {
        return Ok(list);
    }
    missing.sort_unstable();
    Err(AuthError::HeadersNotSigned(missing.join(", ")))
}

fn check_signature(signature: &str, place: Place) -> Result<String, AuthError> {
    if signature.is_empty() {
        return Err(AuthError::malformed(place, "a non-empty Signature must be provided."));
    }
    Ok(signature.to_owned())
}

fn parse_body(body_hash: &str, headers: &HeaderMap) -> Result<Body, AuthError> {
    let body = match body_hash {
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => {
            return Ok(Body::Chunked { signed: true, trailers: Some(declared_trailers(headers)?) });
        }
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => {
            return Ok(Body::Chunked { signed: false, trailers: Some(declared_trailers(headers)?) });
        }
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Body::Chunked { signed: true, trailers: None },
        UNSIGNED_PAYLOAD => Body::Unsigned,
        other => {
            let mut hash = [0; 32];
            hex::decode_to_slice(other, &mut hash).map_err(|_| AuthError::BadContentSha256(other.to_owned()))?;
            Body::Sha256(hash)
        }
    };
    if headers.contains_key("x-amz-trailer") {
        // A checksum that is promised and never comes must not go unnoticed.
        return Err(AuthError::MalformedTrailer("x-amz-trailer is there, but x-amz-content-sha256 speaks of none"));
    }
    Ok(body)
}

/// The names in `x-amz-trailer`, in lower case.
fn declared_trailers(headers: &HeaderMap) -> Result<Vec<HeaderName>, AuthError> {
    let bad = || AuthError::BadHeader("x-amz-trailer".to_owned());
    let mut names = Vec::new();
    for value in headers.get_all("x-amz-trailer") {
        for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() {
                continue;
            }
            names.push(HeaderName::from_bytes(name).map_err(|_| bad())?);
            if names.len() > MAX_TRAILERS {
                return Err(bad());
            }
        }
    }
    Ok(names)
}

impl SignedRequest {
    /// Whose signature it claims to be.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Where the signature is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether it is of version 2.
    pub fn is_version2(&self) -> bool {
        matches!(self.signs, Signs::Version2(_))
    }

    /// The `x-amz-*` parameters of a presigned query, which count as headers; without those of the authentication
    /// itself. They are signed if [`SignedRequest::verify`] says so. Empty where the signature is in the header.
    pub fn presigned_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.presigned_headers
    }

    /// Whether the secret has made this signature; if so, how the body is to be checked.
    pub fn verify(&self, secret: &str) -> Result<Payload, AuthError> {
        let mut chained = None;
        match &self.signs {
            Signs::Version4 { scope, timestamp, forms } => {
                let key = scope.key(secret);
                let sign = |form: &[u8]| {
                    let string_to_sign = signature::string_to_sign(timestamp, scope, form);
                    (signature::sign(&key, string_to_sign.as_bytes()), string_to_sign)
                };
                let (mut expected, string_to_sign) = sign(&forms.canonical);
                if !self.is_signature(&expected) {
                    let as_sent = forms.as_sent.as_ref().map(|form| sign(form).0);
                    expected = as_sent
                        .filter(|other| self.is_signature(other))
                        .ok_or_else(|| self.mismatch(string_to_sign, Some(&forms.canonical)))?;
                }
                chained = Some((key, timestamp, scope, expected));
            }
            Signs::Version2(strings) => {
                if !version2::is_signature(&self.signature, strings, secret) {
                    let first = strings.first().map(|string| String::from_utf8_lossy(string).into_owned());
                    return Err(self.mismatch(first.unwrap_or_default(), None));
                }
            }
        }
        let in_chain = matches!(self.body, Body::Chunked { signed: true, .. });
        let chain = chained
            .filter(|_| in_chain)
            .map(|(key, timestamp, scope, expected)| Chain::new(key, timestamp, scope, expected));
        Ok(self.body.payload(chain))
    }

    /// When it was signed, in milliseconds since 1970, where it says so.
    pub fn signed_ms(&self, headers: &HeaderMap) -> Option<u64> {
        match &self.signs {
            Signs::Version4 { timestamp, .. } => Moment::from_any(timestamp),
            Signs::Version2(_) if self.place == Place::Header => header_moment(headers),
            Signs::Version2(_) => None,
        }
        .map(Moment::ms)
    }

    fn is_signature(&self, expected: &Hex) -> bool {
        expected.as_slice().ct_eq(self.signature.as_bytes()).into()
    }

    fn mismatch(&self, string_to_sign: String, canonical: Option<&[u8]>) -> AuthError {
        AuthError::SignatureDoesNotMatch(Box::new(Mismatch {
            access_key: self.access_key.clone(),
            signature_provided: self.signature.clone(),
            string_to_sign,
            canonical_request: canonical.map(|form| String::from_utf8_lossy(form).into_owned()),
        }))
    }
}

impl std::fmt::Debug for SignedRequest {
    /// Without the signature: that of a presigned URL is as good as a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedRequest")
            .field("access_key", &self.access_key)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "verify_test.rs"]
mod tests;
