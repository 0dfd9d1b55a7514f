//! A body on its way in: decoded, counted, one piece after another.

use std::collections::VecDeque;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderName, header};
use http_body_util::BodyExt;

use super::checksum::{self, Asked};
use super::store::Terms;
use crate::auth::{Decoder, Payload};
use crate::error::{Code, S3Error};
use crate::request::broke_off;

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
    /// Whether a body of at most `inline_max` bytes may travel in the metadata command itself.
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
            Payload::Chunked(_) => headers.get(DECODED_LENGTH),
        };
        let length = length.ok_or(Code::MissingContentLength)?;
        let length = length
            .to_str()
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| S3Error::with(Code::InvalidRequest, "The length of the body is not a number."))?;
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

impl Intake {
    pub(super) fn split(self) -> (Source, Terms) {
        let Self { body, payload, length, content_md5, checksum, may_inline } = self;
        let (sha256, source) = match payload {
            Payload::Unsigned => (None, Source::Plain(body)),
            Payload::Sha256(hash) => (Some(hash), Source::Plain(body)),
            Payload::Chunked(chunked) => {
                (None, Source::Chunked { body, decoder: Box::new(Decoder::new(chunked)), ready: VecDeque::new() })
            }
        };
        (source, Terms { length, sha256, md5: content_md5, checksum, may_inline })
    }
}

/// Where a body's bytes come from.
pub(super) enum Source {
    Plain(Body),
    Chunked {
        body: Body,
        decoder: Box<Decoder>,
        /// Decoded, not yet taken.
        ready: VecDeque<Bytes>,
    },
    /// From within the cluster.
    Stream(BoxStream<'static, Result<Bytes, S3Error>>),
}

impl Source {
    /// The next bytes, decoded; `None` at the end. May be dropped and called again. A body that breaks off is
    /// `IncompleteBody`.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, S3Error> {
        match self {
            Self::Plain(body) => next_data(body).await,
            Self::Chunked { body, decoder, ready } => loop {
                if let Some(piece) = ready.pop_front() {
                    return Ok(Some(piece));
                }
                let Some(raw) = next_data(body).await? else { return Ok(None) };
                let mut decoded = Vec::new();
                decoder.push(raw, &mut decoded)?;
                ready.extend(decoded);
            },
            Self::Stream(stream) => stream.next().await.transpose(),
        }
    }

    /// After the end: what the trailers said, if there were any, and if they were what they had to be.
    pub(super) fn finish(self) -> Result<HeaderMap, S3Error> {
        match self {
            Self::Plain(_) | Self::Stream(_) => Ok(HeaderMap::new()),
            Self::Chunked { decoder, .. } => Ok(decoder.finish()?),
        }
    }

    /// What it means that nothing came for too long.
    pub(super) fn timed_out(&self) -> S3Error {
        match self {
            Self::Plain(_) | Self::Chunked { .. } => Code::RequestTimeout.into(),
            Self::Stream(_) => Code::ServiceUnavailable.into(),
        }
    }
}

async fn next_data(body: &mut Body) -> Result<Option<Bytes>, S3Error> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broke_off(&error))?;
        if let Ok(bytes) = frame.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "intake_test.rs"]
mod tests;
