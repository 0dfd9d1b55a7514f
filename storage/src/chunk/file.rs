//! The file operations that segments need, and the real ones. They are behind traits for one reason: the tests run the
//! store on a disk of their own that forgets what was not fsynced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, SeekFrom, fadvise};

use crate::direct::Direct;
use crate::durable;

/// The directory of a disk's segments, by their numbers.
pub trait SegmentDir: Send + Sync + 'static {
    /// The numbers of all segments that are there, in any order.
    fn list(&self) -> io::Result<Vec<u64>>;
    /// Makes a segment that is not there yet, empty.
    fn create(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>>;
    fn open(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>>;
    /// The same; its reads are of the disk, whatever is in memory.
    fn open_direct(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>>;
    fn remove(&self, number: u64) -> io::Result<()>;
    /// Fsyncs the directory: which segments there are.
    fn sync(&self) -> io::Result<()>;
    /// The room on the file system.
    fn space(&self) -> io::Result<Space>;
}

/// One segment's file. All offsets and lengths are bytes.
pub trait SegmentFile: Send + Sync + 'static {
    /// Where the last written byte ends; room allocated ahead does not count.
    fn end(&self) -> io::Result<u64>;
    /// Fills the buffer from `offset`; `UnexpectedEof` where the file is shorter.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// All of this will be read at once: where it is not in memory yet, the disk may begin with all of it.
    fn will_read(&self, _offset: u64, _len: u64) {}
    /// Writes all the pieces, one after the other, from `offset`.
    fn write_at(&self, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Fsyncs the data, and what reading it needs. It must not be called again after it failed.
    fn sync(&self) -> io::Result<()>;
    /// Allocates room ahead of writing, without moving the end.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Cuts the file off at `len`, and gives back room allocated beyond.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Gives the bytes back to the file system; they read as zeros.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;
    /// The first offset from `offset` on that may hold data; `None` where only holes follow.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>>;
}

/// The room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub capacity: u64,
    /// What this process may still write.
    pub free: u64,
}

/// A directory of the file system.
pub struct RealDir(pub PathBuf);

struct RealFile {
    file: File,
    /// Where reads go past the page cache.
    direct: Option<Direct>,
}

impl RealDir {
    fn path(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:016x}.segment"))
    }
}

impl SegmentDir for RealDir {
    fn list(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".segment"));
            // Whatever else lies there is not ours, and none of our business.
            numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
        }
        Ok(numbers)
    }

    fn create(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(durable::PRIVATE);
        Ok(Arc::new(RealFile { file: options.open(self.path(number))?, direct: None }))
    }

    fn open(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(number))?;
        Ok(Arc::new(RealFile { file, direct: None }))
    }

    fn open_direct(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(number))?;
        Ok(Arc::new(RealFile { file, direct: Some(Direct::open(&self.path(number))?) }))
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.path(number))
    }

    fn sync(&self) -> io::Result<()> {
        durable::sync_dir(&self.0)
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.0)?;
        Ok(Space { capacity: stat.f_blocks * stat.f_frsize, free: stat.f_bavail * stat.f_frsize })
    }
}

impl SegmentFile for RealFile {
    fn end(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn will_read(&self, offset: u64, len: u64) {
        // The kernel may do without the advice, and so can we.
        let _ = fadvise(&self.file, offset, NonZeroU64::new(len), Advice::WillNeed);
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.direct {
            Some(direct) => direct.read_exact_at(buffer, offset),
            None => self.file.read_exact_at(buffer, offset),
        }
    }

    fn write_at(&self, mut pieces: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            match rustix::io::pwritev(&self.file, pieces, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    IoSlice::advance_slices(&mut pieces, written);
                    offset += written as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        durable::sync_data(&self.file)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, offset, len)?)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.file, flags, offset, len)?)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        // It moves the file's position, which nobody uses.
        match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(found) => Ok(Some(found)),
            Err(rustix::io::Errno::NXIO) => Ok(None),
            // A file system that knows no holes: all may be data.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => Ok(Some(offset)),
            Err(error) => Err(error.into()),
        }
    }
}
