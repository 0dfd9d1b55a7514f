//! All replicas of this process: making, starting, changing and ending them. What is asked of them is in `service`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::errors::{InitializeError, RaftError};
use parking_lot::{Mutex, RwLock};
use tokio::task::AbortHandle;

use super::codec::{self, ReplicaRecord};
use super::consensus::{self, Raft};
use super::disk_db::DiskDb;
use super::keys;
use super::log_store::Log;
use super::network::{Connections, RemoteTransport};
use super::proposer::{Missed, Proposer};
use super::read::ReadRounds;
use super::replica::{Ended, Replica, ReplicaStatus};
use super::room::{Room, Rooms};
use super::settings::Settings;
use super::state_machine::StateMachine;
use super::store::{StoreError, Stores};
use super::upkeep;
use super::writer::Change;
use crate::types::{ClusterId, DiskId, GroupId, ReplicaId};

/// Why a replica was not started. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its log has lost what it had promised, or is not its own. It must never run again; another replaces it.
    #[error("replica {replica} of group {group} cannot be trusted any more: {why}")]
    Lost { group: GroupId, replica: ReplicaId, why: String },
    /// Another replica of the group lives on the disk, or this one is there already, or is not there.
    #[error("replica {replica} of group {group} is refused: {why}")]
    Refused { group: GroupId, replica: ReplicaId, why: String },
    /// Its state machine broke on what it holds, which is the same on all disks: another in its place would break, too.
    #[error("replica {replica} of group {group} cannot go on from its state: {why}")]
    Broken { group: GroupId, replica: ReplicaId, why: String },
    /// The disk failed.
    #[error("replica {replica} of group {group} cannot be started: {why}")]
    Failed { group: GroupId, replica: ReplicaId, why: String },
}

/// Why a change of a group's membership did not happen, or may not have.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    #[error("the group has no leader that answers")]
    Unavailable,
    #[error("refused: {0}")]
    Refused(String),
}

/// Whether a replica is expected to have a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Its id was allotted just now: it has never voted. Starting it again as new is fine for as long as that holds.
    New,
    /// It was started before: without its records it is refused, for it would have forgotten its promises.
    Existing,
}

/// The replicas of a process. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Replicas {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) cluster: ClusterId,
    pub(super) settings: Settings,
    pub(super) transport: Option<Arc<dyn RemoteTransport>>,
    config: Arc<openraft::Config>,
    stores: Arc<dyn Stores>,
    groups: RwLock<HashMap<GroupId, Group>>,
    disks: Mutex<HashMap<DiskId, DiskTasks>>,
    /// What does not run on the disks of this process, though it should.
    ended: Mutex<BTreeMap<(GroupId, ReplicaId), Ended>>,
    upkeep: Mutex<Option<AbortHandle>>,
    pub(super) rooms: Arc<Rooms>,
}

#[derive(Default, Clone)]
struct Group {
    replicas: Arc<[Arc<Replica>]>,
    /// Where its members are, for those who have none here.
    members: Arc<[(ReplicaId, DiskId)]>,
}

struct DiskTasks {
    db: Arc<DiskDb>,
    /// Waits for the disk to fail.
    watch: AbortHandle,
}

impl Inner {
    pub(super) fn replicas(&self, group: GroupId) -> Arc<[Arc<Replica>]> {
        self.groups.read().get(&group).map(|group| group.replicas.clone()).unwrap_or_default()
    }

    pub(super) fn all(&self) -> Vec<Arc<Replica>> {
        self.groups.read().values().flat_map(|group| group.replicas.iter().cloned()).collect()
    }

    pub(super) fn find(&self, group: GroupId, replica: ReplicaId) -> Option<Arc<Replica>> {
        self.replicas(group).iter().find(|candidate| candidate.id == replica).cloned()
    }

    pub(super) fn disks(&self) -> Vec<Arc<DiskDb>> {
        self.disks.lock().values().map(|disk| disk.db.clone()).collect()
    }

    pub(super) fn has_disk(&self, disk: DiskId) -> bool {
        self.disks.lock().contains_key(&disk)
    }

    pub(super) fn members(&self, group: GroupId) -> Arc<[(ReplicaId, DiskId)]> {
        self.groups.read().get(&group).map(|group| group.members.clone()).unwrap_or_default()
    }

    pub(super) fn note_ended(&self, ended: Ended) {
        self.ended.lock().insert((ended.group, ended.replica), ended);
    }

    /// Ends the replicas that `which` picks.
    pub(super) async fn stop_replicas(&self, which: impl Fn(&Replica) -> bool) {
        let going: Vec<_> = self.all().into_iter().filter(|replica| which(replica)).collect();
        let goes = |group, id| going.iter().any(|replica| (replica.group, replica.id) == (group, id));
        futures::future::join_all(going.iter().map(|replica| replica.stop(|id| !goes(replica.group, id)))).await;
        for group in self.groups.write().values_mut() {
            let stays = |replica: &&Arc<Replica>| !going.iter().any(|gone| Arc::ptr_eq(gone, replica));
            group.replicas = group.replicas.iter().filter(stays).cloned().collect();
        }
    }
}

impl Replicas {
    /// An empty set of replicas of a cluster. `stores` opens their state machines. Must be called within a runtime.
    pub fn new(
        cluster: ClusterId,
        transport: Option<Arc<dyn RemoteTransport>>,
        settings: Settings,
        stores: Arc<dyn Stores>,
    ) -> Result<Self, String> {
        let config = Arc::new(consensus::config(&settings).map_err(|error| error.to_string())?);
        let inner = Arc::new(Inner {
            cluster,
            settings,
            transport,
            config,
            stores,
            groups: RwLock::default(),
            disks: Mutex::default(),
            ended: Mutex::default(),
            upkeep: Mutex::default(),
            rooms: Arc::default(),
        });
        let task = tokio::spawn(upkeep::run(Arc::downgrade(&inner)));
        *inner.upkeep.lock() = Some(task.abort_handle());
        Ok(Self { inner })
    }

    /// Starts a replica on a disk of this process. When the disk fails later, it ends by itself.
    pub async fn start_replica(
        &self,
        db: Arc<DiskDb>,
        group: GroupId,
        replica: ReplicaId,
        origin: Origin,
    ) -> Result<(), StartError> {
        let disk = db.disk();
        let started = self.try_start(db, group, replica, origin).await;
        match &started {
            Ok(()) => drop(self.inner.ended.lock().remove(&(group, replica))),
            Err(StartError::Lost { why, .. } | StartError::Broken { why, .. }) => {
                let broken = matches!(started, Err(StartError::Broken { .. }));
                self.inner.note_ended(Ended { group, replica, disk, broken, why: why.clone() });
            }
            Err(StartError::Refused { .. } | StartError::Failed { .. }) => {}
        }
        started
    }

    async fn try_start(
        &self,
        db: Arc<DiskDb>,
        group: GroupId,
        replica: ReplicaId,
        origin: Origin,
    ) -> Result<(), StartError> {
        let failed = |why: String| StartError::Failed { group, replica, why };
        if self.inner.find(group, replica).is_some() {
            return Err(StartError::Refused { group, replica, why: "it runs already".to_owned() });
        }
        let preparation = Preparation {
            db: db.clone(),
            cluster: self.inner.cluster,
            group,
            replica,
            origin,
            settings: self.inner.settings.clone(),
            stores: self.inner.stores.clone(),
        };
        let prepared = tokio::task::spawn_blocking(move || preparation.run()).await;
        let (log, machine, store) = prepared.map_err(|error| failed(error.to_string()))??;
        let (next, installed, broken) = (machine.next(), machine.installed(), machine.broken());
        let connections = Connections { registry: Arc::downgrade(&self.inner), group, disk: db.disk() };
        let raft = Raft::new(replica, self.inner.config.clone(), connections, log.clone(), machine).await;
        // What was committed is applied again before it runs.
        let raft = raft.map_err(|error| match broken.get() {
            Some(why) => StartError::Broken { group, replica, why: why.clone() },
            None => failed(error.to_string()),
        })?;
        let settings = &self.inner.settings;
        let started = Arc::new(Replica {
            group,
            id: replica,
            disk: db.clone(),
            proposer: Proposer::start(group, raft.clone(), log.clone(), settings),
            rounds: ReadRounds::start(raft.clone(), settings),
            raft,
            log,
            store,
            next,
            installed,
            broken,
            incoming: Mutex::default(),
            installing: Mutex::default(),
            sending: Arc::default(),
            stopped: AtomicBool::new(false),
            rooms: self.inner.rooms.clone(),
        });
        self.watch_disk(db);
        let mut groups = self.inner.groups.write();
        let entry = groups.entry(group).or_default();
        entry.replicas = entry.replicas.iter().cloned().chain([started]).collect();
        Ok(())
    }

    fn watch_disk(&self, db: Arc<DiskDb>) {
        let disk = db.disk();
        let mut disks = self.inner.disks.lock();
        if disks.contains_key(&disk) {
            return;
        }
        let mut failure = db.failure();
        let inner: Weak<Inner> = Arc::downgrade(&self.inner);
        let task = tokio::spawn(async move {
            if failure.wait_for(Option::is_some).await.is_ok()
                && let Some(inner) = inner.upgrade()
            {
                inner.stop_replicas(|replica| replica.disk.disk() == disk).await;
            }
        });
        disks.insert(disk, DiskTasks { db, watch: task.abort_handle() });
    }

    /// Ends the replicas of a disk that is gone or is to be taken away; others go on. Its database closes when the last
    /// user is gone.
    pub async fn remove_disk(&self, disk: DiskId) {
        let tasks = self.inner.disks.lock().remove(&disk);
        self.inner.ended.lock().retain(|_, ended| ended.disk != disk);
        self.inner.stop_replicas(|replica| replica.disk.disk() == disk).await;
        if let Some(DiskTasks { db, watch }) = tasks {
            watch.abort();
            close(db).await;
        }
    }

    /// Ends one replica; it can be started again.
    pub async fn stop_replica(&self, group: GroupId, replica: ReplicaId) {
        self.inner.stop_replicas(|candidate| candidate.group == group && candidate.id == replica).await;
    }

    /// If a replica here leads the group: has another of its voters lead it.
    pub async fn hand_over(&self, group: GroupId, to: ReplicaId) {
        if let Some(leader) = self.inner.replicas(group).iter().find(|replica| replica.leads().is_some()) {
            // One whose disk starves would give the lead away again.
            let starves =
                leader.membership().get_node(&to).is_some_and(|disk| self.inner.rooms.of(*disk) == Room::Starved);
            leader.hand_over(|voter| voter == to && !starves).await;
        }
    }

    /// Removes a replica that does not run from a disk, for good: its log, its state and the use of its id. For one that
    /// is no member of its group any more.
    pub async fn retire_replica(&self, db: Arc<DiskDb>, group: GroupId, replica: ReplicaId) -> Result<(), StartError> {
        let failed = |why: String| StartError::Failed { group, replica, why };
        if self.inner.find(group, replica).is_some() {
            return Err(StartError::Refused { group, replica, why: "it runs".to_owned() });
        }
        self.inner.ended.lock().remove(&(group, replica));
        let stores = self.inner.stores.clone();
        let cluster = self.inner.cluster;
        tokio::task::spawn_blocking(move || {
            stores.open(db.database().clone(), group).and_then(|store| store.wipe()).map_err(io::Error::other)?;
            let record = codec::encode_replica(&ReplicaRecord { cluster, group, replica, retired: true })?;
            let state = |kind| keys::state(group, replica, kind);
            let mut changes = vec![
                Change::PutState { key: state(keys::RECORD), value: record },
                Change::DeleteEntries {
                    from: keys::entry(group, replica, 0),
                    to: keys::entry(group, replica, u64::MAX),
                },
            ];
            let kinds = [keys::VOTE, keys::COMMITTED, keys::PURGED, keys::PROMISED];
            changes.extend(kinds.map(|kind| Change::DeleteState { key: state(kind) }));
            Ok(db.writer().write(changes, true))
        })
        .await
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error: io::Error| failed(error.to_string()))?
        .await
        .map_err(|error| failed(error.to_string()))
    }

    /// Forms a group of these voters, one of which runs here. Doing it again is fine.
    pub async fn initialize(&self, group: GroupId, members: BTreeMap<ReplicaId, DiskId>) -> Result<(), ChangeError> {
        let replicas = self.inner.replicas(group);
        let Some(replica) = replicas.iter().find(|replica| members.contains_key(&replica.id)) else {
            return Err(ChangeError::Refused("none of the members runs here".to_owned()));
        };
        match replica.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => Err(ChangeError::Refused(error.to_string())),
            Err(RaftError::Fatal(_)) => Err(ChangeError::Unavailable),
        }
    }

    /// Who may be asked about a group of which no replica runs here; from the cluster map.
    pub fn set_members(&self, group: GroupId, members: Vec<(ReplicaId, DiskId)>) {
        self.inner.groups.write().entry(group).or_default().members = members.into();
    }

    /// Whether a replica runs here.
    pub fn runs(&self, group: GroupId, replica: ReplicaId) -> bool {
        self.inner.find(group, replica).is_some()
    }

    /// The replicas that should run here, and do not.
    pub fn ended(&self) -> Vec<Ended> {
        self.inner.ended.lock().values().cloned().collect()
    }

    /// The replicas that run here.
    pub fn local_replicas(&self) -> Vec<ReplicaStatus> {
        let mut all: Vec<_> = self.inner.all().iter().map(|replica| replica.status()).collect();
        all.sort_by_key(|status| (status.group, status.replica));
        all
    }

    /// What is known here of a group: the status of the replica that leads, else of the one that has heard most.
    pub fn status(&self, group: GroupId) -> Option<ReplicaStatus> {
        let replicas = self.inner.replicas(group);
        replicas.iter().map(|replica| replica.status()).max_by_key(|status| (status.leads, status.term))
    }

    /// Who leads a group, as far as its replicas here know.
    pub fn leader(&self, group: GroupId) -> Option<(ReplicaId, DiskId)> {
        let replicas = self.inner.replicas(group);
        let newest = replicas.iter().filter_map(|replica| replica.known_leader()).max();
        let (_, replica, disk) = newest?;
        // Of one that should be here we know better: it may have ended, or not been elected again since the start.
        let here = replicas.iter().any(|candidate| candidate.id == replica && candidate.leads().is_some());
        (here || !self.inner.has_disk(disk)).then_some((replica, disk))
    }

    /// Whether a group has a leader, as far as its replicas here know.
    pub fn ready(&self, group: GroupId) -> bool {
        self.leader(group).is_some()
    }

    /// Ends all replicas, then closes their disks' metadata.
    pub async fn shutdown(&self) {
        if let Some(upkeep) = self.inner.upkeep.lock().take() {
            upkeep.abort();
        }
        self.inner.stop_replicas(|_| true).await;
        let disks: Vec<DiskTasks> = self.inner.disks.lock().drain().map(|(_, disk)| disk).collect();
        for DiskTasks { db, watch } in disks {
            watch.abort();
            close(db).await;
        }
    }

    pub(super) async fn add_learner_here(
        replica: &Replica,
        learner: ReplicaId,
        disk: DiskId,
        timeout: Duration,
    ) -> Result<(), Missed> {
        let caught_up = async {
            membership_result(replica.raft.add_learner(learner, disk, true).await)?;
            // openraft is content with a learner that lags a little, even one that was never heard of. Once it votes a
            // group of one would wait for it: it must have all that there is now.
            let target = replica.metrics(|metrics| metrics.last_log_index);
            while replica.leads().is_some() {
                let matched = replica.metrics(|metrics| {
                    metrics.replication.as_ref().and_then(|all| all.get(&learner).copied().flatten())
                });
                if matched.is_some_and(|matched| Some(matched.index()) >= target) {
                    return Ok(());
                }
                tokio::time::sleep(CATCH_UP_GLANCE).await;
            }
            Err(Missed::NotLeader(None))
        };
        tokio::time::timeout(timeout, caught_up).await.unwrap_or(Err(Missed::Unavailable))
    }

    pub(super) async fn set_voters_here(
        replica: &Replica,
        voters: BTreeMap<ReplicaId, DiskId>,
        timeout: Duration,
    ) -> Result<(), Missed> {
        let ids: BTreeSet<ReplicaId> = voters.keys().copied().collect();
        let change =
            ChangeMembers::Batch(vec![ChangeMembers::AddNodes(voters), ChangeMembers::ReplaceAllVoters(ids.clone())]);
        let changed = tokio::time::timeout(timeout, replica.raft.change_membership(change, false)).await;
        membership_result(changed.map_err(|_| Missed::Unavailable)?)?;
        // Learners that are not wanted any more.
        let membership = replica.membership();
        let others: BTreeSet<ReplicaId> =
            membership.nodes().map(|(replica, _)| *replica).filter(|replica| !ids.contains(replica)).collect();
        if others.is_empty() || replica.leads().is_none() {
            return Ok(());
        }
        let change = ChangeMembers::RemoveNodes(others);
        let changed = tokio::time::timeout(timeout, replica.raft.change_membership(change, false)).await;
        membership_result(changed.map_err(|_| Missed::Unavailable)?)
    }
}

type MembershipResult = Result<
    openraft::raft::ClientWriteResponse<consensus::Consensus>,
    RaftError<consensus::Consensus, openraft::errors::ClientWriteError<consensus::Consensus>>,
>;

fn membership_result(result: MembershipResult) -> Result<(), Missed> {
    use openraft::errors::{ChangeMembershipError, ClientWriteError};
    match result {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(
            ClientWriteError::ForwardToLeader(forward) | ClientWriteError::LogEntryDiscarded(forward),
        )) => Err(forward.into()),
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)))) => {
            Err(Missed::Busy)
        }
        Err(RaftError::APIError(error)) => Err(Missed::Refused(error.to_string())),
        Err(RaftError::Fatal(_)) => Err(Missed::Unavailable),
    }
}

/// How often it is looked whether a learner has caught up.
const CATCH_UP_GLANCE: Duration = Duration::from_millis(20);

/// How long the end of a disk's metadata is waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Closes a disk's metadata away from the runtime's workers.
async fn close(db: Arc<DiskDb>) {
    let disk = db.disk();
    match tokio::time::timeout(CLOSE_TIMEOUT, tokio::task::spawn_blocking(move || db.close())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%disk, %error, "a disk's metadata did not close well"),
        Err(_) => tracing::error!(%disk, "a disk hangs, and its metadata is left behind"),
    }
}

/// What blocks in the start of a replica.
struct Preparation {
    db: Arc<DiskDb>,
    cluster: ClusterId,
    group: GroupId,
    replica: ReplicaId,
    origin: Origin,
    settings: Settings,
    stores: Arc<dyn Stores>,
}

type Prepared = (Log, StateMachine, Arc<dyn super::store::StateMachineStore>);

impl Preparation {
    fn run(self) -> Result<Prepared, StartError> {
        let Self { group, replica, .. } = self;
        let failed = |error: &dyn std::error::Error| StartError::Failed { group, replica, why: error.to_string() };
        let known = self.check_record()?;
        let log = Log::open(self.db.clone(), group, replica, &self.settings).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => StartError::Lost { group, replica, why: error.to_string() },
            _ => failed(&error),
        })?;
        let broken = |error: StoreError| match error {
            StoreError::Disk(why) => StartError::Failed { group, replica, why },
            StoreError::State(why) => StartError::Broken { group, replica, why },
        };
        let store = self.stores.open(self.db.database().clone(), group).map_err(broken)?;
        if self.origin == Origin::New {
            if !log.is_empty() {
                return Err(self.refused("it is not new: it has voted or has entries"));
            }
            // What a crash left of a start, or a retired replica's.
            store.wipe().map_err(broken)?;
        }
        if !known {
            self.write_record().map_err(|error| failed(&error))?;
        }
        let machine = StateMachine::open(self.db.clone(), store.clone()).map_err(broken)?;
        Ok((log, machine, store))
    }

    fn refused(&self, why: &str) -> StartError {
        StartError::Refused { group: self.group, replica: self.replica, why: why.to_owned() }
    }

    /// Whether the disk has a record of this replica. Refuses what does not fit it.
    fn check_record(&self) -> Result<bool, StartError> {
        let Self { group, replica, .. } = *self;
        let lost = |why: String| StartError::Lost { group, replica, why };
        self.db.check_cluster(self.cluster).map_err(|error| self.refused(&error.to_string()))?;
        let records =
            self.db.replicas().map_err(|error| StartError::Failed { group, replica, why: error.to_string() })?;
        let mut own = None;
        for record in records.into_iter().filter(|record| record.group == group) {
            if record.replica == replica {
                own = Some(record);
            } else if !record.retired {
                return Err(self.refused(&format!("replica {} of the group is on this disk", record.replica)));
            } else if record.replica > replica {
                return Err(self.refused(&format!("a later replica, {}, was on this disk", record.replica)));
            }
        }
        match (own, self.origin) {
            (Some(record), _) if record.retired => Err(self.refused("it was retired")),
            (Some(_), _) => Ok(true),
            (None, Origin::New) => Ok(false),
            (None, Origin::Existing) => Err(lost("the disk has no record of it".to_owned())),
        }
    }

    fn write_record(&self) -> io::Result<()> {
        let Self { cluster, group, replica, .. } = *self;
        let value = codec::encode_replica(&ReplicaRecord { cluster, group, replica, retired: false })?;
        let change = Change::PutState { key: keys::state(group, replica, keys::RECORD), value };
        futures::executor::block_on(self.db.writer().write(vec![change], true))
    }
}

#[cfg(test)]
#[path = "replicas_test.rs"]
mod tests;
