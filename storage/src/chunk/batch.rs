//! Changes to the index that take effect together, each decided on what those before it left. Only one thread at a
//! time makes batches (recovery, then the committer), so that reading an entry and changing it needs no lock.

use std::collections::HashMap;

use super::error::ChunkError;
use super::index::{Changes, Entry, Index, Live, Location};
use super::segments::Segments;
use crate::types::ChunkId;

pub struct Batch<'a> {
    index: &'a Index,
    segments: &'a Segments,
    /// Entries as this batch leaves them.
    seen: HashMap<ChunkId, Option<Entry>>,
    live: HashMap<u64, Live>,
    changes: Changes,
    /// Whether the changes must be on the disk before anybody hears of them.
    pub sync: bool,
    /// Whether room is to be given back.
    pub frees: bool,
}

impl<'a> Batch<'a> {
    pub fn new(index: &'a Index, segments: &'a Segments) -> Self {
        let (seen, live) = (HashMap::new(), HashMap::new());
        Self { index, segments, seen, live, changes: Changes::default(), sync: false, frees: false }
    }

    /// The chunk's entry, with the changes made so far.
    pub fn look(&self, id: &ChunkId) -> Result<Option<Entry>, ChunkError> {
        match self.seen.get(id) {
            Some(entry) => Ok(entry.clone()),
            None => self.index.get(id),
        }
    }

    /// Puts a chunk at a new place, over `before` where there is an entry already, whose record is then let go.
    pub fn insert(&mut self, id: ChunkId, before: Option<&Entry>, entry: Entry) {
        if let Some(before) = before {
            self.let_go(&id, before);
        }
        let live = self.live(entry.location.segment);
        live.chunks += 1;
        live.bytes += u64::from(entry.len);
        self.update(id, entry);
    }

    /// Changes what is noted about a chunk that stays where it is.
    pub fn update(&mut self, id: ChunkId, entry: Entry) {
        self.changes.put(&id, &entry);
        self.seen.insert(id, Some(entry));
    }

    /// Drops a chunk.
    pub fn remove(&mut self, id: ChunkId, entry: &Entry) {
        self.let_go(&id, entry);
        self.changes.remove(&id);
        self.seen.insert(id, None);
    }

    /// Gives up a record that the index does not know.
    pub fn free(&mut self, id: &ChunkId, location: Location, len: u32) {
        self.changes.free(location, len, id);
        self.frees = true;
    }

    fn let_go(&mut self, id: &ChunkId, entry: &Entry) {
        let live = self.live(entry.location.segment);
        live.chunks = live.chunks.saturating_sub(1);
        live.bytes = live.bytes.saturating_sub(u64::from(entry.len));
        self.free(id, entry.location, entry.len);
    }

    fn live(&mut self, segment: u64) -> &mut Live {
        self.live.entry(segment).or_insert_with(|| self.segments.live(segment))
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Makes the changes.
    pub fn write(mut self) -> Result<(), ChunkError> {
        for (segment, live) in &self.live {
            self.changes.set_live(*segment, *live);
        }
        self.index.write(self.changes, self.sync)?;
        for (segment, live) in self.live {
            self.segments.set_live(segment, live);
        }
        Ok(())
    }
}
