//! The data directories of one node: which are there, which are lost, and that nobody else has them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::StartError;
use super::ballot::Ballot;
use super::identity::{self, Found, Founder, Identity, Sibling};
use super::peers::{Kept, OLD_COPY};
use crate::types::{ClusterId, DiskId, GroupId, Life, NodeId, ROOT_GROUP, ReplicaId};
use crate::{ballast, durable};

/// The file whose lock says that a process has the directory.
pub const LOCK_FILE: &str = "lock";
/// No group starts with more voters.
const MAX_VOTERS: usize = 3;

/// A directory that is this process's until it is dropped.
#[derive(Debug)]
pub struct Directory {
    pub path: PathBuf,
    pub identity: Identity,
    /// Held, not read: the lock goes with it.
    _lock: File,
}

/// A directory that was given and cannot be used.
#[derive(Debug)]
pub struct Absent {
    pub path: PathBuf,
    pub reason: String,
}

/// The directories of a node, locked.
#[derive(Debug)]
pub struct Claim {
    pub present: Vec<Directory>,
    pub absent: Vec<Absent>,
    /// The cluster is to be formed, or its formation to be ended: all directories are present.
    pub forming: bool,
}

/// What becomes of directories that are all new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Founding {
    /// A cluster with so many metadata groups beside the root group, each with a voter on up to three of the disks.
    Cluster { groups: u32 },
    /// Another node of this cluster.
    Node(ClusterId),
}

/// Whether any of the directories is a disk of a cluster, and of which: one that this node began to form counts, for
/// nobody else forms it. Nothing is written.
///
/// # Errors
/// See [`StartError`]: what must not be touched.
pub fn survey(paths: &[PathBuf]) -> Result<Option<ClusterId>, StartError> {
    let seen = Seen::look(paths)?;
    Ok(seen.disks().next().map(|identity| identity.cluster))
}

/// Looks at all directories, refuses what must not be touched, locks the others and gives identities to the new ones:
/// those of a first start, one that is given in addition, and an empty one in the place of a disk that was lost. Blocks
/// on the file system.
///
/// # Errors
/// See [`StartError`]. Nothing but the lock files was written where it is a refusal.
pub fn claim(paths: &[PathBuf], founding: Founding) -> Result<Claim, StartError> {
    if paths.is_empty() {
        return Err(StartError::NoDirectory);
    }
    refuse_same_path(paths)?;
    // Once without a trace, so that what is refused stays untouched, and once more under the locks.
    let seen = Seen::look(paths)?;
    if seen.is_formed() { open(paths, &seen) } else { form(paths, &seen, founding) }
}

fn refuse_same_path(paths: &[PathBuf]) -> Result<(), StartError> {
    let mut real: Vec<PathBuf> = Vec::new();
    for path in paths {
        let resolved = resolved(path);
        if real.contains(&resolved) {
            return Err(StartError::GivenTwice(path.clone()));
        }
        real.push(resolved);
    }
    Ok(())
}

/// The path without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// Whether a file system is mounted at the path: it is on another device than the directory above.
fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.dev());
    let path = resolved(path);
    path.parent().is_some_and(|parent| device(&path).is_some() && device(&path) != device(parent))
}

fn sibling(disk: DiskId, path: &Path) -> Sibling {
    Sibling { disk, path: resolved(path), mounted: is_mounted(path) }
}

/// What was found at each path; all identities are of one cluster, and no disk is there twice.
struct Seen(Vec<Found>);

impl Seen {
    fn look(paths: &[PathBuf]) -> Result<Self, StartError> {
        let found = paths.iter().map(|path| identity::inspect(path)).collect::<Result<Vec<_>, _>>()?;
        let seen = Self(found);
        let mut known: Vec<(&Path, &Identity)> = Vec::new();
        for (path, identity) in seen.identities(paths) {
            if let Some((other, first)) = known.first()
                && first.cluster != identity.cluster
            {
                let (path, other) = (path.to_owned(), other.to_path_buf());
                let (found, expected) = (identity.cluster, first.cluster);
                return Err(StartError::OtherCluster { path, found, other, expected });
            }
            if let Some((other, _)) = known.iter().find(|(_, other)| other.disk == identity.disk) {
                let (path, other) = (path.to_owned(), other.to_path_buf());
                return Err(StartError::SameDisk { path, other, disk: identity.disk });
            }
            known.push((path, identity));
        }
        if let Some(newest) = seen.newest() {
            // A disk that comes from another node is welcome; one of this node that the others know nothing of was
            // left out by them.
            let left_out = |identity: &Identity| identity.node == newest.node && !newest.has_sibling(identity.disk);
            if let Some((path, _)) = known.iter().find(|(_, identity)| left_out(identity)) {
                return Err(StartError::LeftOut(path.to_path_buf()));
            }
        }
        Ok(seen)
    }

    /// The identity that knows the node best: of the node that most of the disks belong to, the one written last.
    fn newest(&self) -> Option<&Identity> {
        let of_node = |node: NodeId| self.disks().filter(|identity| identity.node == node).count();
        self.disks().max_by_key(|identity| (of_node(identity.node), identity.node, identity.life().incarnation))
    }

    fn identities<'a>(&'a self, paths: &'a [PathBuf]) -> impl Iterator<Item = (&'a Path, &'a Identity)> {
        paths.iter().zip(&self.0).filter_map(|(path, found)| match found {
            Found::Disk(identity) => Some((path.as_path(), &**identity)),
            _ => None,
        })
    }

    fn disks(&self) -> impl Iterator<Item = &Identity> {
        self.0.iter().filter_map(|found| match found {
            Found::Disk(identity) => Some(&**identity),
            _ => None,
        })
    }

    fn is_formed(&self) -> bool {
        self.disks().any(|identity| identity.formed)
    }
}

/// What a start makes of a path.
enum Plan {
    Absent(String),
    Open,
    /// A new disk.
    Make(DiskId),
}

/// A start of a cluster that is there: with the disks that can be opened, and with new ones.
fn open(paths: &[PathBuf], seen: &Seen) -> Result<Claim, StartError> {
    let Some(newest) = seen.newest().cloned() else { return Err(StartError::NoDirectory) };
    let mut siblings = newest.siblings.clone();
    let remembered = Kept::load(paths).map(|kept| kept.places).unwrap_or_default();
    let is_old = |identity: &Identity| {
        remembered.iter().any(|place| place.disk == identity.disk && !place.life.was_lived(&identity.lives))
    };
    let mut plans = Vec::with_capacity(paths.len());
    for (path, found) in paths.iter().zip(&seen.0) {
        let plan = match found {
            Found::Disk(identity) => match &identity.superseded {
                Some(why) => Plan::Absent(why.clone()),
                None if is_old(identity) => Plan::Absent(OLD_COPY.to_owned()),
                None => Plan::Open,
            },
            Found::Unreadable(reason) => Plan::Absent(reason.clone()),
            Found::Missing | Found::Empty => {
                let empty = matches!(found, Found::Empty);
                let here = siblings.iter().position(|sibling| {
                    sibling.path == resolved(path) && seen.disks().all(|identity| identity.disk != sibling.disk)
                });
                match here {
                    Some(_) if !empty => Plan::Absent("it does not exist".to_owned()),
                    Some(at) if siblings[at].mounted && !is_mounted(path) => {
                        Plan::Absent("the file system that was mounted there is not".to_owned())
                    }
                    Some(at) => {
                        let lost = siblings.remove(at);
                        tracing::warn!(path = %path.display(), lost = %lost.disk, "an empty disk replaces one");
                        Plan::Make(DiskId::random())
                    }
                    None => Plan::Make(DiskId::random()),
                }
            }
        };
        plans.push(plan);
    }

    // The list of the node's disks as it is from now on.
    for ((path, found), plan) in paths.iter().zip(&seen.0).zip(&plans) {
        let disk = match (found, plan) {
            (Found::Disk(identity), _) => identity.disk,
            (_, Plan::Make(disk)) => *disk,
            _ => continue,
        };
        siblings.retain(|sibling| sibling.disk != disk);
        siblings.push(sibling(disk, path));
    }
    let incarnation = seen.disks().map(|identity| identity.life().incarnation).max().unwrap_or(0).saturating_add(1);
    let identity = Identity { lives: Vec::new(), superseded: None, formed: true, siblings, ..newest };

    let mut claim = Claim { present: Vec::new(), absent: Vec::new(), forming: false };
    for ((path, found), plan) in paths.iter().zip(&seen.0).zip(plans) {
        let opened = match (plan, found) {
            (Plan::Absent(reason), _) => Err(reason),
            (Plan::Make(disk), _) => {
                let lives = Life::begin(&[], incarnation);
                make_disk(path, &Identity { disk, lives, ..identity.clone() })
            }
            (Plan::Open, Found::Disk(before)) => {
                let lives = Life::begin(&before.lives, incarnation);
                let (disk, founders) = (before.disk, before.founders.clone());
                let now = Identity { disk, founders, lives, ..identity.clone() };
                open_disk(path, before, now)?
            }
            (Plan::Open, _) => Err("it changed under our eyes".to_owned()),
        };
        match opened {
            Ok(directory) => claim.present.push(directory),
            Err(reason) => claim.absent.push(Absent { path: path.clone(), reason }),
        }
    }
    if claim.present.is_empty() {
        let reasons: Vec<_> = claim.absent.iter().map(|absent| absent.reason.as_str()).collect();
        return Err(StartError::NoDisk(reasons.join("; ")));
    }
    Ok(claim)
}

/// Gives an identity to an empty directory.
fn make_disk(path: &Path, identity: &Identity) -> Result<Directory, String> {
    let made = durable::create_dir(path).map_err(|error| StartError::io(path, &error)).and_then(|()| {
        let lock = lock(path)?;
        match identity::inspect(path)? {
            Found::Empty => {}
            _ => return Err(StartError::Locked(path.to_owned())),
        }
        identity.write(path).map_err(|error| StartError::io(path, &error))?;
        Ok(Directory { path: path.to_owned(), identity: identity.clone(), _lock: lock })
    });
    made.map_err(|error| error.to_string())
}

/// Takes a directory that was absent when the node started, or went away since, if the disk in it is one of the
/// node's. `taken` are the disks that are in use. Blocks on the file system.
///
/// # Errors
/// Why not, for a person; nothing was touched, unless the incarnation could not be written.
pub fn rejoin(path: &Path, cluster: ClusterId, node: NodeId, taken: &[DiskId]) -> Result<Directory, String> {
    let identity = match identity::inspect(path).map_err(|error| error.to_string())? {
        Found::Disk(identity) => identity,
        Found::Missing => return Err("it does not exist".to_owned()),
        Found::Empty => return Err("it is empty; is it mounted?".to_owned()),
        Found::Unreadable(reason) => return Err(reason),
    };
    if identity.cluster != cluster || identity.node != node {
        return Err("it belongs to another cluster or node".to_owned());
    }
    if let Some(why) = &identity.superseded {
        return Err(why.clone());
    }
    if taken.contains(&identity.disk) {
        return Err(format!("disk {} is in use already", identity.disk));
    }
    let lives = Life::begin(&identity.lives, 0);
    let now = Identity { lives, formed: true, ..(*identity).clone() };
    open_disk(path, &identity, now).map_err(|error| error.to_string())?
}

/// What a new identity may take, in bytes, with all that a file system needs around it.
const ROOM_FOR_IDENTITY: u64 = 1 << 20;

/// The inner error makes the disk absent, the outer one refuses the start.
fn open_disk(path: &Path, seen: &Identity, now: Identity) -> Result<Result<Directory, String>, StartError> {
    let lock = match lock(path) {
        Ok(lock) => lock,
        Err(StartError::Directory { message, .. }) => return Ok(Err(message)),
        Err(refused) => return Err(refused),
    };
    match identity::inspect(path)? {
        Found::Disk(identity) if *identity == *seen => {}
        _ => return Err(StartError::Locked(path.to_owned())),
    }
    // Where that cannot be told, the write itself says what is wrong.
    let _ = ballast::release_if_short(path, 2 * ROOM_FOR_IDENTITY);
    Ok(match now.write(path) {
        Ok(()) => Ok(Directory { path: path.to_owned(), identity: now, _lock: lock }),
        Err(error) => Err(error.to_string()),
    })
}

/// A first start, or one that goes on with a first start that was cut off.
fn form(paths: &[PathBuf], seen: &Seen, founding: Founding) -> Result<Claim, StartError> {
    for (path, found) in paths.iter().zip(&seen.0) {
        if let Found::Unreadable(reason) = found {
            return Err(StartError::Directory { path: path.clone(), message: reason.clone() });
        }
    }
    let begun = seen.disks().next();
    if let Some(begun) = begun.filter(|begun| begun.siblings.len() != paths.len()) {
        return Err(StartError::FormationCutOff { expected: begun.siblings.len(), given: paths.len() });
    }
    let mut locks = Vec::with_capacity(paths.len());
    for path in paths {
        durable::create_dir(path).map_err(|error| StartError::io(path, &error))?;
        locks.push(lock(path)?);
    }
    let template = begun.cloned().unwrap_or_else(|| found(paths, founding));
    let unused = template.siblings.iter().map(|sibling| sibling.disk);
    let unused: Vec<DiskId> = unused.filter(|id| seen.disks().all(|disk| disk.disk != *id)).collect();
    let mut unused = unused.into_iter();
    let mut present = Vec::with_capacity(paths.len());
    for ((path, found), lock) in paths.iter().zip(&seen.0).zip(locks) {
        let identity = match (identity::inspect(path)?, found) {
            (Found::Disk(identity), Found::Disk(before)) if identity == *before => *identity,
            (Found::Empty, Found::Empty | Found::Missing) => {
                let Some(disk) = unused.next() else { return Err(StartError::Locked(path.clone())) };
                let identity = Identity { disk, ..template.clone() };
                identity.write(path).map_err(|error| StartError::io(path, &error))?;
                identity
            }
            // Somebody else was faster.
            _ => return Err(StartError::Locked(path.clone())),
        };
        present.push(Directory { path: path.clone(), identity, _lock: lock });
    }
    // It has a cluster now, and waits no more.
    for path in paths {
        Ballot::forget(path).map_err(|error| StartError::io(path, &error))?;
    }
    // Where it is another node of a cluster nothing is left to be done: the cluster hears of it when it runs.
    Ok(Claim { forming: present.iter().any(|directory| !directory.identity.formed), present, absent: Vec::new() })
}

/// A new node: its ids and, where it founds a cluster, who votes where.
fn found(paths: &[PathBuf], founding: Founding) -> Identity {
    let siblings: Vec<Sibling> = paths.iter().map(|path| sibling(DiskId::random(), path)).collect();
    let voters = |groups: u32| {
        (ROOT_GROUP.0..=groups)
            .flat_map(|group| siblings.iter().take(MAX_VOTERS).map(move |sibling| (GroupId(group), sibling.disk)))
            .zip(1..)
            .map(|((group, disk), replica)| Founder { group, replica: ReplicaId(replica), disk })
            .collect()
    };
    let (cluster, formed, founders) = match founding {
        Founding::Cluster { groups } => (ClusterId::random(), false, voters(groups)),
        Founding::Node(cluster) => (cluster, true, Vec::new()),
    };
    Identity {
        cluster,
        disk: siblings.first().map(|sibling| sibling.disk).unwrap_or_default(),
        // Short enough for a number of JSON, long enough to be unique without asking.
        node: NodeId(rand::random::<u64>() >> 12),
        lives: Life::begin(&[], 1),
        superseded: None,
        formed,
        siblings,
        founders,
    }
}

fn lock(directory: &Path) -> Result<File, StartError> {
    let path = directory.join(LOCK_FILE);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| StartError::io(&path, &error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::Locked(directory.to_owned())),
        Err(error) => Err(StartError::io(&path, &error.into())),
    }
}
