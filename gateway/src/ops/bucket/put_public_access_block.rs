//! PutPublicAccessBlock: what is not named is not blocked.

use axum::body::Body;
use cairn_storage::meta::record::Setting;
use http::Response;

use crate::error::Code;
use crate::gate::{Access, PublicAccessBlock};
use crate::request::{Reply, Request};
use crate::xml::read_public_access_block;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutPublicAccessBlock.html>
pub async fn handle(access: Access, mut request: Request) -> Reply {
    let block: PublicAccessBlock = {
        let document = request.read_document(access.gateway()).await?;
        read_public_access_block(&document)?
    };
    let value = serde_json::to_vec(&block).map_err(|_| Code::InternalError)?;
    access.set(Setting::PublicAccessBlock, Some(value.into()), |_| Ok(())).await?;
    Ok(Response::new(Body::empty()))
}
