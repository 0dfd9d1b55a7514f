//! PutBucketAcl: takes what holds already, that the bucket is its owner's.

use axum::body::Body;
use http::Response;

use super::bucket_record;
use crate::gate::Access;
use crate::ops::check_owners_acl;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAcl.html>
pub async fn handle(access: Access, mut request: Request) -> Reply {
    check_owners_acl(&access, &mut request).await?;
    bucket_record(&access).await?;
    Ok(Response::new(Body::empty()))
}
