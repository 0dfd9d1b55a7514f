//! How a node with empty directories comes into a cluster: it asks the addresses it was given until a node of a cluster
//! answers. It never forms one, unless it was told how many nodes there are to be: then that of the lowest id does, once
//! all of them wait.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::options::NodeOptions;
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
    let mut told = Instant::now() - TELL_EVERY;
    let found = loop {
        let mut ids = BTreeSet::from([id]);
        let mut failure = String::new();
        let mut view = None;
        for address in resolve(&options.join).await {
            match remote.view(&address).await {
                Ok(found) if found.map.epoch > Epoch(0) => view = Some(found),
                Ok(_) => failure = format!("{address} is forming its cluster"),
                Err(CallError::Unauthorized(text)) => return Err(refused(&address, &text)),
                Err(error) => {
                    failure = format!("{address}: {error}");
                    if waiting.is_some() {
                        ids.extend(remote.waiting(&address).await);
                    }
                }
            }
        }
        if let Some(view) = view {
            break (Founding::Node(view.map.cluster), Some(view));
        }
        let all_wait = options.bootstrap_expect.is_some_and(|expected| ids.len() >= expected);
        if all_wait && ids.first() == Some(&id) {
            break (cluster, None);
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tracing::info!(%failure, waiting = ids.len(), "no node of the cluster answers yet; still trying");
        }
        tokio::time::sleep(PAUSE).await;
    };
    if let Some(server) = waiting {
        server.stop(SERVER_GRACE).await;
    }
    Ok(found)
}

/// Refuses directories of another cluster than that of the nodes that are to be joined, where one of these answers.
///
/// # Errors
/// [`StartError::Join`].
pub async fn check_cluster(options: &NodeOptions, secret: &Secret, cluster: ClusterId) -> Result<(), StartError> {
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
        disk: crate::types::DiskId,
        message: bytes::Bytes,
        timeout: Duration,
    ) -> futures::future::BoxFuture<'_, Result<bytes::Bytes, crate::raft::TransportError>> {
        Box::pin(async move {
            let sent = self.0.raft(disk, message, timeout).await;
            sent.map_err(|error| crate::raft::TransportError(error.to_string()))
        })
    }
}
