//! Buckets: created after the root group reserved them, sealed when empty, then taken apart in bounded steps.

use bytes::Bytes;

use super::super::command::{Outcome, Rejection};
use super::super::error::MetaError;
use super::super::overlay::Read;
use super::super::record::{BucketRecord, CompletedUpload, MAX_SETTING_LEN, Setting, UploadRecord};
use super::super::schema::setting_in;
use super::super::stored::{self, Flag, StoredBucket, StoredSetting};
use super::{Applied, Applier, demand, less, more};
use crate::types::BucketId;

impl Applier<'_> {
    /// `Command::CreateBucket`.
    pub(super) fn create_bucket(&mut self, bucket: &BucketRecord) -> Applied<Outcome> {
        let slot = self.keys.bucket(bucket.id);
        match self.overlay.load(&slot)? {
            Some(StoredBucket::Kept { record, .. }) if !record.sealed => return Ok(Outcome::Bucket(record)),
            Some(_) => return Err(Rejection::UnknownBucket.into()),
            None => {}
        }
        let record = BucketRecord { created_ms: self.noted_ms, sealed: false, ..bucket.clone() };
        self.overlay.put(slot, &StoredBucket::Kept { record: record.clone(), epoch: 0 })?;
        more(&mut self.state.statistics.buckets, 1);
        Ok(Outcome::Bucket(record))
    }

    /// `Command::CreateBucketWith`.
    pub(super) fn create_bucket_with(
        &mut self,
        bucket: &BucketRecord,
        settings: &[(Setting, Bytes)],
    ) -> Applied<Outcome> {
        demand(settings.iter().all(|(_, value)| value.len() <= MAX_SETTING_LEN))?;
        let slot = self.keys.bucket(bucket.id);
        let is_new = !self.overlay.contains(&slot)?;
        let outcome = self.create_bucket(bucket)?;
        if let Outcome::Bucket(record) = &outcome
            && is_new
        {
            for (setting, value) in settings {
                self.overlay.put(self.keys.setting(bucket.id, *setting), &StoredSetting(value.clone()))?;
            }
            self.overlay.put(slot, &StoredBucket::Kept { record: record.clone(), epoch: 1 })?;
        }
        Ok(outcome)
    }

    /// `Command::SealBucket`.
    pub(super) fn seal_bucket(&mut self, bucket: BucketId) -> Applied<Outcome> {
        let slot = self.keys.bucket(bucket);
        let Some(StoredBucket::Kept { record, epoch }) = self.overlay.load(&slot)? else {
            return Err(Rejection::UnknownBucket.into());
        };
        if record.sealed {
            return Err(Rejection::UnknownBucket.into());
        }
        let empty = self.overlay.is_empty(&self.keys.current_of(bucket, b""))?
            && self.overlay.is_empty(&self.keys.versions_of(bucket))?;
        if !empty {
            return Err(Rejection::BucketNotEmpty.into());
        }

        let record = BucketRecord { sealed: true, ..record };
        self.overlay.put(slot, &StoredBucket::Kept { record: record.clone(), epoch })?;
        self.overlay.put(self.keys.sealed_bucket(bucket), &Flag)?;
        less(&mut self.state.statistics.buckets, 1);
        Ok(Outcome::Bucket(record))
    }

    /// `Command::PurgeBucket`. A sealed bucket has no versions: what is left are uploads, settings, and the record
    /// itself.
    pub(super) fn purge_bucket(&mut self, bucket: BucketId, limit: u32) -> Applied<Outcome> {
        match self.overlay.load(&self.keys.bucket(bucket))? {
            Some(StoredBucket::Kept { record, .. }) if record.sealed => {}
            Some(StoredBucket::Kept { .. }) => return Err(Rejection::Invalid.into()),
            Some(StoredBucket::Purged) | None => return Err(Rejection::UnknownBucket.into()),
        }
        let limit = limit.max(1);
        let mut left = limit;

        for (key, value) in self.overlay.scan(&self.keys.uploads_of(bucket, b""), left as usize)? {
            let upload: UploadRecord = stored::decode(&value, &key)?;
            for part in self.parts(upload.id, left as usize)? {
                self.release(&part.body)?;
                self.overlay.delete(self.keys.part(upload.id, part.number));
                left = left.saturating_sub(1);
            }
            if left == 0 {
                break;
            }
            self.close_upload((bucket, &upload.key), upload.initiated_ms, upload.id)?;
            left -= 1;
        }
        for (key, value) in self.overlay.scan(&self.keys.completed_of(bucket), left as usize)? {
            let completed: CompletedUpload = stored::decode(&value, &key)?;
            self.overlay.delete(self.keys.completed(bucket, completed.key.as_bytes(), completed.id));
            self.overlay.delete(self.keys.completed_order(completed.completed_ms, completed.id));
            left = left.saturating_sub(1);
        }
        for (key, _) in self.overlay.scan(&self.keys.settings_of(bucket), left as usize)? {
            let setting = setting_in(&key).ok_or_else(|| MetaError::corrupt("setting", &key))?;
            self.overlay.delete(self.keys.setting(bucket, setting));
            left = left.saturating_sub(1);
        }
        if left == 0 {
            return Ok(Outcome::Progress { taken: limit, more: true });
        }
        self.overlay.put(self.keys.bucket(bucket), &StoredBucket::Purged)?;
        self.overlay.delete(self.keys.sealed_bucket(bucket));
        Ok(Outcome::Progress { taken: limit - left + 1, more: false })
    }
}

#[cfg(test)]
#[path = "buckets_test.rs"]
mod tests;
