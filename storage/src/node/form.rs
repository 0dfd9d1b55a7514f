//! The first start, and what each start tells the groups: the map, the grace time, the root user.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::control;
use super::disk::LocalDisk;
use super::inner::View;
use crate::client::{Disks, ServiceError};
use crate::cluster::recovery::Recovery;
use crate::cluster::{Identity, RootCredentials};
use crate::meta::record::UserRecord;
use crate::meta::{Answer, Command, Query, Rejection, RootCommand};
use crate::types::{
    ClusterMap, ClusterSettings, DiskEntry, DiskId, DiskState, Epoch, Generation, GroupEntry, GroupId, NodeEntry,
    ROOT_GROUP, ReplicaId, UserId,
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
        disks: identity.siblings.iter().map(|sibling| disk(&sibling.disk)).collect(),
        groups: groups.into_iter().map(|(id, replicas)| GroupEntry::new(id, replicas)).collect(),
        nodes: vec![node],
        generation: Generation::default(),
        settings: ClusterSettings::default(),
    }
}

/// Forms the groups and the cluster. The map comes last: where the root group has it, all the rest is there. Doing it
/// again does nothing.
pub async fn form(
    view: &View,
    disks: &[Arc<LocalDisk>],
    node: NodeEntry,
    root: Option<&RootCredentials>,
) -> Result<(), SettleError> {
    let Some(identity) = disks.first().map(|disk| disk.identity()) else { return Ok(()) };
    let weight = |id| disks.iter().find(|disk| disk.id() == id).map_or(1, |disk| weight(disk));
    let settings = view.inner.options.settings.whole();
    let map = ClusterMap { settings, ..first_map(identity, node, Epoch(1), weight) };
    for group in &map.groups {
        view.inner.replicas.initialize(group.id, group.replicas.iter().copied().collect()).await?;
    }
    if let Some(root) = root {
        set_root_user(view, root).await?;
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
pub async fn settle(view: Arc<View>, root: Option<RootCredentials>) {
    let mut warned = false;
    let directories = view.inner.options.directories.clone();
    let recovery = tokio::task::spawn_blocking(move || Recovery::load(&directories)).await.ok().flatten();
    while let Err(error) = settle_once(&view, root.as_ref(), recovery.as_ref()).await {
        if !warned {
            tracing::warn!(%error, "the metadata groups do not answer yet");
            warned = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

pub async fn settle_once(
    view: &View,
    root: Option<&RootCredentials>,
    recovery: Option<&Recovery>,
) -> Result<(), SettleError> {
    // Not what this node knows: that may be a map which a recovery has lost.
    let roots = refresh_map(view).await?;
    let map = match recovery {
        Some(recovery) => recovery.apply(&roots, &view.inner.map()),
        None => roots.clone(),
    };
    let disks: Vec<(DiskId, u32)> = view.inner.local_disks().iter().map(|disk| (disk.id(), weight(disk))).collect();
    let mut new = reconciled(&map, &view.inner.entry, &view.inner.siblings, &disks);
    // A cluster of release 0.1.0 had them from each node's flags.
    new.settings = new.settings.or(&view.inner.options.settings).whole();
    if let Some(recovery) = recovery {
        recovery.leave_out(&mut new);
    }
    if new != roots {
        control::replace_map(view, roots.epoch, new).await?;
    }
    if recovery.is_some() {
        let directories = view.inner.options.directories.clone();
        let _ = tokio::task::spawn_blocking(move || Recovery::forget(&directories)).await;
        view.inner.recovering.store(false, Ordering::Release);
        tracing::warn!("the cluster goes on as it was recovered");
    }
    let map = view.inner.map();
    for name in map.settings.differing(&view.inner.options.settings) {
        tracing::warn!("the setting --{name} of this node is ignored: the cluster has another; see `cairn config`");
    }
    let grace_ms = map.settings.gc_grace_ms();
    for group in map.metadata_groups() {
        view.client.command(group, Command::SetGrace { grace_ms }).await??;
    }
    match root {
        Some(root) => set_root_user(view, root).await,
        None => Ok(()),
    }
}

/// The map with what this node knows better: that it is there and where, its rack, its disks (those that are open, with
/// their weights), and which disks are lost for good.
fn reconciled(map: &ClusterMap, node: &NodeEntry, siblings: &[DiskId], disks: &[(DiskId, u32)]) -> ClusterMap {
    let mut map = map.clone();
    match map.nodes.iter_mut().find(|entry| entry.id == node.id) {
        Some(entry) => entry.clone_from(node),
        None => map.nodes.push(node.clone()),
    }
    for (id, weight) in disks {
        match map.disks.iter_mut().find(|disk| disk.id == *id) {
            Some(disk) if disk.state == DiskState::Removed => {
                tracing::warn!(disk = %id, "the disk was removed from the cluster; empty its directory to use it anew");
            }
            // It was moved here from another node.
            Some(disk) => disk.node = node.id,
            None => {
                let (id, node, weight) = (*id, node.id, *weight);
                map.disks.push(DiskEntry { id, node, weight, state: DiskState::Active });
            }
        }
    }
    for disk in map.disks.iter_mut().filter(|disk| disk.node == node.id && !siblings.contains(&disk.id)) {
        disk.state = DiskState::Removed;
    }
    map
}

/// Asks the root group for the newest map.
pub async fn refresh_map(view: &View) -> Result<ClusterMap, SettleError> {
    match view.client.query(ROOT_GROUP, Query::Map).await? {
        Answer::Map(Some(map)) if map.cluster == view.inner.cluster => {
            view.inner.set_map((*map).clone());
            // A root group of before a recovery has nothing to say any more.
            if view.inner.map().generation != map.generation { Err(SettleError::Answer) } else { Ok(*map) }
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
