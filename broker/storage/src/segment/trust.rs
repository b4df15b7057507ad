//! How far the indexes of a segment are trusted after a restart: an entry counts once the batch that it points to
//! confirms it. Recovery begins its walk there; everything above is made again.

use std::fs::File;

use super::{Segment, TimestampOffset};
use crate::error::StorageError;
use crate::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::walk::HeaderWalk;

impl Segment {
    /// Where a walk can begin that finds everything from `offset` on and at least one batch before it, by an index entry that the file confirms; the
    /// indexes lose what lies above that entry, so that the walk adds it again.
    pub fn trusted_start(&mut self, offset: i64) -> Result<u64, StorageError> {
        let relative = offset.saturating_sub(self.base_offset());
        let entry =
            self.offsets.last_where(|entry| i64::from(entry.relative_offset) < relative).unwrap_or(None);
        let file = self.file()?;
        let confirmed = entry.filter(|entry| {
            let first = HeaderWalk::new(&file, u64::from(entry.position), self.size()).next();
            let last = self.base_offset() + i64::from(entry.relative_offset);
            matches!(first, Some(Ok((_, header))) if header.last_offset() == last)
        });
        let Some(entry) = confirmed.filter(|_| !self.indexes_missing && self.is_indexed()) else {
            self.reset_indexes()?;
            return Ok(0);
        };
        let path = self.path();
        self.offsets
            .truncate_where(|other| other.relative_offset <= entry.relative_offset)
            .and_then(|()| self.times.truncate_where(|other| other.relative_offset <= entry.relative_offset))
            .map_err(|error| StorageError::io("truncate the index of", &path, error))?;
        if self.offsets.last() != Some(entry) {
            // Its entries do not grow, and the next start would find another one than this.
            self.reset_indexes()?;
            return Ok(0);
        }
        self.set_max_timestamp_by_index();
        Ok(u64::from(entry.position))
    }

    /// A position at or before the batch that holds `offset` where a batch begins.
    pub fn confirmed_start(&self, file: &File, offset: i64) -> u64 {
        let start = self.position_before(offset);
        match HeaderWalk::new(file, start, self.size()).next() {
            Some(Ok((_, header))) if header.base_offset <= offset => start,
            _ => 0,
        }
    }

    /// Empties the indexes, so that a walk from the start makes them again.
    pub fn reset_indexes(&mut self) -> Result<(), StorageError> {
        let path = self.path();
        let failed = |error| StorageError::io("reset the index of", &path, error);
        self.offsets.reset().map_err(failed)?;
        self.times.reset().map_err(failed)?;
        self.set_max_timestamp(TimestampOffset::NONE);
        Ok(())
    }

    /// As `reset_indexes`, but leaves files alone that are there and empty: thousands of partitions are.
    pub fn ensure_empty_indexes(&mut self) -> Result<(), StorageError> {
        let is_empty =
            |suffix| std::fs::metadata(self.name().path(suffix)).is_ok_and(|metadata| metadata.len() == 0);
        if is_empty(OffsetEntry::SUFFIX) && is_empty(TimeEntry::SUFFIX) {
            return Ok(());
        }
        self.reset_indexes()
    }

    /// True if both index files are there and hold whole entries.
    pub fn is_indexed(&self) -> bool {
        self.offsets.is_whole() && self.times.is_whole()
    }
}
