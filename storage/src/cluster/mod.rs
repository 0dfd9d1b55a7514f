//! What a node knows of its cluster before it talks to anybody: whose its directories are, and the secrets.
//!
//! Reads and writes only the small files at the top of a directory; what lies in `chunks` and `meta` is not its
//! business.

pub mod directory;
mod error;
pub mod identity;
pub mod secret;

pub use directory::{Claim, Directory, claim};
pub use error::StartError;
pub use identity::{Founder, Identity};
pub use secret::{RootCredentials, Secret};

#[cfg(test)]
#[path = "cluster_test.rs"]
mod tests;
