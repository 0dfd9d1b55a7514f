//! CompleteMultipartUpload: checks what S3 demands of the parts, then has the group make them the object. Their bytes
//! stay where they are.

use std::sync::Arc;

use cairn_storage::meta::query::UploadState;
use cairn_storage::meta::record::{Checksum, ETag, Label, PartRecord, UploadRecord};
use cairn_storage::meta::{Answer, Command, Outcome, Query, Rejection};
use cairn_storage::types::{ManifestId, UploadId};
use http::HeaderValue;
use http::header::HOST;

use super::assemble::{self, Expected, MIN_PART_LEN, assemble};
use super::{no_such_upload, upload_id};
use crate::acl::Acl;
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::ops::object::answer::write_checksum;
use crate::ops::object::{conditions, group};
use crate::request::{Reply, Request};
use crate::xml::{CompleteMultipartUpload, CompletedPart, Document, url_encode};

/// How many parts are asked for at once.
const PAGE: u32 = 1_000;

/// How often parts, and settings, that change between question and command are read.
const MAX_TRIES: usize = 4;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>
///
/// Repeated within a day with the same parts and the same checks it answers the same again.
pub async fn handle(access: Access, mut request: Request) -> Reply {
    let gateway = access.gateway();
    let condition = conditions::write_condition(&request.headers)?;
    let expected = Expected::take_from(Arc::make_mut(&mut request.headers))?;
    let id = upload_id(&request.query)?;
    group::admit_condition(&access, &condition).await?;
    // Before the body is read: who may not complete it, and what is not there, costs nobody a document.
    match group::upload(&access, id).await?.1 {
        UploadState::Open(_) | UploadState::Completed(_) => {}
        UploadState::Unknown => return Err(no_such_upload(&id.to_string())),
    }
    let asked = {
        let document = request.read_document(gateway).await?;
        CompleteMultipartUpload::parse(&document)?.parts
    };
    assemble::check_order(&asked)?;
    let request_digest = assemble::digest(&asked, &expected);
    let mut tries = MAX_TRIES;
    loop {
        tries -= 1;
        let (upload, uploaded) = match read_parts(&access, id, &asked).await? {
            (UploadState::Open(upload), uploaded) => (upload, uploaded),
            (UploadState::Completed(done), _) if done.request_digest == request_digest => {
                return Ok(answer(&request, &done.etag, done.checksum.as_ref()));
            }
            (UploadState::Completed(_) | UploadState::Unknown, _) => return Err(no_such_upload(&id.to_string())),
        };
        let UploadRecord { checksum, attributes, owner, .. } = *upload;
        // What was no matter when the upload began may be blocked by now.
        let found = access.found();
        found.check_kept_acl(&Acl::decode(attributes.label(Label::Acl), owner))?;
        let object = assemble(&asked, &uploaded, checksum, &expected, MIN_PART_LEN)?;
        let manifest = ManifestId::random();
        let command = |bucket| Command::CompleteUpload {
            bucket,
            key: request.key.clone(),
            upload: id,
            condition: condition.clone(),
            parts: object.parts.clone(),
            manifest,
            size: object.size,
            etag: object.etag,
            checksum: object.checksum.clone(),
            request_digest,
        };
        match access.command_as(&found, command).await? {
            Ok(Outcome::Version(record)) => return Ok(answer(&request, &record.etag, record.checksum.as_ref())),
            Ok(outcome) => return Err(group::unexpected(&outcome)),
            Err(Rejection::SettingsChanged) if tries > 0 => group::admit_condition(&access, &condition).await?,
            Err(Rejection::SettingsChanged) => return Err(Code::OperationAborted.into()),
            // A part came again, or the same request won the race.
            Err(Rejection::UploadChanged | Rejection::NoSuchUpload) if tries > 0 => {}
            Err(Rejection::NoSuchUpload) => return Err(no_such_upload(&id.to_string())),
            Err(rejection) => return Err(group::rejected(rejection, &request.key)),
        }
    }
}

/// The state of the upload and, of an open one, all parts between the first and the last that are asked for. Not of
/// one moment: the command names what was seen, and is refused where it has changed.
async fn read_parts(
    access: &Access,
    upload: UploadId,
    asked: &[CompletedPart],
) -> Result<(UploadState, Vec<PartRecord>), S3Error> {
    let mut after = asked.first().map_or(0, |part| part.number.saturating_sub(1));
    let last = asked.last().map_or(0, |part| part.number);
    let mut uploaded: Vec<PartRecord> = Vec::with_capacity(asked.len());
    loop {
        let query = |bucket| Query::Parts { bucket, key: access.key().to_owned(), upload, after, limit: PAGE };
        match access.query(query).await?.1 {
            Answer::Parts { upload: state, parts, more, .. } => {
                uploaded.extend(parts);
                let reached = uploaded.last().map_or(0, |part| part.number);
                if !more || reached >= last || reached <= after {
                    return Ok((state, uploaded));
                }
                after = reached;
            }
            answer => return Err(group::unexpected(&answer)),
        }
    }
}

/// Where the object is, under the scheme and the style of the request. Whoever took TLS off it before us has said so.
fn location(request: &Request) -> String {
    let text = |name| request.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(HOST.as_str()).unwrap_or("localhost");
    let secure = text("x-forwarded-proto")
        .and_then(|schemes| schemes.split(',').next())
        .map_or(request.peer.is_some_and(|peer| peer.secure), |first| first.trim().eq_ignore_ascii_case("https"));
    let scheme = if secure { "https" } else { "http" };
    let mut location = match request.virtual_host {
        true => format!("{scheme}://{host}/"),
        false => format!("{scheme}://{host}/{}/", request.bucket),
    };
    url_encode(&mut location, &request.key);
    location
}

fn answer(request: &Request, etag: &ETag, checksum: Option<&Checksum>) -> http::Response<axum::body::Body> {
    let mut document = Document::new("CompleteMultipartUploadResult");
    document
        .text("Location", &location(request))
        .text("Bucket", &request.bucket)
        .text("Key", &request.key)
        .etag("ETag", etag);
    if let Some(checksum) = checksum {
        write_checksum(&mut document, checksum, etag.parts, true);
    }
    document.reply()
}
