//! A file system in memory that knows what of it a power cut would leave: what was synced, and of the rest whatever
//! chance lets through: single pages, lengths, names. Pure; `mount` puts it below a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::sync::Arc;

use rand::Rng;

pub const PAGE: u64 = 4096;
pub const ROOT: u64 = 1;

/// What may go wrong; each has one errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotThere,
    Exists,
    NotADirectory,
    IsADirectory,
    NotEmpty,
    /// The power is gone.
    Cut,
}

type Page = Arc<[u8; PAGE as usize]>;
type Entries = BTreeMap<OsString, u64>;

/// The bytes of a file. A page that is not there is a hole.
#[derive(Clone, Default)]
struct Image {
    len: u64,
    pages: BTreeMap<u64, Page>,
}

#[derive(Clone, Default)]
struct File {
    now: Image,
    durable: Image,
    /// Pages that were changed since the last sync.
    dirty: BTreeSet<u64>,
}

#[derive(Clone, Default)]
struct Directory {
    now: Entries,
    durable: Entries,
}

#[derive(Clone)]
enum Content {
    File(File),
    Directory(Directory),
}

#[derive(Clone)]
struct Inode {
    mode: u16,
    content: Content,
}

/// What a client may know of an inode.
pub struct Attributes {
    pub len: u64,
    pub pages: u64,
    pub mode: u16,
    pub is_directory: bool,
}

/// A change of names that no directory's sync has made durable yet.
#[derive(Clone)]
enum Change {
    Link { directory: u64, name: OsString, inode: u64 },
    Unlink { directory: u64, name: OsString },
    Rename { from: (u64, OsString), to: (u64, OsString), inode: u64 },
}

impl Change {
    fn touches(&self, of: u64) -> bool {
        match self {
            Self::Link { directory, .. } | Self::Unlink { directory, .. } => *directory == of,
            Self::Rename { from, to, .. } => from.0 == of || to.0 == of,
        }
    }
}

#[derive(Clone)]
pub struct Volume {
    inodes: BTreeMap<u64, Inode>,
    next: u64,
    pending: Vec<Change>,
    cut: bool,
}

impl Default for Volume {
    fn default() -> Self {
        let root = Inode { mode: 0o755, content: Content::Directory(Directory::default()) };
        Self { inodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, pending: Vec::new(), cut: false }
    }
}

impl Volume {
    pub fn lookup(&self, directory: u64, name: &OsStr) -> Result<u64, Refusal> {
        self.directory(directory)?.now.get(name).copied().ok_or(Refusal::NotThere)
    }

    pub fn attributes(&self, inode: u64) -> Result<Attributes, Refusal> {
        let Inode { mode, content } = self.inode(inode)?;
        Ok(match content {
            Content::File(file) => {
                Attributes { len: file.now.len, pages: file.now.pages.len() as u64, mode: *mode, is_directory: false }
            }
            Content::Directory(_) => Attributes { len: 0, pages: 0, mode: *mode, is_directory: true },
        })
    }

    pub fn set_mode(&mut self, inode: u64, mode: u16) -> Result<(), Refusal> {
        self.inode_mut(inode).map(|inode| inode.mode = mode)
    }

    /// Every name of a directory, with its inode.
    pub fn entries(&self, directory: u64) -> Result<Vec<(OsString, u64)>, Refusal> {
        Ok(self.directory(directory)?.now.iter().map(|(name, inode)| (name.clone(), *inode)).collect())
    }

    pub fn create(&mut self, directory: u64, name: &OsStr, mode: u16, is_directory: bool) -> Result<u64, Refusal> {
        let inode = self.next;
        let entries = &mut self.directory_mut(directory)?.now;
        if entries.contains_key(name) {
            return Err(Refusal::Exists);
        }
        entries.insert(name.to_owned(), inode);
        let content =
            if is_directory { Content::Directory(Directory::default()) } else { Content::File(File::default()) };
        self.inodes.insert(inode, Inode { mode, content });
        self.next += 1;
        self.pending.push(Change::Link { directory, name: name.to_owned(), inode });
        Ok(inode)
    }

    pub fn unlink(&mut self, directory: u64, name: &OsStr) -> Result<(), Refusal> {
        let inode = self.lookup(directory, name)?;
        if let Content::Directory(inner) = &self.inode(inode)?.content
            && !inner.now.is_empty()
        {
            return Err(Refusal::NotEmpty);
        }
        self.directory_mut(directory)?.now.remove(name);
        self.pending.push(Change::Unlink { directory, name: name.to_owned() });
        Ok(())
    }

    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Refusal> {
        let inode = self.lookup(from.0, from.1)?;
        self.directory(to.0)?;
        self.directory_mut(from.0)?.now.remove(from.1);
        self.directory_mut(to.0)?.now.insert(to.1.to_owned(), inode);
        let owned = |(directory, name): (u64, &OsStr)| (directory, name.to_owned());
        self.pending.push(Change::Rename { from: owned(from), to: owned(to), inode });
        Ok(())
    }

    pub fn read(&self, inode: u64, offset: u64, len: u64) -> Result<Vec<u8>, Refusal> {
        let image = &self.file(inode)?.now;
        let end = offset.saturating_add(len).min(image.len);
        let mut out = Vec::with_capacity(usize::try_from(end.saturating_sub(offset)).unwrap_or(0));
        for (page, range) in pages(offset..end) {
            match image.pages.get(&page) {
                Some(bytes) => out.extend_from_slice(&bytes[range]),
                None => out.resize(out.len() + range.len(), 0),
            }
        }
        Ok(out)
    }

    pub fn write(&mut self, inode: u64, offset: u64, mut data: &[u8]) -> Result<(), Refusal> {
        let file = self.file_mut(inode)?;
        let end = offset + data.len() as u64;
        for (page, range) in pages(offset..end) {
            let (now, rest) = data.split_at(range.len());
            let bytes = file.now.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE as usize]));
            Arc::make_mut(bytes)[range].copy_from_slice(now);
            file.dirty.insert(page);
            data = rest;
        }
        file.now.len = file.now.len.max(end);
        Ok(())
    }

    pub fn truncate(&mut self, inode: u64, len: u64) -> Result<(), Refusal> {
        let file = self.file_mut(inode)?;
        let end = file.now.pages.last_key_value().map_or(0, |(page, _)| (page + 1) * PAGE);
        file.zero(len..end);
        file.now.len = len;
        Ok(())
    }

    /// Makes holes of whole pages, zeros of parts of them.
    pub fn punch(&mut self, inode: u64, range: Range<u64>) -> Result<(), Refusal> {
        let file = self.file_mut(inode)?;
        let end = file.now.pages.last_key_value().map_or(0, |(page, _)| (page + 1) * PAGE);
        file.zero(range.start..range.end.min(end));
        Ok(())
    }

    /// Grows the file to `len`, if it is shorter.
    pub fn allocate(&mut self, inode: u64, len: u64) -> Result<(), Refusal> {
        let file = self.file_mut(inode)?;
        file.now.len = file.now.len.max(len);
        Ok(())
    }

    /// What fsync of a file promises: its bytes and its length, and not its name.
    pub fn sync_file(&mut self, inode: u64) -> Result<(), Refusal> {
        let file = self.file_mut(inode)?;
        let dirty = std::mem::take(&mut file.dirty);
        file.carry_over(dirty);
        file.durable.len = file.now.len;
        Ok(())
    }

    /// What fsync of a directory promises: its names, and all changes of names before the last of its own.
    pub fn sync_directory(&mut self, directory: u64) -> Result<(), Refusal> {
        self.directory(directory)?;
        let Some(last) = self.pending.iter().rposition(|change| change.touches(directory)) else { return Ok(()) };
        let rest = self.pending.split_off(last + 1);
        for change in std::mem::replace(&mut self.pending, rest) {
            self.make_durable(change);
        }
        Ok(())
    }

    /// The power goes: nothing is done here any more, and what comes back is what the disk holds.
    pub fn cut(&mut self, random: &mut impl Rng) -> Self {
        let mut after = self.clone();
        self.cut = true;
        // Journals keep the order of what they take; not every file system has one.
        let in_order = random.random();
        let pending = std::mem::take(&mut after.pending);
        let reached = random.random_range(0..=pending.len());
        for (place, change) in pending.into_iter().enumerate() {
            if if in_order { place < reached } else { random.random() } {
                after.make_durable(change);
            }
        }
        for inode in after.inodes.values_mut() {
            match &mut inode.content {
                Content::Directory(directory) => directory.now.clone_from(&directory.durable),
                Content::File(file) => {
                    let chance = [0.0, 0.5, 1.0][random.random_range(0..3)];
                    let mut dirty = std::mem::take(&mut file.dirty);
                    dirty.retain(|_| random.random_bool(chance));
                    file.carry_over(dirty);
                    if random.random() {
                        file.durable.len = file.now.len;
                    }
                    let len = file.durable.len;
                    file.durable.pages.retain(|page, _| page * PAGE < len);
                    file.now = file.durable.clone();
                }
            }
        }
        after.forget_unreachable();
        after
    }

    fn make_durable(&mut self, change: Change) {
        let mut set = |directory: u64, name: OsString, inode: Option<u64>| {
            // A directory that is not there any more takes its names with it.
            if let Some(Inode { content: Content::Directory(directory), .. }) = self.inodes.get_mut(&directory) {
                match inode {
                    Some(inode) => directory.durable.insert(name, inode),
                    None => directory.durable.remove(&name),
                };
            }
        };
        match change {
            Change::Link { directory, name, inode } => set(directory, name, Some(inode)),
            Change::Unlink { directory, name } => set(directory, name, None),
            Change::Rename { from, to, inode } => {
                set(from.0, from.1, None);
                set(to.0, to.1, Some(inode));
            }
        }
    }

    fn forget_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(inode) = open.pop() {
            if let Some(Inode { content: Content::Directory(directory), .. }) = self.inodes.get(&inode) {
                open.extend(directory.durable.values().filter(|inner| reached.insert(**inner)));
            }
        }
        self.inodes.retain(|inode, _| reached.contains(inode));
    }

    fn inode(&self, inode: u64) -> Result<&Inode, Refusal> {
        if self.cut {
            return Err(Refusal::Cut);
        }
        self.inodes.get(&inode).ok_or(Refusal::NotThere)
    }

    fn inode_mut(&mut self, inode: u64) -> Result<&mut Inode, Refusal> {
        if self.cut {
            return Err(Refusal::Cut);
        }
        self.inodes.get_mut(&inode).ok_or(Refusal::NotThere)
    }

    fn directory(&self, inode: u64) -> Result<&Directory, Refusal> {
        match &self.inode(inode)?.content {
            Content::Directory(directory) => Ok(directory),
            Content::File(_) => Err(Refusal::NotADirectory),
        }
    }

    fn directory_mut(&mut self, inode: u64) -> Result<&mut Directory, Refusal> {
        match &mut self.inode_mut(inode)?.content {
            Content::Directory(directory) => Ok(directory),
            Content::File(_) => Err(Refusal::NotADirectory),
        }
    }

    fn file(&self, inode: u64) -> Result<&File, Refusal> {
        match &self.inode(inode)?.content {
            Content::File(file) => Ok(file),
            Content::Directory(_) => Err(Refusal::IsADirectory),
        }
    }

    fn file_mut(&mut self, inode: u64) -> Result<&mut File, Refusal> {
        match &mut self.inode_mut(inode)?.content {
            Content::File(file) => Ok(file),
            Content::Directory(_) => Err(Refusal::IsADirectory),
        }
    }
}

impl File {
    fn zero(&mut self, range: Range<u64>) {
        for (page, inner) in pages(range) {
            if inner.len() as u64 == PAGE {
                if self.now.pages.remove(&page).is_some() {
                    self.dirty.insert(page);
                }
            } else if let Some(bytes) = self.now.pages.get_mut(&page) {
                Arc::make_mut(bytes)[inner].fill(0);
                self.dirty.insert(page);
            }
        }
    }

    /// These pages are durable as they are now.
    fn carry_over(&mut self, pages: BTreeSet<u64>) {
        for page in pages {
            match self.now.pages.get(&page) {
                Some(bytes) => self.durable.pages.insert(page, bytes.clone()),
                None => self.durable.pages.remove(&page),
            };
        }
    }
}

/// The pages of a range of bytes, each with the part of it that is meant.
fn pages(range: Range<u64>) -> impl Iterator<Item = (u64, Range<usize>)> {
    let (start, end) = (range.start, range.end);
    (start / PAGE..end.div_ceil(PAGE).max(start / PAGE)).map(move |page| {
        let from = start.max(page * PAGE) - page * PAGE;
        let to = end.min((page + 1) * PAGE) - page * PAGE;
        (page, usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const NAME: &str = "a";

    fn file(volume: &mut Volume) -> u64 {
        volume.create(ROOT, OsStr::new(NAME), 0o600, false).unwrap()
    }

    /// What each of many cuts leaves of the file: its bytes, or nothing.
    fn left(volume: &Volume) -> BTreeSet<Option<Vec<u8>>> {
        let left = |seed| {
            let after = volume.clone().cut(&mut StdRng::seed_from_u64(seed));
            let inode = after.lookup(ROOT, OsStr::new(NAME)).ok()?;
            Some(after.read(inode, 0, u64::MAX).unwrap())
        };
        (0..200).map(left).collect()
    }

    #[test]
    fn what_was_synced_is_left_whatever_happens() {
        let mut volume = Volume::default();
        let inode = file(&mut volume);
        volume.write(inode, 10, &[7; 9000]).unwrap();
        volume.sync_file(inode).unwrap();
        let whole = [vec![0; 10], vec![7; 9000]].concat();
        assert_eq!(left(&volume), BTreeSet::from([None, Some(whole.clone())]), "its name is not synced yet");
        volume.sync_directory(ROOT).unwrap();
        assert_eq!(left(&volume), BTreeSet::from([Some(whole)]));
    }

    #[test]
    fn what_was_not_synced_is_left_page_by_page() {
        let mut volume = Volume::default();
        let inode = file(&mut volume);
        volume.sync_directory(ROOT).unwrap();
        volume.write(inode, 0, &[7; 2 * PAGE as usize]).unwrap();
        let page = |byte| vec![byte; PAGE as usize];
        let all = [(0, 0), (0, 7), (7, 0), (7, 7)].map(|(one, two)| Some([page(one), page(two)].concat()));
        assert_eq!(left(&volume), all.into_iter().chain([Some(Vec::new())]).collect());
    }

    #[test]
    fn a_rename_comes_whole_or_not_at_all() {
        let mut volume = Volume::default();
        let old = file(&mut volume);
        volume.write(old, 0, b"old").unwrap();
        volume.sync_file(old).unwrap();
        volume.sync_directory(ROOT).unwrap();
        let new = volume.create(ROOT, OsStr::new("b"), 0o600, false).unwrap();
        volume.write(new, 0, b"new").unwrap();
        volume.sync_file(new).unwrap();
        volume.rename((ROOT, OsStr::new("b")), (ROOT, OsStr::new(NAME))).unwrap();
        let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
        assert_eq!(left(&volume), BTreeSet::from([old, new.clone()]));
        volume.sync_directory(ROOT).unwrap();
        assert_eq!(left(&volume), BTreeSet::from([new]));
    }

    #[test]
    fn a_hole_that_was_not_synced_may_be_filled_again() {
        let mut volume = Volume::default();
        let inode = file(&mut volume);
        volume.write(inode, 0, &[7; PAGE as usize]).unwrap();
        volume.sync_file(inode).unwrap();
        volume.sync_directory(ROOT).unwrap();
        volume.punch(inode, 0..PAGE).unwrap();
        let page = |byte| Some(vec![byte; PAGE as usize]);
        assert_eq!(left(&volume), BTreeSet::from([page(0), page(7)]));
    }

    #[test]
    fn nothing_is_done_after_the_cut() {
        let mut volume = Volume::default();
        let inode = file(&mut volume);
        volume.cut(&mut StdRng::seed_from_u64(1));
        assert_eq!(volume.write(inode, 0, b"x"), Err(Refusal::Cut));
        assert_eq!(volume.sync_file(inode), Err(Refusal::Cut));
        assert_eq!(volume.lookup(ROOT, OsStr::new(NAME)), Err(Refusal::Cut));
    }
}
