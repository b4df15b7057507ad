//! Truncation at the log's end, as a follower needs it when its leader's history differs, and the restart of an empty
//! log at some offset. Producer states and epochs are put back to what they were at that offset.

use std::fs;

use super::Log;
use crate::disk;
use crate::error::StorageError;
use crate::names;
use crate::producers::{self, ProducerStates};

impl Log {
    /// Removes every batch that holds `offset` or anything above it. Returns the log's end afterwards, which is lower
    /// than `offset` if that lay within a batch. The caller then writes the recovery point into the folder's
    /// checkpoint before it appends.
    ///
    /// # Errors
    /// Those of the disk. The log may then be shorter than asked for, but it is whole.
    pub fn truncate_to(&mut self, offset: i64, now_ms: i64) -> Result<i64, StorageError> {
        self.ensure_writable()?;
        if offset >= self.log_end {
            return Ok(self.log_end);
        }
        if offset <= self.segments.first().map_or(0, |segment| segment.base_offset()) {
            let saved = self.saved_offsets()?.into_iter().rev().find(|&saved| saved <= offset);
            let states = saved.and_then(|saved| producers::read_saved(&self.dir, saved).ok());
            self.truncate_fully_at(offset, now_ms)?;
            if let Some(states) = states {
                self.producers = states;
                self.save_producers_at(offset)?;
            }
            return Ok(self.log_end);
        }
        self.truncations += 1;
        self.disown_states_above(offset)?;
        let number = self.segment_of(offset);
        let cut = self.segments[number].find(offset)?;
        // Each one outlives no other that lies before it: otherwise, after a power loss, it could follow what is
        // appended from here on.
        for segment in self.segments.split_off(number + 1).iter().rev() {
            self.throw_away(segment, now_ms);
            disk::sync_dir(&self.dir)?;
        }
        let end = match cut {
            Some((position, header)) => {
                let end = header.base_offset.min(offset);
                self.active_mut().truncate(position, end)?;
                end
            }
            // Nothing at or above it in this segment: a gap.
            None => offset,
        };
        self.log_end = end;
        let ends_in_gap = self.rewalk_active()? < end;
        if ends_in_gap {
            self.begin_behind_gap(end, now_ms)?;
        }
        self.after_truncation(now_ms)?;
        // What was saved of the batches that are gone must not be found beside those that take their offsets.
        disk::sync_dir(&self.dir)?;
        if ends_in_gap {
            // As at each roll: the batches that these states tell of may be deleted before the next ones are saved.
            self.save_producers_at(end)?;
            // Recovery takes no gap below the recovery point for a loss.
            self.flush(now_ms)?;
        }
        Ok(self.log_end)
    }

    /// Removes everything and starts again at `offset`, as a follower does whose leader no longer has what follows
    /// its end.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn truncate_fully_at(&mut self, offset: i64, now_ms: i64) -> Result<(), StorageError> {
        self.ensure_writable()?;
        self.truncations += 1;
        let old = std::mem::take(&mut self.segments);
        for segment in &old {
            self.throw_away(segment, now_ms);
        }
        self.forget_states_where(|_| true)?;
        self.segments = vec![self.new_segment(offset, now_ms)?];
        disk::sync_dir(&self.dir)?;
        self.log_start = offset;
        self.log_end = offset;
        self.recovery_point = offset;
        self.indexes_synced_upto = offset;
        self.producers = ProducerStates::starting_at(offset);
        self.epochs.truncate_end(i64::MIN);
        self.epochs.write_changes(disk::Durability::PageCache)
    }

    /// Removes Kafka's half of states above `offset` for good, before ours goes: after a power loss it would be taken
    /// for all that is known.
    fn disown_states_above(&self, offset: i64) -> Result<(), StorageError> {
        for saved in self.saved_offsets()?.into_iter().filter(|&saved| saved > offset) {
            disk::remove(&self.dir.join(names::file_name(saved, names::SNAPSHOT)))?;
        }
        disk::sync_dir(&self.dir)
    }

    /// Begins a segment at the log's end where no batch ends: its name says after a restart where the log ends, so that
    /// no offset is given twice.
    fn begin_behind_gap(&mut self, end: i64, now_ms: i64) -> Result<(), StorageError> {
        let next = self.new_segment(end, now_ms)?;
        let path = self.active().path();
        self.active_mut().finish().map_err(|error| StorageError::io("write the index of", path, error))?;
        self.segments.push(next);
        Ok(())
    }

    fn after_truncation(&mut self, now_ms: i64) -> Result<(), StorageError> {
        let end = self.log_end;
        self.log_start = self.log_start.min(end);
        self.recovery_point = self.recovery_point.min(end);
        self.indexes_synced_upto = self.indexes_synced_upto.min(self.active().base_offset());
        self.epochs.truncate_end(end);
        self.epochs.write_changes(disk::Durability::PageCache)?;
        self.load_producers(now_ms, i64::MAX).map(|_| ())
    }

    /// Removes saved producer states by offset.
    pub(super) fn forget_states_where(&mut self, goes: impl Fn(i64) -> bool) -> Result<(), StorageError> {
        for offset in self.saved_offsets()? {
            if goes(offset) {
                self.remove_states(offset)?;
            }
        }
        let keep = |offset: &i64| !goes(*offset);
        self.saved.newest = self.saved.newest.filter(keep);
        self.saved.synced = self.saved.synced.filter(keep);
        self.saved.stray = self.saved.stray.filter(keep);
        self.saved.superseded = self.saved.superseded.filter(keep);
        self.saved.unsynced.retain(keep);
        Ok(())
    }

    /// The offsets as of which states are saved, ascending.
    pub(super) fn saved_offsets(&self) -> Result<Vec<i64>, StorageError> {
        let failed = |error| StorageError::io("list", &self.dir, error);
        let mut offsets = Vec::new();
        for file in fs::read_dir(&self.dir).map_err(failed)? {
            let name = file.map_err(failed)?.file_name();
            let parsed = name.to_str().and_then(names::parse);
            if let Some((offset, names::SNAPSHOT | names::PRODUCERS)) = parsed {
                offsets.push(offset);
            }
        }
        offsets.sort_unstable();
        offsets.dedup();
        Ok(offsets)
    }
}
