//! UploadPart: stores the body, then has the group take it as a part.

use axum::body::Body;
use cairn_storage::meta::record::ETag;
use http::Response;

use super::part::{self, Slot};
use super::{checksum, open_upload, upload_id};
use crate::data::Intake;
use crate::gate::Access;
use crate::ops::object::answer::{insert_checksum_value, insert_etag, part_number};
use crate::ops::object::check_put_length;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>
///
/// That there is such an upload is known before the first byte of the body is read.
pub async fn handle(access: Access, request: Request) -> Reply {
    let gateway = access.gateway();
    let number = part_number(&request.query)?;
    let Request { query, headers, payload, body, .. } = request;
    let mut intake = Intake::from_headers(&headers, payload, body.into_body())?;
    check_put_length(intake.length)?;
    let id = upload_id(&query)?;
    let (opened, upload) = open_upload(&access, id).await?;
    intake.checksum = checksum::of_part(upload.checksum, intake.checksum)?;
    intake.may_inline = false;

    let stored = gateway.data().store(opened.group, intake).await?;
    let slot = Slot { access: &access, opened: &opened, upload: id, number };
    let record = part::put(slot, stored).await?;
    let mut response = Response::new(Body::empty());
    insert_etag(&ETag { md5: record.md5, parts: None }, response.headers_mut());
    if let Some(checksum) = &record.checksum {
        insert_checksum_value(checksum, None, response.headers_mut());
    }
    Ok(response)
}
