//! What replicas say to each other across processes. Every message names its cluster, its group and the replica it is
//! for, and the receiver refuses what is not for it. The first byte is the version.

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::codec::{self, FormatError, LogIdV1, StoredMembershipV1, VoteV1};
use super::consensus::{Consensus, LogId, SnapshotMeta, Vote};
use super::transfer::Sent;
use crate::meta::{Answer, Outcome, Query, Rejection};
use crate::types::{ClusterId, DiskId, GroupId, ReplicaId};

const VERSION: u8 = 2;

/// Who is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) cluster: ClusterId,
    pub(super) group: GroupId,
    pub(super) replica: ReplicaId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) to: Address,
    pub(super) body: Body,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Body {
    Append(AppendV1),
    Vote(VoteRequestV1),
    PreVote(VoteRequestV1),
    TransferLeader {
        from: VoteV1,
        to: ReplicaId,
        last: Option<LogIdV1>,
    },
    /// A piece of a snapshot; the pieces of one `transfer` come one after the other, from 0 on.
    SnapshotFrame {
        transfer: u64,
        number: u64,
        frame: ByteBuf,
    },
    /// All pieces were sent: install them.
    SnapshotEnd {
        transfer: u64,
        frames: u64,
        digest: [u8; 32],
        vote: VoteV1,
        last: Option<LogIdV1>,
        membership: StoredMembershipV1,
    },
    /// An encoded envelope, for the leader.
    Command(ByteBuf),
    Query(Box<Query>),
    AddLearner {
        replica: ReplicaId,
        disk: DiskId,
    },
    SetVoters(Vec<(ReplicaId, DiskId)>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Reply {
    Append(AppendReplyV1),
    Vote(VoteReplyV1),
    /// Whether the transfer of leadership was taken up.
    TransferLeader(bool),
    SnapshotFrame,
    SnapshotEnd(VoteV1),
    Command(Result<Outcome, Rejection>),
    Query(Box<Answer>),
    MembershipChanged,
    /// Ask this one; `None` where nobody leads as far as the replica knows.
    NotLeader(Option<(ReplicaId, DiskId)>),
    Busy,
    /// It could not be done now.
    Unavailable(String),
    /// The message is not for this process, or was not understood.
    Refused(String),
    /// The disks have no room for what the command adds.
    Full,
    /// The snapshot has arrived and is being installed: ask again.
    Installing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AppendV1 {
    vote: VoteV1,
    previous: Option<LogIdV1>,
    commit: Option<LogIdV1>,
    /// In the form of the log.
    entries: Vec<ByteBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AppendReplyV1 {
    Success,
    PartialSuccess(Option<LogIdV1>),
    Conflict,
    HigherVote(VoteV1),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VoteRequestV1 {
    vote: VoteV1,
    last: Option<LogIdV1>,
    leadership_transfer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VoteReplyV1 {
    vote: VoteV1,
    granted: bool,
    last: Option<LogIdV1>,
}

fn log_id(id: Option<&LogId>) -> Option<LogIdV1> {
    id.map(LogIdV1::from)
}

impl AppendV1 {
    pub(super) fn new(request: &AppendEntriesRequest<Consensus>) -> Result<Self, FormatError> {
        Ok(Self {
            vote: (&request.vote).into(),
            previous: log_id(request.prev_log_id.as_ref()),
            commit: log_id(request.leader_commit.as_ref()),
            entries: request
                .entries
                .iter()
                .map(|entry| codec::encode_entry(entry).map(ByteBuf::from))
                .collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn into_request(self) -> Result<AppendEntriesRequest<Consensus>, FormatError> {
        Ok(AppendEntriesRequest {
            vote: self.vote.into(),
            prev_log_id: self.previous.map(LogId::from),
            leader_commit: self.commit.map(LogId::from),
            entries: self
                .entries
                .into_iter()
                .map(|entry| codec::decode_entry(&Bytes::from(entry.into_vec())))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<AppendEntriesResponse<Consensus>> for AppendReplyV1 {
    fn from(response: AppendEntriesResponse<Consensus>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(last) => Self::PartialSuccess(log_id(last.as_ref())),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote((&vote).into()),
        }
    }
}

impl From<AppendReplyV1> for AppendEntriesResponse<Consensus> {
    fn from(reply: AppendReplyV1) -> Self {
        match reply {
            AppendReplyV1::Success => Self::Success,
            AppendReplyV1::PartialSuccess(last) => Self::PartialSuccess(last.map(LogId::from)),
            AppendReplyV1::Conflict => Self::Conflict,
            AppendReplyV1::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

impl From<&VoteRequest<Consensus>> for VoteRequestV1 {
    fn from(request: &VoteRequest<Consensus>) -> Self {
        Self {
            vote: (&request.vote).into(),
            last: log_id(request.last_log_id.as_ref()),
            leadership_transfer: request.leadership_transfer,
        }
    }
}

impl From<VoteRequestV1> for VoteRequest<Consensus> {
    fn from(request: VoteRequestV1) -> Self {
        let mut vote = Self::new(request.vote.into(), request.last.map(LogId::from));
        vote.leadership_transfer = request.leadership_transfer;
        vote
    }
}

impl From<VoteResponse<Consensus>> for VoteReplyV1 {
    fn from(response: VoteResponse<Consensus>) -> Self {
        Self {
            vote: (&response.vote).into(),
            granted: response.vote_granted,
            last: log_id(response.last_log_id.as_ref()),
        }
    }
}

impl From<VoteReplyV1> for VoteResponse<Consensus> {
    fn from(reply: VoteReplyV1) -> Self {
        Self::new(Vote::from(reply.vote), reply.last.map(LogId::from), reply.granted)
    }
}

impl Body {
    pub(super) fn transfer_leader(request: &TransferLeaderRequest<Consensus>) -> Self {
        Self::TransferLeader {
            from: request.from_leader().into(),
            to: *request.to_node_id(),
            last: log_id(request.last_log_id()),
        }
    }

    pub(super) fn snapshot_end(transfer: u64, sent: Sent, vote: &Vote, meta: &SnapshotMeta) -> Self {
        Self::SnapshotEnd {
            transfer,
            frames: sent.frames,
            digest: sent.digest,
            vote: vote.into(),
            last: log_id(meta.last_log_id.as_ref()),
            membership: (&meta.last_membership).into(),
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes, FormatError> {
    postcard::to_extend(value, vec![VERSION]).map(Bytes::from).map_err(|error| FormatError::new("a message", error))
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FormatError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => codec::exact("a message", body),
        _ => Err(FormatError::new("a message", "its version is not known")),
    }
}

impl Message {
    pub(super) fn encode(&self) -> Result<Bytes, FormatError> {
        encode(self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        decode(bytes)
    }
}

impl Reply {
    /// A reply that cannot be encoded becomes a refusal that can.
    pub(super) fn encode(&self) -> Bytes {
        encode(self).or_else(|error| encode(&Self::Refused(error.to_string()))).unwrap_or_default()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        decode(bytes)
    }
}
