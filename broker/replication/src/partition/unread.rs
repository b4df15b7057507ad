//! What a consumer at an offset would be handed next, and when that was written: for lag in seconds, and to tell lag
//! from markers and what compaction left. Reads headers only, as a fetch at that offset does.

use ottla_model::batch::TimestampType;
use ottla_model::error::KafkaError;

use super::{Isolation, Partition};

/// Batches without a record for consumers that are passed over before it stays open whether one follows.
const BATCHES_MAX: usize = 64;

/// What lies at or behind an offset, below the high watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextUnread {
    /// A batch with records that was written then, in milliseconds since 1970: the timestamp of its first record, or
    /// that of the append where the log sets timestamps.
    WrittenAt(i64),
    /// Nothing but markers and batches whose records were removed, or nothing at all.
    Nothing,
    /// Its batch bears no timestamp, or lies behind too many without records.
    Unknown,
}

impl Partition {
    /// Looks for the next record at or behind `offset`; one that was deleted is the log's first instead.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
    pub fn next_unread(&self, offset: i64) -> Result<NextUnread, KafkaError> {
        let (start, end) = {
            let state = self.state.lock();
            (state.log.start_offset(), state.high_watermark)
        };
        let mut offset = offset.max(start);
        for _ in 0..BATCHES_MAX {
            if offset >= end {
                return Ok(NextUnread::Nothing);
            }
            let Some(header) = self.read(offset, 0, true, Isolation::ReadUncommitted)?.slice.first else {
                return Ok(NextUnread::Nothing);
            };
            if header.record_count == 0 || header.attributes.is_control() {
                offset = header.next_offset();
                continue;
            }
            let written_ms = match header.attributes.timestamp_type() {
                TimestampType::LogAppendTime => header.max_timestamp,
                // The base timestamp says something else there.
                TimestampType::CreateTime if header.attributes.has_delete_horizon() => header.max_timestamp,
                TimestampType::CreateTime => header.base_timestamp,
            };
            return Ok(if written_ms < 0 { NextUnread::Unknown } else { NextUnread::WrittenAt(written_ms) });
        }
        Ok(NextUnread::Unknown)
    }
}
