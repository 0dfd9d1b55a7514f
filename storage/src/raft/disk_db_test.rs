//! Formats, promises and failures of a disk's metadata.

use super::super::testing::{disk, try_open};
use super::super::writer::Change;
use super::*;
use crate::types::{GroupId, ReplicaId};

fn vote(number: u8) -> Change {
    Change::PutState { key: keys::state(GroupId(1), ReplicaId(1), keys::VOTE), value: vec![number] }
}

#[tokio::test]
async fn a_synced_write_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    {
        let db = try_open(disk(1), dir.path()).unwrap();
        db.writer().write(vec![vote(7)], true).await.unwrap();
        db.close();
        assert!(db.writer().write(vec![vote(8)], true).await.is_err(), "it is closed");
    }
    let db = try_open(disk(1), dir.path()).unwrap();
    assert_eq!(db.state(&keys::state(GroupId(1), ReplicaId(1), keys::VOTE)).unwrap(), Some(vec![7]));
}

#[test]
fn an_unknown_format_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("format"), b"cairn metadata 2\n").unwrap();
    assert!(matches!(try_open(disk(1), dir.path()), Err(OpenError::Format(_))));
    assert!(!dir.path().join("db").exists());
    std::fs::remove_file(dir.path().join("format")).unwrap();
    std::fs::create_dir(dir.path().join("db")).unwrap();
    assert!(matches!(try_open(disk(1), dir.path()), Err(OpenError::Format(_))));
}

#[tokio::test]
async fn a_database_that_lost_what_it_promised_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    {
        let db = try_open(disk(1), dir.path()).unwrap();
        db.writer().write(vec![vote(1)], true).await.unwrap();
        db.close();
    }
    // The database as it was, under a promise of later.
    let copy = |from: &Path, to: &Path| {
        let status = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
        assert!(status.success());
    };
    copy(&dir.path().join("db"), old.path());
    {
        let db = try_open(disk(1), dir.path()).unwrap();
        for number in 0..10 {
            db.writer().write(vec![vote(number)], true).await.unwrap();
        }
        db.close();
    }
    assert!(try_open(disk(1), dir.path()).is_ok());
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    copy(&old.path().join("db"), dir.path());
    assert!(matches!(try_open(disk(1), dir.path()), Err(OpenError::LostWrites { .. })));
}

#[tokio::test]
async fn a_failed_write_is_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let db = try_open(disk(1), dir.path()).unwrap();
    db.writer().write(vec![vote(1)], true).await.unwrap();
    db.writer().break_next();
    assert!(db.writer().write(vec![vote(2)], true).await.is_err());
    assert!(db.writer().write(vec![vote(3)], false).await.is_err());
    assert!(db.failure().borrow().is_some());
    assert_eq!(db.state(&keys::state(GroupId(1), ReplicaId(1), keys::VOTE)).unwrap(), Some(vec![1]));
}

#[tokio::test]
async fn writes_that_wait_together_share_an_fsync() {
    let dir = tempfile::tempdir().unwrap();
    let db = try_open(disk(1), dir.path()).unwrap();
    let before = db.statistics().syncs.load(Ordering::Relaxed);
    let writes: Vec<_> = (0..200).map(|number| db.writer().write(vec![vote(number)], true)).collect();
    for result in futures::future::join_all(writes).await {
        result.unwrap();
    }
    let syncs = db.statistics().syncs.load(Ordering::Relaxed) - before;
    assert!(syncs < 50, "{syncs}");
}
