//! The checkpoints over all partitions of a folder: recovery points, log starts, high watermarks, the cleaner's offsets. The broker
//! writes them now and then; a partition that is missing in one starts from what its own folder says. A damaged one
//! is reported and read as empty, which costs a longer recovery.

use std::collections::{BTreeMap, HashSet};

use ottla_model::ids::TopicPartition;

use super::LogDir;
use crate::checkpoint;
use crate::disk::Durability;
use crate::error::StorageError;

/// An offset for each partition.
pub type Offsets = BTreeMap<TopicPartition, i64>;

const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
const LOG_STARTS: &str = "log-start-offset-checkpoint";
const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
const FILES: [&str; 3] = [RECOVERY_POINTS, LOG_STARTS, HIGH_WATERMARKS];

impl LogDir {
    /// Up to where each partition is known to be on the disk.
    ///
    /// # Errors
    /// Those of the disk. Damage is logged, and what the file said is lost.
    pub fn recovery_points(&self) -> Result<Offsets, StorageError> {
        self.read_offsets(RECOVERY_POINTS)
    }

    /// Writes `recovery-point-offset-checkpoint` so that it outlives a power loss.
    pub fn write_recovery_points(&self, offsets: &Offsets) -> Result<(), StorageError> {
        self.write_offsets(RECOVERY_POINTS, offsets)
    }

    /// The first offset of each partition where DeleteRecords has moved it.
    pub fn log_starts(&self) -> Result<Offsets, StorageError> {
        self.read_offsets(LOG_STARTS)
    }

    /// Writes `log-start-offset-checkpoint` so that it outlives a power loss.
    pub fn write_log_starts(&self, offsets: &Offsets) -> Result<(), StorageError> {
        self.write_offsets(LOG_STARTS, offsets)
    }

    /// The high watermark of each partition.
    pub fn high_watermarks(&self) -> Result<Offsets, StorageError> {
        self.read_offsets(HIGH_WATERMARKS)
    }

    /// Writes `replication-offset-checkpoint` so that it outlives a power loss.
    pub fn write_high_watermarks(&self, offsets: &Offsets) -> Result<(), StorageError> {
        self.write_offsets(HIGH_WATERMARKS, offsets)
    }

    /// Up to where each partition is compacted.
    pub fn cleaner_offsets(&self) -> Result<Offsets, StorageError> {
        self.read_offsets(CLEANER_OFFSETS)
    }

    /// Writes `cleaner-offset-checkpoint` so that it outlives a power loss.
    pub fn write_cleaner_offsets(&self, offsets: &Offsets) -> Result<(), StorageError> {
        self.write_offsets(CLEANER_OFFSETS, offsets)
    }

    fn read_offsets(&self, name: &str) -> Result<Offsets, StorageError> {
        let path = self.path.join(name);
        let lines = match checkpoint::read(&path) {
            Ok(lines) => lines,
            Err(error @ StorageError::Damaged { .. }) => {
                tracing::error!(%error, "a checkpoint is read as empty");
                return Ok(Offsets::new());
            }
            Err(error) => return Err(error),
        };
        let mut offsets = Offsets::new();
        for line in &lines {
            match parse(line) {
                Some((partition, offset)) => drop(offsets.insert(partition, offset)),
                None => {
                    tracing::error!(path = %path.display(), line, "a line of a checkpoint is passed over")
                }
            }
        }
        Ok(offsets)
    }

    /// Takes out of the three files what they say of these partitions, all at once: it is of earlier partitions of their
    /// names. Costs nothing where they say nothing.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn forget_offsets<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<(), StorageError> {
        // Held to the end: whoever writes meanwhile would bring back what is forgotten.
        let mut noted = self.noted.lock();
        let known: HashSet<&TopicPartition> =
            partitions.into_iter().filter(|partition| noted.contains(*partition)).collect();
        if known.is_empty() {
            return Ok(());
        }
        for name in FILES {
            let mut offsets = self.read_offsets(name)?;
            let before = offsets.len();
            offsets.retain(|partition, _| !known.contains(&partition));
            if offsets.len() < before {
                self.replace_offsets(name, &offsets)?;
            }
        }
        for partition in known {
            noted.remove(partition);
        }
        Ok(())
    }

    /// Takes note of the partitions that any of the three files names.
    pub(super) fn note_all(&self) -> Result<(), StorageError> {
        for name in FILES {
            let offsets = self.read_offsets(name)?;
            self.noted.lock().extend(offsets.into_keys());
        }
        Ok(())
    }

    fn write_offsets(&self, name: &str, offsets: &Offsets) -> Result<(), StorageError> {
        let mut noted = self.noted.lock();
        noted.extend(offsets.keys().cloned());
        self.replace_offsets(name, offsets)
    }

    fn replace_offsets(&self, name: &str, offsets: &Offsets) -> Result<(), StorageError> {
        let lines = offsets.iter().map(|(key, offset)| format!("{} {} {offset}", key.topic, key.partition));
        checkpoint::write(&self.path.join(name), lines, Durability::Synced)
    }
}

fn parse(line: &str) -> Option<(TopicPartition, i64)> {
    let mut fields = line.split(' ');
    let (topic, partition, offset) =
        (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let is_whole = fields.next().is_none() && !topic.is_empty() && partition >= 0 && offset >= 0;
    is_whole.then(|| (TopicPartition::new(topic, partition), offset))
}
