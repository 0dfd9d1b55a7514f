//! A body on its way in: decoded, counted, one piece after another.

use axum::body::Body;
use http::{HeaderMap, HeaderName, header};

use super::checksum::{self, Asked};
use crate::auth::Payload;
use crate::error::{Code, S3Error};

const DECODED_LENGTH: HeaderName = HeaderName::from_static("x-amz-decoded-content-length");

/// A request's body, and all that its headers said of it.
pub struct Intake {
    pub body: Body,
    /// How the body is coded and what its signature covers.
    pub payload: Payload,
    /// Of the decoded body, in bytes.
    pub length: u64,
    pub content_md5: Option<[u8; 16]>,
    pub checksum: Asked,
    /// Whether a short body may go into the metadata command itself. False for parts: a part's bytes stay where they
    /// were written.
    pub may_inline: bool,
}

impl Intake {
    /// Takes length and checksums from the headers. A short body may be inline, and where no checksum is asked for
    /// none is computed; callers change either to their needs.
    ///
    /// `MissingContentLength`, `InvalidDigest`, `InvalidRequest`.
    pub fn from_headers(headers: &HeaderMap, payload: Payload, body: Body) -> Result<Self, S3Error> {
        let length = match &payload {
            Payload::Unsigned | Payload::Sha256(_) => headers.get(header::CONTENT_LENGTH),
            #[allow(unreachable_patterns)]
            _ => headers.get(DECODED_LENGTH),
        };
        let length = length.ok_or(Code::MissingContentLength)?;
        let length = length.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
            S3Error::with(Code::InvalidRequest, "The length of the body is not a number.")
        })?;
        Ok(Self {
            body,
            payload,
            length,
            content_md5: checksum::content_md5(headers)?,
            checksum: Asked::from_headers(headers)?,
            may_inline: true,
        })
    }
}
