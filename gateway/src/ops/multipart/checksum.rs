//! Which checksums an upload may have, and which its parts must come with. Pure.
//!
//! Source: Amazon S3 User Guide, "Checking object integrity for data uploads".

use cairn_storage::meta::record::{ChecksumAlgorithm, ChecksumKind};
use http::HeaderMap;

use crate::data::checksum::{self, Asked};
use crate::error::{Code, S3Error};
use crate::ops::object::answer::kind_name;

/// What an upload was created with.
pub type UploadChecksum = Option<(ChecksumAlgorithm, ChecksumKind)>;

/// `x-amz-checksum-algorithm` and `x-amz-checksum-type` of a CreateMultipartUpload.
///
/// # Errors
/// `InvalidRequest` for what S3 does not know, and for pairs that do not go together: only the CRCs can be made of
/// their parts' ones, and CRC64NVME can be nothing else.
pub fn of_upload(headers: &HeaderMap) -> Result<UploadChecksum, S3Error> {
    let kind = kind(headers)?;
    let Some(algorithm) = checksum::wanted(headers)? else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(invalid(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.".to_owned(),
            )),
        };
    };
    let kind = kind.unwrap_or(match algorithm {
        ChecksumAlgorithm::Crc64Nvme => ChecksumKind::FullObject,
        _ => ChecksumKind::Composite,
    });
    let possible = match kind {
        ChecksumKind::FullObject => checksum::combines(algorithm),
        ChecksumKind::Composite => algorithm != ChecksumAlgorithm::Crc64Nvme,
    };
    if possible {
        return Ok(Some((algorithm, kind)));
    }
    Err(invalid(format!(
        "The {} checksum type cannot be used with the {} checksum algorithm.",
        kind_name(kind),
        lower(algorithm)
    )))
}

/// `x-amz-checksum-type`.
///
/// # Errors
/// `InvalidRequest` for what is none.
pub fn kind(headers: &HeaderMap) -> Result<Option<ChecksumKind>, S3Error> {
    let Some(value) = headers.get("x-amz-checksum-type") else { return Ok(None) };
    let is = |kind| value.as_bytes().eq_ignore_ascii_case(kind_name(kind).as_bytes());
    match [ChecksumKind::FullObject, ChecksumKind::Composite].into_iter().find(|kind| is(*kind)) {
        Some(kind) => Ok(Some(kind)),
        None => Err(invalid("Value for x-amz-checksum-type header is invalid.".to_owned())),
    }
}

/// What to compute of a part, given what its upload was created with and what came with the part.
///
/// # Errors
/// `InvalidRequest` for another algorithm than the upload's, and for none where the object's checksum will be made of
/// those that the client sent.
pub fn of_part(upload: UploadChecksum, asked: Asked) -> Result<Asked, S3Error> {
    match (upload, asked.algorithm) {
        // S3 refuses any. Of the CRCs the object's can be made, so that they are taken.
        (None, Some(actual)) if !checksum::combines(actual) => Err(type_mismatch("null", &lower(actual))),
        (None, _) => Ok(asked.or(checksum::DEFAULT)),
        (Some((expected, _)), Some(actual)) if expected != actual => {
            Err(type_mismatch(&lower(expected), &lower(actual)))
        }
        (Some((expected, ChecksumKind::Composite)), None) => Err(type_mismatch(&lower(expected), "null")),
        (Some((expected, _)), _) => Ok(asked.or(expected)),
    }
}

/// Of parts and their upload, and of parts among each other.
pub(super) fn type_mismatch(expected: &str, actual: &str) -> S3Error {
    invalid(format!(
        "Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
    ))
}

pub(super) fn lower(algorithm: ChecksumAlgorithm) -> String {
    checksum::name(algorithm).to_ascii_lowercase()
}

fn invalid(message: String) -> S3Error {
    S3Error::with(Code::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn upload(algorithm: Option<&'static str>, kind: Option<&'static str>) -> Result<UploadChecksum, Code> {
        let pairs = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)];
        let headers = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_static(value?))))
            .collect();
        of_upload(&headers).map_err(|error| error.code)
    }

    #[test]
    fn each_algorithm_has_its_default_type() {
        use ChecksumAlgorithm::*;
        assert_eq!(upload(None, None), Ok(None));
        assert_eq!(upload(Some("CRC32"), None), Ok(Some((Crc32, ChecksumKind::Composite))));
        assert_eq!(upload(Some("CRC32C"), None), Ok(Some((Crc32c, ChecksumKind::Composite))));
        assert_eq!(upload(Some("CRC64NVME"), None), Ok(Some((Crc64Nvme, ChecksumKind::FullObject))));
        assert_eq!(upload(Some("SHA1"), None), Ok(Some((Sha1, ChecksumKind::Composite))));
        assert_eq!(upload(Some("sha256"), None), Ok(Some((Sha256, ChecksumKind::Composite))));
        assert_eq!(upload(Some("XXHASH3"), None), Ok(Some((XxHash3, ChecksumKind::Composite))));
    }

    #[test]
    fn types_and_algorithms_must_go_together() {
        for algorithm in ["CRC32", "CRC32C", "CRC64NVME"] {
            let full = upload(Some(algorithm), Some("FULL_OBJECT")).unwrap().unwrap();
            assert_eq!(full.1, ChecksumKind::FullObject, "{algorithm}");
        }
        for algorithm in ["CRC32", "CRC32C", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"] {
            let composite = upload(Some(algorithm), Some("composite")).unwrap().unwrap();
            assert_eq!(composite.1, ChecksumKind::Composite, "{algorithm}");
        }
        for (algorithm, kind) in [
            (Some("SHA1"), Some("FULL_OBJECT")),
            (Some("SHA256"), Some("FULL_OBJECT")),
            (Some("SHA512"), Some("FULL_OBJECT")),
            (Some("MD5"), Some("FULL_OBJECT")),
            (Some("XXHASH64"), Some("FULL_OBJECT")),
            (Some("XXHASH3"), Some("FULL_OBJECT")),
            (Some("XXHASH128"), Some("FULL_OBJECT")),
            (Some("CRC64NVME"), Some("COMPOSITE")),
            (Some("MD4"), None),
            (Some("CRC32"), Some("HALF_OBJECT")),
            (None, Some("FULL_OBJECT")),
        ] {
            assert_eq!(upload(algorithm, kind), Err(Code::InvalidRequest), "{algorithm:?} {kind:?}");
        }
    }

    #[test]
    fn a_part_comes_with_its_uploads_algorithm() {
        use ChecksumAlgorithm::*;
        let part = |upload, asked| {
            let asked = Asked { algorithm: asked, ..Asked::default() };
            of_part(upload, asked).map(|asked| asked.algorithm).map_err(|error| error.code)
        };
        let composite = Some((Sha256, ChecksumKind::Composite));
        let full = Some((Crc32, ChecksumKind::FullObject));
        assert_eq!(part(None, None), Ok(Some(Crc64Nvme)));
        assert_eq!(part(None, Some(Crc32)), Ok(Some(Crc32)));
        assert_eq!(part(None, Some(Sha256)), Err(Code::InvalidRequest), "no checksum of the object would come of it");
        assert_eq!(part(composite, Some(Sha256)), Ok(Some(Sha256)));
        assert_eq!(part(composite, Some(Crc32)), Err(Code::InvalidRequest));
        assert_eq!(part(composite, None), Err(Code::InvalidRequest));
        assert_eq!(part(full, None), Ok(Some(Crc32)));
        assert_eq!(part(full, Some(Crc32c)), Err(Code::InvalidRequest));
    }
}
