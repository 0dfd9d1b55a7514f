//! CreateBucket: the root group reserves the name, the bucket's group creates it, the root group activates it. A
//! creation that was left half done is taken up again by the next one.

use axum::body::Body;
use cairn_storage::meta::record::{BucketRecord, DirectoryEntry, DirectoryState};
use cairn_storage::meta::{Command, Outcome, Rejection, RootCommand};
use cairn_storage::types::GroupId;
use http::{HeaderMap, HeaderValue, Response, header};

use super::{free, free_if_sealed, name};
use crate::error::{Code, S3Error};
use crate::gate::Pass;
use crate::gateway::{Gateway, Settings, unexpected};
use crate::request::{Reply, Request};
use crate::xml::CreateBucketConfiguration;

/// How often a creation starts again because a delete came in between.
const ATTEMPTS: usize = 4;

pub async fn handle(gateway: &Gateway, pass: Pass, mut request: Request) -> Reply {
    if !name::is_valid(&request.bucket) {
        return Err(S3Error::new(Code::InvalidBucketName).detail("BucketName", request.bucket));
    }
    check_headers(&request.headers)?;
    let configuration = {
        let document = request.read_document(gateway).await?;
        CreateBucketConfiguration::parse(&document)?
    };
    let region = region(gateway.settings(), configuration)?;
    for _ in 0..ATTEMPTS {
        if create(gateway, pass, &request, &region).await? {
            return created(&request.bucket);
        }
    }
    Err(Code::OperationAborted.into())
}

/// One attempt. False where another request changed the bucket in the meantime.
async fn create(gateway: &Gateway, pass: Pass, request: &Request, region: &str) -> Result<bool, S3Error> {
    let reserve = RootCommand::ReserveBucket {
        name: request.bucket.clone(),
        owner: request.caller.id,
        region: region.to_owned(),
        group: choose_group(gateway, pass, &request.bucket)?,
    };
    let entry = match gateway.root_command(pass, reserve).await? {
        Ok(Outcome::Directory(entry)) => entry,
        Err(Rejection::BucketTaken(entry)) => return taken(gateway, pass, request, *entry).await,
        Err(Rejection::NoSuchUser) => {
            gateway.forget_users().await;
            return Err(Code::AccessDenied.into());
        }
        _ => return Err(unexpected("ReserveBucket")),
    };
    finish(gateway, pass, entry).await
}

/// The name has an entry already.
async fn taken(gateway: &Gateway, pass: Pass, request: &Request, entry: DirectoryEntry) -> Result<bool, S3Error> {
    let own = entry.owner == request.caller.id;
    if entry.state == DirectoryState::Creating {
        return if own { finish(gateway, pass, entry).await } else { Err(Code::BucketAlreadyExists.into()) };
    }
    if free_if_sealed(gateway, pass, &entry).await? {
        return Ok(false);
    }
    match own {
        false => Err(Code::BucketAlreadyExists.into()),
        true if gateway.settings().region == "us-east-1" => Ok(true),
        true => Err(Code::BucketAlreadyOwnedByYou.into()),
    }
}

/// Creates the reserved bucket in its group and activates it. Each step may have been done already.
async fn finish(gateway: &Gateway, pass: Pass, entry: DirectoryEntry) -> Result<bool, S3Error> {
    let bucket = BucketRecord {
        id: entry.id,
        name: entry.name.clone(),
        owner: entry.owner,
        region: entry.region.clone(),
        created_ms: entry.created_ms,
        sealed: false,
    };
    match gateway.client(pass).command(entry.group, Command::CreateBucket { bucket }).await? {
        Ok(_) => {}
        // Created, sealed by a delete, and not yet freed.
        Err(Rejection::UnknownBucket) => {
            free(gateway, pass, &entry).await?;
            return Ok(false);
        }
        Err(rejection) => {
            tracing::error!(%rejection, bucket = entry.name, "a group did not create a bucket");
            return Err(Code::InternalError.into());
        }
    }
    let activate = RootCommand::ActivateBucket { name: entry.name.clone(), bucket: entry.id };
    if gateway.root_command(pass, activate).await?.is_err() {
        return Ok(false);
    }
    gateway.forget_bucket(&entry.name);
    Ok(true)
}

/// The groups share the buckets by name.
fn choose_group(gateway: &Gateway, pass: Pass, name: &str) -> Result<GroupId, S3Error> {
    let groups: Vec<GroupId> = gateway.client(pass).map().metadata_groups().collect();
    let hash = blake3::hash(name.as_bytes());
    let number = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap_or_default());
    let count = u64::try_from(groups.len()).unwrap_or(u64::MAX);
    let chosen = number.checked_rem(count).and_then(|at| groups.get(usize::try_from(at).ok()?));
    chosen.copied().ok_or_else(|| Code::ServiceUnavailable.into())
}

fn check_headers(headers: &HeaderMap) -> Result<(), S3Error> {
    if let Some(ownership) = headers.get("x-amz-object-ownership") {
        match ownership.as_bytes() {
            b"BucketOwnerEnforced" => {}
            b"BucketOwnerPreferred" | b"ObjectWriter" => {
                return Err(S3Error::new(Code::NotImplemented).detail("Header", "x-amz-object-ownership"));
            }
            other => {
                let other = String::from_utf8_lossy(other);
                let problem = format!("Invalid x-amz-object-ownership header: {other}");
                return Err(S3Error::with(Code::InvalidArgument, problem)
                    .detail("ArgumentName", "x-amz-object-ownership")
                    .detail("ArgumentValue", other));
            }
        }
    }
    match headers.get("x-amz-bucket-object-lock-enabled") {
        Some(enabled) if !enabled.as_bytes().eq_ignore_ascii_case(b"false") => {
            Err(S3Error::new(Code::NotImplemented).detail("Header", "x-amz-bucket-object-lock-enabled"))
        }
        _ => Ok(()),
    }
}

/// The region of the new bucket: the only one that there is. Where nobody chose it, clients may call it what they like.
fn region(settings: &Settings, configuration: CreateBucketConfiguration) -> Result<String, S3Error> {
    let ours = settings.region.as_str();
    match configuration.location_constraint.as_deref() {
        None | Some("") => Ok(ours.to_owned()),
        Some(_) if settings.any_region => Ok(ours.to_owned()),
        Some("EU") if ours == "eu-west-1" => Ok(ours.to_owned()),
        Some(asked) if asked == ours => Ok(ours.to_owned()),
        Some(asked) => Err(S3Error::new(Code::InvalidLocationConstraint).detail("LocationConstraint", asked)),
    }
}

fn created(name: &str) -> Reply {
    let mut response = Response::new(Body::empty());
    if let Ok(location) = HeaderValue::from_str(&format!("/{name}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraint(name: &str) -> CreateBucketConfiguration {
        CreateBucketConfiguration { location_constraint: Some(name.to_owned()) }
    }

    #[test]
    fn the_location_constraint_names_our_region_or_nothing() {
        let chosen = |region: &str| Settings { region: region.to_owned(), any_region: false, ..Settings::default() };
        assert_eq!(region(&chosen("us-east-1"), CreateBucketConfiguration::default()).unwrap(), "us-east-1");
        assert_eq!(region(&chosen("eu-west-1"), constraint("EU")).unwrap(), "eu-west-1");
        assert_eq!(region(&chosen("eu-west-1"), constraint("eu-west-1")).unwrap(), "eu-west-1");
        let error = region(&chosen("us-east-1"), constraint("eu-west-1")).unwrap_err();
        assert_eq!(error.code, Code::InvalidLocationConstraint);
        // Where nobody chose one.
        assert_eq!(region(&Settings::default(), constraint("eu-west-1")).unwrap(), "us-east-1");
    }

    #[test]
    fn promises_that_cannot_be_kept_are_refused() {
        let check = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
            check_headers(&headers).map_err(|error| error.code)
        };
        assert_eq!(check("x-amz-object-ownership", "BucketOwnerEnforced"), Ok(()));
        assert_eq!(check("x-amz-object-ownership", "ObjectWriter"), Err(Code::NotImplemented));
        assert_eq!(check("x-amz-object-ownership", "x"), Err(Code::InvalidArgument));
        assert_eq!(check("x-amz-bucket-object-lock-enabled", "True"), Err(Code::NotImplemented));
        assert_eq!(check("x-amz-bucket-object-lock-enabled", "false"), Ok(()));
    }
}
