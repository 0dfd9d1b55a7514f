//! A request as the operations see it: authenticated, its target taken from the raw URI, its body not yet read.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Method, Response};
use parking_lot::Mutex;

use crate::auth::Payload;
use crate::error::{Code, S3Error};
use crate::gate::Caller;
use crate::middleware::inbound::TooSlow;
use crate::operation::Version;
use crate::origin::Peer;

/// What an operation answers with.
pub type Reply = Result<Response<Body>, S3Error>;

/// What a signature says of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Unsigned,
    Sha256([u8; 32]),
    /// In `aws-chunked`, of a kind that the header names.
    Chunked,
}

impl From<&Payload> for Content {
    fn from(payload: &Payload) -> Self {
        match payload {
            Payload::Unsigned => Self::Unsigned,
            Payload::Sha256(hash) => Self::Sha256(*hash),
            Payload::Chunked(_) => Self::Chunked,
        }
    }
}

/// What policies may ask of a signature.
#[derive(Debug, Clone, Copy)]
pub struct SignatureFacts {
    /// `REST-HEADER` or `REST-QUERY-STRING`.
    pub kind: &'static str,
    /// `AWS4-HMAC-SHA256` or `AWS`.
    pub version: &'static str,
    /// When it was made, in milliseconds since 1970; URLs of version 2 do not say.
    pub signed_ms: Option<u64>,
    pub content: Content,
}

pub struct Request {
    /// 16 upper-case hexadecimal digits; in every answer and log line.
    pub id: String,
    pub caller: Caller,
    pub method: Method,
    /// Percent-decoded once, otherwise untouched. Empty where the request has no bucket.
    pub bucket: String,
    /// Percent-decoded once, otherwise untouched: `//`, `..` and a leading `/` are bytes of the key like others.
    /// Empty where the request has no key.
    pub key: String,
    pub query: Arc<Params>,
    pub version: Version,
    /// The most bytes of a document.
    pub document_len: usize,
    /// Whether the host names the bucket.
    pub virtual_host: bool,
    /// With the `x-amz-*` parameters of a presigned query among them.
    pub headers: Arc<HeaderMap>,
    /// `None` where there is none.
    pub signature: Option<SignatureFacts>,
    /// Who is at the other end of the connection, where that is known.
    pub peer: Option<Peer>,
    /// How the body is to be checked while it is read.
    pub payload: Payload,
    pub body: Unread,
}

impl Request {
    /// For an operation that has no use for a body: it can be drained while the operation goes on.
    pub fn without_body(mut self) -> Self {
        drop(self.body.take());
        self
    }
}

/// A body that nobody has begun to read. In a lock that is never taken, so that requests can be shared between threads;
/// a body cannot.
pub struct Unread(Mutex<Body>);

impl Unread {
    pub fn new(body: Body) -> Self {
        Self(Mutex::new(body))
    }

    /// The body, to be read now.
    pub fn into_body(self) -> Body {
        self.0.into_inner()
    }

    /// The body, and an empty one in its place.
    pub fn take(&mut self) -> Body {
        std::mem::take(self.0.get_mut())
    }
}

/// What it means that a body ends in an error.
pub(crate) fn broke_off(error: &axum::Error) -> S3Error {
    tracing::debug!(%error, "a body broke off");
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<TooSlow>() {
            return Code::RequestTimeout.into();
        }
        cause = error.source();
    }
    Code::IncompleteBody.into()
}

/// The query parameters, percent-decoded (`+` is a space), in the order of the request.
#[derive(Debug, Clone, Default)]
pub struct Params(pub Vec<(String, String)>);

impl Params {
    /// The first value of a parameter; empty for one without `=`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}
