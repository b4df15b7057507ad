//! Folders in which a partition that moves from one folder of `log.dirs` to another is being copied: `TOPIC-N.…-future`,
//! as in Kafka. A finished copy takes the partition's own name before the original is marked as deleted, so a crash in
//! between leaves two whole replicas: `newer` says which of them went on.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_model::ids::{TopicId, TopicPartition};

use super::LogDir;
use super::folders::{parse_folder, renamed, write_topic_id};
use crate::disk;
use crate::error::StorageError;
use crate::names;

const FUTURE_SUFFIX: &str = "-future";
/// A point and 32 hexadecimal digits.
const UNIQUE_BYTES: usize = 33;
/// The longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;

impl LogDir {
    /// Whether the folder of a moving partition can be named: Kafka refuses topics for which it cannot.
    pub fn can_be_future(partition: &TopicPartition) -> bool {
        partition.to_string().len() + UNIQUE_BYTES + FUTURE_SUFFIX.len() <= NAME_BYTES_MAX
    }

    /// Creates the folder into which a partition is copied.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn create_future(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
    ) -> Result<PathBuf, StorageError> {
        let path = self.path.join(renamed(partition, FUTURE_SUFFIX));
        disk::create_dirs(&path)?;
        write_topic_id(&path, topic_id)?;
        Ok(path)
    }

    /// Gives a finished copy the partition's name. Returns its path.
    ///
    /// # Errors
    /// Those of the disk; the copy then has the name that it had.
    pub fn promote_future(&self, future: &Path, partition: &TopicPartition) -> Result<PathBuf, StorageError> {
        let path = self.partition_path(partition);
        disk::rename(future, &path).map_err(|error| StorageError::io("rename", future, error))?;
        match disk::sync_dir(&self.path) {
            Ok(()) => Ok(path),
            Err(error) => self.demote(future, partition).and(Err(error)),
        }
    }

    /// Takes the partition's name from a copy again, as its original could not be renamed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn demote(&self, future: &Path, partition: &TopicPartition) -> Result<(), StorageError> {
        let path = self.partition_path(partition);
        disk::rename(&path, future).map_err(|error| StorageError::io("rename", &path, error))
    }

    /// The partitions of which an unfinished copy lies here, with its folder.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn futures(&self) -> Result<Vec<(TopicPartition, PathBuf)>, StorageError> {
        let of = |name: &str| {
            let name = name.strip_suffix(FUTURE_SUFFIX)?;
            let split = name.len().checked_sub(UNIQUE_BYTES)?;
            parse_folder(name.get(..split)?)
        };
        let folders = self.folders()?.into_iter();
        Ok(folders.filter_map(|(name, path)| of(&name).map(|partition| (partition, path))).collect())
    }

    /// Removes an unfinished copy.
    ///
    /// # Errors
    /// Those of the disk. Anything but such a folder of this `LogDir` is refused.
    pub fn remove_future(&self, path: &Path) -> Result<(), StorageError> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.parent() != Some(&self.path) || !name.ends_with(FUTURE_SUFFIX) {
            let reason = std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no unfinished copy");
            return Err(StorageError::io("remove", path, reason));
        }
        disk::remove_dir(path)
    }

    /// Of two whole replicas of one partition the one that was written to last: the other is the same up to where it
    /// ends. True if it is `one`.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn is_newer(one: &Path, other: &Path) -> Result<bool, StorageError> {
        Ok(end_of(one)? > end_of(other)?)
    }
}

/// Base offset and size of the last segment.
fn end_of(dir: &Path) -> Result<(i64, u64), StorageError> {
    let failed = |error| StorageError::io("list", dir, error);
    let mut end = (-1, 0);
    for file in fs::read_dir(dir).map_err(failed)? {
        let file = file.map_err(failed)?;
        let name = file.file_name();
        if let Some((base, names::LOG)) = name.to_str().and_then(names::parse) {
            end = end.max((base, file.metadata().map_err(failed)?.len()));
        }
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_copy_is_found_again_promoted_or_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = LogDir::open(root.path(), 1, None).unwrap();
        let partition = TopicPartition::new("a.b-c", 12);
        let id = TopicId::random();
        let first = dir.create_future(&partition, id).unwrap();
        let second = dir.create_future(&partition, id).unwrap();
        assert!(dir.partitions().unwrap().is_empty());
        let mut expected = vec![(partition.clone(), first.clone()), (partition.clone(), second.clone())];
        let mut found = dir.futures().unwrap();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        let path = dir.promote_future(&first, &partition).unwrap();
        assert_eq!(dir.partitions().unwrap()[0].topic_id, Some(id));
        assert!(dir.remove_future(&path).is_err());
        dir.remove_future(&second).unwrap();
        assert!(dir.futures().unwrap().is_empty() && path.is_dir());
    }

    #[test]
    fn the_replica_that_went_on_is_told_from_the_one_that_was_left() {
        let root = tempfile::tempdir().unwrap();
        let replica = |name: &str, files: &[(i64, usize)]| {
            let path = root.path().join(name);
            fs::create_dir(&path).unwrap();
            for (base, size) in files {
                fs::write(path.join(names::file_name(*base, names::LOG)), vec![0; *size]).unwrap();
            }
            path
        };
        let left = replica("left", &[(0, 900), (10, 50)]);
        let longer = replica("longer", &[(0, 900), (10, 51)]);
        let rolled = replica("rolled", &[(20, 0)]);
        let same = replica("same", &[(10, 50)]);
        assert!(LogDir::is_newer(&longer, &left).unwrap() && LogDir::is_newer(&rolled, &longer).unwrap());
        assert!(!LogDir::is_newer(&left, &longer).unwrap() && !LogDir::is_newer(&same, &left).unwrap());
    }

    #[test]
    fn a_topic_whose_name_leaves_no_room_cannot_move() {
        let named = |length: usize| TopicPartition::new("x".repeat(length), 0);
        assert!(LogDir::can_be_future(&named(213)));
        assert!(!LogDir::can_be_future(&named(214)));
    }
}
