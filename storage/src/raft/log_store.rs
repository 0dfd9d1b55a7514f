//! A replica's log and vote, as openraft wants them: recent entries in memory, all of them in the disk's database. It
//! orders and remembers; what reaches the disk, and when, is the disk's writer's business.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use rocksdb::{Direction, IteratorMode, ReadOptions};

use super::codec::{self, FormatError};
use super::consensus::{Consensus, Entry, LogId, Payload, Vote};
use super::disk_db::DiskDb;
use super::keys;
use super::log_cache::{LogCache, LogSize};
use super::settings::Settings;
use super::writer::Change;
use crate::types::{GroupId, ReplicaId};

/// A replica's log. All clones are the same.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<DiskDb>,
    group: GroupId,
    replica: ReplicaId,
    append_bytes: u64,
    state: Mutex<State>,
}

/// What was asked of the log so far, whether it is on the disk already or not.
struct State {
    vote: Option<Vote>,
    /// `vote` was given since the start, rather than found on the disk.
    vote_is_new: bool,
    committed: Option<LogId>,
    /// `committed` is to be written with the next batch.
    committed_changed: bool,
    purged: Option<LogId>,
    /// The index of the first entry, or of the first that will be appended.
    first: u64,
    last: Option<LogId>,
    flushed: Option<u64>,
    /// The newest entry with a membership that was appended since the start and is still there.
    membership: Option<u64>,
    cache: LogCache,
    size: LogSize,
}

/// What a linearizable read needs of a log, taken at one moment.
pub(super) struct Standing {
    /// The vote, if it was given since the start.
    new_vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    /// The newest entry with a membership that was appended since the start and is still there.
    pub(super) membership: Option<u64>,
}

impl Standing {
    /// The vote by which `replica` leads; `None` where the newest vote is another's, or was not yet granted by a majority,
    /// or is of an earlier run.
    pub(super) fn elected_vote(&self, replica: ReplicaId) -> Option<Vote> {
        self.new_vote.filter(|vote| vote.committed && vote.leader_id.node_id == replica)
    }
}

fn next_index(id: Option<&LogId>) -> u64 {
    id.map_or(0, |id| id.index() + 1)
}

impl Log {
    /// Opens the log of a replica of this disk and checks it: no hole, and no end before the promised one. Blocks.
    ///
    /// A log that fails the check must not be used: the replica would have forgotten what it promised, and could help
    /// to elect a leader that lacks what was committed.
    pub(super) fn open(disk: Arc<DiskDb>, group: GroupId, replica: ReplicaId, settings: &Settings) -> io::Result<Self> {
        let read = |kind| disk.state(&keys::state(group, replica, kind));
        let log_id = |kind| -> io::Result<Option<LogId>> {
            Ok(read(kind)?.map(|bytes| codec::decode_log_id(&bytes)).transpose()?.flatten())
        };
        let purged = log_id(keys::PURGED)?;
        let mut state = State {
            vote: read(keys::VOTE)?.map(|bytes| codec::decode_vote(&bytes)).transpose()?,
            vote_is_new: false,
            committed: log_id(keys::COMMITTED)?,
            committed_changed: false,
            first: next_index(purged.as_ref()),
            last: purged,
            purged,
            flushed: None,
            membership: None,
            cache: LogCache::new(settings.log_cache_bytes),
            size: LogSize::default(),
        };
        let promised = log_id(keys::PROMISED)?;
        let first = state.first;
        scan(&disk, group, replica, first..u64::MAX, |index, bytes| {
            let expected = next_index(state.last.as_ref());
            if index != expected {
                return Err(FormatError::new("the log", format_args!("{expected} expected, {index} found")).into());
            }
            let len = bytes.len() as u64;
            let entry = codec::decode_entry(&bytes)?;
            state.last = Some(entry.log_id);
            state.flushed = Some(index);
            state.size.add(index, len);
            state.cache.push(entry, len);
            state.cache.shrink(Some(index));
            Ok(true)
        })?;
        if state.last != promised {
            let (last, promised) = (next_index(state.last.as_ref()), next_index(promised.as_ref()));
            let why = format_args!("{promised} entries were promised, {last} are there");
            return Err(FormatError::new("the log", why).into());
        }
        let shared = Shared { disk, group, replica, append_bytes: settings.append_bytes, state: Mutex::new(state) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether nothing was ever asked of it: no vote, no entry.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.shared.state.lock();
        state.vote.is_none() && state.last.is_none()
    }

    pub(super) fn standing(&self) -> Standing {
        let state = self.shared.state.lock();
        let new_vote = state.vote.filter(|_| state.vote_is_new);
        Standing { new_vote, committed: state.committed, membership: state.membership }
    }

    /// The vote as last given, which no answer that speaks of it precedes.
    pub(super) fn vote(&self) -> Option<Vote> {
        self.shared.state.lock().vote
    }

    /// Bytes of the entries in the log, to within a mebibyte.
    pub fn bytes(&self) -> u64 {
        self.shared.state.lock().size.bytes()
    }

    /// Up to which index the log is to be cut, inclusive, so that it keeps at least half of the bounds; `None` while it
    /// is within them.
    pub(super) fn purge_index(&self, settings: &Settings) -> Option<u64> {
        let state = self.shared.state.lock();
        let next = next_index(state.last.as_ref());
        let entries = next - next_index(state.purged.as_ref());
        let bytes = state.size.bytes();
        if bytes > 4 * settings.log_bytes {
            return state.size.purge_index(settings.log_bytes / 2, next);
        }
        if bytes <= settings.log_bytes || entries <= settings.log_entries {
            return None;
        }
        state.size.purge_index(settings.log_bytes / 2, next.saturating_sub(settings.log_entries / 2))
    }

    fn state_key(&self, kind: u8) -> [u8; 13] {
        keys::state(self.shared.group, self.shared.replica, kind)
    }

    fn entry_key(&self, index: u64) -> [u8; 20] {
        keys::entry(self.shared.group, self.shared.replica, index)
    }

    fn promise(&self, last: Option<&LogId>) -> Result<Change, FormatError> {
        Ok(Change::PutState { key: self.state_key(keys::PROMISED), value: codec::encode_log_id(last)? })
    }

    /// Adds the committed index to a batch that is written anyway. It needs no fsync of its own: what was applied says
    /// the same, in the same write-ahead log.
    fn add_committed(&self, state: &mut State, changes: &mut Vec<Change>) -> Result<(), FormatError> {
        if std::mem::take(&mut state.committed_changed) {
            let value = codec::encode_log_id(state.committed.as_ref())?;
            changes.push(Change::PutState { key: self.state_key(keys::COMMITTED), value });
        }
        Ok(())
    }

    /// Reads `start..end` up to `limit` bytes, one entry at least if there is any; fewer where the log ends.
    ///
    /// What is no longer in memory is fsynced, and nobody changes it meanwhile: only uncommitted entries are ever
    /// replaced, and openraft does not cut what it is about to read.
    async fn read(&self, start: u64, end: u64, limit: u64) -> io::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut taken = 0;
        loop {
            let (next, end, cached) = {
                let state = self.shared.state.lock();
                let next = match entries.last() {
                    Some(entry) => entry.log_id.index() + 1,
                    None => start.max(state.first),
                };
                let end = end.min(next_index(state.last.as_ref()));
                if next >= end || taken >= limit {
                    return Ok(entries);
                }
                if next >= state.cache.first() {
                    state.cache.copy(next, end, taken, limit, &mut entries);
                    return Ok(entries);
                }
                (next, end, state.cache.first())
            };
            let log = self.clone();
            (entries, taken) =
                tokio::task::spawn_blocking(move || log.scan_into(entries, taken, next..end.min(cached), limit))
                    .await
                    .map_err(io::Error::other)??;
        }
    }

    /// Reads from the database until `range` or `limit` ends. A missing entry is an error. Blocks.
    fn scan_into(
        &self,
        mut entries: Vec<Entry>,
        mut taken: u64,
        range: Range<u64>,
        limit: u64,
    ) -> io::Result<(Vec<Entry>, u64)> {
        let missing = |index| FormatError::new("the log", format_args!("entry {index} is missing"));
        let mut expected = range.start;
        scan(&self.shared.disk, self.shared.group, self.shared.replica, range.clone(), |index, bytes| {
            if index != expected {
                return Err(missing(expected).into());
            }
            expected += 1;
            taken += bytes.len() as u64;
            entries.push(codec::decode_entry(&bytes)?);
            Ok(taken < limit)
        })?;
        if expected < range.end && taken < limit {
            return Err(missing(expected).into());
        }
        Ok((entries, taken))
    }
}

/// Calls `each` with the entries of `start..end` as they are in the database, until it answers `false`. Blocks.
fn scan(
    disk: &DiskDb,
    group: GroupId,
    replica: ReplicaId,
    range: Range<u64>,
    mut each: impl FnMut(u64, Bytes) -> io::Result<bool>,
) -> io::Result<()> {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(keys::entry(group, replica, range.end));
    let from = keys::entry(group, replica, range.start);
    let family = disk.log_family()?;
    let iterator = disk.database().iterator_cf_opt(&family, options, IteratorMode::From(&from, Direction::Forward));
    for item in iterator {
        let (key, value) = item.map_err(io::Error::other)?;
        let index = keys::index(&key).ok_or_else(|| FormatError::new("the log", "a key is damaged"))?;
        if !each(index, Bytes::from(Vec::from(value)))? {
            break;
        }
    }
    Ok(())
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<Consensus> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = bounds(&range);
        self.read(start, end, u64::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, self.shared.append_bytes).await
    }

    /// In runs of bounded bytes: a replica that was away has much to apply.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let log = self.clone();
        let runs = stream::try_unfold(start, move |next| {
            let log = log.clone();
            async move {
                let run = log.read(next, end, log.shared.append_bytes).await?;
                let Some(last) = run.last() else { return io::Result::Ok(None) };
                let after = last.log_id.index() + 1;
                Ok(Some((run, after)))
            }
        });
        let entries = runs.flat_map(|run| {
            let entries: Vec<io::Result<Entry>> = match run {
                Ok(run) => run.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            stream::iter(entries)
        });
        Box::pin(entries)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.vote())
    }
}

impl RaftLogStorage<Consensus> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Consensus>, io::Error> {
        let state = self.shared.state.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut changes = vec![Change::PutState { key: self.state_key(keys::VOTE), value: codec::encode_vote(vote)? }];
        let done = {
            let mut state = self.shared.state.lock();
            state.vote = Some(*vote);
            state.vote_is_new = true;
            self.add_committed(&mut state, &mut changes)?;
            self.shared.disk.writer().write(changes, true)
        };
        done.await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut state = self.shared.state.lock();
        state.committed_changed |= state.committed != committed;
        state.committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.shared.state.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Consensus>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.shared.disk.writer().room().await;
        let mut encoded = Vec::new();
        for entry in entries {
            encoded.push((codec::encode_entry(&entry)?, entry));
        }
        let Some(last) = encoded.last().map(|(_, entry)| entry.log_id) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let mut changes = Vec::with_capacity(encoded.len() + 2);
        let mut state = self.shared.state.lock();
        if next_index(state.last.as_ref()) <= state.first {
            // There is no entry yet. Raft does not begin anywhere but after what was purged, though it might.
            state.first = encoded.first().map_or(state.first, |(_, entry)| entry.log_id.index());
        }
        for (value, entry) in encoded {
            let index = entry.log_id.index();
            let len = value.len() as u64;
            if matches!(entry.payload, Payload::Membership(_)) {
                state.membership = Some(index);
            }
            changes.push(Change::PutEntry { key: self.entry_key(index), value });
            state.size.add(index, len);
            state.cache.push(entry, len);
        }
        state.last = Some(last);
        changes.push(self.promise(Some(&last))?);
        self.add_committed(&mut state, &mut changes)?;
        let shared = self.shared.clone();
        // Under the lock, so that the order in the queue is the order in memory.
        self.shared.disk.writer().submit(changes, true, move |result| {
            if result.is_ok() {
                let mut state = shared.state.lock();
                // A truncation may have come in between; then there is nothing of this left to count.
                let flushed = state.last.map(|end| end.index().min(last.index()));
                state.flushed = state.flushed.max(flushed);
                let flushed = state.flushed;
                state.cache.shrink(flushed);
            }
            // Whoever is told may be about to close the disk.
            drop(shared);
            callback.io_completed(result);
        });
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = next_index(last_log_id.as_ref());
        let mut changes = vec![
            Change::DeleteEntries { from: self.entry_key(from), to: self.entry_key(u64::MAX) },
            self.promise(last_log_id.as_ref())?,
        ];
        let done = {
            let mut state = self.shared.state.lock();
            if next_index(state.last.as_ref()) <= from {
                return Ok(());
            }
            state.last = last_log_id;
            state.flushed = state.flushed.and_then(|flushed| flushed.min(from).checked_sub(u64::from(flushed >= from)));
            state.membership = state.membership.filter(|index| *index < from);
            state.cache.truncate(from);
            state.size.truncate(from);
            self.add_committed(&mut state, &mut changes)?;
            self.shared.disk.writer().write(changes, true)
        };
        done.await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let index = log_id.index();
        let mut changes = vec![
            Change::PutState { key: self.state_key(keys::PURGED), value: codec::encode_log_id(Some(&log_id))? },
            Change::DeleteEntries { from: self.entry_key(0), to: self.entry_key(index + 1) },
        ];
        let done = {
            let mut state = self.shared.state.lock();
            if next_index(state.purged.as_ref()) > index {
                return Ok(());
            }
            state.purged = Some(log_id);
            state.first = index + 1;
            state.cache.purge(index);
            if next_index(state.last.as_ref()) <= index + 1 {
                // A snapshot that is ahead of the log.
                state.last = Some(log_id);
                state.size.clear();
                changes.push(self.promise(Some(&log_id))?);
            } else {
                state.size.purge(index);
            }
            self.add_committed(&mut state, &mut changes)?;
            self.shared.disk.writer().write(changes, false)
        };
        done.await
    }
}

#[cfg(test)]
#[path = "log_store_test.rs"]
mod tests;
