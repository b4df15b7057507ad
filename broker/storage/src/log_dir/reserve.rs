//! Room that a folder keeps for when its disk is full: deleting old segments takes a little, for what must be on the
//! disk before they go, and without it nothing could ever be deleted. Taken when the folder is opened, released by
//! whoever deletes, and taken again once there is room.

use super::LogDir;
use crate::disk;
use crate::error::StorageError;

const RESERVE: &str = ".reserve";
/// Some small files for each of many partitions, one after the other.
const RESERVE_BYTES: u64 = 1 << 20;

impl LogDir {
    /// Takes the room, unless it is taken.
    ///
    /// # Errors
    /// Those of the disk; `DiskFull` while there is no room. A file system that cannot set room aside is none.
    pub fn keep_reserve(&self) -> Result<(), StorageError> {
        let path = self.path.join(RESERVE);
        if path.exists() {
            return Ok(());
        }
        let file = disk::create(&path).map_err(|error| StorageError::io("create", &path, error))?;
        if let Err(error) = disk::allocate(&file, RESERVE_BYTES) {
            let _ = disk::remove(&path);
            if error.kind() != std::io::ErrorKind::Unsupported {
                return Err(StorageError::io("allocate", &path, error));
            }
        }
        Ok(())
    }

    /// Gives the room back to the disk. Returns whether there was any.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn release_reserve(&self) -> Result<bool, StorageError> {
        let path = self.path.join(RESERVE);
        let was_kept = path.exists();
        disk::remove(&path)?;
        Ok(was_kept)
    }
}
