//! `cairn.json`: which disk of which cluster a directory is, and who its siblings are.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::StartError;
use crate::durable;
use crate::types::{ClusterId, DiskId, GroupId, Life, NodeId, ReplicaId};

/// The name of the file in the directory.
pub const FILE: &str = "cairn.json";
/// The format that is written, and the newest that is understood.
pub const FORMAT: u32 = 2;
/// No identity is longer, in bytes.
const MAX_LEN: u64 = 1 << 20;
const WHAT: &str = "a disk of a Cairn cluster: chunks/ holds object data, meta/ metadata; do not edit, do not copy";

/// What a directory says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cluster: ClusterId,
    pub disk: DiskId,
    pub node: NodeId,
    /// Its last runs, the present one last; never empty. By them an old copy of the directory is told from the disk.
    pub lives: Vec<Life>,
    /// Why it is not to be used any more: other nodes have seen the disk after this copy of it.
    pub superseded: Option<String>,
    /// Whether the first start came to its end: until then nothing was acknowledged.
    pub formed: bool,
    /// All disks of the node, this one too, in the order of the command line. Of several identities that of the
    /// greatest incarnation is right.
    pub siblings: Vec<Sibling>,
    /// Every replica that the first start gave to a disk.
    pub founders: Vec<Founder>,
}

/// A disk of the same node, and where it was last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    pub disk: DiskId,
    pub path: PathBuf,
    /// Whether a file system was mounted at the path. An empty directory where one was is no empty disk.
    pub mounted: bool,
}

/// A voter of a group as the cluster was formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Founder {
    pub group: GroupId,
    pub replica: ReplicaId,
    pub disk: DiskId,
}

/// Format 2, as it is in the file. Format 1, of release 0.1.0, had only the present incarnation. Frozen: a change makes a
/// format 3.
#[derive(Serialize, Deserialize)]
struct FileV2 {
    format: u32,
    what: String,
    cluster: String,
    disk: String,
    node: u64,
    /// In format 1 only.
    #[serde(default, skip_serializing)]
    incarnation: u64,
    #[serde(default)]
    lives: Vec<Life>,
    #[serde(default)]
    superseded: Option<String>,
    formed: bool,
    siblings: Vec<SiblingV1>,
    founders: Vec<FounderV1>,
}

#[derive(Serialize, Deserialize)]
struct SiblingV1 {
    disk: String,
    path: PathBuf,
    mounted: bool,
}

#[derive(Serialize, Deserialize)]
struct FounderV1 {
    group: u32,
    replica: u64,
    disk: String,
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

/// What was found where a data directory was expected.
#[derive(Debug)]
pub enum Found {
    /// There is nothing at this path.
    Missing,
    /// A directory with nothing in it, or only with what a first start leaves that was cut off at once.
    Empty,
    Disk(Box<Identity>),
    /// It cannot be read, or its identity is damaged.
    Unreadable(String),
}

/// Looks at a directory without changing anything.
///
/// # Errors
/// [`StartError::Foreign`] and [`StartError::NewerFormat`]: not to be touched.
pub fn inspect(path: &Path) -> Result<Found, StartError> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Found::Missing),
        Err(error) => return Ok(Found::Unreadable(error.to_string())),
    };
    let mut others = false;
    for entry in entries {
        let name = match entry {
            Ok(entry) => entry.file_name(),
            Err(error) => return Ok(Found::Unreadable(error.to_string())),
        };
        if name == FILE {
            return read(path);
        }
        let name = name.to_string_lossy();
        others |= !is_harmless(&name);
    }
    if others { Err(StartError::Foreign(path.to_owned())) } else { Ok(Found::Empty) }
}

/// What an otherwise empty directory may hold: the mark of a fresh file system, and what is written before `cairn.json`.
fn is_harmless(name: &str) -> bool {
    matches!(name, "lost+found" | super::directory::LOCK_FILE) || (name.starts_with(FILE) || name.starts_with(".cairn"))
}

/// Reads `cairn.json`, which is expected to be there.
pub fn read(directory: &Path) -> Result<Found, StartError> {
    let path = directory.join(FILE);
    let bytes = match std::fs::metadata(&path).and_then(|metadata| {
        if metadata.len() > MAX_LEN { Err(std::io::Error::other("too long")) } else { std::fs::read(&path) }
    }) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Found::Unreadable(format!("{FILE}: {error}"))),
    };
    match serde_json::from_slice::<AnyFormat>(&bytes) {
        Ok(AnyFormat { format: 1 | FORMAT }) => {}
        Ok(AnyFormat { format }) if format > FORMAT => {
            return Err(StartError::NewerFormat { path: directory.to_owned(), format, known: FORMAT });
        }
        Ok(AnyFormat { format }) => return Ok(Found::Unreadable(format!("{FILE}: unknown format {format}"))),
        Err(error) => return Ok(Found::Unreadable(format!("{FILE}: {error}"))),
    }
    let parsed = serde_json::from_slice::<FileV2>(&bytes).map_err(|error| error.to_string());
    Ok(match parsed.and_then(Identity::from_file) {
        Ok(identity) => Found::Disk(Box::new(identity)),
        Err(error) => Found::Unreadable(format!("{FILE}: {error}")),
    })
}

impl Identity {
    /// Writes `cairn.json`, durably; only the owner can read it.
    ///
    /// # Errors
    /// The file system's. The file is then the old one or the new one.
    pub fn write(&self, directory: &Path) -> std::io::Result<()> {
        let file = FileV2 {
            format: FORMAT,
            what: WHAT.to_owned(),
            cluster: self.cluster.to_string(),
            disk: self.disk.to_string(),
            node: self.node.0,
            incarnation: 0,
            lives: self.lives.clone(),
            superseded: self.superseded.clone(),
            formed: self.formed,
            siblings: self
                .siblings
                .iter()
                .map(|Sibling { disk, path, mounted }| SiblingV1 {
                    disk: disk.to_string(),
                    path: path.clone(),
                    mounted: *mounted,
                })
                .collect(),
            founders: self
                .founders
                .iter()
                .map(|founder| FounderV1 {
                    group: founder.group.0,
                    replica: founder.replica.0,
                    disk: founder.disk.to_string(),
                })
                .collect(),
        };
        let mut bytes = serde_json::to_vec_pretty(&file)?;
        bytes.push(b'\n');
        durable::write_atomic(&directory.join(FILE), &bytes, 0o600)
    }

    /// The groups of which the first start put a voter on this disk, with its id.
    pub fn replicas(&self) -> impl Iterator<Item = (GroupId, ReplicaId)> + '_ {
        self.founders.iter().filter(|founder| founder.disk == self.disk).map(|founder| (founder.group, founder.replica))
    }

    /// Whether a disk is one of the node's, as far as this identity knows.
    pub fn has_sibling(&self, disk: DiskId) -> bool {
        self.siblings.iter().any(|sibling| sibling.disk == disk)
    }

    /// The run that is under way.
    pub fn life(&self) -> Life {
        self.lives.last().copied().unwrap_or_default()
    }

    fn from_file(file: FileV2) -> Result<Self, String> {
        fn id<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
            text.parse().map_err(|error: T::Err| error.to_string())
        }
        let identity = Self {
            cluster: id(&file.cluster)?,
            disk: id(&file.disk)?,
            node: NodeId(file.node),
            lives: match file.format {
                1 => vec![Life { incarnation: file.incarnation, instance: 0 }],
                _ => file.lives,
            },
            superseded: file.superseded,
            formed: file.formed,
            siblings: file
                .siblings
                .into_iter()
                .map(|SiblingV1 { disk, path, mounted }| Ok::<_, String>(Sibling { disk: id(&disk)?, path, mounted }))
                .collect::<Result<_, _>>()?,
            founders: file
                .founders
                .iter()
                .map(|founder| {
                    Ok::<_, String>(Founder {
                        group: GroupId(founder.group),
                        replica: ReplicaId(founder.replica),
                        disk: id(&founder.disk)?,
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        if identity.lives.is_empty() {
            return Err("it was never opened".into());
        }
        if identity.has_sibling(identity.disk) { Ok(identity) } else { Err("it is no sibling of its own".into()) }
    }
}
