use cairn_storage::meta::record::{Attributes, Body as Kept, ChecksumAlgorithm};
use cairn_storage::types::{UserId, VersionId};
use http::Method;

use super::*;
use crate::auth::Payload;
use crate::gate::Identity;
use crate::operation::Version;
use crate::request::Unread;

fn request(query: &[(&str, &str)], headers: &[(&'static str, &'static str)]) -> Request {
    Request {
        id: "0123456789ABCDEF".into(),
        caller: Identity::anonymous(),
        method: Method::GET,
        bucket: "bucket".into(),
        key: "key".into(),
        query: Params(query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()).into(),
        version: Version::Current,
        document_len: 0,
        virtual_host: false,
        headers: headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect::<http::HeaderMap>()
            .into(),
        signature: None,
        peer: None,
        payload: Payload::Unsigned,
        body: Unread::new(Body::empty()),
    }
}

fn record(size: u64, parts: Option<u16>) -> VersionRecord {
    let kind = if parts.is_some() { ChecksumKind::Composite } else { ChecksumKind::FullObject };
    VersionRecord {
        version: VersionId::default(),
        modified_ms: 784_111_777_500,
        size,
        etag: ETag { md5: [0xab; 16], parts },
        checksum: Some(Checksum { kind, ..checksum::of(ChecksumAlgorithm::Crc32, b"object") }),
        owner: UserId::default(),
        attributes: Attributes::default(),
        body: Kept::Empty,
    }
}

fn reply(request: &Request, record: &VersionRecord, given: &Given) -> Response<Body> {
    answer(request, record, Asked::from_request(request).unwrap(), given).unwrap()
}

const WITH_CHECKSUMS: (&str, &str) = ("x-amz-checksum-mode", "ENABLED");
const CRC32: &str = "x-amz-checksum-crc32";

#[test]
fn a_request_asks_for_all_for_a_range_or_for_a_part() {
    let asked = |query: &[(&str, &str)], headers: &[(&'static str, &'static str)]| {
        Asked::from_request(&request(query, headers)).map_err(|error| error.code)
    };
    assert_eq!(asked(&[], &[]), Ok(Asked::Whole));
    assert_eq!(asked(&[], &[("range", "bytes=1-2")]), Ok(Asked::Range(Wanted::Between(1, 2))));
    assert_eq!(asked(&[], &[("range", "bytes=1-2,4-5")]), Ok(Asked::Whole));
    assert_eq!(asked(&[("partNumber", "7")], &[]), Ok(Asked::Part(7)));
    assert_eq!(asked(&[("partNumber", "7")], &[("range", "bytes=1-2")]), Err(Code::InvalidRequest));
    for number in ["0", "10001", "-1", "x", ""] {
        assert_eq!(asked(&[("partNumber", number)], &[]), Err(Code::InvalidArgument), "{number}");
    }
}

#[test]
fn a_whole_object_has_its_headers_and_a_200() {
    let request = request(&[("response-content-type", "text/plain")], &[]);
    let response = reply(&request, &record(11, None), &Given { span: Some((0, 10)), part: None });
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers();
    assert_eq!(headers[CONTENT_LENGTH], "11");
    assert_eq!(headers[ETAG], format!("\"{}\"", "ab".repeat(16)));
    assert_eq!(headers[LAST_MODIFIED], "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(headers[ACCEPT_RANGES], "bytes");
    assert_eq!(headers["content-type"], "text/plain");
    assert!(!headers.contains_key(CONTENT_RANGE) && !headers.contains_key(CRC32));
}

#[test]
fn a_range_is_a_206_without_a_checksum() {
    let request = request(&[], &[("range", "bytes=4-7"), WITH_CHECKSUMS]);
    let response = reply(&request, &record(11, None), &Given { span: Some((4, 7)), part: None });
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(response.headers()[CONTENT_RANGE], "bytes 4-7/11");
    assert_eq!(response.headers()[CONTENT_LENGTH], "4");
    assert!(!response.headers().contains_key(CRC32));
}

#[test]
fn checksums_come_where_they_are_wanted() {
    let request = request(&[], &[WITH_CHECKSUMS]);
    let record = record(11, Some(3));
    let response = reply(&request, &record, &Given { span: Some((0, 10)), part: None });
    let shown = checksum::encode(record.checksum.as_ref().unwrap(), Some(3));
    assert!(shown.ends_with("-3"));
    assert_eq!(response.headers()[CRC32], shown);
    assert_eq!(response.headers()[CHECKSUM_TYPE], "COMPOSITE");
}

#[test]
fn a_part_comes_with_its_own_checksum_and_the_count() {
    let request = request(&[("partNumber", "2")], &[WITH_CHECKSUMS]);
    let own = checksum::of(ChecksumAlgorithm::Crc32, b"part");
    let part = PartOfObject { number: 2, count: 3, checksum: Some(own.clone()) };
    let response = reply(&request, &record(11, Some(3)), &Given { span: Some((5, 9)), part: Some(part) });
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(response.headers()[CONTENT_RANGE], "bytes 5-9/11");
    assert_eq!(response.headers()[PARTS_COUNT], "3");
    assert_eq!(response.headers()[CRC32], checksum::encode(&own, None));
    assert_eq!(response.headers()[CHECKSUM_TYPE], "COMPOSITE");
}

#[test]
fn the_only_part_of_an_object_in_one_piece_has_no_count() {
    let request = request(&[("partNumber", "1")], &[WITH_CHECKSUMS]);
    let record = record(11, None);
    let part = PartOfObject { number: 1, count: 1, checksum: None };
    let response = reply(&request, &record, &Given { span: Some((0, 10)), part: Some(part) });
    assert!(!response.headers().contains_key(PARTS_COUNT));
    assert_eq!(response.headers()[CRC32], checksum::encode(record.checksum.as_ref().unwrap(), None));
}

#[test]
fn an_empty_object_has_no_content_range() {
    let request = request(&[("partNumber", "1")], &[]);
    let response = reply(&request, &record(0, None), &Given { span: None, part: None });
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_LENGTH], "0");
    assert!(!response.headers().contains_key(CONTENT_RANGE));
}

#[test]
fn what_is_not_there_is_a_416_with_the_size() {
    let request = request(&[], &[("range", "bytes=40-50")]);
    let error = Asked::Range(Wanted::Between(40, 50)).unsatisfiable(&request, &record(11, None));
    assert_eq!(error.code, Code::InvalidRange);
    assert_eq!(error.headers, [(CONTENT_RANGE, HeaderValue::from_static("bytes */11"))]);
    assert!(error.details.contains(&("RangeRequested", "bytes=40-50".to_owned())));
    assert_eq!(Asked::Part(5).unsatisfiable(&request, &record(11, Some(4))).code, Code::InvalidPartNumber);
}
