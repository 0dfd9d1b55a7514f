//! What can be tuned of the consensus of a process.

use std::time::Duration;

/// Times, sizes and bounds of the replicas of a process. The defaults are meant for production.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often a leader is heard of, in milliseconds.
    pub heartbeat_ms: u64,
    /// Lower bound of openraft's election timeout, in milliseconds; see `consensus::config` for what it means.
    pub election_min_ms: u64,
    /// Upper bound of openraft's election timeout, in milliseconds; also the leader's lease.
    pub election_max_ms: u64,
    /// How long a command or a query is tried again before it is given up.
    pub retry_for: Duration,
    /// The most commands of one log entry.
    pub entry_commands: usize,
    /// The most bytes of encoded commands of one log entry, unless a single command has more.
    pub entry_bytes: usize,
    /// Log entries of a group that its leader may have under way at once.
    pub entries_in_flight: usize,
    /// Commands that may wait for a place in an entry; more are answered `Busy`.
    pub queued_commands: usize,
    /// Bytes of encoded commands that may wait; more are answered `Busy`.
    pub queued_bytes: usize,
    /// Queries of a group that may wait for their turn; more are answered `Busy`.
    pub queued_queries: usize,
    /// Recent log entries that a replica keeps in memory, in bytes of their encoding.
    pub log_cache_bytes: u64,
    /// A log of more bytes and of more than `log_entries` entries is cut, to half of both.
    pub log_bytes: u64,
    /// See `log_bytes`. A log of four times `log_bytes` is cut however few entries it has.
    pub log_entries: u64,
    /// Up to so many bytes the log of a leader keeps what a snapshot that it sends will need after it. From half of it on
    /// commands are slowed down, so that those who fell behind can catch up.
    pub log_held_bytes: u64,
    /// The most bytes of entries in one append message, unless a single entry has more.
    pub append_bytes: u64,
    /// How often log sizes are looked at and figures are published.
    pub upkeep_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat_ms: 200,
            election_min_ms: 600,
            election_max_ms: 900,
            retry_for: Duration::from_secs(5),
            entry_commands: 1024,
            entry_bytes: 1 << 20,
            entries_in_flight: 2,
            queued_commands: 8192,
            queued_bytes: 64 << 20,
            queued_queries: 8192,
            log_cache_bytes: 8 << 20,
            log_bytes: 64 << 20,
            log_entries: 4096,
            log_held_bytes: 1 << 30,
            append_bytes: 2 << 20,
            upkeep_every: Duration::from_millis(500),
        }
    }
}
