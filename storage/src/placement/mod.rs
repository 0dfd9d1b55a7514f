//! Where a chunk belongs: a pure function of its id and the cluster map.

use crate::types::{ChunkId, ClusterMap, DiskId};

/// All disks that take chunks, best first; the first [`ClusterMap::copies`] are the chunk's homes. (To be written.)
pub fn order(_chunk: &ChunkId, _map: &ClusterMap) -> Vec<DiskId> {
    Vec::new()
}
