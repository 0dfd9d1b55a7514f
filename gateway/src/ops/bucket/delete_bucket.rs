//! DeleteBucket: the bucket's group seals it if it is empty, the root group frees the name, the group purges later.

use axum::body::Body;
use cairn_storage::meta::{Command, Rejection, RootCommand};
use http::{Response, StatusCode};

use crate::error::Code;
use crate::gateway::{Gateway, unexpected};
use crate::request::{Reply, Request};

pub async fn handle(gateway: &Gateway, request: Request) -> Reply {
    let (entry, sealed) =
        gateway.command_bucket(&request.caller, &request.bucket, |bucket| Command::SealBucket { bucket }).await?;
    match sealed {
        Ok(_) => {}
        Err(Rejection::BucketNotEmpty) => return Err(Code::BucketNotEmpty.into()),
        Err(_) => return Err(unexpected("SealBucket")),
    }
    gateway.forget_bucket(&request.bucket);
    let free = RootCommand::FreeBucket { name: entry.name, bucket: entry.id };
    gateway.root_command(free).await?.map_err(|_| unexpected("FreeBucket"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
