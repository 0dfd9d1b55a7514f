//! The keys of a replica's records. All of a group's come together, all of a replica's within them.

use crate::types::{GroupId, ReplicaId};

/// Kinds of records in the state column family.
pub(super) const RECORD: u8 = 0;
pub(super) const VOTE: u8 = 1;
/// Up to where entries were committed, as last saved.
pub(super) const COMMITTED: u8 = 2;
/// Up to where entries were purged.
pub(super) const PURGED: u8 = 3;
/// The last entry, as promised in the batch that wrote it.
pub(super) const PROMISED: u8 = 4;

const PREFIX_LEN: usize = 12;
const STATE_LEN: usize = PREFIX_LEN + 1;
const LOG_LEN: usize = PREFIX_LEN + 8;

fn prefix(group: GroupId, replica: ReplicaId, out: &mut [u8]) {
    out[..4].copy_from_slice(&group.0.to_be_bytes());
    out[4..PREFIX_LEN].copy_from_slice(&replica.0.to_be_bytes());
}

/// The key of a record of a replica.
pub(super) fn state(group: GroupId, replica: ReplicaId, kind: u8) -> [u8; STATE_LEN] {
    let mut key = [kind; STATE_LEN];
    prefix(group, replica, &mut key);
    key
}

/// Whether a key of the state column family is that of a replica's record.
pub(super) fn is_record(key: &[u8]) -> bool {
    key.len() == STATE_LEN && key[PREFIX_LEN] == RECORD
}

/// The key of a log entry.
pub(super) fn entry(group: GroupId, replica: ReplicaId, index: u64) -> [u8; LOG_LEN] {
    let mut key = [0; LOG_LEN];
    prefix(group, replica, &mut key);
    key[PREFIX_LEN..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The index in a log entry's key; `None` where the key is not one.
pub(super) fn index(key: &[u8]) -> Option<u64> {
    let key: &[u8; LOG_LEN] = key.try_into().ok()?;
    key[PREFIX_LEN..].try_into().ok().map(u64::from_be_bytes)
}
