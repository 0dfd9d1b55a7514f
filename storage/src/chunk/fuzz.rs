//! Records and their index: whatever bytes are found on a disk, a record is one that was written there.

use super::format::{
    FIRST_RECORD, MAC_LEN, PAGE, RECORD_FIXED, RECORD_MAGIC, RecordHeader, SEGMENT_FIXED, SEGMENT_MAGIC, SegmentHeader,
    VERSION, blocks, header_len, mac, record_len,
};
use super::index::{Entry, Location, decode_freed};
use crate::fuzz::inputs::edit;
use crate::types::{ChunkId, GroupId, MAX_CHUNK_LEN};

const SALT: [u8; 32] = [7; 32];
const OFFSET: u64 = 3 * PAGE;

fn record(len: u32) -> RecordHeader {
    let checksums = (0..blocks(len) as u32).map(|block| block.wrapping_mul(0x0102_0305)).collect();
    RecordHeader { id: ChunkId { group: GroupId(3), hash: [9; 32] }, len, stored_ms: 1_700_000_000_000, checksums }
}

pub fn record_seeds() -> Vec<Vec<u8>> {
    let lens = [0, 1, 65_536, 65_537, 3 << 20, MAX_CHUNK_LEN as u32];
    let headers = lens.map(|len| record(len).encode(&SALT, OFFSET));
    let scripts: [&[u8]; 3] = [b"", b"\x01\0\x0c\x03\0", b"\x05\0\x08\x50\x07"];
    let with = |header: &Vec<u8>| scripts.map(|script| [&[script.len() as u8], script, header].concat());
    headers.iter().flat_map(with).collect()
}

/// A page, after a script of changes to what is in it. No bytes that were not written as a record's header at this place
/// pass for one; and what says anything of a record under the right checksum is read as what it says.
pub fn chunk_record(data: &[u8]) -> bool {
    let Some((len, rest)) = data.split_first() else { return false };
    let (script, page) = rest.split_at(usize::from(*len).min(rest.len()));
    if let Some(header) = RecordHeader::decode(page, &SALT, OFFSET) {
        let encoded = header.encode(&SALT, OFFSET);
        let end = RECORD_FIXED + 4 * blocks(header.len) + MAC_LEN;
        assert_eq!(encoded[..end], page[..end]);
    }

    // The same, sealed: as if the salt were known.
    let mut sealed = page.to_vec();
    sealed.resize(PAGE as usize, 0);
    sealed[..8].copy_from_slice(RECORD_MAGIC);
    sealed[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let said = u32::from_le_bytes([sealed[12], sealed[13], sealed[14], sealed[15]]);
    let end = RECORD_FIXED + 4 * blocks(said.min(MAX_CHUNK_LEN as u32));
    let check = mac(&SALT, OFFSET, &sealed[..end]);
    sealed[end..end + MAC_LEN].copy_from_slice(&check);
    let Some(header) = RecordHeader::decode(&sealed, &SALT, OFFSET) else {
        assert!(said as usize > MAX_CHUNK_LEN, "a record that is sealed is refused");
        return false;
    };
    assert_eq!((header.len, header.checksums.len()), (said, blocks(said)));
    assert!(header_len(said) <= PAGE as usize && record_len(said).is_multiple_of(PAGE));
    let encoded = header.encode(&SALT, OFFSET);
    assert_eq!(encoded[..end + MAC_LEN], sealed[..end + MAC_LEN]);
    assert_eq!(RecordHeader::decode(&encoded, &SALT, OFFSET).as_ref(), Some(&header));
    assert_eq!(RecordHeader::decode(&encoded, &SALT, OFFSET + PAGE), None);
    assert_eq!(RecordHeader::decode(&encoded, &[8; 32], OFFSET), None);
    for cut in [0, 8, RECORD_FIXED, end, end + MAC_LEN - 1] {
        assert_eq!(RecordHeader::decode(&encoded[..cut], &SALT, OFFSET), None);
    }
    let mut changed = encoded;
    edit(&mut changed, script);
    if let Some(other) = RecordHeader::decode(&changed, &SALT, OFFSET) {
        assert_eq!(other, header, "a changed header is taken");
    }
    true
}

pub fn segment_seeds() -> Vec<Vec<u8>> {
    let header = SegmentHeader { number: 5, salt: SALT }.encode();
    let scripts: [&[u8]; 3] = [b"", b"\x01\0\x0c\x03\0", b"\0\0\x0d\x09\0\0\x10\x0d\x09\0"];
    scripts.map(|script| [&[script.len() as u8], script, &header[8..SEGMENT_FIXED]].concat()).to_vec()
}

/// The salt and the number of a segment, after a script of changes to its first pages: as long as one of the two is
/// whole, the header is what was written; otherwise there is none.
pub fn segment_header(data: &[u8]) -> bool {
    let Some((len, rest)) = data.split_first() else { return false };
    let (script, fields) = rest.split_at(usize::from(*len).min(rest.len()));
    let mut page = [SEGMENT_MAGIC, fields].concat();
    page.resize(SEGMENT_FIXED, 0);
    let check = blake3::hash(&page);
    page.extend_from_slice(&check.as_bytes()[..MAC_LEN]);
    let is_known = page[8..12] == VERSION.to_le_bytes();
    let header = SegmentHeader::decode(&page);
    assert_eq!(header.is_some(), is_known, "another version, or a header that is refused");
    let Some(header) = header else { return false };

    let mut encoded = header.encode();
    assert_eq!((encoded.len() as u64, &encoded[..page.len()]), (FIRST_RECORD, &page[..]));
    edit(&mut encoded, script);
    match SegmentHeader::decode(&encoded) {
        Some(other) => assert_eq!(other, header, "a changed header is taken"),
        None => assert!(script.len() >= 5),
    }
    true
}

pub fn index_seeds() -> Vec<Vec<u8>> {
    let entry = |len, condemned_ms| {
        let location = Location { segment: 2, offset: 8192 };
        Entry { location, len, stored_ms: 3, touched_ms: 4, condemned_ms, checksums: record(len).checksums }
    };
    let mut seeds: Vec<Vec<u8>> =
        [entry(70_000, Some(5)), entry(0, None), entry(MAX_CHUNK_LEN as u32, None)].iter().map(Entry::encode).collect();
    let freed = [&[b'f'][..], &2u64.to_be_bytes(), &8192u64.to_be_bytes(), &4096u64.to_le_bytes(), &[1; ChunkId::LEN]];
    seeds.push(freed.concat());
    seeds
}

/// A value of the index: an entry, or a record whose room is to be given back.
#[allow(clippy::expect_used, reason = "this is a test")]
pub fn chunk_index(data: &[u8]) -> bool {
    let (key, value) = data.split_at(data.len().min(17));
    let freed = decode_freed(key, value);
    if let Some(freed) = &freed {
        assert_eq!(&key[1..9], freed.location.segment.to_be_bytes());
        assert_eq!(&key[9..], freed.location.offset.to_be_bytes());
        assert_eq!(value, [&freed.len.to_le_bytes()[..], &freed.id.to_bytes()].concat());
    }
    let Some(entry) = Entry::decode(data) else { return freed.is_some() };
    assert_eq!(entry.checksums.len(), blocks(entry.len));
    let encoded = entry.encode();
    assert_eq!(encoded.len(), data.len());
    assert_eq!(Entry::decode(&encoded).expect("what was written is read"), entry);
    for cut in 0..encoded.len().min(64) {
        assert_eq!(Entry::decode(&encoded[..encoded.len() - 1 - cut]), None);
    }
    assert_eq!(Entry::decode(&[&encoded[..], &[0]].concat()), None);
    true
}
