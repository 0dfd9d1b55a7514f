use cairn_storage::meta::record::{Attributes, Body, ETag};
use cairn_storage::types::VersionId;

use super::*;
use crate::operation::parse_query;

pub fn params(query: &str) -> ListParams {
    ListParams::parse(&parse_query(query).unwrap()).unwrap()
}

/// A page of these names; those that end with `/` are common prefixes.
pub fn page(names: &[&str], more: bool) -> Page {
    let entry = |name: &&str| match name.ends_with('/') {
        true => ListEntry::CommonPrefix((*name).to_owned()),
        false => ListEntry::Key((*name).to_owned(), Box::new(record())),
    };
    Page { entries: names.iter().map(entry).collect(), more }
}

fn record() -> VersionRecord {
    VersionRecord {
        version: VersionId::default(),
        modified_ms: 1_999,
        size: 7,
        etag: ETag { md5: [0; 16], parts: None },
        checksum: None,
        owner: UserId::default(),
        attributes: Attributes::default(),
        body: Body::Empty,
    }
}

fn code(query: &str) -> Code {
    ListParams::parse(&parse_query(query).unwrap()).unwrap_err().code
}

#[test]
fn parameters_have_their_defaults_and_bounds() {
    let plain = ListParams { prefix: String::new(), delimiter: None, max_keys: 1_000, encoding: Encoding::Plain };
    assert_eq!(params(""), plain);
    assert_eq!(params("delimiter=&prefix=&allow-unordered=true"), plain);
    assert_eq!(params("max-keys=0").max_keys, 0);
    assert_eq!(params("max-keys=7").max_keys, 7);
    assert_eq!(params("max-keys=1001").max_keys, 1_000);
    assert_eq!(params("max-keys=2147483647").max_keys, 1_000);
    assert_eq!(params("encoding-type=url").encoding, Encoding::Url);
    for query in ["max-keys=x", "max-keys=-1", "max-keys=2147483648", "max-keys=", "encoding-type=base64"] {
        assert_eq!(code(query), Code::InvalidArgument, "{query}");
    }
}

#[test]
fn a_marker_that_is_a_common_prefix_skips_all_of_it() {
    let after_key = |marker: &str| ListFrom::AfterKey(marker.to_owned());
    let after_prefix = |marker: &str| ListFrom::AfterPrefix(marker.to_owned());
    assert_eq!(params("").after_marker(""), ListFrom::Start);
    assert_eq!(params("").after_marker("a/"), after_key("a/"));
    assert_eq!(params("delimiter=/").after_marker("a/"), after_prefix("a/"));
    assert_eq!(params("delimiter=/").after_marker("a/b"), after_key("a/b"));
    assert_eq!(params("delimiter=/").after_marker("a/b/"), after_key("a/b/"));
    assert_eq!(params("delimiter=/&prefix=a/").after_marker("a/b/"), after_prefix("a/b/"));
    assert_eq!(params("delimiter=/&prefix=a/").after_marker("a/"), after_key("a/"));
    assert_eq!(params("delimiter=/&prefix=x").after_marker("a/"), after_key("a/"));
}

#[test]
fn the_next_page_starts_after_the_last_entry() {
    assert_eq!(page(&["a"], true).next(), Some(ListFrom::AfterKey("a".to_owned())));
    assert_eq!(page(&["a", "b/"], true).next(), Some(ListFrom::AfterPrefix("b/".to_owned())));
    assert_eq!(page(&["a"], false).next(), None);
    assert_eq!(page(&[], true).next(), None);
}

/// Not a benchmark, but a page that took many milliseconds would show here.
#[test]
fn a_page_of_a_thousand_keys_is_written_in_one_pass() {
    let names: Vec<String> = (0..1_000).map(|number| format!("directory/file-{number:05}.bin")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let page = page(&names, false);
    let started = std::time::Instant::now();
    let mut document = page.document("ListBucketResult");
    page.write(&mut document, Encoding::Plain, |document, key, record| {
        document.open("Contents").encoded("Key", key, Encoding::Plain);
        write_version(document, record);
        document.text("StorageClass", "STANDARD").close();
    });
    let text = document.finish();
    assert!(started.elapsed() < std::time::Duration::from_millis(50), "{:?}", started.elapsed());
    assert_eq!(text.matches("<Contents>").count(), 1_000);
}
