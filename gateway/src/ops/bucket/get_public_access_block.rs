//! GetPublicAccessBlock.

use crate::error::Code;
use crate::gate::Access;
use crate::request::{Reply, Request};
use crate::xml::Document;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetPublicAccessBlock.html>
pub async fn handle(access: Access, _: Request) -> Reply {
    let block = access.settings().await?.block.ok_or(Code::NoSuchPublicAccessBlockConfiguration)?;
    let mut document = Document::new("PublicAccessBlockConfiguration");
    document
        .display("BlockPublicAcls", block.block_public_acls)
        .display("IgnorePublicAcls", block.ignore_public_acls)
        .display("BlockPublicPolicy", block.block_public_policy)
        .display("RestrictPublicBuckets", block.restrict_public_buckets);
    Ok(document.reply())
}
