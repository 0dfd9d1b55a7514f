//! ListObjectVersions of an unversioned bucket: each object is its own latest version, whose id is `null`.

use super::list::{ListParams, Owners, Page, non_empty, write_version};
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::request::{Params, Reply, Request};
use crate::xml::Document;
use cairn_storage::meta::query::ListEntry;

pub async fn handle(access: Access, request: Request) -> Reply {
    let gateway = access.gateway();
    let mut params = ListParams::parse(&request.query)?;
    check_version_marker(&request.query)?;
    let marker = request.query.get("key-marker").unwrap_or_default();
    let page = Page::fetch(&access, &params, &params.after_marker(marker)).await?;
    params.encode_where_needed(&request.query, &page);
    let owners = page.owners(gateway).await?;
    Ok(document(&request.bucket, &request.query, &params, &page, &owners).reply())
}

/// With a version marker the list goes on within its key; the null version being the only one, that is after it.
fn check_version_marker(query: &Params) -> Result<(), S3Error> {
    let problem = match (non_empty(query, "version-id-marker").as_deref(), non_empty(query, "key-marker")) {
        (None, _) | (Some("null"), Some(_)) => return Ok(()),
        (Some(_), None) => "A version-id marker cannot be specified without a key marker.",
        (Some(_), Some(_)) => "Invalid version id specified",
    };
    Err(S3Error::with(Code::InvalidArgument, problem).detail("ArgumentName", "version-id-marker"))
}

fn document(bucket: &str, query: &Params, params: &ListParams, page: &Page, owners: &Owners) -> Document {
    let mut document = page.document("ListVersionsResult");
    document.text("Name", bucket);
    params.write_echo(&mut document);
    document.encoded("KeyMarker", query.get("key-marker").unwrap_or_default(), params.encoding);
    document.text("VersionIdMarker", query.get("version-id-marker").unwrap_or_default());
    if let Some(next) = page.next_marker() {
        document.encoded("NextKeyMarker", next, params.encoding);
        if let Some(ListEntry::Key(..)) = page.entries.last() {
            document.text("NextVersionIdMarker", "null");
        }
    }
    document.display("IsTruncated", page.more);
    page.write(&mut document, params.encoding, |document, key, record| {
        document.open("Version").encoded("Key", key, params.encoding);
        document.text("VersionId", "null").text("IsLatest", "true");
        write_version(document, record);
        owners.write(document, record.owner);
        document.text("StorageClass", "STANDARD").close();
    });
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::parse_query;
    use crate::ops::bucket::list::tests::{page, params};

    #[test]
    fn every_object_is_its_latest_and_only_version() {
        let query = parse_query("versions").unwrap();
        let document = document("bucket", &query, &params(""), &page(&["a"], true), &Owners::default()).finish();
        for part in [
            "<KeyMarker></KeyMarker><VersionIdMarker></VersionIdMarker>",
            "<NextKeyMarker>a</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker>",
            "<Version><Key>a</Key><VersionId>null</VersionId><IsLatest>true</IsLatest><LastModified>",
        ] {
            assert!(document.contains(part), "{part} in {document}");
        }
    }

    #[test]
    fn a_version_marker_needs_a_key_and_is_null() {
        let check = |query: &str| check_version_marker(&parse_query(query).unwrap()).map_err(|error| error.code);
        assert_eq!(check("key-marker=a"), Ok(()));
        assert_eq!(check("version-id-marker=&key-marker="), Ok(()));
        assert_eq!(check("key-marker=a&version-id-marker=null"), Ok(()));
        assert_eq!(check("version-id-marker=null"), Err(Code::InvalidArgument));
        assert_eq!(check("key-marker=a&version-id-marker=b"), Err(Code::InvalidArgument));
    }
}
