//! GetBucketPolicyStatus: whether the policy allows anything to the public.

use crate::error::Code;
use crate::gate::Access;
use crate::request::{Reply, Request};
use crate::xml::Document;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicyStatus.html>
pub async fn handle(access: Access, _: Request) -> Reply {
    let bucket = access.settings().await?;
    if bucket.policy.is_none() {
        return Err(Code::NoSuchBucketPolicy.into());
    }
    let mut document = Document::new("PolicyStatus");
    document.display("IsPublic", bucket.is_public);
    Ok(document.reply())
}
