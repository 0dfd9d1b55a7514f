//! The recoveries that a cluster has behind it. Who lived on without one of them knows nothing of what happened since;
//! who lived on with another one is another cluster by now.

use serde::{Deserialize, Serialize};

use super::Epoch;

/// All recoveries, the first one first; none in a cluster that needed none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation(Vec<Recovered>);

/// One recovery. The maps between the two epochs are lost, if there were any: whatever they allotted is not in the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// Random: two recoveries apart from each other are two.
    pub id: u64,
    /// Of the last map before.
    pub last: Epoch,
    /// Of the first map after.
    pub first: Epoch,
}

/// What a message carries of a generation: how many recoveries, and the id of the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub number: u32,
    pub id: u64,
}

/// How somebody else's generation stands to one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    Same,
    /// It has not heard of the last recoveries.
    Older,
    /// It knows of recoveries that came after the own ones.
    Newer,
    /// It went another way: both were recovered, each without the other.
    Foreign,
}

impl Generation {
    /// The generation after one more recovery.
    pub fn next(&self, recovered: Recovered) -> Self {
        Self(self.0.iter().copied().chain([recovered]).collect())
    }

    pub fn last(&self) -> Option<&Recovered> {
        self.0.last()
    }

    /// Whether a map of this epoch may have been lost in a recovery.
    pub fn has_lost(&self, epoch: Epoch) -> bool {
        self.0.iter().any(|recovered| recovered.last < epoch && epoch < recovered.first)
    }

    pub fn stamp(&self) -> Stamp {
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        Stamp { number, id: self.last().map_or(0, |recovered| recovered.id) }
    }

    /// How the generation of this stamp stands to this one. Of one that says that it is newer, only its whole tells
    /// whether it is a successor.
    pub fn of_stamp(&self, stamp: Stamp) -> Relation {
        let number = usize::try_from(stamp.number).unwrap_or(usize::MAX);
        if number > self.0.len() {
            return Relation::Newer;
        }
        let own = number.checked_sub(1).and_then(|last| self.0.get(last)).map_or(0, |recovered| recovered.id);
        match own == stamp.id {
            true if number == self.0.len() => Relation::Same,
            true => Relation::Older,
            false => Relation::Foreign,
        }
    }

    /// How another one stands to this one.
    pub fn of(&self, other: &Self) -> Relation {
        let ids = |generation: &Self| generation.0.iter().map(|recovered| recovered.id).collect::<Vec<_>>();
        let (own, other) = (ids(self), ids(other));
        if own == other {
            Relation::Same
        } else if own.starts_with(&other) {
            Relation::Older
        } else if other.starts_with(&own) {
            Relation::Newer
        } else {
            Relation::Foreign
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovered(id: u64) -> Recovered {
        Recovered { id, last: Epoch(3), first: Epoch(10) }
    }

    #[test]
    fn who_was_recovered_apart_is_neither_older_nor_newer() {
        let first = Generation::default();
        let (left, right) = (first.next(recovered(7)), first.next(recovered(8)));
        let later = left.next(recovered(9));
        for (own, other, relation) in [
            (&first, &first, Relation::Same),
            (&left, &first, Relation::Older),
            (&first, &left, Relation::Newer),
            (&left, &right, Relation::Foreign),
            (&right, &left, Relation::Foreign),
            (&left, &later, Relation::Newer),
            (&later, &left, Relation::Older),
            (&later, &right, Relation::Foreign),
            (&right, &later, Relation::Foreign),
        ] {
            assert_eq!(own.of(other), relation, "{own:?} {other:?}");
            // A stamp of more recoveries than one's own does not tell more.
            let told = if other.0.len() > own.0.len() { Relation::Newer } else { relation };
            assert_eq!(own.of_stamp(other.stamp()), told, "{own:?} {other:?}");
        }
    }

    #[test]
    fn what_was_allotted_between_the_maps_is_lost() {
        let generation = Generation::default().next(recovered(7));
        let lost: Vec<u64> = (0..20).filter(|epoch| generation.has_lost(Epoch(*epoch))).collect();
        assert_eq!(lost, [4, 5, 6, 7, 8, 9]);
    }
}
