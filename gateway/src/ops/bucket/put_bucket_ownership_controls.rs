//! PutBucketOwnershipControls: takes what holds already; other ownership is not there yet.

use axum::body::Body;
use http::Response;

use super::bucket_record;
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::ops::BUCKET_OWNER_ENFORCED;
use crate::request::{Reply, Request};
use crate::xml::{malformed, read_object_ownership};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketOwnershipControls.html>
pub async fn handle(access: Access, mut request: Request) -> Reply {
    let wanted = {
        let document = request.read_document(access.gateway()).await?;
        read_object_ownership(&document)?
    };
    bucket_record(&access).await?;
    match wanted.as_str() {
        BUCKET_OWNER_ENFORCED => Ok(Response::new(Body::empty())),
        "BucketOwnerPreferred" | "ObjectWriter" => {
            let problem = format!("Cairn does not implement this yet: {wanted}");
            Err(S3Error::with(Code::NotImplemented, problem).detail("ObjectOwnership", wanted))
        }
        _ => Err(malformed()),
    }
}
