//! Shows that a disk works: a page is written, fsynced, and read back from the disk, past the page cache. What is in
//! memory answers on a disk that hangs, too.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::direct::Direct;
use crate::durable;

const FILE: &str = "probe";
/// A probe is not made more often.
const EVERY: Duration = Duration::from_secs(1);
const LEN: usize = 4096;

/// The probe of one disk.
pub struct Probe {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: Option<(File, Direct)>,
    last: Option<Instant>,
    count: u64,
}

impl Probe {
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join(FILE), state: Mutex::default() }
    }

    /// Returns when the disk has answered, which may be never. A disk that is full, or of which no file can be opened,
    /// has answered. Blocks.
    ///
    /// # Errors
    /// The disk's: what is written does not reach it, or does not come back.
    pub fn run(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.last.is_some_and(|last| last.elapsed() < EVERY) {
            return Ok(());
        }
        state.last = Some(Instant::now());
        state.count += 1;
        let page = state.count.to_be_bytes().repeat(LEN / 8);
        let files = match state.files.take() {
            Some(files) => files,
            // Nothing is known of the disk by that.
            None => match open(&self.path) {
                Ok(files) => files,
                Err(_) => return Ok(()),
            },
        };
        match write_and_read(&files, &page) {
            Ok(()) => {
                state.files = Some(files);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn open(path: &Path) -> io::Result<(File, Direct)> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(durable::PRIVATE).open(path)?;
    Ok((file, Direct::open(path)?))
}

fn write_and_read((file, direct): &(File, Direct), page: &[u8]) -> io::Result<()> {
    file.write_all_at(page, 0)?;
    durable::sync_data(file)?;
    let mut back = vec![0; page.len()];
    direct.read_exact_at(&mut back, 0)?;
    if back == page { Ok(()) } else { Err(io::Error::other("what was written does not come back")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_works_answers_and_one_whose_directory_is_gone_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let probe = Probe::new(dir.path());
        probe.run().unwrap();
        assert_eq!(std::fs::metadata(dir.path().join(FILE)).unwrap().len(), LEN as u64);
        Probe::new(&dir.path().join("gone")).run().unwrap();
    }
}
