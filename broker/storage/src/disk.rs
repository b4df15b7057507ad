//! The few ways in which this crate touches a file system: whole vectored writes at a position, exact reads, small
//! files replaced atomically. The invariant of `replace`: whatever the moment of a crash, a reader finds the old
//! content or the new one, never a mixture.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::StorageError;
use crate::names;

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
pub(crate) fn write_all_at(file: &File, mut slices: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
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
    let written = write_new(&temporary, content, durability).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // What is left of it is removed at the next start, if not now.
        let _ = fs::remove_file(&temporary);
        return Err(StorageError::io("write", path, error));
    }
    match (durability, path.parent()) {
        (Durability::Synced, Some(dir)) => sync_dir(dir),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    match durability {
        Durability::Synced => file.sync_all(),
        Durability::PageCache => Ok(()),
    }
}

/// Makes created, renamed and removed names of a folder outlive a power loss.
pub fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    File::open(dir).and_then(|folder| folder.sync_all()).map_err(|error| StorageError::io("sync", dir, error))
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

/// Opens a file for reading and writing; creates it if `create`.
pub(crate) fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
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
        let file = open(&dir.path().join("f"), true).unwrap();
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
