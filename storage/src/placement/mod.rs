//! Where a chunk belongs: a pure function of its id and the cluster map. No clock, no network, no floating point, so
//! that every process of a cluster answers the same, whatever it runs on.
//!
//! Weighted rendezvous hashing (Thaler and Ravishankar, 1996): each disk draws an exponentially distributed score
//! from the chunk's id and its own, with its weight as the rate, and the lowest score wins. A disk that joins or
//! leaves thereby moves only what it wins or loses itself.
//!
//! Changing anything here moves the data of every cluster; a test holds golden values.

mod score;

use crate::types::{ChunkId, ClusterMap, DiskId, DiskState, NodeId};

/// All disks that take chunks, best first; the first [`ClusterMap::copies`] are the chunk's homes. First the best disk
/// of each rack, then the best disk of each further node, then the others.
pub fn order(chunk: &ChunkId, map: &ClusterMap) -> Vec<DiskId> {
    let places = Places::of(map);
    let mut candidates: Vec<Candidate> = map
        .disks
        .iter()
        .filter(|disk| disk.state == DiskState::Active && disk.weight > 0)
        .map(|disk| Candidate {
            score: score::score(chunk, disk.id, disk.weight),
            disk: disk.id,
            place: places.place(disk.node),
        })
        .collect();
    // The id breaks a tie of scores, so that the order does not depend on the map's.
    candidates.sort_unstable_by_key(|candidate| (candidate.score, candidate.disk));

    let mut order = Vec::with_capacity(candidates.len());
    let mut rack_taken = vec![false; places.racks];
    let mut node_taken = vec![false; places.nodes.len() + 1];
    candidates.retain(|candidate| {
        let first = !std::mem::replace(&mut rack_taken[candidate.place.rack], true);
        if first {
            node_taken[candidate.place.node] = true;
            order.push(candidate.disk);
        }
        !first
    });
    candidates.retain(|candidate| {
        let first = !std::mem::replace(&mut node_taken[candidate.place.node], true);
        if first {
            order.push(candidate.disk);
        }
        !first
    });
    order.extend(candidates.iter().map(|candidate| candidate.disk));
    order
}

/// The disks that should have the chunk: the first [`ClusterMap::copies`] of its order.
pub fn homes(chunk: &ChunkId, map: &ClusterMap) -> Vec<DiskId> {
    let mut homes = order(chunk, map);
    homes.truncate(map.copies());
    homes
}

struct Candidate {
    score: u64,
    disk: DiskId,
    place: Place,
}

/// A node and its rack, numbered from zero within one map.
#[derive(Clone, Copy)]
struct Place {
    node: usize,
    rack: usize,
}

/// The nodes of a map by id, each with its place.
struct Places {
    nodes: Vec<(NodeId, Place)>,
    racks: usize,
}

impl Places {
    fn of(map: &ClusterMap) -> Self {
        let mut by_rack: Vec<(&str, NodeId)> = map.nodes.iter().map(|node| (node.rack.as_str(), node.id)).collect();
        by_rack.sort_unstable();
        let mut nodes = Vec::with_capacity(by_rack.len());
        let mut racks = 0;
        let mut previous = None;
        for (number, (rack, id)) in by_rack.into_iter().enumerate() {
            if previous != Some(rack) {
                racks += 1;
                previous = Some(rack);
            }
            nodes.push((id, Place { node: number, rack: racks - 1 }));
        }
        nodes.sort_unstable_by_key(|(id, _)| *id);
        // One more rack and node, for disks whose node the map does not have.
        Self { nodes, racks: racks + 1 }
    }

    fn place(&self, node: NodeId) -> Place {
        match self.nodes.binary_search_by_key(&node, |(id, _)| *id) {
            Ok(at) => self.nodes[at].1,
            Err(_) => Place { node: self.nodes.len(), rack: self.racks - 1 },
        }
    }
}

#[cfg(test)]
#[path = "placement_test.rs"]
mod tests;
