//! How results become answers.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::client::{DiskError, ServiceError};
use crate::wire::{self, message};

/// An answer that is not the one that was asked for: status, code of the error, text for the log.
pub fn refusal(status: StatusCode, code: &'static str, text: impl Into<String>) -> Response {
    let mut response = (status, text.into()).into_response();
    response.headers_mut().insert(message::ERROR_HEADER, HeaderValue::from_static(code));
    response
}

pub fn busy() -> Response {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", "too much is under way")
}

pub fn malformed(text: impl Into<String>) -> Response {
    refusal(StatusCode::BAD_REQUEST, "refused", text)
}

pub fn disk_error(error: &DiskError) -> Response {
    let (status, code, text) = message::disk_error(error);
    refusal(status, code, text)
}

pub fn service_error(error: &ServiceError) -> Response {
    let (status, code, text) = message::service_error(error);
    refusal(status, code, text)
}

/// An encoded message.
pub fn answer<T: Serialize>(message: &T) -> Response {
    match wire::encode(message) {
        Ok(bytes) => Response::new(Body::from(bytes)),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()),
    }
}
