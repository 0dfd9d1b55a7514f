//! Groups of metadata, the map, and health.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use super::reply::{Refusal, answer, decode};
use crate::meta::{Envelope, Query};
use crate::types::GroupId;
use crate::wire::{Hello, View};

type Shared = State<Arc<super::State>>;
type Reply = Result<Response, Refusal>;

pub(super) async fn command(State(state): Shared, Path(group): Path<u32>, body: Bytes) -> Reply {
    let envelope: Envelope = decode(&body)?;
    answer(&state.backend.meta().command(GroupId(group), envelope).await?)
}

pub(super) async fn query(State(state): Shared, Path(group): Path<u32>, body: Bytes) -> Reply {
    let query: Query = decode(&body)?;
    answer(&state.backend.meta().query(GroupId(group), query).await?)
}

pub(super) async fn raft(State(state): Shared, body: Bytes) -> Response {
    Response::new(Body::from(state.backend.raft(body).await))
}

pub(super) async fn view(State(state): Shared) -> Reply {
    let disks = state.backend.disks();
    let map = disks.map();
    let up = map.disks.iter().map(|disk| disk.id).filter(|disk| disks.is_up(*disk)).collect();
    answer(&View { map, up, places: state.backend.places() })
}

pub(super) async fn overview(State(state): Shared) -> Reply {
    answer(&state.backend.disks().overview().await?)
}

pub(super) async fn hello(State(state): Shared, body: Bytes) -> Reply {
    let hello: Hello = decode(&body)?;
    answer(&state.backend.hello(hello).map_err(|(code, why)| Refusal::new(StatusCode::CONFLICT, code, why))?)
}

/// Says nothing that a stranger should not know.
pub(super) async fn health(State(state): Shared) -> (StatusCode, &'static str) {
    if state.backend.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}
