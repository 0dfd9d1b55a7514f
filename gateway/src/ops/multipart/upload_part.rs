//! UploadPart: stores the body, then has the group take it as a part.

use axum::body::Body;
use cairn_storage::meta::record::ETag;
use http::Response;

use super::part::{self, Slot};
use super::{checksum, open_upload, upload_id};
use crate::data::Intake;
use crate::gateway::Gateway;
use crate::ops::object::answer::{insert_checksum_value, insert_etag, part_number};
use crate::ops::object::check_put_length;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>
///
/// That there is such an upload is known before the first byte of the body is read.
pub async fn handle(gateway: &Gateway, request: Request) -> Reply {
    let number = part_number(&request.query)?;
    let Request { caller, bucket, key, query, headers, payload, body, .. } = request;
    let mut intake = Intake::from_headers(&headers, payload, body.into_body())?;
    check_put_length(intake.length)?;
    let id = upload_id(gateway, &caller, &bucket, &query).await?;
    let (opened, upload) = open_upload(gateway, &caller, &bucket, &key, id).await?;
    intake.checksum = checksum::of_part(upload.checksum, intake.checksum)?;
    intake.may_inline = false;

    let stored = gateway.data().store(opened.group, intake).await?;
    let slot = Slot { caller: &caller, opened: &opened, key: &key, upload: id, number };
    let record = part::put(gateway, slot, stored).await?;
    let mut response = Response::new(Body::empty());
    insert_etag(&ETag { md5: record.md5, parts: None }, response.headers_mut());
    if let Some(checksum) = &record.checksum {
        insert_checksum_value(checksum, None, response.headers_mut());
    }
    Ok(response)
}
