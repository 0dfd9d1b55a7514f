//! Errors in the form in which the client expects them.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, header};

use crate::error::{Code, S3Error};
use crate::iam::{self, Api};
use crate::xml;

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A client of S3.
    Xml,
    /// A client of the admin API.
    Json,
    /// A client of IAM or STS.
    Query(&'static Api),
}

/// The answer that says what went wrong. `NotModified` has no body, as HTTP has it.
pub(super) fn error(error: &S3Error, form: Form, resource: &str, id: &str, host_id: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = error.code.status();
    if error.code != Code::NotModified {
        let (body, content_type) = match form {
            Form::Xml => (xml::error(error, resource, id, host_id).finish(), xml::CONTENT_TYPE),
            Form::Json => (json(error, id), HeaderValue::from_static("application/json")),
            Form::Query(api) => {
                let (code, document) = iam::error(api, error, id);
                *response.status_mut() = code.status();
                (document.finish(), xml::CONTENT_TYPE)
            }
        };
        *response.body_mut() = Body::from(body);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    for (name, value) in &error.headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}

/// The same in two pieces, for a client of S3.
pub(super) fn text(error: &S3Error, id: &str, host_id: &str) -> (Response<()>, String) {
    let (head, _) = self::error(error, Form::Xml, "/", id, host_id).into_parts();
    (Response::from_parts(head, ()), xml::error(error, "/", id, host_id).finish())
}

/// As HTTP/1.1 has it on the wire.
pub(super) fn message(head: &Response<()>, body: &str) -> Bytes {
    let mut out = format!("HTTP/1.1 {}\r\n", head.status()).into_bytes();
    for (name, value) in head.headers() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    out.into()
}

/// With the details as in XML: a client learns the region from them.
fn json(error: &S3Error, id: &str) -> String {
    let details: serde_json::Map<_, _> =
        error.details.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
    let mut document = serde_json::json!({ "code": error.code.as_str(), "message": error.message(), "request_id": id });
    if !details.is_empty() {
        document["details"] = details.into();
    }
    document.to_string()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body::Body as _;

    use super::*;

    #[test]
    fn not_modified_has_headers_and_no_body() {
        let etag = S3Error::new(Code::NotModified).header(header::ETAG, HeaderValue::from_static("\"e\""));
        let response = error(&etag, Form::Xml, "/b/k", "ID", "HOST");
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(response.headers().get(header::ETAG).unwrap(), "\"e\"");
        assert!(response.body().is_end_stream() && !response.headers().contains_key(header::CONTENT_TYPE));
    }

    #[test]
    fn details_are_told_in_either_form() {
        let wrong = S3Error::new(Code::AuthorizationHeaderMalformed).detail("Region", "eu-1");
        assert!(text(&wrong, "ID", "HOST").1.contains("<Region>eu-1</Region>"));
        let told: serde_json::Value = serde_json::from_str(&json(&wrong, "ID")).unwrap();
        assert_eq!(told["details"], serde_json::json!({ "Region": "eu-1" }));
        assert!(!json(&S3Error::new(Code::AccessDenied), "ID").contains("details"));
    }

    #[test]
    fn the_form_is_the_clients() {
        let denied = S3Error::new(Code::AccessDenied);
        let xml = error(&denied, Form::Xml, "/b", "ID", "HOST");
        assert_eq!(xml.headers().get(header::CONTENT_TYPE).unwrap(), "application/xml");
        let json = error(&denied, Form::Json, "/b", "ID", "HOST");
        assert_eq!(json.headers().get(header::CONTENT_TYPE).unwrap(), "application/json");
        assert_eq!(json.status(), StatusCode::FORBIDDEN);
    }
}
