//! GetBucketOwnershipControls: the owner of a bucket owns everything in it.

use super::bucket_record;
use crate::gate::Access;
use crate::ops::BUCKET_OWNER_ENFORCED;
use crate::request::{Reply, Request};
use crate::xml::Document;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketOwnershipControls.html>
pub async fn handle(access: Access, _: Request) -> Reply {
    bucket_record(&access).await?;
    let mut document = Document::new("OwnershipControls");
    document.open("Rule").text("ObjectOwnership", BUCKET_OWNER_ENFORCED).close();
    Ok(document.reply())
}
