//! The data directories of one node: which are there, which are lost, and that nobody else has them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::StartError;
use super::identity::{self, Found, Founder, Identity};
use crate::durable;
use crate::types::{ClusterId, DiskId, GroupId, NodeId, ROOT_GROUP, ReplicaId};

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

/// Looks at all directories, refuses what must not be touched, locks the others and gives identities to those of a
/// first start: `groups` metadata groups beside the root group, each with a voter on up to three disks. Blocks on the
/// file system.
///
/// # Errors
/// See [`StartError`]. Nothing but the lock files was written where it is a refusal.
pub fn claim(paths: &[PathBuf], groups: u32) -> Result<Claim, StartError> {
    if paths.is_empty() {
        return Err(StartError::NoDirectory);
    }
    refuse_same_path(paths)?;
    // Once without a trace, so that what is refused stays untouched, and once more under the locks.
    let seen = Seen::look(paths)?;
    if seen.is_formed() { open(paths, &seen) } else { form(paths, &seen, groups) }
}

fn refuse_same_path(paths: &[PathBuf]) -> Result<(), StartError> {
    let mut real: Vec<PathBuf> = Vec::new();
    for path in paths {
        let resolved = path.canonicalize().unwrap_or_else(|_| path.clone());
        if real.contains(&resolved) {
            return Err(StartError::GivenTwice(path.clone()));
        }
        real.push(resolved);
    }
    Ok(())
}

/// What was found at each path; all identities are of one node, and no disk is there twice.
struct Seen(Vec<Found>);

impl Seen {
    fn look(paths: &[PathBuf]) -> Result<Self, StartError> {
        let found = paths.iter().map(|path| identity::inspect(path)).collect::<Result<Vec<_>, _>>()?;
        let seen = Self(found);
        let mut known: Vec<(&Path, &Identity)> = Vec::new();
        for (path, identity) in seen.identities(paths) {
            if let Some((other, first)) = known.first() {
                let (path, other) = (path.to_owned(), other.to_path_buf());
                if first.cluster != identity.cluster {
                    let (found, expected) = (identity.cluster, first.cluster);
                    return Err(StartError::OtherCluster { path, found, other, expected });
                }
                if first.node != identity.node {
                    return Err(StartError::OtherNode { path, other });
                }
            }
            if let Some((other, _)) = known.iter().find(|(_, other)| other.disk == identity.disk) {
                let (path, other) = (path.to_owned(), other.to_path_buf());
                return Err(StartError::SameDisk { path, other, disk: identity.disk });
            }
            known.push((path, identity));
        }
        let left_out = |disk: DiskId| known.iter().any(|(_, other)| !other.siblings.contains(&disk));
        if let Some((path, _)) = known.iter().find(|(_, identity)| left_out(identity.disk)) {
            return Err(StartError::LeftOut(path.to_path_buf()));
        }
        Ok(seen)
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

/// A start of a cluster that is there: with the disks that can be opened.
fn open(paths: &[PathBuf], seen: &Seen) -> Result<Claim, StartError> {
    refuse_new_disk(paths, seen)?;
    let mut claim = Claim { present: Vec::new(), absent: Vec::new(), forming: false };
    for (path, found) in paths.iter().zip(&seen.0) {
        let opened = match found {
            Found::Missing => Err("it does not exist".to_owned()),
            Found::Empty => Err("it is empty, and the other directories know a disk here; is it mounted?".to_owned()),
            Found::Unreadable(reason) => Err(reason.clone()),
            Found::Disk(identity) => open_disk(path, identity)?,
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
    if taken.contains(&identity.disk) {
        return Err(format!("disk {} is in use already", identity.disk));
    }
    open_disk(path, &identity).map_err(|error| error.to_string())?
}

/// An empty directory stands for a lost disk, as long as one is lost.
fn refuse_new_disk(paths: &[PathBuf], seen: &Seen) -> Result<(), StartError> {
    let lost = seen.disks().next().map_or(0, |identity| {
        identity.siblings.iter().filter(|sibling| seen.disks().all(|disk| disk.disk != **sibling)).count()
    });
    let without: Vec<_> =
        paths.iter().zip(&seen.0).filter(|(_, found)| !matches!(found, Found::Disk(_))).map(|(path, _)| path).collect();
    match without.get(lost) {
        Some(path) => Err(StartError::NewDisk(path.to_path_buf())),
        None => Ok(()),
    }
}

/// The inner error makes the disk absent, the outer one refuses the start.
fn open_disk(path: &Path, seen: &Identity) -> Result<Result<Directory, String>, StartError> {
    let lock = match lock(path) {
        Ok(lock) => lock,
        Err(StartError::Directory { message, .. }) => return Ok(Err(message)),
        Err(refused) => return Err(refused),
    };
    let mut identity = match identity::inspect(path)? {
        Found::Disk(identity) if *identity == *seen => *identity,
        _ => return Err(StartError::Locked(path.to_owned())),
    };
    identity.incarnation += 1;
    identity.formed = true;
    Ok(match identity.write(path) {
        Ok(()) => Ok(Directory { path: path.to_owned(), identity, _lock: lock }),
        Err(error) => Err(error.to_string()),
    })
}

/// A first start, or one that goes on with a first start that was cut off.
fn form(paths: &[PathBuf], seen: &Seen, groups: u32) -> Result<Claim, StartError> {
    for (path, found) in paths.iter().zip(&seen.0) {
        if let Found::Unreadable(reason) = found {
            return Err(StartError::Directory { path: path.clone(), message: reason.clone() });
        }
    }
    let begun = seen.disks().next();
    if let Some(begun) = begun.filter(|begun| begun.siblings.len() != paths.len()) {
        return Err(StartError::FormationCutOff { expected: begun.siblings.len(), given: paths.len() });
    }
    let template = begun.cloned().unwrap_or_else(|| found_cluster(paths.len(), groups));
    let mut unused: Vec<DiskId> = template.siblings.clone();
    unused.retain(|sibling| seen.disks().all(|disk| disk.disk != *sibling));
    let mut unused = unused.into_iter();

    let mut locks = Vec::with_capacity(paths.len());
    for path in paths {
        durable::create_dir(path).map_err(|error| StartError::io(path, &error))?;
        locks.push(lock(path)?);
    }
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
    Ok(Claim { present, absent: Vec::new(), forming: true })
}

/// A new cluster of one node: its ids, and who votes where.
fn found_cluster(disks: usize, groups: u32) -> Identity {
    let siblings: Vec<DiskId> = (0..disks).map(|_| DiskId::random()).collect();
    let founders = (ROOT_GROUP.0..=groups)
        .flat_map(|group| siblings.iter().take(MAX_VOTERS).map(move |disk| (GroupId(group), *disk)))
        .zip(1..)
        .map(|((group, disk), replica)| Founder { group, replica: ReplicaId(replica), disk })
        .collect();
    Identity {
        cluster: ClusterId::random(),
        disk: siblings.first().copied().unwrap_or_default(),
        // Short enough for a number of JSON, long enough to be unique without asking.
        node: NodeId(rand::random::<u64>() >> 12),
        incarnation: 1,
        formed: false,
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
