//! What the commands of one apply have written so far, over the database: each sees what those before it did, and
//! nothing reaches the database before all are done.

use std::collections::BTreeMap;

use rocksdb::{DB, ReadOptions, WriteBatch};

use super::error::MetaError;
use super::schema::{Cf, Key, KeyRange};
use super::stored::{self, Stored};

/// Point reads, of the overlay or of a snapshot.
pub(super) trait Read {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, MetaError>;

    fn load<T: Stored>(&self, key: &Key) -> Result<Option<T>, MetaError> {
        self.get(key)?.map(|bytes| stored::decode(&bytes, &key.bytes)).transpose()
    }
}

/// A key and its value, raw.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

pub(super) struct Overlay<'a> {
    db: &'a DB,
    /// `None` where the key was deleted.
    pending: BTreeMap<Key, Option<Vec<u8>>>,
    /// Deleted before all puts: what was pending in them is gone, what is put later stays. Never scanned.
    dropped: Vec<KeyRange>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(db: &'a DB) -> Self {
        Self { db, pending: BTreeMap::new(), dropped: Vec::new() }
    }

    pub(super) fn put<T: Stored>(&mut self, key: Key, value: &T) -> Result<(), MetaError> {
        let bytes = stored::encode(value)?;
        self.pending.insert(key, Some(bytes));
        Ok(())
    }

    pub(super) fn delete(&mut self, key: Key) {
        self.pending.insert(key, None);
    }

    /// Deletes a range that is not scanned.
    pub(super) fn drop_range(&mut self, range: KeyRange) {
        if range.from < range.to {
            let is_inside = |key: &Key| key.cf == range.cf && key.bytes >= range.from && key.bytes < range.to;
            self.pending.retain(|key, _| !is_inside(key));
            self.dropped.push(range);
        }
    }

    fn is_dropped(&self, key: &Key) -> bool {
        self.dropped.iter().any(|range| key.cf == range.cf && key.bytes >= range.from && key.bytes < range.to)
    }

    pub(super) fn contains(&self, key: &Key) -> Result<bool, MetaError> {
        match self.pending.get(key) {
            Some(pending) => Ok(pending.is_some()),
            None if self.is_dropped(key) => Ok(false),
            None => Ok(self.db.get_pinned_cf(&handle(self.db, key.cf)?, &key.bytes)?.is_some()),
        }
    }

    /// The first `limit` pairs of the range.
    pub(super) fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Pair>, MetaError> {
        if range.from >= range.to {
            return Ok(Vec::new());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(range.to.clone());
        let mut stored = self.db.raw_iterator_cf_opt(&handle(self.db, range.cf)?, options);
        stored.seek(&range.from);
        let bound = |bytes: &Vec<u8>| Key { cf: range.cf, bytes: bytes.clone() };
        let mut pending = self.pending.range(bound(&range.from)..bound(&range.to)).peekable();

        let mut out = Vec::new();
        while out.len() < limit {
            match (stored.item(), pending.peek()) {
                (Some((key, value)), next) if next.is_none_or(|(over, _)| key < over.bytes.as_slice()) => {
                    out.push((key.to_vec(), value.to_vec()));
                    stored.next();
                }
                (under, Some((over, value))) => {
                    let hides = under.is_some_and(|(key, _)| key == over.bytes.as_slice());
                    if let Some(value) = value {
                        out.push((over.bytes.clone(), value.clone()));
                    }
                    pending.next();
                    if hides {
                        stored.next();
                    }
                }
                (_, None) => break,
            }
        }
        stored.status()?;
        Ok(out)
    }

    pub(super) fn is_empty(&self, range: &KeyRange) -> Result<bool, MetaError> {
        Ok(self.scan(range, 1)?.is_empty())
    }

    /// All of it, as one write.
    pub(super) fn into_batch(self) -> Result<WriteBatch, MetaError> {
        let mut batch = WriteBatch::default();
        for range in &self.dropped {
            batch.delete_range_cf(&handle(self.db, range.cf)?, &range.from, &range.to);
        }
        for cf in Cf::ALL {
            let handle = handle(self.db, cf)?;
            let from = Key { cf, bytes: Vec::new() };
            for (key, value) in self.pending.range(from..).take_while(|(key, _)| key.cf == cf) {
                match value {
                    Some(value) => batch.put_cf(&handle, &key.bytes, value),
                    None => batch.delete_cf(&handle, &key.bytes),
                }
            }
        }
        Ok(batch)
    }
}

impl Read for Overlay<'_> {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, MetaError> {
        match self.pending.get(key) {
            Some(pending) => Ok(pending.clone()),
            None if self.is_dropped(key) => Ok(None),
            None => Ok(self.db.get_cf(&handle(self.db, key.cf)?, &key.bytes)?),
        }
    }
}

/// The handle of a column family.
pub(super) fn handle(db: &DB, cf: Cf) -> Result<std::sync::Arc<rocksdb::BoundColumnFamily<'_>>, MetaError> {
    db.cf_handle(cf.name()).ok_or(MetaError::MissingColumnFamily(cf.name()))
}
