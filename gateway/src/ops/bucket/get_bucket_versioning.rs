//! GetBucketVersioning: an empty answer, because versioning was never switched on.

use super::bucket_record;
use crate::gateway::Gateway;
use crate::request::{Reply, Request};
use crate::xml::Document;

pub async fn handle(gateway: &Gateway, request: Request) -> Reply {
    bucket_record(gateway, &request).await?;
    Ok(Document::new("VersioningConfiguration").reply())
}
