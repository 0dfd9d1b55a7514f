//! UploadPartCopy: copies bytes of an object into a part; its ETag is their MD5.

use cairn_storage::meta::query::Wanted;
use cairn_storage::meta::record::ETag;
use cairn_storage::types::now_ms;

use super::part::{self, Slot};
use super::{open_upload, upload_id};
use crate::data::checksum::{Asked, DEFAULT};
use crate::error::{Code, S3Error};
use crate::gate::{self, Access};
use crate::ops::object::answer::{part_number, write_checksum};
use crate::ops::object::source::{CopySource, MAX_COPY_LEN};
use crate::ops::object::{conditions, group, places, range};
use crate::request::{Reply, Request};
use crate::xml::Document;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>
pub async fn handle(access: Access, request: Request) -> Reply {
    let request = request.without_body();
    let gateway = access.gateway();
    let number = part_number(&request.query)?;
    let source = CopySource::from_headers(&request.headers)?;
    let span = match request.headers.get("x-amz-copy-source-range") {
        Some(value) => Some(range::parse_copy_range(value.to_str().unwrap_or_default())?),
        None => None,
    };
    let headers = &request.headers;
    let from = gate::admit_to_source(&access, &source, &request).await?;
    source.version.must_be_there()?;
    let id = upload_id(&request.query)?;
    let (opened, upload) = open_upload(&access, id).await?;

    let wanted = span.map_or(Wanted::All, |(first, last)| Wanted::Between(first, last));
    let (from, object) = group::get(&from, wanted).await?;
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
    let slot = Slot { access: &access, opened: &opened, upload: id, number };
    let record = part::put(slot, stored).await?;

    let mut document = Document::new("CopyPartResult");
    document.time("LastModified", record.modified_ms).etag("ETag", ETag { md5: record.md5, parts: None });
    if let Some(checksum) = &record.checksum {
        write_checksum(&mut document, checksum, None, false);
    }
    Ok(document.reply())
}
