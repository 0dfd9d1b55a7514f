//! The state machine of a metadata group, and of the root group: commands in, outcomes out, deterministically.
//!
//! Pure but for its RocksDB: no clock, no randomness, no network. Time and ids come inside the commands. Knows
//! nothing of chunk stores, of HTTP or of S3's error codes.

pub mod command;
pub mod query;
pub mod record;

pub use command::{Batch, Command, Envelope, Outcome, Rejection, RootCommand};
pub use query::{Answer, Query};
