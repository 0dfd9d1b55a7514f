//! Walks the records of a segment without the index. Holes and torn records are stepped over to the next page where a
//! header verifies; nothing but the end of the file is taken for the end.

use std::io;

use super::error::ChunkError;
use super::file::SegmentFile;
use super::format::{BLOCK, FIRST_RECORD, PAGE, RecordHeader, SegmentHeader, checksum, header_len, record_len};

/// How many blocks of a record are read at once.
const BLOCKS_AT_ONCE: usize = 16;

/// The segment's header; `None` where neither copy of it verifies.
pub fn read_segment_header(file: &dyn SegmentFile) -> io::Result<Option<SegmentHeader>> {
    let mut bytes = vec![0; FIRST_RECORD.min(file.end()?) as usize];
    file.read_at(&mut bytes, 0)?;
    Ok(SegmentHeader::decode(&bytes))
}

/// The record that begins at `offset`; `None` where none does.
pub fn read_record_header(file: &dyn SegmentFile, salt: &[u8; 32], offset: u64) -> io::Result<Option<RecordHeader>> {
    let mut page = [0; PAGE as usize];
    match file.read_at(&mut page, offset) {
        Ok(()) => Ok(RecordHeader::decode(&page, salt, offset)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Visits each record whose header verifies, from `from` on, in order, with its offset. A page that cannot be read is
/// stepped over like one that does not verify.
pub fn scan(
    file: &dyn SegmentFile,
    salt: &[u8; 32],
    from: u64,
    mut visit: impl FnMut(u64, RecordHeader) -> Result<(), ChunkError>,
) -> Result<(), ChunkError> {
    let end = file.end().map_err(ChunkError::io("the length of a segment"))?;
    let mut offset = from.max(FIRST_RECORD);
    while offset + PAGE <= end {
        match read_record_header(file, salt, offset) {
            Ok(Some(header)) => {
                let len = record_len(header.len);
                visit(offset, header)?;
                offset += len;
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(offset, %error, "a page of a segment cannot be read"),
        }
        let next = file.next_data(offset + PAGE).map_err(ChunkError::io("the holes of a segment"))?;
        let Some(next) = next else { break };
        offset = (next - next % PAGE).max(offset + PAGE);
    }
    Ok(())
}

/// Whether all blocks of the record at `offset` are there and match its header. `buffer` is for use again.
pub fn verify_payload(
    file: &dyn SegmentFile,
    offset: u64,
    header: &RecordHeader,
    buffer: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut at = offset + header_len(header.len) as u64;
    let mut left = header.len as usize;
    for expected in header.checksums.chunks(BLOCKS_AT_ONCE) {
        buffer.resize(left.min(BLOCKS_AT_ONCE * BLOCK), 0);
        match file.read_at(buffer, at) {
            Ok(()) if buffer.chunks(BLOCK).zip(expected).all(|(block, expected)| checksum(block) == *expected) => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
        at += buffer.len() as u64;
        left -= buffer.len();
    }
    Ok(true)
}
