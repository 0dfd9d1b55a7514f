//! Which of the nodes that are started alike forms the cluster: each grants that to one of them, durably before it says so,
//! and takes it back only when that one has given up. Who holds the grants of as many nodes as are expected forms it.
//!
//! Two cannot, where that many are more than half of all nodes: some node would have granted it to both, and to the
//! second only after the first had given up, which is on its disk before others hear of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::identity;
use crate::durable;

/// The name of the file, in one directory of a node that waits. It counts for nothing in an otherwise empty one.
pub const FILE: &str = "cairn.json.ballot";
const FORMAT: u32 = 1;

/// A node that might form the cluster. Each time it gives up, its next round begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Candidate {
    pub node: u64,
    pub round: u64,
}

/// What a node that waits says: who it is, and to whom it has granted to form the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    pub own: Candidate,
    pub granted: Option<Candidate>,
}

/// What a node does after it has heard the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Wait,
    /// To be on disk before it is told.
    Change(Ballot),
    Form,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    ballot: Ballot,
}

impl Ballot {
    /// That of a node that has never waited before.
    pub fn new(node: u64) -> Self {
        Self { own: Candidate { node, round: 0 }, granted: None }
    }

    /// The directory where the ballot is, or is to be.
    pub fn place(directories: &[PathBuf]) -> Option<&Path> {
        let has_one = directories.iter().find(|directory| directory.join(FILE).exists());
        has_one.or(directories.first()).map(PathBuf::as_path)
    }

    /// That of the last start, or a new one, which is then on disk. Blocks on the file system.
    ///
    /// # Errors
    /// The file system's; a file that is none of ours.
    pub fn load_or_make(directory: &Path) -> std::io::Result<Self> {
        let bytes = match std::fs::read(directory.join(FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                durable::create_dir(directory)?;
                let ballot = Self::new(rand::random());
                return ballot.store(directory).map(|()| ballot);
            }
            read => read?,
        };
        let file: File = serde_json::from_slice(&bytes)?;
        let known = file.format == FORMAT;
        known.then_some(file.ballot).ok_or_else(|| std::io::Error::other(format!("{FILE} is of a newer format")))
    }

    /// Writes it, durably. Blocks on the file system.
    ///
    /// # Errors
    /// The file system's.
    pub fn store(&self, directory: &Path) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(&File { format: FORMAT, ballot: *self })?;
        durable::write_atomic(&directory.join(FILE), &bytes, durable::PRIVATE)
    }

    /// For a node that has a cluster now: [`identity::FILE`] says all of it.
    ///
    /// # Errors
    /// The file system's.
    pub fn forget(directory: &Path) -> std::io::Result<()> {
        debug_assert!(FILE.starts_with(identity::FILE));
        durable::remove_if_there(&directory.join(FILE))
    }

    /// What to do after these were heard to wait, too; itself may be among them. One thing at a time.
    pub fn next(&self, heard: &[Self], expected: usize) -> Next {
        let mut others: BTreeMap<u64, Self> = BTreeMap::new();
        for other in heard.iter().filter(|other| other.own.node != self.own.node) {
            let newest = others.entry(other.own.node).or_insert(*other);
            if other.own.round >= newest.own.round {
                *newest = *other;
            }
        }
        let is_alive =
            |candidate: Candidate| others.get(&candidate.node).is_some_and(|other| other.own.round == candidate.round);
        let gave_up =
            |candidate: Candidate| others.get(&candidate.node).is_some_and(|other| other.own.round > candidate.round);
        let all = || std::iter::once(self).chain(others.values());
        let grants = || all().filter_map(|ballot| ballot.granted);

        if self.granted == Some(self.own) && grants().filter(|granted| *granted == self.own).count() >= expected {
            return Next::Form;
        }
        if self.granted.is_some_and(gave_up) {
            return Next::Change(Self { granted: None, ..*self });
        }
        // Of two who are granted it, the lower goes on.
        let granted_to_lower = grants().any(|granted| granted.node < self.own.node && is_alive(granted));
        if granted_to_lower && grants().any(|granted| granted == self.own) {
            let own = Candidate { round: self.own.round + 1, ..self.own };
            return Next::Change(Self { own, granted: self.granted.filter(|granted| *granted != self.own) });
        }
        if self.granted.is_none() && all().count() >= expected {
            return Next::Change(Self { granted: all().map(|ballot| ballot.own).min(), ..*self });
        }
        Next::Wait
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Nodes that wait, what each has heard since its last step, and who has formed a cluster.
    struct World {
        ballots: Vec<Ballot>,
        heard: Vec<Vec<Ballot>>,
        formed: Vec<usize>,
        expected: usize,
    }

    impl World {
        fn new(nodes: usize, expected: usize) -> Self {
            let ballots = (0..nodes).map(|node| Ballot::new(node as u64)).collect();
            Self { ballots, heard: vec![Vec::new(); nodes], formed: Vec::new(), expected }
        }

        fn step(&mut self, node: usize, is_cut_off: bool) {
            match self.ballots[node].next(&std::mem::take(&mut self.heard[node]), self.expected) {
                Next::Wait => {}
                Next::Change(ballot) => self.ballots[node] = ballot,
                // It was killed before it could begin.
                Next::Form if is_cut_off => {}
                Next::Form => self.formed.push(node),
            }
        }

        /// All hear of all who wait still, and act.
        fn round(&mut self) {
            for node in (0..self.ballots.len()).filter(|node| !self.formed.contains(node)).collect::<Vec<_>>() {
                let waits = |other: &usize| !self.formed.contains(other);
                self.heard[node] = (0..self.ballots.len()).filter(waits).map(|other| self.ballots[other]).collect();
                self.step(node, false);
            }
        }
    }

    #[test]
    fn whatever_is_heard_late_and_whoever_is_killed_one_node_forms_the_cluster() {
        for seed in 0..4_000 {
            let random = &mut StdRng::seed_from_u64(seed);
            let nodes = random.random_range(2..=6);
            let mut world = World::new(nodes, random.random_range(nodes / 2 + 1..=nodes));
            for _ in 0..random.random_range(0..80) {
                let waits: Vec<usize> = (0..nodes).filter(|node| !world.formed.contains(node)).collect();
                let (node, other) = (*waits.choose(random).unwrap(), *waits.choose(random).unwrap());
                match random.random_range(0..10) {
                    // What it heard before it acts may be old by then.
                    0..6 => world.heard[node].push(world.ballots[other]),
                    6..9 => world.step(node, random.random_bool(0.5)),
                    _ => world.heard[node].clear(),
                }
                if waits.len() == 1 {
                    break;
                }
            }
            for _ in 0..20 * nodes {
                world.round();
            }
            assert_eq!(world.formed.len(), 1, "seed {seed}: {:?}", world.ballots);
        }
    }

    #[test]
    fn a_grant_outlives_the_process_and_is_for_one() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("disk");
        let mut ballot = Ballot::load_or_make(&directory).unwrap();
        assert_eq!(Ballot::load_or_make(&directory).unwrap(), ballot);
        let (low, lower) = (Ballot::new(1), Ballot::new(0));
        ballot.own.node = 2;
        let Next::Change(granting) = ballot.next(&[low], 2) else { panic!("it grants nobody") };
        assert_eq!(granting.granted, Some(low.own));
        granting.store(&directory).unwrap();
        let after = Ballot::load_or_make(&directory).unwrap();
        assert_eq!((after, after.next(&[low, lower], 2)), (granting, Next::Wait));
        let gave_up = Ballot { own: Candidate { node: 1, round: 1 }, granted: None };
        assert_eq!(after.next(&[gave_up, lower], 2), Next::Change(Ballot { granted: None, ..granting }));
        assert!(matches!(identity::inspect(&directory).unwrap(), identity::Found::Empty));
        Ballot::forget(&directory).unwrap();
        assert_ne!(Ballot::load_or_make(&directory).unwrap(), granting);
    }
}
