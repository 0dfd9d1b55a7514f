//! What the operator may set of the data path.

use std::time::Duration;

use cairn_storage::types::{MAX_CHUNK_LEN, MAX_INLINE_LEN};

/// The data path's settings. Lengths are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSettings {
    /// The length of a chunk: 64 KiB to 8 MiB. Bodies that would need too many chunks get longer ones.
    pub chunk_size: usize,
    /// The longest body that goes into the metadata command itself: at most 16 KiB.
    pub inline_max: usize,
    /// The bound of all chunk buffers of uploads together, third copies on their way included.
    pub pool_bytes: usize,
    /// How much of the pool third copies may keep after their chunk went on.
    pub background_bytes: usize,
    /// How many chunks of one body are hashed and sent at once.
    pub chunks_in_flight: usize,
    /// How far a read runs ahead of its client.
    pub read_ahead_bytes: usize,
    /// The bound of all bytes of answers and copies together that were read and are not taken yet.
    pub read_pool_bytes: usize,
    /// After so long without a byte from the client its chunk is cut, if others wait for the pool.
    pub stall: Duration,
    /// After so long without a byte from the client the request fails with `RequestTimeout`.
    pub idle: Duration,
    /// After so long in the queue for the pool a request fails with `SlowDown`.
    pub pool_wait: Duration,
    /// How long one call to a disk may take.
    pub disk_timeout: Duration,
    /// After so long without an answer to a read the next replica is asked too.
    pub hedge_after: Duration,
    /// How long a finished body waits at most for third copies that are about to arrive: each that is missing in the
    /// command costs a repair.
    pub third_copy_wait: Duration,
    /// How long a chunk waits for its third copy where `background_bytes` are used up. Then it is left to repair.
    pub third_copy_patience: Duration,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            chunk_size: MAX_CHUNK_LEN,
            inline_max: MAX_INLINE_LEN,
            pool_bytes: 256 << 20,
            background_bytes: 64 << 20,
            chunks_in_flight: 3,
            read_ahead_bytes: 4 << 20,
            read_pool_bytes: 256 << 20,
            stall: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            pool_wait: Duration::from_secs(60),
            disk_timeout: Duration::from_secs(30),
            hedge_after: Duration::from_secs(1),
            third_copy_wait: Duration::from_millis(20),
            third_copy_patience: Duration::from_secs(2),
        }
    }
}

impl DataSettings {
    /// What is wrong with the settings, for the person who set them.
    pub fn validate(&self) -> Result<(), String> {
        let check = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        check((64 << 10..=MAX_CHUNK_LEN).contains(&self.chunk_size), "chunk_size must be from 64 KiB to 8 MiB")?;
        check(self.inline_max <= MAX_INLINE_LEN, "inline_max must be at most 16 KiB")?;
        check(self.pool_bytes >= MAX_CHUNK_LEN, "pool_bytes must be at least 8 MiB")?;
        check(self.pool_bytes <= 1 << 40, "pool_bytes must be at most 1 TiB")?;
        check(self.background_bytes <= self.pool_bytes, "background_bytes must be at most pool_bytes")?;
        check(self.chunks_in_flight >= 1, "chunks_in_flight must be at least 1")?;
        check(self.read_pool_bytes >= 8 << 20, "read_pool_bytes must be at least 8 MiB")?;
        check(self.read_pool_bytes <= 1 << 40, "read_pool_bytes must be at most 1 TiB")?;
        check(!self.stall.is_zero() && self.stall <= self.idle, "stall must be more than nothing and at most idle")?;
        check(!self.disk_timeout.is_zero(), "disk_timeout must be more than nothing")
    }
}
