//! What can be wrong with a request's authentication, and the S3 error that each becomes. No secret gets in here.

use thiserror::Error;

use super::date::Moment;
use super::verify::MAX_SKEW_MS;
use crate::error::{Code, S3Error};

const HEADER_PREFIX: &str = "The authorization header is malformed; ";
/// Where a presigned URL's credential is not what it should be.
pub(super) const CREDENTIAL_PREFIX: &str = "Error parsing the X-Amz-Credential parameter; ";

/// Where a request carries its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The `Authorization` header.
    Header,
    /// The parameters of a presigned URL.
    Query,
}

/// A request, or its body, is not authentic or cannot be told to be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthError {
    #[error(
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter \
         or the Authorization header should be specified"
    )]
    TwoMechanisms,
    #[error("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")]
    UnsupportedMechanism,
    #[error("Unsupported Authorization Type")]
    UnknownMechanism,
    #[error("AWS authorization header is invalid.  Expected AwsAccessKeyId:signature")]
    InvalidVersion2,
    #[error("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")]
    IncompleteVersion2,
    /// What was given instead.
    #[error("Invalid date (should be seconds since epoch): {0}")]
    InvalidExpires(String),
    /// The header or the parameters are not what they should be; what about them.
    #[error("{}{problem}", if *place == Place::Header { HEADER_PREFIX } else { "" })]
    Malformed { place: Place, problem: String },
    #[error("{}the region '{given}' is wrong; expecting '{expected}'", if *place == Place::Header { HEADER_PREFIX } else { CREDENTIAL_PREFIX })]
    WrongRegion { place: Place, given: String, expected: String },
    #[error("AWS authentication requires a valid Date or x-amz-date header")]
    NoDate,
    #[error("The difference between the request time and the current time is too large.")]
    TimeTooSkewed { request_ms: u64, now_ms: u64 },
    #[error("Request is not yet valid")]
    NotYetValid { request_ms: u64, now_ms: u64 },
    #[error("Request has expired")]
    Expired { expires_seconds: Option<u64>, expires_at_ms: u64, now_ms: u64 },
    /// The names of the headers, separated by commas.
    #[error("There were headers present in the request which were not signed")]
    HeadersNotSigned(String),
    #[error("Missing required header for this request: x-amz-content-sha256")]
    NoContentSha256,
    /// What was given instead.
    #[error(
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, or a valid sha256 value."
    )]
    BadContentSha256(String),
    /// An `x-amz-*` parameter or an `x-amz-trailer` cannot be a header: its name.
    #[error("The value of {0} is not valid.")]
    BadHeader(String),
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your key and signing \
         method."
    )]
    SignatureDoesNotMatch(Box<Mismatch>),
    /// Of a chunk, or of the trailers.
    #[error("{}", Code::SignatureDoesNotMatch.message())]
    BodySignatureDoesNotMatch,
    #[error("The request body terminated unexpectedly")]
    Truncated,
    /// The framing of an `aws-chunked` body; what about it.
    #[error("The chunked body is malformed: {0}")]
    MalformedChunk(&'static str),
    #[error("The request contained trailing data that was not well-formed: {0}")]
    MalformedTrailer(&'static str),
}

/// What a client needs to find out why its signature is not the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub access_key: String,
    pub signature_provided: String,
    pub string_to_sign: String,
    /// Version 2 has none.
    pub canonical_request: Option<String>,
}

fn place_code(place: Place) -> Code {
    match place {
        Place::Header => Code::AuthorizationHeaderMalformed,
        Place::Query => Code::AuthorizationQueryParametersError,
    }
}

impl AuthError {
    pub(super) fn malformed(place: Place, problem: impl Into<String>) -> Self {
        Self::Malformed { place, problem: problem.into() }
    }

    fn code(&self) -> Code {
        match self {
            Self::TwoMechanisms
            | Self::UnknownMechanism
            | Self::InvalidVersion2
            | Self::BadContentSha256(_)
            | Self::BadHeader(_) => Code::InvalidArgument,
            Self::UnsupportedMechanism | Self::NoContentSha256 | Self::MalformedChunk(_) => Code::InvalidRequest,
            Self::Malformed { place, .. } | Self::WrongRegion { place, .. } => place_code(*place),
            Self::NoDate
            | Self::NotYetValid { .. }
            | Self::Expired { .. }
            | Self::IncompleteVersion2
            | Self::InvalidExpires(_)
            | Self::HeadersNotSigned(_) => Code::AccessDenied,
            Self::TimeTooSkewed { .. } => Code::RequestTimeTooSkewed,
            Self::SignatureDoesNotMatch(_) | Self::BodySignatureDoesNotMatch => Code::SignatureDoesNotMatch,
            Self::Truncated => Code::IncompleteBody,
            Self::MalformedTrailer(_) => Code::MalformedTrailerError,
        }
    }
}

impl From<AuthError> for S3Error {
    fn from(error: AuthError) -> Self {
        let answer = S3Error::with(error.code(), error.to_string());
        match error {
            AuthError::TwoMechanisms | AuthError::UnknownMechanism | AuthError::InvalidVersion2 => {
                answer.detail("ArgumentName", "Authorization")
            }
            AuthError::BadContentSha256(given) => {
                answer.detail("ArgumentName", "x-amz-content-sha256").detail("ArgumentValue", given)
            }
            AuthError::BadHeader(name) => answer.detail("ArgumentName", name),
            AuthError::WrongRegion { expected, .. } => answer.detail("Region", expected),
            AuthError::TimeTooSkewed { request_ms, now_ms } => answer
                .detail("RequestTime", iso(request_ms))
                .detail("ServerTime", iso(now_ms))
                .detail("MaxAllowedSkewMilliseconds", MAX_SKEW_MS.to_string()),
            AuthError::NotYetValid { request_ms, now_ms } => {
                answer.detail("RequestTime", iso(request_ms)).detail("ServerTime", iso(now_ms))
            }
            AuthError::Expired { expires_seconds, expires_at_ms, now_ms } => {
                let answer = match expires_seconds {
                    Some(seconds) => answer.detail("X-Amz-Expires", seconds.to_string()),
                    None => answer,
                };
                answer.detail("Expires", iso(expires_at_ms)).detail("ServerTime", iso(now_ms))
            }
            AuthError::HeadersNotSigned(names) => answer.detail("HeadersNotSigned", names),
            AuthError::SignatureDoesNotMatch(mismatch) => {
                let answer = answer
                    .detail("AWSAccessKeyId", mismatch.access_key)
                    .detail("StringToSign", mismatch.string_to_sign)
                    .detail("SignatureProvided", mismatch.signature_provided);
                match mismatch.canonical_request {
                    Some(canonical) => answer.detail("CanonicalRequest", canonical),
                    None => answer,
                }
            }
            _ => answer,
        }
    }
}

fn iso(unix_ms: u64) -> String {
    Moment::from_ms(unix_ms).map(Moment::iso_extended).unwrap_or_default()
}
