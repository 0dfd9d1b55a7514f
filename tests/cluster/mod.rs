//! Clusters of several real nodes, and what can happen to them.
//!
//! Each node's internal address is that of a [`proxy`] in this process, so that the network can be cut between any two
//! nodes. [`workload`] keeps clients busy meanwhile and keeps their [`history`]; [`linearizable`] judges it.

mod aftermath;
mod check;
mod clock;
mod faults;
mod history;
mod join;
mod linearizable;
mod old_disk;
mod power;
mod proxy;
mod recover;
mod repair_speed;
mod rounds;
mod workload;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{ROOT_ACCESS_KEY, ROOT_SECRET_KEY, S3, cairn, free_port, is_well};
use proxy::{Network, Proxy};

/// Copies of each chunk where there are nodes enough.
const COPIES: usize = 3;
/// What the gateway cuts bodies into, in bytes.
const CHUNK: usize = 64 << 10;

/// One `cairn storage` process and its directory.
pub struct Node {
    /// From 0 on.
    pub index: usize,
    pub directory: PathBuf,
    proxy: Proxy,
    rpc_port: u16,
    joins: bool,
    arguments: Vec<String>,
    /// Beside those of this process.
    environment: Vec<(String, PathBuf)>,
    child: Option<Child>,
}

/// Nodes and a gateway. All are killed when it is dropped.
pub struct Cluster {
    directory: TempDir,
    pub nodes: Vec<Node>,
    pub network: Network,
    arguments: Vec<String>,
    gateway: Option<Child>,
    s3_port: u16,
}

impl Cluster {
    /// Starts a first node and as many others as make `nodes`, and waits until all have their share of everything.
    pub async fn start(nodes: usize, arguments: &[&str]) -> Self {
        let mut cluster = Self::first(arguments).await;
        for _ in 1..nodes {
            cluster.add_node().await;
        }
        cluster.wait_until_healthy(Duration::from_secs(60)).await;
        // The gateway follows the map within a second; until then it writes as many copies as there were to be before.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        cluster
    }

    /// The same, with a node for each of these directories.
    pub async fn start_in(directories: Vec<PathBuf>, arguments: &[&str]) -> Self {
        let mut cluster = Self::empty(arguments);
        for directory in directories {
            cluster.add_node_in(directory, &[]).await;
            if cluster.nodes.len() == 1 {
                cluster.start_gateway();
                cluster.wait_until_ready(Duration::from_secs(30)).await;
            }
        }
        cluster.wait_until_healthy(Duration::from_secs(60)).await;
        // It was told of the first node only.
        cluster.restart_gateway().await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        cluster
    }

    /// A cluster of one node, with a gateway that is ready.
    pub async fn first(arguments: &[&str]) -> Self {
        let mut cluster = Self::empty(arguments);
        cluster.add_node().await;
        cluster.start_gateway();
        cluster.wait_until_ready(Duration::from_secs(30)).await;
        cluster
    }

    fn empty(arguments: &[&str]) -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            nodes: Vec::new(),
            network: Network::default(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            gateway: None,
            s3_port: free_port(),
        }
    }

    /// Starts one more node; does not wait for it.
    pub async fn add_node(&mut self) {
        self.add_node_with(&[]).await;
    }

    /// The same, with arguments of its own.
    pub async fn add_node_with(&mut self, arguments: &[&str]) {
        let directory = self.directory.path().join(format!("node{}", self.nodes.len()));
        self.add_node_in(directory, arguments).await;
    }

    /// The same, with its disk in this directory.
    pub async fn add_node_in(&mut self, directory: PathBuf, arguments: &[&str]) {
        let index = self.nodes.len();
        let rpc_port = free_port();
        let mut node = Node {
            index,
            directory,
            proxy: Proxy::start(index, rpc_port, self.network.clone()).await,
            rpc_port,
            joins: index > 0,
            arguments: self
                .arguments
                .iter()
                .map(String::as_str)
                .chain(arguments.iter().copied())
                .map(str::to_owned)
                .collect(),
            environment: Vec::new(),
            child: None,
        };
        node.spawn(&self.addresses());
        self.nodes.push(node);
    }

    /// Tells the network which node is which.
    pub fn name_nodes(&self) {
        for node in &self.nodes {
            let file = fs::read(node.directory.join("disk/cairn.json")).expect("an identity");
            let json: Value = serde_json::from_slice(&file).expect("JSON");
            self.network.name(json["node"].as_u64().expect("a node's id"), node.index);
        }
    }

    /// Where the nodes are reached.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.proxy.address()).collect()
    }

    fn start_gateway(&mut self) {
        let log = log(&self.directory.path().join("gateway.log"));
        let child = cairn()
            .arg("gateway")
            .args(["--listen", &format!("127.0.0.1:{}", self.s3_port), "--join", &self.addresses().join(",")])
            .args(["--chunk-size", &CHUNK.to_string()])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.gateway = Some(child.expect("the gateway starts"));
    }

    /// The gateway anew, so that it knows the addresses of all nodes.
    pub async fn restart_gateway(&mut self) {
        if let Some(mut gateway) = self.gateway.take() {
            end(&mut gateway);
        }
        self.start_gateway();
        self.wait_until_ready(Duration::from_secs(30)).await;
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3_port)
    }

    pub fn s3(&self) -> S3 {
        S3::new(self.url(), ROOT_ACCESS_KEY, ROOT_SECRET_KEY)
    }

    pub async fn wait_until_ready(&self, within: Duration) {
        let url = format!("{}/_cairn/health/ready", self.url());
        let deadline = Instant::now() + within;
        while !is_well(&url).await {
            assert!(Instant::now() < deadline, "the gateway is not ready within {within:?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What `cairn status --json` says; `None` where nobody answers.
    pub async fn status(&self) -> Option<Value> {
        let mut command = cairn();
        command.args(["status", "--json", "--endpoint", &self.url()]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// Runs a command of the administrator; its exit code and all that it said.
    pub async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = cairn();
        command.args(arguments).args(["--endpoint", &self.url()]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
    }

    /// Runs a command of the administrator; what it said, where it failed.
    pub async fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = cairn();
        command.args(arguments).args(["--endpoint", &self.url()]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Waits until the status says that every node, disk and group is there, and that no chunk lacks a copy or is where
    /// it should not be.
    pub async fn wait_until_healthy(&self, within: Duration) -> Duration {
        let begun = Instant::now();
        let mut last = Value::Null;
        let mut healthy = 0;
        // Once may be before a walk over the disks has found what is missing.
        while healthy < 2 {
            let expected = self.nodes.len();
            if let Some(status) = self.status().await {
                let voters = expected.min(3);
                let has = |group: &Value| group["voters"].as_array().is_some_and(|all| all.len() >= voters);
                let all_vote = status["groups"].as_array().is_some_and(|groups| groups.iter().all(has));
                let is_healthy = status["health"] == "healthy" && all_vote;
                let there = status["nodes"].as_array().map_or(0, Vec::len);
                healthy = if is_healthy && there >= expected { healthy + 1 } else { 0 };
                last = status;
            }
            assert!(begun.elapsed() < within, "not healthy within {within:?}: {last:#}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        begun.elapsed()
    }

    /// How many disks are up; none where nobody says so.
    pub async fn disks_up(&self) -> usize {
        let status = self.status().await.unwrap_or_default();
        status["disks"].as_array().map_or(0, |disks| disks.iter().filter(|disk| disk["up"] == true).count())
    }

    /// How many chunks each disk says that it has, once all nodes have heard of it.
    pub async fn chunks(&self) -> Vec<u64> {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let status = self.status().await.expect("a status");
        status["disks"].as_array().expect("disks").iter().map(|disk| disk["chunks"].as_u64().unwrap_or(0)).collect()
    }

    pub fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.nodes[node].child.take() {
            end(&mut child);
        }
    }

    /// Starts a node again that was killed; does not wait.
    pub fn restart(&mut self, node: usize) {
        let addresses = self.addresses();
        self.nodes[node].spawn(&addresses);
    }

    /// SIGSTOP: the process is there, and does not move.
    pub fn freeze(&self, node: usize) {
        self.nodes[node].signal(Signal::STOP);
    }

    pub fn thaw(&self, node: usize) {
        self.nodes[node].signal(Signal::CONT);
    }

    /// SIGTERM, and the end of the process.
    pub async fn terminate(&mut self, node: usize) {
        self.nodes[node].signal(Signal::TERM);
        if let Some(mut child) = self.nodes[node].child.take() {
            tokio::task::spawn_blocking(move || child.wait()).await.expect("the wait is done").expect("it ended");
        }
    }

    /// The next start is at another port.
    pub async fn move_node(&mut self, node: usize) {
        let rpc_port = free_port();
        self.nodes[node].proxy = Proxy::start(node, rpc_port, self.network.clone()).await;
        self.nodes[node].rpc_port = rpc_port;
    }

    /// The last lines of all logs.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        let mut names: Vec<PathBuf> = self.nodes.iter().map(Node::log_path).collect();
        names.push(self.directory.path().join("gateway.log"));
        for path in names {
            let bytes = fs::read(&path).unwrap_or_default();
            let tail = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4000)..]).into_owned();
            all += &format!("---- {}\n{tail}\n", path.display());
        }
        all
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        self.nodes.clear();
        if let Some(gateway) = &mut self.gateway {
            end(gateway);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
    }
}

impl Node {
    fn spawn(&mut self, addresses: &[String]) {
        assert!(self.child.is_none(), "the node runs already");
        let own = self.proxy.address();
        let others: Vec<&str> = addresses.iter().filter(|address| **address != own).map(String::as_str).collect();
        let mut command = cairn();
        command
            .arg("storage")
            .arg(self.directory.join("disk"))
            .args(["--rpc", &format!("127.0.0.1:{}", self.rpc_port), "--advertise", &own])
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(log(&self.log_path()));
        if self.joins || !others.is_empty() {
            command.args(["--join", &others.join(",")]);
        }
        self.child = Some(command.spawn().expect("the node starts"));
    }

    fn log_path(&self) -> PathBuf {
        self.directory.with_extension("log")
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), signal).expect("it can be told");
        }
    }
}

fn log(path: &Path) -> File {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("a directory");
    }
    File::options().create(true).append(true).open(path).expect("a log file")
}

fn end(child: &mut Child) {
    // One that was stopped does not end otherwise.
    let _ = kill_process(Pid::from_child(child), Signal::CONT);
    let _ = child.kill();
    let _ = child.wait();
}
