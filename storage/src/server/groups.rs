//! Groups of metadata, the map, and health.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::chunks::decode;
use super::reply;
use crate::meta::{Envelope, Query};
use crate::types::GroupId;
use crate::wire::View;

type Shared = State<Arc<super::State>>;

pub(super) async fn command(State(state): Shared, Path(group): Path<u32>, body: Bytes) -> Response {
    let envelope: Envelope = match decode(&body) {
        Ok(envelope) => envelope,
        Err(response) => return response,
    };
    match state.backend.meta().command(GroupId(group), envelope).await {
        Ok(result) => reply::answer(&result),
        Err(error) => reply::service_error(&error),
    }
}

pub(super) async fn query(State(state): Shared, Path(group): Path<u32>, body: Bytes) -> Response {
    let query: Query = match decode(&body) {
        Ok(query) => query,
        Err(response) => return response,
    };
    match state.backend.meta().query(GroupId(group), query).await {
        Ok(answer) => reply::answer(&answer),
        Err(error) => reply::service_error(&error),
    }
}

pub(super) async fn raft(State(state): Shared, body: Bytes) -> Response {
    Response::new(Body::from(state.backend.raft(body).await))
}

pub(super) async fn view(State(state): Shared) -> Response {
    let disks = state.backend.disks();
    let map = disks.map();
    let up = map.disks.iter().map(|disk| disk.id).filter(|disk| disks.is_up(*disk)).collect();
    reply::answer(&View { map, up })
}

/// Says nothing that a stranger should not know.
pub(super) async fn health(State(state): Shared) -> Response {
    if state.backend.is_ready() {
        (StatusCode::OK, "ready\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}
