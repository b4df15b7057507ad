//! The folders of `log.dirs` as one place: where a partition lies or is to be created, the checkpoints that say how far
//! each log was durable, and which folders have failed. The follower of the metadata stands before it,
//! `storage::LogDir` behind it. Invariant: a folder that failed is not written any more until the broker's next start.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_model::ids::{TopicId, TopicPartition};
use ottla_replication::Partition;
use ottla_storage::{LogDir, Offsets, PartitionDir, StorageError};
use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;
use tokio::sync::watch;

/// The folder that holds the cluster's metadata: the first one, as in Kafka where `metadata.log.dir` is not set.
pub const METADATA_FOLDER: usize = 0;

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
    path: PathBuf,
    /// As `log.dirs` names it, made absolute.
    name: String,
    /// `None` if it could not be opened.
    dir: Option<LogDir>,
    /// Why it is offline.
    failure: OnceLock<String>,
    /// What the checkpoints said when the broker started; empty once its partitions are open.
    found: Mutex<Found>,
    partitions: AtomicUsize,
}

#[derive(Default)]
struct Found {
    recovery_points: Offsets,
    log_starts: Offsets,
}

/// All folders, by their place in `log.dirs`; those that are in order are opened and locked.
pub struct Folders {
    folders: Vec<Folder>,
    cluster_id: String,
    /// Held while the checkpoints of a folder are gathered and written, and while a partition changes its folder.
    checkpoints: Mutex<()>,
    /// Held while a new partition is given its folder.
    placing: Mutex<()>,
    /// How many have failed.
    failed: watch::Sender<usize>,
}

impl Folders {
    /// Opens every folder for this node. They must belong to one cluster. One that its disk does not let be opened is
    /// skipped, which is said, unless it is the one of the cluster's metadata.
    ///
    /// # Errors
    /// A folder that another process holds, or that belongs to another node or cluster; those of the disk of the
    /// first one.
    pub fn open(paths: &[PathBuf], node_id: i32) -> Result<Folders, FoldersError> {
        let mut folders: Vec<Folder> = Vec::with_capacity(paths.len());
        let mut cluster_id: Option<String> = None;
        for path in paths {
            let folder = match LogDir::open(path, node_id, cluster_id.as_deref()) {
                Ok(dir) => {
                    cluster_id.get_or_insert_with(|| dir.owner().cluster_id.clone());
                    // Without room for it, the next pass of retention tries again.
                    let _ = dir.keep_reserve();
                    Folder::opened(path, dir)
                }
                Err(error) if error.is_device_failure() && folders.len() != METADATA_FOLDER => {
                    tracing::error!(
                        folder = %path.display(), %error,
                        "a folder of log.dirs cannot be opened: the broker starts without the partitions in it"
                    );
                    Folder::skipped(path, error.to_string())
                }
                Err(error) => return Err(error.into()),
            };
            folders.push(folder);
        }
        let cluster_id = cluster_id.ok_or(FoldersError::None)?;
        let failed = folders.iter().filter(|folder| folder.failure.get().is_some()).count();
        Ok(Folders {
            folders,
            cluster_id,
            checkpoints: Mutex::new(()),
            placing: Mutex::new(()),
            failed: watch::Sender::new(failed),
        })
    }

    /// The cluster's id, from `meta.properties`.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The folder that holds the cluster's metadata.
    pub fn first(&self) -> &Path {
        self.path(METADATA_FOLDER)
    }

    /// A folder's path.
    pub fn path(&self, folder: usize) -> &Path {
        &self.folders[folder].path
    }

    /// Why a folder is offline; `None` while it is in order.
    pub fn failure(&self, folder: usize) -> Option<&str> {
        self.folders[folder].failure.get().map(String::as_str)
    }

    /// Whether a folder has failed.
    pub fn is_offline(&self, folder: usize) -> bool {
        self.failure(folder).is_some()
    }

    /// Word of each folder that fails: how many have.
    pub fn failures(&self) -> watch::Receiver<usize> {
        self.failed.subscribe()
    }

    /// Takes a folder offline. Only the first reason counts. Does not block; whoever listens to
    /// [`Folders::failures`] takes its partitions offline.
    pub fn fail(&self, folder: usize, reason: impl Display) {
        let Folder { path, failure, .. } = &self.folders[folder];
        if failure.set(reason.to_string()).is_ok() {
            tracing::error!(
                folder = %path.display(), %reason,
                "a folder of log.dirs failed and is offline: mend it and start the broker again"
            );
            self.failed.send_modify(|failed| *failed += 1);
        }
    }

    /// Takes the folder offline whose device failed; the error names a file in it. Other errors change nothing.
    pub fn note_failure(&self, error: &StorageError) {
        let Some(path) = error.path().filter(|_| error.is_device_failure()) else { return };
        if let Some(folder) = self.folders.iter().position(|folder| path.starts_with(&folder.path)) {
            self.fail(folder, error);
        }
    }

    /// Looks whether each folder is still where it was opened, and takes those offline that are not. Blocks.
    pub fn check_in_place(&self) {
        for folder in 0..self.len() {
            // A lack of descriptors says nothing of the folder.
            let _ = self.with(folder, LogDir::check_in_place);
        }
    }

    /// Every partition folder that is there, by partition. A folder that cannot be listed is offline from now on.
    ///
    /// # Errors
    /// Those of the disk that are not the device's.
    pub fn existing(&self) -> Result<HashMap<TopicPartition, (usize, PartitionDir)>, StorageError> {
        let mut existing = HashMap::new();
        for folder in 0..self.len() {
            let partitions = match self.with(folder, LogDir::partitions) {
                Ok(partitions) => partitions,
                Err(_) if self.is_offline(folder) => continue,
                Err(error) => return Err(error),
            };
            for found in partitions {
                let found = match existing.remove(&found.partition) {
                    Some(known) => self.newer(known, (folder, found))?,
                    None => (folder, found),
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
        self.with(gone.0, |dir| dir.remove_folder(&dir.mark_deleted(&gone.1.partition)?))?;
        Ok(kept)
    }

    /// The folder of this name, as `log.dirs` or the file system has it.
    pub fn find(&self, name: &str) -> Option<usize> {
        let is_named = |folder: &Folder| folder.name == name || folder.path == Path::new(name);
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
        let stat = rustix::fs::statvfs(self.path(folder))?;
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
        self.with(folder, |dir| dir.create_future(partition, topic_id))
    }

    /// Removes a copy that is not wanted any more.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn remove_future(&self, folder: usize, path: &Path) -> Result<(), StorageError> {
        self.with(folder, |dir| dir.remove_future(path))
    }

    /// The copies that an earlier run had not finished, by partition and folder. They are removed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn take_futures(&self) -> Result<Vec<(TopicPartition, usize)>, StorageError> {
        let mut taken = Vec::new();
        for folder in (0..self.len()).filter(|&folder| !self.is_offline(folder)) {
            for (partition, path) in self.with(folder, LogDir::futures)? {
                self.with(folder, |dir| dir.remove_future(&path))?;
                taken.push((partition, folder));
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
        let path = self.with(to, |dir| dir.promote_future(future, partition))?;
        match self.with(from, |dir| dir.retire(partition)) {
            Ok(retired) => {
                self.folders[from].partitions.fetch_sub(1, Ordering::Relaxed);
                self.folders[to].partitions.fetch_add(1, Ordering::Relaxed);
                Ok((path, retired))
            }
            Err(error) => self.with(to, |dir| dir.demote(future, partition)).and(Err(error)),
        }
    }

    /// The home of a partition that lies in `folder` already.
    pub fn known(&self, folder: usize, found: &PartitionDir) -> Home {
        self.folders[folder].partitions.fetch_add(1, Ordering::Relaxed);
        self.home(folder, &found.partition, found.path.clone())
    }

    /// Takes out of every checkpoint what it says of earlier partitions of these names, before new ones are created.
    pub fn forget_earlier<'a>(&self, partitions: impl Iterator<Item = &'a TopicPartition> + Clone) {
        for folder in (0..self.len()).filter(|&folder| !self.is_offline(folder)) {
            // Each creation looks again, and fails if that fails.
            if let Err(error) = self.with(folder, |dir| dir.forget_offsets(partitions.clone())) {
                tracing::warn!(%error, "what the checkpoints say of earlier partitions stays for now");
            }
        }
    }

    /// Lets go of what the checkpoints said, once every partition that was there is open.
    pub fn forget_checkpoints(&self) {
        for folder in &self.folders {
            *folder.found.lock() = Found::default();
        }
    }

    /// A new home, in the folder with the fewest partitions of those that are in order and have room.
    ///
    /// # Errors
    /// Those of the disk, of the last folder that was tried.
    pub fn create(&self, partition: &TopicPartition, topic_id: TopicId) -> Result<Home, StorageError> {
        let (mut tried, mut refused) = (Vec::new(), None);
        while let Some(folder) = self.reserve(&tried) {
            match self.with(folder, |dir| dir.create_partition(partition, topic_id)) {
                Ok(created) => {
                    let home = self.home(folder, partition, created.path);
                    return Ok(Home { recovery_point: 0, log_start: 0, ..home });
                }
                Err(error) => {
                    self.folders[folder].partitions.fetch_sub(1, Ordering::Relaxed);
                    tracing::warn!(%partition, %error, "a folder of log.dirs does not take a new partition");
                    tried.push(folder);
                    refused = Some(error);
                }
            }
        }
        Err(refused.unwrap_or_else(|| self.offline(METADATA_FOLDER)))
    }

    /// Counts one more partition in the folder that has the fewest, so that of many that are created at once each knows
    /// of the others.
    fn reserve(&self, tried: &[usize]) -> Option<usize> {
        let _one_at_a_time = self.placing.lock();
        let open = (0..self.len()).filter(|folder| !self.is_offline(*folder) && !tried.contains(folder));
        let least = open.min_by_key(|&folder| self.folders[folder].partitions.load(Ordering::Relaxed))?;
        self.folders[least].partitions.fetch_add(1, Ordering::Relaxed);
        Some(least)
    }

    /// Takes a partition out of sight. Returns what [`Folders::remove`] takes once its files may go.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn mark_deleted(&self, folder: usize, partition: &TopicPartition) -> Result<PathBuf, StorageError> {
        let path = self.with(folder, |dir| dir.mark_deleted(partition))?;
        self.folders[folder].partitions.fetch_sub(1, Ordering::Relaxed);
        Ok(path)
    }

    /// Puts aside a folder that no topic of the cluster claims; it stays until a person removes it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn mark_stray(&self, folder: usize, partition: &TopicPartition) -> Result<PathBuf, StorageError> {
        self.with(folder, |dir| dir.mark_stray(partition))
    }

    /// Removes a folder that was marked.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn remove(&self, folder: usize, path: &Path) -> Result<(), StorageError> {
        self.with(folder, |dir| dir.remove_folder(path))
    }

    /// Writes the checkpoints of one folder.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn checkpoint(&self, folder: usize, offsets: &Checkpoint) -> Result<(), StorageError> {
        self.with(folder, |dir| {
            dir.write_recovery_points(&offsets.recovery_points)?;
            dir.write_log_starts(&offsets.log_starts)?;
            dir.write_high_watermarks(&offsets.high_watermarks)
        })
    }

    /// Up to where the partitions of a folder are compacted. A checkpoint that cannot be read costs a longer round.
    pub fn cleaner_offsets(&self, folder: usize) -> Offsets {
        self.with(folder, |dir| dir.cleaner_offsets()).unwrap_or_else(|error| {
            tracing::warn!(folder = self.name(folder), %error, "the cleaner's checkpoint cannot be read");
            Offsets::default()
        })
    }

    /// Writes `cleaner-offset-checkpoint` of one folder.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write_cleaner_offsets(&self, folder: usize, offsets: &Offsets) -> Result<(), StorageError> {
        self.with(folder, |dir| dir.write_cleaner_offsets(offsets))
    }

    /// Notes that every log of a folder closed cleanly.
    ///
    /// # Errors
    /// Those of the disk; `Offline` for a folder that failed.
    pub fn mark_clean(&self, folder: usize) -> Result<(), StorageError> {
        self.with(folder, |dir| dir.mark_clean(-1))
    }

    /// Sets room aside in each folder that is in order, as far as there is any. Blocks.
    pub fn keep_reserves(&self) {
        for folder in 0..self.len() {
            // A full disk has none to set aside, and says so elsewhere.
            let _ = self.with(folder, LogDir::keep_reserve);
        }
    }

    /// Gives back what was set aside in the folder whose disk is full, as this error says. Returns whether there was
    /// anything.
    pub fn release_reserve(&self, error: &StorageError) -> bool {
        let StorageError::DiskFull { path, .. } = error else { return false };
        let folder = self.folders.iter().position(|folder| path.starts_with(&folder.path));
        folder.is_some_and(|folder| self.with(folder, LogDir::release_reserve).unwrap_or(false))
    }

    /// How many folders there are.
    pub fn len(&self) -> usize {
        self.folders.len()
    }

    /// Never true of opened folders.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// Works on a folder that is in order. A failure of its device takes it offline.
    fn with<T>(
        &self,
        folder: usize,
        work: impl FnOnce(&LogDir) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let dir = match &self.folders[folder].dir {
            Some(dir) if !self.is_offline(folder) => dir,
            _ => return Err(self.offline(folder)),
        };
        work(dir).inspect_err(|error| {
            if error.is_device_failure() {
                self.fail(folder, error);
            }
        })
    }

    fn offline(&self, folder: usize) -> StorageError {
        let Folder { path, failure, .. } = &self.folders[folder];
        let reason = failure.get().map_or("it cannot be used", String::as_str);
        StorageError::Offline { path: path.clone(), reason: reason.to_owned() }
    }

    fn home(&self, folder: usize, partition: &TopicPartition, path: PathBuf) -> Home {
        let held = &self.folders[folder];
        let found = held.found.lock();
        Home {
            folder,
            path,
            clean: held.dir.as_ref().is_some_and(LogDir::was_clean),
            recovery_point: found.recovery_points.get(partition).copied().unwrap_or(0),
            log_start: found.log_starts.get(partition).copied().unwrap_or(0),
        }
    }
}

impl Folder {
    fn opened(given: &Path, dir: LogDir) -> Folder {
        let path = dir.path().to_path_buf();
        Folder {
            found: Mutex::new(Found {
                recovery_points: dir.recovery_points().unwrap_or_else(|error| unreadable(&path, &error)),
                log_starts: dir.log_starts().unwrap_or_else(|error| unreadable(&path, &error)),
            }),
            path,
            name: absolute(given),
            dir: Some(dir),
            failure: OnceLock::new(),
            partitions: AtomicUsize::new(0),
        }
    }

    fn skipped(path: &Path, reason: String) -> Folder {
        Folder {
            path: path.to_path_buf(),
            name: absolute(path),
            dir: None,
            failure: OnceLock::from(reason),
            found: Mutex::default(),
            partitions: AtomicUsize::new(0),
        }
    }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
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
