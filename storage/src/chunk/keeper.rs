//! The thread that keeps a store in order behind the others: gives room back, notes checkpoints, reads the room left.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use super::error::ChunkError;
use super::file::{SegmentFile, Space};
use super::format::FIRST_RECORD;
use super::index::{Changes, Freed, Location};
use super::scan::{read_segment_header, scan};
use super::shared::Shared;

/// How old the room that is known of may be.
const LOOK: Duration = Duration::from_millis(200);
/// How often a checkpoint is noted while there are writes: a start reads and verifies what was written since.
const CHECKPOINT: Duration = Duration::from_secs(2);
/// How many records are given back before it is noted.
const BATCH: usize = 256;

/// Runs until it is told to stop.
pub fn run(shared: &Shared) {
    let mut checkpoint = *shared.committed.lock();
    let mut noted = Instant::now();
    // What was to be given back when the last process ended.
    let mut reap_now = true;
    loop {
        let first = std::mem::take(&mut reap_now);
        let rung = shared.bell.wait(if first { Duration::ZERO } else { LOOK });
        if rung.stop {
            return;
        }
        if shared.has_failed() {
            continue;
        }
        if (rung.reap || first)
            && let Err(error) = reap(shared)
        {
            tracing::warn!(disk = %shared.options.label, %error, "room was not given back");
        }
        look(shared);
        if noted.elapsed() >= CHECKPOINT {
            noted = Instant::now();
            if let Err(error) = note_checkpoint(shared, &mut checkpoint) {
                shared.fail("the chunk index", &error);
            }
        }
    }
}

/// Notes how far the index is complete, if that has changed.
pub fn note_checkpoint(shared: &Shared, last: &mut Location) -> Result<(), ChunkError> {
    let position = *shared.committed.lock();
    if position != *last {
        shared.index.set_checkpoint(position)?;
        *last = position;
    }
    Ok(())
}

/// Asks for the room on the disk, and shows it. A directory that is gone, because the disk was taken out or the
/// directory was moved away, fails the disk: what is still open could be written to, and would be lost.
pub fn look(shared: &Shared) {
    match shared.segments.dir().space() {
        Ok(space) => {
            let free = shared.options.ballast.as_ref().map_or(space.free, |ballast| ballast.keep(space.free));
            shared.room.set(Space { free, ..space });
        }
        Err(error) => shared.fail("the directory of the segments", &error),
    }
    let (space, total) = (shared.room.now(), shared.segments.total());
    shared.metrics.capacity_bytes.set(space.capacity as f64);
    shared.metrics.free_bytes.set(space.free as f64);
    shared.metrics.chunks.set(total.chunks as f64);
    shared.metrics.bytes.set(total.bytes as f64);
    shared.metrics.segments.set(shared.segments.len() as f64);
}

/// Removes segments of which nothing is left, and punches out the records that the index has let go.
pub fn reap(shared: &Shared) -> Result<(), ChunkError> {
    for number in shared.segments.empty() {
        remove_segment(shared, number)?;
    }
    let mut from = Location::default();
    loop {
        let freed = shared.index.freed(from, BATCH)?;
        let Some(last) = freed.last() else { return Ok(()) };
        from = Location { segment: last.location.segment, offset: last.location.offset + 1 };
        let mut changes = Changes::default();
        let mut punched = BTreeSet::new();
        for freed in &freed {
            match give_back(shared, freed)? {
                GivenBack::Punched => drop(punched.insert(freed.location.segment)),
                GivenBack::Already => {}
                GivenBack::Failed => continue,
            }
            changes.forget_freed(freed.location);
        }
        // A note that is forgotten while a crash takes the hole back would leave the room lost.
        for segment in punched {
            sync_holes(shared, segment)?;
        }
        // Not synced: what a crash brings back of it is punched out a second time.
        shared.index.write(changes, false)?;
    }
}

/// Makes holes of a segment durable.
pub fn sync_holes(shared: &Shared, segment: u64) -> Result<(), ChunkError> {
    // Each open file hears of a failed write once. That of the committer must hear of it there.
    let synced = shared.segments.dir().open(segment).and_then(|file| file.sync());
    match synced {
        // The whole segment is gone already.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            shared.fail("an fsync of a segment", &error);
            Err(ChunkError::io("an fsync of a segment")(error))
        }
        Ok(()) => Ok(()),
    }
}

/// What became of a record whose room is to be given back.
enum GivenBack {
    Punched,
    Already,
    Failed,
}

/// Punches out one record.
fn give_back(shared: &Shared, freed: &Freed) -> Result<GivenBack, ChunkError> {
    if shared.index.get(&freed.id)?.is_some_and(|entry| entry.location == freed.location) {
        // It cannot be, and if it is, the chunk is worth more than the room.
        tracing::error!(chunk = %freed.id, "a record that is in use was to be given back");
        return Ok(GivenBack::Already);
    }
    let punched = shared.segments.file(freed.location.segment);
    match punched.and_then(|file| file.punch(freed.location.offset, freed.len)) {
        Ok(()) => Ok(GivenBack::Punched),
        // The whole segment is gone already.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(GivenBack::Already),
        // A file system without holes: the room comes back with the segment.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(GivenBack::Already),
        Err(error) => {
            tracing::warn!(chunk = %freed.id, %error, "a record was not punched out");
            Ok(GivenBack::Failed)
        }
    }
}

/// Removes a sealed segment of which the index is said to hold nothing, after a look at what it does hold.
fn remove_segment(shared: &Shared, number: u64) -> Result<(), ChunkError> {
    let file = match shared.segments.file(number) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return forget(shared, number),
        Err(error) => return Err(ChunkError::io("an empty segment")(error)),
    };
    if !is_unused(shared, number, &*file)? {
        return Ok(());
    }
    match shared.segments.dir().remove(number) {
        Ok(()) => tracing::debug!(disk = %shared.options.label, segment = number, "an empty segment was removed"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(ChunkError::io("removing an empty segment")(error)),
    }
    forget(shared, number)
}

fn forget(shared: &Shared, number: u64) -> Result<(), ChunkError> {
    let mut changes = Changes::default();
    changes.forget_segment(number);
    shared.index.write(changes, false)?;
    shared.segments.forget(number);
    Ok(())
}

/// Whether no record of the segment is in the index. The figures say so; this asks the segment itself, which is nearly
/// free where all was punched out. A segment whose header is lost is kept while there is anything in it.
fn is_unused(shared: &Shared, number: u64, file: &dyn SegmentFile) -> Result<bool, ChunkError> {
    let data = file.next_data(FIRST_RECORD).map_err(ChunkError::io("the holes of a segment"))?;
    if data.is_none() {
        return Ok(true);
    }
    let header = read_segment_header(file).map_err(ChunkError::io("the header of a segment"))?;
    let Some(header) = header else { return Ok(false) };
    let mut used = false;
    scan(file, &header.salt, FIRST_RECORD, |offset, record| {
        let location = Location { segment: number, offset };
        used |= shared.index.get(&record.id)?.is_some_and(|entry| entry.location == location);
        Ok(())
    })?;
    if used {
        tracing::error!(segment = number, "a segment that is in use was to be removed");
    }
    Ok(!used)
}
