//! A disk of another process.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Answer, Body};
use super::{CallError, Remote};
use crate::client::{DiskError, DiskService, RepairService};
use crate::types::{ChunkId, DiskId, Epoch};
use crate::wire::{Listed, ScrubStatus, Stat, message, path};

/// For all of a chunk.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
const SMALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The way to one disk, wherever the map says that it is.
pub struct RemoteDisk {
    pub(super) remote: Arc<Remote>,
    pub(super) id: DiskId,
}

impl RemoteDisk {
    async fn call(&self, method: Method, target: &str, body: Body, timeout: Duration) -> Result<Answer, DiskError> {
        let gone = || DiskError::Unavailable("the map does not have the disk".to_owned());
        let address = self.remote.address_of(self.id).ok_or_else(gone)?;
        let context = self.remote.context(None, Some(self.id));
        Ok(self.remote.call_as(&context, &address, method, target, body, timeout).await?)
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(&self, target: String, question: Q) -> Result<A, DiskError> {
        let body = Body::message(&question)?;
        let answer = self.call(Method::POST, &target, body, SMALL_TIMEOUT).await?;
        Ok(answer.message(message::MAX_ANSWER_LEN).await?)
    }
}

impl DiskService for RemoteDisk {
    fn put(&self, id: ChunkId, data: Vec<Bytes>) -> BoxFuture<'_, Result<(), DiskError>> {
        async move {
            let target = path::chunk(self.id, &id);
            self.call(Method::PUT, &target, Body::Chunk(data), CHUNK_TIMEOUT).await.map(drop)
        }
        .boxed()
    }

    fn get(&self, id: ChunkId, range: Range<u32>) -> BoxFuture<'_, Result<Vec<Bytes>, DiskError>> {
        async move {
            let target = path::chunk_range(self.id, &id, &range);
            let answer = self.call(Method::GET, &target, Body::Empty, CHUNK_TIMEOUT).await?;
            let pieces = answer.pieces(range.len()).await?;
            if pieces.iter().map(Bytes::len).sum::<usize>() != range.len() {
                return Err(CallError::Unreachable("the bytes were cut off".to_owned()).into());
            }
            Ok(pieces)
        }
        .boxed()
    }

    fn touch(&self, ids: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<bool>, DiskError>> {
        self.ask(path::touch(self.id), ids).boxed()
    }
}

impl RepairService for RemoteDisk {
    fn list(&self, after: Option<ChunkId>, limit: u32) -> BoxFuture<'_, Result<Vec<Listed>, DiskError>> {
        self.ask(path::list(self.id), (after, limit)).boxed()
    }

    fn stat(&self, ids: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<Option<Stat>>, DiskError>> {
        self.ask(path::stat(self.id), ids).boxed()
    }

    fn scrub(&self, start: bool) -> BoxFuture<'_, Result<ScrubStatus, DiskError>> {
        self.ask(path::scrub(self.id), start).boxed()
    }

    fn verify(&self, id: ChunkId) -> BoxFuture<'_, Result<(), DiskError>> {
        async move {
            let body = Body::message(&id)?;
            self.call(Method::POST, &path::verify(self.id), body, CHUNK_TIMEOUT).await.map(drop)
        }
        .boxed()
    }

    fn hold(&self, id: ChunkId, epoch: Epoch) -> BoxFuture<'_, Result<(), DiskError>> {
        async move {
            let body = Body::message(&(epoch, id))?;
            self.call(Method::POST, &path::hold(self.id), body, CHUNK_TIMEOUT).await.map(drop)
        }
        .boxed()
    }
}
