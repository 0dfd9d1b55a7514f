//! DeleteBucketPolicy: also of a bucket that has none.

use cairn_storage::meta::record::Setting;

use super::no_content;
use crate::gate::Access;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketPolicy.html>
pub async fn handle(access: Access, _: Request) -> Reply {
    access.set(Setting::Policy, None, |_| Ok(())).await?;
    Ok(no_content())
}
