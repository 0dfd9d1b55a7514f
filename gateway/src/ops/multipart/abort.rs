//! AbortMultipartUpload.

use axum::body::Body;
use cairn_storage::meta::{Command, Outcome};
use http::{Response, StatusCode};

use super::{no_such_upload, upload_id};
use crate::error::Code;
use crate::gate::Access;
use crate::ops::object::group;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>
pub async fn handle(access: Access, request: Request) -> Reply {
    let upload = upload_id(&request.query)?;
    let command = |bucket| Command::AbortUpload { bucket, key: request.key.clone(), upload };
    match access.command(command).await?.1 {
        Ok(Outcome::Done) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
        Ok(outcome) => Err(group::unexpected(&outcome)),
        Err(rejection) => match group::rejected(rejection, &request.key) {
            error if error.code == Code::NoSuchUpload => Err(no_such_upload(&upload.to_string())),
            error => Err(error),
        },
    }
}
