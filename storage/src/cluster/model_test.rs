//! A small world, searched through: the maps of a cluster, which disks go by which of them, one chunk whose copies move
//! and are let go, replicas that are allotted, and a recovery from whatever map a disk still has. All orders of what can
//! happen are tried, up to a number of steps. What decides is the code of the product: placement, the controller's plan,
//! what a recovery makes of the map, which map follows and takes the place of which, and whose requests are heard.

use std::collections::{HashMap, HashSet, VecDeque};

use super::controller::{Observed, Standing, plan};
use super::recovery::{Alone, Recovery};
use crate::placement::homes;
use crate::types::{
    ChunkId, ClusterMap, DiskEntry, DiskId, DiskState, Epoch, GroupEntry, GroupId, NodeEntry, NodeId, ROOT_GROUP,
    ReplicaId,
};
use crate::wire::Context;

/// The most maps that are made one after the other.
const CHANGES: u8 = 3;
const MAX_DISKS: usize = 5;

fn disk(number: usize) -> DiskId {
    DiskId([number as u8 + 1; 16])
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looks {
    /// A chunk of which no copy is left.
    Chunk,
    /// A replica's id that was allotted twice.
    Replica,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// An administrator drains a disk, or ends that.
    Drain(usize),
    /// The map changes in something that places nothing.
    Touch,
    /// The controller has its way.
    Plan,
    /// A disk hears of the newest map.
    Learn(usize),
    /// A home that has no copy is given one.
    Copy { from: usize, to: usize },
    /// A disk that is no home asks one that is whether it holds the chunk.
    Ask { by: usize, home: usize },
    /// It lets go of its copy, as all homes hold theirs.
    Release(usize),
    /// The maps after that of this disk are lost.
    Recover(usize),
}

/// A set of disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Set(u8);

impl Set {
    fn has(self, number: usize) -> bool {
        self.0 >> number & 1 == 1
    }

    fn with(self, number: usize) -> Self {
        Self(self.0 | 1 << number)
    }

    fn without(self, number: usize) -> Self {
        Self(self.0 & !(1 << number))
    }
}

/// Maps are numbers here; see [`Model::maps`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    root: u16,
    known: [u16; MAX_DISKS],
    copies: Set,
    /// For each disk, who has promised to hold the chunk under the map that it knows.
    promised: [Set; MAX_DISKS],
    changes: u8,
    recoveries: u8,
    /// The replicas that were allotted.
    allotted: Vec<ReplicaId>,
}

/// All disks are up.
struct All;

impl Observed for All {
    fn is_up(&self, _: DiskId) -> bool {
        true
    }

    fn is_out(&self, _: DiskId) -> bool {
        false
    }

    fn standing(&self, _: GroupId, _: ReplicaId) -> Standing {
        Standing::Runs
    }
}

struct Model {
    disks: usize,
    /// Whether a recovery leaps and begins a generation, and messages are judged by it.
    generations: bool,
    looks: Looks,
    chunk: ChunkId,
    maps: Vec<ClusterMap>,
    /// Of the chunk, under each map.
    homes: Vec<Set>,
    numbers: HashMap<Vec<u8>, u16>,
}

impl Model {
    fn new(disks: usize, generations: bool, looks: Looks) -> Self {
        let chunk = ChunkId { group: GroupId(1), hash: [3; 32] };
        Self { disks, generations, looks, chunk, maps: Vec::new(), homes: Vec::new(), numbers: HashMap::new() }
    }

    fn number(&mut self, map: ClusterMap) -> u16 {
        let key = postcard::to_stdvec(&map).unwrap();
        let next = u16::try_from(self.maps.len()).unwrap();
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            let homes = homes(&self.chunk, &map);
            let all = (0..self.disks).filter(|number| homes.contains(&disk(*number)));
            self.homes.push(all.fold(Set::default(), Set::with));
            self.maps.push(map);
        }
        number
    }

    /// The first two disks have the chunk, and others would take it.
    fn first(&mut self) -> State {
        let entry = |number: usize| DiskEntry {
            id: disk(number),
            node: NodeId(number as u64),
            weight: 1,
            state: if number < 2 { DiskState::Active } else { DiskState::Draining },
        };
        let node =
            |number: usize| NodeEntry { id: NodeId(number as u64), address: String::new(), rack: number.to_string() };
        let map = ClusterMap {
            epoch: Epoch(1),
            nodes: (0..self.disks).map(node).collect(),
            disks: (0..self.disks).map(entry).collect(),
            groups: vec![GroupEntry::new(ROOT_GROUP, vec![(ReplicaId(1), disk(0))])],
            ..ClusterMap::default()
        };
        let root = self.number(map);
        State {
            root,
            known: [root; MAX_DISKS],
            copies: Set::default().with(0).with(1),
            promised: [Set::default(); MAX_DISKS],
            changes: 0,
            recoveries: 0,
            allotted: Vec::new(),
        }
    }

    fn map(&self, number: u16) -> &ClusterMap {
        &self.maps[usize::from(number)]
    }

    fn is_home(&self, map: u16, number: usize) -> bool {
        self.homes[usize::from(map)].has(number)
    }

    fn steps(&self) -> Vec<Step> {
        let all = 0..self.disks;
        let mut steps = vec![Step::Touch];
        for one in all.clone() {
            steps.extend([Step::Drain(one), Step::Learn(one), Step::Release(one), Step::Recover(one)]);
            for other in all.clone().filter(|other| *other != one) {
                steps.extend([Step::Copy { from: one, to: other }, Step::Ask { by: one, home: other }]);
            }
        }
        if self.looks == Looks::Replica {
            // Copies and promises have nothing to do with it.
            steps.retain(|step| matches!(step, Step::Touch | Step::Drain(_) | Step::Learn(_) | Step::Recover(_)));
            steps.push(Step::Plan);
        }
        steps
    }

    /// What follows from a step; `None` where it cannot be taken, or changes nothing.
    fn after(&mut self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Drain(_) | Step::Touch | Step::Plan => {
                let mut map = self.map(state.root).clone();
                match step {
                    Step::Drain(number) => {
                        let entry = &mut map.disks[number];
                        entry.state = match entry.state {
                            DiskState::Active => DiskState::Draining,
                            _ => DiskState::Active,
                        };
                    }
                    Step::Touch => map.nodes[0].address.push('.'),
                    _ => map = plan(&map, &All)?,
                }
                let map = self.map(state.root).succeeded_by(map)?;
                if step == Step::Plan {
                    let before = &self.map(state.root).groups[0].joining;
                    let new = map.groups[0].joining.iter().filter(|joining| !before.contains(joining));
                    next.allotted.extend(new.map(|joining| joining.replica));
                }
                next.changes = (state.changes < CHANGES).then_some(state.changes + 1)?;
                next.root = self.number(map);
            }
            Step::Learn(number) => {
                let (new, old) = (self.map(state.root), self.map(state.known[number]));
                let takes = if self.generations { new.supersedes(old) } else { new.epoch > old.epoch };
                takes.then_some(())?;
                next.known[number] = state.root;
                // What was asked was asked under the map of before.
                next.promised[number] = Set::default();
            }
            Step::Copy { from, to } => {
                let wanted = self.is_home(state.known[from], to) && state.copies.has(from) && !state.copies.has(to);
                (wanted && self.is_heard(state, from, to)).then_some(())?;
                next.copies = state.copies.with(to);
            }
            Step::Ask { by, home } => {
                let asks = state.copies.has(by) && !self.is_home(state.known[by], by);
                let (own, other) = (self.map(state.known[by]), self.map(state.known[home]));
                let holds = own.epoch == other.epoch && state.copies.has(home) && self.is_heard(state, by, home);
                (asks && holds && self.is_home(state.known[by], home)).then_some(())?;
                next.promised[by] = state.promised[by].with(home);
            }
            Step::Release(number) => {
                let map = state.known[number];
                let all_hold = (0..self.disks).all(|home| !self.is_home(map, home) || state.promised[number].has(home));
                let has_homes = self.homes[usize::from(map)] != Set::default();
                (state.copies.has(number) && !self.is_home(map, number) && has_homes && all_hold).then_some(())?;
                next.copies = state.copies.without(number);
                next.promised[number] = Set::default();
            }
            Step::Recover(survivor) => {
                next.recoveries = (state.recoveries == 0).then_some(1)?;
                let old = self.map(state.known[survivor]).clone();
                let (replica, on) = old.groups[0].replicas[0];
                let alone = vec![Alone { group: ROOT_GROUP, replica, disk: on, voters: 3 }];
                let generation = self.generations.then_some(7);
                let recovery = Recovery { alone, lost: Vec::new(), generation };
                let map = old.succeeded_by(recovery.apply(&old, &old))?;
                next.root = self.number(map);
            }
        }
        (next != *state).then_some(next)
    }

    fn is_heard(&self, state: &State, from: usize, to: usize) -> bool {
        let (own, other) = (self.map(state.known[from]), self.map(state.known[to]));
        let says = Context { cluster: Some((own.cluster, own.generation.stamp())), ..Context::default() };
        says.check(other.cluster, &other.generation).is_ok()
    }

    fn is_violated(&self, state: &State) -> bool {
        match self.looks {
            Looks::Chunk => state.copies == Set::default(),
            Looks::Replica => state.allotted.iter().collect::<HashSet<_>>().len() < state.allotted.len(),
        }
    }

    /// The steps to the nearest state that must not be, within so many steps; else how many states there are.
    fn search(&mut self, depth: usize) -> Result<usize, Vec<Step>> {
        let first = self.first();
        let steps = self.steps();
        let mut states = vec![(first.clone(), None::<(usize, Step)>, 0)];
        let mut seen = HashSet::from([first]);
        let mut queue = VecDeque::from([0]);
        while let Some(at) = queue.pop_front() {
            let (state, _, level) = states[at].clone();
            if level == depth {
                continue;
            }
            for step in &steps {
                let Some(next) = self.after(&state, *step).filter(|next| !seen.contains(next)) else { continue };
                let is_violated = self.is_violated(&next);
                seen.insert(next.clone());
                states.push((next, Some((at, *step)), level + 1));
                if is_violated {
                    let mut trace = Vec::new();
                    let mut last = states.len() - 1;
                    while let Some((before, step)) = states[last].1 {
                        trace.push(step);
                        last = before;
                    }
                    trace.reverse();
                    return Err(trace);
                }
                queue.push_back(states.len() - 1);
            }
        }
        Ok(states.len())
    }
}

#[test]
fn no_chunk_is_lost_and_no_replica_allotted_twice_in_any_order() {
    for (disks, looks, depth) in
        [(3, Looks::Chunk, 10), (4, Looks::Chunk, 7), (3, Looks::Replica, 10), (5, Looks::Replica, 7)]
    {
        let found = Model::new(disks, true, looks).search(depth);
        let states = found.unwrap_or_else(|trace| panic!("{looks:?} of {disks} disks: {trace:#?}"));
        println!("{looks:?} of {disks} disks: {states} states");
        assert!(states > 500, "{states}");
    }
}

#[test]
fn where_a_recovery_uses_epochs_again_the_search_finds_what_is_lost() {
    for looks in [Looks::Chunk, Looks::Replica] {
        let trace = Model::new(3, false, looks).search(10).expect_err("epochs are used twice");
        println!("{looks:?}: {trace:?}");
        assert!(trace.iter().any(|step| matches!(step, Step::Recover(_))), "{trace:?}");
    }
}
