//! The gate: between authentication and dispatch, the one place that says who may do what. What it hands out, an
//! [`Access`] or a [`Pass`], is the only way to the groups: an operation cannot be written without it. Nothing of a body
//! has been read before.
//!
//! What an operation turns out to need besides (the source of a copy, each key of a DeleteObjects) it asks for itself,
//! here.

mod access;
mod bucket;
mod circumstances;
mod identities;
mod identity;
mod judge;
mod rights;

use std::net::IpAddr;
use std::sync::OnceLock;

use cairn_storage::meta::query::Wanted;
use cairn_storage::meta::record::Label;
use cairn_storage::meta::{Answer, Query};
use cairn_storage::types::UserId;
use http::HeaderValue;

pub use self::access::Access;
pub use self::bucket::{Bucket, PublicAccessBlock};
use self::circumstances::Circumstances;
pub use self::circumstances::is_key;
pub use self::identities::{Said, admit_to_identities, would};
pub use self::identity::{ACCOUNT, Caller, Identity};
pub use self::judge::Explained;
pub use self::rights::{Library, Rights};
use crate::acl::Acl;
use crate::error::{Code, S3Error};
use crate::gateway::Gateway;
use crate::operation::Version;
use crate::ops::object::source::CopySource;
use crate::request::{Reply, Request};
use crate::router::is_not_built;
use crate::table::{Handler, Level, Mark, Row};

/// `x-amz-expected-bucket-owner`: the request is meant for the bucket of this user only.
const EXPECTED_OWNER: &str = "x-amz-expected-bucket-owner";
const EXPECTED_SOURCE_OWNER: &str = "x-amz-source-expected-bucket-owner";

/// Shows that the gate was passed. Only the gate makes one.
#[derive(Debug, Clone, Copy)]
pub struct Pass(());

#[cfg(test)]
impl Pass {
    /// For tests of what is behind the gate.
    pub const TEST: Self = Self(());
}

/// Judges a request and has its operation answer it.
pub async fn answer(gateway: &Gateway, row: &'static Row, mut request: Request) -> Reply {
    let is_copy = matches!(row.mark, Mark::Header(_));
    if request.headers.contains_key(EXPECTED_SOURCE_OWNER) && !is_copy {
        return Err(S3Error::with(Code::InvalidArgument, "There is no source whose owner could be expected.")
            .detail("ArgumentName", EXPECTED_SOURCE_OWNER));
    }
    match row.handler {
        // Who has not signed is told of nothing but what is open to all.
        Handler::NotBuilt if request.caller.is_anonymous() => Err(Code::AccessDenied.into()),
        Handler::NotBuilt => Err(is_not_built(row)),
        Handler::Service(handle) => {
            let pass = admit_to_service(gateway, row, &request)?;
            handle(gateway, pass, request).await
        }
        Handler::Bucket(handle) => {
            let version =
                if row.versioned { Version::parse(request.query.get("versionId")) } else { Ok(Version::Current) };
            // What can be no version is said to who may ask for one.
            let access = admit(gateway, row, &request, version.as_ref().unwrap_or(&Version::Null)).await?;
            request.version = version?;
            handle(access, request).await
        }
    }
}

/// What a request may do that is about no bucket, or about one that is yet to be made.
///
/// # Errors
/// `AccessDenied`.
fn admit_to_service(gateway: &Gateway, row: &Row, request: &Request) -> Result<Pass, S3Error> {
    let circumstances = Circumstances::of(request, Version::Current);
    circumstances.check_lengths()?;
    let context = OnceLock::new();
    let make = || circumstances.context(&gateway.settings().trusted_proxies);
    // What a bucket is made with is asked for as if it were set afterwards.
    let headers = &request.headers;
    let sets_acl = headers.keys().any(|name| name == "x-amz-acl" || name.as_str().starts_with("x-amz-grant-"));
    let sets_ownership = headers.contains_key("x-amz-object-ownership");
    let besides = [(sets_acl, "s3:PutBucketAcl"), (sets_ownership, "s3:PutBucketOwnershipControls")];
    let besides = besides.into_iter().filter_map(|(is_asked, action)| is_asked.then_some(action));
    for action in row.actions(&Version::Current).iter().copied().chain(besides) {
        if !judge::of_service(&request.caller, action, &request.bucket, || context.get_or_init(make)) {
            return Err(Code::AccessDenied.into());
        }
    }
    if let Some(expected) = request.headers.get(EXPECTED_OWNER).filter(|_| row.level == Level::Bucket) {
        check_owner(expected, request.caller.id)?;
    }
    Ok(Pass(()))
}

/// The way to the bucket that a request is about.
///
/// # Errors
/// `NoSuchBucket`, `AccessDenied`, and that a group does not answer.
async fn admit(gateway: &Gateway, row: &Row, request: &Request, version: &Version) -> Result<Access, S3Error> {
    let expected = request.headers.get(EXPECTED_OWNER);
    let caller = (&request.caller, Circumstances::of(request, version.clone()));
    Access::open(gateway, caller, row.actions(version), (&request.bucket, &request.key), expected).await
}

/// The way to the source of a copy; `target` shows that the caller may write, as who may not learns nothing of it.
///
/// # Errors
/// `NoSuchBucket`, `AccessDenied`, and that a group does not answer.
pub async fn admit_to_source(target: &Access, source: &CopySource, request: &Request) -> Result<Access, S3Error> {
    let actions: &[_] = match source.version {
        Version::Current => &["s3:GetObject"],
        Version::Null | Version::Id(_) => &["s3:GetObjectVersion"],
    };
    let expected = request.headers.get(EXPECTED_SOURCE_OWNER);
    let caller = (target.caller(), target.circumstances().with_version(source.version.clone()));
    Access::open(target.gateway(), caller, actions, (&source.bucket, &source.key), expected).await
}

/// The admin API and the metrics are root's, by a key that nothing narrows.
///
/// # Errors
/// `AccessDenied`.
pub fn admit_to_admin(caller: &Identity) -> Result<Pass, S3Error> {
    let is_whole = caller.rights().narrowing.is_none();
    if caller.is_root() && is_whole { Ok(Pass(())) } else { Err(Code::AccessDenied.into()) }
}

/// What would be said to a caller of a bucket, or of a key in it, from an address.
///
/// # Errors
/// `NoSuchBucket`, and that a group does not answer.
pub async fn explain(
    gateway: &Gateway,
    caller: &Identity,
    action: &str,
    (bucket, key): (&str, &str),
    from: Option<IpAddr>,
) -> Result<Explained, S3Error> {
    let found = Bucket::find(gateway, bucket).await?;
    let context = Circumstances::from(from).context(&[]);
    if judge::is_of_object(&found, action, key) {
        let query = Query::Object { bucket: found.entry.id, key: key.to_owned(), wanted: Wanted::Nothing, limit: 1 };
        let answer = gateway.client(Pass(())).query(found.entry.group, query).await?;
        if let Answer::Object { object: Some(object), .. } = answer {
            let (owner, attributes) = (object.record.owner, object.record.attributes);
            let list = Acl::decode(attributes.label(Label::Acl), owner);
            let denied = judge::explain(caller, action, &found, (key, None), &context);
            // A denial is the bucket's, whosever the object is.
            return Ok(match denied.allowed {
                true => judge::explain(caller, action, &found, (key, Some((owner, &list))), &context),
                false => denied,
            });
        }
    }
    Ok(judge::explain(caller, action, &found, (key, None), &context))
}

fn check_owner(expected: &HeaderValue, owner: UserId) -> Result<(), S3Error> {
    if expected.as_bytes() == owner.to_string().as_bytes() { Ok(()) } else { Err(Code::AccessDenied.into()) }
}
