//! What replicas write into their logs and say to each other.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::vote::RaftLeaderId;
use serde_bytes::ByteBuf;

use super::codec::{self, LogIdV1, ReplicaRecord, VoteV1};
use super::consensus::{Consensus, Entry, LeaderId, LogId, Membership, Payload, Proposal, StoredMembership, Vote};
use super::message::{Address, AppendV1, Body, Message, Reply};
use crate::fuzz::holds;
use crate::fuzz::samples::{self, CLUSTER, DISK};
use crate::meta::{Answer, Batch, Query};
use crate::types::{DiskId, GroupId, ReplicaId};

fn log_id() -> LogId {
    LogId::new(LeaderId::new(3, ReplicaId(2)), 1 << 33)
}

fn vote() -> Vote {
    Vote { leader_id: LeaderId::new(3, ReplicaId(2)), committed: true }
}

fn membership() -> Membership {
    let members = BTreeMap::from([(ReplicaId(1), DISK), (ReplicaId(300), DiskId([9; 16]))]);
    let voters = vec![BTreeSet::from([ReplicaId(1)]), BTreeSet::from([ReplicaId(1), ReplicaId(300)])];
    Membership::new(voters, members).unwrap_or_default()
}

fn entries() -> Vec<Entry> {
    let envelopes = samples::envelopes();
    let parts: Vec<Bytes> = envelopes.iter().filter_map(|envelope| codec::encode_envelope(envelope).ok()).collect();
    let batch = |count: usize| {
        let joined = codec::join_batch(5, &parts[..count]).unwrap_or_default();
        Payload::Normal(Proposal::new(Batch { stamped_ms: 5, envelopes: envelopes[..count].to_vec() }, joined))
    };
    let payloads = [Payload::Blank, Payload::Membership(membership()), batch(0), batch(2), batch(parts.len())];
    payloads.map(|payload| Entry { log_id: log_id(), payload }).to_vec()
}

fn encoded() -> impl Iterator<Item = Vec<u8>> {
    entries().into_iter().filter_map(|entry| codec::encode_entry(&entry).ok())
}

pub fn entry_seeds() -> Vec<Vec<u8>> {
    encoded().collect()
}

/// A log entry.
pub fn raft_entry(data: &[u8]) -> bool {
    let decode = |bytes: &[u8]| codec::decode_entry(&Bytes::copy_from_slice(bytes)).ok();
    holds(data, decode, |entry| codec::encode_entry(entry).unwrap_or_default())
}

/// The first byte of a record says which kind it is of.
pub fn record_seeds() -> Vec<Vec<u8>> {
    let stored = StoredMembership::new(Some(log_id()), membership());
    let replica = ReplicaRecord { cluster: CLUSTER, group: GroupId(1), replica: ReplicaId(2), retired: false };
    let mut seeds = vec![
        (0, codec::encode_marker(Some(&log_id()), &stored)),
        (0, codec::encode_marker(None, &StoredMembership::default())),
        (1, codec::encode_vote(&vote())),
        (2, codec::encode_log_id(Some(&log_id()))),
        (2, codec::encode_log_id(None)),
        (3, codec::encode_replica(&replica)),
        (5, Ok(super::keys::entry(GroupId(1), ReplicaId(2), 1 << 40).to_vec())),
    ];
    let envelopes = samples::envelopes();
    seeds.extend(envelopes.iter().map(|envelope| (4, codec::encode_envelope(envelope).map(Vec::from))));
    let record = |(kind, bytes): (u8, Result<Vec<u8>, _>)| [vec![kind], bytes.unwrap_or_default()].concat();
    seeds.into_iter().map(record).collect()
}

/// A record of a replica, or one envelope. The bytes of an envelope that was taken go into a log entry as they came: it can
/// be read again, with whatever stands beside them.
#[allow(clippy::expect_used, reason = "this is a test")]
pub fn raft_record(data: &[u8]) -> bool {
    let Some((kind, bytes)) = data.split_first() else { return false };
    match kind {
        0 => holds(
            bytes,
            |b| codec::decode_marker(b).ok(),
            |(log, m)| codec::encode_marker(log.as_ref(), m).unwrap_or_default(),
        ),
        1 => holds(bytes, |b| codec::decode_vote(b).ok(), |vote| codec::encode_vote(vote).unwrap_or_default()),
        2 => holds(bytes, |b| codec::decode_log_id(b).ok(), |id| codec::encode_log_id(id.as_ref()).unwrap_or_default()),
        3 => holds(bytes, |b| codec::decode_replica(b).ok(), |r| codec::encode_replica(r).unwrap_or_default()),
        4 => {
            let encode = |envelope: &_| codec::encode_envelope(envelope).map(Vec::from).unwrap_or_default();
            let Ok(envelope) = codec::decode_envelope(bytes) else { return false };
            let (first, own) = (samples::envelopes().remove(0), Bytes::copy_from_slice(bytes));
            let beside = Bytes::from(encode(&first));
            let joined = codec::join_batch(5, &[beside.clone(), own, beside]).expect("it can be joined");
            let batch = codec::decode_batch(&joined).expect("what was joined is read");
            assert_eq!(batch.envelopes, [first.clone(), envelope, first]);
            holds(bytes, |bytes| codec::decode_envelope(bytes).ok(), encode)
        }
        _ => super::keys::index(bytes).is_some_and(|index| {
            assert_eq!(bytes[12..], index.to_be_bytes());
            true
        }),
    }
}

pub fn message_seeds() -> Vec<Vec<u8>> {
    let to = Address { cluster: CLUSTER, group: GroupId(1), replica: ReplicaId(2) };
    let (vote, last) = (VoteV1::from(&vote()), Some(LogIdV1::from(&log_id())));
    let append = openraft::raft::AppendEntriesRequest::<Consensus> {
        vote: self::vote(),
        prev_log_id: Some(log_id()),
        entries: entries(),
        leader_commit: None,
    };
    let request = openraft::raft::VoteRequest::<Consensus>::new(self::vote(), Some(log_id()));
    let stored = StoredMembership::new(Some(log_id()), membership());
    let mut bodies = vec![
        Body::Vote((&request).into()),
        Body::PreVote((&request).into()),
        Body::TransferLeader { from: vote, to: ReplicaId(2), last },
        Body::SnapshotFrame { transfer: 1, number: 300, frame: ByteBuf::from(vec![1, 2, 3]) },
        Body::SnapshotEnd { transfer: 1, frames: 2, digest: [7; 32], vote, last, membership: (&stored).into() },
        Body::Command(ByteBuf::from(vec![1, 2, 3])),
        Body::Query(Box::new(Query::Referenced { hashes: vec![[7; 32]] })),
        Body::AddLearner { replica: ReplicaId(2), disk: DISK },
        Body::SetVoters(vec![(ReplicaId(2), DISK)]),
    ];
    bodies.extend(AppendV1::new(&append).map(Body::Append));
    let mut replies = vec![
        Reply::Append(super::message::AppendReplyV1::PartialSuccess(last)),
        Reply::Append(super::message::AppendReplyV1::HigherVote(vote)),
        Reply::Vote(openraft::raft::VoteResponse::<Consensus>::new(self::vote(), Some(log_id()), true).into()),
        Reply::TransferLeader(true),
        Reply::SnapshotFrame,
        Reply::SnapshotEnd(vote),
        Reply::Query(Box::new(Answer::Map(Some(Box::new(samples::map()))))),
        Reply::NotLeader(Some((ReplicaId(2), DISK))),
        Reply::Unavailable("why".to_owned()),
        Reply::Installing,
    ];
    replies.extend(samples::results().into_iter().map(Reply::Command));
    let messages = bodies.into_iter().filter_map(|body| Message { to, body }.encode().ok()).map(|bytes| (0, bytes));
    let replies = replies.into_iter().map(|reply| (1, reply.encode()));
    messages.chain(replies).map(|(kind, bytes)| [&[kind], &bytes[..]].concat()).collect()
}

/// A message, or a reply to one. The entries of an append are the same when they are sent on.
#[allow(clippy::expect_used, reason = "this is a test")]
pub fn raft_message(data: &[u8]) -> bool {
    let Some((kind, bytes)) = data.split_first() else { return false };
    if *kind % 2 == 1 {
        return holds(bytes, |bytes| Reply::decode(bytes).ok(), |reply| reply.encode().to_vec());
    }
    if let Ok(Message { body: Body::Append(append), .. }) = Message::decode(bytes)
        && let Ok(request) = append.into_request()
    {
        let again = AppendV1::new(&request).expect("what was read can be sent on");
        let read = again.clone().into_request().expect("what was sent is read");
        assert_eq!(read.entries, request.entries);
        assert_eq!(AppendV1::new(&read), Ok(again));
    }
    holds(bytes, |bytes| Message::decode(bytes).ok(), |message| message.encode().unwrap_or_default().to_vec())
}
