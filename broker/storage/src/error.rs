//! The errors of one partition's files and of a log folder. A caller chooses by kind: a full disk is answered and
//! waited out, a failed device takes the folder offline, an offset out of range goes back to the client. The
//! invariant: an error that comes out of an append means that nothing of it is visible.

use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on a log or on its folder failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No space (or quota) is left, or the process may not make a file so large. The operation was undone and may be
    /// tried again once there is space.
    #[error("no space left to {action} {}: {source}", path.display())]
    DiskFull { action: &'static str, path: PathBuf, source: io::Error },
    /// The process ran out of file descriptors. No data is affected; it may be tried again.
    #[error("no file descriptor left to {action} {}: {source}; raise the limit of open files (ulimit -n)", path.display())]
    TooManyOpenFiles { action: &'static str, path: PathBuf, source: io::Error },
    /// The device or the file system failed.
    #[error("could not {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// An earlier failure left the log in a state that only a restart can judge.
    #[error("the log in {} is offline since an earlier failure: {reason}", path.display())]
    Offline { path: PathBuf, reason: String },
    /// The offset asked for is not within the log.
    #[error("offset {requested} is out of range: the log holds {start} to {end} (exclusive)")]
    OffsetOutOfRange { requested: i64, start: i64, end: i64 },
    /// A batch was to be appended below the log's end.
    #[error("a batch with base offset {base_offset} cannot be appended to a log that ends at {end}")]
    OutOfOrderOffset { base_offset: i64, end: i64 },
    /// The bytes handed over are not what their header says.
    #[error("the batch cannot be appended: {0}")]
    BadBatch(String),
    /// A file of the log does not hold what it must hold, and it cannot be rebuilt from others.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    /// The folder is held by another process.
    #[error("{} is locked by another process: stop it, or give this broker a log.dirs of its own", path.display())]
    Locked { path: PathBuf },
    /// The folder belongs to another broker or cluster.
    #[error("{} belongs elsewhere: {reason}", path.display())]
    Foreign { path: PathBuf, reason: String },
}

impl StorageError {
    /// Wraps a failed system call, telling apart what a caller treats differently.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> StorageError {
        let path = path.as_ref().to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StorageError::DiskFull { action, path, source }
            }
            _ if is_out_of_descriptors(&source) => StorageError::TooManyOpenFiles { action, path, source },
            _ => StorageError::Io { action, path, source },
        }
    }

    /// Wraps a failed sync of data that was written already. Whatever its reason, a lack of space included, the kernel may
    /// have dropped what it could not write: this is never one that may be tried again.
    pub(crate) fn sync(path: impl AsRef<Path>, source: io::Error) -> StorageError {
        StorageError::Io { action: "sync", path: path.as_ref().to_path_buf(), source }
    }

    /// True if the same call may succeed later without a restart.
    pub fn is_retriable(&self) -> bool {
        matches!(self, StorageError::DiskFull { .. } | StorageError::TooManyOpenFiles { .. })
    }

    /// The file or folder that the error is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            StorageError::DiskFull { path, .. }
            | StorageError::TooManyOpenFiles { path, .. }
            | StorageError::Io { path, .. }
            | StorageError::Offline { path, .. }
            | StorageError::Damaged { path, .. }
            | StorageError::Locked { path }
            | StorageError::Foreign { path, .. } => Some(path),
            StorageError::OffsetOutOfRange { .. }
            | StorageError::OutOfOrderOffset { .. }
            | StorageError::BadBatch(_) => None,
        }
    }

    /// True if the folder should be taken offline: the device, not the request, is at fault.
    pub fn is_device_failure(&self) -> bool {
        match self {
            // What a caller asked for was impossible whatever the device.
            StorageError::Io { source, .. } => {
                !matches!(source.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename)
            }
            StorageError::Offline { .. } => true,
            _ => false,
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(rustix::io::Errno::MFILE.raw_os_error())
        || code == Some(rustix::io::Errno::NFILE.raw_os_error())
}
