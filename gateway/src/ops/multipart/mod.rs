//! The operations on multipart uploads, a file each.

pub mod abort;
pub mod complete;
pub mod create;
pub mod list_parts;
pub mod list_uploads;
pub mod upload_part;
pub mod upload_part_copy;

mod assemble;
mod checksum;
#[cfg(test)]
mod flow_test;
mod part;

use std::sync::Arc;

use cairn_storage::meta::query::UploadState;
use cairn_storage::meta::record::{DirectoryEntry, UploadRecord};
use cairn_storage::types::UploadId;

use super::object::group;
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::request::Params;

/// The query parameter `uploadId`.
///
/// # Errors
/// `NoSuchUpload` for what is the id of none.
fn upload_id(query: &Params) -> Result<UploadId, S3Error> {
    let text = query.get("uploadId").unwrap_or_default();
    text.parse().map_err(|_| no_such_upload(text))
}

/// An upload that can take parts.
///
/// # Errors
/// `NoSuchUpload` for one that is unknown or completed.
async fn open_upload(access: &Access, id: UploadId) -> Result<(Arc<DirectoryEntry>, UploadRecord), S3Error> {
    match group::upload(access, id).await? {
        (entry, UploadState::Open(upload)) => Ok((entry, *upload)),
        (_, UploadState::Unknown | UploadState::Completed(_)) => Err(no_such_upload(&id.to_string())),
    }
}

fn no_such_upload(id: &str) -> S3Error {
    S3Error::from(Code::NoSuchUpload).detail("UploadId", id)
}
