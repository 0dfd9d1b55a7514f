//! The first start, and what each start tells the groups: the map, the grace time, the root user.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::disk::LocalDisk;
use super::inner::View;
use crate::client::{Disks, ServiceError};
use crate::cluster::{Identity, RootCredentials};
use crate::meta::record::UserRecord;
use crate::meta::{Answer, Command, Outcome, Query, Rejection, RootCommand};
use crate::types::{
    ClusterMap, DiskEntry, DiskId, DiskState, Epoch, GroupEntry, GroupId, NodeEntry, ROOT_GROUP, ReplicaId, UserId,
};

/// The name of the root user.
const ROOT_USER: &str = "root";
/// The rest before something is tried again that found no leader.
const PAUSE: Duration = Duration::from_millis(200);

/// What is not done at a start, and why.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("{0}")]
    Rejected(#[from] Rejection),
    #[error("{0}")]
    Change(#[from] crate::raft::ChangeError),
    #[error("the answer is of another kind")]
    Answer,
}

/// The map of a cluster of one node, as its identity has it. `epoch` 0 is a stand-in until the root group answers.
pub fn first_map(identity: &Identity, node: NodeEntry, epoch: Epoch, weight: impl Fn(DiskId) -> u32) -> ClusterMap {
    let mut groups: BTreeMap<GroupId, Vec<(ReplicaId, DiskId)>> = BTreeMap::new();
    for founder in &identity.founders {
        groups.entry(founder.group).or_default().push((founder.replica, founder.disk));
    }
    let disk = |id: &DiskId| DiskEntry { id: *id, node: node.id, weight: weight(*id), state: DiskState::Active };
    ClusterMap {
        cluster: identity.cluster,
        epoch,
        disks: identity.siblings.iter().map(disk).collect(),
        groups: groups.into_iter().map(|(id, replicas)| GroupEntry { id, replicas }).collect(),
        nodes: vec![node],
    }
}

/// Forms the groups and the cluster. Doing it again does nothing.
pub async fn form(view: &View, disks: &[Arc<LocalDisk>], node: NodeEntry) -> Result<(), SettleError> {
    let Some(identity) = disks.first().map(|disk| disk.identity()) else { return Ok(()) };
    let weight = |id| disks.iter().find(|disk| disk.id() == id).map_or(1, |disk| weight(disk));
    let map = first_map(identity, node, Epoch(1), weight);
    for group in &map.groups {
        view.inner.replicas.initialize(group.id, group.replicas.iter().copied().collect()).await?;
    }
    match view.client.command(ROOT_GROUP, Command::Root(RootCommand::FormCluster { map })).await? {
        Ok(_) | Err(Rejection::Exists) => Ok(()),
        Err(rejection) => Err(rejection.into()),
    }
}

/// A disk's share of the chunks: its size in GiB.
fn weight(disk: &LocalDisk) -> u32 {
    u32::try_from(disk.store.usage().capacity >> 30).unwrap_or(u32::MAX).max(1)
}

/// Tells the groups what this start brought, until they have heard it: each group must have a leader for that.
pub async fn settle(view: Arc<View>, node: NodeEntry, root: RootCredentials) {
    let mut warned = false;
    while let Err(error) = settle_once(&view, &node, &root).await {
        if !warned {
            tracing::warn!(%error, "the metadata groups do not answer yet");
            warned = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn settle_once(view: &View, node: &NodeEntry, root: &RootCredentials) -> Result<(), SettleError> {
    refresh_map(view).await?;
    let map = view.inner.map();
    let new = reconciled(&map, node, &view.inner.siblings);
    if new != *map {
        let replace = RootCommand::ReplaceMap { expected: map.epoch, map: new };
        match view.client.command(ROOT_GROUP, Command::Root(replace)).await?? {
            Outcome::Map(map) => view.inner.set_map(*map),
            _ => return Err(SettleError::Answer),
        }
    }
    let grace_ms = view.inner.options.repair.grace_ms;
    for group in view.inner.map().metadata_groups() {
        view.client.command(group, Command::SetGrace { grace_ms }).await??;
    }
    set_root_user(view, root).await
}

/// The map with what this node knows better: its address, its rack, and which disks a recovery left it.
fn reconciled(map: &ClusterMap, node: &NodeEntry, siblings: &[DiskId]) -> ClusterMap {
    let mut map = map.clone();
    for entry in map.nodes.iter_mut().filter(|entry| entry.id == node.id) {
        entry.clone_from(node);
    }
    let mut left_out = Vec::new();
    for disk in map.disks.iter_mut().filter(|disk| disk.node == node.id && !siblings.contains(&disk.id)) {
        disk.state = DiskState::Removed;
        left_out.push(disk.id);
    }
    for group in &mut map.groups {
        group.replicas.retain(|(_, disk)| !left_out.contains(disk));
    }
    map
}

/// Asks the root group for the newest map.
pub async fn refresh_map(view: &View) -> Result<(), SettleError> {
    match view.client.query(ROOT_GROUP, Query::Map).await? {
        Answer::Map(Some(map)) if map.cluster == view.inner.cluster => {
            view.inner.set_map(*map);
            Ok(())
        }
        _ => Err(SettleError::Answer),
    }
}

async fn set_root_user(view: &View, root: &RootCredentials) -> Result<(), SettleError> {
    let access_key = root.access_key.clone();
    if let Answer::User(Some(user)) = view.client.query(ROOT_GROUP, Query::UserByAccessKey { access_key }).await?
        && user.root
        && user.secret_key == *root.secret_key
    {
        return Ok(());
    }
    let user = UserRecord {
        id: UserId::random(),
        name: ROOT_USER.to_owned(),
        display_name: ROOT_USER.to_owned(),
        access_key: root.access_key.clone(),
        secret_key: root.secret_key.to_string(),
        root: true,
        created_ms: crate::types::now_ms(),
    };
    view.client.command(ROOT_GROUP, Command::Root(RootCommand::SetRootUser { user })).await??;
    tracing::info!("the root user's keys were set");
    Ok(())
}

/// Keeps the map new, for as long as it is polled.
pub async fn follow_map(view: Arc<View>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = refresh_map(&view).await {
            tracing::debug!(%error, "the root group does not tell the map");
        }
    }
}
