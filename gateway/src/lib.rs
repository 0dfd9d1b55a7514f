//! All that knows S3: authentication, operations, XML, errors, and the data path of a body.
//!
//! Reaches the cluster through `cairn_storage::client` only.

pub mod acl;
pub mod admin;
pub mod auth;
mod budget;
mod cache;
pub mod data;
mod document;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
pub mod gate;
pub mod gateway;
mod iam;
pub mod middleware;
pub mod operation;
pub mod ops;
pub mod origin;
pub mod policy;
pub mod request;
pub mod router;
pub mod server;
mod table;
#[cfg(test)]
mod testing;
mod users;
pub mod xml;
