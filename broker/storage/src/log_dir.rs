//! A folder of `log.dirs`: the lock that keeps a second process out, `meta.properties` that says whose it is, Kafka's
//! checkpoints over all its partitions, and the partitions' folders. The broker opens it first, then a `Log` for each
//! partition with what the checkpoints say. The invariant: the note of a clean stop is gone before anything can be
//! appended, and written only after every log has closed cleanly.

mod checkpoints;
mod folders;
mod futures;
mod meta;
mod reserve;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ottla_model::ids::TopicPartition;
use parking_lot::Mutex;
use rustix::fs::FlockOperation;

use crate::disk::{self, Durability};
use crate::error::StorageError;

pub use checkpoints::Offsets;
pub use folders::PartitionDir;
pub use meta::Owner;

const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// An opened folder of `log.dirs`. The lock is held until it is dropped.
pub struct LogDir {
    path: PathBuf,
    owner: Owner,
    was_clean: bool,
    /// Partitions that a checkpoint may name: what it says of one must not be taken for the next of that name.
    noted: Mutex<HashSet<TopicPartition>>,
    lock: File,
}

impl LogDir {
    /// Opens `path`, and creates it for `node_id` if there is no such folder. `cluster_id` is what the broker knows
    /// from its other folders; without it, that of the folder holds, or a new one is made.
    ///
    /// # Errors
    /// `Locked` if another process has it, `Foreign` if it belongs to another node or cluster; those of the disk.
    pub fn open(path: &Path, node_id: i32, cluster_id: Option<&str>) -> Result<LogDir, StorageError> {
        disk::create_dirs(path)?;
        let path = path.canonicalize().map_err(|error| StorageError::io("find", path, error))?;
        let lock = lock(&path)?;
        let owner = meta::ensure(&path, node_id, cluster_id)?;
        let clean_shutdown = path.join(CLEAN_SHUTDOWN);
        let was_clean = clean_shutdown.exists();
        disk::remove(&clean_shutdown)?;
        if was_clean {
            disk::sync_dir(&path)?;
        }
        let dir = LogDir { path, owner, was_clean, noted: Mutex::default(), lock };
        dir.note_all()?;
        dir.finish_deletions()?;
        Ok(dir)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `meta.properties` says.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// True if the last process that had this folder closed every log in it.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Looks whether the folder is still the one that was opened: files of a folder that was removed, or over which another
    /// one was mounted, can be written for long before anything fails.
    ///
    /// # Errors
    /// `Io` if it is not there or is another one.
    pub fn check_in_place(&self) -> Result<(), StorageError> {
        let path = self.path.join(LOCK);
        let failed = |error| StorageError::io("find", &path, error);
        let there = fs::metadata(&path).map_err(failed)?;
        let held = self.lock.metadata().map_err(failed)?;
        if (there.dev(), there.ino()) != (held.dev(), held.ino()) {
            return Err(failed(io::Error::other("the folder was replaced by another one")));
        }
        Ok(())
    }

    /// Notes that every log of the folder has closed cleanly; the last thing to do with it. `broker_epoch` is what
    /// the controller gave this broker, -1 if it gave none.
    ///
    /// # Errors
    /// Those of the disk; the next start then recovers.
    pub fn mark_clean(&self, broker_epoch: i64) -> Result<(), StorageError> {
        let note = serde_json::json!({ "version": 0, "brokerEpoch": broker_epoch });
        disk::replace(&self.path.join(CLEAN_SHUTDOWN), note.to_string().as_bytes(), Durability::Synced)
    }
}

fn lock(dir: &Path) -> Result<File, StorageError> {
    let path = dir.join(LOCK);
    let file = disk::open_or_create(&path).map_err(|error| StorageError::io("open", &path, error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StorageError::Locked { path: dir.to_path_buf() }),
        Err(errno) => Err(StorageError::io("lock", &path, errno.into())),
    }
}

#[cfg(test)]
mod flips;
#[cfg(test)]
mod tests;
