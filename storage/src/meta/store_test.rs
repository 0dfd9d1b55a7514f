use super::super::check::check;
use super::super::command::{Command, NewBody};
use super::super::overlay::Read;
use super::super::query::Wanted;
use super::super::record::Setting;
use super::super::testing::{BUCKET, Rig, create_bucket, dump, fresh_store, open_db, put};
use super::*;
use crate::types::{BucketId, ROOT_GROUP};

#[test]
fn a_store_opens_where_it_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = GroupStore::open(open_db(dir.path()), GroupId(1)).unwrap();
    assert_eq!(store.applied(), None);
    let mut rig = Rig::over(store);
    rig.run(create_bucket(BUCKET)).unwrap();
    rig.put_bytes("k", b"bytes");
    rig.put_chunks("large", &[5, 6]);
    let (before, marker, log) = (dump(&rig.store), rig.store.applied(), rig.log.clone());
    drop(rig);

    let store = GroupStore::open(open_db(dir.path()), GroupId(1)).unwrap();
    assert_eq!(store.applied(), marker);
    assert_eq!(dump(&store), before);

    // Raft applies again what comes after the marker: state in memory and on the disk go on as one.
    let mut rig = Rig::over(store);
    rig.log = log.clone();
    rig.put("more", NewBody::Empty, 0).unwrap();
    let whole = fresh_store();
    whole.apply(&rig.log, &4u64.to_be_bytes()).unwrap();
    assert_eq!(dump(&whole), dump(&rig.store));
    check(&rig.store);
}

#[test]
fn a_log_that_lost_its_unsynced_end_is_applied_again_from_the_marker() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let mut rig = Rig::over(GroupStore::open(open_db(&home), GroupId(1)).unwrap());
    rig.run(create_bucket(BUCKET)).unwrap();
    for place in 0..30 {
        rig.put_chunks("k", &[1 + place; 3]);
        rig.put_bytes(&format!("small-{place}"), b"bytes");
        let upload = rig.create_upload("parts");
        let part = rig.put_part("parts", upload, 1, &[5]);
        rig.complete("parts", upload, vec![part], 5).unwrap();
        rig.run(Command::CollectGarbage { limit: 2, grace_ms: 0 }).unwrap();
    }
    let whole = dump(&rig.store);

    for cut in 0..12 {
        // What a power cut may leave: all files as they are, but the write-ahead log only up to somewhere.
        let copy = dir.path().join(format!("copy-{cut}"));
        std::fs::create_dir(&copy).unwrap();
        for file in std::fs::read_dir(&home).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        let log = std::fs::read_dir(&copy).unwrap().map(|file| file.unwrap().path());
        let log = log.filter(|path| path.extension().is_some_and(|ext| ext == "log")).max().unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(log).unwrap();
        file.set_len(file.metadata().unwrap().len() * (12 - cut) / 12).unwrap();

        let store = GroupStore::open(open_db(&copy), GroupId(1)).unwrap();
        check(&store);
        let applied = store.applied().map_or(0, |marker| u64::from_be_bytes(marker.try_into().unwrap()));
        assert!(applied <= rig.log.len() as u64);
        assert!(cut == 0 || applied < rig.log.len() as u64);
        let rest = &rig.log[usize::try_from(applied).unwrap()..];
        store.apply(rest, &(rig.log.len() as u64).to_be_bytes()).unwrap();
        assert_eq!(dump(&store), whole);
    }
}

#[test]
fn a_marker_alone_changes_nothing_else() {
    let mut rig = Rig::with_bucket();
    rig.put_bytes("k", b"bytes");
    let before = dump(&rig.store);
    assert!(rig.store.apply::<Batch>(&[], b"membership").unwrap().is_empty());
    assert_eq!(rig.store.applied().as_deref(), Some(&b"membership"[..]));
    let mut after = dump(&rig.store);
    after.retain(|key, value| before.get(key) != Some(value));
    assert_eq!(after.len(), 1);
}

#[test]
fn the_state_of_a_newer_release_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let db = open_db(dir.path());
    let key = schema::pointer(GroupId(1));
    let newer = stored::encode(&Pointer { schema: SCHEMA + 1, generation: 1 }).unwrap();
    db.put_cf(&handle(&db, key.cf).unwrap(), &key.bytes, &newer).unwrap();
    let refused = GroupStore::open(db.clone(), GroupId(1));
    assert!(matches!(refused, Err(MetaError::NewerSchema { found: 2, known: 1 })));
    assert_eq!(db.get_cf(&handle(&db, key.cf).unwrap(), &key.bytes).unwrap(), Some(newer));
    assert!(GroupStore::open(db, GroupId(2)).is_ok());
}

#[test]
fn a_database_without_the_column_families_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    let db = Arc::new(DB::open(&options, dir.path()).unwrap());
    assert!(matches!(GroupStore::open(db, ROOT_GROUP), Err(MetaError::MissingColumnFamily(_))));
}

#[test]
fn corrupt_values_are_errors_and_an_apply_that_meets_one_writes_nothing() {
    let mut rig = Rig::with_bucket();
    rig.put_chunks("k", &[5]);
    rig.put_bytes("other", b"other");
    let keys = rig.store.view().keys;
    let before = dump(&rig.store);
    let db = rig.store.db.clone();
    for key in [keys.current(BUCKET, b"k"), keys.bucket(BUCKET)] {
        let cf = handle(&db, key.cf).unwrap();
        let right = rig.store.view().get(&key).unwrap().unwrap();
        for wrong in [&b""[..], b"\x01", b"\xff\xff\xff", &right[..right.len() / 2], &[9; 100]] {
            db.put_cf(&cf, &key.bytes, wrong).unwrap();
            let good = put("new", NewBody::Empty, 0);
            let bad = put("k", NewBody::Empty, 0);
            let envelopes = [good, bad].map(|command| rig.envelope(command)).to_vec();
            let batch = Batch { stamped_ms: rig.now, envelopes };
            assert!(matches!(rig.store.apply(&[(9, batch)], b"m"), Err(MetaError::Corrupt { .. })));
            let query = Query::List {
                bucket: BUCKET,
                prefix: String::new(),
                delimiter: None,
                from: super::super::query::ListFrom::Start,
                limit: 10,
            };
            assert!(matches!(rig.store.query(&query), Err(MetaError::Corrupt { .. })));
        }
        db.put_cf(&cf, &key.bytes, right).unwrap();
    }
    assert_eq!(dump(&rig.store), before);
    rig.put_bytes("k", b"again");
    check(&rig.store);
}

#[test]
fn synthetic_load_applies_without_a_refusal() {
    let store = fresh_store();
    let mut load = super::super::synthetic::Load::new(BUCKET, 7);
    store.apply(&[(1, load.first())], b"1").unwrap();
    for index in 2..20 {
        let results = store.apply(&[(index, load.batch(32, 4096))], b"m").unwrap();
        assert!(results[0].iter().all(Result::is_ok));
    }
    check(&store);
}

#[test]
fn six_thousand_puts_of_four_kibibytes_apply_in_seconds() {
    let store = fresh_store();
    let mut load = super::super::synthetic::Load::new(BUCKET, 7);
    store.apply(&[(1, load.first())], b"1").unwrap();
    let entries: Vec<_> = (2..202).map(|index| (index, load.batch(32, 4096))).collect();
    let started = std::time::Instant::now();
    for entry in &entries {
        store.apply(std::slice::from_ref(entry), b"m").unwrap();
    }
    let took = started.elapsed();
    eprintln!("6,400 puts of 4 KiB in {took:?}");
    assert!(took.as_secs() < 30, "{took:?}");
}

#[test]
fn an_answer_from_memory_is_the_right_one_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let group = GroupId(3);
    let mut rig = Rig::over(GroupStore::open(open_db(dir.path()), group).unwrap());
    rig.run(create_bucket(BUCKET)).unwrap();
    rig.put_chunks("chunks", &[5; 900]);
    rig.put_bytes("inline", b"bytes");
    rig.set(Setting::Policy, Some(b"policy")).unwrap();
    rig.run(create_bucket(BucketId(8))).unwrap();
    let upload = rig.create_upload("parts");
    let parts = vec![rig.put_part("parts", upload, 1, &[7; 300]), rig.put_part("parts", upload, 2, &[7; 300])];
    rig.complete("parts", upload, parts, 4200).unwrap();
    let object = |key: &str, wanted| Query::Object { bucket: BUCKET, key: key.to_owned(), wanted, limit: 10_000 };
    let queries = [
        object("chunks", Wanted::All),
        object("chunks", Wanted::From(4000)),
        object("inline", Wanted::All),
        object("parts", Wanted::All),
        object("parts", Wanted::Part(2)),
        object("missing", Wanted::All),
        Query::Bucket { bucket: BUCKET },
        Query::BucketSettings { bucket: BUCKET },
        Query::BucketSettings { bucket: BucketId(8) },
        Query::Statistics,
        Query::Clock,
    ];
    let answers: Vec<_> = queries.iter().map(|query| rig.ask(query.clone())).collect();
    for (query, answer) in queries.iter().zip(&answers) {
        assert_eq!(rig.store.query_in_memory(query).unwrap().as_ref(), Some(answer), "what was just written");
    }
    for cf in Cf::ALL {
        rig.store.db.flush_cf(&handle(&rig.store.db, cf).unwrap()).unwrap();
    }
    drop(rig);

    let store = GroupStore::open(open_db(dir.path()), group).unwrap();
    assert_eq!(store.query_in_memory(&queries[0]).unwrap(), None, "nothing was read yet");
    for (query, answer) in queries.iter().zip(&answers) {
        let found = store.query_in_memory(query).unwrap();
        assert!(found.is_none() || found.as_ref() == Some(answer), "{query:?}");
        assert_eq!(store.query(query).unwrap(), *answer);
        assert_eq!(store.query_in_memory(query).unwrap().as_ref(), Some(answer), "{query:?}");
    }
    let list = Query::Referenced { hashes: vec![[0; 32]] };
    assert_eq!(store.query_in_memory(&list).unwrap(), None, "it may read much");
}
