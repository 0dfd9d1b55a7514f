//! The way to a bucket's group, for what was judged.

use std::sync::Arc;

use cairn_storage::meta::record::{DirectoryEntry, DirectoryState};
use cairn_storage::meta::{Answer, Command, Outcome, Query, Rejection};
use cairn_storage::types::BucketId;

use super::{Asked, Caller, Pass, judge};
use crate::error::S3Error;
use crate::gateway::{Gateway, no_such_bucket};

/// A caller, and the bucket and key that the caller may do something with.
pub struct Access {
    gateway: Gateway,
    caller: Caller,
    actions: &'static [&'static str],
    bucket: String,
    key: String,
    found: Found,
}

struct Found {
    entry: Arc<DirectoryEntry>,
    /// It comes from the root group, just now.
    fresh: bool,
}

impl Access {
    /// Looks the bucket up and judges. A cached entry may be out of date, so that only the root group denies.
    pub(super) async fn open(
        gateway: &Gateway,
        caller: &Caller,
        actions: &'static [&'static str],
        bucket: &str,
        key: &str,
    ) -> Result<Self, S3Error> {
        let allowed = |entry: &DirectoryEntry| actions.iter().try_for_each(|action| allow(caller, action, entry, key));
        let found = match gateway.cached_bucket(bucket) {
            Some(entry) if allowed(&entry).is_ok() => Found { entry, fresh: false },
            _ => {
                let entry = ask(gateway, bucket).await?;
                allowed(&entry)?;
                Found { entry, fresh: true }
            }
        };
        let (gateway, caller) = (gateway.clone(), caller.clone());
        Ok(Self { gateway, caller, actions, bucket: bucket.to_owned(), key: key.to_owned(), found })
    }

    /// The same, from the root group: for what has to be true of the bucket that is used.
    pub(super) async fn anew(mut self) -> Result<Self, S3Error> {
        let entry = ask(&self.gateway, &self.bucket).await?;
        self.found = self.judged(entry)?;
        Ok(self)
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
        &self.found.entry
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
        allow(&self.caller, action, &self.found.entry, key)
    }

    /// Asks the bucket's group. A cached directory entry is only a hint: where the group does not know the bucket's id,
    /// the root group is asked, and what it says is judged anew, before it is `NoSuchBucket`.
    pub async fn query(&self, query: impl Fn(BucketId) -> Query) -> Result<(Arc<DirectoryEntry>, Answer), S3Error> {
        let client = self.gateway.client(self.pass());
        let mut entry = self.found.entry.clone();
        let mut fresh = self.found.fresh;
        loop {
            let answer = client.query(entry.group, query(entry.id)).await?;
            if !is_unknown_bucket(&answer) {
                return Ok((entry, answer));
            }
            Found { entry, fresh } = self.find_again(&entry, fresh).await?;
        }
    }

    /// The same for a command. `Rejection::UnknownBucket` never comes back from here, it is `NoSuchBucket`; the other
    /// rejections are the operation's to turn into errors.
    pub async fn command(
        &self,
        command: impl Fn(BucketId) -> Command,
    ) -> Result<(Arc<DirectoryEntry>, Result<Outcome, Rejection>), S3Error> {
        let client = self.gateway.client(self.pass());
        let mut entry = self.found.entry.clone();
        let mut fresh = self.found.fresh;
        loop {
            let result = client.command(entry.group, command(entry.id)).await?;
            if !matches!(result, Err(Rejection::UnknownBucket)) {
                return Ok((entry, result));
            }
            Found { entry, fresh } = self.find_again(&entry, fresh).await?;
        }
    }

    /// After the group said that it does not know the bucket of `entry`.
    async fn find_again(&self, entry: &DirectoryEntry, fresh: bool) -> Result<Found, S3Error> {
        self.gateway.forget_bucket(&self.bucket);
        if fresh {
            // The root group had it a moment ago: it is being deleted.
            return Err(no_such_bucket(&self.bucket));
        }
        let again = self.judged(ask(&self.gateway, &self.bucket).await?)?;
        if again.entry.id == entry.id { Err(no_such_bucket(&self.bucket)) } else { Ok(again) }
    }

    fn judged(&self, entry: Arc<DirectoryEntry>) -> Result<Found, S3Error> {
        for action in self.actions {
            allow(&self.caller, action, &entry, &self.key)?;
        }
        Ok(Found { entry, fresh: true })
    }
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
