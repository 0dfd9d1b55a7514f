//! PutObjectAcl: takes what holds already, that the object is the bucket's owner's.

use axum::body::Body;
use cairn_storage::meta::query::Wanted;
use http::Response;

use super::group;
use crate::gate::Access;
use crate::ops::check_owners_acl;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectAcl.html>
pub async fn handle(access: Access, mut request: Request) -> Reply {
    request.version.must_be_there()?;
    check_owners_acl(&access, &mut request).await?;
    group::get(&access, Wanted::Nothing).await?;
    Ok(Response::new(Body::empty()))
}
