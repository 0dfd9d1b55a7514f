//! What is looked at from time to time: logs that have grown too long, replicas that have ended, figures, promises.

use std::collections::HashMap;
use std::sync::Weak;

use super::replica::Replica;
use super::replicas::Inner;
use super::room::Room;
use super::settings::Settings;
use crate::types::{GroupId, ReplicaId};

/// Every so many rounds the disks' promises are noted.
const ROUNDS_PER_PROMISE: u32 = 6;

pub(super) async fn run(inner: Weak<Inner>) {
    let mut round = 0u32;
    let mut leaders: HashMap<GroupId, (u64, ReplicaId)> = HashMap::new();
    loop {
        let every = match inner.upgrade() {
            Some(inner) => inner.settings.upkeep_every,
            None => return,
        };
        tokio::time::sleep(every).await;
        let Some(inner) = inner.upgrade() else { return };
        let tight = tight(&inner.settings);
        round = round.wrapping_add(1);
        for replica in inner.all() {
            publish(&replica);
            if let Some(ended) = replica.has_ended() {
                let why = &ended.why;
                tracing::error!(group = %replica.group, replica = %replica.id, why, "a replica has ended by itself");
                inner.note_ended(ended);
                inner.stop_replicas(|candidate| std::ptr::eq(candidate, &*replica)).await;
            } else {
                // On a disk that is short of room logs are kept shorter.
                let short = inner.rooms.of(replica.disk.disk()) != Room::Ample;
                cut_log(&replica, if short { &tight } else { &inner.settings }).await;
                note_leader(&replica, &mut leaders);
            }
        }
        if round.is_multiple_of(ROUNDS_PER_PROMISE) {
            note_promises(&inner);
        }
    }
}

fn tight(settings: &Settings) -> Settings {
    let (log_bytes, log_entries) = (settings.log_bytes / 16, settings.log_entries / 16);
    Settings { log_bytes, log_entries, ..settings.clone() }
}

/// Cuts a log that has outgrown its bounds. What is cut must be in a snapshot; where the last one does not reach far
/// enough one is taken first, and the cut is made in a later round. openraft waits with it until no follower is being
/// sent those entries.
async fn cut_log(replica: &Replica, settings: &Settings) {
    let Some(index) = replica.log.purge_index(settings) else { return };
    // Past the bound whoever is sent a snapshot has to begin anew.
    let held = replica.sending.may_be_cut_to().filter(|_| replica.log.bytes() <= settings.log_held_bytes);
    let index = held.map_or(index, |held| index.min(held));
    let snapshot = replica.metrics(|metrics| metrics.snapshot.as_ref().map(|id| id.index()));
    let result = if snapshot.is_some_and(|snapshot| snapshot >= index) {
        replica.raft.trigger().purge_log(index).await
    } else {
        replica.raft.trigger().snapshot().await
    };
    if let Err(error) = result {
        tracing::warn!(group = %replica.group, replica = %replica.id, %error, "a log was not cut");
    }
}

fn note_leader(replica: &Replica, leaders: &mut HashMap<GroupId, (u64, ReplicaId)>) {
    let Some((term, leader, disk)) = replica.known_leader() else { return };
    let known = leaders.entry(replica.group).or_default();
    if (term, leader) > *known {
        *known = (term, leader);
        tracing::info!(group = %replica.group, term, %leader, %disk, "a leader was elected");
        metrics::counter!("cairn_raft_elections_total", "group" => replica.group.to_string()).increment(1);
    }
}

fn publish(replica: &Replica) {
    let status = replica.status();
    let labels = [
        ("group", status.group.to_string()),
        ("replica", status.replica.to_string()),
        ("disk", status.disk.to_string()),
    ];
    let gauge = |value: f64, gauge: metrics::Gauge| gauge.set(value);
    gauge(status.log_bytes as f64, metrics::gauge!("cairn_raft_log_bytes", &labels));
    gauge(status.term as f64, metrics::gauge!("cairn_raft_term", &labels));
    gauge(f64::from(u8::from(status.leads)), metrics::gauge!("cairn_raft_leads", &labels));
    gauge(status.committed_index.unwrap_or(0) as f64, metrics::gauge!("cairn_raft_committed_index", &labels));
    gauge(status.applied_index.unwrap_or(0) as f64, metrics::gauge!("cairn_raft_applied_index", &labels));
}

fn note_promises(inner: &Inner) {
    for db in inner.disks() {
        // It reports its failure itself, and one that hangs must not keep the others waiting.
        drop(tokio::task::spawn_blocking(move || db.note_promise()));
    }
}
