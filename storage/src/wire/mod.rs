//! What travels between processes: the paths of the internal HTTP, the encoded messages, the typed errors, and how a
//! request proves that its sender knows the cluster secret. Pure: no socket, no disk.
//!
//! Chunk bodies travel raw. Every other body is one version byte and a postcard message.

pub mod auth;
pub mod context;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub mod message;
pub mod path;
pub mod pieces;

pub use auth::{AuthError, Signer, Verifier};
pub use context::{Context, Stale};
pub use message::{
    DiskNews, EndedNews, Hello, Listed, MAX_WHY_LEN, NodeNews, Overview, Place, RefusedNode, ScrubStatus, Stat, View,
    decode, decode_version, encode,
};
pub use pieces::Pieces;
