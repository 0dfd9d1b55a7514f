//! Works off the repair queue of each group that this node leads: asks the homes of a chunk, and copies it, verified,
//! to those that lack it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;

use super::plan::{HomeState, Need, need};
use super::{RepairOptions, World};
use crate::chunk::hashes_to;
use crate::client::{DiskError, RepairService, ServiceError};
use crate::meta::record::RepairEntry;
use crate::meta::{Answer, Command, Query};
use crate::placement;
use crate::types::{ChunkId, ClusterMap, DiskId, GroupId, MAX_CHUNK_LEN, UnixMillis, now_ms};
use crate::wire::Stat;

/// Entries in one round.
const PAGE: u32 = 1000;
/// The rest after a round that settled something, after one that found nothing, and after one that could do nothing.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
const IDLE_PAUSE: Duration = Duration::from_millis(500);
const STUCK_PAUSE: Duration = Duration::from_secs(5);

/// Since when the entries of a group have been seen. What is queued anew while it waits, as every walk over a home of the
/// chunk does, has its turn by this all the same.
type Seen = HashMap<[u8; 32], Instant>;
/// How long an entry is remembered that moved behind the page, and how many entries are: a round that queues more of
/// them anew takes longer than they have to wait.
const SEEN_FOR: Duration = Duration::from_secs(60);
const MAX_SEEN: usize = 16 * PAGE as usize;

pub async fn run(world: Arc<dyn World>, options: RepairOptions) {
    let mut seen: HashMap<GroupId, Seen> = HashMap::new();
    loop {
        let map = world.client().map();
        let (mut busy, mut stuck) = (false, false);
        for group in map.metadata_groups() {
            if !world.leads(group) {
                seen.remove(&group);
                continue;
            }
            let heal = Heal { world: &*world, options: &options, map: &map, group };
            match heal.round(seen.entry(group).or_default()).await {
                Ok(Round { settled, waiting }) => {
                    busy |= settled > 0;
                    stuck |= waiting > 0;
                }
                Err(error) => tracing::debug!(%group, %error, "repair waits"),
            }
        }
        tokio::time::sleep(match (busy, stuck) {
            (true, _) => BUSY_PAUSE,
            (false, false) => IDLE_PAUSE,
            (false, true) => STUCK_PAUSE,
        })
        .await;
    }
}

struct Heal<'a> {
    world: &'a dyn World,
    options: &'a RepairOptions,
    map: &'a ClusterMap,
    group: GroupId,
}

/// How an entry stands after it was worked on.
enum End {
    Done,
    /// A home is down, or no copy can be had right now; the error, where there was one.
    Waits(Option<DiskError>),
}

/// What came of a round.
#[derive(Default)]
struct Round {
    settled: usize,
    waiting: usize,
}

impl Heal<'_> {
    /// Works on the oldest entries.
    async fn round(&self, seen: &mut Seen) -> Result<Round, ServiceError> {
        let client = self.world.client();
        let Answer::Repairs(entries) = client.query(self.group, Query::Repairs { limit: PAGE }).await? else {
            return Ok(Round::default());
        };
        let now = now_ms();
        let is_full = entries.len() >= PAGE as usize;
        seen.retain(|_, since| since.elapsed() < SEEN_FOR);
        if seen.len() + entries.len() > MAX_SEEN {
            seen.clear();
        }
        for entry in &entries {
            seen.entry(entry.hash).or_insert_with(Instant::now);
        }
        let old = |entry: &RepairEntry| {
            let seen_for = seen.get(&entry.hash).map_or(Duration::ZERO, Instant::elapsed);
            now.saturating_sub(entry.queued_ms).max(seen_for.as_millis() as u64) >= self.options.settle_ms
        };
        let entries: Vec<_> = entries.into_iter().filter(old).collect();
        if entries.is_empty() {
            return Ok(Round::default());
        }
        let entries = self.with_needs(entries).await?;
        let mut done: Vec<([u8; 32], UnixMillis)> = Vec::new();
        let mut waiting = Vec::new();
        let mut failure = None;
        let mut ends = futures::stream::iter(entries)
            .map(|(entry, need)| async move { (self.settle(&entry, need).await, entry) })
            .buffer_unordered(self.options.copies_at_a_time.max(1));
        while let Some((end, entry)) = ends.next().await {
            match end {
                End::Done => {
                    seen.remove(&entry.hash);
                    done.push((entry.hash, entry.queued_ms));
                }
                End::Waits(error) => {
                    failure = failure.or(error);
                    waiting.push(entry);
                }
            }
        }
        drop(ends);
        if let Some(error) = failure {
            tracing::warn!(group = %self.group, chunks = waiting.len(), %error, "chunks cannot be repaired yet");
        }
        let round = Round { settled: done.len(), waiting: waiting.len() };
        if !done.is_empty() {
            metrics::counter!("cairn_repairs_finished_total").increment(done.len() as u64);
            self.world.pace().settled(done.len() as u64);
            self.command(Command::FinishRepair { done }).await?;
        } else if is_full {
            // Nothing can be done for any of them; those behind them get their turn.
            let mut by_known: HashMap<Vec<DiskId>, Vec<[u8; 32]>> = HashMap::new();
            for entry in waiting {
                by_known.entry(entry.known).or_default().push(entry.hash);
            }
            for (known, hashes) in by_known {
                self.command(Command::QueueRepair { hashes, known }).await?;
            }
        }
        Ok(round)
    }

    async fn command(&self, command: Command) -> Result<(), ServiceError> {
        if let Err(rejection) = self.world.client().command(self.group, command).await? {
            tracing::warn!(group = %self.group, %rejection, "a group refused a step of repair");
        }
        Ok(())
    }

    /// What each entry needs. What is not referenced any more needs nothing.
    async fn with_needs(&self, entries: Vec<RepairEntry>) -> Result<Vec<(RepairEntry, Need)>, ServiceError> {
        let hashes: Vec<_> = entries.iter().map(|entry| entry.hash).collect();
        let count = hashes.len();
        let referenced = match self.world.client().query(self.group, Query::Referenced { hashes }).await? {
            Answer::Referenced(referenced) if referenced.len() == count => referenced,
            _ => return Err(ServiceError::Refused("the answer is of another kind".to_owned())),
        };
        let homes: Vec<Vec<DiskId>> =
            entries.iter().map(|entry| placement::homes(&self.chunk(entry), self.map)).collect();
        let states = self.ask_homes(&entries, &homes).await;
        let needs = entries.into_iter().zip(homes).zip(referenced).enumerate().map(|(at, ((entry, homes), live))| {
            let state = |home: &DiskId| (*home, states.get(&(at, *home)).copied().unwrap_or(HomeState::Down));
            let states: Vec<_> = homes.iter().map(state).collect();
            let need = if live { need(&states, &entry.known, entry.queued_ms) } else { Need::default() };
            (entry, need)
        });
        Ok(needs.collect())
    }

    /// One question for each disk, about all chunks that have their home there.
    async fn ask_homes(&self, entries: &[RepairEntry], homes: &[Vec<DiskId>]) -> HashMap<(usize, DiskId), HomeState> {
        let mut questions: HashMap<DiskId, Vec<usize>> = HashMap::new();
        for (at, homes) in homes.iter().enumerate() {
            for home in homes {
                questions.entry(*home).or_default().push(at);
            }
        }
        let mut states = HashMap::new();
        for (disk, places) in questions {
            let Some(service) = self.world.repair_disk(disk) else { continue };
            let chunks = places.iter().filter_map(|at| entries.get(*at)).map(|entry| self.chunk(entry)).collect();
            match service.stat(chunks).await {
                Ok(stats) => states.extend(
                    places
                        .into_iter()
                        .zip(stats)
                        .map(|(at, stat)| ((at, disk), stat.map_or(HomeState::Missing, HomeState::Has))),
                ),
                Err(error) => tracing::debug!(%disk, %error, "a home does not answer"),
            }
        }
        states
    }

    async fn settle(&self, entry: &RepairEntry, mut need: Need) -> End {
        let chunk = self.chunk(entry);
        for disk in std::mem::take(&mut need.doubtful) {
            let verified = match self.world.repair_disk(disk) {
                Some(service) => service.verify(chunk).await,
                None => Err(DiskError::Unavailable("it went down".to_owned())),
            };
            match verified {
                Ok(()) => {}
                Err(DiskError::Busy) => need.waits = true,
                // A put replaces a copy that cannot be read, too.
                Err(_) => need.missing.push(disk),
            }
        }
        let is_full = self.pass_over_full(&chunk, &mut need).await;
        if !need.missing.is_empty()
            && let Err(error) = self.copy(&chunk, entry, &need).await
        {
            return End::Waits(Some(error));
        }
        if is_full {
            return End::Waits(Some(DiskError::Full));
        }
        if need.waits { End::Waits(None) } else { End::Done }
    }

    /// Homes without room are passed over for the next disks that have some, so that there are as many copies; whether
    /// there are any. The chunk stays queued until its homes have it, and nothing is read for them until then.
    async fn pass_over_full(&self, chunk: &ChunkId, need: &mut Need) -> bool {
        let len = need.len.unwrap_or(MAX_CHUNK_LEN as u32);
        let has_room = |disk: &DiskId| self.world.has_room(*disk, len);
        let (roomy, full): (Vec<_>, Vec<_>) = std::mem::take(&mut need.missing).into_iter().partition(has_room);
        need.missing = roomy;
        let mut lacking = full.len();
        for disk in placement::order(chunk, self.map).into_iter().skip(self.map.copies()) {
            if lacking == 0 {
                break;
            }
            let Some(service) = self.world.repair_disk(disk) else { continue };
            match service.stat(vec![*chunk]).await.as_deref() {
                Ok([Some(_)]) => lacking -= 1,
                Ok([None]) if has_room(&disk) => {
                    need.missing.push(disk);
                    lacking -= 1;
                }
                _ => {}
            }
        }
        !full.is_empty()
    }

    /// Reads a verified copy and stores it on the homes that lack it.
    async fn copy(&self, chunk: &ChunkId, entry: &RepairEntry, need: &Need) -> Result<(), DiskError> {
        // Without a length nobody of the homes has it, and it is read to know.
        self.world.pace().take(need.len.unwrap_or(0)).await;
        let begun = Instant::now();
        let data = self.read(chunk, entry, need).await?;
        let mut result = Ok(());
        for disk in &need.missing {
            let stored = match self.world.repair_disk(*disk) {
                Some(service) => service.put(*chunk, data.clone()).await,
                None => Err(DiskError::Unavailable("the home went down".to_owned())),
            };
            match stored {
                Ok(()) => {
                    metrics::counter!("cairn_chunks_repaired_total").increment(1);
                    tracing::debug!(%chunk, %disk, "a copy was made anew");
                }
                Err(error) => result = Err(error),
            }
        }
        if result.is_ok() {
            let len = data.iter().map(Bytes::len).sum::<usize>();
            self.world.pace().made(u32::try_from(len).unwrap_or(u32::MAX), begun.elapsed());
        }
        result
    }

    /// The bytes of the chunk from any disk that has them, those that should first.
    async fn read(&self, chunk: &ChunkId, entry: &RepairEntry, need: &Need) -> Result<Vec<Bytes>, DiskError> {
        let mut sources = entry.known.clone();
        let order = placement::order(chunk, self.map).into_iter();
        let others = self.map.disks.iter().map(|disk| disk.id);
        for disk in order.chain(others) {
            if !sources.contains(&disk) {
                sources.push(disk);
            }
        }
        let mut failure = DiskError::NotFound;
        for disk in sources {
            let Some(service) = self.world.repair_disk(disk) else { continue };
            match read_whole(&*service, chunk, need.len).await {
                Ok(data) => return Ok(data),
                Err(DiskError::NotFound) => {}
                Err(error) => failure = error,
            }
        }
        if matches!(failure, DiskError::NotFound) {
            metrics::counter!("cairn_repairs_without_source_total").increment(1);
        }
        Err(failure)
    }

    fn chunk(&self, entry: &RepairEntry) -> ChunkId {
        ChunkId { group: self.group, hash: entry.hash }
    }
}

/// All of a chunk, its hash checked.
async fn read_whole(service: &dyn RepairService, chunk: &ChunkId, len: Option<u32>) -> Result<Vec<Bytes>, DiskError> {
    let len = match len {
        Some(len) => len,
        None => match service.stat(vec![*chunk]).await?.first() {
            Some(Some(Stat { len, .. })) => *len,
            _ => return Err(DiskError::NotFound),
        },
    };
    let data = service.get(*chunk, 0..len).await?;
    let chunk = *chunk;
    let checked = tokio::task::spawn_blocking(move || hashes_to(&chunk, &data).then_some(data)).await;
    checked.map_err(|error| DiskError::Unavailable(error.to_string()))?.ok_or(DiskError::Corrupt)
}

#[cfg(test)]
#[path = "heal_test.rs"]
mod tests;
