//! Deletion at the log's start: by `retention.ms`, by `retention.bytes`, and below an offset that DeleteRecords has
//! set. Whole segments go, in order, and only below the high watermark; the active one is rolled first if it must
//! go too. The positions of lanes outlive the batches that bore them: states are saved before anything is deleted.

use super::Log;
use crate::disk::{self, Durability};
use crate::error::StorageError;
use crate::segment::Segment;

/// What a retention pass removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    pub segments: usize,
    pub bytes: u64,
    /// The log's start afterwards.
    pub log_start: i64,
}

impl Log {
    /// Moves the log's start up to `offset` (DeleteRecords). What lies below can no longer be read; segments that
    /// end below it go with the next `delete_old_segments`. The owner has compared `offset` with the high watermark,
    /// and writes the start into the folder's checkpoint.
    ///
    /// # Errors
    /// `OffsetOutOfRange` above the log's end. An offset below the start changes nothing.
    pub fn advance_start(&mut self, offset: i64) -> Result<i64, StorageError> {
        if offset > self.log_end {
            let (start, end) = (self.log_start, self.log_end);
            return Err(StorageError::OffsetOutOfRange { requested: offset, start, end });
        }
        if offset > self.log_start {
            self.log_start = offset;
            self.epochs.truncate_start(offset);
        }
        Ok(self.log_start)
    }

    /// Deletes the segments that retention no longer keeps, all of them below `high_watermark`. The files are
    /// renamed now and handed out by `take_deleted`. Where producers are known the log is flushed first, which blocks
    /// for as long as the disk takes.
    ///
    /// # Errors
    /// Those of rolling and of saving states; what was not deleted is tried again at the next call.
    pub fn delete_old_segments(&mut self, now_ms: i64, high_watermark: i64) -> Result<Deleted, StorageError> {
        let count = self.deletable(now_ms, high_watermark);
        let mut deleted = Deleted { log_start: self.log_start, ..Deleted::default() };
        if count == 0 {
            return Ok(deleted);
        }
        if !self.producers.is_empty() {
            // A state counts only as long as the log reaches up to it, also after a power loss.
            self.flush(now_ms)?;
            self.save_producers_durably()?;
        }
        if count == self.segments.len() {
            self.roll(now_ms)?;
        }
        let start = self.segments.get(count).map_or(self.log_end, Segment::base_offset);
        // Whichever of the files a power loss brings back, the epochs tell recovery that they were to go; and the name
        // of the segment that remains is on the disk before the others go.
        self.epochs.truncate_start(self.log_start.max(start));
        self.epochs.write_changes(Durability::Synced)?;
        if self.segments.iter().skip(count).any(|segment| segment.name_unsynced) {
            disk::sync_dir(&self.dir)?;
        }
        let gone: Vec<Segment> = self.segments.drain(..count).collect();
        for segment in &gone {
            deleted.segments += 1;
            deleted.bytes += segment.size();
            self.throw_away(segment, now_ms);
        }
        self.log_start = self.log_start.max(start);
        self.recovery_point = self.recovery_point.max(start);
        deleted.log_start = self.log_start;
        // What the epochs tell recovery holds no longer than until their next change.
        disk::sync_dir(&self.dir)?;
        Ok(deleted)
    }

    /// How many segments from the first on may go: the most that one of the three reasons allows.
    fn deletable(&self, now_ms: i64, high_watermark: i64) -> usize {
        let below_start =
            self.count_deletable(high_watermark, |number, _| self.end_of(number) <= self.log_start);
        if !self.config.cleanup_delete {
            return below_start.min(self.segments.len() - 1);
        }
        let mut by_any = below_start;
        if self.config.retention_bytes >= 0 {
            let mut excess = self.size_bytes() as i128 - i128::from(self.config.retention_bytes);
            by_any = by_any.max(self.count_deletable(high_watermark, |_, segment| {
                let goes = excess >= i128::from(segment.size());
                excess -= i128::from(segment.size());
                goes
            }));
        }
        if self.config.retention_ms >= 0 {
            by_any = by_any.max(self.count_deletable(high_watermark, |_, segment| {
                now_ms.saturating_sub(newest_ms(segment)) > self.config.retention_ms
            }));
        }
        by_any
    }

    fn count_deletable(&self, high_watermark: i64, mut goes: impl FnMut(usize, &Segment) -> bool) -> usize {
        let last = self.segments.len() - 1;
        let is_deletable = |&(number, segment): &(usize, &Segment)| {
            self.end_of(number) <= high_watermark
                && goes(number, segment)
                && !(number == last && segment.size() == 0)
        };
        self.segments.iter().enumerate().take_while(is_deletable).count()
    }
}

/// The time by which a segment's age is judged: its largest timestamp, or the file's where it has none.
fn newest_ms(segment: &Segment) -> i64 {
    match segment.max_timestamp().timestamp {
        timestamp if timestamp >= 0 => timestamp,
        _ => segment.modified_ms(),
    }
}
