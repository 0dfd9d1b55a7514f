//! The bytes of a segment: its header, and records that describe themselves. Pure: encodes, decodes, checks; no files.
//!
//! A segment begins with its header, twice, one page each. Records follow, each at a multiple of [`PAGE`]: a header,
//! then the chunk's bytes, then zeros up to the next page. A record's header ends in a keyed BLAKE3 over all of the
//! header and its place in the file; the key is the segment's salt, which nobody outside knows. So no bytes of a user
//! can pass for a record, nor can a record that was copied elsewhere.
//!
//! Numbers are little-endian. These are format version 1; when it moves on, the functions here stay for old segments.

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc32Iscsi as Crc32c;

use crate::types::{ChunkId, MAX_CHUNK_LEN, UnixMillis};

/// What records are aligned to, in bytes: the least that a disk writes or that a file system frees.
pub const PAGE: u64 = 4096;
/// How many bytes of a chunk share one checksum, and so the least that a read verifies (64 KiB).
pub const BLOCK: usize = 64 << 10;
/// Where the first record of a segment is.
pub const FIRST_RECORD: u64 = 2 * PAGE;
/// The version of segments and records that is written.
pub const VERSION: u32 = 1;

pub(super) const SEGMENT_MAGIC: &[u8; 8] = b"CAIRNSEG";
pub(super) const RECORD_MAGIC: &[u8; 8] = b"CAIRNREC";
pub(super) const MAC_LEN: usize = 16;
pub(super) const SEGMENT_FIXED: usize = 8 + 4 + 8 + 32;
pub(super) const RECORD_FIXED: usize = 8 + 4 + 4 + 8 + ChunkId::LEN;

/// The head of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's number, as in its file name.
    pub number: u64,
    /// The key of its records' header checksums: random, and shown to nobody.
    pub salt: [u8; 32],
}

impl SegmentHeader {
    /// A header with a salt of its own.
    pub fn new(number: u64) -> Self {
        Self { number, salt: rand::random() }
    }

    /// The first [`FIRST_RECORD`] bytes of the segment: the header, twice, so that one bad sector does not take the
    /// salt, and with it the means to rebuild the index.
    pub fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(FIRST_RECORD as usize);
        page.extend_from_slice(SEGMENT_MAGIC);
        page.extend_from_slice(&VERSION.to_le_bytes());
        page.extend_from_slice(&self.number.to_le_bytes());
        page.extend_from_slice(&self.salt);
        let check = blake3::hash(&page);
        page.extend_from_slice(&check.as_bytes()[..MAC_LEN]);
        page.resize(PAGE as usize, 0);
        page.extend_from_within(..);
        page
    }

    /// The inverse of [`SegmentHeader::encode`], from as much of it as could be read; `None` where neither copy holds.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.chunks(PAGE as usize).take(2).find_map(Self::decode_one)
    }

    fn decode_one(page: &[u8]) -> Option<Self> {
        let fixed = page.get(..SEGMENT_FIXED)?;
        let check = page.get(SEGMENT_FIXED..SEGMENT_FIXED + MAC_LEN)?;
        if &fixed[..8] != SEGMENT_MAGIC || check != &blake3::hash(fixed).as_bytes()[..MAC_LEN] {
            return None;
        }
        (u32_at(fixed, 8)? == VERSION).then_some(())?;
        Some(Self { number: u64_at(fixed, 12)?, salt: fixed[20..].try_into().ok()? })
    }
}

/// The head of a record: which chunk, how long, and a checksum for each of its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHeader {
    pub id: ChunkId,
    /// The chunk's length, in bytes.
    pub len: u32,
    /// When it was written, by this disk's clock.
    pub stored_ms: UnixMillis,
    /// CRC-32C of each [`BLOCK`] bytes of the chunk; the last block may be shorter.
    pub checksums: Box<[u32]>,
}

impl RecordHeader {
    /// The header's bytes, for a record at `offset` of the segment with this salt.
    pub fn encode(&self, salt: &[u8; 32], offset: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(header_len(self.len));
        out.extend_from_slice(RECORD_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.stored_ms.to_le_bytes());
        out.extend_from_slice(&self.id.to_bytes());
        for checksum in &self.checksums {
            out.extend_from_slice(&checksum.to_le_bytes());
        }
        let check = mac(salt, offset, &out);
        out.extend_from_slice(&check);
        out.resize(header_len(self.len), 0);
        out
    }

    /// The inverse of [`RecordHeader::encode`], from the page at `offset`; `None` where no record begins there.
    pub fn decode(page: &[u8], salt: &[u8; 32], offset: u64) -> Option<Self> {
        let fixed = page.get(..RECORD_FIXED)?;
        if &fixed[..8] != RECORD_MAGIC || u32_at(fixed, 8)? != VERSION {
            return None;
        }
        let len = u32_at(fixed, 12)?;
        if len as usize > MAX_CHUNK_LEN {
            return None;
        }
        let end = RECORD_FIXED + 4 * blocks(len);
        let sums = page.get(RECORD_FIXED..end)?;
        if page.get(end..end + MAC_LEN)? != mac(salt, offset, &page[..end]) {
            return None;
        }
        let checksums = decode_checksums(sums);
        Some(Self { id: ChunkId::from_bytes(&fixed[24..])?, len, stored_ms: u64_at(fixed, 16)?, checksums })
    }
}

/// How many blocks a chunk of `len` bytes has.
pub fn blocks(len: u32) -> usize {
    (len as usize).div_ceil(BLOCK)
}

/// The length of a record's header, in bytes: where the chunk's bytes begin. A multiple of a cache line, so that
/// copies of the bytes are aligned; less than a page.
pub fn header_len(len: u32) -> usize {
    (RECORD_FIXED + 4 * blocks(len) + MAC_LEN).next_multiple_of(64)
}

/// The length of a whole record with its padding, in bytes.
pub fn record_len(len: u32) -> u64 {
    (header_len(len) as u64 + u64::from(len)).next_multiple_of(PAGE)
}

/// CRC-32C of one block.
pub fn checksum(block: &[u8]) -> u32 {
    crc_fast::checksum(Crc32c, block) as u32
}

/// CRC-32C of each block of a chunk that lies in pieces.
pub fn checksums(pieces: &[Bytes]) -> Box<[u32]> {
    let total: usize = pieces.iter().map(Bytes::len).sum();
    let mut out = Vec::with_capacity(total.div_ceil(BLOCK));
    let mut digest = crc_fast::Digest::new(Crc32c);
    let mut room = BLOCK;
    for piece in pieces {
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(room));
            digest.update(now);
            room -= now.len();
            rest = later;
            if room == 0 {
                out.push(digest.finalize_reset() as u32);
                room = BLOCK;
            }
        }
    }
    if room < BLOCK {
        out.push(digest.finalize() as u32);
    }
    out.into_boxed_slice()
}

/// Numbers as they stand in a record's header and in an index entry.
pub fn decode_checksums(bytes: &[u8]) -> Box<[u32]> {
    bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect()
}

/// The four bytes at `at`, as a number.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The eight bytes at `at`, as a number.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

pub(super) fn mac(salt: &[u8; 32], offset: u64, header: &[u8]) -> [u8; MAC_LEN] {
    let mut hasher = blake3::Hasher::new_keyed(salt);
    hasher.update(header).update(&offset.to_le_bytes());
    let mut out = [0; MAC_LEN];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..MAC_LEN]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::GroupId;

    fn record(len: usize) -> (RecordHeader, Vec<u8>) {
        let data: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
        let checksums = checksums(&[Bytes::from(data.clone())]);
        (RecordHeader { id: ChunkId::of(GroupId(3), &data), len: len as u32, stored_ms: 99, checksums }, data)
    }

    #[test]
    fn a_record_header_reads_back_at_its_place_under_its_salt_and_nowhere_else() {
        let salt = [7; 32];
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, MAX_CHUNK_LEN] {
            let (header, _) = record(len);
            let bytes = header.encode(&salt, 8192);
            assert_eq!(bytes.len(), header_len(len as u32));
            assert!(bytes.len() <= PAGE as usize);
            assert_eq!(RecordHeader::decode(&bytes, &salt, 8192), Some(header));
            assert_eq!(RecordHeader::decode(&bytes, &salt, 4096), None);
            assert_eq!(RecordHeader::decode(&bytes, &[8; 32], 8192), None);
        }
    }

    #[test]
    fn any_flipped_bit_of_a_record_header_is_found() {
        let salt = [7; 32];
        let (header, _) = record(BLOCK + 5);
        let bytes = header.encode(&salt, 8192);
        for bit in 0..(RECORD_FIXED + 2 * 4 + MAC_LEN) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&flipped, &salt, 8192), None, "bit {bit}");
        }
    }

    #[test]
    fn block_checksums_do_not_depend_on_how_the_bytes_are_cut() {
        let (header, data) = record(3 * BLOCK + 11);
        for cut in [1, 1000, BLOCK, BLOCK + 1, 2 * BLOCK] {
            let pieces: Vec<Bytes> = data.chunks(cut).map(Bytes::copy_from_slice).collect();
            assert_eq!(checksums(&pieces), header.checksums);
        }
        let one_by_one: Box<[u32]> = data.chunks(BLOCK).map(checksum).collect();
        assert_eq!(one_by_one, header.checksums);
    }

    #[test]
    fn a_segment_header_survives_the_loss_of_one_of_its_pages() {
        let header = SegmentHeader::new(12);
        let bytes = header.encode();
        assert_eq!(bytes.len() as u64, FIRST_RECORD);
        for page in [0, PAGE as usize] {
            let mut damaged = bytes.clone();
            damaged[page + 30] ^= 1;
            assert_eq!(SegmentHeader::decode(&damaged), Some(header.clone()));
        }
        assert_eq!(SegmentHeader::decode(&bytes[..PAGE as usize]), Some(header));
        assert_eq!(SegmentHeader::decode(&vec![0; FIRST_RECORD as usize]), None);
        assert_eq!(SegmentHeader::decode(&[]), None);
    }

    /// The bytes of format version 1 as they were first written: they must be read for ever.
    #[test]
    fn format_version_1_is_frozen() {
        let segment = SegmentHeader { number: 5, salt: [9; 32] };
        let record = RecordHeader {
            id: ChunkId { group: GroupId(1), hash: [2; 32] },
            len: 3,
            stored_ms: 4,
            checksums: Box::new([0x0102_0304]),
        };
        assert_eq!(hex::encode(&segment.encode()[..SEGMENT_FIXED + MAC_LEN]), SEGMENT_V1);
        assert_eq!(hex::encode(record.encode(&segment.salt, 8192)), RECORD_V1);
    }

    const SEGMENT_V1: &str = "434149524e5345470100000005000000000000000909090909090909090909090909090909090909090909090909090909090909\
                              890afe3474b8d7784d48fde3d6365f12";
    const RECORD_V1: &str = "434149524e524543010000000300000004000000000000000000000102020202020202020202020202020202020202020202\
                             02020202020202020202040302015acd32aa47635fb7d1734520eeecafac0000000000000000000000000000000000000000\
                             00000000000000000000000000000000000000000000000000000000";
}
