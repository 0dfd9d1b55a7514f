//! A [`Volume`] as a mounted file system, by FUSE. The kernel's cache writes through: what the volume was not told,
//! no process was told was written.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;

use super::volume::{Attributes, PAGE, Refusal, Volume};

/// For so long the kernel believes what it was told; nobody else changes the volume.
const TTL: Duration = Duration::from_secs(60);
/// What the file system says its size is, in pages: 16 GiB.
const PAGES: u64 = 4 << 20;

/// A volume that is mounted. Unmounted when it is dropped.
pub struct Mounted {
    volume: Arc<Mutex<Volume>>,
    session: Option<BackgroundSession>,
    at: PathBuf,
}

impl Mounted {
    /// `None` where nothing may be mounted.
    pub fn mount(volume: Volume, at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a mount point");
        let volume = Arc::new(Mutex::new(volume));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("powercut".to_owned()), MountOption::NoAtime];
        let session = fuser::spawn_mount(Disk(volume.clone()), at, &config);
        let session = session.inspect_err(|error| eprintln!("nothing can be mounted: {error}")).ok()?;
        Some(Self { volume, session: Some(session), at: at.to_owned() })
    }

    /// From now on every call fails; what comes back is what the disk holds.
    pub fn cut(&self, random: &mut StdRng) -> Volume {
        self.volume.lock().cut(random)
    }

    /// Lets go of the mount point; nobody may use it any more. The volume as it is now.
    pub fn unmount(mut self) -> Volume {
        let session = self.session.take().expect("it is mounted");
        session.umount_and_join().expect("it is unmounted");
        self.volume.lock().clone()
    }

    /// Mounts another volume in its place, which nobody may use meanwhile.
    pub fn mount_instead(&mut self, volume: Volume) {
        let session = self.session.take().expect("it is mounted");
        session.umount_and_join().expect("it is unmounted");
        *self = Self::mount(volume, &self.at).expect("it could be mounted before");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.session.is_some() {
            let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.at).status();
        }
    }
}

struct Disk(Arc<Mutex<Volume>>);

impl From<Refusal> for Errno {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotThere => Self::ENOENT,
            Refusal::Exists => Self::EEXIST,
            Refusal::NotADirectory => Self::ENOTDIR,
            Refusal::IsADirectory => Self::EISDIR,
            Refusal::NotEmpty => Self::ENOTEMPTY,
            Refusal::Cut => Self::EIO,
        }
    }
}

fn attr(inode: u64, attributes: &Attributes) -> FileAttr {
    let time = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(inode),
        size: attributes.len,
        blocks: attributes.pages * (PAGE / 512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: if attributes.is_directory { FileType::Directory } else { FileType::RegularFile },
        perm: attributes.mode,
        nlink: 1,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or(0o600)
}

impl Disk {
    fn entry(&self, inode: Result<u64, Refusal>) -> Result<FileAttr, Refusal> {
        let inode = inode?;
        Ok(attr(inode, &self.0.lock().attributes(inode)?))
    }
}

fn answer(reply: ReplyEmpty, done: Result<(), Refusal>) {
    match done {
        Ok(()) => reply.ok(),
        Err(refusal) => reply.error(refusal.into()),
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.0.lock().lookup(parent.0, name);
        match self.entry(found) {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.entry(Ok(inode.0)) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = || {
            let mut volume = self.0.lock();
            if let Some(mode) = mode {
                volume.set_mode(inode.0, permissions(mode))?;
            }
            if let Some(size) = size {
                volume.truncate(inode.0, size)?;
            }
            Ok(inode.0)
        };
        let changed = change();
        match self.entry(changed) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let made = self.0.lock().create(parent.0, name, permissions(mode & !umask), true);
        match self.entry(made) {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let made = self.0.lock().create(parent.0, name, permissions(mode & !umask), false);
        match self.entry(made) {
            Ok(attr) => reply.created(&TTL, &attr, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.0.lock().unlink(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.0.lock().unlink(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        answer(reply, self.0.lock().rename((parent.0, name), (new_parent.0, new_name)));
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.0.lock().attributes(inode.0) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.lock().read(inode.0, offset, size.into()) {
            Ok(bytes) => reply.data(&bytes),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.lock().write(inode.0, offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(0)),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.0.lock().sync_file(inode.0));
    }

    fn fsyncdir(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.0.lock().sync_directory(inode.0));
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let volume = self.0.lock();
        let entries = match volume.entries(inode.0) {
            Ok(entries) => entries,
            Err(refusal) => return reply.error(refusal.into()),
        };
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (place, (name, inode)) in entries.into_iter().enumerate().skip(skip) {
            let is_directory = volume.attributes(inode).is_ok_and(|attributes| attributes.is_directory);
            let kind = if is_directory { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(inode), place as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(PAGES, PAGES, PAGES, 1 << 20, 1 << 20, 4096, 255, 4096);
    }

    fn fallocate(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        const KEEP_SIZE: i32 = 1;
        const PUNCH_HOLE: i32 = 2;
        let end = offset.saturating_add(length);
        let mut volume = self.0.lock();
        match mode {
            0 => answer(reply, volume.allocate(inode.0, end)),
            KEEP_SIZE => answer(reply, volume.attributes(inode.0).map(drop)),
            _ if mode == KEEP_SIZE | PUNCH_HOLE => answer(reply, volume.punch(inode.0, offset..end)),
            _ => reply.error(Errno::EOPNOTSUPP),
        }
    }
}
