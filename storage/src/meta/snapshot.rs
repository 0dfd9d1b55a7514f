//! A group's state as a stream of frames, read from a view and never built in memory; and its installation elsewhere,
//! as a new generation of keys that one synced write makes the one in use.
//!
//! Frames are bounded: about [`FRAME_LEN`], and one record more. The stream is a head, records, and an end that tells
//! whether all of them came. How frames travel is the caller's business, but not one may be cut, lost or doubled.

use bytes::Bytes;
use rocksdb::{WriteBatch, WriteOptions};
use serde::{Deserialize, Serialize};

use super::error::MetaError;
use super::overlay::{Read, handle};
use super::schema::{self, Cf, Keys, PREFIX_LEN, SCHEMA};
use super::store::{GroupStore, Live, synced};
use super::stored::{self, Marker, Pointer};
use super::view::View;
use crate::types::GroupId;

/// Bytes of records after which a frame is full.
pub const FRAME_LEN: usize = 256 << 10;

/// The first byte of each frame.
const FRAME_VERSION: u8 = 1;

/// Family, key without group and generation, value.
pub(super) type Record = (u8, Bytes, Bytes);

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Frame {
    Head {
        schema: u32,
        group: GroupId,
    },
    Records(Vec<Record>),
    /// How many records there were, and the BLAKE3 of their frames.
    End {
        records: u64,
        digest: [u8; 32],
    },
}

impl Frame {
    pub(super) fn encode(&self) -> Result<Vec<u8>, MetaError> {
        postcard::to_extend(self, vec![FRAME_VERSION]).map_err(|_| MetaError::BadSnapshot("a frame has no form"))
    }

    /// The inverse of [`Frame::encode`]. The bytes must end where the frame does.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, MetaError> {
        match bytes.split_first() {
            Some((&FRAME_VERSION, rest)) => match postcard::take_from_bytes(rest) {
                Ok((frame, [])) => Ok(frame),
                Ok(_) => Err(MetaError::BadSnapshot("a frame goes on behind its end")),
                Err(_) => Err(MetaError::BadSnapshot("a frame does not decode")),
            },
            _ => Err(MetaError::BadSnapshot("a frame of an unknown version")),
        }
    }
}

/// A group's state at one moment, frame by frame. It holds a RocksDB snapshot: do not keep it for long.
pub struct SnapshotReader<'a> {
    view: View<'a>,
    group: GroupId,
    marker: Option<Vec<u8>>,
    stage: Stage,
    records: u64,
    digest: blake3::Hasher,
}

enum Stage {
    Head,
    /// The family, and the key to go on at.
    Records(usize, Vec<u8>),
    Done,
}

impl SnapshotReader<'_> {
    /// The marker of the state that is read.
    pub fn marker(&self) -> Option<&[u8]> {
        self.marker.as_deref()
    }

    fn frame(&mut self) -> Result<Option<Vec<u8>>, MetaError> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Head => {
                self.stage = Stage::Records(0, Vec::new());
                Frame::Head { schema: SCHEMA, group: self.group }.encode().map(Some)
            }
            Stage::Records(place, from) => self.records(place, from).map(Some),
            Stage::Done => Ok(None),
        }
    }

    fn records(&mut self, mut place: usize, mut from: Vec<u8>) -> Result<Vec<u8>, MetaError> {
        let mut records = Vec::new();
        let mut length = 0;
        while let Some(cf) = Cf::ALL.get(place).copied() {
            if let Some(next) = self.gather(cf, std::mem::take(&mut from), &mut records, &mut length)? {
                self.stage = Stage::Records(place, next);
                return self.send(records);
            }
            place += 1;
        }
        if records.is_empty() {
            return Frame::End { records: self.records, digest: *self.digest.finalize().as_bytes() }.encode();
        }
        self.stage = Stage::Records(place, Vec::new());
        self.send(records)
    }

    /// Adds the records of a family from `from` on. Where the frame is full first: the key to go on at.
    fn gather(
        &self,
        cf: Cf,
        from: Vec<u8>,
        records: &mut Vec<Record>,
        length: &mut usize,
    ) -> Result<Option<Vec<u8>>, MetaError> {
        let mut iter = self.view.iter(&self.view.keys.all(cf).starting_at(from))?;
        while let Some((key, value)) = iter.item() {
            if *length >= FRAME_LEN {
                return Ok(Some(key.to_vec()));
            }
            let suffix = key.get(PREFIX_LEN..).unwrap_or_default();
            *length += suffix.len() + value.len() + 8;
            records.push((cf as u8, Bytes::copy_from_slice(suffix), Bytes::copy_from_slice(value)));
            iter.next();
        }
        iter.status()?;
        Ok(None)
    }

    fn send(&mut self, records: Vec<Record>) -> Result<Vec<u8>, MetaError> {
        self.records += records.len() as u64;
        let frame = Frame::Records(records).encode()?;
        self.digest.update(&frame);
        Ok(frame)
    }
}

impl Iterator for SnapshotReader<'_> {
    type Item = Result<Vec<u8>, MetaError>;

    /// The next frame. After an error there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        self.frame().transpose()
    }
}

impl GroupStore {
    /// The frames of the state as it is now. Blocks on the database at each.
    pub fn snapshot_reader(&self) -> Result<SnapshotReader<'_>, MetaError> {
        let view = self.view();
        let marker: Option<Marker> = view.load(&view.keys.marker())?;
        Ok(SnapshotReader {
            view,
            group: self.group,
            marker: marker.map(|marker| marker.0.into()),
            stage: Stage::Head,
            records: 0,
            digest: blake3::Hasher::new(),
        })
    }

    /// Replaces the state by that of `frames`, durably, with `marker`. Until all have come and proved right the old
    /// state stays, for queries too; applies wait.
    ///
    /// # Errors
    /// [`MetaError::BadSnapshot`], [`MetaError::Transfer`], [`MetaError::NewerSchema`]: the old state stays.
    pub fn install(
        &self,
        frames: impl IntoIterator<Item = std::io::Result<Vec<u8>>>,
        marker: &[u8],
    ) -> Result<(), MetaError> {
        let mut live = self.live.lock();
        let old = *self.generation.read();
        self.clear_after(old)?;
        let new = old.checked_add(1).ok_or(MetaError::BadSnapshot("no generations are left"))?;
        let keys = Keys::new(self.group, new);
        if let Err(error) = self.receive(frames, keys) {
            self.clear_after(old)?;
            return Err(error);
        }

        let mut batch = WriteBatch::default();
        let general = handle(&self.db, Cf::General)?;
        let pointer = Pointer { schema: SCHEMA, generation: new };
        batch.put_cf(&general, schema::pointer(self.group).bytes, stored::encode(&pointer)?);
        batch.put_cf(&general, keys.marker().bytes, stored::encode(&Marker(Bytes::copy_from_slice(marker)))?);
        self.drop_generations(&mut batch, 1, Some(new))?;
        let mut generation = self.generation.write();
        self.db.write_opt(batch, &synced())?;
        *generation = new;
        drop(generation);
        *live = Live::load(&self.db, keys, true)?;
        Ok(())
    }

    /// Writes the records of `frames` under `keys`, unsynced: the synced write that follows covers them.
    fn receive(&self, frames: impl IntoIterator<Item = std::io::Result<Vec<u8>>>, keys: Keys) -> Result<(), MetaError> {
        let mut frames = frames.into_iter();
        let first = frames.next().ok_or(MetaError::BadSnapshot("no frames"))??;
        match Frame::decode(&first)? {
            Frame::Head { schema, .. } if schema > SCHEMA => {
                return Err(MetaError::NewerSchema { found: schema, known: SCHEMA });
            }
            Frame::Head { group, .. } if group == self.group => {}
            Frame::Head { .. } => return Err(MetaError::BadSnapshot("another group's")),
            _ => return Err(MetaError::BadSnapshot("no head")),
        }
        let mut count = 0;
        let mut hasher = blake3::Hasher::new();
        for bytes in frames {
            let bytes = bytes?;
            match Frame::decode(&bytes)? {
                Frame::Head { .. } => return Err(MetaError::BadSnapshot("a second head")),
                Frame::Records(records) => {
                    hasher.update(&bytes);
                    count += records.len() as u64;
                    let mut batch = WriteBatch::default();
                    for (tag, suffix, value) in records {
                        let cf = Cf::from_tag(tag).ok_or(MetaError::BadSnapshot("an unknown column family"))?;
                        batch.put_cf(&handle(&self.db, cf)?, keys.with_suffix(cf, &suffix).bytes, &value);
                    }
                    self.db.write_opt(batch, &WriteOptions::default())?;
                }
                Frame::End { records, digest } => {
                    let whole = records == count && hasher.finalize() == blake3::Hash::from_bytes(digest);
                    return if whole { Ok(()) } else { Err(MetaError::BadSnapshot("it does not add up")) };
                }
            }
        }
        Err(MetaError::BadSnapshot("cut off"))
    }
}

#[cfg(test)]
#[path = "snapshot_test.rs"]
mod tests;
