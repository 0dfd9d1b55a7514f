use std::sync::Arc;

use cairn_storage::types::{ClusterId, DiskEntry, Epoch, NodeEntry, ReplicaId};
use cairn_storage::wire::NodeNews;

use super::*;

fn disk(number: u8) -> DiskId {
    DiskId([number; 16])
}

/// Two nodes with a disk each; the first votes.
fn overview() -> Overview {
    let entry = |number: u8| DiskEntry {
        id: disk(number),
        node: NodeId(u64::from(number)),
        weight: 1,
        state: DiskState::Active,
    };
    let map = ClusterMap {
        cluster: ClusterId([9; 16]),
        epoch: Epoch(3),
        nodes: [1, 2].map(|id| NodeEntry { id: NodeId(id), address: String::new(), rack: String::new() }).into(),
        disks: vec![entry(1), entry(2)],
        groups: vec![GroupEntry::new(GroupId(0), vec![(ReplicaId(1), disk(1))])],
        ..ClusterMap::default()
    };
    let news = |number: u8| NodeNews {
        id: NodeId(u64::from(number)),
        up: true,
        version: "1".to_owned(),
        epoch: Epoch(3),
        settled_per_minute: 3,
        disks: vec![DiskNews {
            id: disk(number),
            lives: Vec::new(),
            began: 0,
            synced: 0,
            up: true,
            capacity: 10,
            free: 4,
            chunks: 5,
            misplaced: 0,
            settled: true,
            ended: Vec::new(),
        }],
    };
    let leaders = vec![(GroupId(0), ReplicaId(1), disk(1))];
    Overview { map: Arc::new(map), nodes: vec![news(1), news(2)], leaders, refused: Vec::new() }
}

fn refused(overview: &Overview, target: Target, change: Change) -> Code {
    changed(&overview.map, overview, target, change).unwrap_err().code
}

#[test]
fn a_cluster_is_healthy_only_when_all_of_it_is() {
    let figures = HashMap::from([(GroupId(0), GroupStatistics::default())]);
    let mut overview = overview();
    assert_eq!(render(&overview, &figures)["health"], "healthy");
    assert_eq!(render(&overview, &figures)["disks"][0]["used"], 6);
    assert_eq!(render(&overview, &HashMap::new())["health"], "unavailable");
    assert_eq!(render(&overview, &figures)["seconds_left"], Value::Null);
    let queued = GroupStatistics { queued_repairs: 9, ..GroupStatistics::default() };
    assert_eq!(render(&overview, &HashMap::from([(GroupId(0), queued)]))["seconds_left"], 90);
    overview.nodes[1].up = false;
    assert_eq!(render(&overview, &figures)["health"], "degraded");
    assert_eq!(render(&overview, &figures)["disks"][1]["up"], false);
}

#[test]
fn a_disk_with_data_is_not_removed() {
    let mut overview = overview();
    let remove = Change::Remove { force: false };
    assert_eq!(refused(&overview, Target::Disk(disk(1)), remove), Code::OperationAborted);
    assert_eq!(refused(&overview, Target::Disk(disk(2)), remove), Code::OperationAborted);
    let drained = changed(&overview.map, &overview, Target::Node(NodeId(2)), Change::Drain).unwrap();
    assert_eq!(drained.disks[1].state, DiskState::Draining);
    overview.map = Arc::new(drained);
    overview.nodes[1].disks[0].misplaced = 5;
    assert_eq!(refused(&overview, Target::Node(NodeId(2)), remove), Code::OperationAborted);
    overview.nodes[1].disks[0].misplaced = 0;
    overview.nodes[1].epoch = Epoch(2);
    assert_eq!(refused(&overview, Target::Node(NodeId(2)), remove), Code::OperationAborted);
    overview.nodes[1].epoch = Epoch(3);
    overview.nodes[1].disks[0].settled = false;
    assert_eq!(refused(&overview, Target::Node(NodeId(2)), remove), Code::OperationAborted);
    overview.nodes[1].disks[0].settled = true;
    let removed = changed(&overview.map, &overview, Target::Node(NodeId(2)), remove).unwrap();
    assert_eq!((removed.disks[1].state, removed.nodes.len()), (DiskState::Removed, 1));
}

#[test]
fn the_last_disk_is_neither_drained_nor_removed() {
    let overview = overview();
    let alone = changed(&overview.map, &overview, Target::Node(NodeId(2)), Change::Remove { force: true }).unwrap();
    let alone = Overview { map: Arc::new(alone), ..overview };
    assert_eq!(refused(&alone, Target::Node(NodeId(1)), Change::Drain), Code::OperationAborted);
    assert_eq!(refused(&alone, Target::Disk(disk(1)), Change::Remove { force: true }), Code::OperationAborted);
}

#[test]
fn what_is_not_there_is_named_so() {
    let overview = overview();
    assert_eq!(refused(&overview, Target::Node(NodeId(7)), Change::Drain), Code::InvalidArgument);
    assert_eq!(refused(&overview, Target::Disk(disk(7)), Change::Undrain), Code::InvalidArgument);
}
