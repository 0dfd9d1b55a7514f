//! A disk that forgets. Segments in memory, page by page, with what is durable and what is not yet; a crash keeps any
//! subset of the un-synced pages, lengths and names. For tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::file::{SegmentDir, SegmentFile, Space};
use super::format::PAGE;

const PAGE_LEN: usize = PAGE as usize;
type Pages = BTreeMap<u64, Arc<[u8]>>;

/// A directory in memory where there is one: what these tests fsync there is not worth a disk's time.
pub fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// How much of an index's log has been synced: the length of each of its files. The rest may be lost.
pub struct SyncedLog {
    index: PathBuf,
    lengths: Mutex<HashMap<PathBuf, u64>>,
}

impl SyncedLog {
    pub fn new(index: &Path) -> Self {
        Self { index: index.to_owned(), lengths: Mutex::default() }
    }

    /// A write was made; with `synced`, all that is there now stays.
    pub fn note(&self, synced: bool) {
        if synced {
            *self.lengths.lock() = log_lengths(&self.index);
        }
    }

    pub fn get(&self) -> HashMap<PathBuf, u64> {
        self.lengths.lock().clone()
    }
}

/// The files of an index's log, and their lengths.
pub fn log_lengths(index: &Path) -> HashMap<PathBuf, u64> {
    let files = std::fs::read_dir(index).unwrap().map(|entry| entry.unwrap());
    let logs = files.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
    // One that RocksDB removes meanwhile is no longer needed.
    logs.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len()))).collect()
}

/// Cheap to clone; all clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    files: BTreeMap<u64, File>,
    /// Which of the files are there after a crash for certain.
    names: Vec<u64>,
    /// Removed files whose removal is not durable.
    removed: BTreeMap<u64, File>,
    /// Changes made so far.
    changes: u64,
    crash_at: Option<u64>,
    rng: StdRng,
    /// What is left after the crash, once it has come; nothing can be changed or read then.
    image: Option<Image>,
    space: Space,
    faults: Faults,
    syncs: u64,
    writes: u64,
}

#[derive(Clone, Default)]
struct File {
    pages: Pages,
    len: u64,
    durable_pages: Pages,
    durable_len: u64,
    /// Pages that cannot be read.
    spoiled: BTreeSet<u64>,
    /// Pages that an fsync failed to write: the kernel takes them for written, and drops them when it likes.
    forgotten: BTreeSet<u64>,
}

struct Image {
    files: BTreeMap<u64, File>,
}

/// What goes wrong, on demand.
#[derive(Clone, Default)]
pub struct Faults {
    pub write: Option<io::ErrorKind>,
    pub read: Option<io::ErrorKind>,
    pub sync: bool,
    /// An fsync waits until that many writes have been made.
    pub sync_after_writes: u64,
}

struct SimFile {
    disk: SimDisk,
    number: u64,
    direct: bool,
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        Self::with(BTreeMap::new(), StdRng::seed_from_u64(seed))
    }

    fn with(files: BTreeMap<u64, File>, rng: StdRng) -> Self {
        let state = State {
            names: files.keys().copied().collect(),
            files,
            removed: BTreeMap::new(),
            changes: 0,
            crash_at: None,
            rng,
            image: None,
            space: Space { capacity: 1 << 40, free: 1 << 40 },
            faults: Faults::default(),
            syncs: 0,
            writes: 0,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// The power fails before the change after the next `changes` changes; a write is half made then.
    pub fn crash_after(&self, changes: u64) {
        let mut state = self.0.state.lock();
        state.crash_at = Some(state.changes + changes);
    }

    /// The power fails now, if it has not failed before. What the disk is after that.
    pub fn crash(&self) -> SimDisk {
        let mut state = self.0.state.lock();
        state.fail_power();
        let rng = StdRng::seed_from_u64(state.rng.random());
        let files = state.image.as_ref().map(|image| image.files.clone()).unwrap_or_default();
        Self::with(files, rng)
    }

    pub fn set_faults(&self, faults: Faults) {
        self.0.state.lock().faults = faults;
        self.0.changed.notify_all();
    }

    pub fn set_free(&self, free: u64) {
        self.0.state.lock().space.free = free;
    }

    /// The kernel drops from memory what it takes for written.
    pub fn evict(&self) {
        self.0.state.lock().files.values_mut().for_each(File::evict);
    }

    /// From now on the page at `offset` cannot be read.
    pub fn spoil(&self, number: u64, offset: u64) {
        self.0.state.lock().file(number).unwrap().spoiled.insert(offset / PAGE);
    }

    /// How many fsyncs of files there were.
    pub fn syncs(&self) -> u64 {
        self.0.state.lock().syncs
    }

    pub fn writes(&self) -> u64 {
        self.0.state.lock().writes
    }

    /// The bytes that the segments take up.
    pub fn occupied(&self) -> u64 {
        self.0.state.lock().files.values().map(|file| file.pages.len() as u64 * PAGE).sum()
    }

    fn change<T>(&self, make: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.state.lock();
        if state.image.is_some() {
            return Err(no_power());
        }
        state.changes += 1;
        if state.crash_at.is_some_and(|at| state.changes > at) {
            state.fail_power();
            return Err(no_power());
        }
        let made = make(&mut state);
        self.0.changed.notify_all();
        made
    }

    fn look<T>(&self, look: impl FnOnce(&State) -> io::Result<T>) -> io::Result<T> {
        let state = self.0.state.lock();
        if state.image.is_some() { Err(no_power()) } else { look(&state) }
    }
}

impl State {
    fn fail_power(&mut self) {
        if self.image.is_some() {
            return;
        }
        let mut files = BTreeMap::new();
        for (number, file) in &self.files {
            if self.names.contains(number) || self.rng.random() {
                files.insert(*number, file.after_crash(&mut self.rng));
            }
        }
        for (number, file) in &self.removed {
            if self.names.contains(number) && !files.contains_key(number) && self.rng.random() {
                files.insert(*number, file.after_crash(&mut self.rng));
            }
        }
        self.image = Some(Image { files });
    }

    fn file(&mut self, number: u64) -> io::Result<&mut File> {
        // An open file can be used after its name is gone.
        let found = match self.files.get_mut(&number) {
            Some(file) => Some(file),
            None => self.removed.get_mut(&number),
        };
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl File {
    /// What a page is on the disk, of those that are not to be written any more, else what it is in memory.
    fn page(&self, number: u64, direct: bool) -> Option<&Arc<[u8]>> {
        let is_lost = direct && self.forgotten.contains(&number);
        if is_lost { self.durable_pages.get(&number) } else { self.pages.get(&number) }
    }

    fn is_dirty(&self, number: u64) -> bool {
        self.pages.get(&number) != self.durable_pages.get(&number)
    }

    /// An fsync fails: what it was to write counts as written.
    fn forget_dirty(&mut self) {
        let dirty: Vec<u64> = self.pages.keys().copied().filter(|number| self.is_dirty(*number)).collect();
        self.forgotten.extend(dirty);
    }

    /// What counts as written is dropped from memory.
    fn evict(&mut self) {
        for number in std::mem::take(&mut self.forgotten) {
            match self.durable_pages.get(&number) {
                Some(page) => drop(self.pages.insert(number, page.clone())),
                None => drop(self.pages.remove(&number)),
            }
        }
    }

    fn sync(&mut self) {
        let forgotten = &self.forgotten;
        let keeps = |number: &u64| !forgotten.contains(number);
        self.durable_pages.retain(|number, _| !keeps(number));
        self.durable_pages.extend(
            self.pages.iter().filter(|(number, _)| keeps(number)).map(|(number, page)| (*number, page.clone())),
        );
        self.durable_len = self.len;
    }

    fn after_crash(&self, rng: &mut StdRng) -> File {
        let mut pages = Pages::new();
        let keep = *[0.0, 0.5, 0.5, 0.95, 1.0].get(rng.random_range(0..5)).unwrap();
        let all: BTreeSet<u64> = self.pages.keys().chain(self.durable_pages.keys()).copied().collect();
        for number in all {
            let new = self.pages.get(&number);
            let old = self.durable_pages.get(&number);
            let may_be_new = !self.forgotten.contains(&number);
            let chosen = if new == old || (rng.random_bool(keep) && may_be_new) { new } else { old };
            chosen.and_then(|page| pages.insert(number, page.clone()));
        }
        let len = if rng.random() { self.len } else { self.durable_len };
        pages.retain(|number, _| number * PAGE < len);
        let (spoiled, forgotten) = (self.spoiled.clone(), BTreeSet::new());
        File { durable_pages: pages.clone(), pages, len, durable_len: len, spoiled, forgotten }
    }
}

impl SegmentDir for SimDisk {
    fn list(&self) -> io::Result<Vec<u64>> {
        self.look(|state| Ok(state.files.keys().copied().collect()))
    }

    fn create(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>> {
        self.change(|state| {
            if state.files.contains_key(&number) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.files.insert(number, File::default());
            Ok(())
        })?;
        Ok(Arc::new(SimFile { disk: self.clone(), number, direct: false }))
    }

    fn open(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>> {
        self.look(|state| state.files.get(&number).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into()))?;
        Ok(Arc::new(SimFile { disk: self.clone(), number, direct: false }))
    }

    fn open_direct(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>> {
        self.open(number)?;
        Ok(Arc::new(SimFile { disk: self.clone(), number, direct: true }))
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        self.change(|state| {
            let file = state.files.remove(&number).ok_or(io::ErrorKind::NotFound)?;
            state.removed.insert(number, file);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.change(|state| {
            state.names = state.files.keys().copied().collect();
            Ok(())
        })
    }

    fn space(&self) -> io::Result<Space> {
        self.look(|state| Ok(state.space))
    }
}

impl SegmentFile for SimFile {
    fn end(&self) -> io::Result<u64> {
        let mut state = self.disk.0.state.lock();
        state.file(self.number).map(|file| file.len)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        if state.image.is_some() {
            return Err(no_power());
        }
        if let Some(kind) = state.faults.read {
            return Err(kind.into());
        }
        let file = state.file(self.number)?;
        if offset + buffer.len() as u64 > file.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let len = (PAGE_LEN - within).min(buffer.len() - done);
            if file.spoiled.contains(&(at / PAGE)) {
                return Err(io::Error::other("a bad sector"));
            }
            match file.page(at / PAGE, self.direct) {
                Some(page) => buffer[done..done + len].copy_from_slice(&page[within..within + len]),
                None => buffer[done..done + len].fill(0),
            }
            done += len;
        }
        Ok(())
    }

    fn write_at(&self, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        assert_eq!((offset % PAGE, bytes.len() % PAGE_LEN), (0, 0), "records are whole pages");
        let write = |state: &mut State| {
            let file = state.file(self.number)?;
            for (number, page) in (offset / PAGE..).zip(bytes.chunks(PAGE_LEN)) {
                file.pages.insert(number, page.into());
                file.forgotten.remove(&number);
            }
            file.len = file.len.max(offset + bytes.len() as u64);
            Ok(())
        };
        {
            // The write that the crash falls upon: its pages are un-synced, like others.
            let mut state = self.disk.0.state.lock();
            if state.image.is_none() && state.crash_at.is_some_and(|at| state.changes == at) {
                write(&mut state)?;
            }
        }
        self.disk.change(|state| {
            if let Some(kind) = state.faults.write {
                return Err(kind.into());
            }
            state.writes += 1;
            write(state)
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        while state.writes < state.faults.sync_after_writes {
            self.disk.0.changed.wait(&mut state);
        }
        drop(state);
        self.disk.change(|state| {
            state.syncs += 1;
            let fails = state.faults.sync;
            let file = state.file(self.number)?;
            if fails {
                file.forget_dirty();
                return Err(io::Error::other("the disk does not answer"));
            }
            file.sync();
            Ok(())
        })
    }

    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.change(|state| {
            let file = state.file(self.number)?;
            file.len = len;
            file.pages.retain(|number, _| number * PAGE < len);
            file.forgotten.retain(|number| number * PAGE < len);
            Ok(())
        })
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.disk.change(|state| {
            let file = state.file(self.number)?;
            let is_within = |number: u64| (offset..offset + len).contains(&(number * PAGE));
            file.pages.retain(|number, _| !is_within(*number));
            file.forgotten.retain(|number| !is_within(*number));
            Ok(())
        })
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let mut state = self.disk.0.state.lock();
        let file = state.file(self.number)?;
        Ok(file.pages.range(offset / PAGE..).next().map(|(number, _)| (number * PAGE).max(offset)))
    }
}

fn no_power() -> io::Error {
    io::Error::other("no power")
}
