//! The only place of this crate that changes a file system: files created, written, cut, renamed, removed and synced,
//! small files replaced atomically; and exact reads. Everything else goes through it, so that tests see each change in
//! order and can make it fail or wait. The invariant of `replace`: whatever the moment of a crash, a reader finds the
//! old content or the new one, never a mixture.

#[cfg(any(test, feature = "disk-hooks"))]
pub mod hooks;
#[cfg(not(any(test, feature = "disk-hooks")))]
mod hooks {
    //! Nothing watches a broker that ships.

    use std::io::{self, IoSlice};

    use super::Change;

    #[inline(always)]
    pub(super) fn around<T>(_change: &Change<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        act()
    }

    #[inline(always)]
    pub(super) fn copied(_slices: &[IoSlice<'_>]) -> Vec<u8> {
        Vec::new()
    }
}

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::StorageError;
use crate::names;

/// One change of the file system, or a sync of what was changed.
#[derive(Clone, Copy, Debug)]
// Without hooks nobody reads them.
#[cfg_attr(not(any(test, feature = "disk-hooks")), allow(dead_code))]
pub enum Change<'a> {
    /// A new file, or one that is emptied.
    Create(&'a Path),
    Write {
        file: &'a File,
        position: u64,
        bytes: &'a [u8],
    },
    SetLength(&'a File, u64),
    Rename {
        from: &'a Path,
        to: &'a Path,
    },
    Remove(&'a Path),
    CreateDir(&'a Path),
    /// With all that is in it.
    RemoveDir(&'a Path),
    SyncFile(&'a File),
    SyncDir(&'a Path),
}

/// How many slices one system call takes (IOV_MAX on Linux).
const SLICES_PER_CALL: usize = 1024;

/// Whether a file must outlive a power loss once the call returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives the end of the process; the kernel writes it when it likes.
    PageCache,
    /// Survives a power loss.
    Synced,
}

/// Writes all slices, in order, at `position`. After an error an unknown part of them may have been written.
pub(crate) fn write_all_at(file: &File, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
    let bytes = hooks::copied(slices);
    hooks::around(&Change::Write { file, position, bytes: &bytes }, || write_slices(file, slices, position))
}

fn write_slices(file: &File, mut slices: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let count = slices.len().min(SLICES_PER_CALL);
        match rustix::io::pwritev(file.as_fd(), &slices[..count], position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Reads up to `buffer.len()` bytes at `position`, fewer only at the end of the file.
pub(crate) fn read_up_to(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Replaces the file at `path` by `content`: a temporary file beside it, renamed over it.
pub(crate) fn replace(path: &Path, content: &[u8], durability: Durability) -> Result<(), StorageError> {
    let temporary = with_suffix(path, names::TEMPORARY);
    let written = write_new(&temporary, content, durability).and_then(|()| rename(&temporary, path));
    if let Err(error) = written {
        // What is left of it is removed at the next start, if not now.
        let _ = remove(&temporary);
        return Err(StorageError::io("write", path, error));
    }
    match (durability, path.parent()) {
        (Durability::Synced, Some(dir)) => sync_dir(dir),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let file = create(path)?;
    write_all_at(&file, &mut [IoSlice::new(content)], 0)?;
    match durability {
        Durability::Synced => sync_file(&file),
        Durability::PageCache => Ok(()),
    }
}

/// Makes a file's bytes and its length outlive a power loss; not its name, which `sync_dir` does.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    hooks::around(&Change::SyncFile(file), || file.sync_data())
}

/// Makes created, renamed and removed names of a folder outlive a power loss.
pub fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    let folder = File::open(dir).map_err(|error| StorageError::io("open", dir, error))?;
    hooks::around(&Change::SyncDir(dir), || folder.sync_all()).map_err(|error| StorageError::sync(dir, error))
}

/// The content of a file of at most `bytes_max` bytes; `None` if there is no such file.
pub(crate) fn read_small(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io("open", path, error)),
    };
    let failed = |error| StorageError::io("read", path, error);
    let length = file.metadata().map_err(failed)?.len();
    if length > bytes_max {
        let reason = format!("{length} bytes, where at most {bytes_max} are expected");
        return Err(StorageError::Damaged { path: path.to_path_buf(), reason });
    }
    let mut content = Vec::with_capacity(length as usize);
    Read::take(&mut file, bytes_max).read_to_end(&mut content).map_err(failed)?;
    Ok(Some(content))
}

/// Opens a file for reading and writing; one that is not there is an error.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// As `open`, but creates a file that is not there.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        result => result,
    }
}

/// Creates a file for reading and writing, and empties one that is there.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    hooks::around(&Change::Create(path), || {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
    })
}

/// Cuts a file to `length` bytes, or extends it by zeros.
pub(crate) fn set_length(file: &File, length: u64) -> io::Result<()> {
    hooks::around(&Change::SetLength(file, length), || file.set_len(length))
}

/// Says when a file was last written: only an age, which no crash test looks at.
pub(crate) fn set_modified(file: &File, time: SystemTime) -> io::Result<()> {
    file.set_modified(time)
}

/// Gives a file so many bytes of the disk, which nobody else gets as long as it is there.
pub(crate) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    hooks::around(&Change::SetLength(file, bytes), || {
        Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes)?)
    })
}

/// Gives a file or folder another name, in place of what bears that now.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    hooks::around(&Change::Rename { from, to }, || fs::rename(from, to))
}

/// Creates a folder, and those above it that are missing; one that is there is fine.
pub fn create_dirs(dir: &Path) -> Result<(), StorageError> {
    let failed = |error| StorageError::io("create", dir, error);
    let missing: Vec<&Path> =
        dir.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.is_dir()).collect();
    for missing in missing.into_iter().rev() {
        let created = hooks::around(&Change::CreateDir(missing), || fs::create_dir(missing));
        // Somebody else may have been faster.
        created.or_else(|error| if missing.is_dir() { Ok(()) } else { Err(failed(error)) })?;
    }
    Ok(())
}

/// Removes a folder with all that is in it; one that is not there is fine.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), StorageError> {
    match hooks::around(&Change::RemoveDir(dir), || fs::remove_dir_all(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", dir, error)),
        _ => Ok(()),
    }
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), StorageError> {
    match hooks::around(&Change::Remove(path), || fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// `path` with `.suffix` appended to its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_slices_are_written_in_order_at_their_position() {
        let dir = tempfile::tempdir().unwrap();
        let file = open_or_create(&dir.path().join("f")).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        let parts: Vec<Vec<u8>> = (0..3000u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        slices.insert(5, IoSlice::new(b""));
        write_all_at(&file, &mut slices, 3).unwrap();
        let mut all = vec![0; 3 + 12_000];
        assert_eq!(read_up_to(&file, &mut all, 0).unwrap(), 12_003);
        assert_eq!(&all[..3], b"abc");
        assert_eq!(&all[3..], parts.concat());
        assert_eq!(read_up_to(&file, &mut [0; 10], 12_000).unwrap(), 3);
    }

    #[test]
    fn a_small_file_is_replaced_whole_and_read_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        assert_eq!(read_small(&path, 10).unwrap(), None);
        replace(&path, b"first", Durability::Synced).unwrap();
        replace(&path, b"second", Durability::PageCache).unwrap();
        assert_eq!(read_small(&path, 10).unwrap().unwrap(), b"second");
        assert!(matches!(read_small(&path, 5), Err(StorageError::Damaged { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
