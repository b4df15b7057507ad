//! One partition's bytes on disk, in Kafka's formats: segments of record batches with sparse indexes, producer
//! states, leader epochs, checkpoints, recovery and retention. `replication` stands before it and decides what is
//! appended, read and cut; behind it is the file system. Nothing here waits for anything but the disk, starts a
//! thread or reads a clock.
//!
//! The map:
//! - [`Log`]: a folder of segments; appending, reading, truncation, retention, flushes, recovery
//! - `segment`, `index`, `walk`: one segment file, its two indexes, the walk over its batches
//! - [`CleanTask`]: copies segments without what a [`Judge`] lets go; compaction
//! - [`ProducerStates`], [`EpochCache`]: what is known of producers and of leader epochs, and their files
//! - [`LogDir`]: a folder of `log.dirs`: who owns it, which partitions it holds, its checkpoints
//! - `disk`, `files`, `checkpoint`, `names`: system calls, bounded open files, text files, names

mod checkpoint;
mod clean;
mod config;
mod disk;
mod epochs;
mod error;
mod files;
mod index;
mod log;
mod log_dir;
mod names;
mod producers;
mod segment;
mod walk;
mod wire;

pub use clean::{
    CleanError, CleanReport, CleanTask, Cleaned, Compactor, ERASED_RANGES_MAX, Indexer, Judge, JudgeError,
    OffsetMap, OpenBatch, Pace, RecordVerdict, SegmentReport, Stopped, Unpaced,
};
pub use config::LogConfig;
#[cfg(any(test, feature = "disk-hooks"))]
pub use disk::hooks as disk_hooks;
pub use disk::{create_dirs, sync_dir};
pub use epochs::{EpochCache, EpochEntry};
pub use error::StorageError;
pub use log::{
    AppendInfo, Assign, Batch, CompactionRound, CopyStep, Cut, Damage, Deleted, DeletedFiles, Dirtiness,
    FlushTask, Flushed, Log, LogCopy, Open, Rebuilt, Recovery, SegmentCheck, SegmentHeaders, SegmentInfo,
    Slice, TimestampedOffset, Verified, verify_side_files,
};
pub use log_dir::{LogDir, Offsets, Owner, PartitionDir};
pub use producers::{
    BatchMeta, Checked, LaneMark, PRODUCERS_MAX, ProducerEntry, ProducerStates, SequenceError,
    WINDOW_BATCHES, ingress_of, is_marked,
};
pub use segment::TimestampOffset;
