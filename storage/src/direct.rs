//! Reads past the page cache. After a failed fsync the cache may hold pages that say they are written and are not, and a
//! disk that does not answer is not noticed by what is in memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, OFlags, fadvise};

/// Addresses, offsets and lengths of such reads are multiples of this; that is enough for every disk.
const ALIGNMENT: usize = 4096;

/// A file that is read from its disk.
pub struct Direct {
    file: File,
    /// Where the file system cannot read past its cache, it is asked to forget instead.
    is_direct: bool,
}

impl Direct {
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
        match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => Ok(Self { file, is_direct: true }),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Ok(Self { file: File::open(path)?, is_direct: false })
            }
            Err(error) => Err(error),
        }
    }

    /// Fills the buffer from `offset`; `UnexpectedEof` where the file is shorter. What is in memory and not yet written
    /// is written first, but not fsynced.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if !self.is_direct {
            fadvise(&self.file, 0, None, Advice::DontNeed)?;
            return self.file.read_exact_at(buffer, offset);
        }
        let skipped = (offset % ALIGNMENT as u64) as usize;
        let len = (skipped + buffer.len()).next_multiple_of(ALIGNMENT);
        let mut room = vec![0; len + ALIGNMENT];
        let start = room.as_ptr().align_offset(ALIGNMENT);
        let aligned = room.get_mut(start..start + len).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut filled = 0;
        while filled < skipped + buffer.len() {
            // After a read that was cut short in the middle of a block only the end of the file can follow.
            match self.file.read_at(&mut aligned[filled..], offset - skipped as u64 + filled as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if filled % ALIGNMENT != 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => return Err(error),
            }
        }
        buffer.copy_from_slice(&aligned[skipped..skipped + buffer.len()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_of_a_file_is_read_and_what_is_behind_its_end_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..20_000u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = Direct::open(&path).unwrap();
        for (offset, len) in [(0, 1), (0, 4096), (4095, 2), (8192, 8192), (5, 19_995), (19_999, 1), (20_000, 0)] {
            let mut buffer = vec![0; len];
            file.read_exact_at(&mut buffer, offset as u64).unwrap();
            assert_eq!(buffer, bytes[offset..offset + len], "{len} bytes at {offset}");
        }
        for (offset, len) in [(19_999, 2), (20_000, 1), (100_000, 1), (0, 20_001)] {
            let error = file.read_exact_at(&mut vec![0; len], offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{len} bytes at {offset}");
        }
    }
}
