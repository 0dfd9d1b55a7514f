//! What readers found missing or rotten, told to the chunks' groups, so that it is repaired. Never in a reader's way:
//! in the background, each chunk once in a while, and no more than a fixed number at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use cairn_storage::client::Client;
use cairn_storage::meta::Command;
use cairn_storage::types::{ChunkId, DiskId, GroupId};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// How many chunks are remembered at a time, told or not. Past that a note is dropped: the next reader makes it again.
const MAX_NOTES: usize = 1_024;

/// How long notes are gathered for one command.
const GATHER: Duration = Duration::from_millis(100);

/// A chunk is not told again for so long.
const REPEAT: Duration = Duration::from_secs(60);

/// Hashes in one command.
const BATCH: usize = 256;

#[derive(Clone)]
pub(super) struct Notes {
    client: Client,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Chunks to be told, each with the disks that are known to have it.
    pending: HashMap<ChunkId, Vec<DiskId>>,
    told: HashMap<ChunkId, Instant>,
    /// Whether a task is telling them.
    running: bool,
}

impl Notes {
    pub(super) fn new(client: Client) -> Self {
        Self { client, state: Arc::default() }
    }

    /// Has the chunk queued for repair. `known` are disks that gave it.
    pub(super) fn bad(&self, chunk: ChunkId, known: Vec<DiskId>) {
        let mut state = self.state.lock();
        state.told.retain(|_, when| when.elapsed() < REPEAT);
        let is_full = state.pending.len() + state.told.len() >= MAX_NOTES;
        if is_full || state.told.contains_key(&chunk) || state.pending.contains_key(&chunk) {
            return;
        }
        state.pending.insert(chunk, known);
        if !std::mem::replace(&mut state.running, true) {
            tokio::spawn(self.clone().tell());
        }
    }

    /// Tells all that is pending, then ends.
    async fn tell(self) {
        loop {
            sleep(GATHER).await;
            let pending = {
                let mut state = self.state.lock();
                let pending = std::mem::take(&mut state.pending);
                state.running = !pending.is_empty();
                state.told.extend(pending.keys().map(|chunk| (*chunk, Instant::now())));
                pending
            };
            if pending.is_empty() {
                return;
            }
            let mut by_group: BTreeMap<(GroupId, Vec<DiskId>), Vec<[u8; 32]>> = BTreeMap::new();
            for (chunk, known) in pending {
                by_group.entry((chunk.group, known)).or_default().push(chunk.hash);
            }
            for ((group, known), hashes) in by_group {
                for hashes in hashes.chunks(BATCH) {
                    let command = Command::QueueRepair { hashes: hashes.to_vec(), known: known.clone() };
                    if !matches!(self.client.command(group, command).await, Ok(Ok(_))) {
                        tracing::warn!(%group, chunks = hashes.len(), "chunks could not be queued for repair");
                        let mut state = self.state.lock();
                        for hash in hashes {
                            state.told.remove(&ChunkId { group, hash: *hash });
                        }
                    }
                }
            }
        }
    }
}
