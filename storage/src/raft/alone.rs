//! Brings up the last replica of a group that lost a majority of its voters for good: a membership of it alone is written
//! at the end of its log, under a vote that nobody else has. For a person who knows that the others will not come back
//! as they were.
//!
//! Of a group of two voters nothing that was committed is lost: every commit is on both. Of more, this replica may not
//! have heard of the last that the others committed.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use openraft::RaftLogReader;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::vote::RaftLeaderId;

use super::codec;
use super::consensus::{Entry, LeaderId, LogId, Membership, Payload, Vote};
use super::disk_db::DiskDb;
use super::log_store::Log;
use super::settings::Settings;
use super::store::Stores;
use crate::types::{DiskId, GroupId, ReplicaId};

/// Why a replica was not made the only voter.
#[derive(Debug, thiserror::Error)]
#[error("replica {replica} of group {group} cannot be read or changed: {why}")]
pub struct AloneError {
    group: GroupId,
    replica: ReplicaId,
    why: String,
}

/// What a replica that does not run knows of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knowledge {
    /// The voters and their disks, by the newest membership in its log; of a change that is under way both sides.
    pub voters: BTreeMap<ReplicaId, DiskId>,
    /// Its last log entry: term and index. Of two replicas the one where this is greater knows all that the other does.
    pub last: (u64, u64),
}

/// Reads what a replica that does not run knows of its group.
///
/// # Errors
/// The disk cannot be read.
pub async fn knowledge(
    db: Arc<DiskDb>,
    stores: &dyn Stores,
    group: GroupId,
    replica: ReplicaId,
) -> Result<Knowledge, AloneError> {
    let failed = |why: String| AloneError { group, replica, why };
    let io = |error: std::io::Error| failed(error.to_string());
    let mut log = Log::open(db.clone(), group, replica, &Settings::default()).map_err(io)?;
    let last = log.get_log_state().await.map_err(io)?.last_log_id;
    let applied = stores.open(db.database().clone(), group).and_then(|store| store.applied());
    let mut membership = match applied.map_err(|error| failed(error.to_string()))? {
        Some(marker) => {
            codec::decode_marker(&marker).map_err(|error| failed(error.to_string()))?.1.membership().clone()
        }
        None => Membership::default(),
    };
    let mut reader = log.get_log_reader().await;
    let mut entries = pin!(reader.entries_stream(0..u64::MAX).await);
    while let Some(entry) = entries.next().await {
        if let Payload::Membership(newer) = entry.map_err(io)?.payload {
            membership = newer;
        }
    }
    let disk = |voter: &ReplicaId| membership.get_node(voter).copied();
    let voters = membership.voter_ids().filter_map(|voter| Some((voter, disk(&voter)?))).collect();
    Ok(Knowledge { voters, last: last.map_or((0, 0), |id| (id.committed_leader_id().term, id.index())) })
}

/// Makes a replica that does not run the only voter of its group, durably. Doing it again is fine.
///
/// # Errors
/// The disk cannot be read or written.
pub async fn make_only_voter(db: Arc<DiskDb>, group: GroupId, replica: ReplicaId) -> Result<(), AloneError> {
    let failed = |why: String| AloneError { group, replica, why };
    let io = |error: std::io::Error| failed(error.to_string());
    let mut log = Log::open(db.clone(), group, replica, &Settings::default()).map_err(io)?;
    let state = log.get_log_state().await.map_err(io)?;

    let last_term = state.last_log_id.map_or(0, |id| id.committed_leader_id().term);
    let term = log.vote().map_or(0, |vote| vote.leader_id.term).max(last_term) + 1;
    let vote = Vote::new(term, replica);
    let members = BTreeMap::from([(replica, db.disk())]);
    let alone = Membership::new(vec![BTreeSet::from([replica])], members).map_err(|error| failed(error.to_string()))?;
    let index = state.last_log_id.map_or(0, |id| id.index() + 1);
    let entry = Entry { log_id: LogId::new(LeaderId::new(term, replica), index), payload: Payload::Membership(alone) };
    // No entry may be of a term that the vote does not know.
    log.save_vote(&vote).await.map_err(io)?;
    log.append([entry], IOFlushed::noop()).await.map_err(io)?;
    // The writer keeps the order: when this is fsynced, so is the entry.
    log.save_vote(&vote).await.map_err(io)
}
