//! The roles of a process: server, storage node, gateway. Wiring only.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cairn_gateway::data::{DataPath, DataSettings};
use cairn_gateway::gateway::Gateway;
use cairn_gateway::server::tls::Tls;
use cairn_gateway::server::{Hooks, Limits};
use cairn_storage::client::{Client, remote};
use cairn_storage::cluster::{RootCredentials, Secret};
use cairn_storage::meta::{Answer, Query};
use cairn_storage::node::{Node, NodeOptions};
use cairn_storage::types::{ClusterSettings, ROOT_GROUP};
use futures::FutureExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::ending::Ending;
use crate::options::{Settings, TlsCertificates};
use crate::self_signed::SelfSigned;
use crate::{banner, metrics};

/// How long the directory is waited for in which a server keeps its own certificate.
const CERTIFICATE_PATIENCE: Duration = Duration::from_secs(30);

/// Open files besides connections to S3: disks, peers, connections past the bound.
const OTHER_FILES: u64 = 1_024;

/// How long a gateway looks for a node that answers before it gives up.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// How long the end of a node is waited for: what hangs then is left behind, as by a kill.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// Everything in one process, until it is told to end.
///
/// # Errors
/// A port is taken, a directory is not to be used, or the settings contradict each other.
pub async fn server(directories: Vec<PathBuf>, settings: Settings) -> Result<()> {
    let ending = Ending::listen()?;
    let recorded = metrics::record()?;
    metrics::serve(settings.metrics, recorded.clone()).await?;
    let listener = listen(&settings).await?;
    let given = given_certificates(&settings)?;
    let (count, own_directories) = (directories.len(), directories.clone());
    let Some(node) = ending.unless(Node::start(node_options(directories, &settings)?)).await else { return Ok(()) };
    let node = node?;
    match count {
        _ if !settings.join.is_empty() => {}
        1 => tracing::warn!("one directory: one copy of everything; three are needed to survive the loss of a disk"),
        2 => tracing::warn!("two directories: the loss of one stops everything until `cairn recover`; use three"),
        _ => {}
    }
    let (self_signed, tls) = match settings.tls {
        TlsCertificates::SelfSigned => match ending.unless(self_signed(own_directories, &settings)).await {
            Some(Ok((own, tls))) => (Some(own), Some(tls)),
            none_or_failed => {
                end(node).await;
                return none_or_failed.map_or(Ok(()), |failed| failed.map(drop));
            }
        },
        _ => (None, given),
    };
    let endpoint = endpoint(&settings);
    let gateway = make_gateway(node.client(), &settings)?;
    let hooks = Hooks {
        ready: {
            let watcher = node.watcher();
            Arc::new(move || {
                let ready = watcher.is_ready();
                async move { ready }.boxed()
            })
        },
        metrics: Some(recorded),
        limits: limits(&settings),
        tls,
    };
    let _renewing = self_signed.clone().map(|own| AbortOnDropHandle::new(tokio::spawn(own.renew())));
    let serving = tokio::spawn(cairn_gateway::server::serve(listener, gateway, hooks, ending.clone().told()));
    if ending.unless(wait_until_ready(&node)).await.is_some() {
        let (root, made) = node.root_credentials();
        let access_key = root.map_or("<ACCESS KEY>", |root| root.access_key.as_str());
        let new_secret = root.filter(|_| made).map(|root| root.secret_key.as_str());
        let trusted = self_signed.as_ref().map(|own| own.files.certificate.as_path());
        banner::print(&endpoint, trusted, &settings.region, access_key, new_secret);
    }
    serving.await.context("the S3 side ended")?;
    end(node).await;
    Ok(())
}

/// A storage node: the internal HTTP and nothing else, until it is told to end.
///
/// # Errors
/// As [`server`].
pub async fn storage(directories: Vec<PathBuf>, settings: Settings) -> Result<()> {
    let ending = Ending::listen()?;
    metrics::serve(settings.metrics, metrics::record()?).await?;
    let Some(node) = ending.unless(Node::start(node_options(directories, &settings)?)).await else { return Ok(()) };
    let node = node?;
    if ending.unless(wait_until_ready(&node)).await.is_some() {
        println!("Cairn's storage node is ready. Its internal HTTP is at {}.", settings.rpc);
    }
    ending.told().await;
    end(node).await;
    Ok(())
}

/// A gateway in front of a cluster, until it is told to end.
///
/// # Errors
/// No address to join or no cluster secret was given, the port is taken, or no node answers.
pub async fn gateway(settings: Settings) -> Result<()> {
    ensure!(!settings.join.is_empty(), "a gateway needs --join with the internal address of a node");
    let Some(secret) = cluster_secret()? else {
        bail!("a gateway needs the cluster's secret in CAIRN_CLUSTER_SECRET; a server keeps it in DIR/cluster-secret");
    };
    if settings.tls == TlsCertificates::SelfSigned {
        bail!("a gateway has no directory to keep a certificate in: give it --tls-certificate and --tls-key");
    }
    let ending = Ending::listen()?;
    let recorded = metrics::record()?;
    metrics::serve(settings.metrics, recorded.clone()).await?;
    let tls = given_certificates(&settings)?;
    let listener = listen(&settings).await?;
    let connecting = remote::connect(&settings.join, &secret, CONNECT_PATIENCE);
    let Some(client) = ending.unless(connecting).await else { return Ok(()) };
    let client = client?;
    let gateway = make_gateway(client.clone(), &settings)?;
    let hooks = Hooks {
        ready: {
            Arc::new(move || {
                let client = client.clone();
                async move { every_group_answers(&client).await }.boxed()
            })
        },
        metrics: Some(recorded),
        limits: limits(&settings),
        tls,
    };
    println!("Cairn's gateway serves S3 at {}.", endpoint(&settings));
    cairn_gateway::server::serve(listener, gateway, hooks, ending.told()).await;
    Ok(())
}

async fn end(node: Node) {
    if tokio::time::timeout(END_PATIENCE, node.shutdown()).await.is_err() {
        tracing::warn!("the node hangs, and is left as it is");
    }
}

/// A node may be up before its groups have found a leader.
async fn wait_until_ready(node: &Node) {
    while !node.is_ready() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether the cluster is formed and each metadata group answers a linearizable query, and so has a leader.
async fn every_group_answers(client: &Client) -> bool {
    if !matches!(client.query(ROOT_GROUP, Query::Map).await, Ok(Answer::Map(Some(_)))) {
        return false;
    }
    let map = client.map();
    let asked = map.metadata_groups().map(|group| client.query(group, Query::Statistics));
    futures::future::join_all(asked).await.iter().all(|answer| matches!(answer, Ok(Answer::Statistics(_))))
}

fn make_gateway(client: Client, settings: &Settings) -> Result<Gateway> {
    let data = DataSettings {
        chunk_size: settings.chunk_size,
        pool_bytes: settings.body_pool / 2,
        read_pool_bytes: settings.body_pool / 2,
        background_bytes: (settings.body_pool / 8).max(8 << 20),
        ..DataSettings::default()
    };
    data.validate().map_err(anyhow::Error::msg)?;
    let s3 = cairn_gateway::gateway::Settings {
        region: settings.region.clone(),
        any_region: settings.any_region,
        sigv2: settings.sigv2,
        domains: settings.domains.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        object_ownership: settings.object_ownership,
    };
    Ok(Gateway::new(client.clone(), DataPath::new(client, data), s3))
}

/// Those that were named, if any was. A file that is none ends the process before it has begun anything.
fn given_certificates(settings: &Settings) -> Result<Option<Arc<Tls>>> {
    match &settings.tls {
        TlsCertificates::Given(files) => Ok(Some(Tls::load(files.clone()).context("TLS")?)),
        TlsCertificates::None | TlsCertificates::SelfSigned => Ok(None),
    }
}

/// The server's own. A directory whose disk hangs holds it up no longer than `CERTIFICATE_PATIENCE`.
async fn self_signed(directories: Vec<PathBuf>, settings: &Settings) -> Result<(SelfSigned, Arc<Tls>)> {
    let (listen, domains) = (settings.listen, settings.domains.clone());
    let prepare = move || {
        let own = SelfSigned::prepare(&directories, listen, &domains)?;
        let tls = Tls::load(vec![own.files.clone()])?;
        Ok((own, tls))
    };
    let prepared = tokio::time::timeout(CERTIFICATE_PATIENCE, tokio::task::spawn_blocking(prepare)).await;
    prepared.context("the directory of the TLS certificate does not answer")??
}

fn endpoint(settings: &Settings) -> String {
    let scheme = if settings.tls == TlsCertificates::None { "http" } else { "https" };
    format!("{scheme}://{}", settings.listen)
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        connections: settings.connections,
        connections_per_address: settings.connections_per_address,
        min_rate: settings.min_rate,
        ..Limits::default()
    }
}

fn node_options(directories: Vec<PathBuf>, settings: &Settings) -> Result<NodeOptions> {
    let mut options = NodeOptions {
        directories,
        rpc: settings.rpc.to_string(),
        advertise: settings.advertise.clone(),
        join: settings.join.clone(),
        mdns: settings.mdns,
        bootstrap_expect: settings.bootstrap_expect,
        settings: ClusterSettings {
            gc_grace_ms: settings.gc_grace.map(milliseconds),
            out_after_ms: settings.out_after.map(milliseconds),
        },
        metadata_groups: settings.metadata_groups,
        rack: settings.rack.clone(),
        secret: cluster_secret()?,
        root: root_credentials()?,
        reserve_bytes: settings.reserve,
        cache_bytes: settings.cache,
        ..NodeOptions::default()
    };
    options.repair.rate = settings.repair_rate;
    Ok(options)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// `CAIRN_CLUSTER_SECRET`, if it is set.
fn cluster_secret() -> Result<Option<Secret>> {
    variable("CAIRN_CLUSTER_SECRET").map(|text| Secret::new(&text).context("CAIRN_CLUSTER_SECRET")).transpose()
}

/// `CAIRN_ROOT_ACCESS_KEY` and `CAIRN_ROOT_SECRET_KEY`, if both are set; one alone is a mistake.
fn root_credentials() -> Result<Option<RootCredentials>> {
    match (variable("CAIRN_ROOT_ACCESS_KEY"), variable("CAIRN_ROOT_SECRET_KEY")) {
        (Some(access_key), Some(secret_key)) => {
            ensure!((3..=128).contains(&access_key.len()), "CAIRN_ROOT_ACCESS_KEY must have 3 to 128 characters");
            ensure!((8..=128).contains(&secret_key.len()), "CAIRN_ROOT_SECRET_KEY must have 8 to 128 characters");
            ensure!(
                access_key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
                "CAIRN_ROOT_ACCESS_KEY may have letters, digits, '-', '_' and '.' only"
            );
            Ok(Some(RootCredentials::new(&access_key, &secret_key)))
        }
        (None, None) => Ok(None),
        _ => bail!("set both CAIRN_ROOT_ACCESS_KEY and CAIRN_ROOT_SECRET_KEY, or neither"),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Each connection is an open file, and what a process usually may have open is less than `connections`.
fn raise_file_limit(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    if let Some(most) = getrlimit(Resource::Nofile).current
        && most < connections as u64 + OTHER_FILES
    {
        tracing::warn!(most, connections, "the limit of open files is too low for so many connections");
    }
}

async fn listen(settings: &Settings) -> Result<TcpListener> {
    raise_file_limit(settings.connections);
    TcpListener::bind(settings.listen).await.with_context(|| format!("cannot listen on {}", settings.listen))
}
