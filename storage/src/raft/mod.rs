//! Consensus: openraft's adapters, and the replicas of this process.
//!
//! A group is a state machine that is kept alike on several disks, each with a replica of the group: a log, a vote and
//! the state. This room orders commands, makes them durable on a majority, has them applied, and answers linearizable
//! queries. It knows nothing of what commands do (`meta`), of addresses, or of HTTP: messages to other processes go
//! through [`RemoteTransport`] and come in through [`Replicas::handle`].
//!
//! The way of a command: `service` finds the leader, `proposer` puts it into a log entry with others, openraft hands the
//! entry to `log_store` and, over `network`, to the followers; the `writer` of each disk fsyncs it; `state_machine`
//! applies it when a majority has it.
//!
//! What must hold here: nothing is answered before a majority has fsynced it. A replica never forgets a promise: it is
//! refused when its log or its records are not all there. No read is answered from a state older than what was committed
//! when the read began.

mod alone;
mod codec;
mod consensus;
mod disk_db;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod keys;
mod log_cache;
mod log_store;
mod message;
mod network;
mod proposer;
mod read;
mod replica;
mod replicas;
mod room;
mod service;
mod settings;
mod state_machine;
mod store;
mod transfer;
mod upkeep;
mod writer;

pub use alone::{AloneError, Knowledge, knowledge, make_only_voter};
pub use codec::{FormatError, ReplicaRecord};
pub use consensus::Applied;
pub use disk_db::{DiskDb, DiskDbOptions, OpenError};
pub use network::{RemoteTransport, TransportError};
pub use replica::{Ended, ReplicaStatus};
pub use replicas::{ChangeError, Origin, Replicas, StartError};
pub use room::Room;
pub use settings::Settings;
pub use store::{SnapshotFrames, StateMachineStore, StoreError, Stores};
pub use writer::WriterStatistics;

#[cfg(test)]
mod testing;
