//! The way to a bucket's group, for what was judged.
//!
//! A bucket is judged by what is remembered of it. Every answer and every command of its group goes by the epoch of the
//! bucket's settings: where that is another one than what was judged by, all is judged anew before anybody sees the answer,
//! and the command has changed nothing. So a policy holds everywhere from the moment at which it was set.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cairn_storage::meta::query::Wanted;
use cairn_storage::meta::record::{DirectoryEntry, Label, Setting, VersionRecord};
use cairn_storage::meta::{Answer, Command, Outcome, Query, Rejection};
use cairn_storage::types::{BucketId, UserId};
use http::HeaderValue;
use parking_lot::Mutex;

use super::bucket::Bucket;
use super::circumstances::Circumstances;
use super::judge::Verdict;
use super::{Caller, Pass, check_owner, judge};
use crate::acl::{Acl, Asked};
use crate::error::{Code, S3Error};
use crate::gateway::{Gateway, no_such_bucket, unexpected};
use crate::operation::Version;
use crate::policy::Context;

/// How often a question or a command is judged anew because the bucket's settings have changed.
const MAX_TRIES: usize = 5;

/// The longest name of a bucket, in bytes. None is asked for, or remembered, that could be no bucket's.
const MAX_NAME_LEN: usize = 63;

const LIST: &str = "s3:ListBucket";
const GET: &str = "s3:GetObject";

/// A caller, and the bucket and key that the caller may do something with.
pub struct Access {
    gateway: Gateway,
    caller: Caller,
    /// What was asked for first, of this key of this bucket.
    actions: &'static [&'static str],
    bucket: String,
    key: String,
    /// What was allowed besides: action, key, and version.
    besides: Mutex<Vec<(&'static str, String, Version)>>,
    /// `x-amz-expected-bucket-owner`.
    expected_owner: Option<HeaderValue>,
    circumstances: Circumstances,
    /// The list that is asked for, for what is put.
    acl: OnceLock<Asked>,
    /// Made where a policy asks for it; its time is that at which the request began to be judged.
    context: OnceLock<Context<'static>>,
    /// As it was first.
    opened: Arc<Bucket>,
    /// As it was last found.
    found: Mutex<Arc<Bucket>>,
}

impl Access {
    /// Looks the bucket up and judges. What is remembered may be out of date, so that only the groups deny, and say whose
    /// the bucket is where one owner is expected.
    pub(super) async fn open(
        gateway: &Gateway,
        (caller, circumstances): (&Caller, Circumstances),
        actions: &'static [&'static str],
        (bucket, key): (&str, &str),
        expected_owner: Option<&HeaderValue>,
    ) -> Result<Self, S3Error> {
        let made_of = |found: Arc<Bucket>| Self {
            gateway: gateway.clone(),
            caller: caller.clone(),
            actions,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            besides: Mutex::new(Vec::new()),
            expected_owner: expected_owner.cloned(),
            circumstances: circumstances.clone(),
            acl: OnceLock::new(),
            context: OnceLock::new(),
            opened: found.clone(),
            found: Mutex::new(found),
        };
        circumstances.check_lengths()?;
        if bucket.len() > MAX_NAME_LEN {
            return Err(no_such_bucket(bucket));
        }
        if let Some(known) = gateway.known_bucket(bucket).filter(|_| expected_owner.is_none()) {
            let access = made_of(known.clone());
            let judged = access.judge_all(&known);
            // However many ask without a signature, one look a second tells them what is open by now.
            let is_enough = || caller.is_anonymous() && !gateway.may_look_again_for_strangers() && known.is_fresh();
            if judged.is_ok() || is_enough() {
                return judged.map(|()| access);
            }
        } else if caller.is_anonymous() && !gateway.may_look_up_for_strangers(bucket)? {
            return Err(Code::SlowDown.into());
        }
        let found = match Bucket::find(gateway, bucket).await {
            Err(error) if caller.is_anonymous() && error.code == Code::NoSuchBucket => {
                gateway.remember_missing(bucket);
                return Err(error);
            }
            found => found?,
        };
        let access = made_of(found.clone());
        access.judge_all(&found)?;
        Ok(access)
    }

    /// The bucket as the groups know it now, if the caller may do with it what was asked for.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`, and that a group does not answer.
    pub async fn find(&self) -> Result<Arc<Bucket>, S3Error> {
        let found = Bucket::find(&self.gateway, &self.bucket).await?;
        self.judge_all(&found)?;
        Ok(found)
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
        &self.opened.entry
    }

    /// Of the bucket, and so of all that is put into it: as it was last found.
    pub fn owner(&self) -> UserId {
        self.found().entry.owner
    }

    /// For what goes to the root group about this bucket.
    pub fn pass(&self) -> Pass {
        Pass(())
    }

    pub(super) fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }

    /// Judges what is asked for besides, of the key or of another one of the bucket.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub async fn also(&self, action: &'static str, key: &str) -> Result<(), S3Error> {
        let version = self.circumstances.version();
        if self.allow(action, key, version).is_ok() {
            return Ok(());
        }
        self.settings().await?;
        self.allow(action, key, version)
    }

    /// The same, of a version, by what was found last: for many keys, after [`Self::settings`].
    ///
    /// # Errors
    /// `AccessDenied`.
    pub fn allow(&self, action: &'static str, key: &str, version: &Version) -> Result<(), S3Error> {
        self.judge(&self.found(), action, key, version)?;
        self.besides.lock().push((action, key.to_owned(), version.clone()));
        Ok(())
    }

    /// The error for a key that is not there: who may not list the bucket does not learn that.
    pub async fn missing(&self, no_such_key: S3Error) -> S3Error {
        // As a list would be asked for that has this key alone.
        let circumstances = self.circumstances.with_prefix(&self.key);
        let context = circumstances.context(&self.gateway.settings().trusted_proxies);
        let may_list =
            |found: &Bucket| judge::of_bucket(&self.caller, LIST, found, "", || &context) == Verdict::Allowed;
        if may_list(&self.found()) {
            return no_such_key;
        }
        match self.settings().await {
            Ok(found) if may_list(&found) => no_such_key,
            Ok(_) => Code::AccessDenied.into(),
            Err(error) => error,
        }
    }

    /// Whether the list may be asked for that a request asks for, and whether those whom it names are there.
    ///
    /// # Errors
    /// `AccessControlListNotSupported`, `AccessDenied`, and `InvalidArgument` for who is no user.
    pub async fn admit_acl(&self, asked: &Asked) -> Result<(), S3Error> {
        if *asked == Asked::Nothing {
            return Ok(());
        }
        let asked = self.acl.get_or_init(|| asked.clone());
        if self.judge_acl(&self.found()).is_err() {
            self.settings().await?;
            self.judge_acl(&self.found())?;
        }
        match asked {
            Asked::Grants(list) => self.gateway.check_grantees(list).await,
            Asked::Nothing | Asked::Canned(_) => Ok(()),
        }
    }

    /// Judges the list that is asked for, if one is.
    fn judge_acl(&self, found: &Bucket) -> Result<(), S3Error> {
        let Some(asked) = self.acl.get() else { return Ok(()) };
        found.check_acl(asked)?;
        match found.ownership.has_acls() && !asked.is_owners() {
            true => self.judge(found, "s3:PutObjectAcl", &self.key, self.circumstances.version()),
            false => Ok(()),
        }
    }

    /// Judges that the caller may read a key of the bucket, the one that is there, too: for what tells of it.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub async fn admit_to_read(&self, key: &str) -> Result<(), S3Error> {
        self.also(GET, key).await?;
        if self.found().ownership.has_acls() {
            // The object decides, and so has to be seen.
            let of_key = |bucket| Query::Object { bucket, key: key.to_owned(), wanted: Wanted::Nothing, limit: 1 };
            self.query(of_key).await?;
        }
        Ok(())
    }

    /// Whose an object is that is put now, and its label: as the bucket was last found.
    pub fn take_in(&self, asked: &Asked) -> (UserId, Option<Bytes>) {
        self.found().take_in(self.caller.id, asked)
    }

    /// Asks the bucket's group. What is known of the bucket is only a hint: where the group does not know its id, the root
    /// group is asked, and what it says is judged anew, before it is `NoSuchBucket`.
    pub async fn query(&self, query: impl Fn(BucketId) -> Query) -> Result<(Arc<DirectoryEntry>, Answer), S3Error> {
        for _ in 0..MAX_TRIES {
            let known = self.found();
            let Bucket { entry, epoch, .. } = &*known;
            let answer = self.gateway.client(self.pass()).query(entry.group, query(entry.id)).await?;
            match settings(&answer) {
                Some(None) => {
                    self.find_again(&known).await?;
                    continue;
                }
                // The answer is of that bucket and of its settings then, and so must be what it is judged by.
                Some(now) if now != *epoch => {
                    let again = self.judge_again(&known).await?;
                    if (again.entry.id, again.epoch) != (entry.id, now) {
                        continue;
                    }
                }
                _ => {}
            }
            let found = self.found();
            if found.ownership.has_acls()
                && let Some((key, object)) = object_in(&answer, &query(entry.id))
            {
                self.judge_object(&found, key, object)?;
            }
            return Ok((known.entry.clone(), answer));
        }
        Err(Code::OperationAborted.into())
    }

    /// The same for a command. `Rejection::UnknownBucket` and `Rejection::SettingsChanged` never come back from here; the
    /// other rejections are the operation's to turn into errors.
    pub async fn command(
        &self,
        command: impl Fn(BucketId) -> Command,
    ) -> Result<(Arc<DirectoryEntry>, Result<Outcome, Rejection>), S3Error> {
        self.command_for(None, |bucket| Ok(command(bucket.entry.id))).await
    }

    /// The same for one that takes something from another bucket of the group, as `source` was judged. Where that has
    /// other settings by now, it is `Rejection::SourceChanged`.
    pub async fn command_from(
        &self,
        source: &Self,
        command: impl Fn(BucketId) -> Command,
    ) -> Result<(Arc<DirectoryEntry>, Result<Outcome, Rejection>), S3Error> {
        let known = source.found();
        let judged = (known.entry.id, known.epoch.unwrap_or(u64::MAX));
        self.command_for(Some(judged), |bucket| Ok(command(bucket.entry.id))).await
    }

    /// The same for one that was made by the settings of the bucket as it was found so: `Rejection::SettingsChanged` comes
    /// back where they are others by now, and all was judged anew.
    pub async fn command_as(
        &self,
        found: &Bucket,
        command: impl Fn(BucketId) -> Command,
    ) -> Result<Result<Outcome, Rejection>, S3Error> {
        let (entry, epoch) = (&found.entry, found.epoch.unwrap_or(u64::MAX));
        let client = self.gateway.client(self.pass());
        let result = client.command_judged_by(vec![(entry.id, epoch)], entry.group, command(entry.id)).await?;
        match &result {
            Err(Rejection::UnknownBucket) => {
                self.find_again(found).await?;
                return Ok(Err(Rejection::SettingsChanged));
            }
            Err(Rejection::SettingsChanged) => drop(self.judge_again(found).await?),
            _ => {}
        }
        Ok(result)
    }

    /// The same, of what the bucket's settings have a say in.
    async fn command_for(
        &self,
        source: Option<(BucketId, u64)>,
        command: impl Fn(&Bucket) -> Result<Command, S3Error>,
    ) -> Result<(Arc<DirectoryEntry>, Result<Outcome, Rejection>), S3Error> {
        let client = self.gateway.client(self.pass());
        for _ in 0..MAX_TRIES {
            let known = self.found();
            let command = command(&known)?;
            let group = known.entry.group;
            // Where the group knew no such bucket, it is no epoch.
            let own = (known.entry.id, known.epoch.unwrap_or(u64::MAX));
            let judged = std::iter::once(own).chain(source).collect();
            match client.command_judged_by(judged, group, command).await? {
                Err(Rejection::UnknownBucket) => self.find_again(&known).await?,
                Err(Rejection::SettingsChanged) => {
                    let now = self.judge_again(&known).await?;
                    if now.ownership.has_acls() && !known.ownership.has_acls() && !self.besides.lock().is_empty() {
                        // What the object decides from now on was not asked of it.
                        return Err(Code::OperationAborted.into());
                    }
                    if source.is_some() && (now.entry.id, now.epoch) == (known.entry.id, known.epoch) {
                        return Ok((known.entry.clone(), Err(Rejection::SourceChanged)));
                    }
                }
                result => return Ok((known.entry.clone(), result)),
            }
        }
        Err(Code::OperationAborted.into())
    }

    /// The bucket and its settings, as its group knows them now.
    pub async fn settings(&self) -> Result<Arc<Bucket>, S3Error> {
        self.query(|bucket| Query::Bucket { bucket }).await?;
        Ok(self.found())
    }

    /// Sets one of the bucket's settings, or removes it, if `check` has nothing against it, which sees those that are
    /// there at that moment.
    pub async fn set(
        &self,
        setting: Setting,
        value: Option<Bytes>,
        check: impl Fn(&Bucket) -> Result<(), S3Error>,
    ) -> Result<(), S3Error> {
        self.settings().await?;
        let command = |bucket: &Bucket| {
            check(bucket)?;
            Ok(Command::SetBucketSetting { bucket: bucket.entry.id, setting, value: value.clone() })
        };
        let result = self.command_for(None, command).await?.1;
        self.gateway.forget_bucket(&self.bucket);
        result.map(drop).map_err(|_| unexpected("SetBucketSetting"))
    }

    /// What was allowed besides is done, and need not be judged again.
    pub fn done(&self) {
        self.besides.lock().clear();
    }

    /// The bucket and its settings, as it was last found.
    pub fn found(&self) -> Arc<Bucket> {
        self.found.lock().clone()
    }

    /// After the group said that it does not know the bucket.
    async fn find_again(&self, known: &Bucket) -> Result<(), S3Error> {
        self.gateway.forget_bucket(&self.bucket);
        let again = self.find().await?;
        if again.entry.id == known.entry.id {
            // It is being deleted.
            return Err(no_such_bucket(&self.bucket));
        }
        *self.found.lock() = again;
        Ok(())
    }

    /// After the group said that the settings are others.
    async fn judge_again(&self, known: &Bucket) -> Result<Arc<Bucket>, S3Error> {
        let now = Bucket::of(&self.gateway, known.entry.clone()).await?;
        if now.epoch.is_none() {
            self.find_again(known).await?;
            return Ok(self.found());
        }
        self.judge_all(&now)?;
        *self.found.lock() = now.clone();
        Ok(now)
    }

    fn judge_all(&self, found: &Bucket) -> Result<(), S3Error> {
        let version = self.circumstances.version();
        self.actions.iter().try_for_each(|action| self.judge(found, action, &self.key, version))?;
        let besides = self.besides.lock();
        besides.iter().try_for_each(|(action, key, version)| self.judge(found, action, key, version))?;
        self.judge_acl(found)?;
        self.expected_owner.as_ref().map_or(Ok(()), |expected| check_owner(expected, found.entry.owner))
    }

    fn judge(&self, found: &Bucket, action: &str, key: &str, version: &Version) -> Result<(), S3Error> {
        let proxies = &self.gateway.settings().trusted_proxies;
        let other = OnceLock::new();
        let context = || match version == self.circumstances.version() {
            true => self.context.get_or_init(|| self.circumstances.context(proxies)),
            false => other.get_or_init(|| self.circumstances.with_version(version.clone()).context(proxies)),
        };
        match judge::of_bucket(&self.caller, action, found, key, context) {
            // What it comes to is seen when the object is: see `query`.
            Verdict::Allowed | Verdict::OfObject => Ok(()),
            Verdict::Denied => Err(Code::AccessDenied.into()),
        }
    }

    /// Judges by an object what its list decides of all that was asked for.
    fn judge_object(&self, found: &Bucket, key: &str, object: &VersionRecord) -> Result<(), S3Error> {
        let list = Acl::decode(object.attributes.label(Label::Acl), object.owner);
        let context =
            || self.context.get_or_init(|| self.circumstances.context(&self.gateway.settings().trusted_proxies));
        let allowed = |action: &str| {
            !judge::is_of_object(found, action, key)
                || judge::of_object(&self.caller, action, found, (key, (object.owner, &list)), context)
        };
        let besides = self.besides.lock();
        let besides = besides.iter().filter(|(_, other, _)| other == key).map(|(action, ..)| *action);
        let first = self.actions.iter().copied().filter(|_| *key == self.key);
        match first.chain(besides).all(allowed) {
            true => Ok(()),
            false => Err(Code::AccessDenied.into()),
        }
    }
}

/// The object that an answer is about, and its key, by the question.
fn object_in<'a>(answer: &'a Answer, query: &'a Query) -> Option<(&'a str, &'a VersionRecord)> {
    let object = match answer {
        Answer::Object { object, .. } => object.as_ref().map(|object| &object.record),
        Answer::ObjectParts { record, .. } => record.as_deref(),
        _ => None,
    };
    let key = match query {
        Query::Object { key, .. } | Query::ObjectParts { key, .. } => Some(key.as_str()),
        _ => None,
    };
    key.zip(object)
}

/// The epoch of the bucket's settings in an answer that has it; `Some(None)` where the group knows no such bucket.
fn settings(answer: &Answer) -> Option<Option<u64>> {
    match answer {
        Answer::Bucket(bucket) => Some(bucket.as_ref().map(|(_, epoch)| *epoch)),
        Answer::BucketSettings { settings, .. }
        | Answer::Object { settings, .. }
        | Answer::ObjectParts { settings, .. }
        | Answer::List { settings, .. }
        | Answer::Upload { settings, .. }
        | Answer::Parts { settings, .. }
        | Answer::Uploads { settings, .. } => Some(*settings),
        _ => None,
    }
}

#[cfg(test)]
#[path = "access_test.rs"]
mod tests;
