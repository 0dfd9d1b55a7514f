//! The one place that fsyncs and renames small files. Whoever keeps an identity, a secret or a setting on disk writes
//! it through here, so that after a crash there is the old content or the new one, never half of either.
//!
//! A failed fsync is the caller's to act upon: it must not be tried again, for the kernel may have dropped the pages
//! and would report success the second time.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The mode of files that hold secrets or users' bytes: the owner alone.
pub const PRIVATE: u32 = 0o600;

/// Puts `bytes` at `path`, replacing what is there, durably: a temporary file beside it is written and fsynced, renamed
/// over it, and the directory is fsynced. `mode` is the file's permissions, less the umask.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    // One that a crash left behind may have another mode.
    remove_if_there(&temporary)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| sync_all(&file));
    if let Err(error) = written.and_then(|()| rename(&temporary, path)) {
        // The temporary file is of no use to anybody; the first error is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(())
}

/// Renames a file or a directory, durably. What is at `to` is replaced, if it is a file or an empty directory.
#[allow(clippy::disallowed_methods, reason = "this is the helper that all others use")]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir(parent(to))?;
    if parent(from) != parent(to) {
        sync_dir(parent(from))?;
    }
    Ok(())
}

/// Makes a directory, and those above it that are missing, durably. One that is there already is fine.
pub fn create_dir(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        create_dir(parent(path))?;
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    // Also where it was there: a crash may have come between the making and the fsync.
    sync_dir(parent(path))
}

/// Fsyncs a directory: its entries, that is which files there are.
#[allow(clippy::disallowed_methods, reason = "this is the helper that all others use")]
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Fsyncs a file's data, and of its metadata what reading the data needs (fdatasync).
#[allow(clippy::disallowed_methods, reason = "this is the helper that all others use")]
pub fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Fsyncs a file's data and all its metadata.
#[allow(clippy::disallowed_methods, reason = "this is the helper that all others use")]
pub fn sync_all(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Removes a file; that it is not there is fine. Not durable by itself.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        write_atomic(&path, b"a first, longer content", PRIVATE).unwrap();
        write_atomic(&path, b"second", PRIVATE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_left_half_written_neither_shows_nor_stands_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        write_atomic(&path, b"old", PRIVATE).unwrap();
        // A crash between the write and the rename leaves a torn temporary file, with whatever mode.
        let temporary = temporary_beside(&path).unwrap();
        fs::write(&temporary, b"ne").unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write_atomic(&path, b"new", PRIVATE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"x").unwrap();
        assert!(write_atomic(&path, b"new", PRIVATE).is_err());
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"x");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn directories_are_made_with_those_above_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        create_dir(&path).unwrap();
        create_dir(&path).unwrap();
        assert!(path.is_dir());
    }
}
