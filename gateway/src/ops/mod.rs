//! The operations, a file each.

pub mod bucket;
pub mod multipart;
pub mod object;
