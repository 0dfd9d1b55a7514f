//! What the threads and the calls of one chunk store share: index, segments, room, health, figures.

use std::fs::File;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use parking_lot::{Condvar, Mutex};

use super::Options;
use super::file::Space;
use super::index::{Index, Location};
use super::segments::Segments;
use crate::client::DiskError;

pub struct Shared {
    pub index: Index,
    pub segments: Segments,
    pub options: Options,
    pub room: Room,
    pub metrics: Metrics,
    /// All records before this position are in the index, or will never be.
    pub committed: Mutex<Location>,
    pub bell: Bell,
    failure: OnceLock<String>,
    /// Holds the lock on the directory for as long as anybody uses the store.
    _lock: File,
}

impl Shared {
    pub fn new(index: Index, segments: Segments, options: Options, committed: Location, lock: File) -> Self {
        Self {
            index,
            segments,
            room: Room { capacity: AtomicU64::new(0), free: AtomicU64::new(0), reserve: options.reserve_bytes },
            metrics: Metrics::new(&options.label),
            options,
            committed: Mutex::new(committed),
            bell: Bell::default(),
            failure: OnceLock::new(),
            _lock: lock,
        }
    }

    /// The disk is lost for writes from here on. A failed fsync may have dropped the pages it was asked to write, and
    /// would report success the next time: nothing is tried again.
    pub fn fail(&self, what: &str, error: &dyn std::fmt::Display) {
        if self.failure.set(format!("{what}: {error}")).is_ok() {
            tracing::error!(disk = %self.options.label, what, %error, "the disk failed; it takes no more writes");
            self.metrics.failed.set(1.0);
        }
    }

    pub fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// `Err` once the disk has failed.
    pub fn check(&self) -> Result<(), DiskError> {
        match self.failure.get() {
            Some(why) => Err(DiskError::Unavailable(why.clone())),
            None => Ok(()),
        }
    }

    pub fn now_ms(&self) -> u64 {
        (self.options.clock)()
    }
}

/// The room on the disk: asked of the file system now and then, and counted down in between.
pub struct Room {
    capacity: AtomicU64,
    free: AtomicU64,
    reserve: u64,
}

impl Room {
    /// What the file system says now.
    pub fn set(&self, space: Space) {
        self.capacity.store(space.capacity, Ordering::Relaxed);
        self.free.store(space.free, Ordering::Relaxed);
    }

    /// Takes room for `len` bytes; false where that would touch the reserve.
    pub fn take(&self, len: u64) -> bool {
        let take = |free: u64| free.checked_sub(len).filter(|left| *left >= self.reserve);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// The file system says that it is full, whatever was counted.
    pub fn exhausted(&self) {
        self.free.store(0, Ordering::Relaxed);
    }

    pub fn now(&self) -> Space {
        Space { capacity: self.capacity.load(Ordering::Relaxed), free: self.free.load(Ordering::Relaxed) }
    }
}

/// Wakes the keeper.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

/// What the bell was rung for.
#[derive(Default, Clone, Copy)]
pub struct Rung {
    /// There is room to be given back.
    pub reap: bool,
    pub stop: bool,
}

impl Bell {
    pub fn ring_reap(&self) {
        self.rung.lock().reap = true;
        self.changed.notify_one();
    }

    pub fn ring_stop(&self) {
        self.rung.lock().stop = true;
        self.changed.notify_one();
    }

    /// Returns when it is rung, or after `most`; a stop stays rung.
    pub fn wait(&self, most: Duration) -> Rung {
        let mut rung = self.rung.lock();
        if !rung.reap && !rung.stop {
            self.changed.wait_for(&mut rung, most);
        }
        let seen = *rung;
        rung.reap = false;
        seen
    }
}

/// Handles to the figures of one disk; made once, as the recorder must be there before the store is opened.
pub struct Metrics {
    pub puts: Counter,
    pub put_bytes: Counter,
    pub gets: Counter,
    pub get_bytes: Counter,
    pub corrupt: Counter,
    pub unreadable: Counter,
    pub full: Counter,
    pub fsyncs: Counter,
    pub fsync_batch: Histogram,
    pub fsync_seconds: Histogram,
    pub failed: Gauge,
    pub chunks: Gauge,
    pub bytes: Gauge,
    pub segments: Gauge,
    pub capacity_bytes: Gauge,
    pub free_bytes: Gauge,
}

impl Metrics {
    fn new(label: &str) -> Self {
        let disk = label.to_owned();
        Self {
            puts: counter!("cairn_chunk_puts_total", "disk" => disk.clone()),
            put_bytes: counter!("cairn_chunk_put_bytes_total", "disk" => disk.clone()),
            gets: counter!("cairn_chunk_gets_total", "disk" => disk.clone()),
            get_bytes: counter!("cairn_chunk_get_bytes_total", "disk" => disk.clone()),
            corrupt: counter!("cairn_chunk_corrupt_total", "disk" => disk.clone()),
            unreadable: counter!("cairn_chunk_unreadable_total", "disk" => disk.clone()),
            full: counter!("cairn_chunk_full_total", "disk" => disk.clone()),
            fsyncs: counter!("cairn_chunk_fsyncs_total", "disk" => disk.clone()),
            fsync_batch: histogram!("cairn_chunk_fsync_batch_puts", "disk" => disk.clone()),
            fsync_seconds: histogram!("cairn_chunk_fsync_seconds", "disk" => disk.clone()),
            failed: gauge!("cairn_chunk_disk_failed", "disk" => disk.clone()),
            chunks: gauge!("cairn_chunk_chunks", "disk" => disk.clone()),
            bytes: gauge!("cairn_chunk_bytes", "disk" => disk.clone()),
            segments: gauge!("cairn_chunk_segments", "disk" => disk.clone()),
            capacity_bytes: gauge!("cairn_chunk_disk_capacity_bytes", "disk" => disk.clone()),
            free_bytes: gauge!("cairn_chunk_disk_free_bytes", "disk" => disk),
        }
    }
}
