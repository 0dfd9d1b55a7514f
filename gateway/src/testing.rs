//! A cluster of one root group and one metadata group, in memory, for this crate's own tests. It knows users, the
//! directory and empty buckets, and how often it was asked.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cairn_storage::client::{Client, DiskService, Disks, MetaService, RepairService, ServiceError};
use cairn_storage::meta::query::UserTable;
use cairn_storage::meta::record::{BucketRecord, DirectoryEntry, DirectoryState, Setting, UserRecord};
use cairn_storage::meta::{Answer, Command, Envelope, Outcome, Query, Rejection, RootCommand};
use cairn_storage::types::{BucketId, ClusterMap, DiskId, Epoch, Generation, GroupEntry, GroupId, ROOT_GROUP, UserId};
use cairn_storage::wire::Overview;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::auth::Payload;
use crate::data::{DataPath, DataSettings};
use crate::gate::Caller;
use crate::gateway::{Gateway, Settings};
use crate::operation::Version;
use crate::request::{Params, Request, Unread};

/// What the groups hold.
#[derive(Default)]
pub struct State {
    pub users: Vec<UserRecord>,
    pub directory: BTreeMap<String, DirectoryEntry>,
    pub buckets: BTreeMap<BucketId, BucketRecord>,
    /// What there is besides the users' records.
    pub identities: UserTable,
    pub settings: BTreeMap<(BucketId, Setting), Bytes>,
    /// Of the settings, where they were changed.
    pub epochs: BTreeMap<BucketId, u64>,
    /// Buckets that are not to be sealed.
    pub full: Vec<BucketId>,
    /// How often the root group was asked something else than for the users.
    pub root_queries: usize,
    /// How often it was asked for the users, and how often it told them.
    pub user_queries: usize,
    pub tables_sent: usize,
    /// The users' epoch. One that is made from them by default.
    pub user_epoch: Option<u64>,
    /// The root group has no leader.
    pub is_leaderless: bool,
    pub generation: Generation,
    /// How long the metadata group takes for each answer.
    pub delay: Duration,
    last_id: u64,
}

#[derive(Clone, Default)]
pub struct Fake(pub Arc<Mutex<State>>);

/// `GET /`, of a caller.
pub fn request_of(caller: Caller) -> Request {
    Request {
        id: "0123456789ABCDEF".into(),
        caller,
        method: http::Method::GET,
        bucket: String::new(),
        key: String::new(),
        query: Params::default().into(),
        version: Version::Current,
        document_len: 0,
        virtual_host: false,
        headers: http::HeaderMap::new().into(),
        signature: None,
        peer: None,
        payload: Payload::Unsigned,
        body: Unread::new(Body::empty()),
    }
}

/// The group of all buckets.
pub const GROUP: GroupId = GroupId(1);

impl Fake {
    pub fn gateway(&self) -> Gateway {
        self.gateway_with(Settings::default())
    }

    /// Whose operator has chosen a region.
    pub fn gateway_in(&self, region: &str) -> Gateway {
        self.gateway_with(Settings { region: region.to_owned(), any_region: false, ..Settings::default() })
    }

    fn gateway_with(&self, settings: Settings) -> Gateway {
        let client = Client::new(Arc::new(self.clone()), Arc::new(self.clone()));
        let data = DataPath::new(client.clone(), DataSettings::default());
        Gateway::new(client, data, settings)
    }

    pub fn add_user(&self, name: &str, root: bool) -> Arc<UserRecord> {
        let user = UserRecord {
            id: UserId::random(),
            name: name.to_owned(),
            display_name: format!("{name}'s name"),
            access_key: format!("KEY{name}"),
            secret_key: format!("secret of {name}"),
            root,
            created_ms: 0,
        };
        self.0.lock().users.push(user.clone());
        Arc::new(user)
    }

    pub fn add_bucket(&self, name: &str, owner: UserId) -> BucketId {
        let mut state = self.0.lock();
        state.last_id += 1;
        let id = BucketId(state.last_id);
        let record = BucketRecord {
            id,
            name: name.to_owned(),
            owner,
            region: "us-east-1".to_owned(),
            created_ms: 0,
            sealed: false,
        };
        let entry = state.entry(name, id, owner, DirectoryState::Active);
        state.directory.insert(name.to_owned(), entry);
        state.buckets.insert(id, record);
        id
    }
}

impl State {
    fn entry(&self, name: &str, id: BucketId, owner: UserId, state: DirectoryState) -> DirectoryEntry {
        let (name, region) = (name.to_owned(), "us-east-1".to_owned());
        DirectoryEntry { name, id, group: GROUP, owner, region, created_ms: 0, state }
    }

    fn root(&mut self, command: RootCommand) -> Result<Outcome, Rejection> {
        match command {
            RootCommand::ReserveBucket { name, owner, .. } => {
                if let Some(entry) = self.directory.get(&name) {
                    return Err(Rejection::BucketTaken(Box::new(entry.clone())));
                }
                self.last_id += 1;
                let entry = self.entry(&name, BucketId(self.last_id), owner, DirectoryState::Creating);
                self.directory.insert(name, entry.clone());
                Ok(Outcome::Directory(entry))
            }
            RootCommand::ActivateBucket { name, bucket } => {
                let entry = self.directory.get_mut(&name).filter(|entry| entry.id == bucket);
                entry.ok_or(Rejection::Invalid)?.state = DirectoryState::Active;
                Ok(Outcome::Done)
            }
            RootCommand::FreeBucket { name, bucket } => {
                if self.directory.get(&name).is_some_and(|entry| entry.id == bucket) {
                    self.directory.remove(&name);
                }
                Ok(Outcome::Done)
            }
            RootCommand::AddUser { user } => {
                if self.users.iter().any(|known| known.name == user.name) {
                    return Err(Rejection::Exists);
                }
                self.users.push(user.clone());
                Ok(Outcome::User(Box::new(user)))
            }
            RootCommand::RemoveUser { name } => {
                let at = self.users.iter().position(|user| user.name == name).ok_or(Rejection::NoSuchUser)?;
                self.users.remove(at);
                Ok(Outcome::Done)
            }
            _ => Err(Rejection::Invalid),
        }
    }

    /// Of a bucket's settings.
    fn epoch(&self, bucket: BucketId) -> Option<u64> {
        self.buckets.get(&bucket).map(|_| self.epochs.get(&bucket).copied().unwrap_or(0))
    }

    /// Sets something, as another gateway would.
    pub fn set(&mut self, bucket: BucketId, setting: Setting, value: Option<&str>) {
        let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        self.command(Command::SetBucketSetting { bucket, setting, value }).unwrap();
    }

    fn envelope(&mut self, envelope: Envelope) -> Result<Outcome, Rejection> {
        let is_other = |(bucket, epoch): &(BucketId, u64)| self.epoch(*bucket).is_some_and(|known| known != *epoch);
        match envelope.judged.iter().any(is_other) {
            true => Err(Rejection::SettingsChanged),
            false => self.command(envelope.command),
        }
    }

    fn command(&mut self, command: Command) -> Result<Outcome, Rejection> {
        match command {
            Command::Root(command) => self.root(command),
            Command::CreateBucket { bucket } => {
                self.buckets.insert(bucket.id, bucket.clone());
                Ok(Outcome::Bucket(bucket))
            }
            Command::SetBucketSetting { bucket, setting, value } => {
                self.epoch(bucket).ok_or(Rejection::UnknownBucket)?;
                match value {
                    Some(value) => drop(self.settings.insert((bucket, setting), value)),
                    None => drop(self.settings.remove(&(bucket, setting))),
                }
                let epoch = self.epochs.entry(bucket).or_default();
                *epoch += 1;
                Ok(Outcome::Settings(*epoch))
            }
            Command::SealBucket { bucket } if self.full.contains(&bucket) => Err(Rejection::BucketNotEmpty),
            Command::SealBucket { bucket } => {
                self.buckets.remove(&bucket).map(Outcome::Bucket).ok_or(Rejection::UnknownBucket)
            }
            _ => Err(Rejection::Invalid),
        }
    }

    fn query(&mut self, query: Query) -> Answer {
        match query {
            Query::Users => Answer::Users(self.users.clone()),
            Query::UserTable { known } => {
                let epoch = self.user_epoch.unwrap_or_else(|| epoch_of(&self.users, &self.identities));
                let table = UserTable { users: self.users.clone(), ..self.identities.clone() };
                let table = (epoch != known).then(|| Box::new(table));
                self.tables_sent += usize::from(table.is_some());
                Answer::UserTable { epoch, table }
            }
            Query::Directory { name } => Answer::Directory(self.directory.get(&name).cloned()),
            Query::DirectoryList { owner, .. } => {
                let owned = |entry: &&DirectoryEntry| owner.is_none_or(|owner| owner == entry.owner);
                Answer::DirectoryList { entries: self.directory.values().filter(owned).cloned().collect(), more: false }
            }
            Query::BucketSettings { bucket } => {
                let of_bucket = self.settings.iter().filter(|((of, _), _)| *of == bucket);
                let values = of_bucket.map(|((_, setting), value)| (*setting, value.clone())).collect();
                Answer::BucketSettings { settings: self.epoch(bucket), values }
            }
            Query::Bucket { bucket } => Answer::Bucket(self.buckets.get(&bucket).cloned().zip(self.epoch(bucket))),
            Query::List { bucket, .. } => {
                Answer::List { settings: self.epoch(bucket), entries: Vec::new(), more: false }
            }
            _ => Answer::Invalid,
        }
    }
}

/// Another one for other users.
fn epoch_of(users: &[UserRecord], identities: &UserTable) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{identities:?}").hash(&mut hasher);
    for user in users {
        (user.id, &user.display_name, &user.access_key, &user.secret_key).hash(&mut hasher);
    }
    hasher.finish()
}

impl MetaService for Fake {
    fn command(
        &self,
        _group: GroupId,
        envelope: Envelope,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ServiceError>> {
        let result = self.0.lock().envelope(envelope);
        async move { Ok(result) }.boxed()
    }

    fn query(&self, group: GroupId, query: Query) -> BoxFuture<'_, Result<Answer, ServiceError>> {
        let mut state = self.0.lock();
        match query {
            Query::UserTable { .. } => state.user_queries += 1,
            _ if group == ROOT_GROUP => state.root_queries += 1,
            _ => {}
        }
        if group == ROOT_GROUP && state.is_leaderless {
            return async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                Err(ServiceError::Unavailable)
            }
            .boxed();
        }
        let answer = state.query(query);
        let delay = if group == ROOT_GROUP { Duration::ZERO } else { state.delay };
        async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            Ok(answer)
        }
        .boxed()
    }
}

impl Disks for Fake {
    fn map(&self) -> Arc<ClusterMap> {
        let group = |id| GroupEntry::new(id, Vec::new());
        let (groups, generation) = (vec![group(ROOT_GROUP), group(GROUP)], self.0.lock().generation.clone());
        Arc::new(ClusterMap { epoch: Epoch(1), groups, generation, ..ClusterMap::default() })
    }

    fn disk(&self, _id: DiskId) -> Option<Arc<dyn DiskService>> {
        None
    }

    fn repair_disk(&self, _: DiskId) -> Option<Arc<dyn RepairService>> {
        None
    }

    fn is_up(&self, _id: DiskId) -> bool {
        false
    }

    fn overview(&self) -> BoxFuture<'_, Result<Overview, ServiceError>> {
        std::future::ready(Err(ServiceError::Unavailable)).boxed()
    }
}
