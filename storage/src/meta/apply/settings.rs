//! The settings of buckets. Their epoch counts the changes, so that what was judged by older ones can be told.

use bytes::Bytes;

use super::super::command::{Outcome, Rejection};
use super::super::overlay::Read;
use super::super::record::{MAX_SETTING_LEN, Setting};
use super::super::stored::{StoredBucket, StoredSetting};
use super::{Applied, Applier, demand};
use crate::types::BucketId;

impl Applier<'_> {
    /// `Command::SetBucketSetting`.
    pub(super) fn set_bucket_setting(
        &mut self,
        bucket: BucketId,
        setting: Setting,
        value: Option<&Bytes>,
    ) -> Applied<Outcome> {
        demand(value.is_none_or(|value| value.len() <= MAX_SETTING_LEN))?;
        self.check_bucket(bucket)?;
        let Some(StoredBucket::Kept { record, epoch }) = self.overlay.load(&self.keys.bucket(bucket))? else {
            return Err(Rejection::UnknownBucket.into());
        };
        let slot = self.keys.setting(bucket, setting);
        let old: Option<StoredSetting> = self.overlay.load(&slot)?;
        if old.as_ref().map(|old| &old.0) == value {
            return Ok(Outcome::Settings(epoch));
        }

        let epoch = epoch.checked_add(1).ok_or(Rejection::Invalid)?;
        match value {
            Some(value) => self.overlay.put(slot, &StoredSetting(value.clone()))?,
            None => self.overlay.delete(slot),
        }
        self.overlay.put(self.keys.bucket(bucket), &StoredBucket::Kept { record, epoch })?;
        Ok(Outcome::Settings(epoch))
    }
}

#[cfg(test)]
#[path = "settings_test.rs"]
mod tests;
