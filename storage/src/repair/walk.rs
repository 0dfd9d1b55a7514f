//! The walk over the chunks of one disk: what no manifest refers to is condemned, and dropped after the grace time; and
//! after a disk came back, what the other homes of a chunk lack is queued for repair.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plan::{Verdict, judge};
use super::{World, share_of_grace};
use crate::chunk::{ChunkInfo, ChunkStore};
use crate::client::DiskError;
use crate::meta::{Answer, Command, Query};
use crate::placement;
use crate::types::{ChunkId, DiskId, Epoch, GroupId, UnixMillis, now_ms};

/// Chunks in one step.
const STEP: usize = 256;
/// The longest rest between two steps.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The shortest.
const MIN_PAUSE: Duration = Duration::from_millis(5);
/// When the homes of all chunks are asked again after a change: a gateway may have written by the map of before for a
/// moment, and its commits may have come after the first walk.
const CHECK_HOMES_AFTER: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(60)];
/// How often they are asked even if nothing seems to have changed.
const CHECK_HOMES_EVERY: Duration = Duration::from_secs(60 * 60);
/// The longest rest between two walks while chunks are on their way to other homes.
const UNSETTLED_PAUSE: Duration = Duration::from_secs(4);
/// The homes of a chunk that was written so lately, and by the map of now, are not asked, milliseconds: copies may be
/// under way, and the commit says which were made. A walk that comes later asks. Less than the first of
/// [`CHECK_HOMES_AFTER`].
const FRESH_MS: u64 = 10_000;
/// After a change so long all gateways write by the new map: they ask for it once in a second.
const MAP_SPREADS: Duration = Duration::from_secs(2);
/// How often a walk that rests looks whether the cluster has changed.
const GLANCE: Duration = Duration::from_millis(250);
/// How often a walk tries again what failed, and the rest before what a group did not answer is asked again.
const RETRIES: usize = 8;
const RETRY_PAUSE: Duration = Duration::from_secs(4);
/// Drops that are under way at a time; they share an fsync.
const DROPS_AT_A_TIME: usize = 64;

/// Why a step was not done: it is done again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Group(#[from] crate::client::ServiceError),
    #[error("the answer of a group is of another kind")]
    Answer,
}

/// Walks over the disk again and again, for as long as it is polled.
pub async fn walk_disk(world: Arc<dyn World>, disk: DiskId, store: Arc<ChunkStore>) {
    let mut checked: Option<Checked> = None;
    let mut seen = (world.generation(), now_ms(), Instant::now());
    let mut walk = Walk { world, disk, store, misplaced: 0, unsettled: false, new_map_ms: 0, left: Vec::new() };
    loop {
        let every = share_of_grace(&*walk.world, 8, Duration::from_millis(500), Duration::from_secs(6 * 60 * 60));
        let begun = Instant::now();
        let generation = walk.world.generation();
        if seen.0 != generation {
            seen = (generation, now_ms(), begun);
        }
        walk.new_map_ms = seen.1.saturating_add(MAP_SPREADS.as_millis() as u64);
        // What a disk missed while it was away is in the queue; this finds what is in none, and what has moved.
        let same = checked.as_ref().filter(|checked| checked.generation == generation);
        let check_homes = same.is_none_or(|checked| checked.next_in().is_zero());
        // More may come yet that is written by the map of before.
        let is_early = seen.2.elapsed() < MAP_SPREADS;
        (walk.misplaced, walk.unsettled) = (0, false);
        let world = walk.world.clone();
        let due = || world.generation() != generation || same.is_some_and(|checked| checked.next_in().is_zero());
        let ended =
            if check_homes { walk.all(MIN_PAUSE, true, || false).await } else { walk.all_slowly(every, due).await };
        tracing::debug!(%disk, ended, check_homes, generation, unsettled = walk.unsettled, took = ?begun.elapsed(), "a walk");
        if ended {
            let label = disk.to_string();
            metrics::histogram!("cairn_walk_seconds", "disk" => label.clone()).record(begun.elapsed().as_secs_f64());
            if check_homes {
                let is_settled = !walk.unsettled && !is_early;
                walk.world.set_checked(disk, walk.misplaced, is_settled.then_some(generation));
                metrics::gauge!("cairn_chunks_misplaced", "disk" => label).set(walk.misplaced as f64);
                let times = same.map_or(0, |checked| checked.times + 1);
                checked = is_settled.then(|| Checked { generation, times, at: Instant::now() });
            }
        }
        let rest = match &checked {
            Some(checked) if ended => every.min(checked.next_in()),
            _ => every.min(UNSETTLED_PAUSE),
        };
        while begun.elapsed() < rest && (walk.unsettled || walk.world.generation() == generation) {
            tokio::time::sleep(MIN_PAUSE.max(rest.saturating_sub(begun.elapsed())).min(GLANCE)).await;
        }
        tokio::time::sleep(MIN_PAUSE).await;
    }
}

/// A walk that found all homes to have what they should.
struct Checked {
    generation: u64,
    /// How many such walks there were before, since the cluster changed.
    times: usize,
    at: Instant,
}

impl Checked {
    /// When the homes are asked again, if nothing changes until then.
    fn next_in(&self) -> Duration {
        let wait = CHECK_HOMES_AFTER.get(self.times).copied().unwrap_or(CHECK_HOMES_EVERY);
        wait.saturating_sub(self.at.elapsed())
    }
}

struct Walk {
    world: Arc<dyn World>,
    disk: DiskId,
    store: Arc<ChunkStore>,
    /// Chunks of this walk that have their homes elsewhere, and are still here.
    misplaced: u64,
    /// Whether something is left to be looked at soon: a misplaced chunk, or a home that lacked one.
    unsettled: bool,
    /// Since when all chunks are written by the map of now.
    new_map_ms: UnixMillis,
    /// The groups that did not answer, and after which chunk.
    left: Vec<(GroupId, Option<ChunkId>)>,
}

/// Rests for `pause`; `false` where something more urgent is `due`.
async fn rest(pause: Duration, due: &impl Fn() -> bool) -> bool {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < pause {
        tokio::time::sleep(pause.saturating_sub(begun.elapsed()).min(GLANCE)).await;
        if due() {
            return false;
        }
    }
    true
}

impl Walk {
    /// Goes over all chunks once, in half the time until the next time. `false` where it was cut off.
    async fn all_slowly(&mut self, every: Duration, due: impl Fn() -> bool) -> bool {
        let steps = self.store.usage().chunks / STEP as u64 + 1;
        let pause = every.div_f64(steps as f64 * 2.0).clamp(MIN_PAUSE, MAX_PAUSE);
        self.all(pause, false, due).await
    }

    /// Goes over all chunks once, with a pause after each step; `false` where something is left: by an error, or because
    /// something more urgent is `due`. A group that does not answer is passed over, and asked again when the others are
    /// done, from where it failed: it is not in the way of what the disk has of others.
    async fn all(&mut self, pause: Duration, check_homes: bool, due: impl Fn() -> bool) -> bool {
        self.left.clear();
        if !self.pass(None, None, pause, check_homes, &due).await {
            return false;
        }
        let world = self.world.clone();
        let generation = world.generation();
        for _ in 0..RETRIES {
            if self.left.is_empty() {
                return true;
            }
            if !rest(RETRY_PAUSE, &|| due() || world.generation() != generation).await {
                return false;
            }
            for (group, after) in std::mem::take(&mut self.left) {
                if !self.pass(after, Some(group), pause, check_homes, &due).await {
                    return false;
                }
            }
        }
        self.left.is_empty()
    }

    /// Goes over the chunks after `after`, of one group or of all; `false` where it was cut off.
    async fn pass(
        &mut self,
        mut after: Option<ChunkId>,
        only: Option<GroupId>,
        pause: Duration,
        check_homes: bool,
        due: &impl Fn() -> bool,
    ) -> bool {
        let mut failures = 0;
        loop {
            let mut pause = pause;
            match self.step(after, check_homes).await {
                Ok(Some(last)) if only.is_none_or(|group| last.group <= group) => after = Some(last),
                Ok(_) => return true,
                // The disk's own; what hangs or is gone is for others to see.
                Err(error) if failures < RETRIES => {
                    tracing::debug!(disk = %self.disk, %error, "the walk over a disk waits");
                    failures += 1;
                    pause = RETRY_PAUSE;
                }
                Err(error) => {
                    tracing::warn!(disk = %self.disk, %error, "the walk over a disk is given up");
                    return false;
                }
            }
            if !rest(pause, due).await {
                return false;
            }
        }
    }

    /// Looks at the chunks after `after`, group by group; where to go on, if there are more.
    async fn step(&mut self, after: Option<ChunkId>, check_homes: bool) -> Result<Option<ChunkId>, StepError> {
        let store = self.store.clone();
        let chunks = tokio::task::spawn_blocking(move || store.list(after, STEP))
            .await
            .map_err(|error| DiskError::Unavailable(error.to_string()))??;
        let last = chunks.last().map(|(id, _)| *id).filter(|_| chunks.len() == STEP);
        let map = self.world.client().map();
        let mut done = after;
        // The list is in the order of the groups.
        for chunks in chunks.chunk_by(|(left, _), (right, _)| left.group == right.group) {
            let Some((group, of_group)) = chunks.last().map(|(last, _)| (last.group, *last)) else { continue };
            // Of a group that the map does not have nobody can be asked: a doubt keeps the chunk.
            if map.metadata_groups().any(|known| known == group) {
                match self.settle(group, chunks, check_homes).await {
                    Ok(()) => {}
                    Err(StepError::Disk(error)) => return Err(error.into()),
                    Err(error) => {
                        tracing::debug!(disk = %self.disk, %group, %error, "the walk passes over a group for now");
                        self.left.push((group, done));
                        return Ok(Some(ChunkId { group, hash: [0xff; 32] }));
                    }
                }
            }
            done = Some(of_group);
        }
        Ok(last)
    }

    async fn settle(
        &mut self,
        group: GroupId,
        chunks: &[(ChunkId, ChunkInfo)],
        check_homes: bool,
    ) -> Result<(), StepError> {
        let hashes = chunks.iter().map(|(id, _)| id.hash).collect();
        // What was condemned for the grace time by now was so when the group answered.
        let now = now_ms();
        let (referenced, grace_ms) = match self.world.client().query(group, Query::Collectable { hashes }).await? {
            Answer::Collectable { referenced, grace_ms } if referenced.len() == chunks.len() => (referenced, grace_ms),
            _ => return Err(StepError::Answer),
        };
        let (mut touch, mut condemn, mut drop, mut live) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for ((id, info), referenced) in chunks.iter().zip(referenced) {
            match judge(info, referenced, now, grace_ms) {
                Verdict::Keep => {}
                Verdict::Touch => touch.push(*id),
                Verdict::Condemn => condemn.push(*id),
                Verdict::Drop => drop.push(*id),
            }
            if referenced {
                // By a clock that was ahead it would be fresh until that time.
                let is_young = now.checked_sub(info.stored_ms).is_some_and(|age| age < FRESH_MS);
                let fresh = info.stored_ms > self.new_map_ms && is_young;
                live.push((*id, fresh));
            }
        }
        if !touch.is_empty() {
            self.store.touch(touch).await?;
        }
        if !condemn.is_empty() {
            metrics::counter!("cairn_chunks_condemned_total").increment(condemn.len() as u64);
            self.store.condemn(condemn).await?;
        }
        for drops in drop.chunks(DROPS_AT_A_TIME) {
            let dropped =
                futures::future::try_join_all(drops.iter().map(|id| self.store.drop_condemned(*id, grace_ms)));
            let count = dropped.await?.into_iter().filter(|dropped| *dropped).count();
            metrics::counter!("cairn_chunks_dropped_total").increment(count as u64);
        }
        if check_homes { self.check_homes(group, live).await } else { Ok(()) }
    }

    /// Asks the next home of each chunk whether it has it. Every home does so, and thereby whatever is missing is found
    /// by a home that is not. What has no home here asks all of them, and goes when they all hold it.
    /// `live` has the chunks, and which of them are fresh.
    async fn check_homes(&mut self, group: GroupId, live: Vec<(ChunkId, bool)>) -> Result<(), StepError> {
        let map = self.world.client().map();
        let mut by_disk: HashMap<DiskId, Vec<ChunkId>> = HashMap::new();
        let mut misplaced = Vec::new();
        for (chunk, fresh) in live {
            let homes = placement::homes(&chunk, &map);
            match homes.iter().position(|home| *home == self.disk) {
                Some(_) if fresh => {}
                Some(place) => {
                    let next = homes.get((place + 1) % homes.len()).filter(|home| **home != self.disk);
                    by_disk.entry(*next.unwrap_or(&self.disk)).or_default().push(chunk);
                }
                None => {
                    homes.iter().for_each(|home| by_disk.entry(*home).or_default().push(chunk));
                    misplaced.push((chunk, homes));
                }
            }
        }
        by_disk.remove(&self.disk);
        let (mut missing, mut unknown) = (HashSet::new(), HashSet::new());
        for (disk, chunks) in by_disk {
            // Where it is down, it will come up, and this is done again.
            let Some(home) = self.world.repair_disk(disk) else {
                missing
                    .extend(misplaced.iter().filter(|(_, homes)| homes.contains(&disk)).map(|(chunk, _)| chunk.hash));
                continue;
            };
            let stats = match home.stat(chunks.clone()).await {
                Ok(stats) if stats.len() == chunks.len() => stats,
                // It is asked again by the next walk; what it does not answer for stays where it is.
                answer => {
                    tracing::debug!(disk = %self.disk, home = %disk, error = ?answer.err(), "a home does not answer");
                    self.unsettled = true;
                    let asked = misplaced.iter().filter(|(_, homes)| homes.contains(&disk));
                    unknown.extend(asked.map(|(chunk, _)| chunk.hash));
                    continue;
                }
            };
            missing.extend(chunks.iter().zip(stats).filter(|(_, stat)| stat.is_none()).map(|(chunk, _)| chunk.hash));
        }
        self.unsettled |= !misplaced.is_empty();
        for (chunk, homes) in misplaced {
            let is_held = !missing.contains(&chunk.hash) && !unknown.contains(&chunk.hash) && !homes.is_empty();
            if !is_held || !self.hand_over(chunk, &homes, map.epoch).await {
                self.misplaced += 1;
            }
        }
        if !missing.is_empty() {
            tracing::info!(disk = %self.disk, chunks = missing.len(), "homes lack chunks that they should have");
            self.unsettled = true;
            let hashes = missing.into_iter().collect();
            let command = Command::QueueRepair { hashes, known: vec![self.disk] };
            if let Err(rejection) = self.world.client().command(group, command).await? {
                tracing::warn!(%group, %rejection, "a group refused to queue repairs");
            }
        }
        Ok(())
    }

    /// Lets go of a chunk that has its homes elsewhere, once each of them has verified its copy and holds it.
    async fn hand_over(&self, chunk: ChunkId, homes: &[DiskId], epoch: Epoch) -> bool {
        let holds = homes.iter().map(|home| async {
            let gone = || DiskError::Unavailable("the home went down".to_owned());
            self.world.repair_disk(*home).ok_or_else(gone)?.hold(chunk, epoch).await
        });
        let released = match futures::future::try_join_all(holds).await {
            Ok(_) => self.world.release(self.disk, chunk, epoch).await,
            Err(error) => Err(error),
        };
        match released {
            Ok(true) => {
                metrics::counter!("cairn_chunks_moved_total").increment(1);
                self.world.pace().settled(1);
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::debug!(disk = %self.disk, %chunk, %error, "a misplaced chunk stays for now");
                false
            }
        }
    }
}

#[cfg(test)]
#[path = "walk_test.rs"]
mod tests;
