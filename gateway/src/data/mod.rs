//! The way of an object's bytes: in (decode, check, cut, hash, place, send, count) and out (choose, read ahead, verify).

/// The data path of this process. (To be completed.)
#[derive(Clone)]
pub struct DataPath {}
