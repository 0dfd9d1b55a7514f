//! CreateBucket: the root group reserves the name, the bucket's group creates it, the root group activates it. A
//! creation that was left half done is taken up again by the next one.

use axum::body::Body;
use bytes::Bytes;
use cairn_storage::meta::record::{BucketRecord, DirectoryEntry, DirectoryState, Setting};
use cairn_storage::meta::{Answer, Command, Outcome, Query, Rejection, RootCommand};
use cairn_storage::types::{GroupId, UserId};
use http::{HeaderMap, HeaderValue, Response, header};

use super::{free, free_if_sealed, name};
use crate::acl::{self, Ownership};
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
    let made = Made::from_headers(&request.headers, gateway.settings().object_ownership)?;
    if let acl::Asked::Grants(list) = &made.acl {
        gateway.check_grantees(list).await?;
    }
    let configuration = {
        let document = request.read_document(gateway).await?;
        CreateBucketConfiguration::parse(&document)?
    };
    let region = region(gateway.settings(), configuration)?;
    for _ in 0..ATTEMPTS {
        if create(gateway, pass, &request, &region, &made).await? {
            return created(&request.bucket);
        }
    }
    Err(Code::OperationAborted.into())
}

/// One attempt. False where another request changed the bucket in the meantime.
async fn create(gateway: &Gateway, pass: Pass, request: &Request, region: &str, made: &Made) -> Result<bool, S3Error> {
    let reserve = RootCommand::ReserveBucket {
        name: request.bucket.clone(),
        owner: request.caller.id,
        region: region.to_owned(),
        group: choose_group(gateway, pass, &request.bucket)?,
    };
    let entry = match gateway.root_command(pass, reserve).await? {
        Ok(Outcome::Directory(entry)) => entry,
        Err(Rejection::BucketTaken(entry)) => return taken(gateway, pass, request, *entry, made).await,
        Err(Rejection::NoSuchUser) => {
            gateway.forget_users().await;
            return Err(Code::AccessDenied.into());
        }
        _ => return Err(unexpected("ReserveBucket")),
    };
    finish(gateway, pass, entry, made).await
}

/// The name has an entry already.
async fn taken(
    gateway: &Gateway,
    pass: Pass,
    request: &Request,
    entry: DirectoryEntry,
    made: &Made,
) -> Result<bool, S3Error> {
    let own = entry.owner == request.caller.id;
    if entry.state == DirectoryState::Creating {
        return if own { finish(gateway, pass, entry, made).await } else { Err(Code::BucketAlreadyExists.into()) };
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
async fn finish(gateway: &Gateway, pass: Pass, entry: DirectoryEntry, made: &Made) -> Result<bool, S3Error> {
    let bucket = BucketRecord {
        id: entry.id,
        name: entry.name.clone(),
        owner: entry.owner,
        region: entry.region.clone(),
        created_ms: entry.created_ms,
        sealed: false,
    };
    let command = match made.settings(entry.owner) {
        settings if settings.is_empty() => Command::CreateBucket { bucket },
        settings => Command::CreateBucketWith { bucket, settings },
    };
    match gateway.client(pass).command(entry.group, command).await? {
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
    if !settle(gateway, pass, &entry, made).await? {
        return Ok(false);
    }
    let activate = RootCommand::ActivateBucket { name: entry.name.clone(), bucket: entry.id };
    if gateway.root_command(pass, activate).await?.is_err() {
        return Ok(false);
    }
    gateway.forget_bucket(&entry.name);
    Ok(true)
}

/// Sees that a bucket which nobody was told of yet is set as this request has it: another one, that did not come to its
/// end, may have begun it. False where somebody else sets it at the same time.
///
/// # Errors
/// `OperationAborted` where another request has brought it to its end in between.
async fn settle(gateway: &Gateway, pass: Pass, entry: &DirectoryEntry, made: &Made) -> Result<bool, S3Error> {
    let client = gateway.client(pass);
    let wanted = made.settings(entry.owner);
    let query = Query::BucketSettings { bucket: entry.id };
    let Answer::BucketSettings { settings: Some(mut epoch), values } = client.query(entry.group, query).await? else {
        return Ok(false);
    };
    for setting in Made::SETTINGS {
        let of = |values: &[(Setting, Bytes)]| {
            values.iter().find(|(own, _)| *own == setting).map(|(_, value)| value.clone())
        };
        let value = of(&wanted);
        if of(&values) == value {
            continue;
        }
        let now = gateway.directory_entry(&entry.name).await?;
        if now.is_none_or(|now| now.id != entry.id || now.state != DirectoryState::Creating) {
            return Err(Code::OperationAborted.into());
        }
        let command = Command::SetBucketSetting { bucket: entry.id, setting, value };
        match client.command_judged_by(vec![(entry.id, epoch)], entry.group, command).await? {
            Ok(Outcome::Settings(now)) => epoch = now,
            _ => return Ok(false),
        }
    }
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

/// How the bucket is to be made.
struct Made {
    ownership: Ownership,
    acl: acl::Asked,
}

impl Made {
    fn from_headers(headers: &HeaderMap, default: Ownership) -> Result<Self, S3Error> {
        let ownership = match headers.get("x-amz-object-ownership") {
            None => default,
            Some(name) => name.to_str().ok().and_then(Ownership::named).ok_or_else(|| {
                let name = String::from_utf8_lossy(name.as_bytes());
                let problem = format!("Invalid x-amz-object-ownership header: {name}");
                S3Error::with(Code::InvalidArgument, problem)
                    .detail("ArgumentName", "x-amz-object-ownership")
                    .detail("ArgumentValue", name)
            })?,
        };
        let acl = acl::Asked::from_headers(headers)?;
        if !ownership.has_acls() && !acl.is_owners() {
            return Err(Code::InvalidBucketAclWithObjectOwnership.into());
        }
        match headers.get("x-amz-bucket-object-lock-enabled") {
            Some(enabled) if !enabled.as_bytes().eq_ignore_ascii_case(b"false") => {
                Err(S3Error::new(Code::NotImplemented).detail("Header", "x-amz-bucket-object-lock-enabled"))
            }
            _ => Ok(Self { ownership, acl }),
        }
    }

    /// What may be set.
    const SETTINGS: [Setting; 2] = [Setting::OwnershipControls, Setting::Acl];

    /// What is set of the bucket of an owner.
    fn settings(&self, owner: UserId) -> Vec<(Setting, Bytes)> {
        let list = match &self.acl {
            acl::Asked::Nothing => None,
            acl::Asked::Canned(canned) => canned.list(owner, owner).encode(owner),
            acl::Asked::Grants(list) => list.encode(owner),
        };
        let list = list.filter(|_| self.ownership.has_acls());
        let set = Self::SETTINGS.into_iter().zip([self.ownership.encode(), list]);
        set.filter_map(|(setting, value)| Some((setting, value?))).collect()
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
            let made = Made::from_headers(&headers, Ownership::default());
            made.map(|made| made.settings(UserId([1; 16])).len()).map_err(|error| error.code)
        };
        assert_eq!(check("x-amz-object-ownership", "BucketOwnerEnforced"), Ok(0));
        assert_eq!(check("x-amz-object-ownership", "ObjectWriter"), Ok(1));
        assert_eq!(check("x-amz-acl", "private"), Ok(0));
        assert_eq!(check("x-amz-acl", "public-read"), Err(Code::InvalidBucketAclWithObjectOwnership));
        assert_eq!(check("x-amz-object-ownership", "x"), Err(Code::InvalidArgument));
        assert_eq!(check("x-amz-bucket-object-lock-enabled", "True"), Err(Code::NotImplemented));
        assert_eq!(check("x-amz-bucket-object-lock-enabled", "false"), Ok(0));
    }
}
