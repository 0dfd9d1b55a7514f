//! Brings up the last replica of a group whose other voter is lost for good: a membership of it alone is written at the
//! end of its log, under a vote that nobody else can have. For a person who knows that the other disk will not come
//! back as it was.
//!
//! Safe only for a group of two voters: with two, every commit is on both.

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
use crate::types::{GroupId, ReplicaId};

/// Why a replica was not made the only voter.
#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    /// The group has more voters: one alone may lack what the others committed.
    #[error("group {group} has {voters} voters; a majority of them must come back")]
    TooMany { group: GroupId, voters: usize },
    #[error("replica {replica} is no voter of group {group}")]
    NoVoter { group: GroupId, replica: ReplicaId },
    #[error("replica {replica} of group {group} cannot be changed: {why}")]
    Failed { group: GroupId, replica: ReplicaId, why: String },
}

/// Makes a replica that does not run the only voter of its group, durably. Doing it again is fine.
pub async fn make_only_voter(
    db: Arc<DiskDb>,
    stores: &dyn Stores,
    group: GroupId,
    replica: ReplicaId,
) -> Result<(), AloneError> {
    let failed = |why: String| AloneError::Failed { group, replica, why };
    let io = |error: std::io::Error| failed(error.to_string());
    let mut log = Log::open(db.clone(), group, replica, &Settings::default()).map_err(io)?;
    let state = log.get_log_state().await.map_err(io)?;
    let applied = stores.open(db.database().clone(), group).and_then(|store| store.applied());
    let mut membership = match applied.map_err(|error| failed(error.to_string()))? {
        Some(marker) => {
            codec::decode_marker(&marker).map_err(|error| failed(error.to_string()))?.1.membership().clone()
        }
        None => Membership::default(),
    };
    {
        let mut reader = log.get_log_reader().await;
        let mut entries = pin!(reader.entries_stream(0..u64::MAX).await);
        while let Some(entry) = entries.next().await {
            if let Payload::Membership(newer) = entry.map_err(io)?.payload {
                membership = newer;
            }
        }
    }
    let voters: BTreeSet<ReplicaId> = membership.voter_ids().collect();
    if !voters.contains(&replica) {
        return Err(AloneError::NoVoter { group, replica });
    }
    if voters.len() > 2 {
        return Err(AloneError::TooMany { group, voters: voters.len() });
    }

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
