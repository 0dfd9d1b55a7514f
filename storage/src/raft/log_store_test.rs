//! openraft's own suite of storage tests, and what it does not know of: restarts, evictions, damage.

use std::collections::BTreeMap;
use std::path::Path;

use openraft::StorageError;
use openraft::storage::RaftLogStorageExt;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::vote::RaftLeaderId;

use super::super::codec;
use super::super::codec::join_batch;
use super::super::consensus::{LeaderId, Proposal};
use super::super::state_machine::StateMachine;
use super::super::testing::{disk, envelope, toys, try_open};
use super::*;
use crate::meta::Batch;

impl From<u64> for ReplicaId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

struct Builder;

impl StoreBuilder<Consensus, Log, StateMachine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, Log, StateMachine), StorageError<Consensus>> {
        let dir = tempfile::tempdir().unwrap();
        let db = try_open(disk(1), dir.path()).unwrap();
        let store = toys().open(db.database().clone(), GroupId(1)).unwrap();
        let log = Log::open(db.clone(), GroupId(1), ReplicaId(0), &Settings::default()).unwrap();
        Ok((dir, log, StateMachine::open(db, store).unwrap()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_own_suite_passes() {
    Suite::<Consensus, Log, StateMachine, Builder, tempfile::TempDir>::test_all(Builder).await.unwrap();
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, ReplicaId(1)), index)
}

/// An entry of about `len` bytes.
fn entry(term: u64, index: u64, len: usize) -> Entry {
    let envelope = envelope(index, len);
    let part = codec::encode_envelope(&envelope).unwrap();
    let proposal = Proposal::new(Batch { stamped_ms: 1, envelopes: vec![envelope] }, join_batch(1, &[part]).unwrap());
    Entry { log_id: id(term, index), payload: Payload::Normal(proposal) }
}

fn reopen(path: &Path, cache: u64) -> (Arc<DiskDb>, io::Result<Log>) {
    let db = try_open(disk(1), path).unwrap();
    let settings = Settings { log_cache_bytes: cache, append_bytes: 4096, ..Settings::default() };
    (db.clone(), Log::open(db, GroupId(1), ReplicaId(1), &settings))
}

async fn indexes(log: &mut Log, range: Range<u64>) -> Vec<u64> {
    let entries = log.try_get_log_entries(range).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index()).collect()
}

#[tokio::test]
async fn what_left_the_cache_is_read_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (_db, log) = reopen(dir.path(), 10_000);
    let mut log = log.unwrap();
    for index in 0..100 {
        log.blocking_append([entry(1, index, 1000)]).await.unwrap();
    }
    assert!(log.shared.state.lock().cache.first() > 80);
    assert_eq!(indexes(&mut log, 0..200).await, (0..100).collect::<Vec<_>>());
    assert_eq!(indexes(&mut log, 50..99).await, (50..99).collect::<Vec<_>>());
    let some = log.limited_get_log_entries(10, 100).await.unwrap();
    assert!((2..10).contains(&some.len()) && some[0].log_id == id(1, 10), "{}", some.len());
    assert_eq!(log.limited_get_log_entries(99, 100).await.unwrap().len(), 1);
    let streamed: Vec<_> = log.entries_stream(3..100).await.collect().await;
    assert_eq!(streamed.len(), 97);
    assert_eq!(streamed.last().unwrap().as_ref().unwrap().log_id, id(1, 99));
}

#[tokio::test]
async fn a_log_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let vote = Vote { leader_id: LeaderId::new(3, ReplicaId(1)), committed: true };
    {
        let (db, log) = reopen(dir.path(), 1 << 20);
        let mut log = log.unwrap();
        assert!(log.is_empty());
        log.blocking_append((0..20).map(|index| entry(1, index, 0))).await.unwrap();
        log.truncate_after(Some(id(1, 14))).await.unwrap();
        log.blocking_append((15..18).map(|index| entry(2, index, 0))).await.unwrap();
        log.save_committed(Some(id(2, 16))).await.unwrap();
        log.purge(id(1, 4)).await.unwrap();
        log.save_vote(&vote).await.unwrap();
        assert!(log.standing().elected_vote(ReplicaId(1)).is_some());
        db.close();
    }
    let (_db, log) = reopen(dir.path(), 1 << 20);
    let mut log = log.unwrap();
    assert_eq!(log.vote(), Some(vote));
    assert!(log.standing().elected_vote(ReplicaId(1)).is_none(), "it was elected in an earlier run");
    assert_eq!(log.read_committed().await.unwrap(), Some(id(2, 16)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(1, 4)), Some(id(2, 17))));
    let entries = log.try_get_log_entries(..).await.unwrap();
    let expected: Vec<_> = (5..15).map(|i| entry(1, i, 0)).chain((15..18).map(|i| entry(2, i, 0))).collect();
    assert_eq!(
        entries.iter().map(|entry| entry.log_id).collect::<Vec<_>>(),
        expected.iter().map(|entry| entry.log_id).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_snapshot_ahead_of_the_log_leaves_an_empty_log_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_db, log) = reopen(dir.path(), 1 << 20);
        let mut log = log.unwrap();
        log.blocking_append((0..5).map(|index| entry(3, index, 0))).await.unwrap();
        log.purge(id(2, 40)).await.unwrap();
        log.blocking_append([entry(4, 41, 0)]).await.unwrap();
    }
    let (_db, log) = reopen(dir.path(), 1 << 20);
    let mut log = log.unwrap();
    assert_eq!(indexes(&mut log, 0..100).await, [41]);
    assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, Some(id(2, 40)));
}

#[tokio::test]
async fn a_log_shorter_than_promised_or_with_a_hole_is_refused() {
    for lost in [9, 4] {
        let dir = tempfile::tempdir().unwrap();
        {
            let (db, log) = reopen(dir.path(), 1 << 20);
            log.unwrap().blocking_append((0..10).map(|index| entry(1, index, 0))).await.unwrap();
            let family = db.log_family().unwrap();
            db.database().delete_cf(&family, keys::entry(GroupId(1), ReplicaId(1), lost)).unwrap();
        }
        let (_db, log) = reopen(dir.path(), 1 << 20);
        let error = log.err().expect("a refusal");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    }
}

#[tokio::test]
async fn replicas_of_one_disk_do_not_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let db = try_open(disk(1), dir.path()).unwrap();
    let mut logs = BTreeMap::new();
    for (group, replica) in [(1, 1), (1, 2), (2, 1)] {
        let log = Log::open(db.clone(), GroupId(group), ReplicaId(replica), &Settings::default()).unwrap();
        logs.insert((group, replica), log);
    }
    let (first, others) = (logs.get_mut(&(1, 1)).unwrap().clone(), logs);
    first.clone().blocking_append((0..10).map(|index| entry(1, index, 0))).await.unwrap();
    first.clone().truncate_after(None).await.unwrap();
    for ((group, replica), mut log) in others {
        log.blocking_append([entry(1, 0, 0)]).await.unwrap();
        drop(log);
        let mut log = Log::open(db.clone(), GroupId(group), ReplicaId(replica), &Settings::default()).unwrap();
        assert_eq!(indexes(&mut log, 0..9).await, [0]);
    }
}
