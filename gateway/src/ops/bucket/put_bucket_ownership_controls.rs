//! PutBucketOwnershipControls: whether there are access control lists, and whose is what others put.

use axum::body::Body;
use cairn_storage::meta::record::Setting;
use http::Response;

use crate::acl::{Acl, Ownership};
use crate::error::{Code, S3Error};
use crate::gate::{Access, Bucket};
use crate::request::{Reply, Request};
use crate::xml::{malformed, read_object_ownership};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketOwnershipControls.html>
pub async fn handle(access: Access, mut request: Request) -> Reply {
    let wanted = {
        let document = request.read_document(access.gateway()).await?;
        Ownership::named(&read_object_ownership(&document)?).ok_or_else(malformed)?
    };
    access.set(Setting::OwnershipControls, wanted.encode(), |found| check(wanted, found)).await?;
    Ok(Response::new(Body::empty()))
}

/// Whoever takes the lists away has to see that the bucket's own grants nothing any more: those of objects stay, and do
/// not count.
fn check(wanted: Ownership, found: &Bucket) -> Result<(), S3Error> {
    let is_owners = found.acl == Acl::of_owner(found.entry.owner);
    if wanted.has_acls() || !found.ownership.has_acls() || is_owners {
        return Ok(());
    }
    Err(Code::InvalidBucketAclWithObjectOwnership.into())
}
