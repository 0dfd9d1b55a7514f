//! Metadata against chunks, both ways, a page at a time:
//!
//! - `POST /_cairn/admin/v1/fsck/groups/ID[?after=HASH][&verify][&repair]`: are all chunks that the group's manifests refer to
//!   on their home disks? With `verify` every copy is read. With `repair` what is missing is queued to be made anew.
//! - `POST /_cairn/admin/v1/fsck/disks/ID[?after=CHUNK]`: does somebody refer to the chunks of the disk?
//! - `POST /_cairn/admin/v1/fsck/objects[?bucket=B&after=KEY]` with a list of chunks: which objects need one of them?
//!   `{"checked", "next": {"bucket", "after"}, "objects": ["s3://BUCKET/KEY"], "more"}`; with `more` the chunks have more
//!   references than are looked at: ask for fewer of them.
//!
//! The answer of the first two is `{"checked", "next", "position", "unreachable_copies", "garbage_chunks", "garbage_bytes", "misplaced",
//! "findings": [{"problem", "chunk", "disks"}]}`. `next` is where to go on, `position` how far it has come, from 0 to 1.
//! Garbage and what is misplaced is no finding: the first is collected after its grace time, the second moves.

use std::collections::HashSet;
use std::time::Duration;

use cairn_storage::client::Client;
use cairn_storage::meta::query::{ListEntry, ListFrom};
use cairn_storage::meta::record::{Body, DirectoryEntry};
use cairn_storage::meta::{Answer, Command, Query};
use cairn_storage::placement;
use cairn_storage::types::{ChunkId, DiskId, GroupId};
use cairn_storage::wire::Listed;
use serde_json::{Value, json};

use super::copies::{self, Copies, Copy};
use crate::error::{Code, S3Error};
use crate::gate::Pass;
use crate::gateway::{Gateway, unexpected};
use crate::request::Request;

/// Chunks in a page, and in one where every copy is read.
const PAGE: u32 = 1000;
const PAGE_TO_READ: u32 = 32;
/// Objects in a page.
const PAGE_OF_OBJECTS: u32 = 10_000;
/// The longest list of chunks whose objects are asked for, in bytes.
const MAX_CHUNKS_LEN: usize = 1 << 20;
/// The rest before what was found is looked at once more: a copy may have been under way.
const SECOND_LOOK: Duration = Duration::from_secs(3);

/// What is asked for beyond a look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes {
    pub verify: bool,
    pub repair: bool,
}

/// One page of a group's references.
///
/// # Errors
/// `InvalidArgument`, or that the group does not answer. A disk that does not is part of the answer.
pub async fn group(
    gateway: &Gateway,
    pass: Pass,
    group: &str,
    after: Option<&str>,
    wishes: Wishes,
) -> Result<Value, S3Error> {
    let group = GroupId(group.parse().map_err(|_| invalid("This is no id of a group."))?);
    let after = match after {
        None => None,
        Some(text) => {
            let mut hash = [0; 32];
            hex::decode_to_slice(text, &mut hash).map_err(|_| invalid("This is no hash of a chunk."))?;
            Some(hash)
        }
    };
    let client = gateway.client(pass);
    let limit = if wishes.verify { PAGE_TO_READ } else { PAGE };
    let hashes = match client.query(group, Query::References { after, limit }).await? {
        Answer::References(hashes) => hashes,
        Answer::Invalid => return Err(invalid("The group holds no buckets.")),
        _ => return Err(unexpected("References")),
    };
    let ids: Vec<ChunkId> = hashes.iter().map(|hash| ChunkId { group, hash: *hash }).collect();
    let looked = copies::look(client, &client.map(), &ids, wishes.verify).await;
    let unreachable = looked.iter().flat_map(|copies| &copies.homes).filter(|(_, copy)| *copy == Copy::Unreachable);
    let unreachable = unreachable.count();
    let mut bad: Vec<Copies> = looked.into_iter().filter(|copies| problem(copies).is_some()).collect();
    if !bad.is_empty() {
        bad = second_look(client, group, bad).await?;
    }
    if wishes.repair && !bad.is_empty() {
        let command =
            Command::QueueRepair { hashes: bad.iter().map(|copies| copies.chunk.hash).collect(), known: Vec::new() };
        client.command(group, command).await?.map_err(|_| unexpected("QueueRepair"))?;
    }
    let next = hashes.last().filter(|_| hashes.len() == limit as usize);
    Ok(json!({
        "checked": hashes.len(),
        "next": next.map(hex::encode),
        "position": next.map_or(1.0, share),
        "unreachable_copies": unreachable,
        "findings": bad.iter().map(finding).collect::<Vec<_>>(),
    }))
}

/// What is still wrong after a moment, of what is still referred to. What was corrupt has been dropped since, and is
/// told as it was.
async fn second_look(client: &Client, group: GroupId, bad: Vec<Copies>) -> Result<Vec<Copies>, S3Error> {
    let (mut corrupt, others): (Vec<Copies>, Vec<Copies>) =
        bad.into_iter().partition(|copies| copies.has(Copy::Corrupt));
    if !others.is_empty() {
        tokio::time::sleep(SECOND_LOOK).await;
        let ids: Vec<ChunkId> = others.iter().map(|copies| copies.chunk).collect();
        corrupt.extend(copies::look(client, &client.map(), &ids, false).await);
    }
    let hashes = corrupt.iter().map(|copies| copies.chunk.hash).collect();
    let Answer::Referenced(referenced) = client.query(group, Query::Referenced { hashes }).await? else {
        return Err(unexpected("Referenced"));
    };
    let all = corrupt.into_iter().zip(referenced);
    Ok(all.filter(|(copies, referenced)| *referenced && problem(copies).is_some()).map(|(copies, _)| copies).collect())
}

/// What is wrong with a chunk, the worst first. That a disk is down is not, as long as another has the chunk.
fn problem(copies: &Copies) -> Option<&'static str> {
    let at_home = |copy: Copy| copies.homes.iter().any(|(_, found)| *found == copy);
    match copies.has(Copy::Whole) {
        false if copies.has(Copy::Unreachable) => Some("unreachable"),
        false => Some("lost"),
        true if copies.has(Copy::Corrupt) => Some("corrupt"),
        true => at_home(Copy::Missing).then_some("missing"),
    }
}

fn finding(copies: &Copies) -> Value {
    let bad = copies.homes.iter().filter(|(_, copy)| *copy != Copy::Whole);
    let disks: Vec<String> = bad.map(|(disk, copy)| format!("{disk} {}", copy.name())).collect();
    json!({ "problem": problem(copies), "chunk": copies.chunk.to_string(), "disks": disks })
}

/// One page of a disk's chunks.
///
/// # Errors
/// `InvalidArgument`, `ServiceUnavailable` where the disk or a group does not answer.
pub async fn disk(gateway: &Gateway, pass: Pass, disk: &str, after: Option<&str>) -> Result<Value, S3Error> {
    let disk: DiskId = disk.parse().map_err(|_| invalid("This is no id of a disk."))?;
    let after: Option<ChunkId> = match after {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| invalid("This is no id of a chunk."))?),
    };
    let client = gateway.client(pass);
    let service = client.repair_disk(disk).filter(|_| client.is_up(disk)).ok_or(Code::ServiceUnavailable)?;
    let chunks = service.list(after, PAGE).await.map_err(|_| Code::ServiceUnavailable)?;
    let map = client.map();
    let groups: HashSet<GroupId> = map.metadata_groups().collect();
    let (mut findings, mut garbage_chunks, mut garbage_bytes, mut misplaced) = (Vec::new(), 0u64, 0u64, 0u64);
    for chunks in chunks.chunk_by(|left, right| left.id.group == right.id.group) {
        let Some(group) = chunks.first().map(|first| first.id.group) else { continue };
        if !groups.contains(&group) {
            let unknown = |listed: &Listed| json!({ "problem": "of an unknown group", "chunk": listed.id.to_string(), "disks": [disk.to_string()] });
            findings.extend(chunks.iter().map(unknown));
            continue;
        }
        let hashes = chunks.iter().map(|listed| listed.id.hash).collect();
        let Answer::Referenced(referenced) = client.query(group, Query::Referenced { hashes }).await? else {
            return Err(unexpected("Referenced"));
        };
        for (listed, referenced) in chunks.iter().zip(referenced) {
            if !referenced {
                garbage_chunks += 1;
                garbage_bytes += u64::from(listed.len);
            } else if !placement::homes(&listed.id, &map).contains(&disk) {
                misplaced += 1;
            }
        }
    }
    let next = chunks.last().filter(|_| chunks.len() == PAGE as usize).map(|listed| listed.id);
    let position = next.map_or(1.0, |next| {
        let before = groups.iter().filter(|group| **group < next.group).count();
        (before as f64 + share(&next.hash)) / groups.len().max(1) as f64
    });
    Ok(json!({
        "checked": chunks.len(),
        "next": next.map(|next| next.to_string()),
        "position": position,
        "garbage_chunks": garbage_chunks,
        "garbage_bytes": garbage_bytes,
        "misplaced": misplaced,
        "findings": findings,
    }))
}

/// The objects of one page of a bucket, the first or the one named, that need one of the chunks of the request's body.
///
/// # Errors
/// `InvalidArgument`, or that a group does not answer.
pub async fn objects(gateway: &Gateway, pass: Pass, mut request: Request) -> Result<Value, S3Error> {
    request.document_len = MAX_CHUNKS_LEN;
    let document = request.read_document(gateway).await?;
    let texts: Vec<String> =
        serde_json::from_slice(&document).map_err(|_| invalid("The body must be a JSON list of chunks."))?;
    drop(document);
    let chunks: Result<Vec<ChunkId>, _> = texts.iter().map(|text| text.parse()).collect();
    let chunks = chunks.map_err(|_| invalid("This is no id of a chunk."))?;

    let entry = match request.query.get("bucket") {
        Some(name) => match gateway.root_query(pass, Query::Directory { name: name.to_owned() }).await? {
            Answer::Directory(entry) => entry,
            _ => return Err(unexpected("Directory")),
        },
        None => bucket_after(gateway, pass, None).await?,
    };
    let Some(entry) = entry else {
        return Ok(json!({ "checked": 0, "next": null, "objects": [], "more": false }));
    };
    let hashes: Vec<[u8; 32]> = chunks.iter().filter(|id| id.group == entry.group).map(|id| id.hash).collect();
    let (mut checked, mut objects, mut last, mut more_referrers) = (0, Vec::new(), None, false);
    if !hashes.is_empty() {
        let client = gateway.client(pass);
        let query = Query::Referrers { hashes, limit: PAGE_OF_OBJECTS };
        let Answer::Referrers(manifests) = client.query(entry.group, query).await? else {
            return Err(unexpected("Referrers"));
        };
        more_referrers = manifests.len() >= PAGE_OF_OBJECTS as usize;
        let from = match request.query.get("after") {
            Some(key) => ListFrom::AfterKey(key.to_owned()),
            None => ListFrom::Start,
        };
        let (bucket, prefix, delimiter) = (entry.id, String::new(), None);
        let query = Query::List { bucket, prefix, delimiter, from, limit: PAGE_OF_OBJECTS };
        let Answer::List { entries, more, .. } = client.query(entry.group, query).await? else {
            return Err(unexpected("List"));
        };
        for listed in entries {
            let ListEntry::Key(key, record) = listed else { continue };
            checked += 1;
            if matches!(record.body, Body::Manifest(manifest) if manifests.contains(&manifest)) {
                objects.push(format!("s3://{}/{key}", entry.name));
            }
            last = Some(key).filter(|_| more);
        }
    }
    let next = match last {
        Some(key) => Some(json!({ "bucket": entry.name, "after": key })),
        None => bucket_after(gateway, pass, Some(entry.name))
            .await?
            .map(|next| json!({ "bucket": next.name, "after": null })),
    };
    Ok(json!({ "checked": checked, "next": next, "objects": objects, "more": more_referrers }))
}

async fn bucket_after(gateway: &Gateway, pass: Pass, after: Option<String>) -> Result<Option<DirectoryEntry>, S3Error> {
    let query = Query::DirectoryList { owner: None, prefix: String::new(), after, limit: 1 };
    match gateway.root_query(pass, query).await? {
        Answer::DirectoryList { entries, .. } => Ok(entries.into_iter().next()),
        _ => Err(unexpected("DirectoryList")),
    }
}

/// How many of all hashes come before this one: they are spread evenly.
fn share(hash: &[u8; 32]) -> f64 {
    hash.first_chunk::<8>().map_or(0.0, |first| u64::from_be_bytes(*first) as f64 / u64::MAX as f64)
}

fn invalid(text: &str) -> S3Error {
    S3Error::with(Code::InvalidArgument, text)
}
