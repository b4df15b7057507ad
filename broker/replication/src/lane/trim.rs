//! Trimming: whole segments of a lane go once everything in them is resolved. Before that, what the lane must still
//! know is written into it as a checkpoint, and committed. Nothing unresolved is ever deleted, and what a
//! destination lost and is being sent again counts as unresolved here.

use ottla_storage::{Assign, StorageError};
use std::io::IoSlice;

use super::Lane;
use super::checkpoint::Checkpoint;
use super::entry::encode_checkpoint;
use crate::failpoint;

/// A trim between its checkpoint and the deletion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trimming {
    /// The lane's start afterwards.
    start: i64,
    /// Where the checkpoint ends.
    checkpoint_end: i64,
}

impl Lane {
    /// Writes a checkpoint if a segment can go, and deletes what an earlier one covers. `watermark` is the lane's.
    /// Returns whether the lane's end moved.
    pub fn trim(&mut self, leader_epoch: i32, watermark: i64, now_ms: i64) -> Result<bool, StorageError> {
        if let Some(trimming) = self.trimming {
            if trimming.checkpoint_end <= watermark {
                self.delete(trimming, watermark, now_ms)?;
            }
            return Ok(false);
        }
        let point = self.forwarder.trim_point();
        let resolved =
            self.log.segments().take_while(|segment| !segment.is_active && segment.end_offset <= point);
        let Some(start) = resolved.last().map(|segment| segment.end_offset) else { return Ok(false) };
        let checkpoint_end = self.write_checkpoint(leader_epoch, now_ms)?;
        self.trimming = Some(Trimming { start, checkpoint_end });
        Ok(true)
    }

    /// Writes what the lane must still know once entries are gone. Returns the lane's end behind it.
    pub(super) fn write_checkpoint(&mut self, leader_epoch: i32, now_ms: i64) -> Result<i64, StorageError> {
        let ledger = &self.forwarder.ledger;
        let is_busy = |producer_id: i64| ledger.is_busy(super::ProducerKey::Id(producer_id));
        self.windows.expire(now_ms, self.log.config().producer_expiration_ms, is_busy);
        let confirmed = self.forwarder.confirmed().collect();
        let checkpoint = Checkpoint { windows: self.windows.clone(), confirmed };
        let (header, bytes) = encode_checkpoint(&checkpoint, now_ms);
        let info = self.log.append(&header, &[IoSlice::new(&bytes)], Assign::next(leader_epoch), now_ms)?;
        self.forwarder.on_checkpoint(leader_epoch, info.base_offset, info.last_offset + 1);
        if self.log.config().flushes() {
            // What it stands for goes only once it is on the disk itself.
            self.flush_before_forward = info.last_offset + 1;
        }
        Ok(info.last_offset + 1)
    }

    fn delete(&mut self, trimming: Trimming, watermark: i64, now_ms: i64) -> Result<(), StorageError> {
        failpoint::hit("during-trim");
        self.log.advance_start(trimming.start)?;
        self.log.delete_old_segments(now_ms, watermark)?;
        self.forwarder.on_trimmed(trimming.start);
        self.trimming = None;
        Ok(())
    }
}
