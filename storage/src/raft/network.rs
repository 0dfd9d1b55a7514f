//! How replicas reach each other: those of this process by a direct call, others through the transport that the node
//! gives us. It carries messages and judges nothing but who is meant.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use openraft::errors::{ErrorSource, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::BoxedErrorSource;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, StorageError};
use parking_lot::Mutex;
use serde_bytes::ByteBuf;

use super::consensus::{Consensus, LogId, Snapshot, Vote};
use super::message::{Address, AppendV1, Body, Message, Reply};
use super::replica::Replica;
use super::replicas::Inner;
use super::state_machine::SnapshotData;
use super::transfer::{Digest, Sent};
use crate::types::{DiskId, GroupId, ReplicaId};

/// A message did not arrive, or its reply did not come back.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);

/// The way to replicas of other processes. The other side hands what arrives to `Replicas::handle`.
pub trait RemoteTransport: Send + Sync + 'static {
    /// Carries a message of a few mebibytes at most to the process that has the disk, and brings back its reply. `from` is
    /// the disk of the replica that sends it, where it is one.
    fn send(
        &self,
        from: Option<DiskId>,
        disk: DiskId,
        message: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Bytes, TransportError>>;
}

type Failure = RPCError<Consensus>;

/// How long one message of a snapshot may take. The whole may take as long as it does: its end is asked for again until it
/// is installed.
const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

fn unreachable(why: impl ToString) -> Unreachable<Consensus> {
    Unreachable::from_string(why)
}

/// Makes the connections of one replica to the others of its group.
pub(super) struct Connections {
    pub(super) registry: Weak<Inner>,
    pub(super) group: GroupId,
    /// Of the replica whose connections these are.
    pub(super) disk: DiskId,
}

impl Connections {
    fn to(&self, target: ReplicaId, disk: DiskId, pipelined: bool) -> Connection {
        Connection { registry: self.registry.clone(), group: self.group, from: self.disk, target, disk, pipelined }
    }
}

impl RaftNetworkFactory<Consensus> for Connections {
    type Network = Connection;

    async fn new_client(&mut self, target: ReplicaId, disk: &DiskId) -> Connection {
        self.to(target, *disk, true)
    }

    async fn new_heartbeat_client(&mut self, target: ReplicaId, disk: &DiskId) -> Connection {
        self.to(target, *disk, false)
    }
}

/// The way to one replica.
pub struct Connection {
    registry: Weak<Inner>,
    group: GroupId,
    from: DiskId,
    target: ReplicaId,
    disk: DiskId,
    /// Many appends follow each other, rather than a single one.
    pipelined: bool,
}

enum Route {
    Local(Arc<Replica>),
    Remote(Arc<dyn RemoteTransport>, Address),
}

impl Connection {
    fn route(&self) -> Result<Route, Unreachable<Consensus>> {
        let registry = self.registry.upgrade().ok_or_else(|| unreachable("this process stops"))?;
        if let Some(replica) = registry.find(self.group, self.target) {
            return Ok(Route::Local(replica));
        }
        match &registry.transport {
            Some(transport) => {
                let to = Address { cluster: registry.cluster, group: self.group, replica: self.target };
                Ok(Route::Remote(transport.clone(), to))
            }
            None => Err(unreachable("the replica is not here")),
        }
    }

    async fn send(
        &self,
        transport: &dyn RemoteTransport,
        to: Address,
        body: Body,
        timeout: Duration,
    ) -> Result<Reply, Unreachable<Consensus>> {
        let message = Message { to, body }.encode().map_err(unreachable)?;
        let reply = transport.send(Some(self.from), self.disk, message, timeout).await.map_err(unreachable)?;
        match Reply::decode(&reply).map_err(unreachable)? {
            Reply::Refused(why) | Reply::Unavailable(why) => Err(unreachable(why)),
            reply => Ok(reply),
        }
    }

    async fn send_frame(&self, transfer: u64, number: u64, frame: Vec<u8>) -> Result<(), Unreachable<Consensus>> {
        match self.route()? {
            Route::Local(replica) => replica.receive_frame(transfer, number, frame).await.map_err(unreachable),
            Route::Remote(transport, to) => {
                let body = Body::SnapshotFrame { transfer, number, frame: ByteBuf::from(frame) };
                match self.send(&*transport, to, body, FRAME_TIMEOUT).await? {
                    Reply::SnapshotFrame => Ok(()),
                    _ => Err(unreachable("the reply is of another kind")),
                }
            }
        }
    }

    async fn send_end(
        &self,
        transfer: u64,
        sent: Sent,
        vote: Vote,
        meta: &super::consensus::SnapshotMeta,
    ) -> Result<Vote, Unreachable<Consensus>> {
        loop {
            let vote = match self.route()? {
                Route::Local(replica) => {
                    replica.finish_transfer(transfer, sent, vote, meta.clone()).await.map_err(unreachable)?
                }
                Route::Remote(transport, to) => {
                    let body = Body::snapshot_end(transfer, sent, &vote, meta);
                    match self.send(&*transport, to, body, FRAME_TIMEOUT).await? {
                        Reply::SnapshotEnd(vote) => Some(vote.into()),
                        Reply::Installing => None,
                        _ => return Err(unreachable("the reply is of another kind")),
                    }
                }
            };
            if let Some(vote) = vote {
                return Ok(vote);
            }
        }
    }
}

impl RaftNetworkV2<Consensus> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Consensus>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Consensus>, Failure> {
        match self.route()? {
            Route::Local(replica) => {
                replica.check_room(&request.entries).map_err(unreachable)?;
                Ok(replica.raft.append_entries(request).await.map_err(unreachable)?)
            }
            Route::Remote(transport, to) => {
                // An append waits for an fsync on the other side; a heartbeat does so only behind one.
                let timeout = if request.entries.is_empty() { option.soft_ttl() } else { Duration::from_secs(5) };
                let body = Body::Append(AppendV1::new(&request).map_err(unreachable)?);
                match self.send(&*transport, to, body, timeout).await? {
                    Reply::Append(reply) => Ok(reply.into()),
                    _ => Err(unreachable("the reply is of another kind").into()),
                }
            }
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Consensus>, Failure>>, Failure>>
    where
        S: Stream<Item = AppendEntriesRequest<Consensus>> + OptionalSend + Unpin + 'static,
    {
        if self.pipelined
            && let Ok(Route::Local(replica)) = self.route()
        {
            // What the disk has no room for ends the stream with an error, after which the leader waits a little.
            let refused = Arc::new(Mutex::new(None));
            // openraft keeps the stream for a while after the replica has ended; its disk must be closed by then.
            let (target, noted) = (Arc::downgrade(&replica), refused.clone());
            let input = input.take_while(move |request| {
                let checked = target.upgrade().map_or(Ok(()), |target| target.check_room(&request.entries));
                let goes_on = checked.is_ok();
                *noted.lock() = checked.err();
                std::future::ready(goes_on)
            });
            let refusal = stream::once(async move { refused.lock().take().map(|why| Err(unreachable(why).into())) });
            // The next append need not wait for the fsync of the one before.
            let output =
                replica.raft.stream_append(input).map(|result| result.map_err(|fatal| unreachable(fatal).into()));
            let output = output.chain(refusal.filter_map(std::future::ready));
            return Box::pin(async move { Ok(output.boxed()) });
        }
        stream_append_sequential(self, input, option)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Consensus>,
        option: RPCOption,
    ) -> Result<VoteResponse<Consensus>, Failure> {
        match self.route()? {
            Route::Local(replica) => Ok(replica.raft.vote(request).await.map_err(unreachable)?),
            Route::Remote(transport, to) => {
                match self.send(&*transport, to, Body::Vote((&request).into()), option.soft_ttl()).await? {
                    Reply::Vote(reply) => Ok(reply.into()),
                    _ => Err(unreachable("the reply is of another kind").into()),
                }
            }
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Consensus>,
        option: RPCOption,
    ) -> Result<VoteResponse<Consensus>, Failure> {
        match self.route()? {
            Route::Local(replica) => Ok(replica.raft.pre_vote(request).await.map_err(unreachable)?),
            Route::Remote(transport, to) => {
                match self.send(&*transport, to, Body::PreVote((&request).into()), option.soft_ttl()).await? {
                    Reply::Vote(reply) => Ok(reply.into()),
                    _ => Err(unreachable("the reply is of another kind").into()),
                }
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Consensus>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Consensus>, Failure> {
        match self.route()? {
            Route::Local(replica) => Ok(replica.raft.handle_transfer_leader(request).await.map_err(unreachable)?),
            Route::Remote(transport, to) => {
                match self.send(&*transport, to, Body::transfer_leader(&request), option.soft_ttl()).await? {
                    Reply::TransferLeader(true) => Ok(Ok(())),
                    _ => Err(unreachable("the transfer was not taken up").into()),
                }
            }
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Consensus>, StreamingError<Consensus>> {
        let Snapshot { meta, snapshot: mut frames } = snapshot;
        let replicas = self.registry.upgrade().map(|registry| registry.replicas(self.group)).unwrap_or_default();
        let sender = replicas.iter().find(|replica| replica.disk.disk() == self.from);
        let _hold = sender.map(|sender| sender.sending.begin(meta.last_log_id.as_ref().map_or(0, LogId::index)));
        let transfer = rand::random();
        let mut number = 0;
        let mut digest = Digest::default();
        let send = async {
            loop {
                let read = tokio::task::spawn_blocking(move || {
                    let frame = frames.next_frame();
                    (frames, frame)
                });
                let frame;
                (frames, frame) = read.await.map_err(unreachable)?;
                let frame = frame.map_err(|error| {
                    StorageError::read_snapshot(Some(meta.signature()), BoxedErrorSource::from_error(&error))
                })?;
                let Some(frame) = frame else { break };
                digest.update(&frame);
                self.send_frame(transfer, number, frame).await?;
                number += 1;
            }
            let sent = Sent { frames: number, digest: digest.finish() };
            let vote = self.send_end(transfer, sent, vote, &meta).await?;
            metrics::counter!("cairn_raft_snapshots_sent_total").increment(1);
            Ok(SnapshotResponse::new(vote))
        };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            result = send => result,
        }
    }
}
