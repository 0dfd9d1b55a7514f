//! Fuzz targets: for each format that comes from a disk or from another node a function that takes any bytes, and panics
//! where one of the format's properties does not hold. They run as tests, on `inputs`, and under cargo-fuzz; see
//! `fuzz/`.

pub mod inputs;
pub(crate) mod samples;
mod targets;

pub use self::targets::*;
