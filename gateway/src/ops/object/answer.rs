//! What the answers of GetObject and HeadObject have in common: which bytes are asked for, and the headers.

use axum::body::Body;
use cairn_storage::meta::query::{PartOfObject, Wanted};
use cairn_storage::meta::record::{Checksum, ChecksumKind, ETag, VersionRecord};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::attributes;
use super::conditions::quoted;
use super::range::{Span, content_range, parse_range};
use crate::data::checksum;
use crate::error::{Code, S3Error};
use crate::request::{Params, Reply, Request};
use crate::xml::{Document, MAX_PARTS, http_date};

const CHECKSUM_MODE: &str = "x-amz-checksum-mode";
const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
const PARTS_COUNT: HeaderName = HeaderName::from_static("x-amz-mp-parts-count");

/// Which bytes a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Whole,
    /// `Wanted::From`, `Wanted::Between` or `Wanted::Suffix`.
    Range(Wanted),
    Part(u16),
}

impl Asked {
    /// # Errors
    /// `InvalidArgument` for a part number that can be none, `InvalidRequest` for a part and a range at once.
    pub fn from_request(request: &Request) -> Result<Self, S3Error> {
        let range = request.headers.get(RANGE);
        match (request.query.get("partNumber"), range) {
            (Some(_), Some(_)) => Err(S3Error::with(
                Code::InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter",
            )),
            (Some(_), None) => Ok(Self::Part(part_number(&request.query)?)),
            (None, range) => {
                Ok(range.and_then(|range| parse_range(range.to_str().ok()?)).map_or(Self::Whole, Self::Range))
            }
        }
    }

    /// The error where none of these bytes are there.
    pub fn unsatisfiable(self, request: &Request, record: &VersionRecord) -> S3Error {
        let size = record.size;
        match self {
            Self::Part(number) => S3Error::from(Code::InvalidPartNumber)
                .detail("PartNumberRequested", number.to_string())
                .detail("ActualPartCount", record.etag.parts.unwrap_or(1).to_string()),
            Self::Whole | Self::Range(_) => {
                let range = request.headers.get(RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
                let error = S3Error::from(Code::InvalidRange)
                    .detail("RangeRequested", range)
                    .detail("ActualObjectSize", size.to_string());
                match HeaderValue::try_from(format!("bytes */{size}")) {
                    Ok(value) => error.header(CONTENT_RANGE, value),
                    Err(_) => error,
                }
            }
        }
    }
}

/// The query parameter `partNumber`: 1 to 10,000.
///
/// # Errors
/// `InvalidArgument`.
pub fn part_number(query: &Params) -> Result<u16, S3Error> {
    let text = query.get("partNumber").unwrap_or_default();
    let number = text.parse().ok().filter(|number| (1..=MAX_PARTS).contains(&usize::from(*number)));
    number.ok_or_else(|| {
        S3Error::with(Code::InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
            .detail("ArgumentName", "partNumber")
            .detail("ArgumentValue", text)
    })
}

/// The bytes that are given: all of them, or those of a range or part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// `None` where there are none, in an empty object or part.
    pub span: Option<Span>,
    pub part: Option<PartOfObject>,
}

/// Status and headers of a GET or HEAD; the body of a GET goes into it afterwards.
///
/// # Errors
/// `InvalidArgument` for a `response-*` parameter that can be in no header.
pub fn answer(request: &Request, record: &VersionRecord, asked: Asked, given: &Given) -> Reply {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    attributes::to_headers(&record.attributes, headers);
    attributes::override_headers(&request.query, headers)?;
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(LAST_MODIFIED, http_date(record.modified_ms));
    insert_etag(&record.etag, headers);
    let length = given.span.map_or(0, |(first, last)| last - first + 1);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    insert_asked_checksum(&request.headers, record, asked, given, headers);
    if let (Some(part), Some(_)) = (&given.part, record.etag.parts) {
        headers.insert(PARTS_COUNT, HeaderValue::from(part.count));
    }
    if let (Asked::Range(_) | Asked::Part(_), Some(span)) = (asked, given.span)
        && let Ok(value) = HeaderValue::try_from(content_range(span, record.size))
    {
        headers.insert(CONTENT_RANGE, value);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Puts the checksum of what is given into the headers, if the client wants checksums and there is one: that of the
/// whole object never goes with a range.
fn insert_asked_checksum(
    request: &HeaderMap,
    record: &VersionRecord,
    asked: Asked,
    given: &Given,
    headers: &mut HeaderMap,
) {
    if !request.get(CHECKSUM_MODE).is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"enabled")) {
        return;
    }
    let Some(whole) = &record.checksum else { return };
    match (asked, &given.part) {
        (Asked::Whole, _) => insert_checksum(whole, record.etag.parts, headers),
        (Asked::Range(_), _) => {}
        (Asked::Part(_), part) if record.etag.parts.is_some() => {
            if let Some(checksum) = part.as_ref().and_then(|part| part.checksum.as_ref()) {
                insert_checksum(checksum, None, headers);
                // The type is the object's: it says how the parts' checksums make up its own.
                headers.insert(CHECKSUM_TYPE, HeaderValue::from_static(kind_name(whole.kind)));
            }
        }
        // An object in one piece is its own and only part.
        (Asked::Part(_), _) => insert_checksum(whole, None, headers),
    }
}

/// `x-amz-checksum-*` and `x-amz-checksum-type`.
pub fn insert_checksum(checksum: &Checksum, parts: Option<u16>, headers: &mut HeaderMap) {
    insert_checksum_value(checksum, parts, headers);
    headers.insert(CHECKSUM_TYPE, HeaderValue::from_static(kind_name(checksum.kind)));
}

/// `x-amz-checksum-*` alone.
pub fn insert_checksum_value(checksum: &Checksum, parts: Option<u16>, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::try_from(checksum::encode(checksum, parts)) {
        headers.insert(checksum::header(checksum.algorithm), value);
    }
}

/// As S3 spells it in headers and XML.
pub fn kind_name(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => "FULL_OBJECT",
        ChecksumKind::Composite => "COMPOSITE",
    }
}

pub fn insert_etag(etag: &ETag, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::try_from(quoted(etag)) {
        headers.insert(ETAG, value);
    }
}

/// `<ChecksumX>`, with the number of parts after a composite one where that is given, and, if wanted, `<ChecksumType>`.
pub fn write_checksum(document: &mut Document, checksum: &Checksum, parts: Option<u16>, with_kind: bool) {
    document.text(checksum::element(checksum.algorithm), &checksum::encode(checksum, parts));
    if with_kind {
        document.text("ChecksumType", kind_name(checksum.kind));
    }
}

#[cfg(test)]
#[path = "answer_test.rs"]
mod tests;
