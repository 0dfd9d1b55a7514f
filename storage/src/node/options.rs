//! How a node is to be run.

use std::path::PathBuf;

use crate::cluster::{RootCredentials, Secret, StartError};
use crate::types::ClusterSettings;
use crate::{chunk, raft, repair};

/// The settings of a node. The defaults are those of the command.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The data directories, one for each disk, in the order of the command line.
    pub directories: Vec<PathBuf>,
    /// Where the internal HTTP listens, `host:port`; port 0 takes any.
    pub rpc: String,
    /// Where others reach it, if that is not where it listens.
    pub advertise: Option<String>,
    /// Where other nodes of the cluster are, `host:port`. With any, a node whose directories are new joins their cluster,
    /// and never forms one.
    pub join: Vec<String>,
    /// Whether it is announced by mDNS; it is anyway where [`crate::client::mdns::NAME`] is among `join`.
    pub mdns: bool,
    /// How many nodes are started alike, with addresses of each other to join: once so many wait, that of the lowest id
    /// forms the cluster.
    pub bootstrap_expect: Option<usize>,
    /// What a new cluster is formed with. In one that is there, what differs is warned of: the map has it.
    pub settings: ClusterSettings,
    /// The label of the rack; nodes of the same rack fail together.
    pub rack: String,
    /// The cluster secret; without it the directories' own is used, or one is made.
    pub secret: Option<Secret>,
    /// The keys of the root user; without them the directories' own are used, or some are made.
    pub root: Option<RootCredentials>,
    /// How many metadata groups a new cluster has beside the root group, 1 to 64.
    pub metadata_groups: u32,
    /// See [`chunk::Options::segment_len`].
    pub segment_len: u64,
    /// See [`chunk::Options::reserve_bytes`].
    pub reserve_bytes: u64,
    /// What all RocksDBs of the process may keep in memory together, in bytes: blocks and write buffers.
    pub cache_bytes: usize,
    /// What of it write buffers may take before they are written out.
    pub write_buffer_bytes: usize,
    pub raft: raft::Settings,
    pub repair: repair::RepairOptions,
}

impl Default for NodeOptions {
    fn default() -> Self {
        let chunk::Options { segment_len, reserve_bytes, .. } = chunk::Options::default();
        Self {
            directories: Vec::new(),
            rpc: "127.0.0.1:9001".to_owned(),
            advertise: None,
            join: Vec::new(),
            mdns: false,
            bootstrap_expect: None,
            settings: ClusterSettings::default(),
            rack: String::new(),
            secret: None,
            root: None,
            metadata_groups: 4,
            segment_len,
            reserve_bytes,
            cache_bytes: 256 << 20,
            write_buffer_bytes: 128 << 20,
            raft: raft::Settings::default(),
            repair: repair::RepairOptions::default(),
        }
    }
}

impl NodeOptions {
    /// # Errors
    /// [`StartError::NoDirectory`] and [`StartError::Settings`].
    pub fn validate(&self) -> Result<(), StartError> {
        let refuse = |text: &str| Err(StartError::Settings(text.to_owned()));
        if self.directories.is_empty() {
            return Err(StartError::NoDirectory);
        }
        if !(1..=64).contains(&self.metadata_groups) {
            return refuse("there are 1 to 64 metadata groups");
        }
        if self.bootstrap_expect.is_some() && self.join.is_empty() {
            return refuse("a number of nodes to expect needs their addresses to join");
        }
        if self.settings.gc_grace_ms == Some(0) {
            return refuse("the grace time must be above zero");
        }
        if self.segment_len < 16 << 20 {
            return refuse("a segment has at least 16 MiB");
        }
        Ok(())
    }
}
