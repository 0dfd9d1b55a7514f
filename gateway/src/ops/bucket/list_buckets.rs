//! ListBuckets: the caller's own buckets, by name.

use cairn_storage::meta::query::ListFrom;
use cairn_storage::meta::record::DirectoryEntry;
use cairn_storage::meta::{Answer, Query};

use super::list::non_empty;
use super::token;
use crate::error::{Code, S3Error};
use crate::gate::{Identity, Pass};
use crate::gateway::{Gateway, unexpected};
use crate::ops::write_user;
use crate::request::{Params, Reply, Request};
use crate::xml::Document;

/// The most buckets of one page.
const MAX_BUCKETS: u32 = 10_000;

pub async fn handle(gateway: &Gateway, pass: Pass, request: Request) -> Reply {
    let limit = max_buckets(&request.query)?;
    let after = match non_empty(&request.query, "continuation-token") {
        Some(token) => match token::decode(&token)? {
            ListFrom::Start => None,
            ListFrom::AfterKey(name) | ListFrom::AfterPrefix(name) => Some(name),
        },
        None => None,
    };
    let prefix = request.query.get("prefix").unwrap_or_default();
    let query = Query::DirectoryList { owner: Some(request.caller.id), prefix: prefix.to_owned(), after, limit };
    let Answer::DirectoryList { entries, more } = gateway.root_query(pass, query).await? else {
        return Err(unexpected("DirectoryList"));
    };
    Ok(document(&request.caller, &request.query, &entries, more).reply())
}

fn max_buckets(query: &Params) -> Result<u32, S3Error> {
    let Some(text) = query.get("max-buckets") else {
        return Ok(MAX_BUCKETS);
    };
    text.parse().ok().filter(|count| (1..=MAX_BUCKETS).contains(count)).ok_or_else(|| {
        S3Error::with(Code::InvalidArgument, "Argument max-buckets must be an integer between 1 and 10000")
            .detail("ArgumentName", "max-buckets")
            .detail("ArgumentValue", text)
    })
}

fn document(caller: &Identity, query: &Params, entries: &[DirectoryEntry], more: bool) -> Document {
    // A region is asked for: all buckets are in this one, so that the pages stay whole.
    let region = non_empty(query, "bucket-region");
    let mut document = Document::with_capacity("ListAllMyBucketsResult", 512 + entries.len() * 160);
    write_user(&mut document, "Owner", caller.id, &caller.display_name);
    document.open("Buckets");
    for entry in entries.iter().filter(|entry| region.as_ref().is_none_or(|region| *region == entry.region)) {
        document.open("Bucket").text("Name", &entry.name).time("CreationDate", entry.created_ms);
        document.text("BucketRegion", &entry.region).close();
    }
    document.close();
    if let Some(last) = entries.last().filter(|_| more) {
        document.text("ContinuationToken", &token::encode(&ListFrom::AfterKey(last.name.clone())));
    }
    document.text_opt("Prefix", query.get("prefix"));
    document
}

#[cfg(test)]
mod tests {
    use cairn_storage::meta::record::{DirectoryState, UserRecord};
    use cairn_storage::types::{BucketId, GroupId, UserId};

    use super::*;
    use crate::operation::parse_query;

    #[test]
    fn a_page_names_the_owner_and_says_how_to_go_on() {
        let caller = Identity::from(&UserRecord {
            id: UserId([1; 16]),
            name: "n".to_owned(),
            display_name: "A & B".to_owned(),
            access_key: String::new(),
            secret_key: String::new(),
            root: false,
            created_ms: 0,
        });
        let entry = DirectoryEntry {
            name: "bucket".to_owned(),
            id: BucketId(1),
            group: GroupId(1),
            owner: caller.id,
            region: "us-east-1".to_owned(),
            created_ms: 0,
            state: DirectoryState::Active,
        };
        let query = parse_query("prefix=b").unwrap();
        let document = document(&caller, &query, &[entry], true).finish();
        let token = token::encode(&ListFrom::AfterKey("bucket".to_owned()));
        for part in [
            "<Owner><ID>01010101010101010101010101010101</ID><DisplayName>A &amp; B</DisplayName></Owner>",
            "<Buckets><Bucket><Name>bucket</Name><CreationDate>1970-01-01T00:00:00.000Z</CreationDate>",
            &format!("</Buckets><ContinuationToken>{token}</ContinuationToken><Prefix>b</Prefix>"),
        ] {
            assert!(document.contains(part), "{part} in {document}");
        }
    }

    #[test]
    fn pages_have_1_to_10_000_buckets() {
        let ask = |query: &str| max_buckets(&parse_query(query).unwrap()).map_err(|error| error.code);
        assert_eq!(ask(""), Ok(10_000));
        assert_eq!(ask("max-buckets=1"), Ok(1));
        for query in ["max-buckets=0", "max-buckets=10001", "max-buckets=x", "max-buckets=-1"] {
            assert_eq!(ask(query), Err(Code::InvalidArgument), "{query}");
        }
    }
}
