//! The cluster from afar: the traits of this room, spoken over the internal HTTP of its nodes. Decides nothing: what a
//! node answers is passed on, and a node that does not answer is passed over for a while.

mod call;
mod disk;
mod meta;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use parking_lot::{Mutex, RwLock};

use super::{Client, DiskService, Disks, RepairService, ServiceError, mdns};
use crate::cluster::{Ballot, Secret};
use crate::types::{ClusterId, ClusterMap, DiskId, Epoch, Life, Relation, Stamp};
use crate::wire::{Context, Hello, Overview, Place, Signer, View, message, path};
use call::Body;
pub use call::CallError;
use disk::RemoteDisk;

/// How often a node is asked for the map and for which disks are up.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// After so long without an answer no disk counts as up.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// How long a node is passed over that did not answer.
const AVOID_FOR: Duration = Duration::from_secs(2);
const VIEW_TIMEOUT: Duration = Duration::from_secs(3);
/// For the answer to a greeting.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle connections that are kept to each node.
const IDLE_CONNECTIONS: usize = 64;
/// Shorter than the server's: a connection must not be used just when the other side ends it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no way to the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no address to join was given")]
    NoAddress,
    #[error("the cluster secret is not the cluster's, or the clocks are more than five minutes apart ({0})")]
    Refused(String),
    #[error("no node answers: {0}")]
    Unreachable(String),
}

/// Connects to the cluster of which some nodes are at `addresses` (`host:port`): tries for at most `patience`. The
/// client keeps up with the map by itself until it is dropped.
///
/// # Errors
/// See [`ConnectError`]; a wrong secret is one at once.
pub async fn connect(addresses: &[String], secret: &Secret, patience: Duration) -> Result<Client, ConnectError> {
    if addresses.is_empty() {
        return Err(ConnectError::NoAddress);
    }
    let remote = Arc::new(Remote::new(secret, "gateway")?);
    *remote.joins.write() = resolve(addresses).await;
    let deadline = Instant::now() + patience;
    let mut is_told = false;
    loop {
        match remote.refresh().await {
            Ok(()) => break,
            // One that was found on the LAN may be of any cluster.
            Err(CallError::Unauthorized(text)) if !mdns::is_among(addresses) => {
                return Err(ConnectError::Refused(text));
            }
            Err(error) if Instant::now() >= deadline => return Err(ConnectError::Unreachable(error.to_string())),
            Err(error) => {
                if !is_told {
                    tracing::warn!(%error, patience = ?patience, "no node answers yet; trying on");
                    is_told = true;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                *remote.joins.write() = resolve(addresses).await;
            }
        }
    }
    tokio::spawn(keep_up(Arc::downgrade(&remote), addresses.to_vec()));
    let cluster = Arc::new(Cluster(remote));
    Ok(Client::new(cluster.clone(), cluster))
}

async fn keep_up(remote: Weak<Remote>, addresses: Vec<String>) {
    loop {
        tokio::time::sleep(REFRESH_EVERY).await;
        let Some(remote) = remote.upgrade() else { return };
        if let Err(error) = remote.refresh().await {
            tracing::debug!(%error, "no node tells the map");
            *remote.joins.write() = resolve(&addresses).await;
        }
    }
}

/// For HTTP without TLS between nodes: past every proxy, and without the certificates of the system, of which there may
/// be none.
pub fn plain() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

/// All addresses that the names stand for; a name that nobody knows now stays as it is.
pub async fn resolve(names: &[String]) -> Vec<String> {
    let mut addresses = Vec::new();
    for name in names {
        if name == mdns::NAME {
            addresses.extend(mdns::announced());
            continue;
        }
        if name.parse::<std::net::SocketAddr>().is_ok() {
            addresses.push(name.clone());
            continue;
        }
        let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(name.as_str())).await;
        match found {
            Ok(Ok(found)) => addresses.extend(found.map(|address| address.to_string())),
            _ => addresses.push(name.clone()),
        }
    }
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(address.clone()));
    addresses
}

/// The way to nodes elsewhere, and what is known of them.
pub struct Remote {
    http: reqwest::Client,
    signer: Signer,
    joins: RwLock<Vec<String>>,
    known: RwLock<Known>,
    /// Nodes that did not answer, and until when they are passed over.
    avoided: Mutex<HashMap<String, Instant>>,
    /// What requests say of this process; nothing before it has a cluster.
    cluster: RwLock<Option<(ClusterId, Stamp)>>,
    /// A node that refused this process because the cluster was recovered without it: it has the map of today.
    newer: Mutex<Option<String>>,
}

struct Known {
    map: Arc<ClusterMap>,
    up: HashSet<DiskId>,
    /// Where each disk is to be asked.
    addresses: HashMap<DiskId, String>,
    /// The last run of each disk that was heard of.
    lives: HashMap<DiskId, Life>,
    at: Instant,
}

impl Remote {
    /// `who` is what the process calls itself in its requests.
    ///
    /// # Errors
    /// [`ConnectError::Unreachable`] where no HTTP client can be made.
    pub fn new(secret: &Secret, who: &str) -> Result<Self, ConnectError> {
        let http = plain()
            .http1_only()
            .tcp_nodelay(true)
            .user_agent(format!("cairn/{} ({who})", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        let known = Known {
            map: Arc::default(),
            up: HashSet::new(),
            addresses: HashMap::new(),
            lives: HashMap::new(),
            at: Instant::now(),
        };
        Ok(Self {
            http,
            signer: Signer::new(secret),
            joins: RwLock::default(),
            known: RwLock::new(known),
            avoided: Mutex::default(),
            cluster: RwLock::default(),
            newer: Mutex::default(),
        })
    }

    /// What requests say from now on of this process.
    pub fn set_cluster(&self, map: &ClusterMap) {
        *self.cluster.write() = Some((map.cluster, map.generation.stamp()));
    }

    fn context(&self, from: Option<DiskId>, to: Option<DiskId>) -> Context {
        let known = self.known.read();
        let life = |disk: Option<DiskId>| disk.and_then(|disk| Some((disk, *known.lives.get(&disk)?)));
        Context { cluster: *self.cluster.read(), from: life(from), to: life(to) }
    }

    /// There is a newer generation of the cluster at this address.
    pub fn note_newer(&self, address: &str) {
        *self.newer.lock() = Some(address.to_owned());
    }

    /// Where there is a newer generation of the cluster; told once.
    pub fn take_newer(&self) -> Option<String> {
        self.newer.lock().take()
    }

    /// Takes over where each disk is, from a node that finds that out by itself; of its own disks only the lives.
    pub fn set_places(&self, addresses: HashMap<DiskId, String>, places: &[Place]) {
        let mut known = self.known.write();
        known.addresses = addresses;
        known.lives = places.iter().map(|place| (place.disk, place.life)).collect();
    }

    /// Greets a node.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn hello(&self, address: &str, hello: &Hello) -> Result<Hello, CallError> {
        let body = Body::message(hello)?;
        self.call(address, Method::POST, path::HELLO, body, HELLO_TIMEOUT).await?.message(message::MAX_ANSWER_LEN).await
    }

    /// What a node knows of its cluster.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn view(&self, address: &str) -> Result<View, CallError> {
        let answer = self.call(address, Method::GET, path::VIEW, Body::Empty, VIEW_TIMEOUT).await?;
        answer.message(message::MAX_ANSWER_LEN).await
    }

    /// What a node says that waits for a cluster to be formed.
    ///
    /// # Errors
    /// See [`CallError`]; a node that does not wait has no such route.
    pub async fn waiting(&self, address: &str) -> Result<Ballot, CallError> {
        let answer = self.call(address, Method::GET, path::WAITING, Body::Empty, VIEW_TIMEOUT).await?;
        answer.message(message::MAX_ANSWER_LEN).await
    }

    /// Carries a message of Raft to the node that has the disk, and brings back the reply. `from` is the disk that it
    /// comes from, where it is one.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn raft(
        &self,
        from: Option<DiskId>,
        disk: DiskId,
        message: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let unknown = || CallError::Unreachable("nobody knows where the disk is".to_owned());
        let address = self.address_of(disk).ok_or_else(unknown)?;
        let context = self.context(from, Some(disk));
        let answer = self.call_as(&context, &address, Method::POST, path::RAFT, Body::Raft(message), timeout).await?;
        Ok(answer.bytes(message::MAX_RAFT_LEN).await?.into())
    }

    /// Asks the nodes, one after the other, for the map.
    async fn refresh(&self) -> Result<(), CallError> {
        let (mut failure, mut refusal) = (None, None);
        for address in self.nodes() {
            match self.view(&address).await {
                Ok(view) => match self.take(&address, view) {
                    Ok(()) => return Ok(()),
                    Err(error) => failure = Some(error),
                },
                Err(error @ CallError::Unauthorized(_)) => refusal = Some(error),
                Err(error) => failure = Some(error),
            }
        }
        // Only where all refuse the proof it is this process to blame.
        Err(failure.or(refusal).unwrap_or_else(|| CallError::Unreachable("no node".to_owned())))
    }

    fn take(&self, from: &str, view: View) -> Result<(), CallError> {
        let mut known = self.known.write();
        if view.map.cluster != known.map.cluster && known.map.epoch > Epoch(0) {
            return Err(CallError::Refused("the node is of another cluster".to_owned()));
        }
        let refused = |why: &str| Err(CallError::Refused(why.to_owned()));
        let relation = match known.map.epoch {
            Epoch(0) => Relation::Newer,
            _ => known.map.generation.of(&view.map.generation),
        };
        match relation {
            Relation::Same | Relation::Newer => {}
            Relation::Older => return refused("the node has not heard that the cluster was recovered"),
            Relation::Foreign => return refused("the node is of a part of the cluster that was recovered by itself"),
        }
        known.at = Instant::now();
        known.up = view.up.iter().copied().collect();
        if relation == Relation::Newer || view.map.epoch >= known.map.epoch {
            self.set_cluster(&view.map);
            known.addresses = addresses(&view, from);
            known.lives = view.places.iter().map(|place| (place.disk, place.life)).collect();
            known.map = view.map;
        }
        Ok(())
    }

    /// Every node that may be asked, those first that answered lately.
    fn nodes(&self) -> Vec<String> {
        let mut nodes = self.joins.read().clone();
        nodes.extend(self.known.read().addresses.values().cloned());
        let mut seen = HashSet::new();
        nodes.retain(|address| seen.insert(address.clone()));
        let now = Instant::now();
        let mut avoided = self.avoided.lock();
        avoided.retain(|_, until| *until > now);
        nodes.sort_by_key(|address| avoided.contains_key(address));
        nodes
    }

    fn avoid(&self, address: &str) {
        self.avoided.lock().insert(address.to_owned(), Instant::now() + AVOID_FOR);
    }

    fn is_avoided(&self, address: &str) -> bool {
        self.avoided.lock().get(address).is_some_and(|until| *until > Instant::now())
    }

    fn address_of(&self, disk: DiskId) -> Option<String> {
        self.known.read().addresses.get(&disk).cloned()
    }

    /// What repair needs of a disk elsewhere; `None` where the map does not have it.
    pub fn repair_disk(self: &Arc<Self>, id: DiskId) -> Option<Arc<dyn RepairService>> {
        self.address_of(id)?;
        Some(Arc::new(RemoteDisk { remote: self.clone(), id }))
    }
}

/// Where to ask for each disk: where it was heard of last, else where the map has its node. A node that says that it
/// listens everywhere is asked where it just answered.
fn addresses(view: &View, from: &str) -> HashMap<DiskId, String> {
    let address = |address: &str| match address.parse::<std::net::SocketAddr>() {
        Ok(socket) if socket.ip().is_unspecified() => from.to_owned(),
        _ => address.to_owned(),
    };
    let map = &view.map;
    let mut addresses: HashMap<DiskId, String> =
        map.disks.iter().filter_map(|disk| Some((disk.id, address(&map.node(disk.node)?.address)))).collect();
    addresses.extend(view.places.iter().map(|place| (place.disk, address(&place.address))));
    addresses
}

/// A process's way to the cluster.
struct Cluster(Arc<Remote>);

impl Disks for Cluster {
    fn map(&self) -> Arc<ClusterMap> {
        self.0.known.read().map.clone()
    }

    fn disk(&self, id: DiskId) -> Option<Arc<dyn DiskService>> {
        let disk = self.0.repair_disk(id)?;
        Some(disk)
    }

    fn repair_disk(&self, id: DiskId) -> Option<Arc<dyn RepairService>> {
        self.0.repair_disk(id)
    }

    fn is_up(&self, id: DiskId) -> bool {
        let known = self.0.known.read();
        known.up.contains(&id)
            && known.at.elapsed() < STALE_AFTER
            && known.addresses.get(&id).is_some_and(|address| !self.0.is_avoided(address))
    }

    fn overview(&self) -> BoxFuture<'_, Result<Overview, ServiceError>> {
        async move {
            let mut failure = ServiceError::Unavailable;
            for address in self.0.nodes() {
                let answer = self.0.call(&address, Method::GET, path::OVERVIEW, Body::Empty, VIEW_TIMEOUT).await;
                match answer {
                    Ok(answer) => return Ok(answer.message(message::MAX_ANSWER_LEN).await?),
                    Err(error) => failure = error.into(),
                }
            }
            Err(failure)
        }
        .boxed()
    }
}
