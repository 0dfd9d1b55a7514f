//! The recent entries of a log, in memory, so that neither replication nor apply reads them back from the database, and
//! a record of how many bytes the log has, so that it can be cut by bytes.

use std::collections::VecDeque;

use super::consensus::Entry;

/// A run of entries without a hole, the newest of a log. What is not yet fsynced is never dropped from it.
pub(super) struct LogCache {
    entries: VecDeque<(Entry, u64)>,
    /// The index of the first of `entries`.
    first: u64,
    bytes: u64,
    max_bytes: u64,
}

impl LogCache {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { entries: VecDeque::new(), first: 0, bytes: 0, max_bytes }
    }

    /// The index of the oldest entry that is here; everything after it is here too.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The index after the newest entry.
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Adds the entry that follows the newest. Where it does not, what was here is dropped: it is not the tail any more.
    pub(super) fn push(&mut self, entry: Entry, bytes: u64) {
        let index = entry.log_id.index();
        if index != self.next() {
            self.entries.clear();
            self.bytes = 0;
            self.first = index;
        }
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
    }

    /// Drops the oldest entries until the bound holds, but none with an index after `flushed`.
    pub(super) fn shrink(&mut self, flushed: Option<u64>) {
        while self.bytes > self.max_bytes && flushed.is_some_and(|flushed| self.first <= flushed) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some((_, bytes)) = self.entries.pop_front() {
            self.bytes -= bytes;
            self.first += 1;
        }
    }

    /// Drops the entries from `index` on.
    pub(super) fn truncate(&mut self, index: u64) {
        while self.next() > index && !self.entries.is_empty() {
            if let Some((_, bytes)) = self.entries.pop_back() {
                self.bytes -= bytes;
            }
        }
        if self.entries.is_empty() {
            self.first = index;
        }
    }

    /// Drops the entries up to `index`, inclusive.
    pub(super) fn purge(&mut self, index: u64) {
        while self.first <= index && !self.entries.is_empty() {
            self.pop_front();
        }
        if self.entries.is_empty() {
            self.first = index + 1;
        }
    }

    /// Appends to `out` the entries from `start` up to `end` (exclusive) that are here, as long as less than `limit`
    /// bytes are taken before each; returns how many bytes those in `out` have now. `start` must not be before
    /// [`LogCache::first`].
    pub(super) fn copy(&self, start: u64, end: u64, mut taken: u64, limit: u64, out: &mut Vec<Entry>) -> u64 {
        let skip = start.saturating_sub(self.first);
        let count = end.min(self.next()).saturating_sub(start);
        for (entry, bytes) in self.entries.iter().skip(skip as usize).take(count as usize) {
            if taken >= limit {
                break;
            }
            taken += bytes;
            out.push(entry.clone());
        }
        taken
    }
}

/// How many bytes a log has up to some of its indexes: one mark about every mebibyte.
#[derive(Default)]
pub(super) struct LogSize {
    /// Bytes of all entries that were ever here, and of those that are gone.
    added: u64,
    removed: u64,
    /// An index, and `added` just after it; both grow.
    marks: VecDeque<(u64, u64)>,
}

const MARK_BYTES: u64 = 1 << 20;

impl LogSize {
    /// Bytes of the entries in the log, to within a mark.
    pub(super) fn bytes(&self) -> u64 {
        self.added - self.removed
    }

    pub(super) fn add(&mut self, index: u64, bytes: u64) {
        self.added += bytes;
        let last = self.marks.back().map_or(self.removed, |mark| mark.1);
        if self.added - last >= MARK_BYTES {
            self.marks.push_back((index, self.added));
        }
    }

    /// The entries from `index` on are gone.
    pub(super) fn truncate(&mut self, index: u64) {
        while self.marks.back().is_some_and(|mark| mark.0 >= index) {
            self.marks.pop_back();
        }
        self.added = self.marks.back().map_or(self.removed, |mark| mark.1);
    }

    /// The entries up to `index`, inclusive, are gone.
    pub(super) fn purge(&mut self, index: u64) {
        while let Some(mark) = self.marks.front().filter(|mark| mark.0 <= index) {
            self.removed = mark.1;
            self.marks.pop_front();
        }
    }

    /// All entries are gone.
    pub(super) fn clear(&mut self) {
        self.removed = self.added;
        self.marks.clear();
    }

    /// The greatest marked index after which at least `keep` bytes remain, and which is not after `at_most`.
    pub(super) fn purge_index(&self, keep: u64, at_most: u64) -> Option<u64> {
        self.marks.iter().take_while(|mark| self.added - mark.1 >= keep && mark.0 <= at_most).last().map(|mark| mark.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::consensus::{LeaderId, LogId, Payload};
    use super::*;
    use crate::types::ReplicaId;
    use openraft::vote::RaftLeaderId;

    fn entry(index: u64) -> Entry {
        Entry { log_id: LogId::new(LeaderId::new(1, ReplicaId(1)), index), payload: Payload::Blank }
    }

    fn indexes(cache: &LogCache, start: u64, end: u64) -> Vec<u64> {
        let mut out = Vec::new();
        cache.copy(start, end, 0, u64::MAX, &mut out);
        out.iter().map(|entry| entry.log_id.index()).collect()
    }

    #[test]
    fn only_what_is_flushed_leaves_the_cache() {
        let mut cache = LogCache::new(30);
        (5..15).for_each(|index| cache.push(entry(index), 10));
        cache.shrink(None);
        assert_eq!(cache.first(), 5);
        cache.shrink(Some(7));
        assert_eq!(cache.first(), 8);
        cache.shrink(Some(14));
        assert_eq!(indexes(&cache, 12, 100), [12, 13, 14]);
    }

    #[test]
    fn a_cache_follows_truncation_purge_and_gaps() {
        let mut cache = LogCache::new(1000);
        (0..10).for_each(|index| cache.push(entry(index), 10));
        cache.truncate(6);
        cache.push(entry(6), 10);
        cache.purge(2);
        assert_eq!(indexes(&cache, 3, 100), [3, 4, 5, 6]);
        assert_eq!(indexes(&cache, 4, 6), [4, 5]);
        cache.push(entry(20), 10);
        assert_eq!((cache.first(), indexes(&cache, 20, 30)), (20, vec![20]));
        cache.purge(25);
        assert_eq!((cache.first(), cache.bytes), (26, 0));
    }

    #[test]
    fn a_copy_ends_after_the_entry_that_reaches_the_limit() {
        let mut cache = LogCache::new(1000);
        (0..10).for_each(|index| cache.push(entry(index), 10));
        let mut out = Vec::new();
        assert_eq!(cache.copy(2, 10, 0, 25, &mut out), 30);
        assert_eq!(out.len(), 3);
        let mut out = Vec::new();
        cache.copy(2, 10, 0, 1, &mut out);
        assert_eq!(out.len(), 1, "one entry at least");
    }

    #[test]
    fn a_log_is_cut_by_bytes() {
        let mut size = LogSize::default();
        (0..100).for_each(|index| size.add(index, 512 << 10));
        assert_eq!(size.bytes(), 50 << 20);
        let index = size.purge_index(20 << 20, u64::MAX).unwrap();
        assert_eq!(index, 59);
        assert_eq!(size.purge_index(20 << 20, 30), Some(29));
        assert_eq!(size.purge_index(50 << 20, u64::MAX), None);
        size.purge(index);
        assert_eq!(size.bytes(), 20 << 20);
        size.truncate(80);
        assert_eq!(size.bytes(), 10 << 20);
        size.clear();
        assert_eq!(size.bytes(), 0);
    }
}
