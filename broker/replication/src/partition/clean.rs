//! Cleaning as the partition sees it: one pass at a time, whether it compacts, retains or erases, over closed segments
//! below the watermark, with the lock held only at its two ends. The server's cleaner and its retention passes stand
//! before it, the engine of `storage` behind it. Lanes are never touched by it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_storage::{
    CleanError, CleanReport, CleanTask, Cleaned, CompactionRound, Dirtiness, Judge, Pace, StorageError,
};

use super::Partition;
use crate::config::CompactionConfig;

/// The right to clean a partition; nobody else has it until this is dropped.
pub struct CleanLease {
    partition: Arc<Partition>,
}

impl Drop for CleanLease {
    fn drop(&mut self) {
        self.partition.cleaning.store(false, Ordering::Release);
    }
}

impl Partition {
    /// Takes the right to clean; `None` while somebody else has it, and once this broker no longer leads.
    pub fn begin_clean(&self) -> Option<CleanLease> {
        let partition = self.me.upgrade().filter(|partition| partition.is_open())?;
        let taken = self.cleaning.swap(true, Ordering::Acquire);
        // Not made where it is not given: its end would take it from who has it.
        (!taken).then(|| CleanLease { partition })
    }

    /// How dirty the log is, below the watermark and by the topic's configs; everything below `first_dirty` was compacted.
    pub fn dirtiness(&self, first_dirty: i64, now_ms: i64) -> Dirtiness {
        let CompactionConfig { min_lag_ms, max_lag_ms, .. } = self.config().compaction;
        let state = self.state.lock();
        state.log.dirtiness(first_dirty, state.high_watermark, min_lag_ms, max_lag_ms, now_ms)
    }

    /// Ends the active segment, so that what lies in it can be cleaned.
    ///
    /// # Errors
    /// Those of creating files.
    pub fn roll(&self, now_ms: i64) -> Result<(), StorageError> {
        let mut state = self.state.lock();
        if state.closed {
            return Ok(());
        }
        state.log.roll(now_ms).map(|_| ())
    }
}

impl CleanLease {
    /// The partition that may be cleaned.
    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Begins a pass over the closed segments that lie within `from..to` whole and below the watermark.
    ///
    /// # Errors
    /// Those of opening their files.
    pub fn prepare_clean(&self, from: i64, to: i64) -> Result<CleanTask, StorageError> {
        let state = self.partition.state.lock();
        state.log.prepare_clean(from, to.min(state.high_watermark))
    }

    /// Begins the survey that notes keys; see `Log::prepare_index`.
    ///
    /// # Errors
    /// Those of opening the segments' files.
    pub fn prepare_index(&self, from: i64, to: i64) -> Result<CleanTask, StorageError> {
        let state = self.partition.state.lock();
        let stable = state.high_watermark;
        state.log.prepare_index(from, to.min(stable), stable)
    }

    /// Plans a round of compaction up to the segment that holds `upto - 1`; see `Log::plan_compaction`.
    ///
    /// # Errors
    /// Those of opening the segments' files.
    pub fn plan_compaction(
        &self,
        upto: i64,
        now_ms: i64,
        delete_retention_ms: i64,
    ) -> Result<CompactionRound, StorageError> {
        let state = self.partition.state.lock();
        state.log.plan_compaction(upto, state.high_watermark, now_ms, delete_retention_ms)
    }

    /// Puts finished copies in the places of what they were made of; nothing is done for a topic that was put on hold
    /// meanwhile. The log is flushed before, without its lock, so
    /// that what must be on the disk by then mostly is.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn finish_clean(&self, cleaned: Cleaned, now_ms: i64) -> Result<CleanReport, StorageError> {
        if cleaned.changes() {
            self.partition.flush(now_ms)?;
        }
        let mut state = self.partition.state.lock();
        if state.closed || self.partition.config.load().hold {
            return Ok(CleanReport::default());
        }
        let completed = state.log.complete_clean(cleaned, now_ms);
        self.partition.noted(completed)
    }

    /// Takes note of what ended a pass: a failure of the device takes the partition offline, and its folder.
    pub fn failed(&self, error: &CleanError) {
        if let CleanError::Storage(error) = error {
            self.partition.note_failure(error);
        }
    }

    /// One pass from end to end over what lies within `from..to`: segment by segment, so that no more than one copy
    /// stands beside the log.
    ///
    /// # Errors
    /// Those of the judge, the pace and the disk. Segments before the one that failed are cleaned.
    pub fn clean(
        &self,
        from: i64,
        to: i64,
        now_ms: i64,
        judge: &mut dyn Judge,
        pace: &mut dyn Pace,
    ) -> Result<CleanReport, CleanError> {
        let mut report = CleanReport::default();
        for (from, to) in self.segments_within(from, to) {
            let cleaned = self.prepare_clean(from, to)?.run(judge, pace)?;
            report.segments.extend(self.finish_clean(cleaned, now_ms)?.segments);
        }
        Ok(report)
    }

    fn segments_within(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let state = self.partition.state.lock();
        let segments = state.log.segments().filter(|one| !one.is_active && one.end_offset > from);
        let to = to.min(state.high_watermark);
        let within = segments.take_while(|one| one.end_offset <= to);
        within.map(|one| (one.base_offset, one.end_offset)).collect()
    }
}
