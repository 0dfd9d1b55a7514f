//! End to end: the real binary, real processes, real kills. Clients in other languages are in `tests/clients`.
#![allow(clippy::expect_used, reason = "a test, and what it stands on, fails where it is surprised")]

mod cluster;
mod crash;
mod disks;
mod endings;
mod full;
mod harness;
mod hung;
mod memory;
mod powercut;
mod processes;
mod tidy;
mod upgrade;
