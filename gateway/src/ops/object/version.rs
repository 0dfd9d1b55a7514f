//! Version ids in requests. A bucket without versioning has one version of a key, whose id is `null`. Pure.

use crate::error::{Code, S3Error};

/// Lets pass what names the current version: no version id, or `null`.
///
/// # Errors
/// `NoSuchVersion` for the id of any other version, `InvalidArgument` for what is no version id.
pub fn current_or_missing(version: Option<&str>) -> Result<(), S3Error> {
    match version {
        None | Some("null") => Ok(()),
        Some(text) if is_version_id(text) => {
            Err(S3Error::from(Code::NoSuchVersion).detail("VersionId", text))
        }
        Some("") => Err(invalid("", "Version id cannot be the empty string")),
        Some(text) => Err(invalid(text, "Invalid version id specified")),
    }
}

fn invalid(text: &str, message: &str) -> S3Error {
    S3Error::with(Code::InvalidArgument, message).detail("ArgumentName", "versionId").detail("ArgumentValue", text)
}

/// The form of `cairn_storage::types::VersionId`.
fn is_version_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use cairn_storage::types::VersionId;

    use super::*;

    #[test]
    fn only_null_is_the_current_version() {
        assert!(current_or_missing(None).is_ok());
        assert!(current_or_missing(Some("null")).is_ok());
        let other = VersionId { log_index: 7, position: 1 }.to_string();
        assert_eq!(current_or_missing(Some(&other)).unwrap_err().code, Code::NoSuchVersion);
        assert_eq!(current_or_missing(Some("")).unwrap_err().code, Code::InvalidArgument);
        assert_eq!(current_or_missing(Some("x")).unwrap_err().code, Code::InvalidArgument);
    }
}
