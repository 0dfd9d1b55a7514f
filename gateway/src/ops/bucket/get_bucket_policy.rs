//! GetBucketPolicy: the policy's text, just as it was put.

use axum::body::Body;
use cairn_storage::meta::record::Setting;
use cairn_storage::meta::{Answer, Query};
use http::{HeaderValue, Response, header};

use crate::error::Code;
use crate::gate::Access;
use crate::gateway::unexpected;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicy.html>
pub async fn handle(access: Access, _: Request) -> Reply {
    let (_, answer) = access.query(|bucket| Query::BucketSettings { bucket }).await?;
    let Answer::BucketSettings { values, .. } = answer else { return Err(unexpected("BucketSettings")) };
    let policy = values.into_iter().find(|(setting, _)| *setting == Setting::Policy);
    let (_, text) = policy.ok_or(Code::NoSuchBucketPolicy)?;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
