//! Reading a partition: fetches, offsets by time and by epoch, the watermarks. Nothing here changes anything, and no
//! byte of a batch is touched: a read yields where it lies in which file.

use std::sync::Arc;

use ottla_model::error::{ErrorCode, KafkaError};
use ottla_storage::{ProducerEntry, Slice, TimestampedOffset};

use super::Partition;
use crate::waiters::FetchWaiter;

/// How far a reader may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark: consumers.
    ReadUncommitted,
    /// Up to the last stable offset: consumers that see no open transaction.
    ReadCommitted,
    /// Up to the log's end: followers, and tools.
    LogEnd,
}

/// What a read found.
#[derive(Debug)]
pub struct ReadInfo {
    pub slice: Slice,
    pub high_watermark: i64,
    pub log_start: i64,
    pub log_end: i64,
    /// The high watermark as long as no transaction is open.
    pub last_stable: i64,
    pub leader_epoch: i32,
    /// For [`Partition::watch`]: what was readable when this was read.
    pub mark: u64,
}

impl Partition {
    /// Finds whole batches from `offset` on. See [`ottla_storage::Log::read`] for what `max_bytes` and
    /// `at_least_one` mean.
    ///
    /// # Errors
    /// OFFSET_OUT_OF_RANGE, NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
        isolation: Isolation,
    ) -> Result<ReadInfo, KafkaError> {
        // Before the lock: what is counted after it may have been read already, which wakes too early at worst.
        let mark = self.watchers.mark();
        let state = self.state.lock();
        self.ensure_serving(&state)?;
        let high_watermark = state.high_watermark;
        let upto = match isolation {
            Isolation::ReadUncommitted | Isolation::ReadCommitted => high_watermark,
            Isolation::LogEnd => state.log.end_offset(),
        };
        let slice =
            state.log.read(offset, max_bytes, upto, at_least_one).map_err(|error| self.failed(&error))?;
        Ok(ReadInfo {
            slice,
            high_watermark,
            log_start: state.log.start_offset(),
            log_end: state.log.end_offset(),
            last_stable: high_watermark,
            leader_epoch: state.leader_epoch,
            mark,
        })
    }

    /// Wakes the waiter once enough bytes came under the high watermark since the read whose `mark` is given, or
    /// this broker stops leading the partition.
    pub fn watch(&self, waiter: &Arc<FetchWaiter>, mark: u64) {
        self.watchers.watch(waiter, mark);
        if !self.is_open() {
            self.watchers.wake_all();
        }
    }

    /// The end (exclusive) of what consumers may read.
    pub fn high_watermark(&self) -> i64 {
        self.state.lock().high_watermark
    }

    /// The end of what consumers see that read committed records only: no transaction is ever open here.
    pub fn last_stable_offset(&self) -> i64 {
        self.high_watermark()
    }

    /// The first offset that can be read.
    pub fn log_start(&self) -> i64 {
        self.state.lock().log.start_offset()
    }

    /// The end (exclusive) of the log.
    pub fn log_end(&self) -> i64 {
        self.state.lock().log.end_offset()
    }

    /// Bytes of the log's segments.
    pub fn size_bytes(&self) -> u64 {
        self.state.lock().log.size_bytes()
    }

    /// OffsetForLeaderEpoch (KIP-320): the largest epoch not above `epoch`, and where it ended (exclusive). `None`
    /// if the log cannot say.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let state = self.state.lock();
        state.log.epochs().end_offset_for(epoch, state.log.end_offset())
    }

    /// The leader epoch of the record at `offset`; `None` if the log does not say.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.state.lock().log.epochs().epoch_at(offset)
    }

    /// Refuses a request that bears another leader epoch than this leader's. -1 means that the client does not know.
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH for an older one, UNKNOWN_LEADER_EPOCH for a newer one.
    pub fn check_leader_epoch(&self, epoch: i32) -> Result<(), ErrorCode> {
        let current = self.leader_epoch();
        match epoch {
            -1 => Ok(()),
            older if older < current => Err(ErrorCode::FencedLeaderEpoch),
            newer if newer > current => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// The first record at or after a time, below the high watermark.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR.
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimestampedOffset>, KafkaError> {
        let state = self.state.lock();
        self.ensure_serving(&state)?;
        let found = state.log.offset_for_timestamp(timestamp_ms).map_err(|error| self.failed(&error))?;
        Ok(found.filter(|found| found.offset < state.high_watermark))
    }

    /// The record with the largest timestamp.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampedOffset>, KafkaError> {
        let state = self.state.lock();
        self.ensure_serving(&state)?;
        state.log.max_timestamp().map_err(|error| self.failed(&error))
    }

    /// The idempotent producers that are known here, of log and lane together, by id. Lanes are no producers.
    pub fn producers(&self) -> Vec<ProducerEntry> {
        let state = self.state.lock();
        let mut ids: Vec<i64> = state.log.producers().iter().map(|entry| entry.producer_id).collect();
        let in_lane = state.lane.as_ref().map(|lane| &lane.windows);
        ids.extend(
            in_lane.into_iter().flat_map(|windows| windows.iter().map(|(producer_id, _)| producer_id)),
        );
        ids.sort_unstable();
        ids.dedup();
        let known = |producer_id: i64| {
            let in_log = state.log.producers().get(producer_id);
            in_lane.map_or_else(|| in_log.cloned(), |windows| windows.union(producer_id, in_log))
        };
        ids.into_iter().filter_map(known).collect()
    }
}
