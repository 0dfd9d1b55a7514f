//! DeleteBucket: the bucket's group seals it if it is empty, the root group frees the name, the group purges later.

use axum::body::Body;
use cairn_storage::meta::record::DirectoryState;
use cairn_storage::meta::{Command, Rejection};
use http::{Response, StatusCode};

use super::{free, free_if_sealed};
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::gateway::{Gateway, unexpected};
use crate::request::{Reply, Request};

pub async fn handle(access: Access, _: Request) -> Reply {
    let gateway = access.gateway();
    let seal = |bucket| Command::SealBucket { bucket };
    match access.command(seal).await {
        Ok((entry, Ok(_))) => free(gateway, access.pass(), &entry).await?,
        Ok((_, Err(Rejection::BucketNotEmpty))) => return Err(Code::BucketNotEmpty.into()),
        Ok((_, Err(_))) => return Err(unexpected("SealBucket")),
        Err(error) if error.code == Code::NoSuchBucket => finish(gateway, &access, error).await?,
        Err(error) => return Err(error),
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// The bucket is no more. Where its name is not free yet, an earlier delete sealed it and did not come to its end, and
/// this one is its repetition.
async fn finish(gateway: &Gateway, access: &Access, no_such_bucket: S3Error) -> Result<(), S3Error> {
    let entry = gateway.directory_entry(access.bucket()).await?;
    let entry = entry.filter(|entry| entry.state == DirectoryState::Active && entry.owner == access.caller().id);
    match entry {
        Some(entry) if free_if_sealed(gateway, access.pass(), &entry).await? => Ok(()),
        _ => Err(no_such_bucket),
    }
}
