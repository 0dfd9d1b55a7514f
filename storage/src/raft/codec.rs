//! The persisted forms of votes, log entries, memberships and markers. Each begins with a version byte; a form that
//! was ever written stays readable. openraft's own serialization is never written anywhere: it may change under us.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::vote::RaftLeaderId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::consensus::{Entry, LeaderId, LogId, Membership, Payload, Proposal, StoredMembership, Vote};
use crate::meta::{Batch, Command, Envelope};
use crate::types::{ClusterId, DiskId, GroupId, OperationId, ReplicaId};

/// Bytes that are not of a form that this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be read: {why}")]
pub struct FormatError {
    what: &'static str,
    why: String,
}

impl FormatError {
    pub(super) fn new(what: &'static str, why: impl ToString) -> Self {
        Self { what, why: why.to_string() }
    }
}

impl From<FormatError> for std::io::Error {
    fn from(error: FormatError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// The only version there has been so far, of every form below but batches.
const VERSION: u8 = 1;

/// The version in which batches are written.
const BATCH_VERSION: u8 = 2;

fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, FormatError> {
    postcard::to_extend(value, vec![VERSION]).map_err(|error| FormatError::new(what, error))
}

fn body<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a [u8], FormatError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => Ok(body),
        Some((version, _)) => Err(FormatError::new(what, format_args!("version {version} is not known"))),
        None => Err(FormatError::new(what, "it is empty")),
    }
}

fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    exact(what, body(what, bytes)?)
}

/// Decodes a value that must end where the bytes do.
pub(super) fn exact<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, FormatError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(FormatError::new(what, "bytes are left over")),
        Err(error) => Err(FormatError::new(what, error)),
    }
}

/// A place in the log: term and id of the leader that proposed the entry, and its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogIdV1 {
    term: u64,
    leader: u64,
    index: u64,
}

impl From<&LogId> for LogIdV1 {
    fn from(id: &LogId) -> Self {
        let leader = id.committed_leader_id();
        Self { term: leader.term, leader: leader.node_id.0, index: id.index() }
    }
}

impl From<LogIdV1> for LogId {
    fn from(id: LogIdV1) -> Self {
        Self::new(LeaderId::new(id.term, ReplicaId(id.leader)), id.index)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VoteV1 {
    term: u64,
    candidate: u64,
    /// A majority granted it: the candidate leads.
    committed: bool,
}

impl From<&Vote> for VoteV1 {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, candidate: vote.leader_id.node_id.0, committed: vote.committed }
    }
}

impl From<VoteV1> for Vote {
    fn from(vote: VoteV1) -> Self {
        Self { leader_id: LeaderId::new(vote.term, ReplicaId(vote.candidate)), committed: vote.committed }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MembershipV1 {
    /// One set of voters, or two during a change.
    voters: Vec<Vec<u64>>,
    /// Voters and learners, with their disks.
    members: Vec<(u64, DiskId)>,
}

impl From<&Membership> for MembershipV1 {
    fn from(membership: &Membership) -> Self {
        Self {
            voters: membership
                .get_joint_config()
                .iter()
                .map(|set| set.iter().map(|replica| replica.0).collect())
                .collect(),
            members: membership.nodes().map(|(replica, disk)| (replica.0, *disk)).collect(),
        }
    }
}

impl TryFrom<MembershipV1> for Membership {
    type Error = FormatError;

    fn try_from(stored: MembershipV1) -> Result<Self, FormatError> {
        let voters: Vec<BTreeSet<ReplicaId>> =
            stored.voters.into_iter().map(|set| set.into_iter().map(ReplicaId).collect()).collect();
        let members: BTreeMap<ReplicaId, DiskId> =
            stored.members.into_iter().map(|(replica, disk)| (ReplicaId(replica), disk)).collect();
        Membership::new(voters, members).map_err(|error| FormatError::new("a membership", error))
    }
}

/// A membership and the entry that made it so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredMembershipV1 {
    log: Option<LogIdV1>,
    membership: MembershipV1,
}

impl From<&StoredMembership> for StoredMembershipV1 {
    fn from(stored: &StoredMembership) -> Self {
        Self { log: stored.log_id().as_ref().map(LogIdV1::from), membership: stored.membership().into() }
    }
}

impl TryFrom<StoredMembershipV1> for StoredMembership {
    type Error = FormatError;

    fn try_from(stored: StoredMembershipV1) -> Result<Self, FormatError> {
        Ok(Self::new(stored.log.map(LogId::from), stored.membership.try_into()?))
    }
}

/// How far a state machine is. Kept by its store, atomically with the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MarkerV1 {
    applied: Option<LogIdV1>,
    membership: StoredMembershipV1,
}

pub(super) fn encode_marker(applied: Option<&LogId>, membership: &StoredMembership) -> Result<Vec<u8>, FormatError> {
    encode("a marker", &MarkerV1 { applied: applied.map(LogIdV1::from), membership: membership.into() })
}

pub(super) fn decode_marker(bytes: &[u8]) -> Result<(Option<LogId>, StoredMembership), FormatError> {
    let marker: MarkerV1 = decode("a marker", bytes)?;
    Ok((marker.applied.map(LogId::from), marker.membership.try_into()?))
}

pub(super) fn encode_vote(vote: &Vote) -> Result<Vec<u8>, FormatError> {
    encode("a vote", &VoteV1::from(vote))
}

pub(super) fn decode_vote(bytes: &[u8]) -> Result<Vote, FormatError> {
    decode::<VoteV1>("a vote", bytes).map(Vote::from)
}

pub(super) fn encode_log_id(id: Option<&LogId>) -> Result<Vec<u8>, FormatError> {
    encode("a log id", &id.map(LogIdV1::from))
}

pub(super) fn decode_log_id(bytes: &[u8]) -> Result<Option<LogId>, FormatError> {
    Ok(decode::<Option<LogIdV1>>("a log id", bytes)?.map(LogId::from))
}

/// Who a replica is. Written when it is made, never changed but for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaRecord {
    pub cluster: ClusterId,
    pub group: GroupId,
    pub replica: ReplicaId,
    /// Its log and state are gone for good: the id is never used again.
    pub retired: bool,
}

pub(super) fn encode_replica(record: &ReplicaRecord) -> Result<Vec<u8>, FormatError> {
    encode("a replica record", record)
}

pub(super) fn decode_replica(bytes: &[u8]) -> Result<ReplicaRecord, FormatError> {
    decode("a replica record", bytes)
}

/// An entry's payload, for the tail of its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum PayloadKindV1 {
    Blank,
    Commands,
    Membership,
}

/// Encodes an entry for the log and for the wire: version, log id, kind, then the payload as it is.
pub(super) fn encode_entry(entry: &Entry) -> Result<Vec<u8>, FormatError> {
    const WHAT: &str = "a log entry";
    let id = LogIdV1::from(&entry.log_id);
    match &entry.payload {
        Payload::Blank => encode(WHAT, &(id, PayloadKindV1::Blank)),
        Payload::Normal(proposal) => {
            let mut bytes = Vec::with_capacity(proposal.encoded().len() + 32);
            bytes.push(VERSION);
            let mut bytes = postcard::to_extend(&(id, PayloadKindV1::Commands), bytes)
                .map_err(|error| FormatError::new(WHAT, error))?;
            bytes.extend_from_slice(proposal.encoded());
            Ok(bytes)
        }
        Payload::Membership(membership) => {
            encode(WHAT, &(id, PayloadKindV1::Membership, MembershipV1::from(membership)))
        }
    }
}

pub(super) fn decode_entry(bytes: &Bytes) -> Result<Entry, FormatError> {
    const WHAT: &str = "a log entry";
    let ((id, kind), tail): ((LogIdV1, PayloadKindV1), _) =
        postcard::take_from_bytes(body(WHAT, bytes)?).map_err(|error| FormatError::new(WHAT, error))?;
    let payload = match kind {
        PayloadKindV1::Blank if tail.is_empty() => Payload::Blank,
        PayloadKindV1::Blank => return Err(FormatError::new(WHAT, "bytes are left over")),
        PayloadKindV1::Commands => Payload::Normal(Proposal::decode(bytes.slice_ref(tail))?),
        PayloadKindV1::Membership => Payload::Membership(exact::<MembershipV1>(WHAT, tail)?.try_into()?),
    };
    Ok(Entry { log_id: id.into(), payload })
}

/// Encodes one envelope, without a version: it only ever travels inside a batch or a message that has one.
pub(super) fn encode_envelope(envelope: &Envelope) -> Result<Bytes, FormatError> {
    postcard::to_stdvec(envelope).map(Bytes::from).map_err(|error| FormatError::new("a command", error))
}

/// The inverse. The bytes must end where the envelope does: they go into a batch as they are, between others, and with
/// more behind them nobody could read the entry again.
pub(super) fn decode_envelope(bytes: &[u8]) -> Result<Envelope, FormatError> {
    exact("a command", bytes)
}

/// The encoding of a batch, put together from those of its envelopes: postcard writes a struct as its fields, one after
/// the other, and a sequence as its length and its elements. A test holds it against postcard's own.
pub(super) fn join_batch(stamped_ms: u64, envelopes: &[Bytes]) -> Result<Bytes, FormatError> {
    let len = envelopes.iter().map(Bytes::len).sum::<usize>() + 24;
    let mut bytes = Vec::with_capacity(len);
    bytes.push(BATCH_VERSION);
    let mut bytes = postcard::to_extend(&(stamped_ms, envelopes.len() as u64), bytes)
        .map_err(|error| FormatError::new("a batch", error))?;
    envelopes.iter().for_each(|envelope| bytes.extend_from_slice(envelope));
    Ok(bytes.into())
}

/// As batches were written before an envelope could say by which settings its command was judged: the stamp, and of each
/// envelope the id and the command.
type BatchV1 = (u64, Vec<(OperationId, Command)>);

pub(super) fn decode_batch(bytes: &[u8]) -> Result<Batch, FormatError> {
    const WHAT: &str = "a batch";
    match bytes.split_first() {
        Some((&BATCH_VERSION, body)) => exact(WHAT, body),
        _ => {
            let (stamped_ms, envelopes): BatchV1 = decode(WHAT, bytes)?;
            let envelope = |(operation, command)| Envelope { operation, command, judged: Vec::new() };
            Ok(Batch { stamped_ms, envelopes: envelopes.into_iter().map(envelope).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BucketId;

    fn envelope(random: u64) -> Envelope {
        Envelope {
            operation: OperationId { issued_ms: 1 << 40, random },
            command: Command::SealBucket { bucket: BucketId(random) },
            judged: if random > 0 { vec![(BucketId(random), 300)] } else { Vec::new() },
        }
    }

    fn log_id(term: u64, leader: u64, index: u64) -> LogId {
        LogIdV1 { term, leader, index }.into()
    }

    #[test]
    fn a_joined_batch_is_what_postcard_writes() {
        for count in [0, 1, 2, 300] {
            let envelopes: Vec<Envelope> = (0..count).map(|i| envelope(i << 20)).collect();
            let parts: Vec<Bytes> = envelopes.iter().map(|e| encode_envelope(e).unwrap()).collect();
            let batch = Batch { stamped_ms: 1_700_000_000_000, envelopes };
            let joined = join_batch(batch.stamped_ms, &parts).unwrap();
            assert_eq!(joined[0], BATCH_VERSION);
            assert_eq!(&joined[1..], postcard::to_stdvec(&batch).unwrap());
            assert_eq!(decode_batch(&joined).unwrap(), batch);
        }
    }

    #[test]
    fn a_batch_of_version_1_is_read() {
        let Envelope { operation, command, .. } = envelope(9);
        let bytes = encode("a batch", &(7_u64, vec![(operation, command.clone())])).unwrap();
        let envelopes = vec![Envelope { operation, command, judged: Vec::new() }];
        assert_eq!(decode_batch(&bytes).unwrap(), Batch { stamped_ms: 7, envelopes });
    }

    #[test]
    fn every_kind_of_entry_survives_encoding() {
        let members = BTreeMap::from([(ReplicaId(1), DiskId([1; 16])), (ReplicaId(9), DiskId([9; 16]))]);
        let membership = Membership::new(vec![BTreeSet::from([ReplicaId(1)])], members).unwrap();
        let part = encode_envelope(&envelope(7)).unwrap();
        let batch = Batch { stamped_ms: 5, envelopes: vec![envelope(7)] };
        let proposal = Proposal::new(batch, join_batch(5, &[part]).unwrap());
        for payload in [Payload::Blank, Payload::Membership(membership), Payload::Normal(proposal)] {
            let entry = Entry { log_id: log_id(3, 2, 1 << 33), payload };
            let bytes = Bytes::from(encode_entry(&entry).unwrap());
            let back = decode_entry(&bytes).unwrap();
            assert_eq!(back, entry);
        }
    }

    #[test]
    fn a_marker_survives_encoding() {
        let members = BTreeMap::from([(ReplicaId(4), DiskId([4; 16]))]);
        let membership = Membership::new(vec![BTreeSet::from([ReplicaId(4)])], members).unwrap();
        let stored = StoredMembership::new(Some(log_id(1, 4, 2)), membership);
        let bytes = encode_marker(Some(&log_id(2, 4, 10)), &stored).unwrap();
        assert_eq!(decode_marker(&bytes).unwrap(), (Some(log_id(2, 4, 10)), stored));
        let nothing = encode_marker(None, &StoredMembership::default()).unwrap();
        assert_eq!(decode_marker(&nothing).unwrap(), (None, StoredMembership::default()));
    }

    #[test]
    fn an_unknown_version_and_left_over_bytes_are_refused() {
        let mut bytes = encode_vote(&VoteV1 { term: 1, candidate: 2, committed: true }.into()).unwrap();
        bytes.push(0);
        assert!(decode_vote(&bytes).is_err());
        bytes.pop();
        assert!(decode_vote(&bytes).is_ok());
        bytes[0] = 2;
        assert!(decode_vote(&bytes).is_err());
        assert!(decode_vote(&[]).is_err());
        assert!(decode_entry(&Bytes::from_static(&[2, 0])).is_err());
    }

    #[test]
    fn what_goes_on_behind_its_end_is_refused() {
        let longer = |bytes: &[u8]| Bytes::from([bytes, &b"x"[..]].concat());
        let part = encode_envelope(&envelope(7)).unwrap();
        assert!(decode_envelope(&part).is_ok() && decode_envelope(&longer(&part)).is_err());
        for payload in [Payload::Blank, Payload::Membership(Membership::default())] {
            let bytes = encode_entry(&Entry { log_id: log_id(3, 2, 1), payload }).unwrap();
            assert!(decode_entry(&longer(&bytes)).is_err());
        }
    }
}
