//! GetBucketAcl: the owner's grant.

use super::bucket_record;
use crate::gate::Access;
use crate::ops::owner_acl;
use crate::request::{Reply, Request};

pub async fn handle(access: Access, _: Request) -> Reply {
    let gateway = access.gateway();
    let record = bucket_record(&access).await?;
    Ok(owner_acl(gateway, record.owner).await?.reply())
}
