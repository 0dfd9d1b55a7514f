//! The way to a bucket's group, for what was judged.

use std::sync::Arc;

use cairn_storage::meta::record::{DirectoryEntry, DirectoryState};
use cairn_storage::meta::{Answer, Command, Outcome, Query, Rejection};
use cairn_storage::types::BucketId;
use http::HeaderValue;
use parking_lot::Mutex;

use super::{Asked, Caller, Pass, check_owner, judge};
use crate::error::S3Error;
use crate::gateway::{Gateway, no_such_bucket};

/// A caller, and the bucket and key that the caller may do something with.
pub struct Access {
    gateway: Gateway,
    caller: Caller,
    actions: &'static [&'static str],
    bucket: String,
    key: String,
    /// `x-amz-expected-bucket-owner`.
    expected_owner: Option<HeaderValue>,
    /// As it was first.
    opened: Arc<DirectoryEntry>,
    /// As it was last found.
    found: Mutex<Arc<DirectoryEntry>>,
}

impl Access {
    /// Looks the bucket up and judges. A cached entry may be out of date, so that only the root group denies, and says
    /// whose the bucket is where one owner is expected.
    pub(super) async fn open(
        gateway: &Gateway,
        caller: &Caller,
        actions: &'static [&'static str],
        (bucket, key): (&str, &str),
        expected_owner: Option<&HeaderValue>,
    ) -> Result<Self, S3Error> {
        let judged = |entry: &DirectoryEntry| judge_all(caller, actions, entry, key, expected_owner);
        let cached = gateway.cached_bucket(bucket).filter(|_| expected_owner.is_none());
        let entry = match cached.filter(|entry| judged(entry).is_ok()) {
            Some(entry) => entry,
            None => {
                let entry = ask(gateway, bucket).await?;
                judged(&entry)?;
                entry
            }
        };
        Ok(Self {
            gateway: gateway.clone(),
            caller: caller.clone(),
            actions,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            expected_owner: expected_owner.cloned(),
            found: Mutex::new(entry.clone()),
            opened: entry,
        })
    }

    /// The bucket as the root group knows it now, if the caller may do with it what was asked for.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`, and that the root group does not answer.
    pub async fn find(&self) -> Result<Arc<DirectoryEntry>, S3Error> {
        let entry = ask(&self.gateway, &self.bucket).await?;
        judge_all(&self.caller, self.actions, &entry, &self.key, self.expected_owner.as_ref())?;
        Ok(entry)
    }

    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Empty where the bucket is meant.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The bucket's directory entry; may come from the cache (the group has the last word). For what must be known
    /// before a body is read: the group.
    pub fn entry(&self) -> &DirectoryEntry {
        &self.opened
    }

    /// For what goes to the root group about this bucket.
    pub fn pass(&self) -> Pass {
        Pass(())
    }

    /// Judges what is asked for besides, of another key of the bucket.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub fn also(&self, action: &str, key: &str) -> Result<(), S3Error> {
        allow(&self.caller, action, &self.found.lock(), key)
    }

    /// Asks the bucket's group. A directory entry is only a hint: where the group does not know the bucket's id, the root
    /// group is asked, and what it says is judged anew, before it is `NoSuchBucket`.
    pub async fn query(&self, query: impl Fn(BucketId) -> Query) -> Result<(Arc<DirectoryEntry>, Answer), S3Error> {
        loop {
            let entry = self.found.lock().clone();
            let answer = self.gateway.client(self.pass()).query(entry.group, query(entry.id)).await?;
            if !is_unknown_bucket(&answer) {
                return Ok((entry, answer));
            }
            self.find_again(&entry).await?;
        }
    }

    /// The same for a command. `Rejection::UnknownBucket` never comes back from here, it is `NoSuchBucket`; the other
    /// rejections are the operation's to turn into errors.
    pub async fn command(
        &self,
        command: impl Fn(BucketId) -> Command,
    ) -> Result<(Arc<DirectoryEntry>, Result<Outcome, Rejection>), S3Error> {
        loop {
            let entry = self.found.lock().clone();
            let result = self.gateway.client(self.pass()).command(entry.group, command(entry.id)).await?;
            if !matches!(result, Err(Rejection::UnknownBucket)) {
                return Ok((entry, result));
            }
            self.find_again(&entry).await?;
        }
    }

    /// After the group said that it does not know the bucket of `entry`.
    async fn find_again(&self, entry: &DirectoryEntry) -> Result<(), S3Error> {
        self.gateway.forget_bucket(&self.bucket);
        let again = self.find().await?;
        if again.id == entry.id {
            // It is being deleted.
            return Err(no_such_bucket(&self.bucket));
        }
        *self.found.lock() = again;
        Ok(())
    }
}

/// # Errors
/// `AccessDenied`.
fn judge_all(
    caller: &Caller,
    actions: &[&str],
    entry: &DirectoryEntry,
    key: &str,
    expected_owner: Option<&HeaderValue>,
) -> Result<(), S3Error> {
    actions.iter().try_for_each(|action| allow(caller, action, entry, key))?;
    expected_owner.map_or(Ok(()), |expected| check_owner(expected, entry.owner))
}

fn allow(caller: &Caller, action: &str, entry: &DirectoryEntry, key: &str) -> Result<(), S3Error> {
    judge(caller, &Asked { action, bucket: &entry.name, key, owner: Some(entry.owner) }).or_error()
}

/// The active entry of a name, from the root group.
async fn ask(gateway: &Gateway, bucket: &str) -> Result<Arc<DirectoryEntry>, S3Error> {
    let entry = gateway.directory_entry(bucket).await?.filter(|entry| entry.state == DirectoryState::Active);
    let entry = Arc::new(entry.ok_or_else(|| no_such_bucket(bucket))?);
    gateway.remember_bucket(entry.clone());
    Ok(entry)
}

fn is_unknown_bucket(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::Bucket(None)
            | Answer::BucketSettings { bucket: None, .. }
            | Answer::Object { bucket: None, .. }
            | Answer::List { bucket: None, .. }
            | Answer::Upload { bucket: None, .. }
            | Answer::Parts { bucket: None, .. }
            | Answer::Uploads { bucket: None, .. }
    )
}

#[cfg(test)]
#[path = "access_test.rs"]
mod tests;
