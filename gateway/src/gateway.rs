//! What every operation works with: the cluster, the data path, the settings, and what is remembered of users and
//! buckets.

use std::sync::Arc;
use std::time::Duration;

use cairn_storage::client::Client;
use cairn_storage::meta::record::{DirectoryEntry, DirectoryState, UserRecord};
use cairn_storage::meta::{Answer, Command, Outcome, Query, Rejection};
use cairn_storage::types::{BucketId, ROOT_GROUP, UserId};

use crate::cache::Cache;
use crate::data::DataPath;
use crate::document::Documents;
use crate::error::{Code, S3Error};
use crate::users::{USER_LIFETIME, Users};

/// How long a directory entry is kept as a hint. What it says of a bucket id never changes; the group says whether
/// the bucket is still there.
const BUCKET_LIFETIME: Duration = Duration::from_secs(600);

/// The most entries of each cache.
const CACHE_CAPACITY: usize = 10_000;

/// What the operator set, as far as S3 is concerned.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `us-east-1` by default.
    pub region: String,
    /// Whether signatures, and who creates buckets, may name any region besides it: where nobody chose one.
    pub any_region: bool,
    /// Whether signatures of version 2 are taken.
    pub sigv2: bool,
    /// Hosts of the form `bucket.DOMAIN` are virtual-host style. `localhost` by default.
    pub domains: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { region: "us-east-1".to_owned(), any_region: true, sigv2: true, domains: vec!["localhost".to_owned()] }
    }
}

/// The shared state of the gateway. One for each process; cheap to clone.
#[derive(Clone)]
pub struct Gateway(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    client: Client,
    data: DataPath,
    settings: Settings,
    pub(crate) users: Users,
    /// By user id.
    display_names: Cache<String>,
    buckets: Cache<Arc<DirectoryEntry>>,
    pub(crate) documents: Documents,
}

/// Who sent a request: a user whose signature holds.
pub type Caller = Arc<UserRecord>;

impl Gateway {
    pub fn new(client: Client, data: DataPath, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            client,
            data,
            settings,
            users: Users::new(),
            display_names: Cache::new(CACHE_CAPACITY),
            buckets: Cache::new(CACHE_CAPACITY),
            documents: Documents::default(),
        }))
    }

    pub fn client(&self) -> &Client {
        &self.0.client
    }

    pub fn data(&self) -> &DataPath {
        &self.0.data
    }

    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }
}

/// Users.
impl Gateway {
    /// The user of an access key, from a cache that is at most a few seconds old.
    pub async fn user_by_access_key(&self, access_key: &str) -> Result<Option<Caller>, S3Error> {
        self.0.users.find(&self.0.client, access_key).await
    }

    /// The name that answers show with a user's id; empty for a user who is no more.
    pub async fn display_name(&self, id: UserId) -> Result<String, S3Error> {
        let text = id.to_string();
        if let Some(known) = self.0.display_names.get(&text) {
            return Ok(known);
        }
        let Answer::User(user) = self.root_query(Query::UserById { id }).await? else {
            return Err(unexpected("UserById"));
        };
        let name = user.map(|user| user.display_name).unwrap_or_default();
        self.0.display_names.insert(&text, name.clone(), USER_LIFETIME);
        Ok(name)
    }

    /// Forgets what is known of users, after a change of our own.
    pub async fn forget_users(&self) {
        self.0.users.forget().await;
        self.0.display_names.clear();
    }
}

/// Buckets. Only their owner and root may use them.
impl Gateway {
    /// Checks that the caller may use the bucket and asks its group. A cached directory entry is only a hint: where
    /// the group does not know the bucket's id, the root group is asked, before it is `NoSuchBucket`.
    pub async fn query_bucket(
        &self,
        caller: &Caller,
        name: &str,
        query: impl Fn(BucketId) -> Query,
    ) -> Result<(DirectoryEntry, Answer), S3Error> {
        let mut found = self.find_bucket(caller, name).await?;
        loop {
            let answer = self.client().query(found.entry.group, query(found.entry.id)).await?;
            if !is_unknown_bucket(&answer) {
                return Ok((DirectoryEntry::clone(&found.entry), answer));
            }
            found = self.find_again(caller, name, found).await?;
        }
    }

    /// The same for a command. `Rejection::UnknownBucket` never comes back from here, it is `NoSuchBucket`; the other
    /// rejections are the operation's to turn into errors.
    pub async fn command_bucket(
        &self,
        caller: &Caller,
        name: &str,
        command: impl Fn(BucketId) -> Command,
    ) -> Result<(DirectoryEntry, Result<Outcome, Rejection>), S3Error> {
        let mut found = self.find_bucket(caller, name).await?;
        loop {
            let result = self.client().command(found.entry.group, command(found.entry.id)).await?;
            if !matches!(result, Err(Rejection::UnknownBucket)) {
                return Ok((DirectoryEntry::clone(&found.entry), result));
            }
            found = self.find_again(caller, name, found).await?;
        }
    }

    /// The bucket's directory entry, if it exists and the caller may use it; may come from the cache (the group has
    /// the last word). For what must be known before a body is read: the group.
    pub async fn open_bucket(&self, caller: &Caller, name: &str) -> Result<DirectoryEntry, S3Error> {
        Ok(DirectoryEntry::clone(&self.find_bucket(caller, name).await?.entry))
    }

    /// The same, from the root group: for what has to be true of the bucket that is used.
    pub async fn open_bucket_anew(&self, caller: &Caller, name: &str) -> Result<DirectoryEntry, S3Error> {
        Ok(DirectoryEntry::clone(&self.ask_for_bucket(caller, name).await?.entry))
    }

    /// The directory entry of a name, whoever it belongs to and whatever its state, from the root group.
    pub async fn directory_entry(&self, name: &str) -> Result<Option<DirectoryEntry>, S3Error> {
        match self.root_query(Query::Directory { name: name.to_owned() }).await? {
            Answer::Directory(entry) => Ok(entry),
            _ => Err(unexpected("Directory")),
        }
    }

    /// Keeps an entry that has just become active.
    pub fn remember_bucket(&self, entry: DirectoryEntry) {
        let name = entry.name.clone();
        self.0.buckets.insert(&name, Arc::new(entry), BUCKET_LIFETIME);
    }

    /// Forgets a bucket, after a change of our own.
    pub fn forget_bucket(&self, name: &str) {
        self.0.buckets.remove(name);
    }

    pub(crate) async fn root_query(&self, query: Query) -> Result<Answer, S3Error> {
        Ok(self.client().query(ROOT_GROUP, query).await?)
    }

    pub(crate) async fn root_command(
        &self,
        command: cairn_storage::meta::RootCommand,
    ) -> Result<Result<Outcome, Rejection>, S3Error> {
        Ok(self.client().command(ROOT_GROUP, Command::Root(command)).await?)
    }

    /// The entry from the cache or from the root group. A cached entry that denies the caller may be out of date, so
    /// that only the root group denies.
    async fn find_bucket(&self, caller: &Caller, name: &str) -> Result<Found, S3Error> {
        if let Some(entry) = self.0.buckets.get(name)
            && may_use(caller, &entry)
        {
            return Ok(Found { entry, fresh: false });
        }
        self.ask_for_bucket(caller, name).await
    }

    /// After the group said that it does not know the bucket of `found`.
    async fn find_again(&self, caller: &Caller, name: &str, found: Found) -> Result<Found, S3Error> {
        self.forget_bucket(name);
        if found.fresh {
            // The root group had it a moment ago: it is being deleted.
            return Err(no_such_bucket(name));
        }
        let again = self.ask_for_bucket(caller, name).await?;
        if again.entry.id == found.entry.id { Err(no_such_bucket(name)) } else { Ok(again) }
    }

    async fn ask_for_bucket(&self, caller: &Caller, name: &str) -> Result<Found, S3Error> {
        let entry = self.directory_entry(name).await?.filter(|entry| entry.state == DirectoryState::Active);
        let Some(entry) = entry.map(Arc::new) else {
            return Err(no_such_bucket(name));
        };
        self.0.buckets.insert(name, entry.clone(), BUCKET_LIFETIME);
        if may_use(caller, &entry) { Ok(Found { entry, fresh: true }) } else { Err(Code::AccessDenied.into()) }
    }
}

struct Found {
    entry: Arc<DirectoryEntry>,
    /// It comes from the root group, just now.
    fresh: bool,
}

fn may_use(caller: &Caller, entry: &DirectoryEntry) -> bool {
    caller.root || caller.id == entry.owner
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

/// `NoSuchBucket`, with the name.
pub fn no_such_bucket(name: &str) -> S3Error {
    S3Error::new(Code::NoSuchBucket).detail("BucketName", name)
}

/// `InternalError`, logged, for an answer of a kind that the question does not have.
pub fn unexpected(question: &'static str) -> S3Error {
    tracing::error!(question, "a group answered something else than what was asked");
    Code::InternalError.into()
}

#[cfg(test)]
#[path = "gateway_test.rs"]
mod tests;
