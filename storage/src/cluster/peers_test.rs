use super::*;
use crate::types::{ClusterId, NodeEntry};

fn disk(number: u8) -> DiskId {
    DiskId([number; 16])
}

/// The lives of a disk that was started so often, each by itself.
fn lives(count: u64) -> Vec<Life> {
    (1..=count).map(|incarnation| Life { incarnation, instance: incarnation + 100 }).collect()
}

fn hello(node: u64, session: u64, disks: &[(u8, u64)]) -> Hello {
    Hello {
        cluster: ClusterId([1; 16]),
        node: NodeEntry { id: NodeId(node), address: format!("node{node}:{session}"), rack: String::new() },
        session,
        version: "1".to_owned(),
        generation: Default::default(),
        epoch: Epoch(1),
        disks: disks
            .iter()
            .map(|(number, incarnation)| DiskNews {
                id: disk(*number),
                lives: lives(*incarnation),
                began: 0,
                synced: 0,
                up: true,
                capacity: 1,
                free: 1,
                chunks: 0,
                misplaced: 0,
                settled: true,
                ended: Vec::new(),
            })
            .collect(),
        old_copies: Vec::new(),
        places: Vec::new(),
        settled_per_minute: 0,
        leads: Vec::new(),
    }
}

#[test]
fn a_disk_that_moved_is_found_where_it_started_last() {
    let mut peers = Peers::new(NodeId(1), 1, Vec::new());
    peers.hear(&hello(2, 1, &[(7, 3)]), true).unwrap();
    peers.hear(&hello(3, 1, &[(7, 4)]), true).unwrap();
    assert_eq!(peers.addresses()[&disk(7)], "node3:1");
    peers.hear(&hello(2, 1, &[(7, 3)]), true).unwrap();
    assert_eq!(peers.addresses()[&disk(7)], "node3:1");
    assert!(peers.refused()[0].why.contains("older copy"));
}

#[test]
fn a_copy_of_a_disk_and_a_node_that_runs_twice_are_refused() {
    let mut peers = Peers::new(NodeId(1), 1, Vec::new());
    peers.hear(&hello(2, 1, &[(7, 3)]), true).unwrap();
    let mut copy = hello(3, 1, &[(7, 3)]);
    copy.disks[0].lives[2].instance = 5;
    peers.hear(&copy, true).unwrap();
    assert_eq!((peers.addresses()[&disk(7)].as_str(), peers.refused().len()), ("node2:1", 1));
    // Started again, it is still not the one that was seen, and what it sends is not heard.
    copy.disks[0].lives.push(Life { incarnation: 4, instance: 6 });
    peers.hear(&copy, true).unwrap();
    assert_eq!(peers.addresses()[&disk(7)], "node2:1");
    let spoken = |incarnation, instance| peers.admit(disk(7), Life { incarnation, instance });
    assert_eq!(spoken(3, 103), Ok(()));
    assert_eq!(spoken(2, 102), Err(Stale::OldDisk(disk(7))));
    assert_eq!(spoken(3, 5), Err(Stale::OldDisk(disk(7))));
    assert_eq!(spoken(4, 6), Err(Stale::UnknownLife(disk(7))));
    assert_eq!(peers.hear(&hello(2, 9, &[(7, 4)]), false), Err(Conflict::SameNode(NodeId(2))));
    assert_eq!(peers.hear(&hello(1, 2, &[]), false), Err(Conflict::SameNode(NodeId(1))));
    assert_eq!(peers.hear(&hello(1, 1, &[]), true), Ok(()));
}

#[test]
fn a_disk_of_this_node_is_silent_since_it_was_last_up_and_not_since_it_was_opened() {
    let mut peers = Peers::new(NodeId(1), 1, Vec::new());
    peers.place_own(place(&lives(1)));
    let hour = Duration::from_secs(60 * 60);
    peers.seen.insert(disk(7), Instant::now().checked_sub(hour).unwrap());
    assert!(peers.silent_for(disk(7)) >= hour);
    peers.see_own([disk(7)].into_iter());
    assert!(peers.silent_for(disk(7)) < hour);
}

#[test]
fn a_greeting_tells_where_a_node_is_but_not_that_it_can_be_reached() {
    let mut peers = Peers::new(NodeId(1), 1, Vec::new());
    peers.hear(&hello(2, 1, &[(7, 3)]), false).unwrap();
    assert!(peers.up().is_empty());
    assert_eq!(peers.addresses()[&disk(7)], "node2:1");
    peers.hear(&hello(2, 1, &[(7, 3)]), true).unwrap();
    assert!(peers.up().contains(&disk(7)));
}

#[test]
fn hearsay_spreads_addresses_and_yields_to_the_node_itself() {
    let mut peers = Peers::new(NodeId(1), 1, Vec::new());
    let place = |incarnation, address: &str| Place {
        disk: disk(7),
        node: NodeId(3),
        address: address.to_owned(),
        life: Life { incarnation, instance: 1 },
        synced: 0,
    };
    let mut tells = hello(2, 1, &[]);
    tells.places = vec![place(5, "new")];
    peers.hear(&tells, true).unwrap();
    assert_eq!(peers.addresses()[&disk(7)], "new");
    tells.places = vec![place(4, "old")];
    peers.hear(&tells, true).unwrap();
    assert_eq!(peers.addresses()[&disk(7)], "new");
    // A later life has to show itself; it is known where.
    tells.places = vec![place(6, "newest")];
    peers.hear(&tells, true).unwrap();
    assert_eq!(peers.addresses()[&disk(7)], "new");
    assert!(peers.to_greet(&ClusterMap::default(), &[], "").contains("newest"));
}

#[test]
fn nobody_vouches_for_its_own_disk_by_hearsay() {
    let mut peers = Peers::new(NodeId(1), 1, Vec::new());
    let mut says = hello(2, 1, &[(7, 3)]);
    says.disks[0].synced = 900;
    peers.hear(&says, true).unwrap();
    let mut image = hello(2, 2, &[]);
    image.node.address = "node2:1".to_owned();
    let (address, life) = ("node2:1".to_owned(), Life { incarnation: 4, instance: 104 });
    image.places = vec![Place { disk: disk(7), node: NodeId(2), address, life, synced: 10 }];
    peers.hear(&image, true).unwrap();
    image.disks = hello(2, 2, &[(7, 4)]).disks;
    image.disks[0].began = 10;
    peers.hear(&image, true).unwrap();
    assert_eq!((peers.refused().len(), peers.up().len()), (1, 0));
    assert_eq!(peers.admit(disk(7), life), Err(Stale::UnknownLife(disk(7))));
}

#[test]
fn what_is_kept_comes_back_and_the_newest_wins() {
    let directory = tempfile::tempdir().unwrap();
    let paths = [directory.path().join("a"), directory.path().join("b")];
    let map = |epoch| ClusterMap { epoch: Epoch(epoch), ..ClusterMap::default() };
    for (path, epoch) in paths.iter().zip([4, 5]) {
        std::fs::create_dir(path).unwrap();
        Kept { map: map(epoch), places: Vec::new() }.save(path).unwrap();
    }
    assert_eq!(Kept::load(&paths).map(|kept| kept.map.epoch), Some(Epoch(5)));
    std::fs::write(paths[1].join(FILE), b"\x01junk").unwrap();
    assert_eq!(Kept::load(&paths).map(|kept| kept.map.epoch), Some(Epoch(4)));
}

#[test]
fn a_disk_of_ours_that_others_have_seen_later_is_known_to_be_old() {
    let place = |incarnation, instance, synced| Place {
        disk: disk(7),
        node: NodeId(1),
        address: "here".to_owned(),
        life: Life { incarnation, instance },
        synced,
    };
    let told = |place: Place, lives: &[Life], began| {
        let mut peers = Peers::new(NodeId(1), 1, Vec::new());
        peers.introduce(self::place(lives), lives, began);
        let mut tells = hello(2, 1, &[]);
        tells.places = vec![place];
        peers.hear(&tells, true).unwrap();
        peers.superseded(disk(7)).is_some()
    };
    assert!(!told(place(2, 102, 900), &lives(3), 900));
    assert!(told(place(4, 104, 0), &lives(3), 900), "it was started since");
    assert!(told(place(3, 5, 0), &lives(3), 900), "as often, but not these times");
    assert!(told(place(2, 5, 0), &lives(3), 900), "it lived another life");
    assert!(told(place(2, 102, 901), &lives(3), 900), "it had promised more in the life in which it was copied");
    assert!(!told(place(3, 103, 901), &lives(3), 900), "it goes on in this one");
    assert!(!told(place(2, 102, 901), &lives(3), 0), "its metadata is gone, which its groups see");
    // What the other disks of the node remember counts as well, and what a request says.
    let mut peers = Peers::new(NodeId(1), 1, vec![place(4, 104, 0)]);
    peers.introduce(self::place(&lives(3)), &lives(3), 0);
    assert!(peers.superseded(disk(7)).is_some());
    let mut peers = Peers::new(NodeId(1), 1, Vec::new());
    peers.introduce(self::place(&lives(3)), &lives(3), 0);
    assert_eq!(peers.admit_to(disk(7), Life { incarnation: 2, instance: 102 }), Ok(()));
    assert_eq!(peers.admit_to(disk(7), Life { incarnation: 4, instance: 9 }), Err(Stale::OldDisk(disk(7))));
    assert!(peers.superseded(disk(7)).is_some());
}

fn place(lives: &[Life]) -> Place {
    let life = *lives.last().unwrap();
    Place { disk: disk(7), node: NodeId(1), address: "here".to_owned(), life, synced: 0 }
}

#[test]
fn a_disk_whose_metadata_was_lost_goes_on_and_is_not_an_old_copy_the_next_time() {
    let mut peers = Peers::new(NodeId(1), 1, Vec::new());
    let says = |count, began, synced| {
        let mut hello = hello(2, 1, &[(7, count)]);
        (hello.disks[0].began, hello.disks[0].synced) = (began, synced);
        hello
    };
    for (count, began, synced) in [(1, 0, 900), (2, 0, 50), (3, 60, 0), (4, 70, 80)] {
        peers.hear(&says(count, began, synced), true).unwrap();
        assert!(peers.refused().is_empty() && peers.up().contains(&disk(7)), "{count}");
    }
    peers.hear(&says(5, 79, 0), true).unwrap();
    assert_eq!((peers.refused().len(), peers.up().len()), (1, 0));
}
