//! One replica: its log, its state machine, its openraft and the queues before it. Made and ended by `replicas`.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{RaftMetrics, ServerState};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::consensus::{Consensus, LogId, Raft, Snapshot, SnapshotMeta, StoredMembership, Vote};
use super::disk_db::DiskDb;
use super::log_store::Log;
use super::proposer::{Missed, Proposer};
use super::read::ReadRounds;
use super::room::Rooms;
use super::state_machine::{Broken, SnapshotData};
use super::store::{StateMachineStore, StoreError};
use super::transfer::{Incoming, Sending, Sent};
use crate::meta::{Answer, Envelope, Outcome, Query, Rejection};
use crate::types::{DiskId, GroupId, ReplicaId};

/// How long the sender of a snapshot is kept waiting for its installation before it is told to ask again.
const INSTALL_ANSWER: Duration = Duration::from_secs(20);

/// A snapshot that has arrived and is being installed, however long that takes.
pub(super) struct Installing {
    transfer: u64,
    done: Shared<BoxFuture<'static, Result<Vote, String>>>,
}

/// How long the end of a replica is waited for.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Replica {
    pub(super) group: GroupId,
    pub(super) id: ReplicaId,
    pub(super) disk: Arc<DiskDb>,
    pub(super) raft: Raft,
    pub(super) log: Log,
    pub(super) store: Arc<dyn StateMachineStore>,
    pub(super) proposer: Proposer,
    pub(super) rounds: ReadRounds,
    /// The index after the last applied entry.
    pub(super) next: watch::Receiver<u64>,
    pub(super) installed: Arc<AtomicU64>,
    pub(super) broken: Broken,
    pub(super) incoming: Mutex<Option<Incoming>>,
    pub(super) installing: Mutex<Option<Installing>>,
    pub(super) sending: Arc<Sending>,
    pub(super) stopped: AtomicBool,
    pub(super) rooms: Arc<Rooms>,
}

impl Replica {
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// The term in which it leads: it was elected since it was started, and heard of nobody later. A hint: only a
    /// majority knows.
    pub(super) fn leads(&self) -> Option<u64> {
        let vote = self.log.standing().elected_vote(self.id).filter(|_| !self.is_stopped())?;
        // One that was let go by its group keeps its vote, and leads no more.
        let is_voter = self.membership().voter_ids().any(|voter| voter == self.id);
        is_voter.then_some(vote.leader_id.term)
    }

    /// Calls `look` with openraft's figures, which may be a moment behind.
    pub(super) fn metrics<T>(&self, look: impl FnOnce(&RaftMetrics<Consensus>) -> T) -> T {
        look(&self.raft.metrics().borrow_watched())
    }

    /// Why openraft has stopped, if it has, for whatever reason. One that is busy has not.
    pub(super) fn has_ended(&self) -> Option<Ended> {
        if self.is_stopped() {
            // It did not do so by itself.
            return None;
        }
        let mut metrics = self.raft.metrics();
        // What openraft says last; then, that nobody is left to say more: so it is after a panic.
        let mut is_gone = false;
        while let Some(changed) = metrics.changed().now_or_never() {
            is_gone = changed.is_err();
            if is_gone {
                break;
            }
        }
        let stopped = metrics.borrow_watched().running_state.clone().err();
        let why = match stopped {
            Some(error) => error.to_string(),
            None if is_gone => "it panicked".to_owned(),
            None => return None,
        };
        let broken = self.broken.get();
        let why = broken.cloned().unwrap_or(why);
        let (group, replica, disk) = (self.group, self.id, self.disk.disk());
        Some(Ended { group, replica, disk, broken: broken.is_some(), why })
    }

    pub(super) fn membership(&self) -> Arc<StoredMembership> {
        self.raft.server_metrics().borrow_watched().membership_config.clone()
    }

    /// Who leads as far as this replica knows, and in which term.
    pub(super) fn known_leader(&self) -> Option<(u64, ReplicaId, DiskId)> {
        self.metrics(|metrics| {
            let leader = metrics.current_leader?;
            let disk = *metrics.membership_config.get_node(&leader)?;
            Some((metrics.current_term, leader, disk))
        })
    }

    /// Has a command committed and applied, if there is room for what it adds.
    pub(super) async fn propose(
        &self,
        envelope: Envelope,
        encoded: Bytes,
    ) -> Result<Result<Outcome, Rejection>, Missed> {
        if !self.has_room_for(&envelope.command) {
            return Err(Missed::Full);
        }
        self.proposer.propose(envelope, encoded).await
    }

    /// Waits until everything up to `index` is applied.
    pub(super) async fn applied(&self, index: u64) -> Result<(), Missed> {
        if *self.next.borrow() > index {
            return Ok(());
        }
        let mut next = self.next.clone();
        next.wait_for(|next| *next > index).await.map(drop).map_err(|_| Missed::Unavailable)
    }

    /// Answers from the state as it is now: from memory here and now, where that will do; else on the blocking pool, and
    /// not more of those at a time than the disk's share of it, so that one that hangs leaves the others theirs.
    pub(super) async fn query(&self, query: Query) -> Result<Answer, Missed> {
        let in_memory = catch_unwind(AssertUnwindSafe(|| self.store.query_in_memory(&query)));
        let answer = match in_memory {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None)) => {
                let (store, readers) = (self.store.clone(), self.disk.readers().clone());
                let permit = readers.acquire_owned().await.map_err(|_| Missed::Unavailable)?;
                let read = move || {
                    let answer = store.query(&query);
                    drop(permit);
                    answer
                };
                let read = tokio::task::spawn_blocking(read).await;
                read.unwrap_or_else(|error| Err(StoreError::State(error.to_string())))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StoreError::State("it panicked".to_owned())),
        };
        answer.map_err(|error| match error {
            // What cannot be read here can be read on another disk, if that one leads.
            StoreError::Disk(why) => {
                self.disk.fail(&format!("a query failed: {why}"));
                Missed::Unavailable
            }
            // Nor could another replica read it.
            StoreError::State(why) => {
                let why = format!("the state of group {} cannot be read: {why}", self.group);
                tracing::error!(disk = %self.disk.disk(), %why, "a query failed");
                metrics::counter!("cairn_raft_broken_total").increment(1);
                let _ = self.broken.set(why.clone());
                Missed::Refused(why)
            }
        })
    }

    fn incoming_path(&self) -> PathBuf {
        self.disk.incoming().join(format!("{}-{}", self.group, self.id))
    }

    /// Takes in a piece of a snapshot. The first one starts a new transfer, in place of any other.
    pub(super) async fn receive_frame(&self, transfer: u64, number: u64, frame: Vec<u8>) -> io::Result<()> {
        self.check_room_for_snapshot()?;
        let current = self.incoming.lock().take();
        let path = self.incoming_path();
        let incoming = tokio::task::spawn_blocking(move || {
            let mut incoming = match current {
                Some(current) if current.is_at(transfer, number) => current,
                other if number == 0 => {
                    // Its file has the same name.
                    drop(other);
                    Incoming::create(path, transfer)?
                }
                _ => return Err(io::Error::other("a piece of the snapshot is missing")),
            };
            incoming.push(&frame)?;
            Ok(incoming)
        })
        .await
        .map_err(io::Error::other)??;
        *self.incoming.lock() = Some(incoming);
        Ok(())
    }

    /// Installs the snapshot whose pieces have arrived; answers with this replica's vote, or with nothing while that goes
    /// on: then it is to be asked again.
    pub(super) async fn finish_transfer(
        &self,
        transfer: u64,
        sent: Sent,
        vote: Vote,
        meta: SnapshotMeta,
    ) -> io::Result<Option<Vote>> {
        let done = self.install(transfer, sent, vote, meta)?;
        match tokio::time::timeout(INSTALL_ANSWER, done).await {
            Ok(vote) => vote.map(Some).map_err(io::Error::other),
            Err(_) => Ok(None),
        }
    }

    /// Begins the installation of a transfer, unless it has been begun.
    fn install(
        &self,
        transfer: u64,
        sent: Sent,
        vote: Vote,
        meta: SnapshotMeta,
    ) -> io::Result<Shared<BoxFuture<'static, Result<Vote, String>>>> {
        let mut installing = self.installing.lock();
        if let Some(current) = installing.as_ref().filter(|current| current.transfer == transfer) {
            return Ok(current.done.clone());
        }
        let incoming = self.incoming.lock().take_if(|incoming| incoming.is_at(transfer, sent.frames));
        let incoming = incoming.ok_or_else(|| io::Error::other("pieces of the snapshot are missing"))?;
        let raft = self.raft.clone();
        let install = async move {
            let received = tokio::task::spawn_blocking(move || incoming.finish(sent.digest)).await;
            let received = received.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            let snapshot: Snapshot<SnapshotData> = Snapshot { meta, snapshot: Box::new(received) };
            let response = raft.install_full_snapshot(vote, snapshot).await;
            response.map(|response| response.vote).map_err(|error| error.to_string())
        };
        let task = tokio::spawn(install);
        let done = async move { task.await.unwrap_or_else(|error| Err(error.to_string())) }.boxed().shared();
        *installing = Some(Installing { transfer, done: done.clone() });
        Ok(done)
    }

    /// If it leads: makes the voter that has most of its log lead, of those that `may`, so that nobody waits for an
    /// election. Gives up after a moment.
    pub(super) async fn hand_over(&self, may: impl Fn(ReplicaId) -> bool) {
        let successor = self.metrics(|metrics| {
            let matched = metrics.replication.as_ref()?;
            let voters = metrics.membership_config.voter_ids().filter(|voter| *voter != self.id && may(*voter));
            voters.max_by_key(|voter| matched.get(voter).copied().flatten())
        });
        let Some(successor) = successor.filter(|_| self.leads().is_some() && !self.disk.writer().has_failed()) else {
            return;
        };
        if self.raft.trigger().transfer_leader(successor).await.is_ok() {
            let mut looks = 0;
            while self.leads().is_some() && looks < 50 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                looks += 1;
            }
        }
    }

    /// Ends it. Whoever waits for it is told. Another leads in its place if there is one of those that `stay`.
    pub(super) async fn stop(&self, stay: impl Fn(ReplicaId) -> bool) {
        self.hand_over(stay).await;
        self.stopped.store(true, Ordering::Release);
        // Never to be dropped half-way: openraft would lose its task's end then, and panic in whoever asks for it later,
        // as the leader of the group does that has sent it entries.
        let raft = self.raft.clone();
        let ending = tokio::spawn(async move { raft.shutdown().await });
        match tokio::time::timeout(STOP_TIMEOUT, ending).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error)) | Err(error)) => {
                tracing::error!(group = %self.group, replica = %self.id, %error, "a replica did not end well");
            }
            // It waits for its disk. It is out of the registry, and nobody is led by it any more.
            Err(_) => tracing::error!(group = %self.group, replica = %self.id, "a replica hangs and is left behind"),
        }
    }

    pub(super) fn status(&self) -> ReplicaStatus {
        self.metrics(|metrics| ReplicaStatus {
            group: self.group,
            replica: self.id,
            disk: self.disk.disk(),
            leads: metrics.state == ServerState::Leader,
            term: metrics.current_term,
            leader: metrics.current_leader,
            last_index: metrics.last_log_index,
            committed_index: metrics.local_committed.as_ref().map(LogId::index),
            applied_index: metrics.last_applied.as_ref().map(LogId::index),
            purged_index: metrics.purged.as_ref().map(LogId::index),
            log_bytes: self.log.bytes(),
            proposed_entries: self.proposer.statistics().entries.load(Ordering::Relaxed),
            proposed_commands: self.proposer.statistics().commands.load(Ordering::Relaxed),
            installed_snapshots: self.installed.load(Ordering::Relaxed),
            voters: metrics.membership_config.voter_ids().collect(),
            members: metrics.membership_config.nodes().map(|(replica, disk)| (*replica, *disk)).collect(),
            broken: self.broken.get().cloned(),
        })
    }
}

/// A replica of this process, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    pub group: GroupId,
    pub replica: ReplicaId,
    pub disk: DiskId,
    pub leads: bool,
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<ReplicaId>,
    /// The last entry of its log.
    pub last_index: Option<u64>,
    /// The last entry that it knows to be committed.
    pub committed_index: Option<u64>,
    /// The last entry that its state machine has applied.
    pub applied_index: Option<u64>,
    /// The last entry that was cut off its log.
    pub purged_index: Option<u64>,
    /// Bytes of its log, to within a mebibyte.
    pub log_bytes: u64,
    /// Log entries that it proposed since it was started, and the commands in them.
    pub proposed_entries: u64,
    pub proposed_commands: u64,
    /// Snapshots that it was sent and installed since it was started.
    pub installed_snapshots: u64,
    pub voters: Vec<ReplicaId>,
    /// Voters and learners, with their disks.
    pub members: Vec<(ReplicaId, DiskId)>,
    /// What of its state could not be read or changed, for what it holds.
    pub broken: Option<String>,
}

/// A replica that does not run, though its disk does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub group: GroupId,
    pub replica: ReplicaId,
    pub disk: DiskId,
    /// Whether it broke on what all replicas of its group have: another in its place would, too.
    pub broken: bool,
    pub why: String,
}
