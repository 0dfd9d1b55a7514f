//! The client's side of a signature: for the admin commands of the command line, and for tests. Sends nothing.

use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::Rules;
use super::canonical::Canonical;
use super::date::Moment;
use super::query;
use super::signature::{self, ALGORITHM, Scope};

/// What stands for the hash of a body that is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// An access key and its secret.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    pub access_key: &'a str,
    pub secret_key: &'a str,
}

impl std::fmt::Debug for Credentials<'_> {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// The hexadecimal SHA-256 of a body, as `x-amz-content-sha256` takes it.
pub fn payload_hash(body: &[u8]) -> String {
    signature::sha256_hex(body)
}

/// A request that is to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    pub method: &'a Method,
    /// As it will be sent, percent-encoded.
    pub raw_path: &'a str,
    /// As it will be sent, without the `?`.
    pub raw_query: &'a str,
    /// All that is to be signed, and `host` above all, just as the client will send it.
    pub headers: &'a HeaderMap,
}

/// The headers that make a request a signed one, to be added to it: `x-amz-date`, `x-amz-content-sha256` (where the
/// service has it) and `authorization`. `payload_hash` is that of the body, or [`UNSIGNED_PAYLOAD`].
///
/// Errors: the access key or the region cannot be in a header.
pub fn sign_headers(
    request: &Unsigned,
    payload_hash: &str,
    credentials: Credentials,
    rules: &Rules,
    now_ms: u64,
) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidHeaderValue> {
    let (timestamp, scope) = time_and_scope(rules, now_ms);
    let mut added = vec![(HeaderName::from_static("x-amz-date"), HeaderValue::from_str(&timestamp)?)];
    if rules.assumed_body_hash.is_none() {
        added.push((HeaderName::from_static("x-amz-content-sha256"), HeaderValue::from_str(payload_hash)?));
    }
    let mut headers = request.headers.clone();
    for (name, value) in &added {
        headers.insert(name, value.clone());
    }
    let signed_headers = signed_list(&headers);
    let canonical = Canonical {
        method: request.method.as_str(),
        raw_path: request.raw_path,
        normalise_path: rules.normalise_path,
        raw_query: request.raw_query,
        skip_parameter: None,
        headers: &headers,
        signed_headers: &signed_headers,
        body_hash: payload_hash,
    };
    let signature = sign(&canonical, &timestamp, &scope, credentials);
    let mut value = HeaderValue::from_str(&format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed_headers}, Signature={signature}",
        credentials.access_key
    ))?;
    value.set_sensitive(true);
    added.push((header::AUTHORIZATION, value));
    Ok(added)
}

/// The whole query of a presigned URL: the request's own, then the parameters of the signature. Good from `now_ms` for
/// so many seconds, at most a week. The body is not signed, unless `rules` assume a hash.
pub fn presign(
    request: &Unsigned,
    credentials: Credentials,
    rules: &Rules,
    now_ms: u64,
    expires_seconds: u64,
) -> String {
    let (timestamp, scope) = time_and_scope(rules, now_ms);
    let signed_headers = signed_list(request.headers);
    let mut query = request.raw_query.to_owned();
    let credential = format!("{}/{scope}", credentials.access_key);
    let expires = expires_seconds.to_string();
    for (name, value) in [
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", &timestamp),
        ("X-Amz-Expires", &expires),
        ("X-Amz-SignedHeaders", &signed_headers),
    ] {
        append(&mut query, name, value);
    }
    let canonical = Canonical {
        method: request.method.as_str(),
        raw_path: request.raw_path,
        normalise_path: rules.normalise_path,
        raw_query: &query,
        skip_parameter: None,
        headers: request.headers,
        signed_headers: &signed_headers,
        body_hash: rules.assumed_body_hash.as_deref().unwrap_or(UNSIGNED_PAYLOAD),
    };
    let signature = sign(&canonical, &timestamp, &scope, credentials);
    append(&mut query, "X-Amz-Signature", &signature);
    query
}

/// A text as it may stand in a query, or between the slashes of a path.
pub fn uri_encode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 8);
    text.bytes().for_each(|byte| query::write_encoded(&mut out, byte));
    String::from_utf8_lossy(&out).into_owned()
}

fn append(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(name);
    query.push('=');
    query.push_str(&uri_encode(value));
}

fn time_and_scope(rules: &Rules, now_ms: u64) -> (String, Scope) {
    // Past the year 9999 no signature can be right; an empty time makes one that is refused.
    let timestamp = Moment::from_ms(now_ms).map(Moment::iso_basic).unwrap_or_default();
    let date = timestamp.chars().take(8).collect();
    (timestamp, Scope { date, region: rules.region.clone(), service: rules.service.clone() })
}

fn signed_list(headers: &HeaderMap) -> String {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names.join(";")
}

fn sign(canonical: &Canonical, timestamp: &str, scope: &Scope, credentials: Credentials) -> String {
    let string_to_sign = signature::string_to_sign(timestamp, scope, &canonical.to_bytes());
    let signature = signature::sign(&scope.key(credentials.secret_key), string_to_sign.as_bytes());
    signature.iter().map(|digit| char::from(*digit)).collect()
}
