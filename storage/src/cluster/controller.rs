//! What ought to change in the cluster map: which disks are left out, and which disks have a voter of each group. Pure:
//! a function of the map and of which disks are up. The node that leads the root group acts on it; each step is one new
//! map, so that a controller that dies in the middle leaves nothing undone that the next one does not see.
//!
//! A group has three voters, on distinct racks, else distinct nodes, else distinct disks. A voter on a disk that is out
//! for good is replaced as soon as another disk can take its place; until then it counts. So is one that was lost on a
//! disk that is well, which may take the one that comes after it, too. What broke on what all voters have is not
//! replaced: the next one would break, and with it the next disk's.

use std::collections::{BTreeSet, HashMap};

use crate::types::{ClusterMap, DiskId, DiskState, Epoch, GroupEntry, GroupId, Joining, NodeId, ReplicaId};

/// How many voters a group is to have.
const VOTERS: usize = 3;
/// How many replicas one new map may allot: a replica's id holds the map's epoch, and its number in it.
const PER_EPOCH_BITS: u32 = 16;

/// What is known of the disks beyond the map.
pub trait Observed {
    /// Whether the disk takes and gives data now.
    fn is_up(&self, disk: DiskId) -> bool;
    /// Whether it has been silent for so long that others are to take over its share.
    fn is_out(&self, disk: DiskId) -> bool;
    /// How a replica is whose disk is up.
    fn standing(&self, group: GroupId, replica: ReplicaId) -> Standing;
}

/// How a replica is, as far as its node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Or nobody says otherwise.
    Runs,
    /// It will not run again: it ended, or has lost its memory.
    Lost,
    /// It does not run for what its whole group has.
    Broken,
}

/// The epoch of the map that allotted the replica's id.
pub fn allotted_by(replica: ReplicaId) -> Epoch {
    Epoch(replica.0 >> PER_EPOCH_BITS)
}

/// Whether the replica's id was allotted by a map of this epoch or an earlier one, and not by one that a recovery has
/// lost. What such a map does not know any more has left its group.
pub fn is_known_by(replica: ReplicaId, map: &ClusterMap) -> bool {
    allotted_by(replica) <= map.epoch && !map.generation.has_lost(allotted_by(replica))
}

/// The map as it ought to be next; `None` where it is as it should be. Its epoch is still the old one: whoever replaces
/// the map gives it the next.
pub fn plan(map: &ClusterMap, observed: &impl Observed) -> Option<ClusterMap> {
    let mut new = map.clone();
    for disk in &mut new.disks {
        match disk.state {
            DiskState::Active if observed.is_out(disk.id) => disk.state = DiskState::Out,
            DiskState::Out if observed.is_up(disk.id) => disk.state = DiskState::Active,
            _ => {}
        }
    }
    let mut ids = Ids { base: (map.epoch.0 + 1) << PER_EPOCH_BITS, next: 0 };
    let groups: Vec<GroupId> = new.groups.iter().map(|group| group.id).collect();
    for group in groups {
        let planner = Planner::new(&new, observed, group);
        if let Some(entry) = planner.and_then(|planner| planner.plan(&mut ids))
            && let Some(place) = new.groups.iter_mut().find(|candidate| candidate.id == group)
        {
            *place = entry;
        }
    }
    (new != *map).then_some(new)
}

/// A group that `node` leads and another node had better lead, with the voter there: one where at least two groups fewer
/// are led. `leaders` are those of all groups that have one. Each node asks for itself; two that act at the same time
/// may give to the same third one, which gives back. Only what `may` be handed over is.
pub fn group_to_hand_over(
    map: &ClusterMap,
    observed: &impl Observed,
    leaders: &[(GroupId, ReplicaId, DiskId)],
    node: NodeId,
    may: impl Fn(GroupId, ReplicaId) -> bool,
) -> Option<(GroupId, ReplicaId)> {
    let node_of = |disk: DiskId| map.disk(disk).map(|entry| entry.node);
    let mut load: HashMap<NodeId, usize> = HashMap::new();
    for leader in leaders.iter().filter_map(|(_, _, disk)| node_of(*disk)) {
        *load.entry(leader).or_default() += 1;
    }
    let load = |node: NodeId| load.get(&node).copied().unwrap_or(0);
    let own = leaders.iter().filter(|(_, _, disk)| node_of(*disk) == Some(node));
    let entries = own.filter_map(|(group, ..)| map.group(*group));
    let settled = entries.filter(|entry| entry.joining.is_empty() && entry.leaving.is_empty());
    let voters =
        settled.flat_map(|entry| entry.replicas.iter().map(move |(replica, disk)| (entry.id, *replica, *disk)));
    let (load_there, group, replica) = voters
        .filter(|(group, replica, disk)| {
            observed.is_up(*disk) && observed.standing(*group, *replica) == Standing::Runs && may(*group, *replica)
        })
        .filter_map(|(group, replica, disk)| Some((load(node_of(disk)?), group, replica)))
        .min()?;
    (load(node) >= load_there + 2).then_some((group, replica))
}

struct Ids {
    base: u64,
    next: u64,
}

impl Ids {
    fn take(&mut self) -> ReplicaId {
        self.next += 1;
        ReplicaId(self.base | self.next)
    }
}

/// What one group's voters should be.
struct Planner<'a, O> {
    map: &'a ClusterMap,
    observed: &'a O,
    entry: &'a GroupEntry,
    /// How many replicas each disk has, of all groups.
    load: HashMap<DiskId, usize>,
}

impl<'a, O: Observed> Planner<'a, O> {
    fn new(map: &'a ClusterMap, observed: &'a O, group: GroupId) -> Option<Self> {
        let mut load = HashMap::new();
        for (_, disk) in map.groups.iter().flat_map(GroupEntry::all) {
            *load.entry(disk).or_insert(0) += 1;
        }
        Some(Self { map, observed, entry: map.group(group)?, load })
    }

    fn plan(&self, ids: &mut Ids) -> Option<GroupEntry> {
        let mut entry = self.entry.clone();
        // What cannot join any more leaves; it never voted. So does what was to take the disk of one that runs again.
        let is_in_use = |one: &Joining| {
            let runs = |(replica, disk): &(ReplicaId, DiskId)| {
                Some(*replica) == one.replaces && *disk == one.disk && !self.is_lost(*replica)
            };
            entry.replicas.iter().any(runs)
        };
        let may_join = |one: &&Joining| self.is_active(one.disk) && !self.is_lost(one.replica) && !is_in_use(one);
        let (stay, go): (Vec<Joining>, Vec<Joining>) = entry.joining.iter().partition(may_join);
        entry.leaving.extend(go.iter().map(|joining| (joining.replica, joining.disk)));
        entry.joining = stay;
        if entry.joining.is_empty() && entry.leaving.is_empty() {
            self.change(&mut entry, ids);
        }
        (entry != *self.entry).then_some(entry)
    }

    /// Only when no change is under way.
    fn change(&self, entry: &mut GroupEntry, ids: &mut Ids) {
        let has_quorum = self.has_quorum();
        let is_good =
            |(replica, disk): &&(ReplicaId, DiskId)| self.is_active(*disk) && !(has_quorum && self.is_lost(*replica));
        let (good, mut bad): (Vec<_>, Vec<_>) = entry.replicas.iter().partition(is_good);
        let mut disks: Vec<DiskId> = good.iter().map(|(_, disk)| *disk).collect();
        while disks.len() < VOTERS {
            let Some(best) = self.best(&disks, has_quorum) else { break };
            disks.push(best);
            // A disk has one replica of a group: who takes a lost one's disk takes its place.
            let victim = bad.iter().position(|(_, disk)| *disk == best).or(bad.len().checked_sub(1));
            let replaces = victim.map(|victim| bad.remove(victim).0);
            entry.joining.push(Joining { replica: ids.take(), disk: best, replaces });
        }
        if !entry.joining.is_empty() {
            return;
        }
        // Nobody can take their place; the group is better off without those that will never vote again.
        let removed: Vec<_> = bad.into_iter().filter(|(_, disk)| self.is_removed(*disk)).collect();
        if !removed.is_empty() && !good.is_empty() {
            entry.replicas.retain(|replica| !removed.contains(replica));
            entry.leaving.extend(removed);
            return;
        }
        if good.len() == entry.replicas.len()
            && let Some((victim, disk)) = self.better_place(&good)
        {
            entry.joining.push(Joining { replica: ids.take(), disk, replaces: Some(victim) });
        }
    }

    fn is_lost(&self, replica: ReplicaId) -> bool {
        self.observed.standing(self.entry.id, replica) == Standing::Lost
    }

    /// Whether a majority of the voters is up and runs. Otherwise a lost one is let be: nobody could take its place now,
    /// and what its disk still has of it may be the last that there is.
    fn has_quorum(&self) -> bool {
        let voters = &self.entry.replicas;
        let run = voters.iter().filter(|(replica, disk)| {
            self.observed.is_up(*disk) && self.observed.standing(self.entry.id, *replica) == Standing::Runs
        });
        2 * run.count() > voters.len()
    }

    fn is_active(&self, disk: DiskId) -> bool {
        self.map.disk(disk).is_some_and(|entry| entry.state == DiskState::Active && entry.weight > 0)
    }

    fn is_removed(&self, disk: DiskId) -> bool {
        self.map.disk(disk).is_none_or(|entry| entry.state == DiskState::Removed)
    }

    /// The disk that goes best with these: the one that spreads them most, then the one with the fewest replicas. That
    /// of a voter that was lost only where it may be replaced.
    fn best(&self, with: &[DiskId], over_lost: bool) -> Option<DiskId> {
        let candidates = self.map.disks.iter().map(|disk| disk.id).filter(|disk| {
            let stays = |replica| !(over_lost && self.is_lost(replica));
            let is_member = self.entry.all().any(|(replica, member)| member == *disk && stays(replica));
            !is_member && !with.contains(disk) && self.is_active(*disk) && self.observed.is_up(*disk)
        });
        candidates.max_by_key(|disk| {
            let together: Vec<DiskId> = with.iter().copied().chain([*disk]).collect();
            let load = self.load.get(disk).copied().unwrap_or(0);
            (self.spread(&together), std::cmp::Reverse((load, *disk)))
        })
    }

    /// A voter, and a disk that would spread the group further in its place.
    fn better_place(&self, good: &[(ReplicaId, DiskId)]) -> Option<(ReplicaId, DiskId)> {
        let disks = |without: Option<ReplicaId>| -> Vec<DiskId> {
            good.iter().filter(|(replica, _)| Some(*replica) != without).map(|(_, disk)| *disk).collect()
        };
        let now = self.spread(&disks(None));
        let moves = good.iter().filter_map(|(victim, from)| {
            let mut others = disks(Some(*victim));
            let to = self.best(&others, false)?;
            others.push(to);
            let load = self.load.get(from).copied().unwrap_or(0);
            Some((self.spread(&others), load, *victim, to))
        });
        let best = moves.max_by_key(|(spread, load, victim, _)| (*spread, *load, *victim))?;
        (best.0 > now).then_some((best.2, best.3))
    }

    /// How many racks and how many nodes the disks are on.
    fn spread(&self, disks: &[DiskId]) -> (usize, usize) {
        let nodes: BTreeSet<NodeId> =
            disks.iter().filter_map(|disk| self.map.disk(*disk)).map(|disk| disk.node).collect();
        let racks: BTreeSet<&str> =
            nodes.iter().filter_map(|node| self.map.node(*node)).map(|node| node.rack.as_str()).collect();
        (racks.len(), nodes.len())
    }
}

#[cfg(test)]
#[path = "controller_test.rs"]
mod tests;
