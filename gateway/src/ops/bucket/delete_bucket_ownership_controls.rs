//! DeleteBucketOwnershipControls: as in S3 there are lists then, and objects are those of who puts them.

use cairn_storage::meta::record::Setting;

use super::no_content;
use crate::acl::Ownership;
use crate::gate::Access;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketOwnershipControls.html>
pub async fn handle(access: Access, _: Request) -> Reply {
    access.set(Setting::OwnershipControls, Ownership::Unset.encode(), |_| Ok(())).await?;
    Ok(no_content())
}
