//! A node: opens its disks, starts what lives on them, and wires the rooms together. It decides nothing about chunks,
//! commands or messages.

mod disk;
mod form;
mod inner;
mod offline;
mod options;
mod recover;
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

use crate::client::{Client, Disks};
use crate::cluster::{Claim, Directory, Identity, RootCredentials, Secret, claim, secret};
use crate::raft::Replicas;
use crate::repair::{self, World};
use crate::server::{self, Server};
use crate::types::{ClusterMap, Epoch, GroupId, NodeEntry};
use disk::{LocalDisk, Memory};
use inner::{Inner, View};

pub use crate::cluster::StartError;
pub use offline::{OfflineError, rebuild_index};
pub use options::NodeOptions;
pub use recover::{Recovered, recover};
pub use status::{DiskStatus, NodeStatus};

/// How long a start waits for the metadata groups before it goes on without them.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the first start waits for the groups that it forms.
const FORM_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the root group is asked for the map.
const MAP_EVERY: Duration = Duration::from_secs(2);
/// How long requests of other processes may take to end at a shutdown.
const SERVER_GRACE: Duration = Duration::from_secs(5);

/// A running node. Dropped without [`Node::shutdown`], it ends like one that was killed.
pub struct Node {
    view: Arc<View>,
    server: Server,
    secret: Secret,
    root: RootCredentials,
    root_made: bool,
    stop: CancellationToken,
    supervisors: Vec<JoinHandle<()>>,
    /// Ends the loops, however the node ends.
    _stop_on_drop: DropGuard,
}

impl Node {
    /// Opens the directories, in seconds, and starts the node: a new cluster, where all of them are empty. Disks that
    /// are missing are left out, with a warning. Returns when every group has a leader, or after 15 seconds without.
    ///
    /// # Errors
    /// See [`StartError`]; where it is a refusal, nothing was touched.
    pub async fn start(options: NodeOptions) -> Result<Self, StartError> {
        options.validate()?;
        let listener = server::bind(&options.rpc).await?;
        let address =
            listener.local_addr().map_err(|source| StartError::Listen { address: options.rpc.clone(), source })?;
        let (paths, groups) = (options.directories.clone(), options.metadata_groups);
        let Claim { present, absent, forming } = blocking(move || claim(&paths, groups)).await??;
        for absent in &absent {
            tracing::warn!(path = %absent.path.display(), reason = absent.reason, "a disk is missing");
        }
        let secrets = Secrets::load(&present, &options).await?;
        let memory = Memory::new(&options);
        let (disks, failed) = open_disks(present, &options, &memory).await?;
        let Some(identity) = disks.first().map(|disk| disk.identity().clone()) else {
            return Err(StartError::NoDisk(failed.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join("; ")));
        };
        if let Some((path, message)) = failed.first().filter(|_| forming) {
            return Err(StartError::Directory { path: path.clone(), message: message.clone() });
        }

        let entry = NodeEntry {
            id: identity.node,
            address: options.advertise.clone().unwrap_or_else(|| address.to_string()),
            rack: options.rack.clone(),
        };
        let view = wire(&identity, &entry, options, memory)?;
        for absent in absent {
            view.inner.set_absent(absent.path, absent.reason);
        }
        for (path, why) in failed {
            view.inner.set_absent(path, why);
        }
        let stop = CancellationToken::new();
        let node = Self {
            server: Server::start(listener, server::router(view.clone(), &secrets.cluster))?,
            view,
            secret: secrets.cluster,
            root: secrets.root,
            root_made: secrets.root_made,
            stop: stop.clone(),
            supervisors: Vec::new(),
            _stop_on_drop: stop.drop_guard(),
        };
        node.run(disks, entry, forming).await
    }

    async fn run(mut self, disks: Vec<Arc<LocalDisk>>, entry: NodeEntry, forming: bool) -> Result<Self, StartError> {
        let (view, expected) = (self.view.clone(), disks.len());
        let started = start_all_replicas(&view.inner, disks, forming).await;
        for disk in &started {
            view.inner.add_disk(disk.clone());
        }
        if forming && let Err(error) = self.form(&started, expected, &entry).await {
            self.shutdown().await;
            return Err(error);
        }
        for path in view.inner.options.directories.clone() {
            let disk = started.iter().find(|disk| disk.path() == path).cloned();
            self.supervisors.push(self.spawn(supervise::supervise(view.clone(), path, disk)));
        }
        let mut settle = self.spawn(form::settle(view.clone(), entry, self.root.clone()));
        if tokio::time::timeout(SETTLE_TIMEOUT, &mut settle).await.is_err() {
            tracing::warn!("the metadata groups have no leader; the node goes on without them until they have");
        }
        self.spawn(form::follow_map(view.clone(), MAP_EVERY));
        let world: Arc<dyn World> = view.clone();
        repair::start(&world, &view.inner.options.repair, &self.stop);
        Ok(self)
    }

    async fn form(&self, disks: &[Arc<LocalDisk>], expected: usize, entry: &NodeEntry) -> Result<(), StartError> {
        if disks.len() != expected {
            return Err(StartError::Metadata("not every disk of the first start can be used".to_owned()));
        }
        let formed = tokio::time::timeout(FORM_TIMEOUT, form::form(&self.view, disks, entry.clone())).await;
        let text = match formed {
            Ok(Ok(())) => return mark_formed(disks).await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the groups found no leader".to_owned(),
        };
        Err(StartError::Metadata(text))
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let stop = self.stop.clone();
        tokio::spawn(async move {
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
        self.ready().iter().all(|(_, ready)| *ready)
    }

    /// Where the internal HTTP listens.
    pub fn rpc_address(&self) -> SocketAddr {
        self.server.address
    }

    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The keys of the root user, and whether they were made by this start: then a person has to be told.
    pub fn root_credentials(&self) -> (&RootCredentials, bool) {
        (&self.root, self.root_made)
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
        join_all(self.supervisors).await;
        let disks = self.view.inner.local_disks();
        for disk in &disks {
            disk.stop.cancel();
        }
        self.view.inner.replicas.shutdown().await;
        join_all(disks.iter().map(|disk| disk.close())).await;
        // Whoever still has a client must not keep the directories locked.
        self.view.inner.forget_disks();
        tracing::info!("the node has ended");
    }
}

/// Tells how the node is. Cheap to clone.
#[derive(Clone)]
pub struct Watcher(Arc<Inner>);

impl Watcher {
    /// Whether every group has a leader.
    pub fn is_ready(&self) -> bool {
        self.0.ready().iter().all(|(_, ready)| *ready)
    }

    pub fn status(&self) -> NodeStatus {
        status::status(&self.0)
    }
}

struct Secrets {
    cluster: Secret,
    root: RootCredentials,
    root_made: bool,
}

impl Secrets {
    async fn load(present: &[Directory], options: &NodeOptions) -> Result<Self, StartError> {
        let paths: Vec<PathBuf> = present.iter().map(|directory| directory.path.clone()).collect();
        let (secret, root) = (options.secret.clone(), options.root.clone());
        blocking(move || {
            let cluster = secret::cluster_secret(&paths, secret)?;
            let (root, root_made) = secret::root_credentials(&paths, root)?;
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

/// Makes what the parts share.
fn wire(identity: &Identity, entry: &NodeEntry, options: NodeOptions, memory: Memory) -> Result<Arc<View>, StartError> {
    let replicas = Replicas::new(identity.cluster, None, options.raft.clone(), Arc::new(store::open))
        .map_err(StartError::Settings)?;
    let map = form::first_map(identity, entry.clone(), Epoch(0), |_| 1);
    let inner = Arc::new(Inner::new(identity, options, memory, replicas.clone(), map));
    let client = Client::new(Arc::new(replicas), inner.clone());
    Ok(Arc::new(View { inner, client }))
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
