//! The folders of partitions: `TOPIC-N` with a `partition.metadata` that holds the topic's id, `…-delete` for those
//! that are on their way out, and `…-stray` for those that belong to no topic and wait for a person. A partition is
//! deleted by renaming its folder, so that a crash in between leaves either the whole partition or something that the
//! next start removes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ottla_model::ids::{TopicId, TopicPartition};
use ottla_model::topic_name::CLUSTER_METADATA;

use super::LogDir;
use crate::disk::{self, Durability};
use crate::error::StorageError;
use crate::names;

const DELETE_SUFFIX: &str = "-delete";
const STRAY_SUFFIX: &str = "-stray";
/// The longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;
const METADATA_BYTES_MAX: u64 = 4096;

/// A partition's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDir {
    pub partition: TopicPartition,
    pub path: PathBuf,
    /// `None` if `partition.metadata` is missing or damaged.
    pub topic_id: Option<TopicId>,
}

impl LogDir {
    /// The folders of topics' partitions, by name. Others are left alone, that of the cluster's metadata among them.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn partitions(&self) -> Result<Vec<PartitionDir>, StorageError> {
        let mut partitions = Vec::new();
        for (name, path) in self.folders()? {
            let Some(partition) = parse_folder(&name) else { continue };
            if &*partition.topic == CLUSTER_METADATA {
                continue;
            }
            let topic_id = read_topic_id(&path)?;
            partitions.push(PartitionDir { partition, path, topic_id });
        }
        partitions.sort_by(|one, other| one.partition.cmp(&other.partition));
        Ok(partitions)
    }

    /// Where a partition lies, whether it exists or not.
    pub fn partition_path(&self, partition: &TopicPartition) -> PathBuf {
        self.path.join(partition.to_string())
    }

    /// Creates a partition's folder with its topic's id; one that is there with the same id stays as it is.
    ///
    /// # Errors
    /// `Foreign` if the folder is another topic's; those of the disk.
    pub fn create_partition(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
    ) -> Result<PartitionDir, StorageError> {
        let path = self.partition_path(partition);
        disk::create_dirs(&path)?;
        match read_topic_id(&path)? {
            Some(known) if known == topic_id => {}
            Some(known) => {
                let reason = format!("it holds the topic with id {known}, not {topic_id}");
                return Err(StorageError::Foreign { path, reason });
            }
            None => {
                // What stands there is of an earlier partition of this name.
                self.forget_offsets([partition])?;
                write_topic_id(&path, topic_id)?;
                disk::sync_dir(&self.path)?;
            }
        }
        Ok(PartitionDir { partition: partition.clone(), path, topic_id: Some(topic_id) })
    }

    /// Takes a partition's folder out of sight at once. Returns its new path, which `remove_folder` removes once
    /// `file.delete.delay.ms` has passed; open files stay readable.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn mark_deleted(&self, partition: &TopicPartition) -> Result<PathBuf, StorageError> {
        self.rename(partition, DELETE_SUFFIX)
    }

    /// As `mark_deleted`, for a partition that went on elsewhere: if its name came back after a power loss, the other
    /// replica would be known as the newer one, so a failed sync is only said.
    ///
    /// # Errors
    /// Those of the renaming.
    pub fn retire(&self, partition: &TopicPartition) -> Result<PathBuf, StorageError> {
        let path = self.partition_path(partition);
        let renamed = self.path.join(renamed(partition, DELETE_SUFFIX));
        disk::rename(&path, &renamed).map_err(|error| StorageError::io("rename", &path, error))?;
        if let Err(error) = disk::sync_dir(&self.path) {
            tracing::warn!(%error, "the renaming of a folder that moved may not be on the disk");
        }
        Ok(renamed)
    }

    /// Puts aside a folder of which the cluster's metadata knows nothing. Nobody removes it: it may be all that is left
    /// of a lost cluster. Returns its new path.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn mark_stray(&self, partition: &TopicPartition) -> Result<PathBuf, StorageError> {
        self.rename(partition, STRAY_SUFFIX)
    }

    fn rename(&self, partition: &TopicPartition, suffix: &str) -> Result<PathBuf, StorageError> {
        let path = self.partition_path(partition);
        let renamed = self.path.join(renamed(partition, suffix));
        disk::rename(&path, &renamed).map_err(|error| StorageError::io("rename", &path, error))?;
        disk::sync_dir(&self.path)?;
        Ok(renamed)
    }

    /// Removes a folder that `mark_deleted` has named.
    ///
    /// # Errors
    /// Those of the disk. Anything but such a folder of this `LogDir` is refused.
    pub fn remove_folder(&self, path: &Path) -> Result<(), StorageError> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.parent() != Some(&self.path) || !name.ends_with(DELETE_SUFFIX) {
            let error =
                io::Error::new(io::ErrorKind::InvalidInput, "it is not a deleted partition of this folder");
            return Err(StorageError::io("remove", path, error));
        }
        disk::remove_dir(path)
    }

    /// Removes what earlier runs had marked.
    pub(super) fn finish_deletions(&self) -> Result<(), StorageError> {
        for (name, path) in self.folders()? {
            if name.ends_with(DELETE_SUFFIX) && name.contains('.') {
                self.remove_folder(&path)?;
            }
        }
        Ok(())
    }

    pub(super) fn folders(&self) -> Result<Vec<(String, PathBuf)>, StorageError> {
        let failed = |error| StorageError::io("list", &self.path, error);
        let mut folders = Vec::new();
        for file in fs::read_dir(&self.path).map_err(failed)? {
            let file = file.map_err(failed)?;
            if file.file_type().map_err(failed)?.is_dir()
                && let Ok(name) = file.file_name().into_string()
            {
                folders.push((name, file.path()));
            }
        }
        Ok(folders)
    }
}

/// `TOPIC-N.32 hexadecimal digits-delete`, as Kafka names it, with the topic cut so that it stays a file name.
pub(super) fn renamed(partition: &TopicPartition, suffix: &str) -> String {
    let unique = TopicId::random().0.simple();
    let suffix = format!("-{}.{unique}{suffix}", partition.partition);
    let mut end = partition.topic.len().min(NAME_BYTES_MAX - suffix.len());
    while !partition.topic.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &partition.topic[..end])
}

pub(super) fn parse_folder(name: &str) -> Option<TopicPartition> {
    let (topic, digits) = name.rsplit_once('-')?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    if topic.is_empty() || !is_number {
        return None;
    }
    digits.parse().ok().map(|partition| TopicPartition::new(topic, partition))
}

/// Writes `partition.metadata`, so that it outlives a power loss.
pub(super) fn write_topic_id(dir: &Path, topic_id: TopicId) -> Result<(), StorageError> {
    let text = format!("version: 0\ntopic_id: {topic_id}");
    disk::replace(&dir.join(names::PARTITION_METADATA), text.as_bytes(), Durability::Synced)
}

/// The id in `partition.metadata`; `None` if it is missing or says something else, which is logged.
fn read_topic_id(dir: &Path) -> Result<Option<TopicId>, StorageError> {
    let path = dir.join(names::PARTITION_METADATA);
    let content = match disk::read_small(&path, METADATA_BYTES_MAX) {
        Ok(Some(content)) => content,
        Ok(None) => return Ok(None),
        Err(error @ StorageError::Damaged { .. }) => {
            tracing::error!(%error, "a topic id cannot be read");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&content);
    let id =
        text.lines().find_map(|line| line.strip_prefix("topic_id: ")).and_then(|id| id.trim().parse().ok());
    if id.is_none() {
        tracing::error!(path = %path.display(), "a topic id cannot be read");
    }
    Ok(id)
}
