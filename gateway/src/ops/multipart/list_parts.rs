//! ListParts: the parts of an open upload, by number.

use cairn_storage::meta::query::UploadState;
use cairn_storage::meta::record::{ETag, PartRecord, UploadRecord};
use cairn_storage::meta::{Answer, Query};

use super::{no_such_upload, upload_id};
use crate::data::checksum;
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::ops::bucket::list::{max_entries, non_empty};
use crate::ops::object::answer::{kind_name, write_checksum};
use crate::ops::object::group;
use crate::ops::write_user;
use crate::request::{Params, Reply, Request};
use crate::xml::Document;

/// Some parts of an upload.
struct Page {
    after: u16,
    max: u32,
    parts: Vec<PartRecord>,
    more: bool,
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>
pub async fn handle(access: Access, request: Request) -> Reply {
    let gateway = access.gateway();
    let max = max_entries(&request.query, "max-parts")?;
    let after = marker(&request.query)?;
    let id = upload_id(&request.query)?;
    // One at least, as no group need answer for none.
    let query = |bucket| Query::Parts { bucket, key: request.key.clone(), upload: id, after, limit: max.max(1) };
    let answer = access.query(query).await?.1;
    let Answer::Parts { upload, mut parts, more, .. } = answer else { return Err(group::unexpected(&answer)) };
    let UploadState::Open(upload) = upload else { return Err(no_such_upload(&id.to_string())) };
    if max == 0 {
        parts.clear();
    }
    let owner_name = gateway.display_name(upload.owner).await?;
    let page = Page { after, max, parts, more: more && max > 0 };
    Ok(document(&request.bucket, &upload, &owner_name, &page).reply())
}

/// `part-number-marker`; past the greatest number there are no parts.
fn marker(query: &Params) -> Result<u16, S3Error> {
    let Some(text) = non_empty(query, "part-number-marker") else { return Ok(0) };
    match text.parse::<u32>() {
        Ok(number) => Ok(u16::try_from(number).unwrap_or(u16::MAX)),
        Err(_) => Err(S3Error::with(
            Code::InvalidArgument,
            format!("Argument part-number-marker must be an integer between 0 and {}", i32::MAX),
        )
        .detail("ArgumentName", "part-number-marker")
        .detail("ArgumentValue", text)),
    }
}

fn document(bucket: &str, upload: &UploadRecord, owner_name: &str, page: &Page) -> Document {
    let mut document = Document::with_capacity("ListPartsResult", 1024 + 256 * page.parts.len());
    document.text("Bucket", bucket).text("Key", &upload.key).display("UploadId", upload.id);
    write_user(&mut document, "Initiator", upload.owner, owner_name);
    write_user(&mut document, "Owner", upload.owner, owner_name);
    document.text("StorageClass", "STANDARD");
    let next = page.parts.last().map_or(page.after, |part| part.number);
    document
        .display("PartNumberMarker", page.after)
        .display("NextPartNumberMarker", next)
        .display("MaxParts", page.max)
        .display("IsTruncated", page.more);
    if let Some((algorithm, kind)) = upload.checksum {
        document.text("ChecksumAlgorithm", checksum::name(algorithm)).text("ChecksumType", kind_name(kind));
    }
    for part in &page.parts {
        document
            .open("Part")
            .display("PartNumber", part.number)
            .time("LastModified", part.modified_ms)
            .etag("ETag", ETag { md5: part.md5, parts: None })
            .display("Size", part.size);
        if let Some(checksum) = &part.checksum {
            write_checksum(&mut document, checksum, None, false);
        }
        document.close();
    }
    document
}

#[cfg(test)]
mod tests {
    use cairn_storage::meta::record::{Attributes, Body, Checksum, ChecksumAlgorithm, ChecksumKind};
    use cairn_storage::types::{ManifestId, UploadId, UserId};

    use super::*;

    #[test]
    fn a_page_shows_upload_and_parts() {
        let upload = UploadRecord {
            id: UploadId([1; 16]),
            key: "a&b".into(),
            owner: UserId([2; 16]),
            initiated_ms: 0,
            attributes: Attributes::default(),
            checksum: Some((ChecksumAlgorithm::Crc32, ChecksumKind::FullObject)),
        };
        let part = PartRecord {
            number: 3,
            id: ManifestId::default(),
            modified_ms: 784_111_777_000,
            size: 5,
            md5: [0xab; 16],
            checksum: Some(Checksum {
                algorithm: ChecksumAlgorithm::Crc32,
                kind: ChecksumKind::FullObject,
                value: vec![0; 4].into(),
            }),
            body: Body::Empty,
        };
        let page = Page { after: 2, max: 1, parts: vec![part], more: true };
        let shown = document("bucket", &upload, "Ann", &page).finish();
        for expected in [
            "<Key>a&amp;b</Key>",
            "<Initiator><ID>02020202020202020202020202020202</ID><DisplayName>Ann</DisplayName></Initiator>",
            "<PartNumberMarker>2</PartNumberMarker><NextPartNumberMarker>3</NextPartNumberMarker><MaxParts>1</MaxParts>\
             <IsTruncated>true</IsTruncated><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>",
            "<Part><PartNumber>3</PartNumber><LastModified>1994-11-06T08:49:37.000Z</LastModified>",
            "<Size>5</Size><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>",
        ] {
            assert!(shown.contains(expected), "{expected} in {shown}");
        }
    }

    #[test]
    fn a_marker_past_the_last_part_number_is_taken() {
        let marker = |text: &str| marker(&Params(vec![("part-number-marker".into(), text.into())]));
        assert_eq!(marker("").unwrap(), 0);
        assert_eq!(marker("17").unwrap(), 17);
        assert_eq!(marker("2000000000").unwrap(), u16::MAX);
        assert_eq!(marker("-1").unwrap_err().code, Code::InvalidArgument);
    }
}
