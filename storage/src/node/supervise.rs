//! One task for each data directory: looks after the disk in it, takes it out of use when it fails or goes, and opens
//! it again when it comes back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::disk::{LocalDisk, Trouble};
use super::inner::{Inner, View};
use crate::ballast;
use crate::cluster::directory;
use crate::raft::{Origin, StartError};
use crate::repair::{self, World};
use crate::types::{GroupId, ReplicaId};

/// How often a disk is looked at. More often than its stores look at their directories: that a disk went away must be
/// seen here before they fail because of it, or it cannot come back.
const LOOK: Duration = Duration::from_millis(250);
/// A disk that does not answer a look within this is passed over until it does, and groups are led from others.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// One that does not answer within so much more is given up: it is opened anew when it answers again.
const HANGS_AFTER: Duration = Duration::from_secs(4);
/// How long the closing of a disk that is gone is waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an absent disk is looked for, at first and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Looks after the directory for as long as it is polled. `disk` is what is open there at first.
pub async fn supervise(view: Arc<View>, path: PathBuf, mut disk: Option<Arc<LocalDisk>>) {
    loop {
        let open = match disk.take() {
            Some(disk) => disk,
            None => wait_for_return(&view.inner, &path).await,
        };
        start_loops(&view, &open);
        let trouble = watch(&view.inner, &open).await;
        if take_down(&view.inner, open, trouble).await == Fate::Final {
            return;
        }
    }
}

fn start_loops(view: &Arc<View>, disk: &Arc<LocalDisk>) {
    let world: Arc<dyn World> = view.clone();
    let walk = repair::walk_disk(world, disk.id(), disk.store.clone());
    let stop = disk.stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled(walk).await });
    let scrub = repair::scrub_disk(view.clone(), disk.id(), disk.store.clone(), disk.scrub.clone());
    let stop = disk.stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled(scrub).await });
}

/// Returns when the disk must not be used any more.
async fn watch(inner: &Inner, disk: &Arc<LocalDisk>) -> Trouble {
    let mut failure = disk.db.failure();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            failed = failure.wait_for(Option::is_some) => if failed.is_err() {
                return Trouble::Failed("the metadata is closed".to_owned());
            }
        }
        let looked_at = disk.clone();
        let mut look = tokio::task::spawn_blocking(move || looked_at.check());
        let found = match tokio::time::timeout(LOOK_TIMEOUT, &mut look).await {
            Ok(found) => found,
            Err(_) => {
                tracing::warn!(disk = %disk.id(), path = %disk.path().display(), "a disk does not answer");
                disk.mark_down();
                inner.greet.notify_one();
                inner.replicas.leave_disk(disk.id()).await;
                let Ok(found) = tokio::time::timeout(HANGS_AFTER, &mut look).await else {
                    let within = (LOOK_TIMEOUT + HANGS_AFTER).as_secs();
                    return Trouble::Hangs(format!("it did not answer within {within} seconds"));
                };
                disk.mark_up();
                found
            }
        };
        match found {
            Ok(Ok(())) => {}
            Ok(Err(trouble)) => return trouble,
            Err(error) => return Trouble::Failed(error.to_string()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It may come back.
    Waits,
    /// Not in this process.
    Final,
}

async fn take_down(inner: &Inner, disk: Arc<LocalDisk>, trouble: Trouble) -> Fate {
    let (id, path) = (disk.id(), disk.path().to_owned());
    let (why, fate) = match trouble {
        Trouble::Gone(why) | Trouble::Hangs(why) | Trouble::Full(why) => (why, Fate::Waits),
        Trouble::Failed(why) => (why, Fate::Final),
    };
    tracing::error!(disk = %id, path = %path.display(), %why, "a disk is lost; the others go on");
    metrics::counter!("cairn_disk_failures_total").increment(1);
    if fate == Fate::Final {
        disk.db.fail(&why);
    }
    inner.remove_disk(&disk, why);
    let replicas = inner.replicas.clone();
    // A disk that hangs hangs here too; its tasks are left behind then.
    let closing = tokio::spawn(async move {
        replicas.remove_disk(id).await;
        disk.close().await;
    });
    if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
        tracing::warn!(disk = %id, "a lost disk does not close");
    }
    fate
}

async fn wait_for_return(inner: &Arc<Inner>, path: &Path) -> Arc<LocalDisk> {
    let mut pause = FIRST_RETRY;
    loop {
        tokio::time::sleep(pause).await;
        match reopen(inner, path).await {
            Ok(disk) => {
                tracing::info!(disk = %disk.id(), path = %path.display(), "a disk is back");
                inner.add_disk(disk.clone());
                return disk;
            }
            Err(Absent::NotThere(why)) => {
                inner.set_absent(path.to_owned(), why);
                pause = FIRST_RETRY;
            }
            Err(Absent::Unusable(why)) => {
                tracing::warn!(path = %path.display(), %why, "a disk cannot be opened");
                inner.set_absent(path.to_owned(), why);
                pause = LAST_RETRY.min(pause * 2);
            }
        }
    }
}

enum Absent {
    /// The look at it was cheap.
    NotThere(String),
    /// It is there, and opening it failed.
    Unusable(String),
}

async fn reopen(inner: &Arc<Inner>, path: &Path) -> Result<Arc<LocalDisk>, Absent> {
    let (shared, path) = (inner.clone(), path.to_owned());
    let open = move || {
        let taken: Vec<_> = shared.local_disks().iter().map(|disk| disk.id()).collect();
        has_room(&path, shared.options.reserve_bytes)?;
        let directory = directory::rejoin(&path, shared.cluster, shared.node, &taken).map_err(Absent::NotThere)?;
        LocalDisk::open(directory, &shared.options, &shared.memory).map_err(Absent::Unusable)
    };
    let opened = tokio::task::spawn_blocking(open).await;
    let disk = opened.unwrap_or_else(|error| Err(Absent::Unusable(error.to_string())))?;
    let started = match inner.introduce(&disk) {
        Ok(()) => start_replicas(inner, &disk, false).await,
        Err(why) => Err(why),
    };
    if let Err(why) = started {
        inner.replicas.remove_disk(disk.id()).await;
        disk.close().await;
        return Err(Absent::Unusable(why));
    }
    Ok(disk)
}

/// A disk that is full would fail again at its first write.
fn has_room(path: &Path, reserve: u64) -> Result<(), Absent> {
    match ballast::release_if_short(path, reserve) {
        Ok(free) if free < reserve / 4 => Err(Absent::NotThere(format!("it is full: {free} bytes are free"))),
        // Whether it is there is asked next.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Starts the replicas that live on the disk. One that has lost its memory is left out: the group goes on without it,
/// and the disk still has its chunks. Only while the cluster is being formed a replica may be made.
///
/// # Errors
/// The disk cannot be used.
pub async fn start_replicas(inner: &Inner, disk: &Arc<LocalDisk>, forming: bool) -> Result<(), String> {
    let db = disk.db.clone();
    let records = tokio::task::spawn_blocking(move || db.replicas())
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let mut replicas: Vec<(GroupId, ReplicaId)> = disk.identity().replicas().collect();
    replicas.extend(records.iter().map(|record| (record.group, record.replica)));
    replicas.retain(|(group, replica)| {
        !records.iter().any(|record| record.retired && (record.group, record.replica) == (*group, *replica))
    });
    if inner.is_removed(disk.id()) {
        // What it knows was gone on from without it.
        replicas.clear();
    }
    replicas.sort_unstable();
    replicas.dedup();
    for (group, replica) in replicas {
        let has_begun = records.iter().any(|record| (record.group, record.replica) == (group, replica));
        let origin = if forming && !has_begun { Origin::New } else { Origin::Existing };
        match inner.replicas.start_replica(disk.db.clone(), group, replica, origin).await {
            Ok(()) => {}
            Err(StartError::Failed { why, .. }) => return Err(why),
            Err(error) => {
                tracing::error!(disk = %disk.id(), %error, "a replica is not started");
                metrics::counter!("cairn_replicas_refused_total").increment(1);
            }
        }
    }
    Ok(())
}
