//! Retention by verdict, as the partition sees it: what its segments are, the removal of the oldest ones, and the
//! lane's part, which must forget what it has delivered when records are erased. The server's retention passes stand
//! before it.
//!
//! Invariant: nothing above the watermark goes, nothing of a topic on hold goes, and a lane keeps what is unresolved.

use ottla_storage::{Deleted, DeletedFiles, SegmentInfo, StorageError};

use super::Partition;

/// Rounds of checkpoint and deletion that a purge takes at most: one that was under way, its own, and one to spare.
const PURGE_ROUNDS_MAX: usize = 3;

/// What a purge left in the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneLeft {
    /// Batches that are not at their destinations yet.
    pub unresolved_batches: u64,
    /// Bytes of segments that hold them, with what was resolved behind them.
    pub held_bytes: u64,
}

impl Partition {
    /// The segments, the oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.state.lock().log.segments().collect()
    }

    /// The timestamp of the first record of the segment that begins at `base_offset`, as its batch's header tells it;
    /// -1 if it holds none.
    ///
    /// # Errors
    /// Those of opening its file.
    pub fn first_timestamp(&self, base_offset: i64) -> Result<i64, StorageError> {
        let headers = self.state.lock().log.segment_headers(base_offset)?;
        let first = headers.as_ref().and_then(|headers| headers.iter().next());
        Ok(first.map_or(-1, |header| match header.attributes.has_delete_horizon() {
            // The field tells when tombstones go.
            true => header.max_timestamp,
            false => header.base_timestamp.min(header.max_timestamp),
        }))
    }

    /// Moves the log's start up to `offset`, but not beyond the watermark, and deletes the segments that end there or
    /// before; the active one is rolled if it must go too. Nothing is done while the topic is on hold.
    ///
    /// # Errors
    /// Those of the disk; what was not deleted goes with the next deletion.
    pub fn delete_segments_before(&self, offset: i64, now_ms: i64) -> Result<Deleted, StorageError> {
        let mut state = self.state.lock();
        let log_start = state.log.start_offset();
        if state.closed || self.config.load().hold {
            return Ok(Deleted { log_start, ..Deleted::default() });
        }
        let watermark = state.high_watermark;
        let offset = offset.min(watermark);
        if offset == state.log.end_offset() {
            self.noted(state.log.roll(now_ms))?;
        }
        state.log.advance_start(offset)?;
        self.noted(state.log.delete_old_segments(now_ms, watermark))
    }

    /// Lets the lane forget what it has delivered, now instead of when a segment is full: its segment ends, a
    /// checkpoint stands for what must still be known, and what is resolved goes. `None` if there is no lane. Blocks
    /// for as long as the disk takes.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn purge_lane(&self, now_ms: i64) -> Result<Option<LaneLeft>, StorageError> {
        {
            let mut state = self.state.lock();
            let closed = state.closed;
            let Some(lane) = state.lane.as_mut().filter(|_| !closed) else { return Ok(None) };
            if lane.log.size_bytes() > 0 {
                self.noted(lane.log.roll(now_ms))?;
            }
        }
        for _ in 0..PURGE_ROUNDS_MAX {
            let (moved, files) = self.trim_step()?;
            self.noted(files.remove())?;
            if moved && self.state.lock().is_flush_behind() {
                self.flush(now_ms)?;
            }
        }
        let state = self.state.lock();
        Ok(state.lane.as_ref().map(|lane| LaneLeft {
            unresolved_batches: lane.forwarder.ledger.owed_entries() as u64,
            held_bytes: lane
                .log
                .segments()
                .filter(|segment| !segment.is_active)
                .map(|segment| segment.size_bytes)
                .sum(),
        }))
    }

    /// One step of trimming: a checkpoint, or the deletion of what an earlier one covers. Returns whether the lane's
    /// end moved, and the files that may be removed.
    pub(super) fn trim_step(&self) -> Result<(bool, DeletedFiles), StorageError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let (leader_epoch, closed) = (state.leader_epoch, state.closed);
        let watermark = state.lane_commit_point();
        let Some(lane) = state.lane.as_mut().filter(|_| !closed) else {
            return Ok((false, DeletedFiles::default()));
        };
        // Times in a lane are the broker's; the newest entry's is young enough for expiry and trash.
        let now_ms = lane.last_append_ms;
        if !self.noted(lane.trim(leader_epoch, watermark, now_ms))? {
            return Ok((false, lane.log.take_deleted(now_ms)));
        }
        let readable_bytes = state.advance_watermark();
        let flush = state.start_flush();
        drop(guard);
        // A permit for the second half, the deletion.
        self.lane_wake.notify_one();
        self.after_append(readable_bytes, false, flush, now_ms);
        Ok((true, DeletedFiles::default()))
    }
}
