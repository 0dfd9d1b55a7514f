//! The operations on buckets and the lists of what is in them, a file each. What the lists share is in `list`, `token`.

pub mod create_bucket;
pub mod delete_bucket;
pub mod delete_bucket_ownership_controls;
pub mod delete_bucket_policy;
pub mod delete_public_access_block;
pub mod get_bucket_acl;
pub mod get_bucket_location;
pub mod get_bucket_ownership_controls;
pub mod get_bucket_policy;
pub mod get_bucket_policy_status;
pub mod get_bucket_versioning;
pub mod get_public_access_block;
pub mod head_bucket;
pub mod list;
pub mod list_buckets;
pub mod list_object_versions;
pub mod list_objects;
pub mod list_objects_v2;
mod name;
pub mod put_bucket_acl;
pub mod put_bucket_ownership_controls;
pub mod put_bucket_policy;
pub mod put_public_access_block;
pub mod token;

use axum::body::Body;
use cairn_storage::meta::record::{BucketRecord, DirectoryEntry};
use cairn_storage::meta::{Answer, Query, RootCommand};
use http::{Response, StatusCode};

use crate::error::S3Error;
use crate::gate::{Access, Pass};
use crate::gateway::{Gateway, no_such_bucket, unexpected};

/// The bucket's record, from its group.
async fn bucket_record(access: &Access) -> Result<BucketRecord, S3Error> {
    let (_, answer) = access.query(|bucket| Query::Bucket { bucket }).await?;
    match answer {
        Answer::Bucket(Some((record, _))) => Ok(record),
        Answer::Bucket(None) => Err(no_such_bucket(access.bucket())),
        _ => Err(unexpected("Bucket")),
    }
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Gives the name of a bucket free that its group has sealed.
async fn free(gateway: &Gateway, pass: Pass, entry: &DirectoryEntry) -> Result<(), S3Error> {
    gateway.forget_bucket(&entry.name);
    let free = RootCommand::FreeBucket { name: entry.name.clone(), bucket: entry.id };
    gateway.root_command(pass, free).await?.map_err(|_| unexpected("FreeBucket"))?;
    Ok(())
}

/// Whether the bucket of an active entry has been sealed by a delete that did not come to its end; if so, brings it to
/// its end.
async fn free_if_sealed(gateway: &Gateway, pass: Pass, entry: &DirectoryEntry) -> Result<bool, S3Error> {
    let known = gateway.client(pass).query(entry.group, Query::Bucket { bucket: entry.id }).await?;
    let sealed = matches!(known, Answer::Bucket(None));
    if sealed {
        free(gateway, pass, entry).await?;
    }
    Ok(sealed)
}
