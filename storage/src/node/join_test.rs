//! Nodes that are started alike, at once, on ways that do not all lead to all of them; and one that was cut off.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::join::found;
use super::options::NodeOptions;
use super::tests::{options, start};
use super::{Node, StartError};
use crate::cluster::ballot::{Ballot, Candidate};
use crate::cluster::{Founding, Secret, claim};

/// A socket for each node, and what they wait with: each with a directory of its own, and addresses of the `seen`.
fn alike(dir: &Path, expected: usize, seen: &[&[usize]]) -> Vec<(NodeOptions, std::net::TcpListener)> {
    let bind = |_| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    };
    let listeners: Vec<_> = seen.iter().map(bind).collect();
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    let nodes = listeners.into_iter().enumerate().map(|(number, listener)| {
        let join = seen[number].iter().map(|other| addresses[*other].clone()).collect();
        let bootstrap_expect = Some(expected);
        let options = NodeOptions { join, bootstrap_expect, ..options(&dir.join(number.to_string()), 1) };
        (options, listener)
    });
    nodes.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_that_see_a_third_and_not_each_other_one_forms_a_cluster() {
    let secret = Secret::new("the secret of nodes alike").unwrap();
    let mut worlds = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let secret = secret.clone();
        worlds.spawn(async move {
            let dir = TempDir::new().unwrap();
            let nodes = alike(dir.path(), 2, &[&[2], &[2], &[0, 1]]);
            // The third sees both, and is granted nothing.
            let ballot = Ballot { own: Candidate { node: u64::MAX, round: 0 }, granted: None };
            let third = &nodes[2].0.directories[0];
            crate::durable::create_dir(third).unwrap();
            ballot.store(third).unwrap();
            let mut waits = tokio::task::JoinSet::new();
            for (number, (options, listener)) in nodes.into_iter().enumerate() {
                let secret = secret.clone();
                waits.spawn(async move { (number, found(&options, &secret, &listener).await.unwrap().0) });
            }
            let (first, founding) = waits.join_next().await.unwrap().unwrap();
            assert!(matches!(founding, Founding::Cluster { .. }) && first < 2, "{first} {founding:?}");
            let second = tokio::time::timeout(Duration::from_secs(3), waits.join_next()).await;
            assert!(second.is_err(), "{first}, and {second:?}");
        });
    }
    while let Some(world) = worlds.join_next().await {
        world.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_killed_while_it_formed_its_cluster_does_not_end_that_where_there_is_another() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir.path().join("begun"), 1);
    let begun = claim(&options.directories, Founding::Cluster { groups: 1 }).unwrap();
    assert!(begun.forming);
    drop(begun);
    let other = start(&dir.path().join("other"), 1).await;
    let join = vec![other.rpc_address().to_string()];
    let secret = Some(other.secret().clone());
    let joining = NodeOptions { join, secret, bootstrap_expect: Some(2), ..options.clone() };
    let refused = Node::start(joining).await;
    assert!(matches!(refused, Err(StartError::Join(_))), "it formed a second cluster");
    other.shutdown().await;
    // Where nobody has another it ends what it began.
    Node::start(options).await.unwrap().shutdown().await;
}
