//! What puts things right behind everybody's back: missing copies are made anew, garbage is taken apart, what a crash
//! left half done between two groups is finished. Every decision is a function in `plan`; the rest here asks and acts.
//!
//! Nothing here is needed for an answer to a client, and nothing here may be in its way: concurrency is bounded, and
//! every loop rests between its steps.

pub(crate) mod buckets;
mod collect;
#[cfg(test)]
mod fake;
mod heal;
mod pace;
mod plan;
mod scrub;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, DiskError, RepairService};
use crate::types::{ChunkId, DiskId, Epoch, GroupId};

pub use pace::Pace;
pub use scrub::{Scrub, scrub_disk};
pub use walk::walk_disk;

/// How the loops of repair and collection are run.
#[derive(Debug, Clone)]
pub struct RepairOptions {
    /// How long an entry of the repair queue waits, in milliseconds, since the missing copy may be under way.
    pub settle_ms: u64,
    /// How many chunks are copied at a time.
    pub copies_at_a_time: usize,
    /// The most bytes a second that a node copies to repair, and the least, however busy it is otherwise.
    pub rate: u64,
    pub least_rate: u64,
}

impl Default for RepairOptions {
    fn default() -> Self {
        Self { settle_ms: 1_500, copies_at_a_time: 4, rate: 256 << 20, least_rate: 8 << 20 }
    }
}

/// A share of the cluster's grace time, within bounds: short grace times make the loops quick, long ones make them rest.
fn share_of_grace(world: &dyn World, parts: u64, least: Duration, most: Duration) -> Duration {
    Duration::from_millis(world.client().map().settings.gc_grace_ms() / parts).clamp(least, most)
}

/// What the loops know of the cluster.
pub trait World: Send + Sync + 'static {
    fn client(&self) -> &Client;

    /// A disk that is up, wherever it is.
    fn repair_disk(&self, id: DiskId) -> Option<Arc<dyn RepairService>>;

    /// Whether a disk has room for a chunk of so many bytes, as far as this node knows.
    fn has_room(&self, id: DiskId, len: u32) -> bool;

    /// Lets go of a chunk on a disk of this node, whose homes are all elsewhere and hold it under the map of this epoch;
    /// whether it did.
    fn release(&self, disk: DiskId, chunk: ChunkId, epoch: Epoch) -> BoxFuture<'_, Result<bool, DiskError>>;

    /// Notes what a walk over a disk of this node has found: how many chunks have their homes elsewhere and, where all
    /// homes have what they should, the generation of which that is true.
    fn set_checked(&self, disk: DiskId, misplaced: u64, settled: Option<u64>);

    /// Whether the leader of the group is a replica of this process: the loops that are for one node of the cluster
    /// are for that one.
    fn leads(&self, group: GroupId) -> bool;

    /// How fast this node repairs.
    fn pace(&self) -> &Pace;

    /// Grows whenever a disk came up or went down, or chunks got other homes.
    fn generation(&self) -> u64;
}

/// Starts the loops that a node runs once. Those of a disk are [`walk_disk`] and [`scrub_disk`].
pub fn start(world: &Arc<dyn World>, options: &RepairOptions, stop: &CancellationToken) {
    spawn(stop, collect::run(world.clone()));
    spawn(stop, buckets::run(world.clone(), options.clone()));
    spawn(stop, heal::run(world.clone(), options.clone()));
}

fn spawn(stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled(work).await });
}
