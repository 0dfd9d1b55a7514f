//! GetObjectAcl: the owner's grant, as there are no others.

use cairn_storage::meta::query::Wanted;

use super::group;
use crate::gate::Access;
use crate::ops::owner_acl;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html>
pub async fn handle(access: Access, request: Request) -> Reply {
    let gateway = access.gateway();
    request.version.must_be_there()?;
    let (_, object) = group::get(&access, Wanted::Nothing).await?;
    Ok(owner_acl(gateway, object.record.owner).await?.reply())
}
