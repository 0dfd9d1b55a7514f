//! Why a node does not start. Every message is for the person who typed the command.

use std::path::PathBuf;

use crate::types::{ClusterId, DiskId};

/// Why the directories were not opened, or the node did not come up. Where it is a refusal, nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no data directory was given")]
    NoDirectory,
    #[error("{} is in use by another process (its lock is held)", .0.display())]
    Locked(PathBuf),
    #[error("{} was given twice, or under two names", .0.display())]
    GivenTwice(PathBuf),
    #[error("{} is not empty and not a data directory of Cairn; give an empty one", .0.display())]
    Foreign(PathBuf),
    #[error("{} has format {format}, which is newer than this version of Cairn understands ({known})", .path.display())]
    NewerFormat { path: PathBuf, format: u32, known: u32 },
    #[error("{} belongs to cluster {found}, {} to cluster {expected}", .path.display(), .other.display())]
    OtherCluster { path: PathBuf, found: ClusterId, other: PathBuf, expected: ClusterId },
    #[error("{} and {} are the same disk {disk}; one is a copy of the other", .path.display(), .other.display())]
    SameDisk { path: PathBuf, other: PathBuf, disk: DiskId },
    #[error("{} was left out of the cluster by a recovery; give an empty directory in its place", .0.display())]
    LeftOut(PathBuf),
    #[error("cannot join the cluster: {0}")]
    Join(String),
    #[error("recovery is refused: {0}")]
    Recovery(String),
    #[error("the first start was cut off; start again with the same {expected} directories ({given} were given)")]
    FormationCutOff { expected: usize, given: usize },
    #[error("none of the directories can be used: {0}")]
    NoDisk(String),
    #[error("the cluster secret must have at least {} characters", super::secret::MIN_SECRET_LEN)]
    SecretTooShort,
    #[error("{}: {message}", .path.display())]
    Directory { path: PathBuf, message: String },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    #[error("the metadata does not start: {0}")]
    Metadata(String),
    #[error("the settings are not valid: {0}")]
    Settings(String),
}

impl StartError {
    /// An error of the file system, with the path it is about.
    pub(crate) fn io(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        Self::Directory { path: path.into(), message: error.to_string() }
    }
}
