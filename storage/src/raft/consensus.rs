//! The types that openraft is instantiated with, and its configuration. Nothing here does any work.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use openraft::impls::{BoxedErrorSource, InlineBatch, ProgressResponder};
use openraft::{OptionalSend, RaftTypeConfig, SnapshotPolicy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec;
use super::settings::Settings;
use super::state_machine::StateMachine;
use crate::meta::{Batch, Outcome, Rejection};
use crate::types::{DiskId, ReplicaId};

/// What came of the envelopes of one entry, in their order. Empty for entries that carry none.
pub type Applied = Vec<Result<Outcome, Rejection>>;

pub(super) type LeaderId = openraft::vote::leader_id_adv::LeaderId<u64, ReplicaId>;
pub(super) type LogId = openraft::LogId<LeaderId>;
pub(super) type Vote = openraft::Vote<LeaderId>;
pub(super) type Payload = openraft::EntryPayload<Proposal, ReplicaId, DiskId>;
pub(super) type Entry = openraft::Entry<LeaderId, Payload>;
pub(super) type Membership = openraft::Membership<ReplicaId, DiskId>;
pub(super) type StoredMembership = openraft::StoredMembership<LeaderId, ReplicaId, DiskId>;
pub(super) type SnapshotMeta = openraft::SnapshotMeta<LeaderId, ReplicaId, DiskId>;
pub(super) type Snapshot<D> = openraft::Snapshot<LeaderId, ReplicaId, DiskId, D>;
pub(super) type Raft = openraft::Raft<Consensus, StateMachine>;

/// openraft's type parameters for all groups. A member's "node" is the disk it lives on: addresses are never taken
/// from Raft's membership.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consensus;

impl RaftTypeConfig for Consensus {
    type D = Proposal;
    type R = Applied;
    type NodeId = ReplicaId;
    type Node = DiskId;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    #[allow(
        deprecated,
        reason = "openraft wants it from a crate that is not among our dependencies; the type is the same"
    )]
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = ProgressResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// The commands of one log entry, decoded and encoded: encoded once, where they were proposed, and never again, however
/// many replicas of this process write them. Cheap to clone.
#[derive(Clone)]
pub struct Proposal {
    batch: Arc<Batch>,
    encoded: Bytes,
}

impl Proposal {
    /// Pairs a batch with its encoding, which the caller made with [`codec::join_batch`].
    pub(super) fn new(batch: Batch, encoded: Bytes) -> Self {
        Self { batch: Arc::new(batch), encoded }
    }

    /// Decodes what [`Proposal::encoded`] gave, on this or on another node.
    pub(super) fn decode(encoded: Bytes) -> Result<Self, codec::FormatError> {
        Ok(Self { batch: Arc::new(codec::decode_batch(&encoded)?), encoded })
    }

    pub(super) fn batch(&self) -> &Arc<Batch> {
        &self.batch
    }

    pub(super) fn encoded(&self) -> &Bytes {
        &self.encoded
    }
}

impl PartialEq for Proposal {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands, {} bytes", self.batch.envelopes.len(), self.encoded.len())
    }
}

impl Serialize for Proposal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.encoded.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Proposal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::decode(Bytes::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// openraft's configuration of a replica.
///
/// openraft starts an election when nothing was heard of the leader for its lease (the upper election bound) plus a
/// random time between the bounds. With bounds of 600 and 900 ms that is 1.5 to 1.8 seconds. The lower bound is also how
/// long a candidate waits for a vote, which takes an fsync: disks that are slower elect nobody.
pub(super) fn config(settings: &Settings) -> Result<openraft::Config, openraft::ConfigError> {
    openraft::Config {
        cluster_name: "cairn".to_owned(),
        heartbeat_interval: settings.heartbeat_ms,
        election_timeout_min: settings.election_min_ms,
        election_timeout_max: settings.election_max_ms,
        max_payload_entries: 256,
        max_append_entries: Some(64),
        replication_lag_threshold: 256,
        // Snapshots are markers, taken by bytes of log; see `upkeep`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        api_channel_size: Some(4096),
        notification_channel_size: Some(4096),
        state_machine_channel_size: Some(256),
        // Followers read an entry while the leader's own disk still writes it.
        broadcast_submitted_on_append: Some(true),
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        backoff: "20ms 40ms 80ms ...500ms".to_owned(),
        ..Default::default()
    }
    .validate()
}
