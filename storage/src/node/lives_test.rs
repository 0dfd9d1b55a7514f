use std::path::Path;

use tempfile::TempDir;

use super::tests::{eventually, has, make_bucket, put, start};
use super::*;
use crate::cluster::identity::{self, Found};
use crate::types::Life;

fn identity(directory: &Path) -> Identity {
    match identity::read(directory).unwrap() {
        Found::Disk(identity) => *identity,
        other => panic!("{other:?}"),
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_somebody_else_has_opened_stops() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 3).await;
    let path = dir.path().join("disk2");
    let mut elsewhere = identity(&path);
    elsewhere.lives = Life::begin(&elsewhere.lives, 0);
    elsewhere.write(&path).unwrap();
    eventually("the disk is left alone", || async { node.status().disks.len() == 2 }).await;
    let absent = node.status().absent;
    assert!(absent[0].0 == path && absent[0].1.contains("opened once more"), "{absent:?}");
    assert!(node.status().replicas.iter().all(|replica| replica.disk != elsewhere.disk));
    assert_eq!(identity(&path), elsewhere);
    let bucket = make_bucket(&node.client(), "others-go-on").await;
    put(&node.client(), bucket, "key", b"bytes").await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_disks_that_comes_from_an_image_neither_votes_nor_takes_data() {
    let dir = TempDir::new().unwrap();
    let (disk, image) = (dir.path().join("disk2"), dir.path().join("image"));
    let node = start(dir.path(), 3).await;
    let bucket = make_bucket(&node.client(), "things").await;
    node.shutdown().await;
    copy(&disk, &image);
    let node = start(dir.path(), 3).await;
    let chunk = put(&node.client(), bucket, "since", b"since").await;
    let (now, other) = (identity(&disk), [dir.path().join("disk1")]);
    eventually("the others keep in mind that it runs", || async {
        let is_now = |place: &wire::Place| place.disk == now.disk && place.life == now.life();
        Kept::load(&other).is_some_and(|kept| kept.places.iter().any(is_now))
    })
    .await;
    node.shutdown().await;
    std::fs::remove_dir_all(&disk).unwrap();
    copy(&image, &disk);
    for _ in 0..2 {
        let node = start(dir.path(), 3).await;
        let absent = node.status().absent;
        assert!(absent.len() == 1 && absent[0].0 == disk && absent[0].1.contains("older copy"), "{absent:?}");
        let client = node.client();
        assert!(!client.is_up(now.disk) && node.status().replicas.iter().all(|replica| replica.disk != now.disk));
        let refused = client.overview().await.unwrap().refused;
        assert!(refused.len() == 1 && refused[0].why.contains("Empty the directory"), "{refused:?}");
        assert!(has(&client, identity(&dir.path().join("disk1")).disk, chunk, b"since").await);
        node.shutdown().await;
    }
}
