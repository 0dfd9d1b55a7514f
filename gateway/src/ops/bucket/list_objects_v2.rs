//! ListObjects, version 2: goes on from a continuation token, or starts after a key.

use cairn_storage::meta::query::ListFrom;

use super::list::{ListParams, Owners, Page, write_version};
use super::token;
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::request::{Params, Reply, Request};
use crate::xml::Document;

pub async fn handle(access: Access, request: Request) -> Reply {
    let gateway = access.gateway();
    let mut params = ListParams::parse(&request.query)?;
    let from = start(&request.query, &params)?;
    let fetch_owner = fetch_owner(&request.query)?;
    let page = Page::fetch(&access, &params, &from).await?;
    params.encode_where_needed(&request.query, &page);
    let owners = if fetch_owner { Some(page.owners(gateway).await?) } else { None };
    Ok(document(&request.bucket, &request.query, &params, &page, owners.as_ref()).reply())
}

/// A continuation token goes before `start-after`.
fn start(query: &Params, params: &ListParams) -> Result<ListFrom, S3Error> {
    match query.get("continuation-token") {
        Some(token) if !token.is_empty() => token::decode(token),
        _ => Ok(params.after_marker(query.get("start-after").unwrap_or_default())),
    }
}

fn fetch_owner(query: &Params) -> Result<bool, S3Error> {
    match query.get("fetch-owner") {
        None | Some("") => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(other) => Err(S3Error::with(Code::InvalidArgument, "Argument fetch-owner must be true or false")
            .detail("ArgumentName", "fetch-owner")
            .detail("ArgumentValue", other)),
    }
}

fn document(bucket: &str, query: &Params, params: &ListParams, page: &Page, owners: Option<&Owners>) -> Document {
    let mut document = page.document("ListBucketResult");
    document.text("Name", bucket);
    params.write_echo(&mut document);
    document.text_opt("ContinuationToken", query.get("continuation-token"));
    if let Some(next) = page.next() {
        document.text("NextContinuationToken", &token::encode(&next));
    }
    if let Some(start_after) = query.get("start-after") {
        document.encoded("StartAfter", start_after, params.encoding);
    }
    document.display("KeyCount", page.entries.len()).display("IsTruncated", page.more);
    page.write(&mut document, params.encoding, |document, key, record| {
        document.open("Contents").encoded("Key", key, params.encoding);
        write_version(document, record);
        if let Some(owners) = owners {
            owners.write(document, record.owner);
        }
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
    fn a_page_counts_keys_and_prefixes_and_says_how_to_go_on() {
        let query = parse_query("start-after=0&continuation-token=").unwrap();
        let document = document("bucket", &query, &params("delimiter=/"), &page(&["a", "b/"], true), None).finish();
        let token = token::encode(&ListFrom::AfterPrefix("b/".to_owned()));
        for part in [
            "<Name>bucket</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter>",
            "<ContinuationToken></ContinuationToken>",
            &format!("<NextContinuationToken>{token}</NextContinuationToken>"),
            "<StartAfter>0</StartAfter><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>",
            "<Contents><Key>a</Key><LastModified>1970-01-01T00:00:01.000Z</LastModified>\
             <ETag>&quot;00000000000000000000000000000000&quot;</ETag><Size>7</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>",
            "<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes></ListBucketResult>",
        ] {
            assert!(document.contains(part), "{part} in {document}");
        }
    }

    #[test]
    fn a_token_goes_before_a_start() {
        let token = token::encode(&ListFrom::AfterKey("t".to_owned()));
        let query = parse_query(&format!("start-after=s&continuation-token={token}")).unwrap();
        assert_eq!(start(&query, &params("")).unwrap(), ListFrom::AfterKey("t".to_owned()));
        let query = parse_query("start-after=s&continuation-token=").unwrap();
        assert_eq!(start(&query, &params("")).unwrap(), ListFrom::AfterKey("s".to_owned()));
        let query = parse_query("continuation-token=made-up").unwrap();
        assert_eq!(start(&query, &params("")).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn the_last_page_has_no_token() {
        let document = document("bucket", &Params::default(), &params(""), &page(&["a"], false), None).finish();
        assert!(!document.contains("Token") && document.contains("<IsTruncated>false</IsTruncated>"), "{document}");
    }
}
