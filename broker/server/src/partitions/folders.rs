//! The folders of `log.dirs` as one place: where a partition lies or is to be created, and the checkpoints that say
//! how far each log was durable. The follower of the metadata stands before it, `storage::LogDir` behind it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_model::ids::{TopicId, TopicPartition};
use ottla_replication::Partition;
use ottla_storage::{LogDir, Offsets, PartitionDir, StorageError};
use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;

/// Why the folders cannot be used.
#[derive(Debug, Error)]
pub enum FoldersError {
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("log.dirs names no folder: give at least one")]
    None,
}

/// Where a partition lies and what the checkpoints say of it.
#[derive(Debug, Clone)]
pub struct Home {
    /// Which of the folders.
    pub folder: usize,
    pub path: PathBuf,
    /// True if the last process that had the folder closed every log in it.
    pub clean: bool,
    pub recovery_point: i64,
    pub log_start: i64,
}

struct Folder {
    dir: LogDir,
    /// As `log.dirs` names it, made absolute.
    name: String,
    recovery_points: Offsets,
    log_starts: Offsets,
    partitions: AtomicUsize,
}

/// All folders, opened and locked.
pub struct Folders {
    folders: Vec<Folder>,
    cluster_id: String,
    /// Held while the checkpoints of a folder are gathered and written, and while a partition changes its folder.
    checkpoints: Mutex<()>,
}

impl Folders {
    /// Opens every folder for this node. They must belong to one cluster.
    ///
    /// # Errors
    /// A folder that another process holds, or that belongs to another node or cluster; those of the disk.
    pub fn open(paths: &[PathBuf], node_id: i32) -> Result<Folders, FoldersError> {
        let mut folders: Vec<Folder> = Vec::with_capacity(paths.len());
        let mut cluster_id: Option<String> = None;
        for path in paths {
            let dir = LogDir::open(path, node_id, cluster_id.as_deref())?;
            cluster_id.get_or_insert_with(|| dir.owner().cluster_id.clone());
            let recovery_points = dir.recovery_points().unwrap_or_else(|error| unreadable(path, &error));
            let log_starts = dir.log_starts().unwrap_or_else(|error| unreadable(path, &error));
            let name = std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
            folders.push(Folder { dir, name, recovery_points, log_starts, partitions: AtomicUsize::new(0) });
        }
        let cluster_id = cluster_id.ok_or(FoldersError::None)?;
        Ok(Folders { folders, cluster_id, checkpoints: Mutex::new(()) })
    }

    /// The cluster's id, from `meta.properties`.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The folder that holds the cluster's metadata: the first one.
    pub fn first(&self) -> &Path {
        self.folders[0].dir.path()
    }

    /// Every partition folder that is there, by partition.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn existing(&self) -> Result<HashMap<TopicPartition, (usize, PartitionDir)>, StorageError> {
        let mut existing = HashMap::new();
        for (index, folder) in self.folders.iter().enumerate() {
            for found in folder.dir.partitions()? {
                let found = match existing.remove(&found.partition) {
                    Some(known) => self.newer(known, (index, found))?,
                    None => (index, found),
                };
                existing.insert(found.1.partition.clone(), found);
            }
        }
        Ok(existing)
    }

    /// Of two folders of one partition the one that was written to last. A move to another folder was cut short by a
    /// crash where both are there; the other one goes, unless it is of another topic.
    fn newer(
        &self,
        one: (usize, PartitionDir),
        other: (usize, PartitionDir),
    ) -> Result<(usize, PartitionDir), StorageError> {
        if one.1.topic_id.is_none() || one.1.topic_id != other.1.topic_id {
            return Ok(other);
        }
        let (kept, gone) =
            if LogDir::is_newer(&one.1.path, &other.1.path)? { (one, other) } else { (other, one) };
        tracing::info!(
            partition = %kept.1.partition, kept = %kept.1.path.display(), removed = %gone.1.path.display(),
            "two replicas of a partition lie here since a move was cut short"
        );
        let dir = &self.folders[gone.0].dir;
        dir.remove_folder(&dir.mark_deleted(&gone.1.partition)?)?;
        Ok(kept)
    }

    /// The folder of this name, as `log.dirs` or the file system has it.
    pub fn find(&self, name: &str) -> Option<usize> {
        let is_named = |folder: &Folder| folder.name == name || folder.dir.path() == Path::new(name);
        self.folders.iter().position(is_named)
    }

    /// As `log.dirs` names the folder, made absolute.
    pub fn name(&self, folder: usize) -> &str {
        &self.folders[folder].name
    }

    /// Bytes of the volume that holds a folder, and how many of them this process may still use.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn volume(&self, folder: usize) -> std::io::Result<(u64, u64)> {
        let stat = rustix::fs::statvfs(self.folders[folder].dir.path())?;
        Ok((stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    /// Held while checkpoints are gathered and written, so that none misses a partition that changes its folder.
    pub fn lock_checkpoints(&self) -> MutexGuard<'_, ()> {
        self.checkpoints.lock()
    }

    /// Creates a folder in which a copy of a partition is made.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn create_future(
        &self,
        folder: usize,
        partition: &TopicPartition,
        topic_id: TopicId,
    ) -> Result<PathBuf, StorageError> {
        self.folders[folder].dir.create_future(partition, topic_id)
    }

    /// Removes a copy that is not wanted any more.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn remove_future(&self, folder: usize, path: &Path) -> Result<(), StorageError> {
        self.folders[folder].dir.remove_future(path)
    }

    /// The copies that an earlier run had not finished, by partition and folder. They are removed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn take_futures(&self) -> Result<Vec<(TopicPartition, usize)>, StorageError> {
        let mut taken = Vec::new();
        for (index, folder) in self.folders.iter().enumerate() {
            for (partition, path) in folder.dir.futures()? {
                folder.dir.remove_future(&path)?;
                taken.push((partition, index));
            }
        }
        Ok(taken)
    }

    /// Puts a finished copy in the place of its original. Returns where it lies then, and where the original lies until
    /// [`Folders::remove`] takes it.
    ///
    /// # Errors
    /// Those of the disk; both have the names that they had.
    pub fn promote(
        &self,
        partition: &TopicPartition,
        from: usize,
        to: usize,
        future: &Path,
    ) -> Result<(PathBuf, PathBuf), StorageError> {
        let (source, target) = (&self.folders[from], &self.folders[to]);
        let path = target.dir.promote_future(future, partition)?;
        match source.dir.retire(partition) {
            Ok(retired) => {
                source.partitions.fetch_sub(1, Ordering::Relaxed);
                target.partitions.fetch_add(1, Ordering::Relaxed);
                Ok((path, retired))
            }
            Err(error) => target.dir.demote(future, partition).and(Err(error)),
        }
    }

    /// The home of a partition that lies in `folder` already.
    pub fn known(&self, folder: usize, found: &PartitionDir) -> Home {
        self.folders[folder].partitions.fetch_add(1, Ordering::Relaxed);
        self.home(folder, &found.partition, found.path.clone())
    }

    /// A new home, in the folder with the fewest partitions.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn create(&self, partition: &TopicPartition, topic_id: TopicId) -> Result<Home, StorageError> {
        let count = |folder: &Folder| folder.partitions.load(Ordering::Relaxed);
        let least = (0..self.folders.len()).min_by_key(|&index| count(&self.folders[index])).unwrap_or(0);
        let created = self.folders[least].dir.create_partition(partition, topic_id)?;
        self.folders[least].partitions.fetch_add(1, Ordering::Relaxed);
        Ok(Home { recovery_point: 0, log_start: 0, ..self.home(least, partition, created.path) })
    }

    /// Takes a partition out of sight. Returns what [`Folders::remove`] takes once its files may go.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn mark_deleted(&self, folder: usize, partition: &TopicPartition) -> Result<PathBuf, StorageError> {
        let path = self.folders[folder].dir.mark_deleted(partition)?;
        self.folders[folder].partitions.fetch_sub(1, Ordering::Relaxed);
        Ok(path)
    }

    /// Puts aside a folder that no topic of the cluster claims; it stays until a person removes it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn mark_stray(&self, folder: usize, partition: &TopicPartition) -> Result<PathBuf, StorageError> {
        self.folders[folder].dir.mark_stray(partition)
    }

    /// Removes a folder that was marked.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn remove(&self, folder: usize, path: &Path) -> Result<(), StorageError> {
        self.folders[folder].dir.remove_folder(path)
    }

    /// Writes the checkpoints of one folder.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn checkpoint(&self, folder: usize, offsets: &Checkpoint) -> Result<(), StorageError> {
        let dir = &self.folders[folder].dir;
        dir.write_recovery_points(&offsets.recovery_points)?;
        dir.write_log_starts(&offsets.log_starts)?;
        dir.write_high_watermarks(&offsets.high_watermarks)
    }

    /// Notes that every log of a folder closed cleanly.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn mark_clean(&self, folder: usize) -> Result<(), StorageError> {
        self.folders[folder].dir.mark_clean(-1)
    }

    /// How many folders there are.
    pub fn len(&self) -> usize {
        self.folders.len()
    }

    /// Never true of opened folders.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    fn home(&self, folder: usize, partition: &TopicPartition, path: PathBuf) -> Home {
        let held = &self.folders[folder];
        Home {
            folder,
            path,
            clean: held.dir.was_clean(),
            recovery_point: held.recovery_points.get(partition).copied().unwrap_or(0),
            log_start: held.log_starts.get(partition).copied().unwrap_or(0),
        }
    }
}

/// What the checkpoint files of a folder say.
#[derive(Debug, Default)]
pub struct Checkpoint {
    pub recovery_points: Offsets,
    pub log_starts: Offsets,
    pub high_watermarks: Offsets,
}

impl Checkpoint {
    /// Notes where a partition stands.
    pub fn note(&mut self, partition: &Partition) {
        let name = partition.topic_partition();
        let (log_start, recovery_point) = partition.checkpoint();
        self.recovery_points.insert(name.clone(), recovery_point);
        self.log_starts.insert(name.clone(), log_start);
        self.high_watermarks.insert(name.clone(), partition.high_watermark());
    }
}

/// A damaged checkpoint costs a longer recovery, never data: every log of the folder is walked from its start.
fn unreadable(path: &Path, error: &StorageError) -> Offsets {
    tracing::warn!(folder = %path.display(), %error, "a checkpoint cannot be read: recovery begins at each log's start");
    Offsets::default()
}
