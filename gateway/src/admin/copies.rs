//! What the disks have of chunks, asked for people: what `explain` shows and `fsck` judges.

use std::collections::{HashMap, HashSet};

use cairn_storage::client::{Client, DiskError};
use cairn_storage::placement;
use cairn_storage::types::{ChunkId, ClusterMap, DiskId, DiskState};
use futures::{StreamExt, stream};

/// Copies that are read at a time.
const READS_AT_A_TIME: usize = 8;

/// What a disk has of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// It is there and, where that was asked for, its bytes are what they should be.
    Whole,
    Missing,
    /// Its bytes were not what they should be. The disk has dropped it.
    Corrupt,
    /// The disk does not answer.
    Unreachable,
}

impl Copy {
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Missing => "missing",
            Self::Corrupt => "corrupt",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A chunk and what was found of it. Homes come first; other disks were asked only where no home has it whole, and are
/// named only where they have it.
#[derive(Debug)]
pub struct Copies {
    pub chunk: ChunkId,
    pub homes: Vec<(DiskId, Copy)>,
    pub elsewhere: Vec<(DiskId, Copy)>,
}

impl Copies {
    fn all(&self) -> impl Iterator<Item = (DiskId, Copy)> {
        self.homes.iter().chain(&self.elsewhere).copied()
    }

    pub fn has(&self, copy: Copy) -> bool {
        self.all().any(|(_, found)| found == copy)
    }

    /// The disks that have the chunk.
    pub fn holders(&self) -> impl Iterator<Item = DiskId> {
        self.all().filter(|(_, found)| *found == Copy::Whole).map(|(disk, _)| disk)
    }
}

/// Asks all homes of the chunks and, where none has one, the other disks. With `verify` every copy that is there is
/// read, where it lies. At most a few thousand chunks.
pub async fn look(client: &Client, map: &ClusterMap, chunks: &[ChunkId], verify: bool) -> Vec<Copies> {
    let homes: Vec<Vec<DiskId>> = chunks.iter().map(|chunk| placement::homes(chunk, map)).collect();
    let asked = chunks.iter().zip(&homes).flat_map(|(chunk, homes)| homes.iter().map(move |home| (*home, *chunk)));
    let mut found = ask(client, asked.collect(), verify).await;
    let mut all: Vec<Copies> = chunks
        .iter()
        .zip(homes)
        .map(|(chunk, homes)| {
            let mut state = |disk| found.remove(&(disk, *chunk)).unwrap_or(Copy::Unreachable);
            Copies {
                chunk: *chunk,
                homes: homes.into_iter().map(|disk| (disk, state(disk))).collect(),
                elsewhere: Vec::new(),
            }
        })
        .collect();

    let nowhere: HashSet<ChunkId> =
        all.iter().filter(|copies| !copies.has(Copy::Whole)).map(|copies| copies.chunk).collect();
    if !nowhere.is_empty() {
        let others = map.disks.iter().filter(|disk| disk.state != DiskState::Removed).map(|disk| disk.id);
        let is_home = |disk: DiskId, chunk: &ChunkId| placement::homes(chunk, map).contains(&disk);
        let pairs = others.flat_map(|disk| nowhere.iter().map(move |chunk| (disk, *chunk)));
        let pairs = pairs.filter(|(disk, chunk)| !is_home(*disk, chunk)).collect();
        for ((disk, chunk), copy) in ask(client, pairs, verify).await {
            if let Some(copies) = all.iter_mut().find(|copies| copies.chunk == chunk && copy != Copy::Missing) {
                copies.elsewhere.push((disk, copy));
            }
        }
    }
    all
}

async fn ask(client: &Client, pairs: Vec<(DiskId, ChunkId)>, verify: bool) -> HashMap<(DiskId, ChunkId), Copy> {
    let mut by_disk: HashMap<DiskId, Vec<ChunkId>> = HashMap::new();
    for (disk, chunk) in pairs {
        by_disk.entry(disk).or_default().push(chunk);
    }
    let stats = by_disk.into_iter().map(|(disk, chunks)| async move {
        let service = client.repair_disk(disk).filter(|_| client.is_up(disk));
        let stats = match service {
            Some(service) => service.stat(chunks.clone()).await.ok().filter(|stats| stats.len() == chunks.len()),
            None => None,
        };
        let copy = |index: usize| match stats.as_ref().map(|stats| stats[index].is_some()) {
            None => Copy::Unreachable,
            Some(true) => Copy::Whole,
            Some(false) => Copy::Missing,
        };
        chunks.iter().enumerate().map(|(index, chunk)| ((disk, *chunk), copy(index))).collect::<Vec<_>>()
    });
    let mut found: HashMap<_, _> = futures::future::join_all(stats).await.into_iter().flatten().collect();
    if verify {
        let there: Vec<_> = found.iter().filter(|(_, copy)| **copy == Copy::Whole).map(|(place, _)| *place).collect();
        let reads = stream::iter(there.into_iter().map(|place| async move { (place, read(client, place).await) }));
        found.extend(reads.buffer_unordered(READS_AT_A_TIME).collect::<Vec<_>>().await);
    }
    found
}

async fn read(client: &Client, (disk, chunk): (DiskId, ChunkId)) -> Copy {
    let Some(service) = client.repair_disk(disk) else { return Copy::Unreachable };
    match service.verify(chunk).await {
        Ok(()) => Copy::Whole,
        Err(DiskError::NotFound) => Copy::Missing,
        Err(DiskError::Corrupt) => Copy::Corrupt,
        Err(_) => Copy::Unreachable,
    }
}
