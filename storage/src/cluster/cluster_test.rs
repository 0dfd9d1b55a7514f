use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::directory::{Claim, Founding, rejoin};
use super::identity::{self, Found, Identity, Sibling};
use super::peers::Kept;
use super::secret::{self, RootCredentials, Secret};
use super::{Directory, StartError};
use crate::types::{ClusterId, ClusterMap, Life};
use crate::wire::Place;

fn paths(dir: &Path, count: usize) -> Vec<PathBuf> {
    (1..=count).map(|number| dir.join(format!("disk{number}"))).collect()
}

fn claim(paths: &[PathBuf], groups: u32) -> Result<Claim, StartError> {
    super::directory::claim(paths, Founding::Cluster { groups })
}

/// Forms the directories and ends the first start.
fn formed(paths: &[PathBuf]) -> Vec<Identity> {
    let claim = claim(paths, 1).unwrap();
    assert!(claim.forming);
    let identities: Vec<_> = claim.present.iter().map(|directory| directory.identity.clone()).collect();
    for Directory { path, identity, .. } in claim.present {
        Identity { formed: true, ..identity }.write(&path).unwrap();
    }
    identities
}

/// Every file below a directory, with its bytes.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

#[test]
fn empty_directories_become_disks_of_one_cluster_with_three_voters_of_each_group() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 4);
    let identities = formed(&paths);
    assert!(identities.iter().all(|identity| identity.cluster == identities[0].cluster));
    assert!(identities.iter().all(|identity| identity.siblings.len() == 4 && identity.node == identities[0].node));
    let voters: Vec<usize> = identities.iter().map(|identity| identity.replicas().count()).collect();
    assert_eq!(voters, [2, 2, 2, 0]);
    let mut ids: Vec<_> = identities[0].founders.iter().map(|founder| founder.replica).collect();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    let mode = std::fs::metadata(paths[0].join("cairn.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = claim(&paths, 1).unwrap();
    assert!(!again.forming && again.absent.is_empty());
    assert!(again.present.iter().all(|directory| directory.identity.life().incarnation == 2));
}

#[test]
fn a_first_start_that_was_cut_off_goes_on() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 3);
    let first: Vec<_> = claim(&paths, 1).unwrap().present.into_iter().map(|directory| directory.identity).collect();
    std::fs::remove_file(paths[1].join("cairn.json")).unwrap();
    assert!(matches!(claim(&paths[..2], 1), Err(StartError::FormationCutOff { expected: 3, given: 2 })));
    let Claim { present, forming, .. } = claim(&paths, 1).unwrap();
    assert!(forming);
    assert_eq!(present.into_iter().map(|directory| directory.identity).collect::<Vec<_>>(), first);
}

#[test]
fn the_lock_of_one_is_the_refusal_of_the_other() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 2);
    let held = claim(&paths, 1).unwrap();
    assert!(matches!(claim(&paths, 1), Err(StartError::Locked(_))));
    drop(held);
    formed(&paths);
    let held = claim(&paths, 1).unwrap();
    assert!(matches!(claim(&paths, 1), Err(StartError::Locked(_))));
    drop(held);
    assert!(claim(&paths, 1).is_ok());
}

#[test]
fn a_directory_of_somebody_else_is_refused_untouched() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 2);
    std::fs::create_dir(&paths[1]).unwrap();
    std::fs::write(paths[1].join("photo.jpg"), b"mine").unwrap();
    let before = content(&paths[1]);
    assert!(matches!(claim(&paths, 1), Err(StartError::Foreign(path)) if path == paths[1]));
    assert_eq!(content(&paths[1]), before);
    assert!(!paths[0].exists());
}

#[test]
fn a_directory_of_a_newer_format_is_refused_untouched() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 1);
    formed(&paths);
    let file = paths[0].join("cairn.json");
    let newer = std::fs::read_to_string(&file).unwrap().replace("\"format\": 2", "\"format\": 3");
    std::fs::write(&file, newer).unwrap();
    let before = content(&paths[0]);
    assert!(matches!(claim(&paths, 1), Err(StartError::NewerFormat { format: 3, known: 2, .. })));
    assert_eq!(content(&paths[0]), before);
}

#[test]
fn directories_of_two_clusters_are_refused_untouched() {
    let (left, right) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (left, right) = (paths(left.path(), 1), paths(right.path(), 1));
    formed(&left);
    formed(&right);
    let both = [left[0].clone(), right[0].clone()];
    let before = (content(&left[0]), content(&right[0]));
    assert!(matches!(claim(&both, 1), Err(StartError::OtherCluster { .. })));
    assert_eq!((content(&left[0]), content(&right[0])), before);
}

#[test]
fn a_copy_of_a_disk_is_refused() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 2);
    formed(&paths);
    std::fs::copy(paths[0].join("cairn.json"), paths[1].join("cairn.json")).unwrap();
    assert!(matches!(claim(&paths, 1), Err(StartError::SameDisk { .. })));
    let twice = [paths[0].clone(), dir.path().join("disk2/../disk1")];
    assert!(matches!(claim(&twice, 1), Err(StartError::GivenTwice(_))));
}

#[test]
fn missing_and_damaged_directories_are_absent_and_stay_as_they_are() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 4);
    formed(&paths);
    std::fs::remove_dir_all(&paths[0]).unwrap();
    std::fs::write(paths[2].join("cairn.json"), b"{\"format\": 1, \"clus").unwrap();
    let Claim { present, absent, forming } = claim(&paths, 1).unwrap();
    assert_eq!((present.len(), absent.len(), forming), (2, 2, false));
    assert!(!paths[0].exists());
}

#[test]
fn an_empty_directory_in_the_place_of_a_disk_becomes_a_new_disk_and_the_old_one_is_left_out() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 3);
    let before = formed(&paths);
    crate::durable::rename(&paths[1], &dir.path().join("aside")).unwrap();
    std::fs::create_dir(&paths[1]).unwrap();
    let Claim { present, absent, .. } = claim(&paths, 1).unwrap();
    assert_eq!((present.len(), absent.len()), (3, 0));
    let new = &present[1].identity;
    assert!(before.iter().all(|identity| identity.disk != new.disk));
    assert_eq!((new.cluster, new.node, new.replicas().count()), (before[0].cluster, before[0].node, 0));
    for directory in &present {
        assert!(!directory.identity.has_sibling(before[1].disk) && directory.identity.has_sibling(new.disk));
    }
    drop(present);
    crate::durable::rename(&paths[1], &dir.path().join("new")).unwrap();
    crate::durable::rename(&dir.path().join("aside"), &paths[1]).unwrap();
    assert!(matches!(claim(&paths, 1), Err(StartError::LeftOut(path)) if path == paths[1]));
}

#[test]
fn where_a_file_system_was_mounted_an_empty_directory_is_absent() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 2);
    for identity in formed(&paths) {
        let path = paths.iter().zip(&identity.siblings).find(|(_, sibling)| sibling.disk == identity.disk).unwrap().0;
        let siblings = identity.siblings.iter().cloned().map(|sibling| Sibling { mounted: true, ..sibling }).collect();
        Identity { formed: true, siblings, ..identity.clone() }.write(path).unwrap();
    }
    std::fs::remove_dir_all(&paths[1]).unwrap();
    std::fs::create_dir(&paths[1]).unwrap();
    let Claim { present, absent, .. } = claim(&paths, 1).unwrap();
    assert_eq!((present.len(), absent.len()), (1, 1));
    assert!(content(&paths[1]).is_empty());
}

#[test]
fn a_further_directory_becomes_a_disk_of_the_node() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 3);
    formed(&paths[..2]);
    let Claim { present, absent, forming } = claim(&paths, 1).unwrap();
    assert_eq!((present.len(), absent.len(), forming), (3, 0, false));
    assert!(present.iter().all(|directory| directory.identity.siblings.len() == 3));
}

#[test]
fn a_disk_of_another_node_of_the_cluster_is_taken_over() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 4);
    let cluster = formed(&paths[..2])[0].cluster;
    let other = super::directory::claim(&paths[2..], Founding::Node(cluster)).unwrap();
    assert!(!other.forming && other.present.iter().all(|directory| directory.identity.founders.is_empty()));
    drop(other);
    let node = claim(&paths[..2], 1).unwrap().present[0].identity.node;
    let Claim { present, .. } = claim(&paths[..3], 1).unwrap();
    assert_eq!(present.len(), 3);
    assert!(present.iter().all(|directory| directory.identity.node == node));
}

#[test]
fn a_node_of_another_cluster_is_no_place_for_new_directories_of_this_one() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 1);
    let cluster = ClusterId::random();
    super::directory::claim(&paths, Founding::Node(cluster)).unwrap();
    assert_eq!(super::survey(&paths).unwrap(), Some(cluster));
}

#[test]
fn a_disk_that_comes_back_is_taken_once_and_only_if_it_is_ours() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 2);
    let ids = formed(&paths);
    let (cluster, node) = (ids[0].cluster, ids[0].node);
    assert!(rejoin(&paths[1], cluster, node, &[ids[1].disk]).is_err());
    assert!(rejoin(&paths[1], crate::types::ClusterId::random(), node, &[]).is_err());
    let back = rejoin(&paths[1], cluster, node, &[ids[0].disk]).unwrap();
    assert_eq!(back.identity.life().incarnation, ids[1].life().incarnation + 1);
    assert!(rejoin(&paths[1], cluster, node, &[ids[0].disk]).is_err());
}

#[test]
fn one_of_several_disks_that_comes_from_an_image_is_absent() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 3);
    formed(&paths);
    drop(claim(&paths, 1).unwrap());
    let image = std::fs::read(paths[1].join("cairn.json")).unwrap();
    let Claim { present, .. } = claim(&paths, 1).unwrap();
    let place = |directory: &Directory| Place {
        disk: directory.identity.disk,
        node: directory.identity.node,
        address: String::new(),
        life: directory.identity.life(),
        synced: 0,
    };
    let kept = Kept { map: ClusterMap::default(), places: present.iter().map(place).collect() };
    kept.save(&paths[0]).unwrap();
    drop(present);
    std::fs::write(paths[1].join("cairn.json"), image).unwrap();
    for _ in 0..2 {
        let Claim { present, absent, .. } = claim(&paths, 1).unwrap();
        assert_eq!((present.len(), absent.len()), (2, 1));
        assert_eq!(absent[0].path, paths[1]);
        assert!(absent[0].reason.contains("older copy"), "{}", absent[0].reason);
    }
}

#[test]
fn a_disk_that_was_found_to_be_an_old_copy_is_not_opened_again() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 2);
    let ids = formed(&paths);
    let marked = Identity { superseded: Some("it is old".to_owned()), formed: true, ..ids[1].clone() };
    marked.write(&paths[1]).unwrap();
    let Claim { present, absent, .. } = claim(&paths, 1).unwrap();
    assert_eq!((present.len(), absent[0].reason.as_str()), (1, "it is old"));
    drop(present);
    assert_eq!(rejoin(&paths[1], ids[1].cluster, ids[1].node, &[]).unwrap_err(), "it is old");
}

#[test]
fn an_identity_of_release_0_1_0_is_read() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 1);
    let id = &formed(&paths)[0];
    let file = paths[0].join("cairn.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let fields = json.as_object_mut().unwrap();
    fields.retain(|name, _| name != "lives" && name != "superseded");
    fields.insert("format".to_owned(), 1.into());
    fields.insert("incarnation".to_owned(), 8.into());
    std::fs::write(&file, serde_json::to_vec(&json).unwrap()).unwrap();
    match identity::inspect(&paths[0]).unwrap() {
        Found::Disk(read) => {
            let lives = vec![Life { incarnation: 8, instance: 0 }];
            assert_eq!(*read, Identity { lives, formed: true, ..id.clone() });
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn secrets_outlive_the_loss_of_the_first_disk_and_are_for_the_owner_only() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 2);
    formed(&paths);
    let secret = secret::cluster_secret(&paths, None).unwrap();
    let (root, made) = secret::root_credentials(&paths, None, true).unwrap();
    assert!(made && root.is_some());
    assert_eq!(secret::root_credentials(&[dir.path().join("none")], None, false).unwrap(), (None, false));
    for name in ["cluster-secret", "root-credentials"] {
        let mode = std::fs::metadata(paths[1].join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let left = &paths[1..];
    assert_eq!(secret::cluster_secret(left, None).unwrap(), secret);
    assert_eq!(secret::root_credentials(left, None, true).unwrap(), (root, false));
    std::fs::remove_file(paths[0].join("cluster-secret")).unwrap();
    assert_eq!(secret::cluster_secret(&paths, None).unwrap(), secret);
    assert!(paths[0].join("cluster-secret").exists());
}

#[test]
fn what_the_operator_gives_goes_first_and_is_not_written_down() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 1);
    formed(&paths);
    let given = Secret::new("  sixteen letters at least \n").unwrap();
    assert_eq!(secret::cluster_secret(&paths, Some(given.clone())).unwrap(), given);
    assert!(!paths[0].join("cluster-secret").exists());
    assert!(matches!(Secret::new("short"), Err(StartError::SecretTooShort)));
    let root = RootCredentials::new("access", "secret");
    assert_eq!(secret::root_credentials(&paths, Some(root.clone()), true).unwrap(), (Some(root.clone()), false));
    assert!(!format!("{root:?} {given:?}").contains("secret\""));
}

#[test]
fn an_identity_comes_back_as_it_was_written() {
    let dir = TempDir::new().unwrap();
    let paths = paths(dir.path(), 3);
    let written = formed(&paths)[1].clone();
    match identity::inspect(&paths[1]).unwrap() {
        Found::Disk(read) => assert_eq!(*read, Identity { formed: true, ..written }),
        other => panic!("{other:?}"),
    }
}
