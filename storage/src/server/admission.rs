//! Who may come in, and how many: the proof of the cluster secret, the bounds of bodies, and the lanes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use tokio::sync::Semaphore;

use super::reply;
use crate::types::now_ms;
use crate::wire::auth::{SaidBody, SignedBody};
use crate::wire::{AuthError, message};

/// How long the body of a request may take to come in.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests with a small body, or none.
pub(super) async fn small(State(state): State<Arc<super::State>>, request: Request, next: Next) -> Response {
    whole_body(&state, &state.requests, message::MAX_REQUEST_LEN, request, next).await
}

/// Messages of Raft.
pub(super) async fn raft(State(state): State<Arc<super::State>>, request: Request, next: Next) -> Response {
    whole_body(&state, &state.raft_messages, message::MAX_RAFT_LEN, request, next).await
}

/// Chunks: the body's hash is in the path, and is checked by the route.
pub(super) async fn chunk(State(state): State<Arc<super::State>>, request: Request, next: Next) -> Response {
    match prove(&state, &request).and_then(|said| said.check(SignedBody::Chunk)) {
        Ok(()) => {}
        Err(error) => return unproven(error),
    }
    let Ok(_lane) = state.requests.try_acquire() else { return reply::busy() };
    next.run(request).await
}

async fn whole_body(state: &super::State, lane: &Semaphore, max_len: usize, request: Request, next: Next) -> Response {
    // Before anything else, so that strangers take up neither places nor memory.
    let said = match prove(state, &request) {
        Ok(said) => said,
        Err(error) => return unproven(error),
    };
    let Ok(_lane) = lane.try_acquire() else { return reply::busy() };
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, max_len)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return reply::refusal(StatusCode::PAYLOAD_TOO_LARGE, "refused", "the body is too long or cut off");
        }
        Err(_) => return reply::refusal(StatusCode::REQUEST_TIMEOUT, "unavailable", "the body did not come in time"),
    };
    match said.check(SignedBody::Small(&body)) {
        Ok(()) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(error) => unproven(error),
    }
}

fn prove(state: &super::State, request: &Request) -> Result<SaidBody, AuthError> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    state.verifier.verify(request.headers(), request.method(), target, now_ms())
}

fn unproven(error: AuthError) -> Response {
    metrics::counter!("cairn_rpc_refused_total", "reason" => match error {
        AuthError::Missing => "missing",
        AuthError::Skewed => "skewed",
        AuthError::Wrong => "wrong",
        AuthError::Replayed => "replayed",
    })
    .increment(1);
    tracing::warn!(%error, "an internal request was refused");
    reply::refusal(StatusCode::UNAUTHORIZED, "unauthorized", error.to_string())
}
