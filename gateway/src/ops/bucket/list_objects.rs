//! ListObjects, version 1: goes on from a marker, which is a key or a common prefix.

use super::list::{ListParams, Owners, Page, write_version};
use crate::gate::Access;
use crate::request::{Reply, Request};
use crate::xml::Document;

pub async fn handle(access: Access, request: Request) -> Reply {
    let gateway = access.gateway();
    let mut params = ListParams::parse(&request.query)?;
    let marker = request.query.get("marker").unwrap_or_default();
    let page = Page::fetch(&access, &params, &params.after_marker(marker)).await?;
    params.encode_where_needed(&request.query, &page);
    let owners = page.owners(gateway).await?;
    Ok(document(&request.bucket, &params, marker, &page, &owners).reply())
}

fn document(bucket: &str, params: &ListParams, marker: &str, page: &Page, owners: &Owners) -> Document {
    let mut document = page.document("ListBucketResult");
    document.text("Name", bucket);
    params.write_echo(&mut document);
    document.encoded("Marker", marker, params.encoding);
    // S3 gives it only with a delimiter; without one the last key says as much.
    if let Some(next) = page.next_marker().filter(|_| params.delimiter.is_some()) {
        document.encoded("NextMarker", next, params.encoding);
    }
    document.display("IsTruncated", page.more);
    page.write(&mut document, params.encoding, |document, key, record| {
        document.open("Contents").encoded("Key", key, params.encoding);
        write_version(document, record);
        owners.write(document, record.owner);
        document.text("StorageClass", "STANDARD").close();
    });
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::bucket::list::tests::{page, params};

    #[test]
    fn a_next_marker_comes_with_a_delimiter_only() {
        let owners = Owners::default();
        let page = page(&["a", "b/"], true);
        let with = document("bucket", &params("delimiter=/"), "", &page, &owners).finish();
        assert!(with.contains("<NextMarker>b/</NextMarker><IsTruncated>true</IsTruncated>"), "{with}");
        let without = document("bucket", &params(""), "", &page, &owners).finish();
        assert!(!without.contains("NextMarker") && without.contains("<Marker></Marker>"), "{without}");
    }

    #[test]
    fn keys_markers_and_prefixes_are_encoded_on_request() {
        let params = params("prefix=a%20&delimiter=%2B&encoding-type=url");
        let document = document("bucket", &params, "a b", &page(&["a b", "a c+/"], true), &Owners::default()).finish();
        for part in [
            "<Prefix>a%20</Prefix>",
            "<Delimiter>%2B</Delimiter>",
            "<EncodingType>url</EncodingType>",
            "<Marker>a%20b</Marker>",
            "<Key>a%20b</Key>",
            "<CommonPrefixes><Prefix>a%20c%2B/</Prefix></CommonPrefixes>",
        ] {
            assert!(document.contains(part), "{part} in {document}");
        }
    }
}
