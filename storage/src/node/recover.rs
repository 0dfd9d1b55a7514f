//! `cairn recover`: of a node of two disks one is lost for good, and the other is to go on alone.
//!
//! Safe, because with two disks every write was acknowledged by both. With three or more nothing of the kind is done:
//! two of three go on by themselves, and one of three may lack what was acknowledged.

use std::path::PathBuf;
use std::sync::Arc;

use super::disk::{LocalDisk, Memory};
use super::options::NodeOptions;
use super::{blocking, store};
use crate::cluster::{Claim, Founding, Identity, StartError, claim};
use crate::raft::make_only_voter;
use crate::types::DiskId;

/// What a recovery did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The disk that goes on.
    pub disk: DiskId,
    /// The disk that is left out from now on. Its directory is refused if it comes back.
    pub lost: DiskId,
}

/// Makes the one directory that is left of two go on alone. The next [`super::Node::start`] with it alone has one copy
/// and one voter. Doing it again is fine. The directories may be given both, or only the one that is left.
///
/// # Errors
/// [`StartError::Recovery`] where it is not needed, or not safe; nothing is changed then. See [`StartError`] for others.
pub async fn recover(directories: Vec<PathBuf>) -> Result<Recovered, StartError> {
    let refuse = |text: &str| Err(StartError::Recovery(text.to_owned()));
    let Claim { mut present, forming, .. } =
        blocking(move || claim(&directories, Founding::Cluster { groups: 1 })).await??;
    if forming {
        return refuse("the directories are new");
    }
    let directory = match (present.pop(), present.is_empty()) {
        (Some(directory), true) => directory,
        _ => return refuse("more than one directory is there; start the node with them"),
    };
    let identity = directory.identity.clone();
    let siblings: Vec<DiskId> = identity.siblings.iter().map(|sibling| sibling.disk).collect();
    let lost = match siblings.as_slice() {
        [one, other] if *one == identity.disk => *other,
        [one, _] => *one,
        [_] => return refuse("the disk is the only one of its node already"),
        _ => return refuse("this is for nodes of two disks; of three or more, a majority must come back"),
    };
    let options = NodeOptions { directories: vec![directory.path.clone()], ..NodeOptions::default() };
    let memory = Memory::new(&options);
    let opened = blocking(move || LocalDisk::open(directory, &options, &memory)).await?;
    let disk = opened.map_err(StartError::NoDisk)?;
    let result = go_alone(&disk, &identity, lost).await;
    disk.close().await;
    let db = disk.db.clone();
    blocking(move || db.close()).await?;
    result
}

async fn go_alone(disk: &Arc<LocalDisk>, identity: &Identity, lost: DiskId) -> Result<Recovered, StartError> {
    for (group, replica) in identity.replicas() {
        make_only_voter(disk.db.clone(), &store::open, group, replica)
            .await
            .map_err(|error| StartError::Recovery(error.to_string()))?;
    }
    // Only when every group can go on: until then it is done again.
    let mut alone = identity.clone();
    alone.siblings.retain(|sibling| sibling.disk != lost);
    alone.founders.retain(|founder| founder.disk != lost);
    let path = disk.path().to_owned();
    blocking(move || alone.write(&path).map_err(|error| StartError::io(path, &error))).await??;
    tracing::warn!(disk = %disk.id(), %lost, "the disk goes on alone");
    Ok(Recovered { disk: disk.id(), lost })
}
