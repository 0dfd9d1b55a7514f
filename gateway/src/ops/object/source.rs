//! The source of a copy, as `x-amz-copy-source` names it. Pure.
//!
//! Source: Amazon S3 API Reference, CopyObject.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::error::{Code, S3Error};
use crate::operation::Version;

/// The largest object that CopyObject, or a range that UploadPartCopy, takes; 5 GiB.
pub const MAX_COPY_LEN: u64 = 5 << 30;

/// A bucket and a key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    pub bucket: String,
    pub key: String,
    pub version: Version,
}

impl CopySource {
    /// Takes it from the headers of a copy.
    ///
    /// # Errors
    /// `InvalidArgument` for a header that names no object, or a version that can be none.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, S3Error> {
        let value = headers.get("x-amz-copy-source").map_or(&b""[..], |value| value.as_bytes());
        // Whatever else these bytes could be taken for is not what was signed.
        let text = std::str::from_utf8(value).map_err(|_| invalid(&String::from_utf8_lossy(value)))?;
        Self::parse(text)
    }

    /// `/bucket/key?versionId=null`, percent-encoded; the first slash and the version may be missing.
    fn parse(text: &str) -> Result<Self, S3Error> {
        let invalid = || invalid(text);
        // The key's own question marks are encoded, but not by every client: only this parameter ends a key.
        let (path, version) = match text.rsplit_once("?versionId=") {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        // As in a form: a bare plus is a blank, and a plus is `%2B`.
        let path = path.replace('+', " ");
        let path = percent_decode_str(&path).decode_utf8().map_err(|_| invalid())?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').ok_or_else(invalid)?;
        if bucket.is_empty() || key.is_empty() {
            return Err(invalid());
        }
        let version = Version::parse(version)?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned(), version })
    }
}

fn invalid(text: &str) -> S3Error {
    S3Error::with(Code::InvalidArgument, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
        .detail("ArgumentName", "x-amz-copy-source")
        .detail("ArgumentValue", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(String, String)> {
        CopySource::parse(text).ok().map(|source| (source.bucket, source.key))
    }

    fn is(bucket: &str, key: &str) -> Option<(String, String)> {
        Some((bucket.to_owned(), key.to_owned()))
    }

    #[test]
    fn bucket_and_key_are_taken_apart_at_the_first_slash() {
        assert_eq!(parse("bucket/key"), is("bucket", "key"));
        assert_eq!(parse("/bucket/key"), is("bucket", "key"));
        assert_eq!(parse("bucket/a/b//c"), is("bucket", "a/b//c"));
        assert_eq!(parse("bucket//key"), is("bucket", "/key"));
        assert_eq!(parse("%2Fbucket%2Fkey"), is("bucket", "key"));
    }

    #[test]
    fn the_source_is_decoded_once() {
        assert_eq!(parse("bucket/a%20b%2Bc"), is("bucket", "a b+c"));
        assert_eq!(parse("/bucket/a+b"), is("bucket", "a b"));
        assert_eq!(parse("/bucket/a%2Bb+c%2bd%252Be"), is("bucket", "a+b c+d%2Be"));
        assert_eq!(parse("bucket/anyfilename%25.txt"), is("bucket", "anyfilename%.txt"));
        assert_eq!(parse("bucket/anyfilename%2525.txt"), is("bucket", "anyfilename%25.txt"));
        assert_eq!(parse("bucket/%E2%82%AC"), is("bucket", "€"));
    }

    #[test]
    fn the_null_version_is_the_current_one() {
        assert_eq!(parse("bucket/key?versionId=null"), is("bucket", "key"));
        assert_eq!(parse("bucket/a%3FversionId=null"), is("bucket", "a?versionId=null"));
        assert_eq!(parse("bucket/?a?versionId=null"), is("bucket", "?a"));
        assert_eq!(parse("bucket/what?"), is("bucket", "what?"));
        assert_eq!(CopySource::parse("bucket/key?versionId=").unwrap_err().code, Code::InvalidArgument);
        let unknown = "bucket/key?versionId=3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY";
        let version = CopySource::parse(unknown).unwrap().version;
        assert_eq!(version.must_be_there().unwrap_err().code, Code::NoSuchVersion);
    }

    #[test]
    fn bytes_that_are_no_text_name_no_other_object() {
        let value = http::HeaderValue::from_bytes(b"bucket/a\xffb").unwrap();
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-amz-copy-source"), value)]);
        assert_eq!(CopySource::from_headers(&headers).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn what_names_no_object_is_refused() {
        for text in ["", "/", "bucket", "/bucket", "bucket/", "//key", "bucket/%FF"] {
            assert_eq!(CopySource::parse(text).unwrap_err().code, Code::InvalidArgument, "{text}");
        }
    }
}
