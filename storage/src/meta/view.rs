//! A group's state at one moment, for reads that must agree.

use rocksdb::{DB, DBRawIteratorWithThreadMode, ReadOptions, ReadTier, Snapshot};

use super::error::MetaError;
use super::overlay::{Read, handle};
use super::record::BucketRecord;
use super::schema::{Key, KeyRange, Keys};
use super::stored::{self, Stored, StoredBucket};
use crate::types::BucketId;

pub(super) type Iter<'a> = DBRawIteratorWithThreadMode<'a, DB>;

pub(super) struct View<'a> {
    db: &'a DB,
    snapshot: Snapshot<'a>,
    /// Whether what is not in memory is an error, [`MetaError::needs_disk`], rather than read.
    in_memory: bool,
    pub(super) keys: Keys,
}

impl<'a> View<'a> {
    pub(super) fn new(db: &'a DB, keys: Keys) -> Self {
        Self { db, snapshot: db.snapshot(), in_memory: false, keys }
    }

    pub(super) fn in_memory(self) -> Self {
        Self { in_memory: true, ..self }
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if self.in_memory {
            options.set_read_tier(ReadTier::BlockCache);
        }
        options
    }

    /// An iterator over `range`, at its start. It may be moved, but never past the range's end.
    pub(super) fn iter(&self, range: &KeyRange) -> Result<Iter<'_>, MetaError> {
        let mut options = self.options();
        options.set_iterate_upper_bound(range.to.clone());
        let mut iter = self.snapshot.raw_iterator_cf_opt(&handle(self.db, range.cf)?, options);
        iter.seek(&range.from);
        Ok(iter)
    }

    /// Hands the first `limit` pairs of `range` to `each`; answers whether there are more.
    pub(super) fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), MetaError>,
    ) -> Result<bool, MetaError> {
        let mut iter = self.iter(range)?;
        let mut count = 0;
        while let Some((key, value)) = iter.item() {
            if count == limit {
                return Ok(true);
            }
            each(key, value)?;
            count += 1;
            iter.next();
        }
        iter.status()?;
        Ok(false)
    }

    /// As [`View::scan`], the values decoded.
    pub(super) fn load_range<T: Stored>(&self, range: &KeyRange, limit: usize) -> Result<(Vec<T>, bool), MetaError> {
        let mut out = Vec::new();
        let more = self.scan(range, limit, |key, value| {
            out.push(stored::decode(value, key)?);
            Ok(())
        })?;
        Ok((out, more))
    }

    /// The epoch of the settings of a bucket that is here and not sealed.
    pub(super) fn settings(&self, bucket: BucketId) -> Result<Option<u64>, MetaError> {
        Ok(self.bucket(bucket)?.map(|(_, epoch)| epoch))
    }

    /// A bucket that is here and not sealed, and the epoch of its settings.
    pub(super) fn bucket(&self, bucket: BucketId) -> Result<Option<(BucketRecord, u64)>, MetaError> {
        Ok(match self.load(&self.keys.bucket(bucket))? {
            Some(StoredBucket::Kept { record, epoch }) if !record.sealed => Some((record, epoch)),
            _ => None,
        })
    }

    /// What must be there, because something refers to it.
    pub(super) fn expect<T: Stored>(&self, key: &Key) -> Result<T, MetaError> {
        self.load(key)?.ok_or_else(|| MetaError::corrupt(T::WHAT, &key.bytes))
    }
}

impl Read for View<'_> {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, MetaError> {
        Ok(self.snapshot.get_cf_opt(&handle(self.db, key.cf)?, &key.bytes, self.options())?)
    }
}
