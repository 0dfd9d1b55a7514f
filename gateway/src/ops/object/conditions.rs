//! Conditions of requests. Those of reads are judged here, on the record that one query gave; those of writes are
//! only taken from the headers here, and judged where the command is applied.
//!
//! Sources: RFC 9110, section 13; Amazon S3 API Reference, GetObject, CopyObject, PutObject, DeleteObject.

use cairn_storage::meta::command::WriteCondition;
use cairn_storage::meta::record::{ETag, VersionRecord};
use cairn_storage::types::UnixMillis;
use http::header::{ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};

use super::dates::parse_http_date;
use crate::error::{Code, S3Error};
use crate::xml::{http_date, trim};

/// An ETag that no object has. A condition on a text that is no ETag of ours must fail like any other that does not
/// match: 412 where there is an object, 404 where there is none.
const NOBODYS_ETAG: ETag = ETag { md5: [0; 16], parts: Some(0) };

/// An ETag as a client writes it: with or without quotes, weak or not. `None` where it is none of ours.
pub fn parse_etag(text: &str) -> Option<ETag> {
    let text = unquote(trim(text));
    let (digest, parts) = match text.split_once('-') {
        Some((digest, parts)) => (digest, Some(parts.parse().ok()?)),
        None => (text, None),
    };
    let mut md5 = [0; 16];
    hex::decode_to_slice(digest, &mut md5).ok()?;
    Some(ETag { md5, parts })
}

/// The same for a condition: what is no ETag of ours becomes one that never matches.
pub fn etag_or_nobodys(text: &str) -> ETag {
    parse_etag(text).unwrap_or(NOBODYS_ETAG)
}

/// An ETag as answers show it, in quotes.
pub fn quoted(etag: &ETag) -> String {
    format!("\"{etag}\"")
}

/// The condition of a PutObject, CompleteMultipartUpload or CopyObject.
///
/// # Errors
/// `NotImplemented` for what S3 does not take on a write: both headers, a list, `If-None-Match` with an ETag.
pub fn write_condition(headers: &HeaderMap) -> Result<WriteCondition, S3Error> {
    let not_implemented = |name: &str| {
        let more = format!("We don't accept the provided value of {name} header for this API");
        S3Error::from(Code::NotImplemented).detail("Header", name).detail("additionalMessage", more)
    };
    match (value(headers, IF_MATCH), value(headers, IF_NONE_MATCH)) {
        (None, None) => Ok(WriteCondition::Always),
        (None, Some(text)) if is_any(text) => Ok(WriteCondition::Absent),
        (Some(text), None) if is_any(text) => Ok(WriteCondition::Exists),
        (Some(text), None) if !text.contains(',') => Ok(WriteCondition::ETag(etag_or_nobodys(text))),
        (Some(_), None) => Err(not_implemented("If-Match")),
        (None, Some(_)) => Err(not_implemented("If-None-Match")),
        (Some(_), Some(_)) => Err(S3Error::from(Code::NotImplemented)
            .detail("Header", "If-Match,If-None-Match")
            .detail("additionalMessage", "Multiple conditional request headers present in the request")),
    }
}

/// The condition of a DeleteObject, which knows `If-Match` only.
///
/// # Errors
/// `NotImplemented` for a list and for `If-None-Match`.
pub fn delete_condition(headers: &HeaderMap) -> Result<WriteCondition, S3Error> {
    match write_condition(headers)? {
        WriteCondition::Absent => Err(Code::NotImplemented.into()),
        condition => Ok(condition),
    }
}

/// The four conditions of a read, or the four `x-amz-copy-source-if-*` of a copy.
#[derive(Debug, Default)]
struct ReadConditions<'a> {
    matches: Option<&'a str>,
    none_match: Option<&'a str>,
    modified_since: Option<&'a str>,
    unmodified_since: Option<&'a str>,
}

/// Which condition did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    Match,
    NoneMatch,
    ModifiedSince,
    UnmodifiedSince,
}

impl ReadConditions<'_> {
    /// S3's precedence: an `If-Match` that holds makes `If-Unmodified-Since` void, an `If-None-Match` that holds
    /// `If-Modified-Since`. A date that cannot be read, or `If-Modified-Since` in the future, is as if not given.
    fn judge(&self, etag: &ETag, modified_ms: UnixMillis, now_ms: UnixMillis) -> Result<(), Failed> {
        let modified = seconds(modified_ms);
        if let Some(list) = self.matches {
            if !list_has(list, etag, false) {
                return Err(Failed::Match);
            }
        } else if let Some(date) = self.unmodified_since.and_then(parse_http_date)
            && modified > date
        {
            return Err(Failed::UnmodifiedSince);
        }
        if let Some(list) = self.none_match {
            if list_has(list, etag, true) {
                return Err(Failed::NoneMatch);
            }
        } else if let Some(date) = self.modified_since.and_then(parse_http_date)
            && date <= seconds(now_ms)
            && modified <= date
        {
            return Err(Failed::ModifiedSince);
        }
        Ok(())
    }
}

/// Judges the conditions of a GET or HEAD.
///
/// # Errors
/// `PreconditionFailed`, or `NotModified` with the headers that a 304 carries.
pub fn judge_read(headers: &HeaderMap, record: &VersionRecord, now_ms: UnixMillis) -> Result<(), S3Error> {
    let conditions = ReadConditions {
        matches: value(headers, IF_MATCH),
        none_match: value(headers, IF_NONE_MATCH),
        modified_since: value(headers, IF_MODIFIED_SINCE),
        unmodified_since: value(headers, IF_UNMODIFIED_SINCE),
    };
    conditions.judge(&record.etag, record.modified_ms, now_ms).map_err(|failed| match failed {
        Failed::Match => precondition_failed("If-Match"),
        Failed::UnmodifiedSince => precondition_failed("If-Unmodified-Since"),
        Failed::NoneMatch | Failed::ModifiedSince => not_modified(record),
    })
}

/// Judges the conditions of a copy on its source.
///
/// # Errors
/// `PreconditionFailed`: a copy has no 304.
pub fn judge_copy_source(headers: &HeaderMap, record: &VersionRecord, now_ms: UnixMillis) -> Result<(), S3Error> {
    let conditions = ReadConditions {
        matches: value(headers, "x-amz-copy-source-if-match"),
        none_match: value(headers, "x-amz-copy-source-if-none-match"),
        modified_since: value(headers, "x-amz-copy-source-if-modified-since"),
        unmodified_since: value(headers, "x-amz-copy-source-if-unmodified-since"),
    };
    conditions.judge(&record.etag, record.modified_ms, now_ms).map_err(|failed| {
        precondition_failed(match failed {
            Failed::Match => "x-amz-copy-source-If-Match",
            Failed::NoneMatch => "x-amz-copy-source-If-None-Match",
            Failed::ModifiedSince => "x-amz-copy-source-If-Modified-Since",
            Failed::UnmodifiedSince => "x-amz-copy-source-If-Unmodified-Since",
        })
    })
}

/// Whether a `Range` counts: there is no `If-Range`, or it names this very version.
pub fn range_counts(headers: &HeaderMap, record: &VersionRecord) -> bool {
    let Some(text) = value(headers, IF_RANGE) else { return true };
    match parse_http_date(text) {
        Some(date) => date == seconds(record.modified_ms),
        None => !trim(text).starts_with("W/") && unquote(trim(text)) == record.etag.to_string(),
    }
}

fn precondition_failed(condition: &str) -> S3Error {
    S3Error::from(Code::PreconditionFailed).detail("Condition", condition)
}

/// What a 304 carries, as of RFC 9110, section 15.4.5.
fn not_modified(record: &VersionRecord) -> S3Error {
    let mut error = S3Error::from(Code::NotModified).header(LAST_MODIFIED, http_date(record.modified_ms));
    if let Ok(etag) = HeaderValue::try_from(quoted(&record.etag)) {
        error = error.header(ETAG, etag);
    }
    let kept = [
        (http::header::CACHE_CONTROL, &record.attributes.cache_control),
        (http::header::EXPIRES, &record.attributes.expires),
    ];
    for (name, text) in kept {
        if let Some(text) = text.as_deref().and_then(super::attributes::as_sent) {
            error = error.header(name, text);
        }
    }
    error
}

fn seconds(at: UnixMillis) -> i64 {
    i64::try_from(at / 1000).unwrap_or(i64::MAX)
}

/// A condition that is no text must fail like one that does not match, and is never dropped.
fn value(headers: &HeaderMap, name: impl http::header::AsHeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn is_any(text: &str) -> bool {
    trim(text) == "*"
}

/// Without a weakness mark and without the quotes.
fn unquote(text: &str) -> &str {
    let text = text.strip_prefix("W/").unwrap_or(text);
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// Whether a list of ETags, or `*`, names this one. Weak ones count only where the comparison is weak.
fn list_has(list: &str, etag: &ETag, weak: bool) -> bool {
    let etag = etag.to_string();
    is_any(list)
        || list.split(',').map(str::trim).any(|item| (weak || !item.starts_with("W/")) && unquote(item) == etag)
}

#[cfg(test)]
#[path = "conditions_test.rs"]
mod tests;
