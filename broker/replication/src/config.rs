//! What one partition does, as its topic's configs say: plain values, swapped whole when the configs change. The
//! server derives it from the metadata image; a change holds from the next batch on.

use ottla_model::batch::{Compression, TimestampType};
use ottla_storage::LogConfig;

/// The settings of a partition. Sizes in bytes, times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionConfig {
    pub log: LogConfig,
    /// `max.message.bytes`: the largest batch that a client may send, as it is sent.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a record's time may lie behind the broker's.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far it may lie ahead.
    pub timestamp_after_max_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: u32,
    /// `compression.type`, `None` for `producer`: the codec and its level.
    pub compression: Option<(Compression, Option<i32>)>,
    /// Whether `cleanup.policy` compacts: then each record needs a key.
    pub compacted: bool,
    /// How its log is compacted, if it is.
    pub compaction: CompactionConfig,
    /// `ottla.lane.bytes`: how much a lane holds before it refuses batches.
    pub lane_bytes: u64,
    /// `ottla.retention.hold`: nothing of the log may be removed, by whatever reason.
    pub hold: bool,
}

/// When a log is compacted, and what of it. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionConfig {
    /// `delete.retention.ms`: how long a tombstone stays once it was compacted.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: a segment with a younger record is not compacted.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`: a log with an older record is compacted whatever its dirty ratio.
    pub max_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`, of a million.
    pub min_dirty_ppm: u32,
}

impl Default for CompactionConfig {
    fn default() -> CompactionConfig {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        CompactionConfig {
            delete_retention_ms: DAY_MS,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            min_dirty_ppm: 500_000,
        }
    }
}

impl PartitionConfig {
    /// For a partition of so many replicas: no more of them can be asked to be in sync than there are, as in Kafka.
    pub fn with_replicas(self, replicas: usize) -> PartitionConfig {
        let replicas = u32::try_from(replicas.max(1)).unwrap_or(u32::MAX);
        PartitionConfig { min_insync_replicas: self.min_insync_replicas.min(replicas), ..self }
    }
}

impl Default for PartitionConfig {
    /// Kafka's defaults, and the lane's.
    fn default() -> PartitionConfig {
        PartitionConfig {
            log: LogConfig::default(),
            max_message_bytes: ottla_model::bounds::MESSAGE_BYTES_MAX_DEFAULT as usize,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            min_insync_replicas: 1,
            compression: None,
            compacted: false,
            compaction: CompactionConfig::default(),
            lane_bytes: crate::bounds::LANE_BYTES_DEFAULT,
            hold: false,
        }
    }
}
