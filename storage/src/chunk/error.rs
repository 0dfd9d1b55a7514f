//! Why a chunk store cannot be opened, closed or rebuilt. What a single call answers is `client::DiskError`.

use std::io;
use std::path::PathBuf;

use crate::client::DiskError;

/// What is wrong with a chunk store as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The file system said no.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    /// A newer Cairn wrote it. Nothing was changed.
    #[error("{path} has format {found}; this version knows formats up to {known}", path = path.display())]
    NewerFormat { path: PathBuf, found: u32, known: u32 },
    /// It does not look like a chunk store. Nothing was changed.
    #[error("{path} is not a chunk store: {why}", path = path.display())]
    NotAStore { path: PathBuf, why: &'static str },
    /// Another process has it open.
    #[error("{path} is in use by another process", path = path.display())]
    InUse { path: PathBuf },
    /// The index cannot be read or written; `cairn rebuild-index` makes it anew from the segments.
    #[error("the chunk index: {0} (`cairn rebuild-index` makes it anew)")]
    Index(String),
    /// The disk failed while it was in use, or the store is closed.
    #[error("the chunk store cannot be used: {0}")]
    Unusable(String),
}

impl ChunkError {
    /// Names what was tried when the file system said no.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl From<rocksdb::Error> for ChunkError {
    fn from(error: rocksdb::Error) -> Self {
        Self::Index(error.into_string())
    }
}

impl From<ChunkError> for DiskError {
    fn from(error: ChunkError) -> Self {
        DiskError::Unavailable(error.to_string())
    }
}
