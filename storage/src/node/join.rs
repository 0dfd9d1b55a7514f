//! How a node with empty directories comes into a cluster: it asks the addresses it was given until a node of a cluster
//! answers. It never forms one, unless it was told how many nodes there are to be: then that of the lowest id does, once
//! all of them wait.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpListener;

use super::options::NodeOptions;
use crate::client::mdns;
use crate::client::remote::{CallError, Remote, resolve};
use crate::cluster::{Founding, Secret, StartError};
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
    let id: u64 = rand::random();
    let remote = Remote::new(secret, "joining").map_err(|error| StartError::Join(error.to_string()))?;
    let waiting = match options.bootstrap_expect {
        Some(_) => Some(serve_waiting(id, secret, listener)?),
        None => None,
    };
    let mut told: Option<Instant> = None;
    let found = loop {
        let mut ids = BTreeSet::from([id]);
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
                Heard::Waiting(other) => {
                    ids.insert(other);
                }
                // One that was found on the LAN may be of any cluster.
                Heard::Refusal(text) if mdns::is_among(&options.join) => failures.push(format!("{address}: {text}")),
                Heard::Refusal(text) => return Err(refused(address, &text)),
                Heard::Nothing(why) => failures.push(format!("{address}: {why}")),
            }
        }
        if let Some(view) = view {
            break (Founding::Node(view.map.cluster), Some(view));
        }
        let all_wait = options.bootstrap_expect.is_some_and(|expected| ids.len() >= expected);
        if all_wait && ids.first() == Some(&id) {
            break (cluster, None);
        }
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            told = Some(Instant::now());
            let failure = failures.join("; ");
            tracing::info!(%failure, waiting = ids.len(), "no node of a cluster answers yet; still trying");
        }
        tokio::time::sleep(PAUSE).await;
    };
    if let Some(server) = waiting {
        server.stop(SERVER_GRACE).await;
    }
    Ok(found)
}

/// What a node says to one that looks for a cluster.
enum Heard {
    Cluster(Box<View>),
    /// It waits, too; its id.
    Waiting(u64),
    Refusal(String),
    Nothing(String),
}

async fn ask<'a>(remote: &Remote, address: &'a str) -> (&'a str, Heard) {
    let heard = match remote.view(address).await {
        Ok(view) if view.map.epoch > Epoch(0) => Heard::Cluster(Box::new(view)),
        Ok(_) => Heard::Nothing("it is forming its cluster".to_owned()),
        Err(CallError::Unauthorized(text)) => Heard::Refusal(text),
        Err(CallError::Typed { text, .. }) => match remote.waiting(address).await {
            Ok(id) => Heard::Waiting(id),
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

fn serve_waiting(id: u64, secret: &Secret, listener: &std::net::TcpListener) -> Result<Server, StartError> {
    let listen = |source| StartError::Listen { address: "the socket".to_owned(), source };
    let listener = listener.try_clone().and_then(TcpListener::from_std).map_err(listen)?;
    Server::start(listener, server::waiting_router(id, secret))
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
