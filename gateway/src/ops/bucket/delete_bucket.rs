//! DeleteBucket: the bucket's group seals it if it is empty, the root group frees the name, the group purges later.

use axum::body::Body;
use cairn_storage::meta::{Command, Rejection};
use http::{Response, StatusCode};

use super::{free, free_if_sealed};
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::gateway::unexpected;
use crate::request::{Reply, Request};

pub async fn handle(access: Access, _: Request) -> Reply {
    let gateway = access.gateway();
    let seal = |bucket| Command::SealBucket { bucket };
    match access.command(seal).await {
        Ok((entry, Ok(_))) => free(gateway, access.pass(), &entry).await?,
        Ok((_, Err(Rejection::BucketNotEmpty))) => return Err(Code::BucketNotEmpty.into()),
        Ok((_, Err(_))) => return Err(unexpected("SealBucket")),
        Err(error) if error.code == Code::NoSuchBucket => finish(&access, error).await?,
        Err(error) => return Err(error),
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// The bucket is no more. Where its name is not free yet, an earlier delete sealed it and did not come to its end, and
/// this one is its repetition: the name goes free, whoever of those who may asks for it again.
async fn finish(access: &Access, no_such_bucket: S3Error) -> Result<(), S3Error> {
    // Judged anew: the name may be another's by now.
    let found = access.find().await?;
    if free_if_sealed(access.gateway(), access.pass(), &found.entry).await? { Ok(()) } else { Err(no_such_bucket) }
}
