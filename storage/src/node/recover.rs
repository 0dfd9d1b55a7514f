//! `cairn recover`: metadata groups lost a majority of their voters for good, and the voters that are left here go on
//! alone. A person says that the others will not come back as they were; what can be seen of that is checked: whoever
//! answers is not lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::disk::{LocalDisk, Memory};
use super::options::NodeOptions;
use super::{blocking, store};
use crate::client::remote::plain;
use crate::cluster::identity::{Found, inspect};
use crate::cluster::peers::Kept;
pub use crate::cluster::recovery::Alone;
use crate::cluster::recovery::Recovery;
use crate::cluster::{Claim, Founding, Sibling, StartError, claim};
use crate::raft::{Knowledge, knowledge, make_only_voter};
use crate::types::{ClusterMap, DiskId, DiskState, GroupId, NodeEntry, NodeId, ROOT_GROUP, ReplicaId};

/// How long a node that is asked whether it is there may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// What a recovery will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The groups that go on with one voter.
    pub alone: Vec<Alone>,
    /// The disks of this node whose directories were not given: they are left out for good.
    pub left_out: Vec<Sibling>,
    /// The nodes that are lost, and are let go with all their disks.
    pub lost_nodes: Vec<NodeEntry>,
}

/// A recovery that is planned; the directories are locked until it is done or dropped.
pub struct Recovering {
    plan: Plan,
    /// What one decided that was cut off, or that the map has not been told of yet.
    begun: Recovery,
    /// The cluster map as the node knew it last.
    kept: Option<ClusterMap>,
    disks: Vec<Arc<LocalDisk>>,
}

/// One local replica, and what it knows.
struct Local {
    replica: ReplicaId,
    disk: Arc<LocalDisk>,
    knowledge: Knowledge,
}

impl Recovering {
    /// Looks at the directories that are left of a node that does not run, and plans.
    ///
    /// # Errors
    /// [`StartError::Recovery`] where it is not needed, or others that are not lost know more. See [`StartError`] for
    /// others. No data was changed.
    pub async fn plan(directories: Vec<PathBuf>) -> Result<Self, StartError> {
        for path in &directories {
            if !matches!(inspect(path)?, Found::Disk(identity) if identity.formed) {
                return Err(refusal(format!("{} is no disk of a cluster", path.display())));
            }
        }
        let kept = Kept::load(&directories).map(|kept| kept.map);
        let begun = Recovery::load(&directories).unwrap_or_default();
        let claimed = directories.clone();
        let Claim { present, absent, .. } =
            blocking(move || claim(&claimed, Founding::Cluster { groups: 1 })).await??;
        if let Some(absent) = absent.first() {
            return Err(refusal(format!("{}: {}", absent.path.display(), absent.reason)));
        }
        let options = NodeOptions { directories, ..NodeOptions::default() };
        let memory = Memory::new(&options);
        let disks = blocking(move || {
            present.into_iter().map(|directory| LocalDisk::open(directory, &options, &memory)).collect::<Result<_, _>>()
        });
        let disks = disks.await?.map_err(StartError::NoDisk)?;
        let mut recovering = Self { plan: Plan::default(), begun, kept, disks };
        match recovering.look().await {
            Ok(plan) => {
                recovering.plan = plan;
                Ok(recovering)
            }
            Err(error) => {
                recovering.close().await;
                Err(error)
            }
        }
    }

    /// What it will do.
    pub fn what(&self) -> &Plan {
        &self.plan
    }

    /// Does it. The next start of the node with the same directories tells the cluster map. Planned and done again, it
    /// goes on where it was cut off.
    ///
    /// # Errors
    /// A disk cannot be read or written.
    pub async fn go(self) -> Result<(), StartError> {
        let result = self.write().await;
        self.close().await;
        result
    }

    /// Ends without having changed anything.
    pub async fn close(self) {
        for disk in self.disks {
            disk.close().await;
            let db = disk.db.clone();
            if let Err(error) = blocking(move || db.close()).await {
                tracing::warn!(disk = %disk.id(), %error, "the metadata did not close well");
            }
        }
    }

    async fn look(&self) -> Result<Plan, StartError> {
        let Some(identity) = self.disks.first().map(|disk| disk.identity().clone()) else { return Ok(Plan::default()) };
        let map = self.kept.as_ref().filter(|map| map.cluster == identity.cluster);
        let answering = match map {
            Some(map) => answering(map, identity.node).await?,
            None => BTreeSet::new(),
        };
        let node_of = |disk: DiskId| map.and_then(|map| map.disk(disk)).map(|disk| disk.node);
        let is_here = |disk: DiskId| self.disks.iter().any(|here| here.id() == disk);
        let answers = |disk: DiskId| node_of(disk).is_some_and(|node| answering.contains(&node));

        let mut plan = Plan::default();
        let mut lost: BTreeSet<NodeId> = self.begun.lost.iter().filter_map(|disk| node_of(*disk)).collect();
        for (group, locals) in self.replicas().await? {
            let Some(best) = locals.iter().max_by_key(|local| local.knowledge.last) else { continue };
            let voters = &best.knowledge.voters;
            let candidates = locals.iter().filter(|local| voters.contains_key(&local.replica));
            let Some(survivor) = candidates.max_by_key(|local| local.knowledge.last) else { continue };
            if voters.len() == 1 {
                // Either it always was alone, or a recovery was cut off before the map was told.
                plan.alone.extend(self.begun.alone.iter().filter(|alone| alone.group == group));
                continue;
            }
            let here = voters.values().filter(|disk| is_here(**disk)).count();
            let there = voters.values().filter(|disk| !is_here(**disk) && answers(**disk)).count();
            if here + there > voters.len() / 2 {
                continue;
            }
            if there > 0 {
                return Err(refusal(format!("a voter of group {group} on another node answers, and may know more")));
            }
            let is_known = |disk: DiskId| {
                is_here(disk) || node_of(disk).is_some() || identity.siblings.iter().any(|own| own.disk == disk)
            };
            if let Some(disk) = voters.values().find(|disk| !is_known(**disk)) {
                let why = "no map that is kept here has it, so its node cannot be asked whether it is lost";
                return Err(refusal(format!("disk {disk} has a voter of group {group}, and {why}")));
            }
            lost.extend(voters.values().filter(|disk| !is_here(**disk)).filter_map(|disk| node_of(*disk)));
            let voters = u32::try_from(voters.len()).unwrap_or(u32::MAX);
            plan.alone.push(Alone { group, replica: survivor.replica, disk: survivor.disk.id(), voters });
        }
        if plan.alone.is_empty() {
            return Err(refusal("no group here has lost a majority of its voters; start the node".to_owned()));
        }
        plan.left_out = identity.siblings.iter().filter(|sibling| !is_here(sibling.disk)).cloned().collect();
        for Sibling { path, disk, .. } in &plan.left_out {
            if matches!(inspect(path), Ok(Found::Disk(identity)) if identity.disk == *disk) {
                return Err(refusal(format!("{} is a disk of this node, too; name it", path.display())));
            }
        }
        let nodes = map.iter().flat_map(|map| &map.nodes);
        plan.lost_nodes = nodes.filter(|node| node.id != identity.node && lost.contains(&node.id)).cloned().collect();
        Ok(plan)
    }

    /// The replicas here, by group.
    async fn replicas(&self) -> Result<BTreeMap<GroupId, Vec<Local>>, StartError> {
        let mut by_group: BTreeMap<GroupId, Vec<Local>> = BTreeMap::new();
        for disk in &self.disks {
            let db = disk.db.clone();
            let records =
                blocking(move || db.replicas()).await?.map_err(|error| StartError::io(disk.path(), &error))?;
            for record in records.into_iter().filter(|record| !record.retired) {
                let (group, replica) = (record.group, record.replica);
                let knowledge = knowledge(disk.db.clone(), &store::open, group, replica)
                    .await
                    .map_err(|error| refusal(error.to_string()))?;
                by_group.entry(group).or_default().push(Local { replica, disk: disk.clone(), knowledge });
            }
        }
        Ok(by_group)
    }

    async fn write(&self) -> Result<(), StartError> {
        let left_out: Vec<DiskId> = self.plan.left_out.iter().map(|sibling| sibling.disk).collect();
        let is_lost = |node: NodeId| self.plan.lost_nodes.iter().any(|lost| lost.id == node);
        let disks = self.kept.iter().flat_map(|map| &map.disks).filter(|disk| disk.state != DiskState::Removed);
        let of_lost = disks.filter(|disk| is_lost(disk.node)).map(|disk| disk.id);
        let lost: BTreeSet<DiskId> =
            of_lost.chain(left_out.iter().copied()).chain(self.begun.lost.iter().copied()).collect();
        let root = self.plan.alone.iter().any(|alone| alone.group == ROOT_GROUP);
        // One that was cut off is the same one.
        let generation = self.begun.generation.or_else(|| root.then(rand::random));
        let recovery = Recovery { alone: self.plan.alone.clone(), lost: lost.into_iter().collect(), generation };
        if let Some(path) = self.disks.first().map(|disk| disk.path().to_owned()) {
            // In one directory only: in one that is away for long it would come too late.
            blocking(move || recovery.save(&path).map_err(|error| StartError::io(path, &error))).await??;
        }
        for alone in &self.plan.alone {
            let Some(disk) = self.disks.iter().find(|disk| disk.id() == alone.disk) else { continue };
            make_only_voter(disk.db.clone(), alone.group, alone.replica)
                .await
                .map_err(|error| refusal(error.to_string()))?;
        }
        for disk in &self.disks {
            let (path, mut identity) = (disk.path().to_owned(), disk.identity().clone());
            identity.siblings.retain(|sibling| !left_out.contains(&sibling.disk));
            identity.founders.retain(|founder| !left_out.contains(&founder.disk));
            blocking(move || identity.write(&path).map_err(|error| StartError::io(path, &error))).await??;
        }
        Ok(())
    }
}

fn refusal(why: String) -> StartError {
    StartError::Recovery(why)
}

/// The nodes but this one at whose address somebody answers, whatever it is.
async fn answering(map: &ClusterMap, own: NodeId) -> Result<BTreeSet<NodeId>, StartError> {
    let http = plain().build().map_err(|error| refusal(error.to_string()))?;
    let asked = map.nodes.iter().filter(|node| node.id != own).map(|node| {
        let request = http.get(format!("http://{}/", node.address)).timeout(ANSWER_WITHIN).send();
        async { request.await.is_ok().then_some(node.id) }
    });
    Ok(join_all(asked).await.into_iter().flatten().collect())
}
