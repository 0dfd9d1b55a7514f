//! One replica's state of one group. It shares the metadata database of its disk with the raft log and with other
//! groups, and touches no key but its group's.

use std::borrow::Borrow;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rocksdb::{DB, WriteBatch, WriteOptions};

use super::answer;
use super::apply::Applier;
use super::command::{Batch, Outcome, Rejection};
use super::error::MetaError;
use super::overlay::{Overlay, handle};
use super::query::{Answer, Query};
use super::schema::{self, Cf, FIRST_GENERATION, KeyRange, Keys, SCHEMA};
use super::stored::{self, GroupState, Marker, Pointer, Stored};
use super::view::View;
use crate::types::GroupId;

/// The state of one group on one disk. Any number of queries go on beside one apply.
///
/// After an error of [`GroupStore::apply`] the replica stops: what the database holds is a state of the past, which
/// the log brings up to date after a restart.
pub struct GroupStore {
    pub(super) db: Arc<DB>,
    pub(super) group: GroupId,
    /// The generation in use. Held while a view is taken, so that none is taken of a generation that is gone.
    pub(super) generation: RwLock<u32>,
    /// Held by whoever writes.
    pub(super) live: Mutex<Live>,
}

/// What of the state is kept in memory.
#[derive(Default)]
pub(super) struct Live {
    pub state: GroupState,
    pub marker: Option<Vec<u8>>,
    /// Whether the database has the pointer to the generation.
    pub pointed: bool,
}

/// What was asked in an entry, answered in order.
pub type EntryResults = Vec<Result<Outcome, Rejection>>;

impl GroupStore {
    /// Opens the state of `group`, empty where there is none. The database has been opened with
    /// [`super::column_families`]. What an install left behind that was cut off is removed.
    ///
    /// # Errors
    /// [`MetaError::NewerSchema`] where a newer release has written it; nothing is touched then.
    pub fn open(db: Arc<DB>, group: GroupId) -> Result<Self, MetaError> {
        let pointer: Option<Pointer> = load(&db, &schema::pointer(group))?;
        if let Some(pointer) = pointer.as_ref().filter(|pointer| pointer.schema > SCHEMA) {
            return Err(MetaError::NewerSchema { found: pointer.schema, known: SCHEMA });
        }
        let generation = pointer.as_ref().map_or(FIRST_GENERATION, |pointer| pointer.generation);
        let live = Live::load(&db, Keys::new(group, generation), pointer.is_some())?;
        let store = Self { db, group, generation: RwLock::new(generation), live: Mutex::new(live) };
        store.clear_after(generation)?;
        Ok(store)
    }

    /// Whose state this is.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The marker of the last apply or install.
    pub fn applied(&self) -> Option<Vec<u8>> {
        self.live.lock().marker.clone()
    }

    /// Applies log entries, in the order of the log, and notes `marker`, all in one unsynced write. Raft's own entries
    /// come as a marker alone.
    ///
    /// Answers the envelopes of each entry. Blocks on the database.
    pub fn apply<B: Borrow<Batch>>(&self, entries: &[(u64, B)], marker: &[u8]) -> Result<Vec<EntryResults>, MetaError> {
        let mut live = self.live.lock();
        let generation = *self.generation.read();
        let keys = Keys::new(self.group, generation);
        let mut applier = Applier::new(Overlay::new(&self.db), keys, self.group, live.state.clone());
        let mut results = Vec::with_capacity(entries.len());
        for (log_index, batch) in entries {
            results.push(applier.entry(*log_index, batch.borrow())?);
        }

        let Applier { mut overlay, state, .. } = applier;
        if !live.pointed {
            overlay.put(schema::pointer(self.group), &Pointer { schema: SCHEMA, generation })?;
        }
        if state != live.state {
            overlay.put(keys.state(), &state)?;
        }
        overlay.put(keys.marker(), &Marker(bytes::Bytes::copy_from_slice(marker)))?;
        self.db.write_opt(overlay.into_batch()?, &WriteOptions::default())?;
        *live = Live { state, marker: Some(marker.to_vec()), pointed: true };
        Ok(results)
    }

    /// Answers a query from what is applied. Blocks on the database.
    pub fn query(&self, query: &Query) -> Result<Answer, MetaError> {
        answer::answer(&self.view(), self.group, query)
    }

    /// The same without a look at the disk: `None` where that does not do, and where the query may read many keys.
    pub fn query_in_memory(&self, query: &Query) -> Result<Option<Answer>, MetaError> {
        if !query.is_point() {
            return Ok(None);
        }
        let view = self.view().in_memory();
        match answer::answer(&view, self.group, query) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.needs_disk() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes all that the group has on this disk, durably. What is applied afterwards starts from nothing.
    pub fn wipe(&self) -> Result<(), MetaError> {
        let mut live = self.live.lock();
        let mut generation = self.generation.write();
        let mut batch = WriteBatch::default();
        self.drop_generations(&mut batch, 0, None)?;
        self.db.write_opt(batch, &synced())?;
        *live = Live::default();
        *generation = FIRST_GENERATION;
        Ok(())
    }

    /// The state as it is now, whatever is applied later.
    pub(super) fn view(&self) -> View<'_> {
        let generation = self.generation.read();
        View::new(&self.db, Keys::new(self.group, *generation))
    }

    /// Removes what is left of generations after `generation`: an install that was cut off.
    pub(super) fn clear_after(&self, generation: u32) -> Result<(), MetaError> {
        let Some(next) = generation.checked_add(1) else { return Ok(()) };
        let mut batch = WriteBatch::default();
        for cf in Cf::ALL {
            let range = self.generations(cf, next, None);
            if !Overlay::new(&self.db).is_empty(&range)? {
                batch.delete_range_cf(&handle(&self.db, cf)?, &range.from, &range.to);
            }
        }
        if !batch.is_empty() {
            self.db.write_opt(batch, &synced())?;
        }
        Ok(())
    }

    /// Adds the removal of all generations from `first` on, before `end`, to `batch`.
    pub(super) fn drop_generations(
        &self,
        batch: &mut WriteBatch,
        first: u32,
        end: Option<u32>,
    ) -> Result<(), MetaError> {
        for cf in Cf::ALL {
            let range = self.generations(cf, first, end);
            batch.delete_range_cf(&handle(&self.db, cf)?, &range.from, &range.to);
        }
        Ok(())
    }

    fn generations(&self, cf: Cf, first: u32, end: Option<u32>) -> KeyRange {
        let start = |generation| Keys::new(self.group, generation).all(cf).from;
        let to = end.map_or_else(|| schema::successor(&self.group.0.to_be_bytes()), start);
        KeyRange { cf, from: start(first), to }
    }
}

impl Live {
    /// What a generation has of it.
    pub(super) fn load(db: &DB, keys: Keys, pointed: bool) -> Result<Self, MetaError> {
        let state: Option<GroupState> = load(db, &keys.state())?;
        let marker: Option<Marker> = load(db, &keys.marker())?;
        Ok(Self { state: state.unwrap_or_default(), marker: marker.map(|marker| marker.0.into()), pointed })
    }
}

/// For what must be on the disk before anything follows from it.
pub(super) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn load<T: Stored>(db: &DB, key: &schema::Key) -> Result<Option<T>, MetaError> {
    let bytes = db.get_cf(&handle(db, key.cf)?, &key.bytes)?;
    bytes.map(|bytes| stored::decode(&bytes, &key.bytes)).transpose()
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
