use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::client::{Client, DiskError, remote};
use crate::meta::command::{NewBody, WriteCondition};
use crate::meta::record::{Attributes, ChunkEntry, DirectoryState, ETag};
use crate::meta::{Answer, Command, Outcome, Query, RootCommand};
use crate::repair::RepairOptions;
use crate::types::{BucketId, ChunkId, ClusterSettings, DiskId, ManifestId, ROOT_GROUP, UserId};

pub(super) const GROUP: GroupId = GroupId(1);

pub(super) fn options(dir: &Path, disks: usize) -> NodeOptions {
    NodeOptions {
        directories: (1..=disks).map(|number| dir.join(format!("disk{number}"))).collect(),
        rpc: "127.0.0.1:0".to_owned(),
        reserve_bytes: 0,
        segment_len: 64 << 20,
        cache_bytes: 32 << 20,
        write_buffer_bytes: 16 << 20,
        settings: ClusterSettings { gc_grace_ms: Some(2_000), ..ClusterSettings::default() },
        repair: RepairOptions { settle_ms: 200, ..RepairOptions::default() },
        ..NodeOptions::default()
    }
}

pub(super) async fn start(dir: &Path, disks: usize) -> Node {
    Node::start(options(dir, disks)).await.unwrap()
}

/// A bucket that is ready for objects.
pub(super) async fn make_bucket(client: &Client, name: &str) -> BucketId {
    let owner = root_user(client).await;
    let reserve = RootCommand::ReserveBucket { name: name.to_owned(), owner, region: "r".to_owned(), group: GROUP };
    let Outcome::Directory(entry) = client.command(ROOT_GROUP, Command::Root(reserve)).await.unwrap().unwrap() else {
        panic!("not a directory entry");
    };
    let bucket = crate::meta::record::BucketRecord {
        id: entry.id,
        name: name.to_owned(),
        owner,
        region: entry.region,
        created_ms: entry.created_ms,
        sealed: false,
    };
    client.command(GROUP, Command::CreateBucket { bucket }).await.unwrap().unwrap();
    let activate = RootCommand::ActivateBucket { name: name.to_owned(), bucket: entry.id };
    client.command(ROOT_GROUP, Command::Root(activate)).await.unwrap().unwrap();
    entry.id
}

async fn root_user(client: &Client) -> UserId {
    match client.query(ROOT_GROUP, Query::Users).await.unwrap() {
        Answer::Users(users) => users.iter().find(|user| user.root).unwrap().id,
        other => panic!("{other:?}"),
    }
}

/// Stores a chunk on every disk that is up and makes it an object.
pub(super) async fn put(client: &Client, bucket: BucketId, key: &str, data: &'static [u8]) -> ChunkId {
    let disks: Vec<DiskId> = client.map().disks.iter().map(|disk| disk.id).collect();
    put_on(client, bucket, key, data, &disks).await
}

/// The same, with these disks as the homes.
async fn put_on(client: &Client, bucket: BucketId, key: &str, data: &'static [u8], disks: &[DiskId]) -> ChunkId {
    let chunk = ChunkId::of(GROUP, data);
    let mut acknowledged = 0;
    for (bit, disk) in disks.iter().enumerate().filter(|(_, disk)| client.is_up(**disk)) {
        client.disk(*disk).unwrap().put(chunk, vec![Bytes::from_static(data)]).await.unwrap();
        acknowledged |= 1 << bit;
    }
    let body = NewBody::Chunks {
        id: ManifestId::random(),
        chunks: vec![ChunkEntry { hash: chunk.hash, len: data.len() as u32 }],
        disks: disks.to_vec(),
        acknowledged: vec![acknowledged],
        homes: vec![(1 << disks.len()) - 1],
        oldest_touch_age_ms: 0,
    };
    let command = Command::PutObject {
        bucket,
        key: key.to_owned(),
        condition: WriteCondition::Always,
        owner: UserId::random(),
        size: data.len() as u64,
        etag: ETag { md5: [0; 16], parts: None },
        checksum: None,
        attributes: Attributes::default(),
        body,
    };
    client.command(GROUP, command).await.unwrap().unwrap();
    chunk
}

pub(super) async fn has(client: &Client, disk: DiskId, chunk: ChunkId, data: &[u8]) -> bool {
    match client.disk(disk).unwrap().get(chunk, 0..data.len() as u32).await {
        Ok(pieces) => pieces.concat() == data,
        Err(DiskError::NotFound | DiskError::Unavailable(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Waits until it holds.
pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(40), "{what}: not within 40 seconds");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_three_disks_forms_and_starts_again_with_what_it_had() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 3).await;
    assert!(node.is_ready());
    assert_eq!((node.map().copies(), node.map().groups.len()), (3, 5));
    assert!(node.map().groups.iter().all(|group| group.replicas.len() == 3));
    let (root, made) = (node.root_credentials().0.cloned(), node.root_credentials().1);
    assert!(made && root.is_some());
    let (client, secret) = (node.client(), node.secret().clone());
    let bucket = make_bucket(&client, "things").await;
    let chunk = put(&client, bucket, "a", b"the bytes of an object").await;
    node.shutdown().await;

    let begun = Instant::now();
    let node = start(dir.path(), 3).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(node.secret(), &secret);
    assert_eq!((node.root_credentials().0, node.root_credentials().1), (root.as_ref(), false));
    let client = node.client();
    for disk in &node.map().disks {
        assert!(has(&client, disk.id, chunk, b"the bytes of an object").await);
    }
    assert_eq!(
        client.query(GROUP, Query::Referenced { hashes: vec![chunk.hash] }).await.unwrap(),
        Answer::Referenced(vec![true])
    );
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_disk_forms_a_cluster_of_one_copy() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 1).await;
    assert!(node.is_ready());
    assert_eq!(node.map().copies(), 1);
    make_bucket(&node.client(), "things").await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_on_the_same_directories_is_refused() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 2).await;
    let refused = Node::start(options(dir.path(), 2)).await.err().unwrap();
    assert!(matches!(refused, StartError::Locked(_)), "{refused}");
    node.shutdown().await;
    start(dir.path(), 2).await.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_lost_while_it_runs_comes_back_and_is_repaired() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 3).await;
    let client = node.client();
    let bucket = make_bucket(&client, "things").await;
    put(&client, bucket, "before", b"before").await;
    let lost = node.status().disks[1].id;
    let (here, away) = (dir.path().join("disk2"), dir.path().join("away"));
    std::fs::create_dir(&away).unwrap();
    std::process::Command::new("mv").arg(&here).arg(&away).status().unwrap();
    eventually("the loss is seen", || async { node.status().absent.len() == 1 }).await;
    assert!(!client.is_up(lost));

    let while_away = put(&client, bucket, "while-away", b"while away").await;
    assert!(!has(&client, lost, while_away, b"while away").await);
    std::process::Command::new("mv").arg(away.join("disk2")).arg(&here).status().unwrap();
    eventually("the disk is back", || async { client.is_up(lost) }).await;
    eventually("the chunk is repaired", || has(&client, lost, while_away, b"while away")).await;
    eventually("the queue is empty", || async {
        client.query(GROUP, Query::Repairs { limit: 10 }).await.unwrap() == Answer::Repairs(Vec::new())
    })
    .await;
    assert_eq!(node.status().replicas.len(), 15);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_missing_at_a_start_is_absent_until_it_comes_back() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 3).await;
    let bucket = make_bucket(&node.client(), "things").await;
    let ids: Vec<DiskId> = node.status().disks.iter().map(|disk| disk.id).collect();
    node.shutdown().await;
    let (here, away) = (dir.path().join("disk1"), dir.path().join("away"));
    std::process::Command::new("mv").arg(&here).arg(&away).status().unwrap();

    let node = start(dir.path(), 3).await;
    assert!(node.is_ready() && !here.exists());
    let client = node.client();
    let chunk = put(&client, bucket, "one", b"one").await;
    assert!(!client.is_up(ids[0]) && client.disk(ids[0]).is_some());
    node.shutdown().await;

    let node = start(dir.path(), 3).await;
    assert_eq!(node.status().absent.len(), 1);
    let client = node.client();
    std::process::Command::new("mv").arg(&away).arg(&here).status().unwrap();
    eventually("the disk is back", || async { client.is_up(ids[0]) }).await;
    eventually("the chunk is repaired", || has(&client, ids[0], chunk, b"one")).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_directory_in_the_place_of_a_disk_is_filled_as_a_new_disk() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 3).await;
    let bucket = make_bucket(&node.client(), "things").await;
    let chunk = put(&node.client(), bucket, "one", b"one").await;
    let lost = node.status().disks[1].id;
    node.shutdown().await;
    let here = dir.path().join("disk2");
    std::fs::remove_dir_all(&here).unwrap();
    std::fs::create_dir(&here).unwrap();

    let node = start(dir.path(), 3).await;
    let (client, new) = (node.client(), node.status().disks[1].id);
    assert_ne!(new, lost);
    eventually("the chunk is there", || has(&client, new, chunk, b"one")).await;
    eventually("the new disk votes", || async {
        let voters = |group: &crate::types::GroupEntry| group.replicas.iter().any(|(_, disk)| *disk == new);
        let map = node.map();
        map.groups.iter().all(|group| voters(group) && group.replicas.len() == 3 && group.leaving.is_empty())
            && map.disk(lost).is_some_and(|entry| entry.state == crate::types::DiskState::Removed)
    })
    .await;
    put(&client, bucket, "two", b"two").await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_refers_to_is_dropped_after_the_grace_time_and_what_is_live_stays() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 2).await;
    let client = node.client();
    let bucket = make_bucket(&client, "things").await;
    let live = put(&client, bucket, "live", b"live").await;
    let deleted = put(&client, bucket, "deleted", b"deleted").await;
    let orphan = ChunkId::of(GROUP, b"orphan");
    let disks: Vec<DiskId> = node.map().disks.iter().map(|disk| disk.id).collect();
    client.disk(disks[0]).unwrap().put(orphan, vec![Bytes::from_static(b"orphan")]).await.unwrap();
    let target = crate::meta::command::DeleteTarget {
        key: "deleted".to_owned(),
        condition: WriteCondition::Always,
        modified_ms: None,
        size: None,
    };
    client.command(GROUP, Command::DeleteObjects { bucket, targets: vec![target] }).await.unwrap().unwrap();
    assert!(has(&client, disks[0], orphan, b"orphan").await);
    eventually("the garbage is gone", || async {
        !has(&client, disks[0], orphan, b"orphan").await
            && !has(&client, disks[0], deleted, b"deleted").await
            && !has(&client, disks[1], deleted, b"deleted").await
    })
    .await;
    assert!(has(&client, disks[0], live, b"live").await && has(&client, disks[1], live, b"live").await);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_missing_without_a_note_is_found_after_a_start() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 3).await;
    let client = node.client();
    let bucket = make_bucket(&client, "things").await;
    let chunk = put(&client, bucket, "a", b"a chunk").await;
    let poor = node.view.inner.local_disks()[2].clone();
    // A walk that comes in between clears the condemnation.
    eventually("the copy is dropped", || async {
        poor.store.condemn(vec![chunk]).await.unwrap();
        // The clock of the test runs in the same milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
        poor.store.drop_condemned(chunk, 1).await.unwrap()
    })
    .await;
    assert!(!has(&client, poor.id(), chunk, b"a chunk").await);
    drop(poor);
    node.shutdown().await;
    let node = start(dir.path(), 3).await;
    let client = node.client();
    let poor = node.view.inner.local_disks()[2].id();
    eventually("the copy is made anew", || has(&client, poor, chunk, b"a chunk")).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_elsewhere_does_all_that_one_in_the_process_does() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 3).await;
    let address = vec!["127.0.0.1:1".to_owned(), node.rpc_address().to_string()];
    let client = remote::connect(&address, node.secret(), Duration::from_secs(10)).await.unwrap();
    assert_eq!(client.map(), node.map());
    let bucket = make_bucket(&client, "things").await;
    let chunk = put(&client, bucket, "a", b"the bytes of an object").await;
    let disk = node.map().disks[0].id;
    assert!(has(&client, disk, chunk, b"the bytes of an object").await);
    assert!(has(&node.client(), disk, chunk, b"the bytes of an object").await);
    let service = client.disk(disk).unwrap();
    assert_eq!(service.get(chunk, 4..9).await.unwrap().concat(), b"bytes");
    let other = ChunkId::of(GROUP, b"not there");
    assert_eq!(service.touch(vec![chunk, other]).await.unwrap(), [true, false]);
    assert!(matches!(service.get(other, 0..9).await, Err(DiskError::NotFound)));
    assert!(matches!(service.get(chunk, 0..9999).await, Err(DiskError::Refused(_))));
    let lie = service.put(other, vec![Bytes::from_static(b"not these bytes")]).await;
    assert!(matches!(lie, Err(DiskError::Refused(_))), "{lie:?}");
    assert!(!has(&node.client(), disk, other, b"not there").await);
    assert!(client.disk(DiskId::random()).is_none());

    let large: Vec<u8> = (0..8 << 20).map(|place: u32| (place >> 3) as u8).collect();
    let id = ChunkId::of(GROUP, &large);
    let large = Bytes::from(large);
    service.put(id, vec![large.slice(..3), large.slice(3..5_000_000), large.slice(5_000_000..)]).await.unwrap();
    assert_eq!(service.get(id, 0..large.len() as u32).await.unwrap().concat(), large);
    node.shutdown().await;
    eventually("the disks count as down", || async { !client.is_up(disk) }).await;
    assert!(matches!(service.get(chunk, 4..9).await, Err(DiskError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_secret_nothing_answers_but_health() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 1).await;
    let address = node.rpc_address().to_string();
    let wrong = Secret::new("this is another secret").unwrap();
    let refused = remote::connect(std::slice::from_ref(&address), &wrong, Duration::from_secs(5)).await;
    assert!(matches!(refused, Err(remote::ConnectError::Refused(_))));
    let http = remote::plain().build().unwrap();
    let disk = node.map().disks[0].id;
    let chunk = ChunkId::of(GROUP, b"x");
    for (method, path) in [
        ("GET", "/v1/map".to_owned()),
        ("POST", "/v1/raft".to_owned()),
        ("POST", "/v1/groups/0/query".to_owned()),
        ("POST", "/v1/groups/0/command".to_owned()),
        ("GET", format!("/v1/disks/{disk}/chunks/{chunk}?start=0&end=1")),
        ("PUT", format!("/v1/disks/{disk}/chunks/{chunk}")),
        ("POST", format!("/v1/disks/{disk}/touch")),
    ] {
        let request = http.request(method.parse().unwrap(), format!("http://{address}{path}")).body("x");
        assert_eq!(request.send().await.unwrap().status(), 401, "{method} {path}");
    }
    let health = http.get(format!("http://{address}/v1/health")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_a_majority_waits_for_the_disks_that_are_missing() {
    let dir = TempDir::new().unwrap();
    start(dir.path(), 3).await.shutdown().await;
    let away = dir.path().join("away");
    std::fs::create_dir(&away).unwrap();
    let (disks, out) = (["disk1", "disk3"], away.clone());
    for disk in disks {
        std::process::Command::new("mv").arg(dir.path().join(disk)).arg(&out).status().unwrap();
    }
    let (starting, root) = (options(dir.path(), 3), dir.path().to_owned());
    let back = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        for disk in disks {
            std::process::Command::new("mv").arg(away.join(disk)).arg(&root).status().unwrap();
        }
    });
    let node = Node::start(starting).await.unwrap();
    back.await.unwrap();
    eventually("all groups have a leader", || async { node.is_ready() }).await;
    make_bucket(&node.client(), "things").await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_disks_one_goes_on_alone_after_a_recovery_with_all_that_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 2).await;
    let client = node.client();
    let bucket = make_bucket(&client, "things").await;
    let chunk = put(&client, bucket, "a", b"a chunk").await;
    node.shutdown().await;
    let paths = options(dir.path(), 2).directories;
    assert!(matches!(Recovering::plan(paths.clone()).await, Err(StartError::Recovery(_))));
    let away = dir.path().join("away");
    std::process::Command::new("mv").arg(&paths[1]).arg(&away).status().unwrap();

    let recovering = Recovering::plan(paths[..1].to_vec()).await.unwrap();
    let plan = recovering.what().clone();
    assert!(plan.alone.iter().all(|alone| alone.voters == 2) && plan.alone.len() == 5, "{plan:?}");
    assert!(plan.left_out.len() == 1 && plan.lost_nodes.is_empty(), "{plan:?}");
    let survivor = plan.alone[0].disk;
    recovering.go().await.unwrap();
    // Cut off before the node was started, it is planned as before.
    let again = Recovering::plan(paths[..1].to_vec()).await.unwrap();
    assert_eq!(again.what().alone, plan.alone);
    again.go().await.unwrap();
    let node = start(dir.path(), 1).await;
    assert!(node.is_ready());
    assert_eq!(node.map().copies(), 1);
    let client = node.client();
    assert!(has(&client, survivor, chunk, b"a chunk").await);
    let more = put_on(&client, bucket, "b", b"another", &[survivor]).await;
    node.shutdown().await;

    std::process::Command::new("mv").arg(&away).arg(&paths[1]).status().unwrap();
    assert!(matches!(Node::start(options(dir.path(), 2)).await, Err(StartError::LeftOut(path)) if path == paths[1]));
    let node = start(dir.path(), 1).await;
    assert!(has(&node.client(), survivor, more, b"another").await);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_disk_of_three_goes_on_with_what_it_has_heard_of() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 3).await;
    let client = node.client();
    let bucket = make_bucket(&client, "things").await;
    let chunk = put(&client, bucket, "a", b"a chunk").await;
    node.shutdown().await;
    let paths = options(dir.path(), 3).directories;
    let two = Recovering::plan(paths[..2].to_vec()).await;
    assert!(matches!(two, Err(StartError::Recovery(_))), "two of three go on by themselves");
    let unknown = Recovering::plan(vec![dir.path().join("none")]).await;
    assert!(matches!(unknown, Err(StartError::Recovery(_))));

    let there = Recovering::plan(paths[..1].to_vec()).await;
    assert!(matches!(there, Err(StartError::Recovery(why)) if why.contains("name it")));
    let move_disks = |from: &str, to: &str| {
        for disk in ["disk2", "disk3"] {
            let (from, to) = (dir.path().join(from).join(disk), dir.path().join(to).join(disk));
            assert!(std::process::Command::new("mv").arg(from).arg(to).status().unwrap().success());
        }
    };
    std::fs::create_dir(dir.path().join("away")).unwrap();
    move_disks("", "away");
    let recovering = Recovering::plan(paths[..1].to_vec()).await.unwrap();
    assert!(recovering.what().alone.iter().all(|alone| alone.voters == 3));
    recovering.close().await;
    // Nothing was changed: the others still make a majority.
    move_disks("away", "");
    start(dir.path(), 3).await.shutdown().await;
    move_disks("", "away");
    Recovering::plan(paths[..1].to_vec()).await.unwrap().go().await.unwrap();
    let node = start(dir.path(), 1).await;
    assert!(node.is_ready() && node.map().copies() == 1);
    let survivor = node.map().groups[0].replicas[0].1;
    assert!(has(&node.client(), survivor, chunk, b"a chunk").await);
    assert!(crate::cluster::recovery::Recovery::load(&paths[..1]).is_none());
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_was_killed_before_its_end_goes_on() {
    let dir = TempDir::new().unwrap();
    start(dir.path(), 3).await.shutdown().await;
    for path in options(dir.path(), 3).directories {
        let file = path.join("cairn.json");
        let text = std::fs::read_to_string(&file).unwrap().replace("\"formed\": true", "\"formed\": false");
        std::fs::write(file, text).unwrap();
    }
    // On one disk not even the metadata was begun.
    std::fs::remove_dir_all(dir.path().join("disk3/meta")).unwrap();
    let node = start(dir.path(), 3).await;
    assert!(node.is_ready());
    make_bucket(&node.client(), "things").await;
    assert_eq!(node.status().replicas.len(), 15);
    node.shutdown().await;
}

async fn directory_entry(client: &Client, name: &str) -> Option<crate::meta::record::DirectoryEntry> {
    match client.query(ROOT_GROUP, Query::Directory { name: name.to_owned() }).await.unwrap() {
        Answer::Directory(entry) => entry,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_and_deletions_of_buckets_that_were_cut_off_are_finished() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path(), 1).await;
    let (client, world): (_, &dyn World) = (node.client(), &*node.view);
    let owner = root_user(&client).await;
    let reserve =
        |name: &str| RootCommand::ReserveBucket { name: name.to_owned(), owner, region: "r".to_owned(), group: GROUP };
    client.command(ROOT_GROUP, Command::Root(reserve("reserved"))).await.unwrap().unwrap();
    repair::buckets::finish_creations(world, 60_000).await.unwrap();
    assert_eq!(directory_entry(&client, "reserved").await.unwrap().state, DirectoryState::Creating);
    repair::buckets::finish_creations(world, 0).await.unwrap();
    let entry = directory_entry(&client, "reserved").await.unwrap();
    assert_eq!(entry.state, DirectoryState::Active);
    assert!(matches!(client.query(GROUP, Query::Bucket { bucket: entry.id }).await, Ok(Answer::Bucket(Some(_)))));

    let sealed = make_bucket(&client, "sealed").await;
    client.command(GROUP, Command::SealBucket { bucket: sealed }).await.unwrap().unwrap();
    repair::buckets::finish_deletions(world).await.unwrap();
    assert_eq!(directory_entry(&client, "sealed").await, None);
    assert!(directory_entry(&client, "reserved").await.is_some());
    node.shutdown().await;
}

/// Not a test: how fast a node takes small objects. `cargo test --release -- --ignored small_puts --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn small_puts_per_second() {
    let dir = TempDir::new_in(std::env::var("CAIRN_BENCH_DIR").unwrap_or_else(|_| "/tmp".to_owned())).unwrap();
    let node = start(dir.path(), 3).await;
    let bucket = make_bucket(&node.client(), "things").await;
    for clients in [1, 8, 32] {
        let begun = Instant::now();
        let until = begun + Duration::from_secs(5);
        let workers = (0..clients).map(|worker| {
            let client = node.client();
            tokio::spawn(async move {
                let mut count = 0u64;
                while Instant::now() < until {
                    let command = Command::PutObject {
                        bucket,
                        key: format!("{worker}/{count}"),
                        condition: WriteCondition::Always,
                        owner: UserId::random(),
                        size: 4096,
                        etag: ETag { md5: [0; 16], parts: None },
                        checksum: None,
                        attributes: Attributes::default(),
                        body: NewBody::Inline { id: ManifestId::random(), bytes: Bytes::from(vec![7; 4096]) },
                    };
                    client.command(GROUP, command).await.unwrap().unwrap();
                    count += 1;
                }
                count
            })
        });
        let total: u64 = join_all(workers).await.into_iter().map(Result::unwrap).sum();
        println!("{clients} clients: {:.0} puts of 4 KiB per second", total as f64 / begun.elapsed().as_secs_f64());
    }
    node.shutdown().await;
}
