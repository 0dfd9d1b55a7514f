//! GetBucketLocation: the region of the bucket; nothing for us-east-1, as S3 has it.

use super::bucket_record;
use crate::gate::Access;
use crate::request::{Reply, Request};
use crate::xml::Document;

pub async fn handle(access: Access, _: Request) -> Reply {
    let record = bucket_record(&access).await?;
    let mut document = Document::new("LocationConstraint");
    if record.region != "us-east-1" {
        document.content(&record.region);
    }
    Ok(document.reply())
}
