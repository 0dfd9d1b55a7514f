//! What every operation works with: the cluster, the data path, the settings, and what is remembered of users and
//! buckets.

use std::sync::Arc;
use std::time::Duration;

use cairn_storage::client::Client;
use cairn_storage::meta::record::DirectoryEntry;
use cairn_storage::meta::{Answer, Command, Outcome, Query, Rejection, RootCommand};
use cairn_storage::types::{ROOT_GROUP, UserId};

use crate::cache::Cache;
use crate::data::DataPath;
use crate::document::Documents;
use crate::error::{Code, S3Error};
use crate::gate::Pass;
use crate::users::{Known, USER_LIFETIME, Users};

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

    /// The way to all groups, for who has passed the gate.
    pub(crate) fn client(&self, _: Pass) -> &Client {
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
    pub(crate) async fn user_by_access_key(&self, access_key: &str) -> Result<Option<Arc<Known>>, S3Error> {
        self.0.users.find(&self.0.client, access_key).await
    }

    /// The name that answers show with a user's id; empty for a user who is no more.
    pub async fn display_name(&self, id: UserId) -> Result<String, S3Error> {
        let text = id.to_string();
        if let Some(known) = self.0.display_names.get(&text) {
            return Ok(known);
        }
        let Answer::User(user) = self.0.client.query(ROOT_GROUP, Query::UserById { id }).await? else {
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

/// Buckets.
impl Gateway {
    /// What is remembered of a name: a hint. What it says of a bucket id never changes; the group says whether the
    /// bucket is still there.
    pub(crate) fn cached_bucket(&self, name: &str) -> Option<Arc<DirectoryEntry>> {
        self.0.buckets.get(name)
    }

    /// The directory entry of a name, whoever it belongs to and whatever its state, from the root group.
    pub(crate) async fn directory_entry(&self, name: &str) -> Result<Option<DirectoryEntry>, S3Error> {
        match self.0.client.query(ROOT_GROUP, Query::Directory { name: name.to_owned() }).await? {
            Answer::Directory(entry) => Ok(entry),
            _ => Err(unexpected("Directory")),
        }
    }

    /// Keeps an entry that has just become active.
    pub(crate) fn remember_bucket(&self, entry: Arc<DirectoryEntry>) {
        self.0.buckets.insert(&entry.name, entry.clone(), BUCKET_LIFETIME);
    }

    /// Forgets a bucket, after a change of our own.
    pub fn forget_bucket(&self, name: &str) {
        self.0.buckets.remove(name);
    }

    pub(crate) async fn root_query(&self, pass: Pass, query: Query) -> Result<Answer, S3Error> {
        Ok(self.client(pass).query(ROOT_GROUP, query).await?)
    }

    pub(crate) async fn root_command(
        &self,
        pass: Pass,
        command: RootCommand,
    ) -> Result<Result<Outcome, Rejection>, S3Error> {
        Ok(self.client(pass).command(ROOT_GROUP, Command::Root(command)).await?)
    }
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
