//! What clients did and saw, with times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What was asked of a key. Values are unique in a history; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Read,
    Write(u64),
    /// Only where there is nothing.
    Create(u64),
    /// Only where the first is there.
    Replace(u64, u64),
    Delete,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A read saw this, or the change was made.
    Saw(u64),
    /// A list had the key.
    SawSome,
    Done,
    /// The condition did not hold.
    Refused,
    /// It may take effect at any time from its call on, or never.
    Unknown,
}

/// One request. Times are since the beginning of the history.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    pub action: Action,
    pub outcome: Outcome,
    pub called: Duration,
    pub returned: Duration,
}

/// The events of each key; cheap to clone.
#[derive(Clone)]
pub struct History {
    began: Instant,
    keys: Arc<Vec<Mutex<Vec<Event>>>>,
}

impl History {
    pub fn new(keys: usize) -> Self {
        Self { began: Instant::now(), keys: Arc::new((0..keys).map(|_| Mutex::default()).collect()) }
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn note(&self, key: usize, event: Event) {
        self.keys[key].lock().push(event);
    }

    /// The events of each key so far.
    pub fn keys(&self) -> Vec<Vec<Event>> {
        self.keys.iter().map(|events| events.lock().clone()).collect()
    }
}
