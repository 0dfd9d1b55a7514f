//! Acts on what the cluster map asks for: starts the replicas that it allots to disks here and retires those that have
//! left their groups; and, where this node leads a group, has the group take in and let go its members. The node that
//! leads the root group also decides what the map should ask for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::disk::LocalDisk;
use super::form::{self, SettleError};
use super::inner::{Inner, View};
use crate::client::Disks;
use crate::cluster::controller::{self, Observed, Standing};
use crate::meta::{Command, Outcome, Rejection, RootCommand};
use crate::raft::{Origin, ReplicaStatus};
use crate::types::{ClusterMap, DiskId, DiskState, Epoch, GroupEntry, GroupId, ROOT_GROUP, ReplicaId};

/// The rest between two looks, where the map does not change in between.
const LOOK: Duration = Duration::from_millis(500);
/// The rest after this node has had another lead a group: by then all nodes have heard of it.
const HAND_OVER_EVERY: Duration = Duration::from_secs(5);
/// How long one that could not keep the lead is not given it again.
const HAND_OVER_AGAIN: Duration = Duration::from_secs(5 * 60);

/// Looks after the replicas of this node, for as long as it is polled.
pub async fn follow(view: Arc<View>) {
    let mut epoch = view.inner.epoch.subscribe();
    loop {
        let map = view.inner.map();
        if map.epoch.0 > 0 {
            for disk in view.inner.local_disks() {
                if let Err(why) = place_replicas(&view.inner, &disk, &map).await {
                    tracing::warn!(disk = %disk.id(), %why, "the replicas of a disk are not as they should be");
                }
            }
        }
        let _ = tokio::time::timeout(LOOK, epoch.changed()).await;
    }
}

/// Retires what the map does not know any more, and starts what it allots.
async fn place_replicas(inner: &Inner, disk: &Arc<LocalDisk>, map: &ClusterMap) -> Result<(), String> {
    let db = disk.db.clone();
    let records = tokio::task::spawn_blocking(move || db.replicas()).await;
    let records = records.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let running: HashSet<(GroupId, ReplicaId)> =
        inner.replicas.local_replicas().iter().map(|status| (status.group, status.replica)).collect();
    for record in records.iter().filter(|record| !record.retired) {
        let Some(group) = map.group(record.group) else { continue };
        let is_member = group.all().any(|member| member == (record.replica, disk.id()));
        // One that was lost here makes room for the one that takes its place here.
        let makes_room = !running.contains(&(record.group, record.replica))
            && group.joining.iter().any(|one| one.disk == disk.id() && one.replaces == Some(record.replica));
        if !makes_room && (is_member || !controller::is_known_by(record.replica, map)) {
            continue;
        }
        // What a person gave up may be needed by a person.
        if map.disk(disk.id()).is_some_and(|entry| entry.state == DiskState::Removed) {
            if running.contains(&(record.group, record.replica)) {
                stop(inner, record.group, record.replica, "its disk was removed from the cluster").await;
            }
            continue;
        }
        tracing::info!(group = %record.group, replica = %record.replica, disk = %disk.id(), "a replica has left its group");
        inner.replicas.stop_replica(record.group, record.replica).await;
        let retired = inner.replicas.retire_replica(disk.db.clone(), record.group, record.replica).await;
        retired.map_err(|error| error.to_string())?;
    }
    for group in &map.groups {
        for joining in group.joining.iter().filter(|joining| joining.disk == disk.id()) {
            let known = records.iter().any(|record| (record.group, record.replica) == (group.id, joining.replica));
            if known || running.contains(&(group.id, joining.replica)) {
                continue;
            }
            tracing::info!(group = %group.id, replica = %joining.replica, disk = %disk.id(), "a new replica");
            let started = inner.replicas.start_replica(disk.db.clone(), group.id, joining.replica, Origin::New).await;
            started.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// Ends the replicas that a map of after a recovery does not know any more: they were made without it.
pub async fn stop_former(inner: &Inner, map: &ClusterMap) {
    for status in inner.replicas.local_replicas() {
        let member = (status.replica, status.disk);
        let is_member = map.group(status.group).is_some_and(|group| group.all().any(|one| one == member));
        if !is_member && controller::is_known_by(status.replica, map) {
            stop(inner, status.group, status.replica, "the cluster was recovered without it").await;
        }
    }
}

async fn stop(inner: &Inner, group: GroupId, replica: ReplicaId, why: &str) {
    tracing::warn!(%group, %replica, why, "a replica stops");
    inner.replicas.stop_replica(group, replica).await;
}

/// Has other nodes lead some of the groups, where too many are led here; for as long as it is polled.
pub async fn spread_leaders(view: Arc<View>) {
    let inner = &view.inner;
    let mut handed: HashMap<(GroupId, ReplicaId), Instant> = HashMap::new();
    loop {
        tokio::time::sleep(HAND_OVER_EVERY).await;
        handed.retain(|_, at| at.elapsed() < HAND_OVER_AGAIN);
        let may = |group, to| !handed.contains_key(&(group, to));
        let found = controller::group_to_hand_over(&inner.map(), &**inner, &inner.leaders(), inner.node, may);
        if let Some((group, to)) = found {
            tracing::info!(%group, replica = %to, "another node is to lead a group");
            handed.insert((group, to), Instant::now());
            inner.replicas.hand_over(group, to).await;
        }
    }
}

/// Decides and leads, wherever it is this node's turn, for as long as it is polled.
pub async fn lead(view: Arc<View>) {
    let busy: Arc<Mutex<HashSet<GroupId>>> = Arc::default();
    let mut epoch = view.inner.epoch.subscribe();
    loop {
        if view.inner.leads(ROOT_GROUP)
            && let Err(error) = decide(&view).await
        {
            tracing::debug!(%error, "the cluster map is not changed yet");
        }
        for group in view.inner.map().groups.iter().filter(|group| view.inner.leads(group.id)) {
            if !busy.lock().insert(group.id) {
                continue;
            }
            let (view, group, busy) = (view.clone(), group.clone(), busy.clone());
            tokio::spawn(async move {
                if let Err(error) = tend(&view, &group).await {
                    tracing::debug!(group = %group.id, %error, "a group is not as it should be yet");
                }
                busy.lock().remove(&group.id);
            });
        }
        let _ = tokio::time::timeout(LOOK, epoch.changed()).await;
    }
}

/// Whether a replica is up and runs, as far as is known here.
fn runs(inner: &Inner, group: GroupId, replica: ReplicaId, disk: DiskId) -> bool {
    Disks::is_up(inner, disk) && inner.standing(group, replica) == Standing::Runs
}

impl Observed for Inner {
    fn is_up(&self, disk: DiskId) -> bool {
        Disks::is_up(self, disk)
    }

    fn is_out(&self, disk: DiskId) -> bool {
        !Disks::is_up(self, disk)
            && self.peers.lock().silent_for(disk) > Duration::from_millis(self.map().settings.out_after_ms())
    }

    fn standing(&self, group: GroupId, replica: ReplicaId) -> Standing {
        let own = self.ended(&self.map());
        let own = own.iter().find(|(_, ended)| (ended.group, ended.replica) == (group, replica));
        match own.map(|(_, ended)| ended.broken).or_else(|| self.peers.lock().ended(group, replica)) {
            Some(true) => Standing::Broken,
            Some(false) => Standing::Lost,
            None => Standing::Runs,
        }
    }
}

async fn decide(view: &View) -> Result<(), SettleError> {
    // Others may have changed it, through any node.
    let map = form::refresh_map(view).await?;
    match controller::plan(&map, &*view.inner) {
        Some(new) => replace_map(view, map.epoch, new).await,
        None => Ok(()),
    }
}

/// Makes `new` the map, if the epoch still is `expected`.
///
/// # Errors
/// The root group does not answer, or the map has moved on.
pub async fn replace_map(view: &View, expected: Epoch, new: ClusterMap) -> Result<(), SettleError> {
    let replace = RootCommand::ReplaceMap { expected, map: new };
    match view.client.command(ROOT_GROUP, Command::Root(replace)).await? {
        Ok(Outcome::Map(map)) => {
            view.inner.set_map(*map);
            Ok(())
        }
        Ok(_) => Err(SettleError::Answer),
        Err(rejection) => {
            if rejection == Rejection::MapChanged {
                view.inner.refresh.notify_one();
            }
            Err(rejection.into())
        }
    }
}

/// Brings a group that is led here one step nearer to what the map says of it.
async fn tend(view: &View, entry: &GroupEntry) -> Result<(), SettleError> {
    let Some(status) = view.inner.replicas.status(entry.id).filter(|status| status.leads) else { return Ok(()) };
    // A recovery lost the maps that allotted these: what the group says itself is right.
    let is_known = |replica| entry.all().any(|(known, _)| known == replica);
    let generation = &view.inner.map().generation;
    let was_lost = |replica| generation.has_lost(controller::allotted_by(replica)) && !is_known(replica);
    if status.members.iter().any(|(replica, _)| was_lost(*replica)) {
        let voters: Vec<_> = status.members.iter().filter(|(id, _)| status.voters.contains(id)).copied().collect();
        return change_entry(view, entry, move |entry| *entry = GroupEntry::new(entry.id, voters.clone())).await;
    }
    if !entry.joining.is_empty() {
        for joining in &entry.joining {
            view.inner.replicas.add_learner(entry.id, joining.replica, joining.disk).await?;
        }
        // From here on they must not be started without a memory any more: only then they may vote.
        return change_entry(view, entry, promote).await;
    }
    let wanted: BTreeSet<ReplicaId> = entry.replicas.iter().map(|(replica, _)| *replica).collect();
    if !is_made_of(&status, &wanted) {
        // It would be the last change, and the end of the group, if those who are to vote then are not there.
        let up = entry.replicas.iter().filter(|(replica, disk)| runs(&view.inner, entry.id, *replica, *disk)).count();
        if up <= wanted.len() / 2 {
            return Ok(());
        }
        // The map that this follows may be old, and what it says undone long ago.
        form::refresh_map(view).await?;
        if view.inner.map().group(entry.id) != Some(entry) {
            return Ok(());
        }
        let voters: BTreeMap<ReplicaId, DiskId> = entry.replicas.iter().copied().collect();
        tracing::info!(group = %entry.id, ?wanted, "the voters of a group change");
        view.inner.replicas.change_membership(entry.id, voters).await?;
        return Ok(());
    }
    if !entry.leaving.is_empty() {
        return change_entry(view, entry, |entry| entry.leaving.clear()).await;
    }
    Ok(())
}

fn is_made_of(status: &ReplicaStatus, wanted: &BTreeSet<ReplicaId>) -> bool {
    let voters: BTreeSet<ReplicaId> = status.voters.iter().copied().collect();
    let members: BTreeSet<ReplicaId> = status.members.iter().map(|(replica, _)| *replica).collect();
    voters == *wanted && members == *wanted
}

fn promote(entry: &mut GroupEntry) {
    for joining in std::mem::take(&mut entry.joining) {
        let goes = |replica: ReplicaId| Some(replica) == joining.replaces;
        entry.leaving.extend(entry.replicas.iter().filter(|(replica, _)| goes(*replica)));
        entry.replicas.retain(|(replica, _)| !goes(*replica));
        entry.replicas.push((joining.replica, joining.disk));
    }
}

/// Changes the entry of a group in the map, if it still is what was acted on.
async fn change_entry(view: &View, acted_on: &GroupEntry, change: impl Fn(&mut GroupEntry)) -> Result<(), SettleError> {
    let mut map = (*view.inner.map()).clone();
    match map.groups.iter_mut().find(|group| group.id == acted_on.id) {
        Some(entry) if *entry == *acted_on => change(entry),
        _ => return Ok(()),
    }
    replace_map(view, map.epoch, map).await
}
