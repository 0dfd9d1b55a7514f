//! The state machine of a metadata group, and of the root group: commands in, outcomes out, deterministically.
//!
//! Pure but for its RocksDB: no clock, no randomness, no network. Time and ids come inside the commands. Knows
//! nothing of chunk stores, of HTTP or of S3's error codes.

mod answer;
mod apply;
#[cfg(test)]
mod check;
pub mod command;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod list;
mod manifest;
#[cfg(test)]
mod model;
mod overlay;
pub mod query;
mod read;
pub mod record;
mod schema;
mod snapshot;
mod store;
mod stored;
pub mod synthetic;
#[cfg(test)]
mod testing;
mod view;

pub use command::{Batch, Command, Envelope, Outcome, Rejection, RootCommand};
pub use error::MetaError;
pub use query::{Answer, Query};
pub use schema::column_families;
pub use snapshot::{FRAME_LEN, SnapshotReader};
pub use store::{EntryResults, GroupStore};
