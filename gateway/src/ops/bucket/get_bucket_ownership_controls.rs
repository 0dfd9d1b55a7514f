//! GetBucketOwnershipControls: whose what is in a bucket is.

use crate::error::Code;
use crate::gate::Access;
use crate::request::{Reply, Request};
use crate::xml::Document;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketOwnershipControls.html>
pub async fn handle(access: Access, _: Request) -> Reply {
    let found = access.settings().await?;
    let name = found.ownership.name().ok_or(Code::OwnershipControlsNotFoundError)?;
    let mut document = Document::new("OwnershipControls");
    document.open("Rule").text("ObjectOwnership", name).close();
    Ok(document.reply())
}
