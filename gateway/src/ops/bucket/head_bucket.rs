//! HeadBucket: whether the bucket is there and may be used, and where it is.

use axum::body::Body;
use http::{HeaderValue, Response};

use super::bucket_record;
use crate::gate::Access;
use crate::request::{Reply, Request};

pub async fn handle(access: Access, _: Request) -> Reply {
    let record = bucket_record(&access).await?;
    let mut response = Response::new(Body::empty());
    if let Ok(region) = HeaderValue::from_str(&record.region) {
        response.headers_mut().insert("x-amz-bucket-region", region);
    }
    Ok(response)
}
