use std::collections::HashSet;

use super::*;
use crate::types::{ClusterId, DiskEntry, Epoch, NodeEntry, ROOT_GROUP};

#[derive(Default)]
struct Seen {
    down: HashSet<DiskId>,
    out: HashSet<DiskId>,
    lost: HashSet<(GroupId, ReplicaId)>,
    broken: HashSet<(GroupId, ReplicaId)>,
}

impl Observed for Seen {
    fn is_up(&self, disk: DiskId) -> bool {
        !self.down.contains(&disk)
    }

    fn is_out(&self, disk: DiskId) -> bool {
        self.out.contains(&disk)
    }

    fn standing(&self, group: GroupId, replica: ReplicaId) -> Standing {
        match (self.lost.contains(&(group, replica)), self.broken.contains(&(group, replica))) {
            (true, _) => Standing::Lost,
            (false, true) => Standing::Broken,
            (false, false) => Standing::Runs,
        }
    }
}

fn disk(number: u8) -> DiskId {
    DiskId([number; 16])
}

/// A cluster whose disks are on the given nodes; every node is a rack of its own. All groups start on the first disk.
fn cluster(nodes: &[u64], groups: u32) -> ClusterMap {
    let entry = |id: u64| NodeEntry { id: NodeId(id), address: format!("{id}"), rack: format!("rack {id}") };
    let distinct: BTreeSet<u64> = nodes.iter().copied().collect();
    ClusterMap {
        cluster: ClusterId([1; 16]),
        epoch: Epoch(1),
        nodes: distinct.into_iter().map(entry).collect(),
        disks: (1..).zip(nodes).map(|(number, node)| active(number, *node)).collect(),
        groups: (0..=groups)
            .map(|group| GroupEntry::new(GroupId(group), vec![(ReplicaId(u64::from(group) + 1), disk(1))]))
            .collect(),
        ..ClusterMap::default()
    }
}

fn active(number: u8, node: u64) -> DiskEntry {
    DiskEntry { id: disk(number), node: NodeId(node), weight: 1, state: DiskState::Active }
}

/// What the groups' leaders and the root group make of the plans, until there are none.
fn settled(mut map: ClusterMap, seen: &Seen) -> ClusterMap {
    let mut used: HashSet<(GroupId, ReplicaId)> =
        map.groups.iter().flat_map(|group| group.all().map(|(replica, _)| (group.id, replica))).collect();
    for _ in 0..100 {
        let Some(next) = plan(&map, seen) else { return map };
        map = ClusterMap { epoch: Epoch(map.epoch.0 + 1), ..next };
        for group in &mut map.groups {
            for joining in std::mem::take(&mut group.joining) {
                assert!(used.insert((group.id, joining.replica)), "a replica's id is used once");
                assert_eq!(joining.replica.0 >> PER_EPOCH_BITS, map.epoch.0);
                group.replicas.retain(|(replica, _)| Some(*replica) != joining.replaces);
                group.replicas.push((joining.replica, joining.disk));
            }
            group.leaving.clear();
        }
    }
    panic!("the plans never end");
}

fn voters(map: &ClusterMap, group: GroupId) -> BTreeSet<DiskId> {
    map.group(group).unwrap().replicas.iter().map(|(_, disk)| *disk).collect()
}

fn nodes_of(map: &ClusterMap, group: GroupId) -> BTreeSet<NodeId> {
    voters(map, group).iter().map(|id| map.disk(*id).unwrap().node).collect()
}

#[test]
fn a_group_goes_from_one_voter_to_three_in_one_change() {
    let map = cluster(&[1, 2, 3], 1);
    let next = plan(&map, &Seen::default()).unwrap();
    assert_eq!(next.groups[0].joining.len(), 2);
    let settled = settled(map, &Seen::default());
    assert_eq!(voters(&settled, ROOT_GROUP).len(), 3);
    assert_eq!(plan(&settled, &Seen::default()), None);
}

#[test]
fn voters_spread_over_the_nodes_as_these_join() {
    let mut map = cluster(&[1, 1, 1], 3);
    map = settled(map, &Seen::default());
    assert_eq!(nodes_of(&map, GroupId(1)).len(), 1);
    for (number, node) in [(4, 2), (5, 3)] {
        map.nodes.push(NodeEntry { id: NodeId(node), address: String::new(), rack: format!("rack {node}") });
        map.disks.push(active(number, node));
        map = settled(map, &Seen::default());
    }
    for group in 0..=3 {
        assert_eq!(nodes_of(&map, GroupId(group)).len(), 3, "group {group}");
        assert_eq!(voters(&map, GroupId(group)).len(), 3);
    }
}

#[test]
fn replicas_are_spread_over_the_disks_of_a_node() {
    let map = settled(cluster(&[1, 2, 3, 3, 3, 3], 7), &Seen::default());
    for number in 3..=6 {
        let load = map.groups.iter().flat_map(GroupEntry::all).filter(|(_, id)| *id == disk(number)).count();
        assert_eq!(load, 2, "disk {number}");
    }
}

#[test]
fn a_silent_disk_is_left_out_replaced_and_taken_back() {
    let mut map = settled(cluster(&[1, 2, 3, 4], 1), &Seen::default());
    let lost = *voters(&map, ROOT_GROUP).first().unwrap();
    let only_down = Seen { down: HashSet::from([lost]), ..Seen::default() };
    assert_eq!(plan(&map, &only_down), None, "it may come back any moment");
    let out = Seen { down: HashSet::from([lost]), out: HashSet::from([lost]), ..Seen::default() };
    map = settled(map, &out);
    assert_eq!(map.disk(lost).unwrap().state, DiskState::Out);
    assert_eq!(voters(&map, ROOT_GROUP).len(), 3);
    assert!(!voters(&map, ROOT_GROUP).contains(&lost));
    map = settled(map, &Seen::default());
    assert_eq!(map.disk(lost).unwrap().state, DiskState::Active);
}

#[test]
fn without_another_disk_a_silent_voter_counts_on_and_a_removed_one_goes() {
    let mut map = settled(cluster(&[1, 2, 3], 1), &Seen::default());
    let out = Seen { down: HashSet::from([disk(3)]), out: HashSet::from([disk(3)]), ..Seen::default() };
    map = settled(map, &out);
    assert_eq!(voters(&map, ROOT_GROUP).len(), 3);
    map.disks.iter_mut().find(|entry| entry.id == disk(3)).unwrap().state = DiskState::Removed;
    map = settled(map, &out);
    assert_eq!(voters(&map, ROOT_GROUP), BTreeSet::from([disk(1), disk(2)]));
}

#[test]
fn a_newcomer_that_is_lost_before_it_votes_is_given_up() {
    let map = cluster(&[1, 2, 3], 1);
    let mut map = ClusterMap { epoch: Epoch(2), ..plan(&map, &Seen::default()).unwrap() };
    map.disks[2].state = DiskState::Removed;
    let next = plan(&map, &Seen::default()).unwrap();
    assert_eq!(next.groups[0].joining.len(), 1);
    assert_eq!(next.groups[0].leaving.len(), 1);
}

#[test]
fn what_a_later_map_allots_an_earlier_one_does_not_know() {
    let map = cluster(&[1, 2, 3], 1);
    let next = plan(&map, &Seen::default()).unwrap();
    let newcomer = next.groups[0].joining[0].replica;
    assert!(!is_known_by(newcomer, &map));
    assert!(is_known_by(newcomer, &ClusterMap { epoch: Epoch(2), ..next }));
    assert!(is_known_by(ReplicaId(1), &map));
}

#[test]
fn leaders_are_spread_over_the_nodes_until_nobody_has_two_more_than_another() {
    let map = settled(cluster(&[1, 2, 3, 3], 6), &Seen::default());
    let mut leaders: Vec<_> =
        map.groups.iter().map(|group| (group.id, group.replicas[0].0, group.replicas[0].1)).collect();
    let mut moves = 0;
    while let Some((group, to)) =
        (1..=3).find_map(|node| group_to_hand_over(&map, &Seen::default(), &leaders, NodeId(node), |_, _| true))
    {
        let voter = *map.group(group).unwrap().replicas.iter().find(|(replica, _)| *replica == to).unwrap();
        *leaders.iter_mut().find(|leader| leader.0 == group).unwrap() = (group, voter.0, voter.1);
        moves += 1;
        assert!(moves < 10, "it comes to an end");
    }
    let led_by = |node: u64| leaders.iter().filter(|(.., disk)| map.disk(*disk).unwrap().node == NodeId(node)).count();
    let mut led = [led_by(1), led_by(2), led_by(3)];
    led.sort_unstable();
    assert_eq!(led, [2, 2, 3]);
}

#[test]
fn a_group_is_not_handed_over_to_a_disk_that_is_down_or_while_its_voters_change() {
    let map = settled(cluster(&[1, 2, 3], 3), &Seen::default());
    let leaders: Vec<_> = map.groups.iter().map(|group| (group.id, ReplicaId(1), disk(1))).collect();
    let down = Seen { down: HashSet::from([disk(2), disk(3)]), ..Seen::default() };
    assert_eq!(group_to_hand_over(&map, &down, &leaders, NodeId(1), |_, _| true), None);
    assert!(group_to_hand_over(&map, &Seen::default(), &leaders, NodeId(1), |_, _| true).is_some());
    let none = |_: GroupId, _: ReplicaId| false;
    assert_eq!(group_to_hand_over(&map, &Seen::default(), &leaders, NodeId(1), none), None);
    let mut changing = map;
    for group in &mut changing.groups {
        group.leaving.push((ReplicaId(99), disk(3)));
    }
    assert_eq!(group_to_hand_over(&changing, &Seen::default(), &leaders, NodeId(1), |_, _| true), None);
}

/// The voter of a group on a disk.
fn voter_on(map: &ClusterMap, group: GroupId, on: DiskId) -> (GroupId, ReplicaId) {
    let (replica, _) = map.group(group).unwrap().replicas.iter().find(|(_, disk)| *disk == on).unwrap();
    (group, *replica)
}

#[test]
fn a_voter_that_was_lost_on_a_disk_that_is_well_is_replaced_there_if_nowhere_else() {
    let map = settled(cluster(&[1, 2, 3], 1), &Seen::default());
    let lost = voter_on(&map, ROOT_GROUP, disk(2));
    let seen = Seen { lost: HashSet::from([lost]), ..Seen::default() };
    let after = settled(map.clone(), &seen);
    assert_eq!(voters(&after, ROOT_GROUP), voters(&map, ROOT_GROUP));
    assert_ne!(voter_on(&after, ROOT_GROUP, disk(2)), lost, "by another replica");
    assert_eq!(after.group(GroupId(1)), map.group(GroupId(1)), "nothing else moves");
    assert!(after.disks.iter().all(|disk| disk.state == DiskState::Active));
}

#[test]
fn of_a_lost_voter_and_one_whose_disk_is_out_each_leaves_for_its_own() {
    let mut map = cluster(&[1, 2, 3, 4, 5], 0);
    let all = (1..=5).map(|number| (ReplicaId(u64::from(number)), disk(number))).collect();
    map.groups = vec![GroupEntry::new(ROOT_GROUP, all)];
    map.disks[3].state = DiskState::Out;
    map.disks[4].state = DiskState::Draining;
    let lost = HashSet::from([(ROOT_GROUP, ReplicaId(2))]);
    let seen = Seen { down: HashSet::from([disk(4), disk(5)]), lost, ..Seen::default() };
    assert_eq!(plan(&map, &seen), None, "two of five do not decide");
    let seen = Seen { down: HashSet::from([disk(4)]), ..seen };
    let next = plan(&map, &seen).unwrap();
    let joining = &next.groups[0].joining;
    assert_eq!(joining.iter().map(|one| (one.disk, one.replaces)).collect::<Vec<_>>(), [(disk(2), Some(ReplicaId(2)))]);
}

#[test]
fn without_a_majority_that_runs_nothing_is_replaced() {
    let map = settled(cluster(&[1, 2, 3], 0), &Seen::default());
    let lost = |number| voter_on(&map, ROOT_GROUP, disk(number));
    let two = Seen { lost: HashSet::from([lost(1), lost(2)]), ..Seen::default() };
    assert_eq!(plan(&map, &two), None);
    let one_and_down = Seen { lost: HashSet::from([lost(1)]), down: HashSet::from([disk(2)]), ..Seen::default() };
    assert_eq!(plan(&map, &one_and_down), None);
    let mut alone = cluster(&[1], 0);
    alone.groups[0].replicas = vec![lost(1)].into_iter().map(|(_, replica)| (replica, disk(1))).collect();
    assert_eq!(plan(&alone, &two), None);
}

#[test]
fn what_broke_on_what_all_have_is_not_replaced() {
    let map = settled(cluster(&[1, 2, 3, 4], 1), &Seen::default());
    let broken = map.group(GroupId(1)).unwrap().replicas.iter().map(|(replica, _)| (GroupId(1), *replica));
    let all = Seen { broken: broken.clone().collect(), ..Seen::default() };
    assert_eq!(plan(&map, &all), None);
    let one = Seen { broken: broken.take(1).collect(), ..Seen::default() };
    assert_eq!(plan(&map, &one), None);
}

#[test]
fn one_that_was_to_take_the_disk_of_a_voter_that_runs_again_is_given_up() {
    let map = settled(cluster(&[1, 2, 3], 0), &Seen::default());
    let lost = voter_on(&map, ROOT_GROUP, disk(2));
    let seen = Seen { lost: HashSet::from([lost]), ..Seen::default() };
    let next = plan(&map, &seen).unwrap();
    let next = ClusterMap { epoch: Epoch(map.epoch.0 + 1), ..next };
    assert_eq!(plan(&next, &seen), None, "it joins");
    let given_up = plan(&next, &Seen::default()).unwrap();
    assert!(given_up.groups[0].joining.is_empty());
    assert_eq!(given_up.groups[0].leaving.len(), 1);
    // Nor is one waited for that was lost before it voted.
    let newcomer = (ROOT_GROUP, next.groups[0].joining[0].replica);
    let both = Seen { lost: HashSet::from([lost, newcomer]), ..Seen::default() };
    assert!(plan(&next, &both).unwrap().groups[0].joining.is_empty());
}
