//! UploadPartCopy: copies bytes of an object into a part; its ETag is their MD5.

use cairn_storage::meta::query::Wanted;
use cairn_storage::meta::record::ETag;
use cairn_storage::types::now_ms;

use super::part::{self, Slot};
use super::{open_upload, upload_id};
use crate::data::checksum::{Asked, DEFAULT};
use crate::error::{Code, S3Error};
use crate::gateway::Gateway;
use crate::ops::object::answer::{part_number, write_checksum};
use crate::ops::object::source::{CopySource, MAX_COPY_LEN};
use crate::ops::object::{conditions, group, places, range};
use crate::request::{Reply, Request};
use crate::xml::Document;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>
pub async fn handle(gateway: &Gateway, request: Request) -> Reply {
    // Before the other parameters, as S3 does.
    gateway.open_bucket(&request.caller, &request.bucket).await?;
    let number = part_number(&request.query)?;
    let source = CopySource::from_headers(&request.headers)?;
    let span = match request.headers.get("x-amz-copy-source-range") {
        Some(value) => Some(range::parse_copy_range(value.to_str().unwrap_or_default())?),
        None => None,
    };
    let Request { caller, bucket, key, query, headers, .. } = &request;
    let id = upload_id(gateway, caller, bucket, query).await?;
    let (opened, upload) = open_upload(gateway, caller, bucket, key, id).await?;

    let wanted = span.map_or(Wanted::All, |(first, last)| Wanted::Between(first, last));
    let (from, object) = group::get(gateway, caller, &source.bucket, &source.key, wanted).await?;
    conditions::judge_copy_source(headers, &object.record, now_ms())?;
    if let Some(span) = span {
        range::within(span, object.record.size)?;
    }
    let found = places::find(&object.record, object.bytes)?;
    let length = found.len();
    if length > MAX_COPY_LEN {
        return Err(S3Error::with(
            Code::InvalidRequest,
            format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_COPY_LEN}"
            ),
        ));
    }
    let asked = Asked::computed(upload.checksum.map_or(DEFAULT, |(algorithm, _)| algorithm));
    let stream = found.stream(gateway.data(), from.group);
    let stored = gateway.data().store_stream(opened.group, stream, length, asked, false).await?;
    let slot = Slot { caller, opened: &opened, key, upload: id, number };
    let record = part::put(gateway, slot, stored).await?;

    let mut document = Document::new("CopyPartResult");
    document.time("LastModified", record.modified_ms).etag("ETag", ETag { md5: record.md5, parts: None });
    if let Some(checksum) = &record.checksum {
        write_checksum(&mut document, checksum, None, false);
    }
    Ok(document.reply())
}
