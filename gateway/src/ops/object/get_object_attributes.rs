//! GetObjectAttributes: chosen facts of an object, its parts among them.

use std::collections::BTreeSet;

use cairn_storage::meta::query::{ObjectPart, Wanted};
use cairn_storage::meta::record::VersionRecord;
use cairn_storage::meta::{Answer, Query};
use http::HeaderMap;
use http::header::LAST_MODIFIED;

use super::answer::write_checksum;
use super::group;
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::request::{Reply, Request};
use crate::xml::{Document, http_date};

/// The most parts of one answer.
const MAX_PARTS: u32 = 1_000;

/// How often an object that changes between two questions is asked for again.
const MAX_TRIES: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    ETag,
    Checksum,
    ObjectParts,
    StorageClass,
    ObjectSize,
}

/// The parts that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Page {
    after: u16,
    max: u32,
}

/// Some parts of an object.
struct Parts {
    page: Page,
    parts: Vec<ObjectPart>,
    more: bool,
    total: u16,
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html>
pub async fn handle(access: Access, request: Request) -> Reply {
    request.version.must_be_there()?;
    let facts = wanted_facts(&request.headers)?;
    let page = Page::from_headers(&request.headers)?;
    for _ in 0..MAX_TRIES {
        let (_, object) = group::get(&access, Wanted::Nothing).await?;
        let record = object.record;
        if !facts.contains(&Fact::ObjectParts) || record.etag.parts.is_none() {
            return Ok(answer(&facts, &record, None));
        }
        // One more than wanted, as no group need answer for none.
        let key = || access.key().to_owned();
        let query = |bucket| Query::ObjectParts { bucket, key: key(), after: page.after, limit: page.max + 1 };
        match access.query(query).await?.1 {
            Answer::ObjectParts { record: Some(again), parts, more, total, .. } if again.version == record.version => {
                return Ok(answer(&facts, &record, Some(Parts::new(page, parts, more, total))));
            }
            Answer::ObjectParts { .. } => {}
            answer => return Err(group::unexpected(&answer)),
        }
    }
    Err(Code::ServiceUnavailable.into())
}

impl Page {
    fn from_headers(headers: &HeaderMap) -> Result<Self, S3Error> {
        let max = number(headers, "x-amz-max-parts")?.unwrap_or(MAX_PARTS).min(MAX_PARTS);
        let after = number(headers, "x-amz-part-number-marker")?.unwrap_or(0);
        Ok(Self { after: u16::try_from(after).unwrap_or(u16::MAX), max })
    }
}

impl Parts {
    fn new(page: Page, mut parts: Vec<ObjectPart>, more: bool, total: u16) -> Self {
        let max = usize::try_from(page.max).unwrap_or(usize::MAX);
        let more = more || parts.len() > max;
        parts.truncate(max);
        Self { page, parts, more, total }
    }
}

/// `x-amz-object-attributes`: a list, in one header or several.
fn wanted_facts(headers: &HeaderMap) -> Result<BTreeSet<Fact>, S3Error> {
    const NAME: &str = "x-amz-object-attributes";
    let mut facts = BTreeSet::new();
    let lists = headers.get_all(NAME).iter().map(|value| value.to_str().unwrap_or("?"));
    for name in lists.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
        facts.insert(match name {
            "ETag" => Fact::ETag,
            "Checksum" => Fact::Checksum,
            "ObjectParts" => Fact::ObjectParts,
            "StorageClass" => Fact::StorageClass,
            "ObjectSize" => Fact::ObjectSize,
            other => {
                return Err(S3Error::with(Code::InvalidArgument, "Invalid attribute name specified.")
                    .detail("ArgumentName", NAME)
                    .detail("ArgumentValue", other));
            }
        });
    }
    if facts.is_empty() {
        let message =
            "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty";
        return Err(S3Error::with(Code::InvalidArgument, message).detail("ArgumentName", NAME));
    }
    Ok(facts)
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u32>, S3Error> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    match number {
        Some(number) => Ok(Some(u32::try_from(number).unwrap_or(u32::MAX))),
        None => Err(S3Error::with(Code::InvalidArgument, format!("The value of {name} is not a number of parts."))
            .detail("ArgumentName", name)
            .detail("ArgumentValue", String::from_utf8_lossy(value.as_bytes()))),
    }
}

fn answer(facts: &BTreeSet<Fact>, record: &VersionRecord, parts: Option<Parts>) -> http::Response<axum::body::Body> {
    let mut document = Document::new("GetObjectAttributesResponse");
    for fact in facts {
        match (fact, &record.checksum, &parts) {
            // Here, and only here, S3 shows it without quotes.
            (Fact::ETag, ..) => {
                document.display("ETag", record.etag);
            }
            (Fact::Checksum, Some(checksum), _) => {
                document.open("Checksum");
                // Here, and only here, a composite one comes without the number of parts.
                write_checksum(&mut document, checksum, None, true);
                document.close();
            }
            (Fact::ObjectParts, _, Some(parts)) => write_parts(&mut document, parts),
            (Fact::StorageClass, ..) => {
                document.text("StorageClass", "STANDARD");
            }
            (Fact::ObjectSize, ..) => {
                document.display("ObjectSize", record.size);
            }
            (Fact::Checksum, None, _) | (Fact::ObjectParts, _, None) => {}
        }
    }
    let mut response = document.reply();
    response.headers_mut().insert(LAST_MODIFIED, http_date(record.modified_ms));
    response
}

fn write_parts(document: &mut Document, parts: &Parts) {
    let next = parts.parts.last().map_or(parts.page.after, |part| part.number);
    document
        .open("ObjectParts")
        .display("IsTruncated", parts.more)
        .display("MaxParts", parts.page.max)
        .display("NextPartNumberMarker", next)
        .display("PartNumberMarker", parts.page.after);
    for part in &parts.parts {
        document.open("Part").display("PartNumber", part.number).display("Size", part.size);
        if let Some(checksum) = &part.checksum {
            write_checksum(document, checksum, None, false);
        }
        document.close();
    }
    document.display("PartsCount", parts.total).close();
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn attributes_come_in_one_header_or_several() {
        let both = headers(&[("x-amz-object-attributes", "ETag, ObjectSize"), ("x-amz-object-attributes", "Checksum")]);
        assert_eq!(wanted_facts(&both).unwrap(), [Fact::ETag, Fact::Checksum, Fact::ObjectSize].into());
        for wrong in [headers(&[]), headers(&[("x-amz-object-attributes", "ETag,Colour")])] {
            assert_eq!(wanted_facts(&wrong).unwrap_err().code, Code::InvalidArgument);
        }
    }

    #[test]
    fn a_page_of_parts_is_bounded() {
        assert_eq!(Page::from_headers(&headers(&[])).unwrap(), Page { after: 0, max: 1_000 });
        let given = headers(&[("x-amz-max-parts", "5000"), ("x-amz-part-number-marker", "99999999")]);
        assert_eq!(Page::from_headers(&given).unwrap(), Page { after: u16::MAX, max: 1_000 });
        assert!(Page::from_headers(&headers(&[("x-amz-max-parts", "-1")])).is_err());
    }

    #[test]
    fn a_page_is_truncated_to_what_was_asked_for() {
        let part = |number| ObjectPart { number, size: 1, checksum: None };
        let parts = Parts::new(Page { after: 3, max: 1 }, vec![part(4), part(5)], false, 6);
        assert!(parts.more);
        let mut document = Document::plain("R");
        write_parts(&mut document, &parts);
        let shown = document.finish();
        assert!(shown.contains("<IsTruncated>true</IsTruncated><MaxParts>1</MaxParts><NextPartNumberMarker>4<"));
        assert!(shown.contains("<Part><PartNumber>4</PartNumber><Size>1</Size></Part><PartsCount>6</PartsCount>"));
    }
}
