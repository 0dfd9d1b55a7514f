//! What is done to a data directory while no node runs on it.

use std::path::Path;

use crate::chunk::{self, ChunkError, Report};
use crate::cluster::StartError;
use crate::cluster::identity::{self, Found};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    #[error(transparent)]
    Directory(#[from] StartError),
    #[error("{0} is not a data directory of Cairn")]
    NotADisk(String),
    #[error(transparent)]
    Chunks(#[from] ChunkError),
}

/// Makes the chunk index of a disk anew from its segments. Reads everything on the disk once.
///
/// # Errors
/// The directory is in use, is no disk of Cairn (then it is untouched), or cannot be read or written.
pub fn rebuild_index(directory: &Path) -> Result<Report, OfflineError> {
    match identity::inspect(directory)? {
        Found::Disk(_) => Ok(chunk::rebuild_index(directory, chunk::Options::default())?),
        Found::Missing | Found::Empty | Found::Unreadable(_) => {
            Err(OfflineError::NotADisk(directory.display().to_string()))
        }
    }
}
