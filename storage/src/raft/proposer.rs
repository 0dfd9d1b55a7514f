//! Gathers the commands that arrive at a leader into log entries. While an entry is replicated and fsynced the next
//! fills: the busier a group is, the more commands share an fsync. It decides nothing about who leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::errors::{ClientWriteError, ForwardToLeader, RaftError};
use tokio::sync::{mpsc, oneshot};

use super::codec;
use super::consensus::{Consensus, Proposal, Raft};
use super::log_store::Log;
use super::settings::Settings;
use crate::meta::{Batch, Envelope, Outcome, Rejection};
use crate::types::{DiskId, GroupId, ReplicaId, now_ms};

/// Why a replica did not answer. Whether a command took effect is unknown, unless it says `Busy`.
#[derive(Debug, Clone)]
pub(super) enum Missed {
    /// It does not lead; this one does, as far as it knows.
    NotLeader(Option<(ReplicaId, DiskId)>),
    /// A queue is full: nothing was done.
    Busy,
    /// The disks are full: nothing was done.
    Full,
    /// It is stopping, or could not reach a majority.
    Unavailable,
    /// Trying again does not help.
    Refused(String),
}

impl From<ForwardToLeader<Consensus>> for Missed {
    fn from(forward: ForwardToLeader<Consensus>) -> Self {
        Self::NotLeader(forward.leader_id.zip(forward.leader_node))
    }
}

/// Counts of what a proposer did, since it was started.
#[derive(Debug, Default)]
pub struct ProposerStatistics {
    /// Log entries that were proposed.
    pub entries: AtomicU64,
    /// Commands in them.
    pub commands: AtomicU64,
}

type Waiter = oneshot::Sender<Result<Result<Outcome, Rejection>, Missed>>;

struct Pending {
    envelope: Envelope,
    encoded: Bytes,
    waiter: Waiter,
    /// Given back when the command has left the queue.
    _reserved: Reserved,
}

/// Bytes of a bounded number of them, given back on drop.
struct Reserved {
    bytes: Arc<AtomicUsize>,
    len: usize,
}

impl Reserved {
    fn new(bytes: &Arc<AtomicUsize>, len: usize, max: usize) -> Option<Self> {
        let grow = |now: usize| now.checked_add(len).filter(|sum| *sum <= max);
        bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).ok()?;
        Some(Self { bytes: bytes.clone(), len })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// The way into a replica's proposer. The task behind it ends when this is dropped.
pub(super) struct Proposer {
    queue: mpsc::Sender<Pending>,
    bytes: Arc<AtomicUsize>,
    max_bytes: usize,
    statistics: Arc<ProposerStatistics>,
}

impl Proposer {
    pub(super) fn start(group: GroupId, raft: Raft, log: Log, settings: &Settings) -> Self {
        let (queue, receiver) = mpsc::channel(settings.queued_commands);
        let statistics = Arc::new(ProposerStatistics::default());
        let task = Task {
            raft,
            log,
            log_bound: settings.log_held_bytes,
            queue: receiver,
            held: None,
            max_commands: settings.entry_commands,
            max_bytes: settings.entry_bytes,
            max_under_way: settings.entries_in_flight,
            figures: Figures::new(group),
            statistics: statistics.clone(),
        };
        tokio::spawn(task.run());
        Self { queue, bytes: Arc::default(), max_bytes: settings.queued_bytes, statistics }
    }

    /// Has a command committed and applied, in an entry with others. `encoded` is the envelope's encoding.
    pub(super) async fn propose(
        &self,
        envelope: Envelope,
        encoded: Bytes,
    ) -> Result<Result<Outcome, Rejection>, Missed> {
        let reserved = Reserved::new(&self.bytes, encoded.len(), self.max_bytes).ok_or(Missed::Busy)?;
        let (waiter, answer) = oneshot::channel();
        self.queue.try_send(Pending { envelope, encoded, waiter, _reserved: reserved }).map_err(
            |error| match error {
                mpsc::error::TrySendError::Full(_) => Missed::Busy,
                mpsc::error::TrySendError::Closed(_) => Missed::Unavailable,
            },
        )?;
        answer.await.unwrap_or(Err(Missed::Unavailable))
    }

    pub(super) fn statistics(&self) -> &ProposerStatistics {
        &self.statistics
    }
}

struct Figures {
    entries: metrics::Counter,
    commands: metrics::Histogram,
    seconds: metrics::Histogram,
}

impl Figures {
    fn new(group: GroupId) -> Self {
        let group = group.to_string();
        Self {
            entries: metrics::counter!("cairn_raft_proposals_total", "group" => group.clone()),
            commands: metrics::histogram!("cairn_raft_proposal_commands", "group" => group.clone()),
            seconds: metrics::histogram!("cairn_raft_commit_seconds", "group" => group),
        }
    }
}

/// How long each entry waits at the bound of the log.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// How long the next entry waits because the log is so long: not at all up to half of its bound, and from there on longer
/// with each byte. A log grows past where it would be cut only while somebody is catching up.
fn rest(log_bytes: u64, bound: u64) -> Duration {
    let over = log_bytes.saturating_sub(bound / 2) as f64 / (bound / 2).max(1) as f64;
    LONGEST_REST.mul_f64(over.min(1.0))
}

struct Task {
    raft: Raft,
    log: Log,
    log_bound: u64,
    queue: mpsc::Receiver<Pending>,
    /// What did not fit into the entry before.
    held: Option<Pending>,
    max_commands: usize,
    max_bytes: usize,
    max_under_way: usize,
    figures: Figures,
    statistics: Arc<ProposerStatistics>,
}

impl Task {
    async fn run(mut self) {
        let mut under_way = FuturesUnordered::new();
        loop {
            if under_way.len() >= self.max_under_way {
                under_way.next().await;
                continue;
            }
            let rest = rest(self.log.bytes(), self.log_bound);
            if !rest.is_zero() {
                metrics::counter!("cairn_raft_slowed_total").increment(1);
                let answers = async { while under_way.next().await.is_some() {} };
                let until = tokio::time::Instant::now() + rest;
                // What is under way is answered meanwhile.
                let _ = tokio::time::timeout_at(until, answers).await;
                tokio::time::sleep_until(until).await;
            }
            let first = match self.held.take() {
                Some(held) => held,
                None => tokio::select! {
                    biased;
                    Some(()) = under_way.next() => continue,
                    first = self.queue.recv() => match first {
                        Some(first) => first,
                        None => break,
                    },
                },
            };
            let entry = self.gather(first);
            under_way.push(Self::write(self.raft.clone(), entry, self.figures.seconds.clone()));
        }
        while under_way.next().await.is_some() {}
    }

    /// Takes what waits, up to the bounds of an entry.
    fn gather(&mut self, first: Pending) -> Vec<Pending> {
        let mut bytes = first.encoded.len();
        let mut entry = vec![first];
        while entry.len() < self.max_commands
            && let Ok(next) = self.queue.try_recv()
        {
            if next.waiter.is_closed() {
                // Given up while it waited: nothing was promised.
                continue;
            }
            bytes += next.encoded.len();
            if bytes > self.max_bytes {
                self.held = Some(next);
                break;
            }
            entry.push(next);
        }
        self.statistics.entries.fetch_add(1, Ordering::Relaxed);
        self.statistics.commands.fetch_add(entry.len() as u64, Ordering::Relaxed);
        self.figures.entries.increment(1);
        self.figures.commands.record(entry.len() as f64);
        entry
    }

    async fn write(raft: Raft, entry: Vec<Pending>, seconds: metrics::Histogram) {
        let started = Instant::now();
        let stamped_ms = now_ms();
        let mut waiters = Vec::with_capacity(entry.len());
        let mut envelopes = Vec::with_capacity(entry.len());
        let mut encoded = Vec::with_capacity(entry.len());
        for pending in entry {
            envelopes.push(pending.envelope);
            encoded.push(pending.encoded);
            waiters.push(pending.waiter);
        }
        let joined = match codec::join_batch(stamped_ms, &encoded) {
            Ok(joined) => joined,
            Err(error) => return answer_all(waiters, &Missed::Refused(error.to_string())),
        };
        drop(encoded);
        let proposal = Proposal::new(Batch { stamped_ms, envelopes }, joined);
        match raft.client_write(proposal).await {
            Ok(response) => {
                seconds.record(started.elapsed());
                for (waiter, result) in waiters.into_iter().zip(response.data) {
                    // Whoever waited may have gone.
                    let _ = waiter.send(Ok(result));
                }
            }
            Err(RaftError::APIError(
                ClientWriteError::ForwardToLeader(forward) | ClientWriteError::LogEntryDiscarded(forward),
            )) => answer_all(waiters, &forward.into()),
            Err(_) => answer_all(waiters, &Missed::Unavailable),
        }
    }
}

fn answer_all(waiters: Vec<Waiter>, missed: &Missed) {
    for waiter in waiters {
        let _ = waiter.send(Err(missed.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_the_log_is_past_half_of_its_bound_the_longer_each_entry_waits() {
        assert_eq!(rest(0, 1 << 30), Duration::ZERO);
        assert_eq!(rest(1 << 29, 1 << 30), Duration::ZERO);
        assert_eq!(rest(3 << 28, 1 << 30), LONGEST_REST / 2);
        assert_eq!(rest(1 << 30, 1 << 30), LONGEST_REST);
        assert_eq!(rest(u64::MAX, 1 << 30), LONGEST_REST, "it never stops");
        assert_eq!(rest(5, 0), LONGEST_REST);
    }
}
