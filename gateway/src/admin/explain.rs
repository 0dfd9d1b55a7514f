//! Where an object is: `GET /_cairn/admin/v1/explain?bucket=B&key=K[&offset=N]`. The answer has the version, and for up to
//! [`CHUNKS`] chunks from the byte `offset` on what every copy is like, each of which was read where it lies for that:
//! `{"bucket", "key", "group", "etag", "size", "modified", "inline", "chunks": [{"offset", "length", "hash", "copies":
//! [{"disk", "node", "home", "state"}]}], "next", "nodes": [{"node", "lost", "last_copy", "groups"}]}`. `next` is where to go
//! on. `nodes` says what of these chunks would be lost, or down to one copy, without the node, and whether the object's
//! group or the root group would have no majority.

use std::collections::BTreeMap;

use cairn_storage::meta::query::Wanted;
use cairn_storage::meta::record::{Body, ChunkSpan};
use cairn_storage::meta::{Answer, Command, Query};
use cairn_storage::types::{ChunkId, ClusterMap, DiskId, GroupId, NodeId, ROOT_GROUP};
use serde_json::{Value, json};

use super::copies::{self, Copies, Copy};
use crate::error::{Code, S3Error};
use crate::gate::Pass;
use crate::gateway::{Gateway, no_such_bucket, unexpected};
use crate::request::Request;
use crate::xml::iso_8601;

/// Chunks in one answer: each copy of them is read.
const CHUNKS: u32 = 32;

/// # Errors
/// `NoSuchBucket`, `NoSuchKey`, `InvalidArgument`, or that a group does not answer. A disk that does not is part of the
/// answer.
pub async fn explain(gateway: &Gateway, pass: Pass, request: &Request) -> Result<Value, S3Error> {
    let (Some(bucket), Some(key)) = (request.query.get("bucket"), request.query.get("key")) else {
        return Err(S3Error::with(Code::InvalidArgument, "The bucket and the key must be named."));
    };
    let offset = match request.query.get("offset").map(str::parse::<u64>) {
        None => 0,
        Some(Ok(offset)) => offset,
        Some(Err(_)) => return Err(S3Error::with(Code::InvalidArgument, "The offset is a number of bytes.")),
    };
    let entry = gateway.directory_entry(bucket).await?.ok_or_else(|| no_such_bucket(bucket))?;
    let query = Query::Object { bucket: entry.id, key: key.to_owned(), wanted: Wanted::Nothing, limit: 0 };
    let record = match gateway.client(pass).query(entry.group, query).await? {
        Answer::Object { settings: None, .. } => return Err(no_such_bucket(bucket)),
        Answer::Object { object, .. } => object.ok_or(Code::NoSuchKey)?.record,
        _ => return Err(unexpected("Object")),
    };

    let spans = match record.body {
        Body::Manifest(manifest) => {
            let query = Query::Chunks { manifest, offset, limit: CHUNKS };
            match gateway.client(pass).query(entry.group, query).await? {
                Answer::Chunks(spans) => spans,
                _ => return Err(unexpected("Chunks")),
            }
        }
        _ => Vec::new(),
    };
    let map = gateway.client(pass).map();
    let ids: Vec<ChunkId> = spans.iter().map(|span| ChunkId { group: entry.group, hash: span.hash }).collect();
    let copies = copies::look(gateway.client(pass), &map, &ids, true).await;
    let corrupt: Vec<[u8; 32]> =
        copies.iter().filter(|copies| copies.has(Copy::Corrupt)).map(|copies| copies.chunk.hash).collect();
    if !corrupt.is_empty() {
        // The disks have dropped them: they are made anew from the others.
        let command = Command::QueueRepair { hashes: corrupt, known: Vec::new() };
        gateway.client(pass).command(entry.group, command).await?.map_err(|_| unexpected("QueueRepair"))?;
    }
    let end = spans.last().map_or(record.size, |span| span.offset + u64::from(span.len));
    Ok(json!({
        "bucket": bucket,
        "key": key,
        "group": entry.group.0,
        "etag": record.etag.to_string(),
        "size": record.size,
        "modified": iso_8601(record.modified_ms),
        "inline": matches!(record.body, Body::Inline(_)),
        "chunks": spans.iter().zip(&copies).map(|(span, copies)| chunk(&map, span, copies)).collect::<Vec<_>>(),
        "next": (end < record.size && !spans.is_empty()).then_some(end),
        "nodes": nodes(&map, entry.group, &copies),
    }))
}

fn chunk(map: &ClusterMap, span: &ChunkSpan, copies: &Copies) -> Value {
    let copy = |home: bool| {
        move |(disk, copy): &(DiskId, Copy)| {
            json!({
                "disk": disk.to_string(),
                "node": map.disk(*disk).map(|entry| entry.node.0),
                "home": home,
                "state": copy.name(),
            })
        }
    };
    let copies: Vec<Value> =
        copies.homes.iter().map(copy(true)).chain(copies.elsewhere.iter().map(copy(false))).collect();
    json!({ "offset": span.offset, "length": span.len, "hash": hex::encode(span.hash), "copies": copies })
}

/// For each node, what would be missing without it.
fn nodes(map: &ClusterMap, group: GroupId, copies: &[Copies]) -> Vec<Value> {
    let node_of = |disk: DiskId| map.disk(disk).map(|entry| entry.node);
    let mut without: BTreeMap<NodeId, (u64, u64)> = map.nodes.iter().map(|node| (node.id, (0, 0))).collect();
    for copies in copies {
        let holders: Vec<NodeId> = copies.holders().filter_map(node_of).collect();
        for (node, (lost, last_copy)) in &mut without {
            if holders.contains(node) {
                let left = holders.iter().filter(|holder| *holder != node).count();
                *lost += u64::from(left == 0);
                *last_copy += u64::from(left == 1);
            }
        }
    }
    let loses_majority = |node: NodeId, group: &GroupId| {
        let voters = map.group(*group).map_or(&[][..], |entry| &entry.replicas);
        let left = voters.iter().filter(|(_, disk)| node_of(*disk) != Some(node)).count();
        left * 2 <= voters.len()
    };
    let groups = |node| {
        let groups = [ROOT_GROUP, group].into_iter().filter(|group| loses_majority(node, group));
        groups.map(|group| group.0).collect::<Vec<_>>()
    };
    let row = |(node, (lost, last_copy)): (NodeId, (u64, u64))| json!({ "node": node.0, "lost": lost, "last_copy": last_copy, "groups": groups(node) });
    without.into_iter().map(row).collect()
}
