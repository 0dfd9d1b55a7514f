//! What every operation works with: the cluster, the data path, the settings, and the two caches (users, buckets).

use std::sync::Arc;

use cairn_storage::client::Client;
use cairn_storage::meta::record::{DirectoryEntry, UserRecord};
use cairn_storage::meta::{Answer, Command, Outcome, Query, Rejection};
use cairn_storage::types::BucketId;

use crate::data::DataPath;
use crate::error::S3Error;

/// What the operator set, as far as S3 is concerned.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `us-east-1` by default. Signatures must name it.
    pub region: String,
    /// Hosts of the form `bucket.DOMAIN` are virtual-host style. `localhost` by default.
    pub domains: Vec<String>,
}

/// The shared state of the gateway. One for each process; cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    client: Client,
    data: DataPath,
    settings: Settings,
}

/// Who sent a request: a user whose signature holds.
pub type Caller = Arc<UserRecord>;

impl Gateway {
    pub fn new(client: Client, data: DataPath, settings: Settings) -> Self {
        Self(Arc::new(Inner { client, data, settings }))
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

/// The signatures of what follows are agreed on; F1 writes them.
impl Gateway {
    /// The user of an access key, from a cache that is at most a few seconds old.
    pub async fn user_by_access_key(&self, _access_key: &str) -> Result<Option<Caller>, S3Error> {
        Err(crate::error::Code::NotImplemented.into())
    }

    /// Checks that the caller may use the bucket and asks its group. A cached directory entry is only a hint: where
    /// the group does not know the bucket's id, the root group is asked, before it is `NoSuchBucket`.
    pub async fn query_bucket(
        &self,
        _caller: &Caller,
        _name: &str,
        _query: impl Fn(BucketId) -> Query,
    ) -> Result<(DirectoryEntry, Answer), S3Error> {
        Err(crate::error::Code::NotImplemented.into())
    }

    /// The same for a command. `Rejection::UnknownBucket` never comes back from here, it is `NoSuchBucket`; the other
    /// rejections are the operation's to turn into errors.
    pub async fn command_bucket(
        &self,
        _caller: &Caller,
        _name: &str,
        _command: impl Fn(BucketId) -> Command,
    ) -> Result<(DirectoryEntry, Result<Outcome, Rejection>), S3Error> {
        Err(crate::error::Code::NotImplemented.into())
    }

    /// The bucket's directory entry, if it exists and the caller may use it; may come from the cache (the group has
    /// the last word). For what must be known before a body is read: the group.
    pub async fn open_bucket(&self, _caller: &Caller, _name: &str) -> Result<DirectoryEntry, S3Error> {
        Err(crate::error::Code::NotImplemented.into())
    }
}
