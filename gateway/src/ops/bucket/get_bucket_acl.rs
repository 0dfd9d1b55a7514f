//! GetBucketAcl: the owner's grant.

use super::bucket_record;
use crate::gateway::Gateway;
use crate::ops::owner_acl;
use crate::request::{Reply, Request};

pub async fn handle(gateway: &Gateway, request: Request) -> Reply {
    let record = bucket_record(gateway, &request).await?;
    Ok(owner_acl(gateway, record.owner).await?.reply())
}
