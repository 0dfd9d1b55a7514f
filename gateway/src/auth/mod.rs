//! Who sent this request, and is its body what was signed? Pure: no clock, no network, no lookup of its own.

use bytes::Bytes;
use http::HeaderMap;

use crate::error::{Code, S3Error};

/// How the body of a request is to be read and checked. (To be completed.)
#[derive(Debug, Clone)]
pub enum Payload {
    /// `UNSIGNED-PAYLOAD`: the bytes as they come.
    Unsigned,
    /// The SHA-256 of the whole body, as signed.
    Sha256([u8; 32]),
    /// `aws-chunked`: the bytes come through a [`Decoder`].
    Chunked(ChunkedPayload),
}

/// How an `aws-chunked` body is to be checked. (To be completed.)
#[derive(Debug, Clone)]
pub struct ChunkedPayload(());

/// Takes the frames off an `aws-chunked` body. (To be completed.)
pub struct Decoder(());

/// A request, or its body, is not authentic. (To be completed.)
#[derive(Debug, Clone)]
pub struct AuthError(());

impl Decoder {
    pub fn new(_payload: ChunkedPayload) -> Self {
        Self(())
    }

    pub fn push(&mut self, input: Bytes, out: &mut Vec<Bytes>) -> Result<(), AuthError> {
        out.push(input);
        Ok(())
    }

    pub fn finish(self) -> Result<HeaderMap, AuthError> {
        Ok(HeaderMap::new())
    }
}

impl From<AuthError> for S3Error {
    fn from(_: AuthError) -> Self {
        Code::SignatureDoesNotMatch.into()
    }
}
