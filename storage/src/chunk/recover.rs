//! Brings the index up to date with the segments: after a crash from the last checkpoint on, or anew from the
//! beginning. Runs before anybody reads or writes.
//!
//! It fsyncs what it reads first, and reads it from the disk itself. A process that was killed leaves records in the page
//! cache that no fsync has seen, and one whose fsync failed may leave some that the kernel takes for written; they read
//! well from the cache, and must not be counted on before they are on the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

use super::Options;
use super::batch::Batch;
use super::error::ChunkError;
use super::file::{RealDir, SegmentDir, SegmentFile};
use super::format::{FIRST_RECORD, RecordHeader, SegmentHeader, record_len};
use super::index::{Entry, Index, Location};
use super::scan::{read_segment_header, scan, verify_payload};
use super::segments::Segments;
use crate::durable;

/// The format of the directory as a whole.
const FORMAT: u32 = 1;
const FORMAT_WORD: &str = "cairn-chunks";
/// How many changes are made at once.
const BATCH: usize = 1000;

/// What was found in the segments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Segments that were read.
    pub segments: u64,
    /// Whole records found, and their bytes.
    pub records: u64,
    pub bytes: u64,
    /// Records that were begun and whose bytes are not what was to be written.
    pub torn: u64,
    /// Segments whose header is lost; their records can be found by an index that knows them, and by no other.
    pub unreadable_segments: Vec<u64>,
}

/// The directory of one store.
pub struct Home {
    pub root: PathBuf,
    /// Whoever holds this file has the store.
    pub lock: File,
}

impl Home {
    /// Locks the chunk store of a disk, and makes it where there is none. One of a newer format is left untouched.
    pub fn take(disk: &Path) -> Result<Self, ChunkError> {
        let root = disk.join("chunks");
        let format = root.join("FORMAT");
        let known = match std::fs::read_to_string(&format) {
            Ok(text) => Some(parse_format(&root, &text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(ChunkError::io(format.display().to_string())(error)),
        };
        let failed = || ChunkError::io(root.display().to_string());
        if known.is_none() {
            // A crash while it was first made leaves at most empty directories.
            let segments = root.join("segments");
            if segments.is_dir() && !RealDir(segments).list().map_err(failed())?.is_empty() {
                return Err(ChunkError::NotAStore { path: root, why: "segments without a FORMAT file" });
            }
        }
        durable::create_dir(&root).map_err(failed())?;
        let lock = lock(&root)?;
        durable::create_dir(&root.join("segments")).map_err(failed())?;
        if known.is_none() {
            let text = format!("{FORMAT_WORD} {FORMAT}\n");
            durable::write_atomic(&format, text.as_bytes(), durable::PRIVATE).map_err(failed())?;
        }
        Ok(Self { root, lock })
    }

    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    pub fn segments(&self, options: &Options) -> Segments {
        let real = || Arc::new(RealDir(self.root.join("segments")));
        Segments::new(options.segments.clone().unwrap_or_else(|| real()))
    }
}

fn parse_format(root: &Path, text: &str) -> Result<u32, ChunkError> {
    let not = |why| ChunkError::NotAStore { path: root.to_owned(), why };
    let version = text.trim_end().strip_prefix(FORMAT_WORD).ok_or_else(|| not("the FORMAT file is another's"))?;
    let found: u32 = version.trim_start().parse().map_err(|_| not("the FORMAT file has no version"))?;
    if found > FORMAT {
        return Err(ChunkError::NewerFormat { path: root.to_owned(), found, known: FORMAT });
    }
    Ok(found)
}

fn lock(root: &Path) -> Result<File, ChunkError> {
    let path = root.join("LOCK");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(durable::PRIVATE);
    let file = options.open(&path).map_err(ChunkError::io(path.display().to_string()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ChunkError::InUse { path: root.to_owned() }),
        Err(error) => Err(ChunkError::io(path.display().to_string())(error.into())),
    }
}

/// Makes the index anew from the segments, for a disk whose index is lost. It must not be in use. What it brings back
/// of dropped chunks is harmless: nobody refers to them, and collection drops them again. Nothing is condemned after
/// it. Reads everything on the disk once.
pub fn rebuild_index(disk: &Path, options: Options) -> Result<Report, ChunkError> {
    let root = disk.join("chunks");
    if !root.join("FORMAT").exists() {
        return Err(ChunkError::NotAStore { path: root, why: "there is no FORMAT file" });
    }
    let home = Home::take(disk)?;
    let (old, new) = (home.root.join("index.old"), home.root.join("index.new"));
    for path in [&old, &new] {
        remove_dir(path)?;
    }
    let segments = home.segments(&options);
    let index = Index::open(&new, &options)?;
    let report = recover(&index, &segments, &options)?.0;
    index.flush()?;
    drop(index);
    let swap = |from: &Path, to: &Path| durable::rename(from, to).map_err(ChunkError::io("swapping the index"));
    if home.index().exists() {
        // A crash after this leaves no index; the next start then does all this by itself.
        swap(&home.index(), &old)?;
    }
    swap(&new, &home.index())?;
    remove_dir(&old)?;
    Ok(report)
}

fn remove_dir(path: &Path) -> Result<(), ChunkError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ChunkError::io(format!("removing {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Reads the segments from the index's checkpoint on, and notes a new one after them all. What it returns last is the
/// number for the next segment; no number is used twice, for the index may still speak of one that is gone.
pub fn recover(index: &Index, segments: &Segments, options: &Options) -> Result<(Report, u64), ChunkError> {
    let from = index.checkpoint()?;
    let dir = segments.dir();
    // Which files there are has to be as durable as what is in them.
    dir.sync().map_err(ChunkError::io("an fsync of the segments' directory"))?;
    let mut numbers = dir.list().map_err(ChunkError::io("the segments' directory"))?;
    numbers.sort_unstable();
    numbers.iter().for_each(|number| segments.add(*number));
    for (number, live) in index.live()? {
        if live.chunks > 0 && numbers.binary_search(&number).is_err() {
            tracing::error!(disk = %options.label, segment = number, chunks = live.chunks, "a segment is missing");
        }
        segments.set_live(number, live);
    }
    let mut replay = Replay { index, segments, options, report: Report::default(), buffer: Vec::new() };
    for number in numbers.iter().copied().filter(|number| *number >= from.segment) {
        let start = if number == from.segment { from.offset } else { 0 };
        replay.segment(number, start.max(FIRST_RECORD))?;
    }
    let after_checkpoint = if from.offset == 0 { from.segment } else { from.segment + 1 };
    let next = numbers.last().map_or(1, |last| last + 1).max(after_checkpoint);
    index.set_checkpoint(Location { segment: next, offset: 0 })?;
    Ok((replay.report, next))
}

struct Replay<'a> {
    index: &'a Index,
    segments: &'a Segments,
    options: &'a Options,
    report: Report,
    buffer: Vec<u8>,
}

impl Replay<'_> {
    fn segment(&mut self, number: u64, start: u64) -> Result<(), ChunkError> {
        let failed = || ChunkError::io(format!("segment {number:016x}"));
        let file = self.segments.dir().open_direct(number).map_err(failed())?;
        let end = file.end().map_err(failed())?;
        let header = match read_segment_header(&*file) {
            Ok(header) => header.filter(|header| header.number == number),
            Err(error) => {
                tracing::warn!(segment = number, %error, "a segment's header cannot be read");
                None
            }
        };
        let Some(header) = header else { return self.without_header(number, end) };
        file.sync().map_err(failed())?;
        self.records(number, &*file, &header, start)?;
        // Room that was allocated ahead. Nobody looks here again: that it was given back has to last.
        file.truncate(end).map_err(failed())?;
        file.sync().map_err(failed())?;
        self.report.segments += 1;
        Ok(())
    }

    /// The header is durable before the first record is written: a short file without one never held anything.
    fn without_header(&mut self, number: u64, end: u64) -> Result<(), ChunkError> {
        if end <= FIRST_RECORD && self.segments.live(number).chunks == 0 {
            self.segments.dir().remove(number).map_err(ChunkError::io("removing a segment that was never begun"))?;
            self.segments.forget(number);
            return Ok(());
        }
        tracing::error!(disk = %self.options.label, segment = number, "a segment's header is lost");
        self.report.unreadable_segments.push(number);
        Ok(())
    }

    fn records(
        &mut self,
        number: u64,
        file: &dyn SegmentFile,
        header: &SegmentHeader,
        start: u64,
    ) -> Result<(), ChunkError> {
        let mut batch = Batch::new(self.index, self.segments);
        scan(file, &header.salt, start, |offset, record| {
            self.record(&mut batch, file, Location { segment: number, offset }, record)?;
            if batch.len() >= BATCH {
                std::mem::replace(&mut batch, Batch::new(self.index, self.segments)).write()?;
            }
            Ok(())
        })?;
        batch.write()
    }

    fn record(
        &mut self,
        batch: &mut Batch<'_>,
        file: &dyn SegmentFile,
        location: Location,
        record: RecordHeader,
    ) -> Result<(), ChunkError> {
        if self.index.is_freed(location)? {
            return Ok(());
        }
        let before = batch.look(&record.id)?;
        let is_known = before.as_ref().is_some_and(|entry| entry.location == location);
        match verify_payload(file, location.offset, &record, &mut self.buffer) {
            Ok(true) => {}
            // Known and not right: it rotted. Whoever reads it will find out and have it healed.
            _ if is_known => return Ok(()),
            Ok(false) => {
                // It was never acknowledged. That its room is not given back is no harm.
                let _ = file.punch(location.offset, record_len(record.len));
                self.report.torn += 1;
                return Ok(());
            }
            Err(error) => {
                tracing::warn!(chunk = %record.id, ?location, %error, "a record cannot be read");
                return Ok(());
            }
        }
        self.report.records += 1;
        self.report.bytes += u64::from(record.len);
        match before {
            Some(_) if is_known => {}
            // Of two records the later one counts: it was written because the earlier one was gone or not right.
            Some(entry) if entry.location > location => batch.free(&record.id, location, record.len),
            before => {
                let entry = Entry {
                    location,
                    len: record.len,
                    stored_ms: record.stored_ms,
                    touched_ms: (self.options.clock)(),
                    condemned_ms: None,
                    checksums: record.checksums,
                };
                batch.insert(record.id, before.as_ref(), entry);
            }
        }
        Ok(())
    }
}
