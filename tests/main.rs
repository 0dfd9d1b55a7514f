//! End to end: the real binary, real processes, real kills. Clients in other languages are in `tests/clients`.

mod crash;
mod disks;
mod harness;
mod memory;
mod processes;
mod tidy;
