//! Asks a bucket's group about objects and uploads, has it publish bodies, and turns what came of it into S3's errors.

use std::sync::Arc;

use cairn_storage::meta::command::{NewBody, WriteCondition};
use cairn_storage::meta::query::{ObjectAnswer, UploadState, Wanted};
use cairn_storage::meta::record::DirectoryEntry;
use cairn_storage::meta::{Answer, Command, Outcome, Query, Rejection};
use cairn_storage::types::{BucketId, UploadId};

use crate::data::{Since, aged};
use crate::error::{Code, S3Error};
use crate::gate::Access;

/// How many chunks the first answer about an object names at most. The data path asks for those after them.
const FIRST_SPANS: u32 = 64;

/// How often a command is sent again after its body was touched anew, or its bucket was made anew.
const MAX_TRIES: usize = 4;

/// The current version of a key and, as far as `wanted`, where its bytes are; `None` where there is no such key.
pub async fn find(
    access: &Access,
    wanted: Wanted,
) -> Result<(Arc<DirectoryEntry>, Option<Box<ObjectAnswer>>), S3Error> {
    let query = |bucket| Query::Object { bucket, key: access.key().to_owned(), wanted, limit: FIRST_SPANS };
    match access.query(query).await? {
        (entry, Answer::Object { object, .. }) => Ok((entry, object)),
        (_, answer) => Err(unexpected(&answer)),
    }
}

/// The same; a missing key is `NoSuchKey`, or `AccessDenied` for who may not list the bucket.
pub async fn get(access: &Access, wanted: Wanted) -> Result<(Arc<DirectoryEntry>, ObjectAnswer), S3Error> {
    let (entry, object) = find(access, wanted).await?;
    match object {
        Some(object) => Ok((entry, *object)),
        None => Err(access.missing(no_such_key(access.key())).await),
    }
}

/// What the group knows of an upload.
pub async fn upload(access: &Access, upload: UploadId) -> Result<(Arc<DirectoryEntry>, UploadState), S3Error> {
    let query = |bucket| Query::Upload { bucket, key: access.key().to_owned(), upload };
    match access.query(query).await? {
        (entry, Answer::Upload { upload, .. }) => Ok((entry, upload)),
        (_, answer) => Err(unexpected(&answer)),
    }
}

/// Whether the caller may set such a condition: what comes of one tells of the object that is there.
///
/// Source: S3 User Guide, "How to prevent object overwrites with conditional writes", which asks for both permissions.
///
/// # Errors
/// `AccessDenied`.
pub async fn admit_condition(access: &Access, condition: &WriteCondition) -> Result<(), S3Error> {
    match condition {
        WriteCondition::Always | WriteCondition::Absent => Ok(()),
        WriteCondition::Exists | WriteCondition::ETag(_) => access.admit_to_read(access.key()).await,
    }
}

/// Sends the command that makes a stored body visible. Chunks that were put too long ago are touched again.
///
/// Chunks belong to a group. Where the bucket of `opened` is gone and its name is another bucket's by now, that one
/// gets the body only if it is of the same group.
///
/// # Errors
/// `ServiceUnavailable` where it does not come to an end; the client has to send it again.
pub async fn publish(
    access: &Access,
    opened: &DirectoryEntry,
    mut body: NewBody,
    command: impl Fn(BucketId, NewBody) -> Command,
) -> Result<Result<Outcome, Rejection>, S3Error> {
    let in_group = matches!(body, NewBody::Chunks { .. });
    let mut expected = opened.id;
    // Of what `body` says of its age.
    let mut since = Since::now();
    for _ in 0..MAX_TRIES {
        let guarded = |bucket| {
            if in_group && bucket != expected { Command::Nothing } else { command(bucket, aged(&body, &since)) }
        };
        let (entry, result) = access.command(guarded).await?;
        match result {
            Ok(Outcome::Done) if entry.id != expected && entry.group == opened.group => expected = entry.id,
            Ok(Outcome::Done) if entry.id != expected => break,
            Err(Rejection::TouchTooOld) => {
                access.gateway().data().retouch(opened.group, &mut body).await?;
                since = Since::now();
            }
            result => return Ok(result),
        }
    }
    Err(Code::ServiceUnavailable.into())
}

/// S3's error for a command that was refused.
pub fn rejected(rejection: Rejection, key: &str) -> S3Error {
    match rejection {
        Rejection::NoSuchKey => no_such_key(key),
        Rejection::PreconditionFailed => Code::PreconditionFailed.into(),
        Rejection::NoSuchUpload => Code::NoSuchUpload.into(),
        Rejection::UnknownBucket => Code::NoSuchBucket.into(),
        Rejection::UploadChanged => Code::InvalidPart.into(),
        Rejection::SourceChanged => S3Error::with(Code::ServiceUnavailable, "The copy source changes all the time."),
        Rejection::TouchTooOld | Rejection::OperationTooOld => Code::ServiceUnavailable.into(),
        rejection => {
            tracing::error!(%rejection, "a group refused a command for no reason that S3 knows");
            Code::InternalError.into()
        }
    }
}

/// An answer or an outcome of another kind than was asked for.
pub fn unexpected(answer: &impl std::fmt::Debug) -> S3Error {
    tracing::error!(?answer, "a group gave an answer of another kind than was asked for");
    Code::InternalError.into()
}

pub fn no_such_key(key: &str) -> S3Error {
    S3Error::from(Code::NoSuchKey).detail("Key", key)
}
