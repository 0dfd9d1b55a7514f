//! Chunks of this node's disks.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::CHUNK_UNIT;
use super::reply::{Refusal, answer, decode};
use crate::client::{DiskError, RepairService};
use crate::types::{ChunkId, DiskId, MAX_CHUNK_LEN};
use crate::wire::{Pieces, message};

/// How long a chunk may wait for room in the memory set apart for chunks.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the body of a chunk may take to come in.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a piece of it may take: what stalls gives its room back to others.
const PIECE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a disk may take.
const DISK_TIMEOUT: Duration = Duration::from_secs(60);

type Shared = State<Arc<super::State>>;
type Reply = Result<Response, Refusal>;

/// PUT of a chunk. Its BLAKE3 is checked while it comes in.
pub(super) async fn store(
    State(state): Shared,
    Path((disk, chunk)): Path<(String, String)>,
    headers: http::HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let (disk, chunk) = (find(&state, &disk)?, chunk_id(&chunk)?);
    let len = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let len = len
        .filter(|len| (1..=MAX_CHUNK_LEN).contains(len))
        .ok_or_else(|| Refusal::malformed("a chunk has a length of 1 byte to 8 MiB"))?;
    let _room = room(&state, len).await?;
    let data = tokio::time::timeout(BODY_TIMEOUT, collect(body, len, chunk))
        .await
        .map_err(|_| Refusal::late("the chunk did not come in time"))?
        .map_err(Refusal::malformed)?;
    within(disk.put(chunk, data)).await?;
    Ok(StatusCode::OK)
}

/// The pieces of the body as they come, if they are `len` bytes with the hash of `chunk`.
async fn collect(mut body: Body, len: usize, chunk: ChunkId) -> Result<Vec<Bytes>, &'static str> {
    let mut pieces = Vec::new();
    let mut hasher = blake3::Hasher::new();
    let late = |_| "the chunk stalled on its way";
    while let Some(frame) = tokio::time::timeout(PIECE_TIMEOUT, body.frame()).await.map_err(late)? {
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
) -> Reply {
    let (disk, chunk) = (find(&state, &disk)?, chunk_id(&chunk)?);
    let range: Range<u32> = start..end;
    if range.len() > MAX_CHUNK_LEN {
        return Err(Refusal::malformed("no chunk is that long"));
    }
    // Until the bytes are handed to the connection; what lies in its buffer is bounded by the connections.
    let _room = room(&state, range.len()).await?;
    let pieces = within(disk.get(chunk, range)).await?;
    Ok(Response::new(Body::new(Pieces::new(pieces))))
}

pub(super) async fn touch(State(state): Shared, Path(disk): Path<String>, body: Bytes) -> Reply {
    let (disk, ids) = (find(&state, &disk)?, ids(&body)?);
    answer(&within(disk.touch(ids)).await?)
}

pub(super) async fn stat(State(state): Shared, Path(disk): Path<String>, body: Bytes) -> Reply {
    let (disk, ids) = (find(&state, &disk)?, ids(&body)?);
    answer(&within(disk.stat(ids)).await?)
}

pub(super) async fn list(State(state): Shared, Path(disk): Path<String>, body: Bytes) -> Reply {
    let (disk, (after, limit)) = (find(&state, &disk)?, decode::<(_, u32)>(&body)?);
    if limit as usize > message::MAX_IDS {
        return Err(Refusal::malformed("too many chunks in one request"));
    }
    answer(&within(disk.list(after, limit)).await?)
}

pub(super) async fn scrub(State(state): Shared, Path(disk): Path<String>, body: Bytes) -> Reply {
    let (disk, start) = (find(&state, &disk)?, decode(&body)?);
    answer(&within(disk.scrub(start)).await?)
}

pub(super) async fn verify(State(state): Shared, Path(disk): Path<String>, body: Bytes) -> Result<StatusCode, Refusal> {
    let (disk, id) = (find(&state, &disk)?, decode(&body)?);
    within(disk.verify(id)).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn hold(State(state): Shared, Path(disk): Path<String>, body: Bytes) -> Result<StatusCode, Refusal> {
    let (disk, (epoch, id)) = (find(&state, &disk)?, decode(&body)?);
    within(disk.hold(id, epoch)).await?;
    Ok(StatusCode::OK)
}

/// A disk that hangs must not keep what was reserved for a request for ever.
async fn within<T>(work: impl Future<Output = Result<T, DiskError>>) -> Result<T, DiskError> {
    let done = tokio::time::timeout(DISK_TIMEOUT, work).await;
    done.unwrap_or_else(|_| Err(DiskError::Unavailable("the disk does not answer".to_owned())))
}

fn find(state: &super::State, disk: &str) -> Result<Arc<dyn RepairService>, Refusal> {
    let id: DiskId = disk.parse().map_err(|_| Refusal::malformed("not a disk id"))?;
    let not_here = || DiskError::Unavailable("the disk is not up on this node".to_owned());
    Ok(state.backend.local_disk(id).ok_or_else(not_here)?)
}

fn chunk_id(text: &str) -> Result<ChunkId, Refusal> {
    text.parse().map_err(|_| Refusal::malformed("not a chunk id"))
}

fn ids(body: &[u8]) -> Result<Vec<ChunkId>, Refusal> {
    let ids: Vec<ChunkId> = decode(body)?;
    if ids.len() > message::MAX_IDS {
        return Err(Refusal::malformed("too many chunks in one request"));
    }
    Ok(ids)
}

async fn room(state: &super::State, len: usize) -> Result<OwnedSemaphorePermit, Refusal> {
    let units = u32::try_from(len.div_ceil(CHUNK_UNIT)).map_err(|_| Refusal::busy())?;
    let room = tokio::time::timeout(ROOM_TIMEOUT, state.chunk_units.clone().acquire_many_owned(units)).await;
    room.map_err(|_| Refusal::busy())?.map_err(|_| Refusal::busy())
}
