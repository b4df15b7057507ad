//! One partition's log, or one lane's: a folder of segments with all that Kafka keeps beside them. The owner guards
//! it by a lock of its own: appends need `&mut self`, reads only `&self`, and what a read yields is a slice of a
//! file that stays readable whatever happens to the log. Invariants: `log_start <= log_end`; every batch below
//! `log_end` is whole; what an append returned an error for is not visible.

mod append;
mod clean;
mod dirty;
mod durability;
mod headers;
mod open;
mod read;
mod recovery;
mod relocation;
mod replay;
mod retention;
mod swap;
mod timestamps;
mod trash;
mod truncation;
mod verify;

use std::path::Path;
use std::sync::Arc;

use crate::config::LogConfig;
use crate::epochs::EpochCache;
use crate::error::StorageError;
use crate::producers::ProducerStates;
use crate::segment::{Segment, TimestampOffset};

pub use append::{AppendInfo, Assign, Batch};
pub use clean::CompactionRound;
pub use dirty::Dirtiness;
pub use durability::{FlushTask, Flushed};
pub use headers::SegmentHeaders;
pub use open::{Cut, Open, Rebuilt, Recovery};
pub use read::Slice;
pub use relocation::{CopyStep, LogCopy};
pub use retention::Deleted;
pub use timestamps::TimestampedOffset;
pub use trash::DeletedFiles;
pub use verify::{Damage, SegmentCheck, Verified, verify_side_files};

/// A partition's log. See the module for what it promises.
pub struct Log {
    dir: Arc<Path>,
    config: LogConfig,
    /// By base offset, never empty; the last one is appended to.
    segments: Vec<Segment>,
    log_start: i64,
    log_end: i64,
    recovery_point: i64,
    /// The indexes of all segments below this one's base offset are known to be on the disk.
    indexes_synced_upto: i64,
    epochs: EpochCache,
    producers: ProducerStates,
    saved: durability::SavedStates,
    /// How often the log was truncated or moved: a flush that began before vouches for nothing after.
    truncations: u64,
    trash: trash::Trash,
    health: Health,
    last_flush_ms: i64,
    /// What `segment.jitter.ms` takes off the age of the current segment.
    roll_jitter_ms: i64,
}

/// Whether the end of the last file is known.
enum Health {
    Sound,
    /// A failed write could not be undone: the file must be cut back before the next append.
    TailUnknown,
    /// A sync failed: what the disk holds is unknown until a restart.
    Offline(String),
}

/// What one segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    pub base_offset: i64,
    /// Exclusive: the base offset of the next segment, or the log's end.
    pub end_offset: i64,
    pub size_bytes: u64,
    /// The largest timestamp in it, -1 if it has none.
    pub max_timestamp: i64,
    pub is_active: bool,
}

impl Log {
    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first offset that can be read.
    pub fn start_offset(&self) -> i64 {
        self.log_start
    }

    /// The offset that the next batch gets.
    pub fn end_offset(&self) -> i64 {
        self.log_end
    }

    /// Everything below it is known to be on the disk.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }

    /// The bytes of all segments, without indexes and without what waits for deletion.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// The settings in force.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the settings; they hold from the next call on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
        self.roll_jitter_ms = self.jitter();
    }

    /// Which leader epoch began where.
    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// What is known of producers and of lanes that forwarded into this log.
    pub fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    /// As `producers`, for expiring them and for adopting positions.
    pub fn producers_mut(&mut self) -> &mut ProducerStates {
        &mut self.producers
    }

    /// The segments, the oldest first.
    pub fn segments(&self) -> impl Iterator<Item = SegmentInfo> {
        self.segments.iter().enumerate().map(|(number, segment)| SegmentInfo {
            base_offset: segment.base_offset(),
            end_offset: self.end_of(number),
            size_bytes: segment.size(),
            max_timestamp: segment.max_timestamp().timestamp,
            is_active: number + 1 == self.segments.len(),
        })
    }

    /// The largest timestamp in the log with the last offset of the batch that bears it; `None` without timestamps.
    pub fn newest_timestamp(&self) -> Option<TimestampOffset> {
        let newest = self.segments.iter().map(Segment::max_timestamp).reduce(|newest, next| {
            // The first of equals, as in Kafka.
            if next.timestamp > newest.timestamp { next } else { newest }
        });
        newest.filter(|newest| newest.timestamp >= 0)
    }

    /// Notes that this replica leads in `epoch` from the log's end on, before the first batch of that epoch, with which
    /// the epoch reaches the disk.
    pub fn begin_epoch(&mut self, epoch: i32) {
        self.epochs.begin(epoch, self.log_end);
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("a log is never without a segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log is never without a segment")
    }

    /// Exclusive end of the segment at `number`.
    fn end_of(&self, number: usize) -> i64 {
        self.segments.get(number + 1).map_or(self.log_end, Segment::base_offset)
    }

    /// The segment in which `offset` lies, or the first one for offsets before it.
    fn segment_of(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.base_offset() <= offset).saturating_sub(1)
    }

    /// A different part of `segment.jitter.ms` for each log and segment, so that many logs do not roll at once.
    fn jitter(&self) -> i64 {
        if self.config.segment_jitter_ms <= 0 {
            return 0;
        }
        let mut seed = crc32c::crc32c(self.dir.as_os_str().as_encoded_bytes());
        seed = crc32c::crc32c_append(seed, &self.active().base_offset().to_be_bytes());
        let upper = self.config.segment_jitter_ms.min(self.config.segment_ms.max(1));
        i64::from(seed) % upper
    }

    fn ensure_writable(&mut self) -> Result<(), StorageError> {
        match &self.health {
            Health::Sound => Ok(()),
            Health::Offline(reason) => {
                Err(StorageError::Offline { path: self.dir.to_path_buf(), reason: reason.clone() })
            }
            Health::TailUnknown => {
                self.active().cut_back()?;
                self.health = Health::Sound;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
