//! How much room the disks have, as the node tells it, and what a group takes then. It measures nothing itself.
//!
//! A leader takes no command that grows the state while most of its voters' disks are short of room. So where all disks
//! fill up together, what is still written is what deletes, and every replica follows.
//!
//! Where a minority is short the group goes on, and a disk may fill up further. Before its database could fail, at half
//! of the reserve, its replicas take no entry that grows the state: they fall behind, like one that is cut off, and keep
//! what they have. When there is room again they are sent what they lack.

use std::collections::HashMap;
use std::{io, sync::Arc};

use parking_lot::RwLock;

use super::consensus::{Entry, Payload, StoredMembership};
use super::replica::Replica;
use super::replicas::Replicas;
use crate::meta::Command;
use crate::types::DiskId;

/// How much room a disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// More than the reserve.
    Ample,
    /// Less than the reserve.
    Short,
    /// Less than half of it.
    Starved,
}

impl Room {
    /// Of a disk with `free` bytes, where `reserve` are to be kept.
    pub fn of(free: u64, reserve: u64) -> Self {
        match free {
            _ if free >= reserve => Self::Ample,
            _ if free >= reserve / 2 => Self::Short,
            _ => Self::Starved,
        }
    }
}

/// Why a replica does not take what it is sent.
fn no_room() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "the disk has no room for more")
}

/// What is known of the disks. Those that are not named have room, as far as anybody knows.
#[derive(Debug, Default)]
pub(super) struct Rooms(RwLock<HashMap<DiskId, Room>>);

impl Rooms {
    pub(super) fn of(&self, disk: DiskId) -> Room {
        self.0.read().get(&disk).copied().unwrap_or(Room::Ample)
    }

    /// Whether a leader on the disk `own` takes commands that grow the state. One whose own disk starves does not,
    /// whoever else has room: it is about to give the lead away.
    fn take_more(&self, own: DiskId, membership: &StoredMembership) -> bool {
        self.of(own) != Room::Starved && self.most_have_room(membership)
    }

    fn most_have_room(&self, membership: &StoredMembership) -> bool {
        membership.get_joint_config().iter().all(|voters| {
            let has_room = |voter| membership.get_node(voter).is_none_or(|disk| self.of(*disk) == Room::Ample);
            2 * voters.iter().filter(|voter| has_room(*voter)).count() > voters.len()
        })
    }
}

impl Replica {
    /// Whether it takes a command of this kind, if it leads.
    pub(super) fn has_room_for(&self, command: &Command) -> bool {
        !command.grows() || self.rooms.take_more(self.disk.disk(), &self.membership())
    }

    /// # Errors
    /// One of the entries grows the state, the disk starves, and the others can do without it. Where they cannot, what
    /// the leader took before it knew must go through, or nothing that deletes comes after it.
    pub(super) fn check_room(&self, entries: &[Entry]) -> io::Result<()> {
        let grows = |entry: &Entry| match &entry.payload {
            Payload::Normal(proposal) => proposal.batch().envelopes.iter().any(|envelope| envelope.command.grows()),
            Payload::Blank | Payload::Membership(_) => false,
        };
        if self.rooms.of(self.disk.disk()) == Room::Starved
            && self.rooms.most_have_room(&self.membership())
            && entries.iter().any(grows)
        {
            return Err(no_room());
        }
        Ok(())
    }

    /// # Errors
    /// The disk has no room for a second copy of a group's state.
    pub(super) fn check_room_for_snapshot(&self) -> io::Result<()> {
        if self.rooms.of(self.disk.disk()) == Room::Starved { Err(no_room()) } else { Ok(()) }
    }
}

impl Replicas {
    /// Notes how much room the disks of the cluster have, of those that are known.
    pub fn set_rooms(&self, rooms: HashMap<DiskId, Room>) {
        *self.inner.rooms.0.write() = rooms;
    }

    /// Gives the lead of all groups away that are led from a disk. For one that does not answer: a leader goes on with
    /// its heartbeats without it.
    pub async fn leave_disk(&self, disk: DiskId) {
        let replicas = self.inner.all();
        let leaving = replicas.iter().filter(|replica| replica.disk.disk() == disk && replica.leads().is_some());
        futures::future::join_all(leaving.map(|replica| replica.hand_over(|_| true))).await;
    }

    /// Gives the lead of groups away that are led from a disk that starves, where most of their voters have room.
    pub async fn leave_starved(&self) {
        let rooms: &Arc<Rooms> = &self.inner.rooms;
        for replica in self.inner.all() {
            let membership = replica.membership();
            if rooms.of(replica.disk.disk()) == Room::Starved
                && replica.leads().is_some()
                && rooms.most_have_room(&membership)
            {
                let has_room = |voter| membership.get_node(&voter).is_some_and(|disk| rooms.of(*disk) == Room::Ample);
                replica.hand_over(has_room).await;
            }
        }
    }
}

#[cfg(test)]
#[path = "room_test.rs"]
mod tests;
