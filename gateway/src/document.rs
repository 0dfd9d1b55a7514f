//! Reads a whole small body: the XML and JSON that some operations take. Bounded for each request and for all together.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::sync::SemaphorePermit;

use crate::auth::{Decoder, Payload};
use crate::data::checksum::{self, Asked};
use crate::error::{Code, S3Error};
use crate::gateway::Gateway;
use crate::request::Request;

/// How long a client may take to send a whole document.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A body in memory. Gives its share of the bound back when it is dropped.
pub struct Document<'a> {
    bytes: Bytes,
    _share: SemaphorePermit<'a>,
}

impl std::ops::Deref for Document<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Request {
    /// Reads the body to its end, at most `limit` bytes, and checks all that was said of it: the signature's hash,
    /// `Content-MD5`, a checksum.
    ///
    /// # Errors
    /// `MaxMessageLengthExceeded`, `IncompleteBody`, `RequestTimeout`, `SlowDown` where too many documents are being
    /// read, and what the checks say.
    pub async fn read_document<'a>(&mut self, gateway: &'a Gateway, limit: usize) -> Result<Document<'a>, S3Error> {
        let content_md5 = checksum::content_md5(&self.headers)?;
        let asked = Asked::from_headers(&self.headers)?;
        let announced = announced_len(&self.headers);
        if announced.is_some_and(|len| len > 2 * limit as u64) {
            return Err(Code::MaxMessageLengthExceeded.into());
        }
        let reserve = announced.and_then(|len| usize::try_from(len).ok()).unwrap_or(limit).min(limit);
        let share = gateway.reserve_document(reserve)?;
        let body = self.body.take();
        let read = read(body, &self.payload, limit);
        let (bytes, trailers) = tokio::time::timeout(TIME_LIMIT, read).await.map_err(|_| Code::RequestTimeout)??;
        if let Payload::Sha256(signed) = &self.payload
            && Sha256::digest(&bytes).as_slice() != signed
        {
            return Err(Code::XAmzContentSHA256Mismatch.into());
        }
        if content_md5.is_some_and(|md5| md5::Md5::digest(&bytes).as_slice() != md5) {
            return Err(Code::BadDigest.into());
        }
        let computed = asked.algorithm.map(|algorithm| checksum::of(algorithm, &bytes));
        asked.check(computed.as_ref(), &trailers)?;
        Ok(Document { bytes, _share: share })
    }
}

/// What the head says of the length; the frames of an `aws-chunked` body count too.
fn announced_len(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The decoded body and its trailers.
async fn read(mut body: Body, payload: &Payload, limit: usize) -> Result<(Bytes, HeaderMap), S3Error> {
    let mut decoder = match payload {
        Payload::Chunked(chunked) => Some(Decoder::new(chunked.clone())),
        Payload::Unsigned | Payload::Sha256(_) => None,
    };
    let mut whole = BytesMut::new();
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            tracing::debug!(%error, "a body broke off");
            S3Error::new(Code::IncompleteBody)
        })?;
        let Ok(bytes) = frame.into_data() else { continue };
        match &mut decoder {
            Some(decoder) => decoder.push(bytes, &mut pieces)?,
            None => pieces.push(bytes),
        }
        for piece in pieces.drain(..) {
            if whole.len() + piece.len() > limit {
                return Err(Code::MaxMessageLengthExceeded.into());
            }
            whole.extend_from_slice(&piece);
        }
    }
    let trailers = decoder.map(Decoder::finish).transpose()?.unwrap_or_default();
    Ok((whole.freeze(), trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_plain(content: &'static str, limit: usize) -> Result<Bytes, Code> {
        let read = read(Body::from(content), &Payload::Unsigned, limit).await;
        read.map(|(bytes, _)| bytes).map_err(|error| error.code)
    }

    #[tokio::test]
    async fn a_document_has_a_bound() {
        assert_eq!(read_plain("12345", 5).await, Ok(Bytes::from_static(b"12345")));
        assert_eq!(read_plain("123456", 5).await, Err(Code::MaxMessageLengthExceeded));
        assert_eq!(read_plain("", 5).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_incomplete() {
        let pieces = [Ok(Bytes::from_static(b"1")), Err(std::io::Error::other("gone"))];
        let body = Body::from_stream(futures::stream::iter(pieces));
        assert_eq!(read(body, &Payload::Unsigned, 5).await.unwrap_err().code, Code::IncompleteBody);
    }
}
