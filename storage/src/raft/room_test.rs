use super::super::testing::*;
use super::*;
use crate::client::{MetaService, ServiceError};
use crate::meta::{Envelope, Outcome, RootCommand};
use crate::types::{ReplicaId, UserId};

fn growing(number: u64) -> Envelope {
    let (name, region) = ("bucket".to_owned(), String::new());
    let command = RootCommand::ReserveBucket { name, owner: UserId([1; 16]), region, group: GROUP };
    Envelope { command: Command::Root(command), ..envelope(number, 0) }
}

fn rooms(of: &[(u64, Room)]) -> HashMap<DiskId, Room> {
    of.iter().map(|(number, room)| (disk(*number), *room)).collect()
}

#[test]
fn room_is_measured_against_the_reserve() {
    let of = |free| Room::of(free, 100);
    assert_eq!([of(100), of(99), of(50), of(49), of(0)], {
        use Room::*;
        [Ample, Short, Short, Starved, Starved]
    });
    assert_eq!(Room::of(0, 0), Room::Ample, "without a reserve nothing is kept free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_takes_only_what_does_not_grow_while_most_of_its_disks_are_short() {
    let process = Process::formed(&[1, 2, 3], settings()).await;
    process.replicas.set_rooms(rooms(&[(1, Room::Short)]));
    assert_eq!(process.replicas.command(GROUP, growing(1)).await.unwrap(), Ok(Outcome::Done));
    process.replicas.set_rooms(rooms(&[(1, Room::Short), (3, Room::Short)]));
    assert!(matches!(process.replicas.command(GROUP, growing(2)).await, Err(ServiceError::Full)));
    process.put(3).await;
    process.replicas.set_rooms(HashMap::new());
    assert_eq!(process.replicas.command(GROUP, growing(4)).await.unwrap(), Ok(Outcome::Done));
    assert!(!process.holds(2).await);
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_starves_takes_nothing_that_grows_and_catches_up_when_it_has_room() {
    let process = Process::formed(&[1, 2, 3], settings()).await;
    process.put(1).await;
    let leader = process.leader().unwrap();
    let starving = leader % 3 + 1;
    process.until_caught_up(starving).await;
    process.replicas.set_rooms(rooms(&[(starving, Room::Starved)]));
    for number in 2..=20 {
        assert_eq!(process.replicas.command(GROUP, growing(number)).await.unwrap(), Ok(Outcome::Done));
    }
    assert_eq!((process.count_on(starving), process.count_on(leader)), (1, 20));
    assert!(process.status(starving).leader.is_some(), "it is still led");
    process.replicas.set_rooms(HashMap::new());
    process.until_caught_up(starving).await;
    assert_eq!(process.count_on(starving), 20);
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_goes_through_where_all_disks_starve_and_what_deletes_goes_on() {
    let process = Process::formed(&[1, 2, 3], settings()).await;
    let starving = process.leader().unwrap() % 3 + 1;
    process.replicas.set_rooms(rooms(&[(starving, Room::Starved)]));
    assert_eq!(process.replicas.command(GROUP, growing(1)).await.unwrap(), Ok(Outcome::Done));
    process.replicas.set_rooms(rooms(&[(1, Room::Starved), (2, Room::Starved), (3, Room::Starved)]));
    assert!(matches!(process.replicas.command(GROUP, growing(2)).await, Err(ServiceError::Full)));
    process.put(3).await;
    process.until_caught_up(starving).await;
    assert_eq!(process.count_on(starving), 2);
    process.replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_starves_gives_the_lead_to_one_that_has_room() {
    let process = Process::formed(&[1, 2, 3], settings()).await;
    let leader = process.leader().unwrap();
    process.replicas.set_rooms(rooms(&[(leader, Room::Starved)]));
    assert!(matches!(process.replicas.command(GROUP, growing(1)).await, Err(ServiceError::Full)));
    process.replicas.leave_starved().await;
    process.until("another leader", |process| process.leader().is_some_and(|now| now != leader)).await;
    assert_eq!(process.replicas.command(GROUP, growing(2)).await.unwrap(), Ok(Outcome::Done));
    // The lead is not given to a disk that starves.
    process.replicas.hand_over(GROUP, ReplicaId(leader)).await;
    assert_ne!(process.leader(), Some(leader));
    // Nor away where it would be no better elsewhere.
    let leader = process.leader().unwrap();
    process.replicas.set_rooms(rooms(&[(1, Room::Starved), (2, Room::Starved), (3, Room::Starved)]));
    process.replicas.leave_starved().await;
    assert_eq!(process.leader(), Some(leader));
    process.replicas.shutdown().await;
}
