//! GetBucketLocation: the region of the bucket; nothing for us-east-1, as S3 has it.

use super::bucket_record;
use crate::gateway::Gateway;
use crate::request::{Reply, Request};
use crate::xml::Document;

pub async fn handle(gateway: &Gateway, request: Request) -> Reply {
    let record = bucket_record(gateway, &request).await?;
    let mut document = Document::new("LocationConstraint");
    if record.region != "us-east-1" {
        document.content(&record.region);
    }
    Ok(document.reply())
}
