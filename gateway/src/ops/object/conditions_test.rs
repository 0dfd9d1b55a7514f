use cairn_storage::meta::record::{Attributes, Body};
use cairn_storage::types::{UserId, VersionId};
use http::HeaderName;

use super::*;

const HEX: &str = "37b51d194a7513e45b56f6524f2d51f2";
/// A second and a half past the date below.
const MODIFIED_MS: u64 = 784_111_777_500;
const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const FUTURE: &str = "Sat, 29 Oct 2100 19:43:31 GMT";
const NOW_MS: u64 = 1_767_225_600_000;

fn etag() -> ETag {
    parse_etag(HEX).unwrap()
}

fn record() -> VersionRecord {
    VersionRecord {
        version: VersionId::default(),
        modified_ms: MODIFIED_MS,
        size: 3,
        etag: etag(),
        checksum: None,
        owner: UserId::default(),
        attributes: Attributes { cache_control: Some("no-cache".into()), ..Attributes::default() },
        body: Body::Empty,
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::try_from(*value).unwrap())).collect()
}

fn read(pairs: &[(&'static str, &str)]) -> u16 {
    match judge_read(&headers(pairs), &record(), NOW_MS) {
        Ok(()) => 200,
        Err(error) => error.code.status().as_u16(),
    }
}

#[test]
fn etags_are_read_with_and_without_quotes() {
    for text in [HEX.to_owned(), format!("\"{HEX}\""), format!(" \"{HEX}\" "), format!("W/\"{HEX}\"")] {
        assert_eq!(parse_etag(&text), Some(etag()), "{text}");
    }
    let multipart = parse_etag(&format!("\"{HEX}-17\"")).unwrap();
    assert_eq!(multipart.parts, Some(17));
    assert_eq!(quoted(&multipart), format!("\"{HEX}-17\""));
    for text in ["", "badetag", "*", "\"\"", "37b5", &format!("{HEX}-x"), &format!("{HEX}00")] {
        assert_eq!(parse_etag(text), None, "{text}");
    }
}

#[test]
fn a_text_that_is_no_etag_matches_nobody() {
    let nobodys = etag_or_nobodys("badetag");
    assert_ne!(nobodys, etag());
    assert_eq!(nobodys.parts, Some(0), "an object has no parts or at least one");
}

#[test]
fn each_read_condition_alone() {
    let good = format!("\"{HEX}\"");
    assert_eq!(read(&[]), 200);
    assert_eq!(read(&[("if-match", &good)]), 200);
    assert_eq!(read(&[("if-match", HEX)]), 200);
    assert_eq!(read(&[("if-match", "*")]), 200);
    assert_eq!(read(&[("if-match", "\"ABCORZ\"")]), 412);
    assert_eq!(read(&[("if-match", &format!("\"x\", {good}"))]), 200);
    assert_eq!(read(&[("if-match", &format!("W/{good}"))]), 412);
    assert_eq!(read(&[("if-none-match", &good)]), 304);
    assert_eq!(read(&[("if-none-match", "*")]), 304);
    assert_eq!(read(&[("if-none-match", &format!("\"x\",W/{good}"))]), 304);
    assert_eq!(read(&[("if-none-match", "ABCORZ")]), 200);
}

#[test]
fn a_condition_that_is_no_text_is_not_dropped() {
    let mut headers = HeaderMap::new();
    headers.insert(IF_MATCH, HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(judge_read(&headers, &record(), NOW_MS).unwrap_err().code, Code::PreconditionFailed);
    assert_eq!(write_condition(&headers).unwrap(), WriteCondition::ETag(NOBODYS_ETAG));
}

#[test]
fn dates_compare_by_the_second() {
    assert_eq!(read(&[("if-modified-since", BEFORE)]), 200);
    assert_eq!(read(&[("if-modified-since", AT)]), 304);
    assert_eq!(read(&[("if-modified-since", AFTER)]), 304);
    assert_eq!(read(&[("if-unmodified-since", BEFORE)]), 412);
    assert_eq!(read(&[("if-unmodified-since", AT)]), 200);
    assert_eq!(read(&[("if-unmodified-since", AFTER)]), 200);
}

#[test]
fn dates_in_the_future_and_dates_that_are_none_are_ignored() {
    assert_eq!(read(&[("if-modified-since", FUTURE)]), 200);
    assert_eq!(read(&[("if-modified-since", "soon")]), 200);
    assert_eq!(read(&[("if-unmodified-since", FUTURE)]), 200);
    assert_eq!(read(&[("if-unmodified-since", "soon")]), 200);
}

/// The two pairs, each condition absent, true or false: the whole table.
#[test]
fn the_truth_table_of_all_four_conditions() {
    let tags = [None, Some(HEX), Some("other")];
    let dates = [None, Some(BEFORE), Some(AFTER)];
    for matches in tags {
        for none_match in tags {
            for modified in dates {
                for unmodified in dates {
                    let pairs: Vec<_> = [
                        ("if-match", matches),
                        ("if-none-match", none_match),
                        ("if-modified-since", modified),
                        ("if-unmodified-since", unmodified),
                    ]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value?)))
                    .collect();
                    let failed = match matches {
                        Some(tag) => tag != HEX,
                        None => unmodified == Some(BEFORE),
                    };
                    let fresh = match none_match {
                        Some(tag) => tag == HEX,
                        None => modified == Some(AFTER),
                    };
                    let expected = if failed {
                        412
                    } else if fresh {
                        304
                    } else {
                        200
                    };
                    assert_eq!(read(&pairs), expected, "{pairs:?}");
                }
            }
        }
    }
}

#[test]
fn the_documented_precedence_of_s3_holds() {
    assert_eq!(read(&[("if-match", HEX), ("if-unmodified-since", BEFORE)]), 200);
    assert_eq!(read(&[("if-none-match", HEX), ("if-modified-since", BEFORE)]), 304);
}

#[test]
fn a_304_carries_etag_date_and_cache_control() {
    let error = judge_read(&headers(&[("if-none-match", HEX)]), &record(), NOW_MS).unwrap_err();
    assert_eq!(error.code, Code::NotModified);
    let sent: HeaderMap = error.headers.into_iter().collect();
    assert_eq!(sent[ETAG], format!("\"{HEX}\""));
    assert_eq!(sent[LAST_MODIFIED], AT);
    assert_eq!(sent[http::header::CACHE_CONTROL], "no-cache");
}

#[test]
fn every_failed_condition_of_a_copy_is_a_412() {
    let judge = |pairs: &[(&'static str, &str)]| match judge_copy_source(&headers(pairs), &record(), NOW_MS) {
        Ok(()) => 200,
        Err(error) => error.code.status().as_u16(),
    };
    assert_eq!(judge(&[("x-amz-copy-source-if-match", HEX)]), 200);
    assert_eq!(judge(&[("x-amz-copy-source-if-match", "ABCORZ")]), 412);
    assert_eq!(judge(&[("x-amz-copy-source-if-none-match", HEX)]), 412);
    assert_eq!(judge(&[("x-amz-copy-source-if-none-match", "ABCORZ")]), 200);
    assert_eq!(judge(&[("x-amz-copy-source-if-modified-since", AFTER)]), 412);
    assert_eq!(judge(&[("x-amz-copy-source-if-modified-since", BEFORE)]), 200);
    assert_eq!(judge(&[("x-amz-copy-source-if-unmodified-since", BEFORE)]), 412);
    assert_eq!(judge(&[("x-amz-copy-source-if-match", HEX), ("x-amz-copy-source-if-unmodified-since", BEFORE)]), 200);
    assert_eq!(
        judge(&[("x-amz-copy-source-if-none-match", HEX), ("x-amz-copy-source-if-modified-since", BEFORE)]),
        412
    );
}

#[test]
fn write_conditions_are_taken_from_the_headers() {
    let condition = |pairs: &[(&'static str, &str)]| write_condition(&headers(pairs)).map_err(|error| error.code);
    assert_eq!(condition(&[]), Ok(WriteCondition::Always));
    assert_eq!(condition(&[("if-none-match", "*")]), Ok(WriteCondition::Absent));
    assert_eq!(condition(&[("if-match", "*")]), Ok(WriteCondition::Exists));
    assert_eq!(condition(&[("if-match", HEX)]), Ok(WriteCondition::ETag(etag())));
    assert_eq!(condition(&[("if-match", "badetag")]), Ok(WriteCondition::ETag(NOBODYS_ETAG)));
    assert_eq!(condition(&[("if-none-match", HEX)]), Err(Code::NotImplemented));
    assert_eq!(condition(&[("if-none-match", "*"), ("if-match", HEX)]), Err(Code::NotImplemented));
    assert_eq!(condition(&[("if-match", "\"a\", \"b\"")]), Err(Code::NotImplemented));
}

#[test]
fn a_delete_takes_no_if_none_match() {
    assert!(delete_condition(&headers(&[("if-match", "*")])).is_ok());
    assert_eq!(delete_condition(&headers(&[("if-none-match", "*")])).unwrap_err().code, Code::NotImplemented);
}

#[test]
fn if_range_makes_a_range_void_unless_it_names_this_version() {
    let counts = |text: &str| range_counts(&headers(&[("if-range", text)]), &record());
    assert!(range_counts(&HeaderMap::new(), &record()));
    assert!(counts(&format!("\"{HEX}\"")));
    assert!(counts(AT));
    assert!(!counts("\"other\""));
    assert!(!counts(&format!("W/\"{HEX}\"")));
    assert!(!counts(BEFORE));
    assert!(!counts(AFTER));
}
