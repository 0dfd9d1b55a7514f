//! Linearizable reads: up to which entry a leader must have applied before it may answer. The rule is Raft's ReadIndex
//! (section 6.4 of the dissertation): take the committed index, then make sure that a majority still follows.
//!
//! Where a majority of the voters live in this process nobody needs to be sent anything: what a heartbeat would ask them
//! can be looked up. Otherwise openraft's heartbeats do it, one round for all reads that arrived before it began.

use std::sync::Arc;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot};

use super::consensus::Raft;
use super::proposer::Missed;
use super::replica::Replica;
use super::settings::Settings;

/// The read index of `leader`, from what the replicas of this process remember; `None` where that does not suffice.
///
/// Why it holds. Let the read begin at t0. After t0 we take the committed index, which the log is told of before any
/// command is answered, and which belongs to an entry of this leader's own term. After that we look at the votes. A
/// replica gives another vote to its log before anyone hears of it. So each replica whose log still has this leader's
/// vote had not, at t0, helped to elect anybody later; where these are a majority nobody later was elected by t0, and
/// all that was answered by t0 is at or before the committed index.
///
/// The membership by which we count must be the newest in the leader's log: otherwise it may have been replaced already.
pub(super) fn local_read_index(leader: &Replica, replicas: &[Arc<Replica>]) -> Option<u64> {
    let standing = leader.log.standing();
    let vote = standing.elected_vote(leader.id)?;
    let committed = standing.committed.filter(|id| *id.committed_leader_id() == vote.leader_id)?;
    let membership = leader.membership();
    if let Some(newest) = standing.membership
        && membership.log_id().is_none_or(|id| id.index() != newest)
    {
        return None;
    }
    let sets = membership.get_joint_config();
    let confirmed = sets.iter().all(|voters| {
        let follows = |replica: &&Arc<Replica>| {
            voters.contains(&replica.id) && !replica.is_stopped() && replica.log.vote() == Some(vote)
        };
        2 * replicas.iter().filter(follows).count() > voters.len()
    });
    (confirmed && !sets.is_empty()).then(|| committed.index())
}

/// The way to a leader's rounds of heartbeats. The task behind it ends when this is dropped.
pub(super) struct ReadRounds {
    queue: mpsc::Sender<oneshot::Sender<Result<u64, Missed>>>,
}

impl ReadRounds {
    pub(super) fn start(raft: Raft, settings: &Settings) -> Self {
        let (queue, receiver) = mpsc::channel(settings.queued_queries);
        tokio::spawn(run(raft, receiver));
        Self { queue }
    }

    /// The read index, once a majority has confirmed the leader after this call.
    pub(super) async fn read_index(&self) -> Result<u64, Missed> {
        let (waiter, answer) = oneshot::channel();
        self.queue.try_send(waiter).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Missed::Busy,
            mpsc::error::TrySendError::Closed(_) => Missed::Unavailable,
        })?;
        answer.await.unwrap_or(Err(Missed::Unavailable))
    }
}

async fn run(raft: Raft, mut queue: mpsc::Receiver<oneshot::Sender<Result<u64, Missed>>>) {
    let mut waiters = Vec::new();
    while queue.recv_many(&mut waiters, usize::MAX).await > 0 {
        let result = match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(linearizer.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => Err(forward.into()),
            Err(_) => Err(Missed::Unavailable),
        };
        for waiter in waiters.drain(..) {
            // Whoever waited may have gone.
            let _ = waiter.send(result.clone());
        }
    }
}
