//! GetBucketAcl: the owner's grant, where there are no others.

use crate::acl::Acl;
use crate::gate::Access;
use crate::ops::acl;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketAcl.html>
pub async fn handle(access: Access, _: Request) -> Reply {
    let found = access.settings().await?;
    let owner = found.entry.owner;
    let own = Acl::of_owner(owner);
    acl::show(access.gateway(), owner, if found.ownership.has_acls() { &found.acl } else { &own }).await
}
