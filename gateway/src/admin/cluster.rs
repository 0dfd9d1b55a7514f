//! The cluster under the admin API:
//!
//! - `GET /_cairn/admin/v1/status`: nodes, disks, groups and what is under way; see [`status`] for the fields.
//! - `POST /_cairn/admin/v1/nodes/ID/drain`, `.../undrain`, `.../remove`, and the same for `disks/ID`: change what the
//!   cluster map says of the disks of a node, or of one disk. The answer is the new status.

use std::collections::HashMap;
use std::time::Duration;

use cairn_storage::meta::query::GroupStatistics;
use cairn_storage::meta::{Answer, Outcome, Query, Rejection, RootCommand};
use cairn_storage::types::{ClusterMap, DiskId, DiskState, GroupEntry, GroupId, NodeId};
use cairn_storage::wire::{DiskNews, Overview};
use serde_json::{Value, json};

use crate::error::{Code, S3Error};
use crate::gate::Pass;
use crate::gateway::{Gateway, unexpected};

/// How long a group is asked for its figures; one without a leader does not keep the others from being shown.
const GROUP_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a change of the map is tried again that came too late.
const ATTEMPTS: usize = 5;

/// What is to become of disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They give away what they have.
    Drain,
    /// They take data again.
    Undrain,
    /// They leave the cluster for good. Only what is empty or lost is let go, unless it is forced.
    Remove { force: bool },
}

/// Whose disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Node(NodeId),
    Disk(DiskId),
}

/// The whole status. `health` is `unavailable` where a group has no leader, `degraded` where something is down, out,
/// under way, missing or not yet looked at, else `healthy`. Sizes are bytes.
pub async fn status(gateway: &Gateway, pass: Pass) -> Result<Value, S3Error> {
    let overview = gateway.client(pass).overview().await?;
    let groups: Vec<GroupId> = overview.map.groups.iter().map(|group| group.id).collect();
    let asked = groups.iter().map(|group| async {
        let query = gateway.client(pass).query(*group, Query::Statistics);
        match tokio::time::timeout(GROUP_TIMEOUT, query).await {
            Ok(Ok(Answer::Statistics(statistics))) => Some((*group, statistics)),
            _ => None,
        }
    });
    let statistics = futures::future::join_all(asked).await.into_iter().flatten().collect();
    Ok(render(&overview, &statistics))
}

fn render(overview: &Overview, statistics: &HashMap<GroupId, GroupStatistics>) -> Value {
    let map = &*overview.map;
    let news: HashMap<DiskId, (bool, &DiskNews)> = overview
        .nodes
        .iter()
        .flat_map(|node| node.disks.iter().map(move |disk| (disk.id, (node.up && disk.up, disk))))
        .collect();
    let is_up = |disk: DiskId| news.get(&disk).is_some_and(|(up, _)| *up);
    let nodes: Vec<Value> = map
        .nodes
        .iter()
        .map(|node| {
            let said = overview.nodes.iter().find(|news| news.id == node.id);
            json!({
                "id": node.id.0,
                "address": node.address,
                "rack": node.rack,
                "up": said.is_some_and(|news| news.up),
                "version": said.map(|news| news.version.as_str()),
            })
        })
        .collect();
    let disks: Vec<Value> = map
        .disks
        .iter()
        .filter(|disk| disk.state != DiskState::Removed)
        .map(|disk| {
            let said = news.get(&disk.id).map(|(_, said)| said);
            json!({
                "id": disk.id.to_string(),
                "node": disk.node.0,
                "state": state(disk.state),
                "up": is_up(disk.id),
                "weight": disk.weight,
                "capacity": said.map(|said| said.capacity),
                "used": said.map(|said| said.capacity.saturating_sub(said.free)),
                "chunks": said.map(|said| said.chunks),
                "misplaced": said.map(|said| said.misplaced),
                "checked": said.map(|said| said.settled),
            })
        })
        .collect();
    let groups: Vec<Value> = map
        .groups
        .iter()
        .map(|group| {
            let replica = |(replica, disk): (cairn_storage::types::ReplicaId, DiskId)| json!({ "replica": replica.0, "disk": disk.to_string() });
            let leader = overview.leaders.iter().find(|(led, ..)| *led == group.id);
            let figures = statistics.get(&group.id);
            json!({
                "group": group.id.0,
                "leader": leader.map(|(_, id, disk)| replica((*id, *disk))),
                "voters": group.replicas.iter().map(|one| replica(*one)).collect::<Vec<_>>(),
                "ended": overview.nodes.iter().flat_map(|node| &node.disks).flat_map(|disk| {
                    let ended = disk.ended.iter().filter(|ended| ended.group == group.id);
                    ended.map(|ended| json!({
                        "replica": ended.replica.0,
                        "disk": disk.id.to_string(),
                        "broken": ended.broken,
                        "why": ended.why,
                    }))
                }).collect::<Vec<_>>(),
                "changing": !group.joining.is_empty() || !group.leaving.is_empty(),
                "queued_repairs": figures.map(|figures| figures.queued_repairs),
                "objects": figures.map(|figures| figures.objects),
                "object_bytes": figures.map(|figures| figures.object_bytes),
            })
        })
        .collect();
    let queued: u64 = statistics.values().map(|figures| figures.queued_repairs).sum();
    let misplaced: u64 = overview.nodes.iter().flat_map(|node| &node.disks).map(|disk| disk.misplaced).sum();
    let speed: u64 = overview.nodes.iter().filter(|node| node.up).map(|node| node.settled_per_minute).sum();
    let left = queued + misplaced;
    let unavailable = map.groups.is_empty() || map.groups.iter().any(|group| !statistics.contains_key(&group.id));
    let none_ended = overview.nodes.iter().flat_map(|node| &node.disks).all(|disk| disk.ended.is_empty());
    let whole = none_ended
        && map.disks.iter().filter(|disk| disk.state != DiskState::Removed).all(|disk| is_up(disk.id))
        && map.disks.iter().all(|disk| matches!(disk.state, DiskState::Active | DiskState::Removed))
        && map.groups.iter().all(|group| group.joining.is_empty() && group.leaving.is_empty());
    let in_use = |disk: DiskId| map.disk(disk).is_some_and(|entry| entry.state != DiskState::Removed);
    // What a node says counts once it knows this map.
    let checking = overview.nodes.iter().filter(|node| node.up).any(|node| {
        node.disks.iter().any(|disk| disk.up && in_use(disk.id) && (!disk.settled || node.epoch < map.epoch))
    });
    let health = match (unavailable, whole && queued == 0 && misplaced == 0 && !checking) {
        (true, _) => "unavailable",
        (false, true) => "healthy",
        (false, false) => "degraded",
    };
    json!({
        "health": health,
        "cluster": map.cluster.to_string(),
        "epoch": map.epoch.0,
        "generation": map.generation.stamp().number,
        "copies": map.copies(),
        "nodes": nodes,
        "disks": disks,
        "groups": groups,
        "queued_repairs": queued,
        "misplaced": misplaced,
        "checking": checking,
        "settled_per_minute": speed,
        "refused": overview.refused.iter().map(|refused| json!({ "node": refused.node.0, "address": refused.address, "why": refused.why })).collect::<Vec<_>>(),
        "seconds_left": (left > 0 && speed > 0).then(|| (left * 60).div_ceil(speed)),
    })
}

fn state(state: DiskState) -> &'static str {
    match state {
        DiskState::Active => "active",
        DiskState::Draining => "draining",
        DiskState::Out => "out",
        DiskState::Removed => "removed",
    }
}

/// Changes the map, and answers with the status after that.
pub async fn change(gateway: &Gateway, pass: Pass, target: Target, change: Change) -> Result<Value, S3Error> {
    for _ in 0..ATTEMPTS {
        let Answer::Map(Some(map)) = gateway.root_query(pass, Query::Map).await? else {
            return Err(unexpected("Map"));
        };
        let overview = gateway.client(pass).overview().await?;
        let new = changed(&map, &overview, target, change)?;
        if new == *map {
            return status(gateway, pass).await;
        }
        match gateway.root_command(pass, RootCommand::ReplaceMap { expected: map.epoch, map: new }).await? {
            Ok(Outcome::Map(map)) => {
                tracing::info!(?target, ?change, epoch = %map.epoch, "the cluster map was changed");
                return status(gateway, pass).await;
            }
            Err(Rejection::MapChanged) => {}
            _ => return Err(unexpected("ReplaceMap")),
        }
    }
    Err(Code::OperationAborted.into())
}

/// The map after the change; `InvalidArgument` where it does not have the target, `OperationAborted` where the change
/// would lose data.
fn changed(map: &ClusterMap, overview: &Overview, target: Target, change: Change) -> Result<ClusterMap, S3Error> {
    let mut new = map.clone();
    let mut found = false;
    for disk in &mut new.disks {
        let is_meant = match target {
            Target::Node(node) => disk.node == node,
            Target::Disk(id) => disk.id == id,
        };
        if !is_meant || disk.state == DiskState::Removed {
            continue;
        }
        found = true;
        disk.state = match change {
            Change::Drain => DiskState::Draining,
            Change::Undrain => DiskState::Active,
            Change::Remove { force } => {
                if !force {
                    may_go(map, overview, disk.id)?;
                }
                DiskState::Removed
            }
        };
    }
    if let Target::Node(id) = target {
        found |= new.node(id).is_some();
        if matches!(change, Change::Remove { .. }) {
            new.nodes.retain(|node| node.id != id);
        }
    }
    if !found {
        return Err(S3Error::with(Code::InvalidArgument, "The cluster has no such node or disk."));
    }
    let active = |map: &ClusterMap| map.disks.iter().filter(|disk| disk.state == DiskState::Active).count();
    if active(&new) == 0 && active(map) > 0 {
        return Err(S3Error::with(Code::OperationAborted, "No disk would be left to take the data."));
    }
    Ok(new)
}

/// Refuses to let go a disk that still has something.
fn may_go(map: &ClusterMap, overview: &Overview, disk: DiskId) -> Result<(), S3Error> {
    let refuse = |text: &str| Err(S3Error::with(Code::OperationAborted, format!("Disk {disk} {text}")));
    if map.groups.iter().flat_map(GroupEntry::all).any(|(_, member)| member == disk) {
        return refuse("still has metadata; drain it first, and wait until its replicas have moved.");
    }
    let said = overview.nodes.iter().find_map(|node| {
        let news = node.disks.iter().find(|news| news.id == disk)?;
        Some((node.up && news.up, news.settled && node.epoch >= map.epoch, news))
    });
    match (map.disk(disk).map(|entry| entry.state), said) {
        (Some(DiskState::Out), _) => Ok(()),
        // What is left on it then is garbage.
        (Some(DiskState::Draining), Some((true, true, DiskNews { misplaced: 0, .. }))) => Ok(()),
        (Some(DiskState::Draining), Some((true, _, DiskNews { misplaced: 0, .. }))) => {
            refuse("is still looking for chunks that have to move; wait until it is done.")
        }
        (Some(DiskState::Draining), Some((true, _, DiskNews { misplaced, .. }))) => {
            refuse(&format!("still has {misplaced} chunks that have to move; wait until they have."))
        }
        (Some(DiskState::Draining), _) => {
            refuse("is down, so nobody knows whether it is empty; force it if it is lost.")
        }
        _ => refuse("is in use; drain it first, or force it if it is lost."),
    }
}

#[cfg(test)]
#[path = "cluster_test.rs"]
mod tests;
