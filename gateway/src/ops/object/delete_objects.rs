//! DeleteObjects: up to 1,000 keys in one request, each with a result of its own.

use cairn_storage::meta::command::{DeleteTarget, WriteCondition};
use cairn_storage::meta::{Command, Outcome};

use super::conditions::etag_or_nobodys;
use super::dates::parse_any_date;
use super::delete_object::Demand;
use super::group;
use crate::error::{Code, S3Error};
use crate::gateway::{Caller, Gateway};
use crate::operation::MAX_KEY_LEN;
use crate::request::{Reply, Request};
use crate::router::check_version_id;
use crate::xml::{DeleteRequest, Document, ObjectToDelete};

/// The longest body, in bytes: 1,000 keys of 1,024 bytes and what goes around them.
const MAX_BODY_LEN: usize = 2 << 20;

/// How many bytes of keys go into one command. A command has an upper bound, and the keys of one request are not
/// deleted in one moment in S3 either.
const MAX_BATCH_LEN: usize = 256 << 10;

/// What came of one object: its target, nothing to delete, or why not.
enum Step {
    Delete(DeleteTarget),
    Done(Result<(), S3Error>),
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
pub async fn handle(gateway: &Gateway, mut request: Request) -> Reply {
    let asked = {
        let document = request.read_document(gateway, MAX_BODY_LEN).await?;
        DeleteRequest::parse(&document)?
    };
    // Also where there is no target to be sent: a missing bucket is an error of the whole request.
    gateway.open_bucket(&request.caller, &request.bucket).await?;
    let mut steps = Vec::with_capacity(asked.objects.len());
    for object in &asked.objects {
        steps.push(step(gateway, &request.caller, &request.bucket, object).await?);
    }
    let results = delete(gateway, &request, steps).await?;
    Ok(answer(&asked, &results).reply())
}

/// Looks up what has to be looked up. An error that is not this object's but the bucket's ends the request.
async fn step(gateway: &Gateway, caller: &Caller, bucket: &str, object: &ObjectToDelete) -> Result<Step, S3Error> {
    let demand = match demand(object) {
        Ok(demand) => demand,
        // S3 has deleted a version that is not there.
        Err(error) if error.code == Code::NoSuchVersion => return Ok(Step::Done(Ok(()))),
        Err(error) => return Ok(Step::Done(Err(error))),
    };
    match demand.target(gateway, caller, bucket).await {
        Ok(Some(target)) => Ok(Step::Delete(target)),
        Ok(None) => Ok(Step::Done(Ok(()))),
        Err(error) if matches!(error.code, Code::NoSuchKey | Code::PreconditionFailed) => Ok(Step::Done(Err(error))),
        Err(error) => Err(error),
    }
}

fn demand(object: &ObjectToDelete) -> Result<Demand, S3Error> {
    if object.key.len() > MAX_KEY_LEN {
        return Err(Code::KeyTooLongError.into());
    }
    if let Some(version) = &object.version_id {
        check_version_id(version)?;
    }
    let condition = match object.etag.as_deref().map(str::trim) {
        None => WriteCondition::Always,
        Some("*") => WriteCondition::Exists,
        Some(text) => WriteCondition::ETag(etag_or_nobodys(text)),
    };
    let modified = match &object.last_modified {
        None => None,
        Some(text) => Some(parse_any_date(text).ok_or(Code::InvalidArgument)?),
    };
    Ok(Demand { key: object.key.clone(), condition, size: object.size, modified })
}

/// Sends the targets in batches; the results are in the order of the steps.
async fn delete(gateway: &Gateway, request: &Request, steps: Vec<Step>) -> Result<Vec<Result<(), S3Error>>, S3Error> {
    let mut results = Vec::with_capacity(steps.len());
    let mut batch = Vec::new();
    let mut batch_len = 0;
    for step in steps {
        match step {
            Step::Done(result) => results.push(Some(result)),
            Step::Delete(target) => {
                if batch_len + target.key.len() > MAX_BATCH_LEN {
                    send(gateway, request, std::mem::take(&mut batch), &mut results).await?;
                    batch_len = 0;
                }
                batch_len += target.key.len();
                batch.push((results.len(), target));
                results.push(None);
            }
        }
    }
    send(gateway, request, batch, &mut results).await?;
    Ok(results.into_iter().map(|result| result.unwrap_or_else(|| Err(Code::InternalError.into()))).collect())
}

async fn send(
    gateway: &Gateway,
    request: &Request,
    batch: Vec<(usize, DeleteTarget)>,
    results: &mut [Option<Result<(), S3Error>>],
) -> Result<(), S3Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let (places, targets): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    let command = |bucket| Command::DeleteObjects { bucket, targets: targets.clone() };
    match gateway.command_bucket(&request.caller, &request.bucket, command).await?.1 {
        Ok(Outcome::Deleted(deleted)) if deleted.len() == targets.len() => {
            for ((place, target), result) in places.into_iter().zip(&targets).zip(deleted) {
                let result = result.map(|_| ()).map_err(|rejection| group::rejected(rejection, &target.key));
                if let Some(slot) = results.get_mut(place) {
                    *slot = Some(result);
                }
            }
            Ok(())
        }
        Ok(outcome) => Err(group::unexpected(&outcome)),
        Err(rejection) => Err(group::rejected(rejection, "")),
    }
}

fn answer(asked: &DeleteRequest, results: &[Result<(), S3Error>]) -> Document {
    let mut document = Document::with_capacity("DeleteResult", 128 * results.len());
    for (object, result) in asked.objects.iter().zip(results) {
        match result {
            Ok(()) if asked.quiet => {}
            Ok(()) => {
                document.open("Deleted").text("Key", &object.key);
                document.text_opt("VersionId", object.version_id.as_deref()).close();
            }
            Err(error) => {
                document.open("Error").text("Key", &object.key);
                document.text_opt("VersionId", object.version_id.as_deref());
                document.text("Code", error.code.as_str()).text("Message", error.message()).close();
            }
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str) -> ObjectToDelete {
        ObjectToDelete { key: key.to_owned(), ..ObjectToDelete::default() }
    }

    #[test]
    fn demands_are_made_of_what_is_given() {
        let all = ObjectToDelete {
            etag: Some("\"37b51d194a7513e45b56f6524f2d51f2\"".into()),
            version_id: Some("null".into()),
            last_modified: Some("1994-11-06T08:49:37Z".into()),
            size: Some(3),
            ..object("a")
        };
        let made = demand(&all).unwrap();
        assert!(matches!(made.condition, WriteCondition::ETag(_)));
        assert_eq!((made.size, made.modified), (Some(3), Some(784_111_777)));
        let plain = demand(&object("a")).unwrap();
        assert_eq!((plain.condition, plain.size, plain.modified), (WriteCondition::Always, None, None));
    }

    #[test]
    fn what_cannot_be_is_an_error_of_its_key_alone() {
        let code = |object: &ObjectToDelete| demand(object).map(|_| ()).unwrap_err().code;
        assert_eq!(code(&object(&"k".repeat(1_025))), Code::KeyTooLongError);
        assert_eq!(code(&ObjectToDelete { last_modified: Some("soon".into()), ..object("a") }), Code::InvalidArgument);
        let version = Some("3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY".to_owned());
        assert_eq!(code(&ObjectToDelete { version_id: version, ..object("a") }), Code::NoSuchVersion);
    }

    #[test]
    fn a_quiet_answer_shows_errors_only() {
        let mut asked = DeleteRequest { objects: vec![object("a&b"), object("c")], quiet: false };
        let results = [Ok(()), Err(Code::PreconditionFailed.into())];
        let loud = answer(&asked, &results).finish();
        assert!(
            loud.contains("<Deleted><Key>a&amp;b</Key></Deleted><Error><Key>c</Key><Code>PreconditionFailed</Code>")
        );
        asked.quiet = true;
        let quiet = answer(&asked, &results).finish();
        assert!(!quiet.contains("Deleted") && quiet.contains("<Error><Key>c</Key>"));
    }
}
