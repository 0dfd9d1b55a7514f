//! A node: opens its disks, starts what lives on them, and wires the rooms together. It decides nothing about chunks,
//! commands or messages.

mod control;
mod disk;
mod form;
mod greet;
mod inner;
mod join;
mod offline;
mod options;
mod recover;
mod room;
mod status;
mod store;
mod supervise;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::client::remote::Remote;
use crate::client::{Client, Disks, mdns};
use crate::cluster::peers::Kept;
use crate::cluster::recovery::Recovery;
use crate::cluster::{Claim, Directory, Founding, Identity, RootCredentials, Secret, claim, secret, survey};
use crate::raft::Replicas;
use crate::repair::{self, World};
use crate::server::{self, Server};
use crate::types::{ClusterMap, Epoch, GroupId, NodeEntry};
use crate::wire;
use disk::{LocalDisk, Memory};
use inner::{Inner, Parts, View};

pub use crate::cluster::StartError;
pub use offline::{OfflineError, rebuild_index};
pub use options::NodeOptions;
pub use recover::{Alone, Plan, Recovering};
pub use status::{DiskStatus, NodeStatus};

/// How long a start waits for the metadata groups before it goes on without them.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the first start waits for the groups that it forms.
const FORM_TIMEOUT: Duration = Duration::from_secs(60);
/// How long requests of other processes may take to end at a shutdown.
const SERVER_GRACE: Duration = Duration::from_secs(5);

/// How long the loops may take to end: each does at its next step.
const LOOPS_GRACE: Duration = Duration::from_secs(10);
/// What is under way on a database holds it open for a moment.
const CLOSED_GRACE: Duration = Duration::from_secs(1);
const CLOSED_LOOK: Duration = Duration::from_millis(2);

/// A running node. Dropped without [`Node::shutdown`], it ends like one that was killed.
pub struct Node {
    view: Arc<View>,
    server: Server,
    secret: Secret,
    root: Option<RootCredentials>,
    root_made: bool,
    stop: CancellationToken,
    /// The loops, which have disks in their hands.
    loops: TaskTracker,
    _announcement: Option<mdns::Announcement>,
    /// Ends the loops, however the node ends.
    _stop_on_drop: DropGuard,
}

impl Node {
    /// Opens the directories, in seconds, and starts the node: where all of them are empty, the first one of a new
    /// cluster, or one that joins others and waits until they answer. Disks that are missing are left out, with a
    /// warning. Returns when every group has a leader, or after 15 seconds without.
    ///
    /// # Errors
    /// See [`StartError`]; where it is a refusal, nothing was touched.
    pub async fn start(options: NodeOptions) -> Result<Self, StartError> {
        options.validate()?;
        let listen = |source| StartError::Listen { address: options.rpc.clone(), source };
        let listener = server::bind(&options.rpc).await?.into_std().map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let reached_at = match &options.advertise {
            Some(address) => address.clone(),
            None if address.ip().is_unspecified() => join::own_address(&options.join, address.port()).await,
            None => address.to_string(),
        };
        let announcement = if options.mdns || mdns::is_among(&options.join) { announce(&reached_at) } else { None };
        let (founding, known) = introduce(&options, &listener).await?;
        let paths = options.directories.clone();
        let Claim { present, absent, forming } = blocking(move || claim(&paths, founding)).await??;
        for absent in &absent {
            tracing::warn!(path = %absent.path.display(), reason = absent.reason, "a disk is missing");
        }
        let secrets = Secrets::load(&present, &options, forming).await?;
        let memory = Memory::new(&options);
        let (disks, failed) = open_disks(present, &options, &memory).await?;
        let Some(identity) = disks.first().map(|disk| disk.identity().clone()) else {
            return Err(StartError::NoDisk(failed.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join("; ")));
        };
        if let Some((path, message)) = failed.first().filter(|_| forming) {
            return Err(StartError::Directory { path: path.clone(), message: message.clone() });
        }

        let entry = NodeEntry { id: identity.node, address: reached_at, rack: options.rack.clone() };
        let view = wire(&identity, entry, known, options, memory, &secrets.cluster)?;
        for absent in absent {
            view.inner.set_absent(absent.path, absent.reason);
        }
        for (path, why) in failed {
            view.inner.set_absent(path, why);
        }
        let stop = CancellationToken::new();
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|source| StartError::Listen { address: address.to_string(), source })?;
        let node = Self {
            server: Server::start(listener, server::router(view.clone(), &secrets.cluster))?,
            view,
            secret: secrets.cluster,
            root: secrets.root,
            root_made: secrets.root_made,
            stop: stop.clone(),
            loops: TaskTracker::new(),
            _announcement: announcement,
            _stop_on_drop: stop.drop_guard(),
        };
        node.run(disks, forming).await
    }

    async fn run(self, disks: Vec<Arc<LocalDisk>>, forming: bool) -> Result<Self, StartError> {
        let (view, expected) = (self.view.clone(), disks.len());
        let disks = leave_out_old(&view.inner, disks).await;
        let started = start_all_replicas(&view.inner, disks, forming).await;
        for disk in &started {
            view.inner.add_disk(disk.clone());
        }
        if forming && let Err(error) = self.form(&started, expected).await {
            self.shutdown().await;
            return Err(error);
        }
        for path in view.inner.options.directories.clone() {
            let disk = started.iter().find(|disk| disk.path() == path).cloned();
            self.spawn(supervise::supervise(view.clone(), path, disk));
        }
        self.spawn(greet::greet(view.inner.clone()));
        self.spawn(greet::follow_map(view.clone()));
        self.spawn(greet::keep(view.inner.clone()));
        self.spawn(room::watch(view.inner.clone()));
        self.spawn(control::follow(view.clone()));
        let mut settle = self.spawn(form::settle(view.clone(), self.root.clone()));
        if tokio::time::timeout(SETTLE_TIMEOUT, &mut settle).await.is_err() {
            tracing::warn!("the metadata groups have no leader; the node goes on without them until they have");
        }
        self.spawn(control::lead(view.clone()));
        self.spawn(control::spread_leaders(view.clone()));
        let world: Arc<dyn World> = view.clone();
        repair::start(&world, &view.inner.options.repair, &self.stop);
        Ok(self)
    }

    async fn form(&self, disks: &[Arc<LocalDisk>], expected: usize) -> Result<(), StartError> {
        if disks.len() != expected {
            return Err(StartError::Metadata("not every disk of the first start can be used".to_owned()));
        }
        let entry = self.view.inner.entry.clone();
        let forming = form::form(&self.view, disks, entry, self.root.as_ref());
        let text = match tokio::time::timeout(FORM_TIMEOUT, forming).await {
            Ok(Ok(())) => return mark_formed(disks).await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the groups found no leader".to_owned(),
        };
        Err(StartError::Metadata(text))
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let stop = self.stop.clone();
        self.loops.spawn(async move {
            stop.run_until_cancelled(work).await;
        })
    }

    /// The cluster, as the gateway of this process sees it: disks and replicas here are called directly.
    pub fn client(&self) -> Client {
        self.view.client.clone()
    }

    pub fn map(&self) -> Arc<ClusterMap> {
        self.view.inner.map()
    }

    /// Each group, and whether it has a leader.
    pub fn ready(&self) -> Vec<(GroupId, bool)> {
        self.view.inner.ready()
    }

    /// Whether every group has a leader.
    pub fn is_ready(&self) -> bool {
        self.view.inner.is_ready()
    }

    /// Where the internal HTTP listens.
    pub fn rpc_address(&self) -> SocketAddr {
        self.server.address
    }

    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The keys of the root user, where this node knows them, and whether they were made by this start: then a person
    /// has to be told.
    pub fn root_credentials(&self) -> (Option<&RootCredentials>, bool) {
        (self.root.as_ref(), self.root_made)
    }

    /// Disks and groups, as they are now.
    pub fn status(&self) -> NodeStatus {
        status::status(&self.view.inner)
    }

    /// Whatever can tell the status and the readiness for as long as the process lives, apart from the node itself.
    pub fn watcher(&self) -> Watcher {
        Watcher(self.view.inner.clone())
    }

    /// Takes no more requests from other processes, ends the loops and the replicas, and closes the disks.
    pub async fn shutdown(self) {
        self.server.stop(SERVER_GRACE).await;
        self.stop.cancel();
        self.loops.close();
        if tokio::time::timeout(LOOPS_GRACE, self.loops.wait()).await.is_err() {
            tracing::warn!("a loop of the node hangs and is left behind");
        }
        let disks = self.view.inner.local_disks();
        for disk in &disks {
            disk.stop.cancel();
        }
        self.view.inner.replicas.shutdown().await;
        join_all(disks.iter().map(|disk| disk.close())).await;
        // Whoever still has a client must not keep the directories locked.
        self.view.inner.forget_disks();
        let databases: Vec<_> = disks.iter().map(|disk| disk.db.clone()).collect();
        drop(disks);
        let unused = async {
            while databases.iter().any(|db| Arc::strong_count(db) > 1) {
                tokio::time::sleep(CLOSED_LOOK).await;
            }
        };
        if tokio::time::timeout(CLOSED_GRACE, unused).await.is_err() {
            tracing::warn!("a database is still in use, and its directory locked until the process ends");
        }
        let _ = blocking(move || drop(databases)).await;
        tracing::info!("the node has ended");
    }
}

/// Tells how the node is. Cheap to clone.
#[derive(Clone)]
pub struct Watcher(Arc<Inner>);

impl Watcher {
    /// Whether every group has a leader.
    pub fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    pub fn status(&self) -> NodeStatus {
        status::status(&self.0)
    }
}

/// Finds out what becomes of directories that are new, and that those that are not belong where they are to join.
async fn introduce(
    options: &NodeOptions,
    listener: &std::net::TcpListener,
) -> Result<(Founding, Option<wire::View>), StartError> {
    let alone = Founding::Cluster { groups: options.metadata_groups };
    if options.join.is_empty() {
        return Ok((alone, None));
    }
    let paths = options.directories.clone();
    let known = blocking(move || survey(&paths)).await??;
    let secret = match &options.secret {
        Some(secret) => secret.clone(),
        None => {
            let paths = options.directories.clone();
            let kept = blocking(move || secret::kept_cluster_secret(&paths)).await?;
            let missing =
                || StartError::Join("it takes the secret of the cluster; set CAIRN_CLUSTER_SECRET".to_owned());
            kept.ok_or_else(missing)?
        }
    };
    match known {
        Some(cluster) => join::check_cluster(options, &secret, cluster).await.map(|()| (alone, None)),
        None => join::found(options, &secret, listener).await,
    }
}

/// A LAN without mDNS does not keep a node from starting.
fn announce(address: &str) -> Option<mdns::Announcement> {
    let announced = mdns::Announcement::new(address);
    announced.inspect_err(|error| tracing::warn!(%error, "the node cannot be announced by mDNS")).ok()
}

struct Secrets {
    cluster: Secret,
    root: Option<RootCredentials>,
    root_made: bool,
}

impl Secrets {
    /// The root user's keys are made where the cluster is; whoever joins it need not know them.
    async fn load(present: &[Directory], options: &NodeOptions, forming: bool) -> Result<Self, StartError> {
        let paths: Vec<PathBuf> = present.iter().map(|directory| directory.path.clone()).collect();
        let (secret, root) = (options.secret.clone(), options.root.clone());
        blocking(move || {
            let cluster = secret::cluster_secret(&paths, secret)?;
            let (root, root_made) = secret::root_credentials(&paths, root, forming)?;
            Ok(Self { cluster, root, root_made })
        })
        .await?
    }
}

/// Opens all disks at once; those that cannot be used come back with the reason.
async fn open_disks(
    present: Vec<Directory>,
    options: &NodeOptions,
    memory: &Memory,
) -> Result<(Vec<Arc<LocalDisk>>, Vec<(PathBuf, String)>), StartError> {
    let openings = present.into_iter().map(|directory| {
        let (options, memory) = (options.clone(), memory.clone());
        let path = directory.path.clone();
        async move { (path, blocking(move || LocalDisk::open(directory, &options, &memory)).await) }
    });
    let (mut disks, mut failed) = (Vec::new(), Vec::new());
    for (path, opened) in join_all(openings).await {
        match opened? {
            Ok(disk) => disks.push(disk),
            Err(why) => {
                tracing::error!(path = %path.display(), %why, "a disk cannot be used");
                failed.push((path, why));
            }
        }
    }
    Ok((disks, failed))
}

/// Makes what the parts share. The map is the newest of what a node that was joined said, what was kept, and what the
/// founding gave.
fn wire(
    identity: &Identity,
    entry: NodeEntry,
    known: Option<wire::View>,
    options: NodeOptions,
    memory: Memory,
    secret: &Secret,
) -> Result<Arc<View>, StartError> {
    let settings = |error: crate::client::remote::ConnectError| StartError::Settings(error.to_string());
    let remote = Arc::new(Remote::new(secret, &format!("node {}", identity.node)).map_err(settings)?);
    let transport: Arc<dyn crate::raft::RemoteTransport> = Arc::new(join::Transport(remote.clone()));
    let replicas = Replicas::new(identity.cluster, Some(transport), options.raft.clone(), Arc::new(store::open))
        .map_err(StartError::Settings)?;
    let kept = Kept::load(&options.directories).filter(|kept| kept.map.cluster == identity.cluster);
    let told = known.map(|view| Kept { map: (*view.map).clone(), places: view.places });
    let kept = Kept::newest([kept, told].into_iter().flatten());
    let Kept { map, places } = kept
        .unwrap_or_else(|| Kept { map: form::first_map(identity, entry.clone(), Epoch(0), |_| 1), places: Vec::new() });
    let session = rand::random();
    let recovering = Recovery::load(&options.directories).is_some_and(|recovery| recovery.generation.is_some());
    let parts = Parts { entry, session, options, memory, replicas: replicas.clone(), remote, map, places, recovering };
    let inner = Arc::new(Inner::new(identity, parts));
    let client = Client::new(Arc::new(replicas), inner.clone());
    Ok(Arc::new(View { inner, client }))
}

/// Leaves out the disks of which others, or the other disks here, have seen more than they have.
async fn leave_out_old(inner: &Inner, disks: Vec<Arc<LocalDisk>>) -> Vec<Arc<LocalDisk>> {
    for disk in &disks {
        // Asked again below.
        let _ = inner.introduce(disk);
    }
    greet::ask(inner).await;
    let mut left = Vec::with_capacity(disks.len());
    for disk in disks {
        match inner.check_lives(&disk) {
            Ok(()) => left.push(disk),
            Err(why) => {
                inner.set_absent(disk.path().to_owned(), why);
                disk.close().await;
            }
        }
    }
    left
}

/// Starts the replicas of all disks at once. A disk whose replicas cannot be started is left out.
async fn start_all_replicas(inner: &Inner, disks: Vec<Arc<LocalDisk>>, forming: bool) -> Vec<Arc<LocalDisk>> {
    let started = join_all(disks.into_iter().map(|disk| async move {
        match supervise::start_replicas(inner, &disk, forming).await {
            Ok(()) => Some(disk),
            Err(why) => {
                tracing::error!(disk = %disk.id(), %why, "a disk cannot be used");
                inner.set_absent(disk.path().to_owned(), why);
                inner.replicas.remove_disk(disk.id()).await;
                disk.close().await;
                None
            }
        }
    }));
    started.await.into_iter().flatten().collect()
}

/// Notes on every disk that the first start came to its end.
async fn mark_formed(disks: &[Arc<LocalDisk>]) -> Result<(), StartError> {
    let disks = disks.to_vec();
    blocking(move || {
        for disk in disks {
            let formed = Identity { formed: true, ..disk.identity().clone() };
            formed.write(disk.path()).map_err(|error| StartError::io(disk.path(), &error))?;
        }
        Ok(())
    })
    .await?
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StartError::Metadata(error.to_string()))
}

#[cfg(test)]
#[path = "node_test.rs"]
mod tests;

#[cfg(test)]
#[path = "join_test.rs"]
mod join_tests;

#[cfg(test)]
#[path = "voters_test.rs"]
mod voters_tests;

#[cfg(test)]
#[path = "lives_test.rs"]
mod lives_tests;

#[cfg(test)]
#[path = "overload_test.rs"]
mod overload_tests;

#[cfg(test)]
#[path = "scale_test.rs"]
mod scale_tests;
