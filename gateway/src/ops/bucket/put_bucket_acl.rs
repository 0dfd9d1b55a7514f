//! PutBucketAcl. Where there are no lists it takes what holds already, that the bucket is its owner's.

use axum::body::Body;
use cairn_storage::meta::record::Setting;
use http::Response;

use crate::acl::Asked;
use crate::gate::{Access, Bucket};
use crate::ops::acl;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAcl.html>
pub async fn handle(access: Access, mut request: Request) -> Reply {
    let (asked, named) = acl::wanted(&access, &mut request).await?;
    let found = access.settings().await?;
    let owner = found.entry.owner;
    if !found.ownership.has_acls() {
        acl::check_owners((&asked, named.as_deref()), owner)?;
        return Ok(Response::new(Body::empty()));
    }
    let list = acl::resolve((&asked, named.as_deref()), owner, owner)?;
    access.gateway().check_grantees(&list).await?;
    let value = list.encode(owner);
    let asked = Asked::Grants(list);
    access.set(Setting::Acl, value, |found: &Bucket| found.check_acl(&asked)).await?;
    Ok(Response::new(Body::empty()))
}
