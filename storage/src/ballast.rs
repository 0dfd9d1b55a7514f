//! Room that is held back on a disk, as a file, for the moment in which there is none: RocksDB cannot be opened, nor
//! delete, where it cannot write. The file is let go of when the disk runs out of room, and made again when there is.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FallocateFlags;

use crate::durable;

const FILE: &str = "ballast";
/// It is not longer than this, in bytes, however large the reserve.
const MAX_LEN: u64 = 64 << 20;

/// The ballast of one disk.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    reserve: u64,
    held: AtomicBool,
    /// The file system cannot hold room for a file.
    cannot: AtomicBool,
}

impl Ballast {
    /// Of the disk in `directory`, where `reserve` bytes are to be kept free. Takes up what is there; makes nothing yet.
    pub fn new(directory: &Path, reserve: u64) -> Self {
        let path = directory.join(FILE);
        let len = len(reserve);
        let holds = |file: fs::Metadata| len > 0 && file.len() == len && file.blocks() * 512 >= len;
        let held = fs::metadata(&path).is_ok_and(holds);
        if !held {
            // Of another length, or without the room that it is for.
            remove(&path);
        }
        Self { path, reserve, held: AtomicBool::new(held), cannot: AtomicBool::new(false) }
    }

    /// Lets go of the ballast or makes it again, by what the file system says is free. Answers what counts as free: the
    /// same with and without the ballast, so that its end does not look like room. Blocks.
    pub fn keep(&self, free: u64) -> u64 {
        let len = len(self.reserve);
        if len == 0 || self.cannot.load(Ordering::Relaxed) {
            return free;
        }
        if self.held.load(Ordering::Relaxed) {
            if free < len {
                tracing::warn!(path = %self.path.display(), free, "a disk has no room left; its ballast is let go of");
                remove(&self.path);
                self.held.store(false, Ordering::Relaxed);
            }
            return free;
        }
        let without = free.saturating_sub(len);
        if without >= self.reserve {
            match make(&self.path, len) {
                Ok(()) => self.held.store(true, Ordering::Relaxed),
                Err(error) => {
                    remove(&self.path);
                    if error.kind() == io::ErrorKind::Unsupported {
                        tracing::warn!(path = %self.path.display(), "no ballast: the file system cannot allocate room");
                        self.cannot.store(true, Ordering::Relaxed);
                        return free;
                    }
                    tracing::warn!(path = %self.path.display(), %error, "a ballast was not made");
                }
            }
        }
        without
    }
}

/// Before a disk is opened: lets go of its ballast where less than half of the reserve is free, which is what an opening
/// may need. Answers what is free then, in bytes. Blocks.
///
/// # Errors
/// The file system does not say what is free.
pub fn release_if_short(directory: &Path, reserve: u64) -> io::Result<u64> {
    let path = directory.join(FILE);
    let before = free(directory)?;
    if before >= reserve / 2 || !path.exists() {
        return Ok(before);
    }
    tracing::warn!(path = %path.display(), free = before, "a disk has no room to be opened; its ballast is let go of");
    remove(&path);
    free(directory)
}

fn len(reserve: u64) -> u64 {
    MAX_LEN.min(reserve / 2)
}

fn free(directory: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

fn make(path: &Path, len: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(durable::PRIVATE).open(path)?;
    Ok(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len)?)
}

fn remove(path: &Path) {
    if let Err(error) = durable::remove_if_there(path) {
        tracing::warn!(path = %path.display(), %error, "a ballast was not removed");
    }
}

/// Whether a failure says that there is no room, rather than that the disk is broken.
pub fn is_no_room(failure: &str) -> bool {
    ["No space left on device", "no space left", "Disk quota exceeded", "os error 28", "os error 122"]
        .iter()
        .any(|words| failure.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const RESERVE: u64 = 8 << 20;
    const LEN: u64 = 4 << 20;

    fn file(directory: &Path) -> Option<fs::Metadata> {
        fs::metadata(directory.join(FILE)).ok()
    }

    #[test]
    fn a_ballast_is_held_where_there_is_room_and_let_go_of_where_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(directory.path(), RESERVE);
        assert_eq!(ballast.keep(RESERVE + LEN - 1), RESERVE - 1, "what it would take is not counted as free");
        assert!(file(directory.path()).is_none());
        assert_eq!(ballast.keep(RESERVE + LEN), RESERVE);
        let made = file(directory.path()).unwrap();
        assert!(made.len() == LEN && made.blocks() * 512 >= LEN, "it holds its room");
        assert_eq!(made.permissions().mode() & 0o777, durable::PRIVATE);

        assert_eq!(ballast.keep(LEN), LEN);
        assert!(file(directory.path()).is_some());
        assert_eq!(ballast.keep(LEN - 1), LEN - 1);
        assert!(file(directory.path()).is_none(), "it is let go of");
        assert_eq!(ballast.keep(2 * LEN - 1), LEN - 1, "which does not look like room");
    }

    #[test]
    fn what_is_there_is_taken_up_and_what_holds_no_room_is_not() {
        let directory = tempfile::tempdir().unwrap();
        Ballast::new(directory.path(), RESERVE).keep(RESERVE + LEN);
        let again = Ballast::new(directory.path(), RESERVE);
        assert_eq!(again.keep(RESERVE), RESERVE);
        // A copy of it has its length, and no room behind it.
        let path = directory.path().join(FILE);
        fs::remove_file(&path).unwrap();
        fs::File::create(&path).unwrap().set_len(LEN).unwrap();
        Ballast::new(directory.path(), RESERVE);
        assert!(!path.exists());
        let none = Ballast::new(directory.path(), 0);
        assert_eq!(none.keep(7), 7, "without a reserve there is nothing to hold");
    }
}
