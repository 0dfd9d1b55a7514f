//! GetBucketVersioning: an empty answer, because versioning was never switched on.

use super::bucket_record;
use crate::gate::Access;
use crate::request::{Reply, Request};
use crate::xml::Document;

pub async fn handle(access: Access, _: Request) -> Reply {
    bucket_record(&access).await?;
    Ok(Document::new("VersioningConfiguration").reply())
}
