//! How results become answers.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{DiskError, ServiceError};
use crate::wire::{self, message};

/// An answer that is not the one that was asked for.
pub struct Refusal {
    status: StatusCode,
    /// What the other side goes by.
    code: &'static str,
    /// For its log.
    text: String,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into() }
    }

    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too much is under way")
    }

    pub fn malformed(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "refused", text)
    }

    pub fn late(text: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "unavailable", text)
    }
}

impl From<DiskError> for Refusal {
    fn from(error: DiskError) -> Self {
        let (status, code, text) = message::disk_error(&error);
        Self { status, code, text }
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        let (status, code, text) = message::service_error(&error);
        Self { status, code, text }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        response.headers_mut().insert(message::ERROR_HEADER, HeaderValue::from_static(self.code));
        response
    }
}

/// What the body says.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    wire::decode(body).map_err(|error| Refusal::malformed(error.to_string()))
}

/// An encoded message.
pub fn answer<T: Serialize>(message: &T) -> Result<Response, Refusal> {
    match wire::encode(message) {
        Ok(bytes) => Ok(Response::new(Body::from(bytes))),
        Err(error) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())),
    }
}
