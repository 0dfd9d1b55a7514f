//! Chunks of this node's disks.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::{CHUNK_UNIT, reply};
use crate::client::{DiskError, RepairService};
use crate::types::{ChunkId, DiskId, MAX_CHUNK_LEN};
use crate::wire::{self, Pieces, message};

/// How long a chunk may wait for room in the memory set apart for chunks.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the body of a chunk may take to come in.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a disk may take.
const DISK_TIMEOUT: Duration = Duration::from_secs(60);

type Shared = State<Arc<super::State>>;

/// PUT of a chunk. Its BLAKE3 is checked while it comes in.
pub(super) async fn store(
    State(state): Shared,
    Path((disk, chunk)): Path<(String, String)>,
    headers: http::HeaderMap,
    body: Body,
) -> Response {
    let (disk, chunk) = match (find(&state, &disk), chunk.parse::<ChunkId>()) {
        (Ok(disk), Ok(chunk)) => (disk, chunk),
        (Err(response), _) => return response,
        (_, Err(error)) => return reply::malformed(error.to_string()),
    };
    let len = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let Some(len) = len.filter(|len| (1..=MAX_CHUNK_LEN).contains(len)) else {
        return reply::malformed("a chunk has a length of 1 byte to 8 MiB");
    };
    let Some(_room) = room(&state, len).await else { return reply::busy() };
    let data = match tokio::time::timeout(BODY_TIMEOUT, collect(body, len, chunk)).await {
        Ok(Ok(data)) => data,
        Ok(Err(text)) => return reply::malformed(text),
        Err(_) => return reply::refusal(StatusCode::REQUEST_TIMEOUT, "unavailable", "the chunk did not come in time"),
    };
    match within(disk.put(chunk, data)).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => reply::disk_error(&error),
    }
}

/// The pieces of the body as they come, if they are `len` bytes with the hash of `chunk`.
async fn collect(mut body: Body, len: usize, chunk: ChunkId) -> Result<Vec<Bytes>, &'static str> {
    let mut pieces = Vec::new();
    let mut hasher = blake3::Hasher::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(drop).and_then(|frame| frame.into_data().map_err(drop)) else {
            return Err("the chunk was cut off");
        };
        hasher.update(&piece);
        pieces.push(piece);
        if hasher.count() > len as u64 {
            return Err("the chunk is longer than was said");
        }
    }
    if hasher.count() == len as u64 && *hasher.finalize().as_bytes() == chunk.hash {
        Ok(pieces)
    } else {
        Err("the bytes are not those of the chunk's hash")
    }
}

#[derive(Deserialize)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

/// GET of a range of a chunk.
pub(super) async fn read(
    State(state): Shared,
    Path((disk, chunk)): Path<(String, String)>,
    Query(Span { start, end }): Query<Span>,
) -> Response {
    let (disk, chunk) = match (find(&state, &disk), chunk.parse::<ChunkId>()) {
        (Ok(disk), Ok(chunk)) => (disk, chunk),
        (Err(response), _) => return response,
        (_, Err(error)) => return reply::malformed(error.to_string()),
    };
    let range: Range<u32> = start..end;
    if range.len() > MAX_CHUNK_LEN {
        return reply::malformed("no chunk is that long");
    }
    // Until the bytes are handed to the connection; what lies in its buffer is bounded by the connections.
    let Some(_room) = room(&state, range.len()).await else { return reply::busy() };
    match within(disk.get(chunk, range)).await {
        Ok(pieces) => Response::new(Body::new(Pieces::new(pieces))),
        Err(error) => reply::disk_error(&error),
    }
}

pub(super) async fn touch(State(state): Shared, Path(disk): Path<String>, body: Bytes) -> Response {
    let (disk, ids) = match (find(&state, &disk), ids(&body)) {
        (Ok(disk), Ok(ids)) => (disk, ids),
        (Err(response), _) | (_, Err(response)) => return response,
    };
    match within(disk.touch(ids)).await {
        Ok(there) => reply::answer(&there),
        Err(error) => reply::disk_error(&error),
    }
}

pub(super) async fn stat(State(state): Shared, Path(disk): Path<String>, body: Bytes) -> Response {
    let (disk, ids) = match (find(&state, &disk), ids(&body)) {
        (Ok(disk), Ok(ids)) => (disk, ids),
        (Err(response), _) | (_, Err(response)) => return response,
    };
    match within(disk.stat(ids)).await {
        Ok(stats) => reply::answer(&stats),
        Err(error) => reply::disk_error(&error),
    }
}

pub(super) async fn verify(State(state): Shared, Path(disk): Path<String>, body: Bytes) -> Response {
    let (disk, id) = match (find(&state, &disk), decode(&body)) {
        (Ok(disk), Ok(id)) => (disk, id),
        (Err(response), _) | (_, Err(response)) => return response,
    };
    match within(disk.verify(id)).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => reply::disk_error(&error),
    }
}

/// A disk that hangs must not keep what was reserved for a request for ever.
async fn within<T>(work: impl Future<Output = Result<T, DiskError>>) -> Result<T, DiskError> {
    let done = tokio::time::timeout(DISK_TIMEOUT, work).await;
    done.unwrap_or_else(|_| Err(DiskError::Unavailable("the disk does not answer".to_owned())))
}

fn find(state: &super::State, disk: &str) -> Result<Arc<dyn RepairService>, Response> {
    let Ok(id) = disk.parse::<DiskId>() else { return Err(reply::malformed("not a disk id")) };
    let not_here = || DiskError::Unavailable("the disk is not up on this node".to_owned());
    state.backend.local_disk(id).ok_or_else(|| reply::disk_error(&not_here()))
}

fn ids(body: &[u8]) -> Result<Vec<ChunkId>, Response> {
    match decode::<Vec<ChunkId>>(body) {
        Ok(ids) if ids.len() <= message::MAX_IDS => Ok(ids),
        Ok(_) => Err(reply::malformed("too many chunks in one request")),
        Err(response) => Err(response),
    }
}

pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Response> {
    wire::decode(body).map_err(|error| reply::malformed(error.to_string()))
}

async fn room(state: &super::State, len: usize) -> Option<OwnedSemaphorePermit> {
    let units = u32::try_from(len.div_ceil(CHUNK_UNIT)).ok()?;
    tokio::time::timeout(ROOM_TIMEOUT, state.chunk_units.clone().acquire_many_owned(units)).await.ok()?.ok()
}
