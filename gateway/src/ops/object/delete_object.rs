//! DeleteObject: the current version of a key goes, if what the client demands of it holds.

use axum::body::Body;
use cairn_storage::meta::command::{DeleteTarget, WriteCondition};
use cairn_storage::meta::{Command, Outcome, Rejection};
use cairn_storage::types::UnixMillis;
use http::{HeaderMap, Response, StatusCode};

use super::conditions::delete_condition;
use super::dates::parse_any_date;
use super::group;
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>
pub async fn handle(access: Access, request: Request) -> Reply {
    if request.version.must_be_there().is_err() {
        // As S3 has it: a version that is not there has been deleted.
        return Ok(no_content());
    }
    let target = DeleteTarget {
        key: access.key().to_owned(),
        condition: delete_condition(&request.headers)?,
        modified_ms: header(&request.headers, "x-amz-if-match-last-modified-time", modified_ms)?,
        size: header(&request.headers, "x-amz-if-match-size", |text| text.parse().ok())?,
    };
    if target.demands() {
        access.admit_to_read(&target.key).await?;
    }
    let command = |bucket| Command::DeleteObjects { bucket, targets: vec![target.clone()] };
    let (_, result) = access.command(command).await?;
    match result.map_err(|rejection| group::rejected(rejection, &target.key))? {
        Outcome::Deleted(results) => match <[_; 1]>::try_from(results) {
            Ok([result]) => judge(result, &target).map(|()| no_content()),
            Err(results) => Err(group::unexpected(&results)),
        },
        outcome => Err(group::unexpected(&outcome)),
    }
}

/// S3's view of what came of a target. A missing key is no failure, unless `If-Match` asks for one.
pub(super) fn judge(result: Result<bool, Rejection>, target: &DeleteTarget) -> Result<(), S3Error> {
    match result {
        Ok(_) => Ok(()),
        Err(Rejection::NoSuchKey) if target.condition == WriteCondition::Always => Ok(()),
        Err(rejection) => Err(group::rejected(rejection, &target.key)),
    }
}

/// The second of a date as a time of the group's; one that no object can have where it is before 1970.
pub(super) fn modified_ms(text: &str) -> Option<UnixMillis> {
    let seconds = u64::try_from(parse_any_date(text)?).ok();
    Some(seconds.and_then(|seconds| seconds.checked_mul(1000)).unwrap_or(u64::MAX))
}

fn header<T>(headers: &HeaderMap, name: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, S3Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_key_fails_only_where_if_match_asks_for_it() {
        let code = |condition, result| {
            let target = DeleteTarget { key: "k".into(), condition, modified_ms: None, size: Some(3) };
            judge(result, &target).map_err(|error| error.code)
        };
        assert_eq!(code(WriteCondition::Always, Ok(false)), Ok(()));
        assert_eq!(code(WriteCondition::Always, Err(Rejection::NoSuchKey)), Ok(()));
        assert_eq!(code(WriteCondition::Exists, Err(Rejection::NoSuchKey)), Err(Code::NoSuchKey));
        assert_eq!(code(WriteCondition::Always, Err(Rejection::PreconditionFailed)), Err(Code::PreconditionFailed));
    }

    #[test]
    fn a_time_before_1970_is_no_objects() {
        assert_eq!(modified_ms("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000));
        assert_eq!(modified_ms("1969-12-31T23:59:59Z"), Some(u64::MAX));
        assert_eq!(modified_ms("soon"), None);
    }
}
