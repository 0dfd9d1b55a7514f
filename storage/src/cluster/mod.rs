//! What a node knows of its cluster: whose its directories are, the secrets, the other nodes and where they are
//! (`peers`), and what ought to change in the map (`controller`). It talks to nobody itself.
//!
//! Reads and writes only the small files at the top of a directory; what lies in `chunks` and `meta` is not its
//! business.

pub mod ballot;
pub mod controller;
pub mod directory;
mod error;
pub mod identity;
pub mod peers;
pub mod recovery;
pub mod secret;

pub use ballot::Ballot;
pub use directory::{Claim, Directory, Founding, claim, survey};
pub use error::StartError;
pub use identity::{Founder, Identity, Sibling};
pub use secret::{RootCredentials, Secret};

#[cfg(test)]
#[path = "model_test.rs"]
mod model;

#[cfg(test)]
#[path = "cluster_test.rs"]
mod tests;
