//! What every operation works with: the cluster, the data path, the settings, and what is remembered of users and
//! buckets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_storage::client::Client;
use cairn_storage::meta::record::DirectoryEntry;
use cairn_storage::meta::{Answer, Command, Outcome, Query, Rejection, RootCommand};
use cairn_storage::types::{ROOT_GROUP, UserId};
use parking_lot::Mutex;

use crate::acl::{Acl, Grantee, Ownership, invalid_id};
use crate::budget::Budget;
use crate::cache::Cache;
use crate::data::DataPath;
use crate::document::Documents;
use crate::error::{Code, S3Error};
use crate::gate::{Bucket, Caller, Identity, Pass};
use crate::policy::Network;
use crate::users::{Known, Users};

/// How long a bucket is kept as a hint. What it says of a bucket id never changes; the group says whether the bucket is
/// still there, and whether its settings are others.
const BUCKET_LIFETIME: Duration = Duration::from_secs(600);

/// How long a name that nobody has is not looked up again for who has not signed.
const MISSING_LIFETIME: Duration = Duration::from_secs(1);

/// How many names are looked up for those in a burst, and in each second.
const STRANGERS_RATE: u32 = 50;

/// The most of such names.
const MISSING_CAPACITY: usize = 10_000;

/// The most that the buckets' cache takes, in KiB by and large: a bucket without a policy takes one.
const BUCKETS_WEIGHT: usize = 32_768;

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
    /// Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. None by default.
    pub trusted_proxies: Vec<Network>,
    /// That of new buckets, where who makes them says nothing. `BucketOwnerEnforced` by default.
    pub object_ownership: Ownership,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            any_region: true,
            sigv2: true,
            domains: vec!["localhost".to_owned()],
            trusted_proxies: Vec::new(),
            object_ownership: Ownership::default(),
        }
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
    buckets: Cache<Arc<Bucket>>,
    /// Names that nobody has, as those were told who have not signed.
    missing: Cache<()>,
    /// Of lookups for those; of buckets that are known, and of other names.
    strangers_known: Mutex<Budget>,
    strangers: Mutex<Budget>,
    pub(crate) documents: Documents,
}

impl Gateway {
    pub fn new(client: Client, data: DataPath, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            users: Users::new(client.clone()),
            client,
            data,
            settings,
            buckets: Cache::new(BUCKETS_WEIGHT),
            missing: Cache::new(MISSING_CAPACITY),
            strangers_known: Mutex::new(Budget::new(STRANGERS_RATE)),
            strangers: Mutex::new(Budget::new(STRANGERS_RATE)),
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
    /// The user of an access key, as of a second ago at most, as long as the root group answers.
    pub(crate) async fn user_by_access_key(&self, access_key: &str) -> Result<Option<Arc<Known>>, S3Error> {
        self.0.users.find(access_key).await
    }

    /// A user by name, as by a key that nothing narrows, and whether it is disabled.
    pub(crate) async fn user_by_name(&self, name: &str) -> Result<Option<(Caller, bool)>, S3Error> {
        self.0.users.find_by_name(name).await
    }

    /// The name that answers show with a user's id; empty for a user who is no more.
    pub async fn display_name(&self, id: UserId) -> Result<String, S3Error> {
        let user = self.0.users.find_by_id(id).await?;
        Ok(user.map(|user| user.display_name.clone()).unwrap_or_default())
    }

    /// Whether all users are there whom a list names.
    ///
    /// # Errors
    /// `InvalidArgument` for the first who is not.
    pub(crate) async fn check_grantees(&self, list: &Acl) -> Result<(), S3Error> {
        let mut is_asked = false;
        for (grantee, _) in &list.0 {
            let Grantee::User(id) = grantee else { continue };
            let mut user = self.0.users.find_by_id(*id).await?;
            if user.is_none() && !std::mem::replace(&mut is_asked, true) {
                // They may have come by way of another gateway a moment ago.
                self.0.users.refresh().await;
                user = self.0.users.find_by_id(*id).await?;
            }
            if user.is_none() && *id != Identity::anonymous().id {
                return Err(invalid_id(&id.to_string()));
            }
        }
        Ok(())
    }

    /// Forgets what is known of users, after a change of our own: the next request knows what was changed. Where the root
    /// group is gone after the change, that waits for its return.
    pub async fn forget_users(&self) {
        self.0.users.refresh().await;
    }
}

/// Buckets.
impl Gateway {
    /// What is remembered of a name: a hint.
    pub(crate) fn known_bucket(&self, name: &str) -> Option<Arc<Bucket>> {
        let generation = self.0.client.map().generation.stamp();
        self.0.buckets.get(name).filter(|bucket| bucket.is_of(generation))
    }

    /// The directory entry of a name, whoever it belongs to and whatever its state, from the root group.
    pub(crate) async fn directory_entry(&self, name: &str) -> Result<Option<DirectoryEntry>, S3Error> {
        match self.0.client.query(ROOT_GROUP, Query::Directory { name: name.to_owned() }).await? {
            Answer::Directory(entry) => Ok(entry),
            _ => Err(unexpected("Directory")),
        }
    }

    pub(crate) fn remember_bucket(&self, bucket: Arc<Bucket>) {
        self.0.buckets.insert_heavy(&bucket.entry.name, bucket.clone(), BUCKET_LIFETIME, bucket.weight());
    }

    /// Whether a name may be looked up for somebody without a signature: at a bounded rate, so that whoever makes names up
    /// does not keep the root group busy.
    ///
    /// # Errors
    /// `NoSuchBucket` for a name that nobody had a moment ago.
    pub(crate) fn may_look_up_for_strangers(&self, name: &str) -> Result<bool, S3Error> {
        if self.0.missing.get(name).is_some() {
            return Err(no_such_bucket(name));
        }
        Ok(self.0.strangers.lock().take(Instant::now()))
    }

    /// The same for a bucket that is known, and may be open to them by now.
    pub(crate) fn may_look_again_for_strangers(&self) -> bool {
        self.0.strangers_known.lock().take(Instant::now())
    }

    pub(crate) fn remember_missing(&self, name: &str) {
        self.0.missing.insert(name, (), MISSING_LIFETIME);
    }

    /// Forgets what is known of a name, after a change of our own.
    pub fn forget_bucket(&self, name: &str) {
        self.0.missing.remove(name);
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
