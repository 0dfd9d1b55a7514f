//! Drives a group's store on one disk: applies what is committed, in runs, away from the runtime's workers, and hands
//! out and takes in snapshots. What the commands do is the store's business.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use tokio::sync::watch;

use super::codec;
use super::consensus::{Applied, Consensus, LogId, Payload, Proposal, Snapshot, SnapshotMeta, StoredMembership};
use super::disk_db::DiskDb;
use super::store::{SnapshotFrames, StateMachineStore, StoreError};

/// What a snapshot consists of, on the sending and on the receiving side.
pub type SnapshotData = Box<dyn SnapshotFrames>;

/// Bounds of what is applied in one write.
const RUN_ENTRIES: usize = 256;
const RUN_BYTES: usize = 4 << 20;

/// openraft's view of a store.
pub struct StateMachine {
    disk: Arc<DiskDb>,
    store: Arc<dyn StateMachineStore>,
    applied: Option<LogId>,
    membership: StoredMembership,
    /// The index after the last applied entry.
    next: watch::Sender<u64>,
    /// How many snapshots were installed.
    installed: Arc<AtomicU64>,
    broken: Broken,
}

/// Why the state machine takes no more commands, or did not answer a query: not for the disk, but for what it holds.
pub(super) type Broken = Arc<OnceLock<String>>;

impl StateMachine {
    /// Takes up where the store is. Blocks.
    pub(super) fn open(disk: Arc<DiskDb>, store: Arc<dyn StateMachineStore>) -> Result<Self, StoreError> {
        let marker = store.applied()?;
        let (applied, membership) = match marker {
            Some(marker) => codec::decode_marker(&marker).map_err(|error| StoreError::State(error.to_string()))?,
            None => Default::default(),
        };
        let next = watch::Sender::new(applied.map_or(0, |id| id.index() + 1));
        Ok(Self { disk, store, applied, membership, next, installed: Arc::default(), broken: Arc::default() })
    }

    /// Follows the index after the last applied entry.
    pub(super) fn next(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// Follows how many snapshots were installed.
    pub(super) fn installed(&self) -> Arc<AtomicU64> {
        self.installed.clone()
    }

    pub(super) fn broken(&self) -> Broken {
        self.broken.clone()
    }

    /// Runs `work` on the blocking pool. A panic in it is the state's doing.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn StateMachineStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || work(&*store)).await {
            Ok(done) => done,
            Err(error) => Err(StoreError::State(error.to_string())),
        }
    }

    /// What cannot be written cannot be trusted, nor can anything else on this disk.
    fn fail_disk(&self, error: &StoreError) {
        if let StoreError::Disk(why) = error {
            self.disk.fail(&format!("a state machine failed: {why}"));
        }
    }

    async fn apply_run(&mut self, run: &mut Run) -> io::Result<()> {
        let Some(applied) = run.last else { return Ok(()) };
        if let Some(membership) = run.membership.take() {
            self.membership = membership;
        }
        let marker = codec::encode_marker(Some(&applied), &self.membership)?;
        let entries = std::mem::take(&mut run.entries);
        let results = self
            .blocking(move |store| {
                let entries: Vec<_> = entries.iter().map(|(index, proposal)| (*index, &**proposal.batch())).collect();
                store.apply(&entries, &marker)
            })
            .await
            .map_err(|error| {
                self.fail_disk(&error);
                if let StoreError::State(why) = &error {
                    tracing::error!(disk = %self.disk.disk(), %why, "a command breaks the state machine of its group");
                    metrics::counter!("cairn_raft_broken_total").increment(1);
                    let _ = self.broken.set(why.clone());
                }
                io::Error::other(error)
            })?;
        self.applied = Some(applied);
        // Waiting readers first: whoever gets an answer below may ask at once for what it changed.
        self.next.send_replace(applied.index() + 1);
        run.answer(results);
        *run = Run::default();
        Ok(())
    }

    fn view(&self) -> io::Result<Snapshot<SnapshotData>> {
        let frames = self.store.snapshot().map_err(io::Error::other)?;
        let (last_log_id, last_membership) = match frames.marker() {
            Some(marker) => codec::decode_marker(marker)?,
            None => Default::default(),
        };
        Ok(Snapshot { meta: SnapshotMeta { last_log_id, last_membership }, snapshot: frames })
    }
}

/// Entries that are applied in one write.
#[derive(Default)]
struct Run {
    entries: Vec<(u64, Proposal)>,
    bytes: usize,
    last: Option<LogId>,
    membership: Option<StoredMembership>,
    /// In the order of the log; `true` where the entry is one of `entries`.
    responders: Vec<(bool, Option<ApplyResponder<Consensus>>)>,
}

impl Run {
    fn push(&mut self, (entry, responder): EntryResponder<Consensus>) {
        self.last = Some(entry.log_id);
        let mut has_commands = false;
        match entry.payload {
            Payload::Blank => {}
            Payload::Normal(proposal) => {
                has_commands = true;
                self.bytes += proposal.encoded().len();
                self.entries.push((entry.log_id.index(), proposal));
            }
            Payload::Membership(membership) => {
                self.membership = Some(StoredMembership::new(Some(entry.log_id), membership));
            }
        }
        self.responders.push((has_commands, responder));
    }

    fn is_full(&self) -> bool {
        self.responders.len() >= RUN_ENTRIES || self.bytes >= RUN_BYTES
    }

    fn answer(&mut self, results: Vec<Applied>) {
        let mut results = results.into_iter();
        for (has_commands, responder) in self.responders.drain(..) {
            let result = if has_commands { results.next().unwrap_or_default() } else { Applied::new() };
            if let Some(responder) = responder {
                responder.send(result);
            }
        }
    }
}

impl RaftStateMachine<Consensus> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Marker;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Consensus>, io::Error>> + Unpin + OptionalSend,
    {
        let mut run = Run::default();
        while let Some(entry) = entries.next().await {
            run.push(entry?);
            if run.is_full() {
                self.apply_run(&mut run).await?;
            }
        }
        self.apply_run(&mut run).await
    }

    async fn get_snapshot_builder(&mut self) -> Marker {
        Marker(SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() })
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, mut snapshot: SnapshotData) -> Result<(), io::Error> {
        let marker = codec::encode_marker(meta.last_log_id.as_ref(), &meta.last_membership)?;
        self.blocking(move |store| store.install(&mut *snapshot, &marker)).await.map_err(|error| {
            self.fail_disk(&error);
            io::Error::other(error)
        })?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.next.send_replace(self.applied.map_or(0, |id| id.index() + 1));
        self.installed.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("cairn_raft_snapshots_installed_total").increment(1);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<SnapshotData>>, io::Error> {
        Ok(Some(self.view()?).filter(|snapshot| snapshot.meta.last_log_id.is_some()))
    }
}

/// A snapshot as openraft takes it before it cuts the log. The state is in the database already, so that there is
/// nothing to build: only what it reaches up to is of interest.
pub struct Marker(SnapshotMeta);

impl RaftSnapshotBuilder<Consensus> for Marker {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot<SnapshotData>, io::Error> {
        Ok(Snapshot { meta: self.0.clone(), snapshot: Box::new(NoFrames) })
    }
}

/// openraft looks at the reach of what it had built, and asks for a view of the state when it has one to send.
struct NoFrames;

impl SnapshotFrames for NoFrames {
    fn next_frame(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::State("a marker has no content".to_owned()))
    }

    fn marker(&self) -> Option<&[u8]> {
        None
    }
}
