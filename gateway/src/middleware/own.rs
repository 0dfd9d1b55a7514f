//! What is Cairn's own on the S3 port, under `/_cairn/`: health, metrics, the admin API. No bucket's name can start
//! with an underscore.

use axum::body::Body;
use http::{HeaderValue, Method, Response, StatusCode, header, request};

use super::render::Form;
use super::{Inner, Progress, authenticate};
use crate::auth::Place;
use crate::error::{Code, S3Error};
use crate::operation::{Target, Version};
use crate::origin::Peer;
use crate::request::{Reply, Request, Unread};
use crate::server::Hooks;
use crate::{admin, gate};

/// In the place of a bucket.
pub(super) const SPACE: &str = "_cairn";

/// What is said of health, to whoever asks; `None` where it is asked for something else.
pub(super) async fn health(service: &Inner, method: &Method, target: &Target) -> Option<Response<Body>> {
    let is_own = target.bucket == SPACE && !target.virtual_host;
    if !is_own || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    match target.key.as_str() {
        "health/live" => Some(plain(StatusCode::OK, "live\n")),
        "health/ready" if service.ready.get().await => Some(plain(StatusCode::OK, "ready\n")),
        "health/ready" => Some(plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")),
        _ => None,
    }
}

/// Answers what needs no signature; everything else needs root's.
pub(super) async fn answer(
    service: &Inner,
    mut head: request::Parts,
    target: Target,
    body: Body,
    progress: &mut Progress,
) -> Reply {
    let Inner { gateway, hooks, rules, .. } = service;
    progress.form = Form::Json;
    progress.operation = "Own";
    if let Some(said) = health(service, &head.method, &target).await {
        return Ok(said);
    }
    let signed = authenticate::authenticate(gateway, rules, &mut head, &target).await?;
    let pass = gate::admit_to_admin(&signed.caller)?;
    if signed.place == Place::Query || signed.version2 {
        // A URL is handed on, and who made it has seen a key in it; version 2 does not sign the host.
        let message = "The admin API takes signatures of version 4 in the header only, and no presigned URLs.";
        return Err(S3Error::with(Code::AccessDenied, message));
    }
    if target.key == "metrics" && matches!(head.method, Method::GET | Method::HEAD) {
        return metrics(hooks).await;
    }
    progress.operation = "Admin";
    let request = Request {
        id: progress.id.clone(),
        caller: signed.caller,
        method: head.method,
        bucket: target.bucket,
        key: target.key,
        query: target.query.into(),
        version: Version::Current,
        document_len: admin::MAX_BODY_LEN,
        virtual_host: target.virtual_host,
        signature: signed.signature,
        peer: head.extensions.get::<Peer>().copied(),
        headers: head.headers.into(),
        payload: signed.payload,
        body: Unread::new(body),
    };
    Box::pin(admin::handle(gateway, pass, request)).await
}

/// Prometheus' text format.
async fn metrics(hooks: &Hooks) -> Reply {
    let Some(handle) = hooks.metrics.clone() else {
        return Err(S3Error::with(Code::NotImplemented, "This process keeps no metrics."));
    };
    let text = tokio::task::spawn_blocking(move || handle.render()).await.map_err(|_| Code::InternalError)?;
    let mut response = Response::new(Body::from(text));
    let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, version);
    Ok(response)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
