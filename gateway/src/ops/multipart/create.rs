//! CreateMultipartUpload.

use cairn_storage::meta::record::Label;
use cairn_storage::meta::{Command, Outcome};
use cairn_storage::types::UploadId;
use http::{HeaderName, HeaderValue};

use super::checksum;
use crate::acl::Asked;
use crate::data::checksum::name;
use crate::gate::Access;
use crate::ops::object::answer::kind_name;
use crate::ops::object::{attributes, group};
use crate::request::{Reply, Request};
use crate::xml::Document;

const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>
pub async fn handle(access: Access, request: Request) -> Reply {
    let attributes = attributes::from_headers(&request.headers)?;
    let acl = Asked::from_headers(&request.headers)?;
    access.admit_acl(&acl).await?;
    let checksum = checksum::of_upload(&request.headers)?;
    let upload = UploadId::random();
    let command = |bucket| {
        let (owner, label) = access.take_in(&acl);
        let mut attributes = attributes.clone();
        attributes.set_label(Label::Acl, label);
        Command::CreateUpload { bucket, key: request.key.clone(), upload, owner, attributes, checksum }
    };
    match access.command(command).await?.1 {
        Ok(Outcome::Done) => {}
        Ok(outcome) => return Err(group::unexpected(&outcome)),
        Err(rejection) => return Err(group::rejected(rejection, &request.key)),
    }
    let mut document = Document::new("InitiateMultipartUploadResult");
    document.text("Bucket", &request.bucket).text("Key", &request.key).display("UploadId", upload);
    let mut response = document.reply();
    if let Some((algorithm, kind)) = checksum {
        let headers = response.headers_mut();
        headers.insert(CHECKSUM_ALGORITHM, HeaderValue::from_static(name(algorithm)));
        headers.insert(CHECKSUM_TYPE, HeaderValue::from_static(kind_name(kind)));
    }
    Ok(response)
}
