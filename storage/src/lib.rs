//! Disks, nodes and consensus: everything below S3. Nothing here knows what a request of a client looks like.
//!
//! Arrows go one way: `node` wires `server`, `repair`, `cluster`; these use `raft`, `chunk` and `client`; everybody
//! may use `types`. `chunk` and `meta` know nothing of each other, nor of HTTP.

mod ballast;
pub mod chunk;
pub mod client;
pub mod cluster;
mod direct;
pub mod durable;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
pub mod meta;
pub mod node;
pub mod placement;
mod probe;
pub mod raft;
pub mod repair;
pub mod server;
pub mod types;
pub mod wire;
