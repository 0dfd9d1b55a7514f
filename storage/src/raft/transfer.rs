//! Snapshots on their way. Out: what must stay of the sender's log until they are there. In: a snapshot on its way in. Its pieces are kept in a file on the receiving disk until all are there, so that a transfer
//! that breaks off changes nothing, and memory holds one piece at a time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::store::{SnapshotFrames, StoreError};

/// The greatest piece, in bytes.
const MAX_FRAME: u32 = 16 << 20;

/// After the end of a transfer the log stays so long still: until then the first entries after it are under way, which
/// openraft itself does not cut.
const HELD_AFTER: Duration = Duration::from_secs(5);

/// The snapshots that a replica sends. Whoever gets one needs what comes after it in the log; if that was cut meanwhile it
/// needs another snapshot, and never catches up.
#[derive(Default)]
pub(super) struct Sending(Mutex<BTreeMap<u64, Held>>);

struct Held {
    /// The last entry in the snapshot.
    index: u64,
    ended: Option<Instant>,
}

impl Sending {
    /// Keeps what comes after `index` for as long as the answer lives, and a moment longer.
    pub(super) fn begin(self: &Arc<Self>, index: u64) -> Hold {
        let mut held = self.0.lock();
        let number = held.last_key_value().map_or(0, |(last, _)| last + 1);
        held.insert(number, Held { index, ended: None });
        Hold { sending: self.clone(), number }
    }

    /// Up to where the log may be cut, inclusive; `None` where no transfer is under way.
    pub(super) fn may_be_cut_to(&self) -> Option<u64> {
        let mut held = self.0.lock();
        held.retain(|_, held| held.ended.is_none_or(|ended| ended.elapsed() < HELD_AFTER));
        held.values().map(|held| held.index).min()
    }
}

/// A transfer that a replica's log is kept for.
pub(super) struct Hold {
    sending: Arc<Sending>,
    number: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(held) = self.sending.0.lock().get_mut(&self.number) {
            held.ended = Some(Instant::now());
        }
    }
}

/// A transfer that is under way.
pub(super) struct Incoming {
    transfer: u64,
    path: PathBuf,
    file: BufWriter<File>,
    frames: u64,
    digest: Digest,
}

/// What must have arrived at the end of a transfer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) frames: u64,
    pub(super) digest: [u8; 32],
}

/// BLAKE3 of the pieces and their lengths.
#[derive(Default)]
pub(super) struct Digest(blake3::Hasher);

impl Digest {
    pub(super) fn update(&mut self, frame: &[u8]) {
        self.0.update(&(frame.len() as u64).to_le_bytes()).update(frame);
    }

    pub(super) fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

impl Incoming {
    /// Blocks.
    pub(super) fn create(path: PathBuf, transfer: u64) -> io::Result<Self> {
        let file = BufWriter::new(File::create(&path)?);
        Ok(Self { transfer, path, file, frames: 0, digest: Digest::default() })
    }

    /// Whether this is the transfer of that number, with so many pieces so far.
    pub(super) fn is_at(&self, transfer: u64, frames: u64) -> bool {
        self.transfer == transfer && self.frames == frames
    }

    /// Blocks.
    pub(super) fn push(&mut self, frame: &[u8]) -> io::Result<()> {
        let len = u32::try_from(frame.len()).ok().filter(|len| *len <= MAX_FRAME);
        let len = len.ok_or_else(|| io::Error::other("a snapshot's piece is too large"))?;
        self.file.write_all(&len.to_le_bytes())?;
        self.file.write_all(frame)?;
        self.digest.update(frame);
        self.frames += 1;
        Ok(())
    }

    /// All pieces, to be read again, if they are the ones that were sent. Blocks.
    pub(super) fn finish(mut self, digest: [u8; 32]) -> io::Result<Received> {
        if self.digest.finish() != digest {
            return Err(io::Error::other("the snapshot is not the one that was sent"));
        }
        self.file.flush()?;
        let file = BufReader::new(File::open(&self.path)?);
        Ok(Received { file, left: self.frames, incoming: self })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // What stays behind is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// A snapshot that has arrived.
pub(super) struct Received {
    file: BufReader<File>,
    left: u64,
    /// Keeps the file until the last piece is read.
    #[allow(dead_code, reason = "held for its drop")]
    incoming: Incoming,
}

impl Received {
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut len = [0; 4];
        self.file.read_exact(&mut len)?;
        let mut frame = vec![0; u32::from_le_bytes(len).min(MAX_FRAME) as usize];
        self.file.read_exact(&mut frame)?;
        self.left -= 1;
        Ok(Some(frame))
    }
}

impl SnapshotFrames for Received {
    fn next_frame(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        self.read().map_err(|error| StoreError::Disk(format!("a received snapshot cannot be read: {error}")))
    }

    fn marker(&self) -> Option<&[u8]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_kept_from_the_oldest_snapshot_that_is_sent_on_until_a_moment_after() {
        let sending = Arc::new(Sending::default());
        assert_eq!(sending.may_be_cut_to(), None);
        let (first, second) = (sending.begin(7), sending.begin(9));
        assert_eq!(sending.may_be_cut_to(), Some(7));
        drop(first);
        assert_eq!(sending.may_be_cut_to(), Some(7), "what comes after it is not under way yet");
        sending.0.lock().get_mut(&0).unwrap().ended = Instant::now().checked_sub(HELD_AFTER);
        assert_eq!(sending.may_be_cut_to(), Some(9));
        drop(second);
    }

    #[test]
    fn pieces_come_out_as_they_went_in_and_the_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1-2");
        let mut incoming = Incoming::create(path.clone(), 7).unwrap();
        let mut digest = Digest::default();
        for frame in [&b"one"[..], b"", b"three"] {
            incoming.push(frame).unwrap();
            digest.update(frame);
        }
        assert!(incoming.is_at(7, 3) && !incoming.is_at(7, 2) && !incoming.is_at(8, 3));
        let mut received = incoming.finish(digest.finish()).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = received.next_frame().unwrap() {
            frames.push(frame);
        }
        assert_eq!(frames, [&b"one"[..], b"", b"three"]);
        drop(received);
        assert!(!path.exists());
    }
}
