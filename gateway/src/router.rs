//! The contents page: which request is which operation, and which file answers it.

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::error::{Code, S3Error};
use crate::gateway::Gateway;
use crate::middleware::late::patiently;
use crate::operation::{Operation, Target};
use crate::ops::{bucket, multipart, object};
use crate::request::{Params, Reply, Request};

/// Has an operation answer its request.
pub fn dispatch<'a>(operation: Operation, gateway: &'a Gateway, request: Request) -> BoxFuture<'a, Reply> {
    match operation {
        Operation::ListBuckets => Box::pin(bucket::list_buckets::handle(gateway, request)),

        Operation::CreateBucket => Box::pin(bucket::create_bucket::handle(gateway, request)),
        Operation::HeadBucket => Box::pin(bucket::head_bucket::handle(gateway, request)),
        Operation::DeleteBucket => Box::pin(bucket::delete_bucket::handle(gateway, request)),
        Operation::GetBucketLocation => Box::pin(bucket::get_bucket_location::handle(gateway, request)),
        Operation::GetBucketVersioning => Box::pin(bucket::get_bucket_versioning::handle(gateway, request)),
        Operation::GetBucketAcl => Box::pin(bucket::get_bucket_acl::handle(gateway, request)),
        Operation::ListObjects => Box::pin(bucket::list_objects::handle(gateway, request)),
        Operation::ListObjectsV2 => Box::pin(bucket::list_objects_v2::handle(gateway, request)),
        Operation::ListObjectVersions => Box::pin(bucket::list_object_versions::handle(gateway, request)),

        Operation::GetObject => Box::pin(object::get_object::handle(gateway, request)),
        Operation::HeadObject => Box::pin(object::head_object::handle(gateway, request)),
        Operation::PutObject => Box::pin(object::put_object::handle(gateway, request)),
        Operation::CopyObject => {
            let (gateway, request) = (gateway.clone(), request.without_body());
            Box::pin(patiently(Box::pin(async move { object::copy_object::handle(&gateway, request).await })))
        }
        Operation::DeleteObject => Box::pin(object::delete_object::handle(gateway, request)),
        Operation::DeleteObjects => Box::pin(object::delete_objects::handle(gateway, request)),
        Operation::GetObjectAttributes => Box::pin(object::get_object_attributes::handle(gateway, request)),
        Operation::GetObjectAcl => Box::pin(object::get_object_acl::handle(gateway, request)),

        Operation::ListMultipartUploads => Box::pin(multipart::list_uploads::handle(gateway, request)),
        Operation::CreateMultipartUpload => Box::pin(multipart::create::handle(gateway, request)),
        Operation::UploadPart => Box::pin(multipart::upload_part::handle(gateway, request)),
        Operation::UploadPartCopy => {
            let (gateway, request) = (gateway.clone(), request.without_body());
            Box::pin(patiently(Box::pin(async move { multipart::upload_part_copy::handle(&gateway, request).await })))
        }
        Operation::CompleteMultipartUpload => {
            let gateway = gateway.clone();
            Box::pin(patiently(Box::pin(async move { multipart::complete::handle(&gateway, request).await })))
        }
        Operation::AbortMultipartUpload => Box::pin(multipart::abort::handle(gateway, request)),
        Operation::ListParts => Box::pin(multipart::list_parts::handle(gateway, request)),
    }
}

/// Subresources of a bucket that S3 has and Cairn has not. They must not fall through to another operation: a
/// `DELETE /bucket?lifecycle` is not a `DELETE /bucket`.
const NOT_BUILT_OF_BUCKET: &[&str] = &[
    "abac",
    "accelerate",
    "analytics",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "lifecycle",
    "logging",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "session",
    "tagging",
    "website",
];

/// The same for objects.
const NOT_BUILT_OF_OBJECT: &[&str] =
    &["annotation", "encryption", "legal-hold", "renameObject", "restore", "retention", "select", "tagging", "torrent"];

/// Subresources that are built for some methods; with any other they are no operation at all.
const BUILT_OF_BUCKET: &[&str] = &["acl", "delete", "location", "uploads", "versioning", "versions"];
const BUILT_OF_OBJECT: &[&str] = &["acl", "attributes", "uploadId", "uploads"];

/// What S3 calls the upload of an HTML form.
const FORM: &str = "POST form upload";

/// An HTML form is signed in its body, so that nobody can be asked to sign the head first.
pub fn refuse_form(method: &Method, target: &Target, headers: &HeaderMap) -> Result<(), S3Error> {
    const TYPE: &[u8] = b"multipart/form-data";
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_form = content_type.get(..TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(TYPE));
    let of_bucket = !target.bucket.is_empty() && target.key.is_empty();
    if *method == Method::POST && of_bucket && is_form { Err(not_built(FORM)) } else { Ok(()) }
}

/// All parameters that make another operation of a request.
#[cfg(test)]
pub fn subresources() -> impl Iterator<Item = &'static str> {
    [NOT_BUILT_OF_BUCKET, NOT_BUILT_OF_OBJECT, BUILT_OF_BUCKET, BUILT_OF_OBJECT].into_iter().flatten().copied()
}

/// The operation that a request asks for. Parameters that nobody knows are ignored.
pub fn route(method: &Method, target: &Target, headers: &HeaderMap) -> Result<Operation, S3Error> {
    let query = &target.query;
    check_once(query)?;
    if target.bucket.is_empty() {
        return match *method {
            Method::GET => Ok(Operation::ListBuckets),
            _ => Err(not_allowed(method, "SERVICE")),
        };
    }
    if target.key.is_empty() { route_bucket(method, query) } else { route_object(method, query, headers) }
}

fn route_bucket(method: &Method, query: &Params) -> Result<Operation, S3Error> {
    let subresource = subresource(query, BUILT_OF_BUCKET, NOT_BUILT_OF_BUCKET)?;
    Ok(match (method.as_str(), subresource) {
        ("GET", None) if query.get("list-type") == Some("2") => Operation::ListObjectsV2,
        ("GET", None) => Operation::ListObjects,
        ("GET", Some("acl")) => Operation::GetBucketAcl,
        ("GET", Some("location")) => Operation::GetBucketLocation,
        ("GET", Some("uploads")) => Operation::ListMultipartUploads,
        ("GET", Some("versioning")) => Operation::GetBucketVersioning,
        ("GET", Some("versions")) => Operation::ListObjectVersions,
        ("HEAD", _) => Operation::HeadBucket,
        ("PUT", None) => Operation::CreateBucket,
        ("PUT", Some(name @ ("acl" | "versioning"))) => return Err(not_built(name)),
        ("DELETE", None) => Operation::DeleteBucket,
        ("POST", Some("delete")) => Operation::DeleteObjects,
        ("POST", None) => return Err(not_built(FORM)),
        _ => return Err(not_allowed(method, "BUCKET")),
    })
}

fn route_object(method: &Method, query: &Params, headers: &HeaderMap) -> Result<Operation, S3Error> {
    let subresource = subresource(query, BUILT_OF_OBJECT, NOT_BUILT_OF_OBJECT)?;
    let copies = headers.contains_key("x-amz-copy-source");
    let operation = match (method.as_str(), subresource) {
        ("GET", None) => Operation::GetObject,
        ("GET", Some("acl")) => Operation::GetObjectAcl,
        ("GET", Some("attributes")) => Operation::GetObjectAttributes,
        ("GET", Some("uploadId")) => Operation::ListParts,
        ("HEAD", _) => Operation::HeadObject,
        ("PUT", Some("acl")) => return Err(not_built("acl")),
        ("PUT", Some("uploadId")) if !query.has("partNumber") => return Err(missing("partNumber")),
        ("PUT", Some("uploadId")) if copies => Operation::UploadPartCopy,
        ("PUT", Some("uploadId")) => Operation::UploadPart,
        ("PUT", None) if query.has("partNumber") => return Err(missing("uploadId")),
        ("PUT", None) if copies => Operation::CopyObject,
        ("PUT", None) => Operation::PutObject,
        ("DELETE", None) => Operation::DeleteObject,
        ("DELETE", Some("uploadId")) => Operation::AbortMultipartUpload,
        ("POST", Some("uploads")) => Operation::CreateMultipartUpload,
        ("POST", Some("uploadId")) => Operation::CompleteMultipartUpload,
        _ => return Err(not_allowed(method, "OBJECT")),
    };
    check_version(operation, query)?;
    Ok(operation)
}

/// All objects are unversioned yet, and S3 calls their version `null`. Any other version does not exist.
fn check_version(operation: Operation, query: &Params) -> Result<(), S3Error> {
    use Operation as O;
    let Some(version) = query.get("versionId") else {
        return Ok(());
    };
    match operation {
        O::GetObject | O::HeadObject | O::PutObject | O::GetObjectAttributes | O::GetObjectAcl => {
            check_version_id(version)
        }
        // Its own business: a version that is not there has been deleted.
        _ => Ok(()),
    }
}

/// `null` is the only version that there is; `NoSuchVersion` for what could be one, `InvalidArgument` for what could
/// not. Also for the versions named in a DeleteObjects or in a copy source.
pub fn check_version_id(version: &str) -> Result<(), S3Error> {
    let could_be = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let problem = match version {
        "null" => return Ok(()),
        "" => S3Error::with(Code::InvalidArgument, "Version id cannot be the empty string"),
        _ if version.len() <= 128 && version.bytes().all(could_be) => {
            return Err(S3Error::new(Code::NoSuchVersion).detail("VersionId", version));
        }
        _ => S3Error::with(Code::InvalidArgument, "Invalid version id specified"),
    };
    Err(problem.detail("ArgumentName", "versionId").detail("ArgumentValue", version))
}

/// The subresource that a query names. The order of parameters is not signed, so that it must not matter: of two
/// subresources none is meant.
fn subresource(
    query: &Params,
    built: &[&'static str],
    not_built_yet: &[&'static str],
) -> Result<Option<&'static str>, S3Error> {
    let known = |name: &str| built.iter().chain(not_built_yet).copied().find(|known| *known == name);
    let mut named: Vec<&'static str> = query.0.iter().filter_map(|(name, _)| known(name)).collect();
    named.sort_unstable();
    named.dedup();
    match named[..] {
        [] => Ok(None),
        [name] if not_built_yet.contains(&name) => Err(not_built(name)),
        [name] => Ok(Some(name)),
        _ => {
            let conflict = format!("Conflicting query string parameters: {}", named.join(", "));
            Err(S3Error::with(Code::InvalidArgument, conflict).detail("ResourceType", named.join(", ")))
        }
    }
}

/// Which of two values comes first is not signed either.
fn check_once(query: &Params) -> Result<(), S3Error> {
    match query.0.iter().find(|(name, value)| query.get(name).is_some_and(|first| first != value)) {
        None => Ok(()),
        Some((name, _)) => {
            let problem = "A parameter of the request is there with more than one value.";
            Err(S3Error::with(Code::InvalidArgument, problem).detail("ArgumentName", name))
        }
    }
}

fn not_built(name: &str) -> S3Error {
    S3Error::with(Code::NotImplemented, format!("Cairn does not implement this yet: {name}")).detail("Header", name)
}

fn not_allowed(method: &Method, kind: &str) -> S3Error {
    S3Error::new(Code::MethodNotAllowed).detail("Method", method.as_str()).detail("ResourceType", kind)
}

fn missing(name: &str) -> S3Error {
    S3Error::with(Code::InvalidArgument, format!("The request needs the parameter {name}."))
        .detail("ArgumentName", name)
}

#[cfg(test)]
#[path = "router_test.rs"]
mod tests;
