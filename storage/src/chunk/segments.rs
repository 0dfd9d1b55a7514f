//! Which segments a disk has, their open files, and what the index holds of each.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::file::{SegmentDir, SegmentFile};
use super::index::Live;

/// How many segments are kept open.
const OPEN: usize = 128;

pub struct Segments {
    dir: Arc<dyn SegmentDir>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Every segment with a file, and every segment of which the index holds something.
    known: BTreeMap<u64, Known>,
    /// The one that is written to; all others are sealed.
    active: Option<u64>,
    total: Live,
    open: HashMap<u64, (Arc<dyn SegmentFile>, u64)>,
    clock: u64,
}

#[derive(Default, Clone, Copy)]
struct Known {
    live: Live,
    /// Records that were begun and that the index does not know yet.
    pending: u64,
}

impl Segments {
    pub fn new(dir: Arc<dyn SegmentDir>) -> Self {
        Self { dir, state: Mutex::default() }
    }

    pub fn dir(&self) -> &dyn SegmentDir {
        &*self.dir
    }

    /// The segment's file, opened if need be. `NotFound` where the segment is gone.
    pub fn file(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>> {
        {
            let mut state = self.state.lock();
            state.clock += 1;
            let now = state.clock;
            if let Some((file, used)) = state.open.get_mut(&number) {
                *used = now;
                return Ok(file.clone());
            }
        }
        let file = self.dir.open(number)?;
        self.remember(number, file.clone());
        Ok(file)
    }

    fn remember(&self, number: u64, file: Arc<dyn SegmentFile>) {
        let mut state = self.state.lock();
        if state.open.len() >= OPEN {
            let oldest = state.open.iter().min_by_key(|(_, (_, used))| *used).map(|(number, _)| *number);
            oldest.and_then(|oldest| state.open.remove(&oldest));
        }
        let now = state.clock;
        state.open.insert(number, (file, now));
    }

    /// Makes it known that there is such a segment; it is sealed until [`Segments::activate`] says otherwise.
    pub fn add(&self, number: u64) {
        self.state.lock().known.entry(number).or_default();
    }

    /// From now on this segment is the one that is written to.
    pub fn activate(&self, number: u64, file: Arc<dyn SegmentFile>) {
        self.remember(number, file);
        let mut state = self.state.lock();
        state.known.entry(number).or_default();
        state.active = Some(number);
    }

    /// The segment's file is no more.
    pub fn forget(&self, number: u64) {
        let mut state = self.state.lock();
        state.open.remove(&number);
        if let Some(known) = state.known.remove(&number) {
            state.total.chunks -= known.live.chunks;
            state.total.bytes -= known.live.bytes;
        }
    }

    /// A record of this segment is about to be written: the segment is in use until the matching [`Segments::end`].
    pub fn begin(&self, number: u64) {
        self.state.lock().known.entry(number).or_default().pending += 1;
    }

    /// The record is in the index, or will never be.
    pub fn end(&self, number: u64) {
        let mut state = self.state.lock();
        let known = state.known.entry(number).or_default();
        known.pending = known.pending.saturating_sub(1);
    }

    pub fn live(&self, number: u64) -> Live {
        self.state.lock().known.get(&number).map(|known| known.live).unwrap_or_default()
    }

    pub fn set_live(&self, number: u64, live: Live) {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.known.entry(number).or_default().live, live);
        state.total.chunks = (state.total.chunks + live.chunks).saturating_sub(before.chunks);
        state.total.bytes = (state.total.bytes + live.bytes).saturating_sub(before.bytes);
    }

    /// What the index holds of all segments.
    pub fn total(&self) -> Live {
        self.state.lock().total
    }

    /// Sealed segments of which the index holds nothing.
    pub fn empty(&self) -> Vec<u64> {
        let state = self.state.lock();
        let is_empty = |(number, known): (&u64, &Known)| {
            (known.live.chunks == 0 && known.pending == 0 && Some(*number) != state.active).then_some(*number)
        };
        state.known.iter().filter_map(is_empty).collect()
    }

    pub fn len(&self) -> usize {
        self.state.lock().known.len()
    }
}
