//! Reads and verifies a chunk's bytes. Blocking; changes nothing.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::buffer::{BUFFER, Buffer};
use super::format::{BLOCK, checksum, header_len};
use super::index::Entry;
use super::scan::{read_record_header, read_segment_header};
use super::segments::Segments;
use crate::types::ChunkId;

/// Why a copy's bytes cannot be had.
#[derive(Debug)]
pub enum Fault {
    /// They are not what was written.
    Corrupt,
    /// The file system does not give them. They may be fine.
    Unreadable(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Corrupt,
            _ => Fault::Unreadable(error),
        }
    }
}

/// The bytes of a range of the chunk, in pieces, each verified. Reads whole blocks, and only those that the range
/// touches. The range must lie within the chunk.
pub fn read_range(segments: &Segments, entry: &Entry, range: Range<u32>) -> Result<Vec<Bytes>, Fault> {
    let mut out = Vec::new();
    read_pieces(segments, entry, range, |piece| out.push(piece))?;
    Ok(out)
}

/// Reads and verifies all of the chunk's bytes, and forgets them.
pub fn check(segments: &Segments, entry: &Entry) -> Result<(), Fault> {
    read_pieces(segments, entry, 0..entry.len, drop)
}

fn read_pieces(
    segments: &Segments,
    entry: &Entry,
    range: Range<u32>,
    mut take: impl FnMut(Bytes),
) -> Result<(), Fault> {
    if range.is_empty() {
        return Ok(());
    }
    let file = segments.file(entry.location.segment)?;
    let payload = entry.location.offset + header_len(entry.len) as u64;
    let (start, end) = (range.start as usize, range.end as usize);
    let blocks_end = end.next_multiple_of(BLOCK).min(entry.len as usize);
    let mut at = start - start % BLOCK;
    if blocks_end - at > BUFFER {
        // Read in pieces: without this the disk would be asked for one only when the one before is there.
        file.will_read(payload + at as u64, (blocks_end - at) as u64);
    }
    while at < blocks_end {
        let len = (blocks_end - at).min(BUFFER);
        let read = |buffer: &mut [u8]| {
            file.read_at(buffer, payload + at as u64)?;
            let sums = entry.checksums.get(at / BLOCK..).unwrap_or_default();
            let verified = buffer.chunks(BLOCK).zip(sums).filter(|(block, sum)| checksum(block) == **sum).count();
            if verified == buffer.len().div_ceil(BLOCK) { Ok(()) } else { Err(Fault::Corrupt) }
        };
        let bytes = if len <= BLOCK {
            let mut small = vec![0; len];
            read(&mut small)?;
            Bytes::from(small)
        } else {
            let mut buffer = Buffer::take();
            read(&mut buffer.as_mut()[..len])?;
            buffer.freeze()
        };
        take(bytes.slice(start.saturating_sub(at)..len.min(end - at)));
        at += len;
    }
    Ok(())
}

/// What a full verification found of a copy whose bytes are right.
#[derive(Debug, PartialEq, Eq)]
pub enum Verified {
    /// All of it is right.
    Whole,
    /// Its record's header is not: a rebuilt index would not find it. Here are its bytes, to be written anew.
    HeaderLost(Vec<Bytes>),
}

/// Verifies all there is of a copy: its blocks, that its bytes hash to its id, and its record's header.
pub fn verify(segments: &Segments, id: &ChunkId, entry: &Entry) -> Result<Verified, Fault> {
    let mut hasher = blake3::Hasher::new();
    read_pieces(segments, entry, 0..entry.len, |piece| {
        hasher.update(&piece);
    })?;
    if *hasher.finalize().as_bytes() != id.hash {
        return Err(Fault::Corrupt);
    }
    let file = segments.file(entry.location.segment)?;
    let header = match read_segment_header(&*file)? {
        Some(segment) => read_record_header(&*file, &segment.salt, entry.location.offset)?,
        None => None,
    };
    match header {
        Some(header) if header.id == *id && header.len == entry.len && header.checksums == entry.checksums => {
            Ok(Verified::Whole)
        }
        _ => Ok(Verified::HeaderLost(read_range(segments, entry, 0..entry.len)?)),
    }
}
