use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::types::{ClusterId, DiskEntry, Epoch, GroupId, NodeEntry};

fn chunk(number: u64) -> ChunkId {
    ChunkId::of(GroupId(1), &number.to_le_bytes())
}

fn disk_id(number: u64) -> DiskId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..16]);
    DiskId(bytes)
}

/// A map of disks, each given as (rack, node, weight); nodes are numbered across racks.
fn map(disks: &[(u8, u64, u32)]) -> ClusterMap {
    let mut nodes: Vec<NodeEntry> = Vec::new();
    for (rack, node, _) in disks {
        if nodes.iter().all(|entry| entry.id != NodeId(*node)) {
            nodes.push(NodeEntry { id: NodeId(*node), address: String::new(), rack: format!("rack-{rack}") });
        }
    }
    let disks = disks
        .iter()
        .enumerate()
        .map(|(number, (_, node, weight))| DiskEntry {
            id: disk_id(number as u64),
            node: NodeId(*node),
            weight: *weight,
            state: DiskState::Active,
        })
        .collect();
    ClusterMap { cluster: ClusterId([7; 16]), epoch: Epoch(1), nodes, disks, ..ClusterMap::default() }
}

/// As many nodes as disks, in one rack.
fn flat(weights: &[u32]) -> ClusterMap {
    map(&weights.iter().enumerate().map(|(number, weight)| (0, number as u64, *weight)).collect::<Vec<_>>())
}

fn rack_of<'a>(map: &'a ClusterMap, disk: &DiskId) -> &'a str {
    &map.node(map.disk(*disk).unwrap().node).unwrap().rack
}

prop_compose! {
    /// Nodes belong to one rack each: `node % racks`.
    fn topology()(racks in 1..5u64, disks in prop::collection::vec((0..8u64, 0..5u32), 1..24)) -> ClusterMap {
        map(&disks.iter().map(|(node, weight)| ((node % racks) as u8, *node, *weight)).collect::<Vec<_>>())
    }
}

proptest! {
    #[test]
    fn homes_are_on_distinct_racks_then_nodes_then_disks(map in topology(), number in any::<u64>()) {
        let order = order(&chunk(number), &map);
        let takers: Vec<_> = map.disks.iter().filter(|disk| disk.weight > 0).collect();
        prop_assert_eq!(order.iter().collect::<HashSet<_>>().len(), takers.len());
        prop_assert_eq!(order.len(), takers.len());
        let racks = takers.iter().map(|disk| rack_of(&map, &disk.id)).collect::<HashSet<_>>().len();
        let nodes = takers.iter().map(|disk| disk.node).collect::<HashSet<_>>().len();
        let homes = homes(&chunk(number), &map);
        prop_assert_eq!(homes.len(), takers.len().min(3));
        let home_racks = homes.iter().map(|disk| rack_of(&map, disk)).collect::<HashSet<_>>().len();
        let home_nodes = homes.iter().map(|disk| map.disk(*disk).unwrap().node).collect::<HashSet<_>>().len();
        prop_assert_eq!(home_racks, racks.min(3));
        prop_assert_eq!(home_nodes, nodes.min(3));
    }

    #[test]
    fn the_order_of_the_map_does_not_matter(map in topology(), number in any::<u64>()) {
        let mut turned = map.clone();
        turned.disks.reverse();
        turned.nodes.reverse();
        prop_assert_eq!(order(&chunk(number), &map), order(&chunk(number), &turned));
    }

    #[test]
    fn a_disk_that_joins_takes_at_most_one_home_of_a_chunk(weights in prop::collection::vec(1..9u32, 1..40), number in any::<u64>()) {
        let more = flat(&weights);
        let mut fewer = more.clone();
        fewer.disks.pop();
        let joined = disk_id(weights.len() as u64 - 1);
        let (before, after) = (order(&chunk(number), &fewer), order(&chunk(number), &more));
        let without: Vec<_> = after.into_iter().filter(|disk| *disk != joined).collect();
        prop_assert_eq!(before, without);
    }

    #[test]
    fn with_three_racks_a_disk_that_joins_takes_at_most_one_home(disks in prop::collection::vec((0..9u64, 1..5u32), 1..30), number in any::<u64>()) {
        let mut all = vec![(0, 0, 1), (1, 1, 1), (2, 2, 1)];
        all.extend(disks.iter().map(|(node, weight)| ((node % 3) as u8, *node, *weight)));
        let more = map(&all);
        let mut fewer = more.clone();
        let joined = fewer.disks.pop().unwrap().id;
        let before: HashSet<_> = homes(&chunk(number), &fewer).into_iter().collect();
        let new: Vec<_> = homes(&chunk(number), &more).into_iter().filter(|disk| !before.contains(disk)).collect();
        prop_assert!(new.is_empty() || new == vec![joined]);
    }
}

#[test]
fn a_disk_gets_its_share_by_weight_within_3_percent() {
    let weights = [100, 200, 300, 400, 1000];
    let map = flat(&weights);
    let chunks = 100_000u64;
    let mut firsts: HashMap<DiskId, u64> = HashMap::new();
    for number in 0..chunks {
        *firsts.entry(order(&chunk(number), &map)[0]).or_default() += 1;
    }
    for (disk, weight) in map.disks.iter().zip(weights) {
        let share = firsts[&disk.id] as f64 / chunks as f64;
        let fair = f64::from(weight) / 2000.0;
        assert!((share / fair - 1.0).abs() < 0.03, "{share} of {fair}");
    }
}

#[test]
fn with_many_disks_all_three_copies_follow_the_weights_within_3_percent() {
    let weights: Vec<u32> = (0..60).map(|number| 1 + number % 2).collect();
    let map = flat(&weights);
    let chunks = 50_000u64;
    let (mut light, mut heavy) = (0u64, 0u64);
    for number in 0..chunks {
        for home in homes(&chunk(number), &map) {
            match map.disk(home).unwrap().weight {
                1 => light += 1,
                _ => heavy += 1,
            }
        }
    }
    let ratio = heavy as f64 / light as f64;
    assert!((ratio / 2.0 - 1.0).abs() < 0.03, "{ratio}");
}

#[test]
fn a_thousand_disks_are_balanced_and_lose_only_what_was_theirs() {
    let disks: Vec<_> = (0..1000u64).map(|number| ((number % 10) as u8, number / 4 * 10 + number % 10, 4000)).collect();
    let full = map(&disks);
    let mut smaller = full.clone();
    let gone = smaller.disks.remove(500).id;
    let mut moved = 0;
    let mut held = 0;
    for number in 0..3_000 {
        let (before, after) = (homes(&chunk(number), &full), homes(&chunk(number), &smaller));
        held += usize::from(before.contains(&gone));
        moved += after.iter().filter(|disk| !before.contains(disk)).count();
    }
    assert_eq!(moved, held);
    assert!(held < 30, "{held} of 9,000 copies on one of a thousand disks");
}

#[test]
fn a_disk_without_weight_or_not_active_takes_nothing() {
    let mut map = flat(&[1, 0, 1, 1, 1]);
    map.disks[2].state = DiskState::Draining;
    map.disks[3].state = DiskState::Removed;
    let order = order(&chunk(1), &map);
    assert_eq!(order.len(), 2);
    assert!(!order.iter().any(|disk| [map.disks[1].id, map.disks[2].id, map.disks[3].id].contains(disk)));
    assert_eq!(homes(&chunk(1), &map).len(), 2);
}

#[test]
fn a_disk_of_an_unknown_node_is_a_rack_of_its_own() {
    let mut map = flat(&[1, 1]);
    map.nodes.pop();
    assert_eq!(homes(&chunk(1), &map).len(), 2);
}

#[test]
fn placement_is_what_it_was_when_the_first_cluster_was_filled() {
    let map = map(&[(0, 0, 1), (0, 0, 2), (0, 1, 3), (1, 2, 4), (1, 3, 1), (2, 4, 7)]);
    let numbers: Vec<Vec<usize>> = (0..4)
        .map(|number| {
            let order = order(&chunk(number), &map);
            order.iter().map(|id| map.disks.iter().position(|disk| disk.id == *id).unwrap()).collect()
        })
        .collect();
    assert_eq!(numbers, [[5, 3, 1, 2, 4, 0], [2, 3, 5, 4, 1, 0], [4, 5, 2, 3, 1, 0], [5, 3, 2, 1, 4, 0]]);
}
