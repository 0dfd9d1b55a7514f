//! What can go wrong between the state machine and its database. None of it is a client's doing.

/// A failure of the state machine itself. The replica that meets one must stop applying: its state is not to be
/// trusted, or cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// RocksDB refused or failed. Whether the write is there is unknown.
    #[error("metadata database: {0}")]
    Database(#[from] rocksdb::Error),
    /// The database was opened without one of [`super::column_families`].
    #[error("the metadata database has no column family {0}")]
    MissingColumnFamily(&'static str),
    /// A key or a value that this format cannot have written.
    #[error("corrupt {what} at key {key}")]
    Corrupt { what: &'static str, key: String },
    /// Written by a newer release.
    #[error("the group's state has schema {found}, this release knows up to {known}")]
    NewerSchema { found: u32, known: u32 },
    /// The frames of a snapshot do not belong together, or are cut off. The old state stays.
    #[error("unusable snapshot: {0}")]
    BadSnapshot(&'static str),
    /// The frames of a snapshot could not be read. The old state stays.
    #[error("snapshot transfer: {0}")]
    Transfer(#[from] std::io::Error),
}

impl MetaError {
    /// Whether a read was to be made in memory only, and needs the disk.
    pub(super) fn needs_disk(&self) -> bool {
        matches!(self, Self::Database(error) if error.kind() == rocksdb::ErrorKind::Incomplete)
    }

    /// `what` at `key` does not decode.
    pub(super) fn corrupt(what: &'static str, key: &[u8]) -> Self {
        Self::Corrupt { what, key: hex::encode(key) }
    }
}
