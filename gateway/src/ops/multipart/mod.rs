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
mod part;

use cairn_storage::meta::query::UploadState;
use cairn_storage::meta::record::{DirectoryEntry, UploadRecord};
use cairn_storage::types::UploadId;

use super::object::group;
use crate::error::{Code, S3Error};
use crate::gateway::{Caller, Gateway};
use crate::request::Params;

/// The query parameter `uploadId`.
///
/// # Errors
/// `NoSuchUpload` for what is the id of none, in a bucket that there is.
async fn upload_id(gateway: &Gateway, caller: &Caller, bucket: &str, query: &Params) -> Result<UploadId, S3Error> {
    let text = query.get("uploadId").unwrap_or_default();
    match text.parse() {
        Ok(id) => Ok(id),
        Err(_) => {
            gateway.open_bucket(caller, bucket).await?;
            Err(no_such_upload(text))
        }
    }
}

/// An upload that can take parts.
///
/// # Errors
/// `NoSuchUpload` for one that is unknown or completed.
async fn open_upload(
    gateway: &Gateway,
    caller: &Caller,
    bucket: &str,
    key: &str,
    id: UploadId,
) -> Result<(DirectoryEntry, UploadRecord), S3Error> {
    match group::upload(gateway, caller, bucket, key, id).await? {
        (entry, UploadState::Open(upload)) => Ok((entry, *upload)),
        (_, UploadState::Unknown | UploadState::Completed(_)) => Err(no_such_upload(&id.to_string())),
    }
}

fn no_such_upload(id: &str) -> S3Error {
    S3Error::from(Code::NoSuchUpload).detail("UploadId", id)
}

/// A parameter that bounds a list: 1,000 where it is not given or larger.
///
/// # Errors
/// `InvalidArgument` for what is no number.
fn limit(query: &Params, name: &'static str) -> Result<u32, S3Error> {
    const MAX: u32 = 1_000;
    let Some(text) = query.get(name).filter(|text| !text.is_empty()) else { return Ok(MAX) };
    match text.parse::<i32>() {
        Ok(number) if number >= 0 => Ok(number.unsigned_abs().min(MAX)),
        _ => Err(S3Error::with(
            Code::InvalidArgument,
            format!("Argument {name} must be an integer between 0 and {}", i32::MAX),
        )
        .detail("ArgumentName", name)
        .detail("ArgumentValue", text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, value: &str) -> Params {
        Params(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_list_is_bounded() {
        let limit = |text| limit(&query("max-parts", text), "max-parts").map_err(|error| error.code);
        assert_eq!(limit(""), Ok(1_000));
        assert_eq!(limit("7"), Ok(7));
        assert_eq!(limit("0"), Ok(0));
        assert_eq!(limit("5000"), Ok(1_000));
        for text in ["-1", "x", "99999999999"] {
            assert_eq!(limit(text), Err(Code::InvalidArgument), "{text}");
        }
    }
}
