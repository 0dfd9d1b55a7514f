//! What is asked of groups, from here and from other processes: commands, queries, changes of membership, and the
//! messages of replicas elsewhere. It finds the leader and tries again across elections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::raft::TransferLeaderRequest;
use serde_bytes::ByteBuf;
use tokio::time::Instant;

use super::codec;
use super::consensus::{LogId, SnapshotMeta};
use super::message::{Address, Body, Message, Reply};
use super::proposer::Missed;
use super::read::local_read_index;
use super::replica::Replica;
use super::replicas::{ChangeError, Inner, Replicas};
use super::transfer::Sent;
use crate::client::{MetaService, ServiceError};
use crate::meta::{Answer, Envelope, Outcome, Query, Rejection};
use crate::types::{DiskId, GroupId, MAX_COMMAND_LEN, ReplicaId};

/// What an envelope may have beyond its command's bound, in bytes.
const ENVELOPE_SLACK: usize = 4096;

/// How long a process waits for another's answer, before it asks again elsewhere.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long it is waited before a group is asked again that has no leader.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How often somebody who waits for a leader looks whether there is another.
const GLANCE: Duration = Duration::from_millis(500);

/// The replica that leads: of several that say so the one of the latest term.
fn leader_of(replicas: &[Arc<Replica>]) -> Option<Arc<Replica>> {
    let leaders = replicas.iter().filter_map(|replica| Some((replica.leads()?, replica)));
    leaders.max_by_key(|(term, _)| *term).map(|(_, replica)| replica.clone())
}

/// Where the leader of a group is asked.
enum Place {
    Here(Arc<Replica>),
    Elsewhere(ReplicaId, DiskId),
}

/// The attempts at one request.
struct Attempts<'a> {
    inner: &'a Inner,
    group: GroupId,
    deadline: Instant,
    pause: Duration,
    /// What the last one asked said of who leads.
    hint: Option<(ReplicaId, DiskId)>,
    /// How many of the known members were asked in vain.
    asked: usize,
}

impl<'a> Attempts<'a> {
    fn new(inner: &'a Inner, group: GroupId) -> Self {
        let deadline = Instant::now() + inner.settings.retry_for;
        Self { inner, group, deadline, pause: FIRST_PAUSE, hint: None, asked: 0 }
    }

    /// Whom to ask next. Prefers a leader here, then whoever is said to lead, then any member.
    fn place(&mut self, replicas: &[Arc<Replica>]) -> Option<Place> {
        if let Some(leader) = leader_of(replicas) {
            return Some(Place::Here(leader));
        }
        let hint = self.hint.take().or_else(|| {
            let newest = replicas.iter().filter_map(|replica| replica.known_leader()).max();
            newest.map(|(_, replica, disk)| (replica, disk))
        });
        if let Some((replica, disk)) = hint.filter(|(_, disk)| !self.inner.has_disk(*disk)) {
            return Some(Place::Elsewhere(replica, disk));
        }
        let members = self.inner.members(self.group);
        let elsewhere: Vec<_> = members.iter().filter(|(_, disk)| !self.inner.has_disk(*disk)).collect();
        if elsewhere.is_empty() {
            return None;
        }
        let (replica, disk) = *elsewhere[self.asked % elsewhere.len()];
        self.asked += 1;
        Some(Place::Elsewhere(replica, disk))
    }

    /// Waits for an answer of a leader here, until the deadline, or until another leads: one that hangs on its disk does
    /// not know that it leads no more.
    async fn wait_for<T>(
        &self,
        leader: &Arc<Replica>,
        answer: impl Future<Output = Result<T, Missed>>,
    ) -> Result<T, Missed> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let until = self.deadline.min(Instant::now() + GLANCE);
            if let Ok(answer) = tokio::time::timeout_at(until, &mut answer).await {
                return answer;
            }
            let newest = leader_of(&self.inner.replicas(self.group));
            if until == self.deadline || !newest.is_some_and(|newest| Arc::ptr_eq(&newest, leader)) {
                return Err(Missed::Unavailable);
            }
        }
    }

    /// Decides what follows from a vain attempt: an error, or another attempt after a pause.
    async fn missed(&mut self, missed: Missed) -> Result<(), ServiceError> {
        match missed {
            Missed::Busy => return Err(ServiceError::Busy),
            Missed::Full => return Err(ServiceError::Full),
            Missed::Refused(why) => return Err(ServiceError::Refused(why)),
            Missed::NotLeader(hint) => self.hint = hint,
            Missed::Unavailable => {}
        }
        let now = Instant::now();
        if now >= self.deadline {
            return Err(ServiceError::Unavailable);
        }
        tokio::time::sleep_until(self.deadline.min(now + self.pause)).await;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        Ok(())
    }
}

impl Replicas {
    async fn command_anywhere(
        &self,
        group: GroupId,
        envelope: Envelope,
    ) -> Result<Result<Outcome, Rejection>, ServiceError> {
        let refused = |error: codec::FormatError| ServiceError::Refused(error.to_string());
        let encoded = codec::encode_envelope(&envelope).map_err(refused)?;
        if encoded.len() > MAX_COMMAND_LEN + ENVELOPE_SLACK {
            return Err(ServiceError::Refused("the command is too large".to_owned()));
        }
        let mut envelope = Some(envelope);
        let mut attempts = Attempts::new(&self.inner, group);
        loop {
            let replicas = self.inner.replicas(group);
            let missed = match attempts.place(&replicas) {
                None => Missed::Unavailable,
                Some(Place::Here(leader)) => {
                    let envelope = match envelope.take() {
                        Some(envelope) => envelope,
                        None => codec::decode_envelope(&encoded).map_err(refused)?,
                    };
                    let proposed = leader.propose(envelope, encoded.clone());
                    match attempts.wait_for(&leader, proposed).await {
                        Ok(result) => return Ok(result),
                        Err(missed) => missed,
                    }
                }
                Some(Place::Elsewhere(replica, disk)) => {
                    let body = Body::Command(ByteBuf::from(encoded.to_vec()));
                    match self.inner.ask(group, replica, disk, body).await {
                        Ok(Reply::Command(result)) => return Ok(result),
                        Ok(reply) => missed_by(reply),
                        Err(missed) => missed,
                    }
                }
            };
            attempts.missed(missed).await?;
        }
    }

    async fn query_anywhere(&self, group: GroupId, query: Query) -> Result<Answer, ServiceError> {
        let mut attempts = Attempts::new(&self.inner, group);
        loop {
            let replicas = self.inner.replicas(group);
            let missed = match attempts.place(&replicas) {
                None => Missed::Unavailable,
                Some(Place::Here(leader)) => {
                    let answer = query_here(&leader, &replicas, query.clone());
                    match attempts.wait_for(&leader, answer).await {
                        Ok(answer) => return Ok(answer),
                        Err(missed) => missed,
                    }
                }
                Some(Place::Elsewhere(replica, disk)) => {
                    match self.inner.ask(group, replica, disk, Body::Query(Box::new(query.clone()))).await {
                        Ok(Reply::Query(answer)) => return Ok(*answer),
                        Ok(reply) => missed_by(reply),
                        Err(missed) => missed,
                    }
                }
            };
            attempts.missed(missed).await?;
        }
    }

    /// Adds a replica that has been started, as a learner, and waits until it has caught up.
    pub async fn add_learner(&self, group: GroupId, replica: ReplicaId, disk: DiskId) -> Result<(), ChangeError> {
        self.change(group, Change::AddLearner(replica, disk)).await
    }

    /// Makes these replicas the voters of a group, in one change; members that are not among them leave it.
    pub async fn change_membership(
        &self,
        group: GroupId,
        voters: BTreeMap<ReplicaId, DiskId>,
    ) -> Result<(), ChangeError> {
        self.change(group, Change::SetVoters(voters)).await
    }

    async fn change(&self, group: GroupId, change: Change) -> Result<(), ChangeError> {
        let mut attempts = Attempts::new(&self.inner, group);
        loop {
            let replicas = self.inner.replicas(group);
            let missed = match attempts.place(&replicas) {
                None => Missed::Unavailable,
                Some(Place::Here(leader)) => match change.clone().make(&leader, CHANGE_TIMEOUT).await {
                    Ok(()) => return Ok(()),
                    Err(missed) => missed,
                },
                Some(Place::Elsewhere(replica, disk)) => {
                    match self.inner.ask_within(group, replica, disk, change.body(), CHANGE_TIMEOUT).await {
                        Ok(Reply::MembershipChanged) => return Ok(()),
                        Ok(reply) => missed_by(reply),
                        Err(missed) => missed,
                    }
                }
            };
            // Another change under way will end soon.
            let missed = if matches!(missed, Missed::Busy) { Missed::Unavailable } else { missed };
            attempts.missed(missed).await.map_err(|error| match error {
                ServiceError::Refused(why) => ChangeError::Refused(why),
                ServiceError::Busy | ServiceError::Full | ServiceError::Unavailable => ChangeError::Unavailable,
            })?;
        }
    }

    /// Answers a message that another process sent to a replica here.
    pub async fn handle(&self, message: Bytes) -> Bytes {
        let reply = match Message::decode(&message) {
            Ok(message) => self.answer(message).await,
            Err(error) => Reply::Refused(error.to_string()),
        };
        reply.encode()
    }

    async fn answer(&self, message: Message) -> Reply {
        let Address { cluster, group, replica } = message.to;
        if cluster != self.inner.cluster {
            return Reply::Refused("the message is for another cluster".to_owned());
        }
        let replicas = self.inner.replicas(group);
        let Some(target) = replicas.iter().find(|candidate| candidate.id == replica) else {
            return Reply::Refused(format!("replica {replica} of group {group} does not run here"));
        };
        match message.body {
            Body::Command(_) | Body::Query(_) | Body::AddLearner { .. } | Body::SetVoters(_) => {
                answer_request(target, &replicas, message.body).await
            }
            body => answer_peer(target, body).await.unwrap_or_else(|error| Reply::Unavailable(error.to_string())),
        }
    }
}

#[cfg(test)]
impl Replicas {
    /// Appends an entry without commands, as a leader does whose clock says `stamped_ms`.
    pub(crate) async fn propose_stamped(&self, group: GroupId, stamped_ms: u64) {
        let leader = leader_of(&self.inner.replicas(group)).expect("a leader here");
        let joined = codec::join_batch(stamped_ms, &[]).expect("a batch");
        let batch = crate::meta::Batch { stamped_ms, envelopes: Vec::new() };
        leader.raft.client_write(super::consensus::Proposal::new(batch, joined)).await.expect("a commit");
    }
}

impl Inner {
    async fn ask(&self, group: GroupId, replica: ReplicaId, disk: DiskId, body: Body) -> Result<Reply, Missed> {
        self.ask_within(group, replica, disk, body, REMOTE_TIMEOUT).await
    }

    async fn ask_within(
        &self,
        group: GroupId,
        replica: ReplicaId,
        disk: DiskId,
        body: Body,
        timeout: Duration,
    ) -> Result<Reply, Missed> {
        let transport = self.transport.as_ref().ok_or(Missed::Unavailable)?;
        let to = Address { cluster: self.cluster, group, replica };
        let message = Message { to, body }.encode().map_err(|error| Missed::Refused(error.to_string()))?;
        let reply = transport.send(None, disk, message, timeout).await.map_err(|_| Missed::Unavailable)?;
        Reply::decode(&reply).map_err(|_| Missed::Unavailable)
    }
}

/// What a reply says that is not the answer.
fn missed_by(reply: Reply) -> Missed {
    match reply {
        Reply::NotLeader(hint) => Missed::NotLeader(hint),
        Reply::Busy => Missed::Busy,
        Reply::Full => Missed::Full,
        Reply::Refused(why) => {
            // The replica may have moved or not be there yet: others are asked.
            tracing::debug!(why, "a request was refused");
            Missed::NotLeader(None)
        }
        _ => Missed::Unavailable,
    }
}

impl From<Missed> for Reply {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::NotLeader(hint) => Self::NotLeader(hint),
            Missed::Busy => Self::Busy,
            Missed::Full => Self::Full,
            Missed::Unavailable => Self::Unavailable("no majority answers".to_owned()),
            Missed::Refused(why) => Self::Refused(why),
        }
    }
}

async fn query_here(leader: &Replica, replicas: &[Arc<Replica>], query: Query) -> Result<Answer, Missed> {
    let index = match local_read_index(leader, replicas) {
        Some(index) => index,
        None => leader.rounds.read_index().await?,
    };
    leader.applied(index).await?;
    leader.query(query).await
}

/// How long a change of membership may take before it is asked for again.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone)]
enum Change {
    AddLearner(ReplicaId, DiskId),
    SetVoters(BTreeMap<ReplicaId, DiskId>),
}

impl Change {
    async fn make(self, leader: &Replica, timeout: Duration) -> Result<(), Missed> {
        match self {
            Self::AddLearner(replica, disk) => Replicas::add_learner_here(leader, replica, disk, timeout).await,
            Self::SetVoters(voters) => Replicas::set_voters_here(leader, voters, timeout).await,
        }
    }

    fn body(&self) -> Body {
        match self {
            Self::AddLearner(replica, disk) => Body::AddLearner { replica: *replica, disk: *disk },
            Self::SetVoters(voters) => Body::SetVoters(voters.iter().map(|(id, disk)| (*id, *disk)).collect()),
        }
    }
}

/// Answers what was asked of the group, if `target` leads it.
async fn answer_request(target: &Replica, replicas: &[Arc<Replica>], body: Body) -> Reply {
    // Another replica here may lead: as good as the one that was asked.
    let Some(leader) = leader_of(replicas) else {
        return Reply::NotLeader(target.known_leader().map(|(_, replica, disk)| (replica, disk)));
    };
    let result = match body {
        Body::Command(encoded) => {
            let encoded = Bytes::from(encoded.into_vec());
            match codec::decode_envelope(&encoded) {
                Ok(envelope) => in_time(leader.propose(envelope, encoded)).await.map(Reply::Command),
                Err(error) => Err(Missed::Refused(error.to_string())),
            }
        }
        Body::Query(query) => {
            in_time(query_here(&leader, replicas, *query)).await.map(|answer| Reply::Query(Box::new(answer)))
        }
        Body::AddLearner { replica, disk } => {
            Change::AddLearner(replica, disk).make(&leader, CHANGE_TIMEOUT).await.map(|()| Reply::MembershipChanged)
        }
        Body::SetVoters(voters) => {
            let change = Change::SetVoters(voters.into_iter().collect());
            change.make(&leader, CHANGE_TIMEOUT).await.map(|()| Reply::MembershipChanged)
        }
        _ => Err(Missed::Refused("not a request".to_owned())),
    };
    result.unwrap_or_else(Reply::from)
}

/// Nobody waits longer on the other side.
async fn in_time<T>(answer: impl Future<Output = Result<T, Missed>>) -> Result<T, Missed> {
    tokio::time::timeout(REMOTE_TIMEOUT, answer).await.unwrap_or(Err(Missed::Unavailable))
}

/// Answers another replica of the group.
async fn answer_peer(target: &Replica, body: Body) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    Ok(match body {
        Body::Append(append) => {
            let request = append.into_request()?;
            target.check_room(&request.entries)?;
            Reply::Append(target.raft.append_entries(request).await?.into())
        }
        Body::Vote(request) => Reply::Vote(target.raft.vote(request.into()).await?.into()),
        Body::PreVote(request) => Reply::Vote(target.raft.pre_vote(request.into()).await?.into()),
        Body::TransferLeader { from, to, last } => {
            let request = TransferLeaderRequest::new(from.into(), to, last.map(LogId::from));
            Reply::TransferLeader(target.raft.handle_transfer_leader(request).await?.is_ok())
        }
        Body::SnapshotFrame { transfer, number, frame } => {
            target.receive_frame(transfer, number, frame.into_vec()).await?;
            Reply::SnapshotFrame
        }
        Body::SnapshotEnd { transfer, frames, digest, vote, last, membership } => {
            let sent = Sent { frames, digest };
            let meta = SnapshotMeta { last_log_id: last.map(LogId::from), last_membership: membership.try_into()? };
            let vote = target.finish_transfer(transfer, sent, vote.into(), meta).await?;
            vote.map_or(Reply::Installing, |vote| Reply::SnapshotEnd((&vote).into()))
        }
        _ => Reply::Refused("not a message of a replica".to_owned()),
    })
}

impl MetaService for Replicas {
    fn command(
        &self,
        group: GroupId,
        envelope: Envelope,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ServiceError>> {
        self.command_anywhere(group, envelope).boxed()
    }

    fn query(&self, group: GroupId, query: Query) -> BoxFuture<'_, Result<Answer, ServiceError>> {
        self.query_anywhere(group, query).boxed()
    }
}

#[cfg(test)]
#[path = "service_test.rs"]
mod tests;
