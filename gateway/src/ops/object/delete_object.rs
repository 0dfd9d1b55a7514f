//! DeleteObject: the current version of a key goes, if what the client demands of it holds.

use axum::body::Body;
use cairn_storage::meta::command::{DeleteTarget, WriteCondition};
use cairn_storage::meta::query::Wanted;
use cairn_storage::meta::{Command, Outcome};
use http::{Response, StatusCode};

use super::conditions::delete_condition;
use super::dates::parse_any_date;
use super::group;
use crate::error::{Code, S3Error};
use crate::gateway::{Caller, Gateway};
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>
///
/// A missing key is no failure, unless `If-Match` asks for one.
pub async fn handle(gateway: &Gateway, request: Request) -> Reply {
    let demand = Demand {
        key: request.key,
        condition: delete_condition(&request.headers)?,
        size: header(&request.headers, "x-amz-if-match-size", |text| text.parse().ok())?,
        modified: header(&request.headers, "x-amz-if-match-last-modified-time", parse_any_date)?,
    };
    let Some(target) = demand.target(gateway, &request.caller, &request.bucket).await? else {
        return Ok(no_content());
    };
    let command = |bucket| Command::DeleteObjects { bucket, targets: vec![target.clone()] };
    let (_, result) = gateway.command_bucket(&request.caller, &request.bucket, command).await?;
    let outcome = result.map_err(|rejection| group::rejected(rejection, &target.key))?;
    match outcome {
        Outcome::Deleted(mut results) if results.len() == 1 => match results.pop() {
            Some(Err(rejection)) => Err(group::rejected(rejection, &target.key)),
            _ => Ok(no_content()),
        },
        outcome => Err(group::unexpected(&outcome)),
    }
}

/// What must hold of a key's current version for it to be deleted.
pub(super) struct Demand {
    pub key: String,
    pub condition: WriteCondition,
    pub size: Option<u64>,
    /// Seconds since the Unix epoch: clients know no more of a time.
    pub modified: Option<i64>,
}

impl Demand {
    /// The target of the command; `None` where there is nothing to delete. A time is looked up, and the command then
    /// names the very version that was seen.
    ///
    /// # Errors
    /// `PreconditionFailed` where the time is another.
    pub async fn target(
        self,
        gateway: &Gateway,
        caller: &Caller,
        bucket: &str,
    ) -> Result<Option<DeleteTarget>, S3Error> {
        let mut target = DeleteTarget { key: self.key, condition: self.condition, modified_ms: None, size: self.size };
        let Some(modified) = self.modified else { return Ok(Some(target)) };
        let (_, object) = group::find(gateway, caller, bucket, &target.key, Wanted::Nothing).await?;
        match object {
            None if target.condition == WriteCondition::Always => Ok(None),
            None => Err(group::no_such_key(&target.key)),
            Some(object) if i64::try_from(object.record.modified_ms / 1000) == Ok(modified) => {
                target.modified_ms = Some(object.record.modified_ms);
                Ok(Some(target))
            }
            Some(_) => Err(Code::PreconditionFailed.into()),
        }
    }
}

fn header<T>(
    headers: &http::HeaderMap,
    name: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, S3Error> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().ok().and_then(|text| parse(text.trim())).map(Some).ok_or_else(|| {
        S3Error::from(Code::InvalidArgument)
            .detail("ArgumentName", name)
            .detail("ArgumentValue", String::from_utf8_lossy(value.as_bytes()))
    })
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
