//! One request to one node, and its answer.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Remote;
use crate::client::{DiskError, ServiceError};
use crate::types::now_ms;
use crate::wire::auth::SignedBody;
use crate::wire::context::OLDER;
use crate::wire::{self, Context, Pieces, message};

/// The most of an error's text that is read, in bytes.
const MAX_TEXT_LEN: usize = 1024;

/// Why a request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// Nothing came back, or not all of it. Whether the node did what it was asked is unknown.
    #[error("the node does not answer: {0}")]
    Unreachable(String),
    #[error("the node does not take the proof: {0}")]
    Unauthorized(String),
    /// The node says no, with a typed code.
    #[error("the node answers {code}: {text}")]
    Typed { code: String, text: String },
    #[error("the answer is not understood: {0}")]
    Refused(String),
}

impl From<CallError> for DiskError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Typed { code, text } => message::to_disk_error(&code, text),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<CallError> for ServiceError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Typed { code, text } => message::to_service_error(&code, text),
            CallError::Unreachable(_) => Self::Unavailable,
            CallError::Unauthorized(_) | CallError::Refused(_) => Self::Refused(error.to_string()),
        }
    }
}

impl From<wire::message::MessageError> for CallError {
    fn from(error: wire::message::MessageError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// What a request carries.
pub enum Body {
    Empty,
    Small(Vec<u8>),
    /// A message of Raft.
    Raft(Bytes),
    /// A chunk, whose hash is in the path.
    Chunk(Vec<Bytes>),
}

impl Body {
    pub fn message<T: Serialize>(message: &T) -> Result<Self, CallError> {
        Ok(Self::Small(wire::encode(message)?))
    }
}

/// An answer whose body is still to come; it must come within the time of the request.
pub struct Answer(reqwest::Response);

impl Remote {
    /// Sends a request to a node. `timeout` is for all of it, the answer's body too.
    pub async fn call(
        &self,
        address: &str,
        method: Method,
        target: &str,
        body: Body,
        timeout: Duration,
    ) -> Result<Answer, CallError> {
        self.call_as(&self.context(None, None), address, method, target, body, timeout).await
    }

    /// The same, with what it says of its sender and of whom it is for.
    pub async fn call_as(
        &self,
        context: &Context,
        address: &str,
        method: Method,
        target: &str,
        body: Body,
        timeout: Duration,
    ) -> Result<Answer, CallError> {
        let mut headers = HeaderMap::new();
        let signed = match &body {
            Body::Empty => SignedBody::Small(&[]),
            Body::Small(bytes) => SignedBody::Small(bytes),
            Body::Raft(bytes) => SignedBody::Small(bytes),
            Body::Chunk(_) => SignedBody::Chunk,
        };
        self.signer.sign(&mut headers, &method, target, signed, context, now_ms());
        let request = self.http.request(method, format!("http://{address}{target}")).headers(headers).timeout(timeout);
        let request = match body {
            Body::Empty => request,
            Body::Small(bytes) => request.body(bytes),
            Body::Raft(bytes) => request.body(bytes),
            Body::Chunk(pieces) => request.body(reqwest::Body::wrap(Pieces::new(pieces))),
        };
        let response = request.send().await.map_err(|error| {
            self.avoid(address);
            unreachable(&error)
        })?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(Answer(response));
        }
        if status == StatusCode::UNAUTHORIZED {
            // Nothing that is sent there now does any good.
            self.avoid(address);
        }
        let code = response.headers().get(message::ERROR_HEADER).and_then(|code| code.to_str().ok()).map(str::to_owned);
        let text = Answer(response).bytes(MAX_TEXT_LEN).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        if code.as_deref() == Some(OLDER) {
            self.note_newer(address);
        }
        Err(match code {
            _ if status == StatusCode::UNAUTHORIZED => CallError::Unauthorized(text),
            Some(code) => CallError::Typed { code, text },
            None => CallError::Refused(format!("status {status}")),
        })
    }
}

impl Answer {
    /// The message in the body.
    pub async fn message<T: DeserializeOwned>(self, max_len: usize) -> Result<T, CallError> {
        Ok(wire::decode(&self.bytes(max_len).await?)?)
    }

    /// The body, as it comes; an error where it is longer than `max_len`.
    pub async fn pieces(mut self, max_len: usize) -> Result<Vec<Bytes>, CallError> {
        let mut pieces = Vec::new();
        let mut len = 0;
        while let Some(piece) = self.0.chunk().await.map_err(|error| unreachable(&error))? {
            len += piece.len();
            if len > max_len {
                return Err(CallError::Refused("the answer is too long".to_owned()));
            }
            pieces.push(piece);
        }
        Ok(pieces)
    }

    pub async fn bytes(self, max_len: usize) -> Result<Vec<u8>, CallError> {
        Ok(self.pieces(max_len).await?.concat())
    }
}

/// With its cause: reqwest's own text hides it.
fn unreachable(error: &reqwest::Error) -> CallError {
    use std::error::Error;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    CallError::Unreachable(text)
}
