//! The grace time against the real state machine of a group: whoever sets it, in whichever order, no commit is accepted
//! of a chunk that a disk has dropped, and no disk drops what was committed.

use std::sync::Arc;

use proptest::prelude::*;
use rocksdb::{Cache, DB, Options};

use super::*;
use crate::meta::command::{NewBody, WriteCondition};
use crate::meta::record::{Attributes, BucketRecord, ChunkEntry, ETag};
use crate::meta::{Answer, Batch, Command, Envelope, GroupStore, Outcome, Query, Rejection, column_families};
use crate::types::{BucketId, GroupId, ManifestId, OperationId, UserId};

const BUCKET: BucketId = BucketId(7);
const HASH: [u8; 32] = [9; 32];
const GRACES: [u64; 4] = [60_000, 300_000, 3_600_000, 24 * 3_600_000];

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    SetGrace(usize),
    /// The gateway puts or touches the chunk.
    Touch,
    /// The walk of the disk asks the group and judges.
    Look,
    /// And does what it found.
    Act,
    /// The gateway commits an object of the chunk.
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    let pass = prop_oneof![0..2_000u64, 10_000..200_000u64, 200_000..4_000_000u64];
    prop_oneof![
        4 => pass.prop_map(Step::Pass),
        2 => (0..GRACES.len()).prop_map(Step::SetGrace),
        2 => Just(Step::Touch),
        4 => Just(Step::Look),
        4 => Just(Step::Act),
        2 => Just(Step::Commit),
    ]
}

struct Model {
    store: GroupStore,
    index: u64,
    now: UnixMillis,
    /// What the disk has of the chunk.
    info: Option<ChunkInfo>,
    touched_ms: UnixMillis,
    found: Option<(Verdict, u64)>,
    committed: bool,
}

impl Model {
    fn apply(&mut self, command: Command) -> Result<Outcome, Rejection> {
        self.index += 1;
        let operation = OperationId { issued_ms: self.now, random: self.index };
        let batch =
            Batch { stamped_ms: self.now, envelopes: vec![Envelope { operation, command, judged: Vec::new() }] };
        let results = self.store.apply(&[(self.index, batch)], b"marker").unwrap();
        results[0][0].clone()
    }

    fn commit(&mut self) -> Result<Outcome, Rejection> {
        let body = NewBody::Chunks {
            id: ManifestId(u128::from(self.index).to_be_bytes()),
            chunks: vec![ChunkEntry { hash: HASH, len: 5 }],
            disks: vec![DiskId([1; 16])],
            acknowledged: vec![1],
            homes: vec![1],
            oldest_touch_age_ms: self.now - self.touched_ms,
        };
        self.apply(Command::PutObject {
            bucket: BUCKET,
            key: "k".to_owned(),
            condition: WriteCondition::Always,
            owner: UserId([9; 16]),
            size: 5,
            etag: ETag { md5: [0; 16], parts: None },
            checksum: None,
            attributes: Attributes::default(),
            body,
        })
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Pass(ms) => self.now += ms,
            Step::SetGrace(pick) => drop(self.apply(Command::SetGrace { grace_ms: GRACES[pick] }).unwrap()),
            Step::Touch => {
                self.touched_ms = self.now;
                self.info = Some(ChunkInfo { len: 5, stored_ms: self.now, touched_ms: self.now, condemned_ms: None });
            }
            Step::Look => {
                let asked = self.store.query(&Query::Collectable { hashes: vec![HASH] }).unwrap();
                let Answer::Collectable { referenced, grace_ms } = asked else { panic!("{asked:?}") };
                self.found = self.info.as_ref().map(|info| (judge(info, referenced[0], self.now, grace_ms), grace_ms));
            }
            Step::Act => match (self.found.take(), &mut self.info) {
                (Some((Verdict::Condemn, _)), Some(info)) => info.condemned_ms = info.condemned_ms.or(Some(self.now)),
                (Some((Verdict::Touch, _)), Some(info)) => (info.touched_ms, info.condemned_ms) = (self.now, None),
                // As the store judges it once more.
                (Some((Verdict::Drop, grace_ms)), Some(info))
                    if info.condemned_ms.is_some_and(|since| self.now - since >= grace_ms) =>
                {
                    assert!(!self.committed, "a live chunk is dropped");
                    self.info = None;
                }
                _ => {}
            },
            Step::Commit => {
                if self.commit().is_ok() {
                    assert!(self.info.is_some(), "a dropped chunk is committed");
                    self.committed = true;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_the_grace_time_is_set_to_no_live_chunk_is_dropped(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let families = column_families(&Cache::new_lru_cache(1 << 20));
        let db = Arc::new(DB::open_cf_with_opts(&options, dir.path(), families).unwrap());
        let store = GroupStore::open(db, GroupId(1)).unwrap();
        let now = 1_700_000_000_000;
        let mut model =
            Model { store, index: 0, now, info: None, touched_ms: now, found: None, committed: false };
        let bucket = BucketRecord {
            id: BUCKET,
            name: "b".to_owned(),
            owner: UserId([9; 16]),
            region: String::new(),
            created_ms: now,
            sealed: false,
        };
        model.apply(Command::CreateBucket { bucket }).unwrap();
        model.apply(Command::SetGrace { grace_ms: GRACES[0] }).unwrap();
        model.step(Step::Touch);
        for step in steps {
            model.step(step);
        }
    }
}
