//! Who may come in, and how many: the proof of the cluster secret, the bounds of bodies, and the lanes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{StatusCode, header};

use super::lane::Lane;
use super::reply::Refusal;
use crate::types::now_ms;
use crate::wire::auth::{Said, SignedBody};
use crate::wire::{AuthError, Stale, Verifier, message, path};

/// How long the body of a request may take to come in.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Of one that is always short: whoever stalls must not keep others from being heard.
const GREETING_TIMEOUT: Duration = Duration::from_secs(2);

type Reply = Result<Response, Refusal>;

/// What nodes have to know of each other.
pub(super) async fn greeting(State(state): State<Arc<super::State>>, request: Request, next: Next) -> Reply {
    let bounds = (message::MAX_REQUEST_LEN, GREETING_TIMEOUT);
    whole_body(&state, &state.greetings, bounds, request, next).await
}

/// Requests with a small body, or none.
pub(super) async fn small(State(state): State<Arc<super::State>>, request: Request, next: Next) -> Reply {
    let bounds = (message::MAX_REQUEST_LEN, BODY_TIMEOUT);
    whole_body(&state, &state.small_requests, bounds, request, next).await
}

/// Messages of Raft.
pub(super) async fn raft(State(state): State<Arc<super::State>>, request: Request, next: Next) -> Reply {
    let bounds = (message::MAX_RAFT_LEN, BODY_TIMEOUT);
    whole_body(&state, &state.raft_messages, bounds, request, next).await
}

/// Chunks: the body's hash is in the path, and is checked by the route.
pub(super) async fn chunk(State(state): State<Arc<super::State>>, request: Request, next: Next) -> Reply {
    let said = prove(&state, &request).map_err(unproven)?;
    said.check(SignedBody::Chunk).map_err(unproven)?;
    admit(&state, &said, &request)?;
    let _lane = state.chunks.try_acquire().map_err(|_| Refusal::busy())?;
    Ok(next.run(request).await)
}

async fn whole_body(
    state: &super::State,
    lane: &Lane,
    (max_len, time): (usize, Duration),
    request: Request,
    next: Next,
) -> Reply {
    // Before anything else, so that strangers take up neither places nor memory.
    let said = prove(state, &request).map_err(unproven)?;
    admit(state, &said, &request)?;
    let said_len = request.headers().get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    let has_body = !axum::body::HttpBody::is_end_stream(request.body());
    let _place = lane.enter(said_len.unwrap_or(if has_body { max_len } else { 0 }).min(max_len)).await?;
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(time, axum::body::to_bytes(body, max_len))
        .await
        .map_err(|_| Refusal::late("the body did not come in time"))?
        .map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "refused", "the body is too long or cut off"))?;
    said.check(SignedBody::Small(&body)).map_err(unproven)?;
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

/// Refuses whoever does not go by the map of this node's generation. By asking for the map, and by greeting, all find
/// that out.
fn admit(state: &super::State, said: &Said, request: &Request) -> Result<(), Refusal> {
    if matches!(request.uri().path(), path::VIEW | path::HELLO) {
        return Ok(());
    }
    Ok(state.backend.admit(&said.context)?)
}

impl From<Stale> for Refusal {
    fn from(stale: Stale) -> Self {
        metrics::counter!("cairn_rpc_refused_total", "reason" => stale.code()).increment(1);
        Self::new(StatusCode::CONFLICT, stale.code(), stale.to_string())
    }
}

fn prove(state: &super::State, request: &Request) -> Result<Said, AuthError> {
    prove_to(&state.verifier, request)
}

pub(super) fn prove_to(verifier: &Verifier, request: &Request) -> Result<Said, AuthError> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    verifier.verify(request.headers(), request.method(), target, now_ms())
}

pub(super) fn unproven(error: AuthError) -> Refusal {
    metrics::counter!("cairn_rpc_refused_total", "reason" => match error {
        AuthError::Missing => "missing",
        AuthError::Release => "release",
        AuthError::Skewed => "skewed",
        AuthError::Wrong => "wrong",
        AuthError::Replayed => "replayed",
    })
    .increment(1);
    tracing::warn!(%error, "an internal request was refused");
    Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", error.to_string())
}
