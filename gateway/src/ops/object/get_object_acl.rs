//! GetObjectAcl: the owner's grant, as there are no others.

use cairn_storage::meta::query::Wanted;

use super::group;
use crate::gateway::Gateway;
use crate::ops::owner_acl;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html>
pub async fn handle(gateway: &Gateway, request: Request) -> Reply {
    let Request { caller, bucket, key, .. } = &request;
    let (_, object) = group::get(gateway, caller, bucket, key, Wanted::Nothing).await?;
    Ok(owner_acl(gateway, object.record.owner).await?.reply())
}
