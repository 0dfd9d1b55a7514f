//! How a node with empty directories comes into a cluster: it asks the addresses it was given until a node of a cluster
//! answers. It never forms one, unless it was told how many nodes there are to be: then the one does to which so many of
//! them have granted it (`cluster::ballot`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::blocking;
use super::options::NodeOptions;
use crate::client::mdns;
use crate::client::remote::{CallError, Remote, resolve};
use crate::cluster::ballot::Next;
use crate::cluster::{Ballot, Founding, Secret, StartError};
use crate::server::{self, Server};
use crate::types::{ClusterId, Epoch};
use crate::wire::View;

/// The rest between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(300);
/// How often a person is told that the node still waits.
const TELL_EVERY: Duration = Duration::from_secs(10);
const SERVER_GRACE: Duration = Duration::from_secs(1);

/// What becomes of a node whose directories are all new, and what it was told of its cluster. Waits for as long as it
/// takes until somebody answers.
///
/// # Errors
/// [`StartError::Join`] where somebody answers and does not want this node.
pub async fn found(
    options: &NodeOptions,
    secret: &Secret,
    listener: &std::net::TcpListener,
) -> Result<(Founding, Option<View>), StartError> {
    let cluster = Founding::Cluster { groups: options.metadata_groups };
    if options.join.is_empty() {
        return Ok((cluster, None));
    }
    let remote = Remote::new(secret, "joining").map_err(|error| StartError::Join(error.to_string()))?;
    let waiting = match options.bootstrap_expect {
        Some(expected) => Some(Waiting::begin(expected, &options.directories, secret, listener).await?),
        None => None,
    };
    let mut told: Option<Instant> = None;
    let found = loop {
        let mut others = Vec::new();
        let mut failures = Vec::new();
        let mut view = None;
        let addresses = resolve(&options.join).await;
        // All at once, and the first that knows a cluster is enough: others may hang, or be this very node.
        let mut asked: FuturesUnordered<_> = addresses.iter().map(|address| ask(&remote, address)).collect();
        while let Some((address, answer)) = asked.next().await {
            match answer {
                Heard::Cluster(found) => {
                    view = Some(*found);
                    break;
                }
                Heard::Waiting(other) => others.push(other),
                // One that was found on the LAN may be of any cluster.
                Heard::Refusal(text) if mdns::is_among(&options.join) => failures.push(format!("{address}: {text}")),
                Heard::Refusal(text) => return Err(refused(address, &text)),
                Heard::Nothing(why) => failures.push(format!("{address}: {why}")),
            }
        }
        if let Some(view) = view {
            break (Founding::Node(view.map.cluster), Some(view));
        }
        if let Some(waiting) = &waiting
            && waiting.forms(&others).await?
        {
            break (cluster, None);
        }
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            told = Some(Instant::now());
            let failure = failures.join("; ");
            let ballot = waiting.as_ref().map(|waiting| *waiting.ballot.lock());
            tracing::info!(%failure, ?ballot, heard = ?others, "no node of a cluster answers yet; still trying");
        }
        tokio::time::sleep(PAUSE).await;
    };
    if let Some(waiting) = waiting {
        waiting.server.stop(SERVER_GRACE).await;
    }
    Ok(found)
}

/// A node that waits for a cluster to be formed, and tells the others what it has granted.
struct Waiting {
    expected: usize,
    directory: PathBuf,
    /// As it is on disk.
    ballot: Arc<Mutex<Ballot>>,
    server: Server,
}

impl Waiting {
    async fn begin(
        expected: usize,
        directories: &[PathBuf],
        secret: &Secret,
        listener: &std::net::TcpListener,
    ) -> Result<Self, StartError> {
        let directories = directories.to_vec();
        let begin = move || {
            let directory = Ballot::place(&directories).ok_or(StartError::NoDirectory)?.to_owned();
            match Ballot::load_or_make(&directory) {
                Ok(ballot) => Ok((directory, Arc::new(Mutex::new(ballot)))),
                Err(error) => Err(StartError::io(directory, &error)),
            }
        };
        let (directory, ballot) = blocking(begin).await??;
        let listen = |source| StartError::Listen { address: "the socket".to_owned(), source };
        let listener = listener.try_clone().and_then(TcpListener::from_std).map_err(listen)?;
        let server = Server::start(listener, server::waiting_router(ballot.clone(), secret))?;
        Ok(Self { expected, directory, ballot, server })
    }

    /// Whether this node forms the cluster, after it has heard these.
    async fn forms(&self, others: &[Ballot]) -> Result<bool, StartError> {
        let ballot = *self.ballot.lock();
        match ballot.next(others, self.expected) {
            Next::Form => return Ok(true),
            Next::Wait => {}
            Next::Change(ballot) => {
                let place = self.directory.clone();
                blocking(move || ballot.store(&place).map_err(|error| StartError::io(place, &error))).await??;
                *self.ballot.lock() = ballot;
            }
        }
        Ok(false)
    }
}

/// What a node says to one that looks for a cluster.
enum Heard {
    Cluster(Box<View>),
    /// It waits, too.
    Waiting(Ballot),
    Refusal(String),
    Nothing(String),
}

async fn ask<'a>(remote: &Remote, address: &'a str) -> (&'a str, Heard) {
    let heard = match remote.view(address).await {
        Ok(view) if view.map.epoch > Epoch(0) => Heard::Cluster(Box::new(view)),
        Ok(_) => Heard::Nothing("it is forming its cluster".to_owned()),
        Err(CallError::Unauthorized(text)) => Heard::Refusal(text),
        Err(CallError::Typed { text, .. }) => match remote.waiting(address).await {
            Ok(ballot) => Heard::Waiting(ballot),
            Err(_) => Heard::Nothing(text),
        },
        Err(error) => Heard::Nothing(error.to_string()),
    };
    (address, heard)
}

/// Refuses directories of another cluster than that of the nodes that are to be joined, where one of these answers.
///
/// # Errors
/// [`StartError::Join`].
pub async fn check_cluster(options: &NodeOptions, secret: &Secret, cluster: ClusterId) -> Result<(), StartError> {
    if mdns::is_among(&options.join) {
        return Ok(());
    }
    let remote = Remote::new(secret, "joining").map_err(|error| StartError::Join(error.to_string()))?;
    for address in resolve(&options.join).await {
        match remote.view(&address).await {
            Ok(view) if view.map.cluster != cluster => {
                let text = format!(
                    "the directories are of cluster {cluster}, and the node at {address} is of {}",
                    view.map.cluster
                );
                return Err(StartError::Join(text));
            }
            Err(CallError::Unauthorized(text)) => return Err(refused(&address, &text)),
            _ => {}
        }
    }
    Ok(())
}

fn refused(address: &str, text: &str) -> StartError {
    StartError::Join(if text.contains("clocks") {
        format!("the clocks of this machine and of the node at {address} are more than five minutes apart")
    } else if text.contains("release") {
        format!("the node at {address} is of another release of Cairn")
    } else {
        format!("the cluster secret here is not that of the node at {address}; set CAIRN_CLUSTER_SECRET")
    })
}

/// The address under which others reach this node, where it listens everywhere: that of the way to `join`, or to the
/// rest of the world.
pub async fn own_address(join: &[String], port: u16) -> String {
    let mut targets = resolve(join).await;
    // Of a network that is for documentation: nothing is sent.
    targets.push("192.0.2.1:9".to_owned());
    for target in targets {
        let address = async {
            let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await?;
            socket.connect(&target).await?;
            socket.local_addr()
        };
        if let Ok(address) = address.await {
            return std::net::SocketAddr::new(address.ip(), port).to_string();
        }
    }
    format!("127.0.0.1:{port}")
}

/// Carries Raft's messages to other nodes.
pub struct Transport(pub Arc<Remote>);

impl crate::raft::RemoteTransport for Transport {
    fn send(
        &self,
        from: Option<crate::types::DiskId>,
        disk: crate::types::DiskId,
        message: bytes::Bytes,
        timeout: Duration,
    ) -> futures::future::BoxFuture<'_, Result<bytes::Bytes, crate::raft::TransportError>> {
        Box::pin(async move {
            let sent = self.0.raft(from, disk, message, timeout).await;
            sent.map_err(|error| crate::raft::TransportError(error.to_string()))
        })
    }
}
