//! A cluster in memory for the tests of the operations: the real state machines of the groups, and disks that are maps.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use cairn_storage::client::{Client, DiskError, DiskService, Disks, MetaService, RepairService, ServiceError};
use cairn_storage::meta::record::UserRecord;
use cairn_storage::meta::{
    Answer, Batch, Command, Envelope, GroupStore, Outcome, Query, Rejection, RootCommand, column_families,
};
use cairn_storage::types::{
    ChunkId, ClusterId, ClusterMap, DiskEntry, DiskId, DiskState, Epoch, GroupEntry, GroupId, NodeId, ROOT_GROUP,
    UserId, now_ms,
};
use cairn_storage::wire::Overview;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::auth::Payload;
use crate::data::{DataPath, DataSettings};
use crate::error::S3Error;
use crate::gate::{self, Caller, Identity, Pass};
use crate::gateway::{Gateway, Settings};
use crate::operation::{Target, Version};
use crate::request::{Request, Unread};
use crate::router::route;

/// A gateway, a user, and the bucket `bucket`.
pub struct Cluster {
    pub gateway: Gateway,
    pub caller: Caller,
    _dir: TempDir,
}

/// What an operation answered.
#[derive(Debug)]
pub struct Seen {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Cluster {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let families = column_families(&rocksdb::Cache::new_lru_cache(8 << 20));
        let db = Arc::new(rocksdb::DB::open_cf_with_opts(&options, dir.path(), families).unwrap());
        let groups = [ROOT_GROUP, GroupId(1), GroupId(2)].map(|id| GroupStore::open(db.clone(), id).unwrap());
        let back = Arc::new(Back { groups, log: Mutex::new(0), disks: Default::default() });
        let client = Client::new(back.clone(), back.clone());
        let data = DataPath::new(client.clone(), DataSettings::default());
        let gateway = Gateway::new(client, data, Settings::default());

        let root = |command| gateway.client(Pass::TEST).command(ROOT_GROUP, Command::Root(command));
        let map = ClusterMap::clone(&back.map());
        root(RootCommand::FormCluster { map }).await.unwrap().unwrap();
        let user = UserRecord {
            id: UserId::random(),
            name: "ann".into(),
            display_name: "Ann".into(),
            access_key: "AK".into(),
            secret_key: "SK".into(),
            root: false,
            created_ms: 0,
        };
        root(RootCommand::AddUser { user: user.clone() }).await.unwrap().unwrap();
        let cluster = Self { gateway, caller: Arc::new(Identity::from(&user)), _dir: dir };
        cluster.send("PUT", "/bucket", &[], "").await.unwrap();
        cluster
    }

    /// Has an operation answer, as after the authentication. `target` is a raw path and query.
    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Seen, S3Error> {
        let body = body.into();
        let method: Method = method.parse().unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let host = headers.iter().find(|(name, _)| *name == "host").map_or("localhost", |(_, host)| *host);
        let target = Target::parse(host, path, Some(query), &["s3.example".to_owned()]).unwrap();
        let mut sent: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::try_from(*value).unwrap()))
            .collect();
        sent.insert("content-length", HeaderValue::from(body.len()));
        let row = route(&method, &target, &sent)?;
        let request = Request {
            id: "0123456789ABCDEF".into(),
            caller: self.caller.clone(),
            method,
            bucket: target.bucket,
            key: target.key,
            query: target.query.into(),
            version: Version::Current,
            document_len: row.document_len,
            virtual_host: target.virtual_host,
            headers: sent.into(),
            signature: None,
            peer: None,
            payload: Payload::Unsigned,
            body: Unread::new(Body::from(body)),
        };
        let (head, body) = gate::answer(&self.gateway, row, request).await?.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Ok(Seen { status: head.status, headers: head.headers, body })
    }

    /// The same for what must fail: S3's name of the error.
    pub async fn fail(&self, method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> String {
        self.send(method, target, headers, body).await.unwrap_err().code.as_str().to_owned()
    }
}

impl Seen {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The text of the first XML element of a name.
    pub fn element(&self, name: &str) -> &str {
        let rest = self.text().split_once(&format!("<{name}>")).map_or("", |(_, rest)| rest);
        rest.split_once(&format!("</{name}>")).map_or("", |(text, _)| text)
    }
}

/// Behind the gateway.
struct Back {
    groups: [GroupStore; 3],
    log: Mutex<u64>,
    disks: [Arc<Disk>; 3],
}

#[derive(Default)]
struct Disk(Mutex<HashMap<ChunkId, Bytes>>);

impl Back {
    fn group(&self, id: GroupId) -> &GroupStore {
        &self.groups[usize::try_from(id.0).unwrap()]
    }
}

fn disk_id(number: usize) -> DiskId {
    DiskId([u8::try_from(number).unwrap() + 1; 16])
}

impl MetaService for Back {
    fn command(
        &self,
        group: GroupId,
        envelope: Envelope,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ServiceError>> {
        let mut log = self.log.lock();
        *log += 1;
        let entry = (*log, Batch { stamped_ms: now_ms(), envelopes: vec![envelope] });
        let result = self.group(group).apply(&[entry], b"").unwrap().remove(0).remove(0);
        async move { Ok(result) }.boxed()
    }

    fn query(&self, group: GroupId, query: Query) -> BoxFuture<'_, Result<Answer, ServiceError>> {
        let answer = self.group(group).query(&query).unwrap();
        async move { Ok(answer) }.boxed()
    }
}

impl Disks for Back {
    fn map(&self) -> Arc<ClusterMap> {
        let disk = |number| DiskEntry { id: disk_id(number), node: NodeId(1), weight: 1, state: DiskState::Active };
        let group = |number| GroupEntry::new(GroupId(number), Vec::new());
        Arc::new(ClusterMap {
            cluster: ClusterId::default(),
            epoch: Epoch(1),
            disks: (0..3).map(disk).collect(),
            groups: (0..3).map(group).collect(),
            ..ClusterMap::default()
        })
    }

    fn disk(&self, id: DiskId) -> Option<Arc<dyn DiskService>> {
        let number = (0..3).find(|number| disk_id(*number) == id)?;
        Some(self.disks[number].clone())
    }

    fn repair_disk(&self, _: DiskId) -> Option<Arc<dyn RepairService>> {
        None
    }

    fn is_up(&self, _id: DiskId) -> bool {
        true
    }

    fn overview(&self) -> BoxFuture<'_, Result<Overview, ServiceError>> {
        std::future::ready(Err(ServiceError::Unavailable)).boxed()
    }
}

impl DiskService for Disk {
    fn put(&self, id: ChunkId, data: Vec<Bytes>) -> BoxFuture<'_, Result<(), DiskError>> {
        self.0.lock().insert(id, data.concat().into());
        async { Ok(()) }.boxed()
    }

    fn get(&self, id: ChunkId, range: Range<u32>) -> BoxFuture<'_, Result<Vec<Bytes>, DiskError>> {
        let found = self.0.lock().get(&id).map(|bytes| bytes.slice(range.start as usize..range.end as usize));
        async { found.map(|bytes| vec![bytes]).ok_or(DiskError::NotFound) }.boxed()
    }

    fn touch(&self, ids: Vec<ChunkId>) -> BoxFuture<'_, Result<Vec<bool>, DiskError>> {
        let chunks = self.0.lock();
        let there = ids.iter().map(|id| chunks.contains_key(id)).collect();
        async { Ok(there) }.boxed()
    }
}

/// Bytes that no two places of a body have in common.
pub fn content(len: usize, seed: u8) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes.into()
}
