//! Who sent this request, and is its body what was signed? Pure: no clock, no network, no lookup of its own.
//!
//! [`parse`] reads a request's head and says whose signature it claims to carry; the caller looks up the secret;
//! [`SignedRequest::verify`] compares, and says how the body is to be checked. An `aws-chunked` body goes through a
//! [`Decoder`]. Of the signature's two sides the client's is in [`sign`]; both use the same canonical form.
//!
//! Sources: Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)"; `version2` names its own.

mod canonical;
mod chunked;
mod date;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod query;
pub mod sign;
mod signature;
mod verify;
mod version2;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use chunked::target as chunked_target;
pub use chunked::{ChunkedPayload, Decoder};
pub use error::{AuthError, Mismatch, Place};
pub use signature::signing_key;
pub use verify::{Parsed, SignedRequest, parse};

#[cfg(test)]
mod clients_test;
#[cfg(test)]
mod examples_test;
#[cfg(test)]
mod property_test;
#[cfg(test)]
mod suite_test;

/// The part of a request that is signed, as it came over the wire.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    pub method: &'a http::Method,
    /// Undecoded, without the query. `//`, `.` and `..` as they were sent.
    pub raw_path: &'a str,
    /// Undecoded, without the `?`; empty where there is none.
    pub raw_query: &'a str,
    /// With `host` as it was sent, port included.
    pub headers: &'a http::HeaderMap,
    /// The bucket that the host names; empty where the path does. Version 2 signs it in the place of the host.
    pub bucket_of_host: &'a str,
}

/// What a service asks of its signatures.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Signatures must name it, unless any is taken.
    pub region: String,
    /// Whether the region of a signature may be any.
    pub any_region: bool,
    /// Whether version 2 of the signature is taken, too.
    pub version2: bool,
    /// Signatures must name it. `s3` for S3, and for Cairn's admin API.
    pub service: String,
    /// Whether `//`, `.` and `..` are taken out of the path before it is signed. Never for S3, where they are bytes of
    /// a key like others; a parameter for the sake of AWS's general test suite.
    pub normalise_path: bool,
    /// Where a service knows no `x-amz-content-sha256`: the hexadecimal SHA-256 of the body, known beforehand. `None`
    /// for S3, where that header is required; a parameter for the sake of AWS's general test suite.
    pub assumed_body_hash: Option<String>,
}

impl Rules {
    /// The rules of S3 in a region: version 4 alone, and the region alone.
    pub fn s3(region: impl Into<String>) -> Self {
        Self {
            region: region.into(),
            any_region: false,
            version2: false,
            service: "s3".to_owned(),
            normalise_path: false,
            assumed_body_hash: None,
        }
    }
}

/// How the body of a request is to be read and checked.
#[derive(Debug, Clone)]
pub enum Payload {
    /// `UNSIGNED-PAYLOAD`, or a presigned request that says nothing: the bytes as they come.
    Unsigned,
    /// The SHA-256 of the whole body, as signed. An empty body has one too.
    Sha256([u8; 32]),
    /// `aws-chunked`: the bytes come through a [`Decoder`].
    Chunked(ChunkedPayload),
}
