//! Recovery of segments: walks those that may hold something unsound, compares CRCs above the recovery point, cuts at
//! the first bad batch, and makes indexes again where they are missing or damaged. Opening a log and truncating it
//! stand on it. The invariant: what remains is a whole prefix of what was written, and what was cut is said.

use super::Log;
use super::open::{Cut, Open, Rebuilt, Recovery};
use crate::disk;
use crate::error::StorageError;
use crate::names;
use crate::segment::Segment;
use crate::walk::{BatchChecker, HeaderWalk, WalkError};

impl Log {
    /// Walks the segments that may hold something unsound, and the last one to find the log's end. Returns the leader
    /// epoch of the last batch that was walked.
    pub(super) fn recover(
        &mut self,
        open: Open,
        recovery: &mut Recovery,
    ) -> Result<Option<i32>, StorageError> {
        let last = self.segments.len() - 1;
        let check_from = if open.clean { i64::MAX } else { self.recovery_point };
        // The index of the segment in which the last flush ended may not be on the disk, also where the batches are.
        let first_unsynced = if open.clean { last } else { self.segment_of(check_from.saturating_sub(1)) };
        self.indexes_synced_upto = self.segments[first_unsynced].base_offset();
        let mut checker = BatchChecker::new();
        self.log_end = self.active().base_offset();
        let mut last_epoch = None;
        let mut came_back = 0;
        for number in 0..=last {
            let segment = &self.segments[number];
            let is_odd = !open.clean && !segment.indexes_missing && !segment.is_indexed();
            if is_odd {
                let path = segment.name().path(names::OFFSET_INDEX);
                let reason = "it or the time index does not hold whole entries".to_owned();
                recovery.rebuilt.push(Rebuilt { path, reason });
            }
            if number < first_unsynced && !segment.indexes_missing && !is_odd {
                continue;
            }
            let end_max = self.segments.get(number + 1).map_or(i64::MAX, Segment::base_offset);
            let walked = self.walk_segment(number, check_from, end_max, &mut checker, recovery)?;
            if number == last {
                self.log_end = walked.next_offset;
            }
            if number < first_unsynced {
                // No flush looks at it again.
                for (path, file) in self.segments[number].index_files() {
                    disk::sync_file(&file).map_err(|error| StorageError::io("sync", path, error))?;
                }
            }
            last_epoch = walked.last_epoch.or(last_epoch);
            if let Some((position, reason)) = walked.bad {
                if !open.clean
                    && self.segments.get(number + 1).is_some_and(|next| next.base_offset() <= check_from)
                {
                    // It was flushed whole, and so was what follows it: no crash did this, and nothing is cut for it.
                    let path = self.segments[number].path();
                    tracing::error!(path = %path.display(), position, reason, "damage in the log");
                    continue;
                }
                self.cut(number, position, walked.next_offset, reason, recovery)?;
                break;
            }
            let Some(next) = self.segments.get(number + 1).map(Segment::base_offset) else { continue };
            if self.config.has_gaps || open.clean || next <= check_from || walked.next_offset == next {
                continue;
            }
            if self.epochs.entries().first().is_some_and(|first| first.start_offset >= next) {
                // The epochs were cut on the disk before these segments were deleted.
                came_back = number + 1;
                continue;
            }
            let reason = format!("what lay between offset {} and it is gone", walked.next_offset);
            self.cut_behind(number, walked.next_offset, &reason, recovery)?;
            break;
        }
        for segment in self.segments.drain(..came_back) {
            remove_files(&segment)?;
        }
        Ok(last_epoch)
    }

    /// Walks one segment from its last trustworthy index entry on; checks CRCs of batches at or above `check_from`;
    /// adds index entries and epochs that are missing.
    fn walk_segment(
        &mut self,
        number: usize,
        check_from: i64,
        end_max: i64,
        checker: &mut BatchChecker,
        recovery: &mut Recovery,
    ) -> Result<Walked, StorageError> {
        let interval = self.config.index_interval_bytes;
        let is_last = number + 1 == self.segments.len();
        let segment = &mut self.segments[number];
        let mut walked = Walked { next_offset: segment.base_offset(), last_epoch: None, bad: None };
        if segment.size() == 0 {
            segment.ensure_empty_indexes()?;
            return Ok(walked);
        }
        let start = segment.trusted_start(check_from)?;
        let file = segment.file()?;
        for batch in HeaderWalk::new(&file, start, segment.size()).within(segment.base_offset(), end_max) {
            let checked = batch.and_then(|(position, header)| {
                let bad = |reason| WalkError::Bad { position, reason };
                if segment.relative(header.last_offset()).is_none() {
                    return Err(bad(format!("offset {} is too far from the base", header.last_offset())));
                }
                if header.last_offset() >= check_from {
                    checker.check(&file, position, &header)?;
                    recovery.checked_batches += 1;
                    recovery.checked_bytes += header.size() as u64;
                }
                Ok((position, header))
            });
            match checked {
                Ok((position, header)) => {
                    segment.note(position, &header, interval);
                    self.epochs.note(header.partition_leader_epoch, header.base_offset);
                    walked.next_offset = header.next_offset();
                    walked.last_epoch = Some(header.partition_leader_epoch);
                }
                Err(WalkError::Bad { position, .. }) if position == start && start > 0 => {
                    segment.indexes_missing = true;
                    return self.walk_segment(number, check_from, end_max, checker, recovery);
                }
                Err(WalkError::Bad { position, reason }) => {
                    walked.bad = Some((position, reason));
                    break;
                }
                Err(error) => return Err(segment.walk_failed(error)),
            }
        }
        segment.indexes_missing = false;
        if !is_last {
            segment
                .finish()
                .map_err(|error| StorageError::io("write the index of", segment.path(), error))?;
        }
        Ok(walked)
    }

    /// Removes everything from `position` of segment `number` on.
    fn cut(
        &mut self,
        number: usize,
        position: u64,
        offset: i64,
        reason: String,
        recovery: &mut Recovery,
    ) -> Result<(), StorageError> {
        let segment = &mut self.segments[number];
        let bytes = segment.size() - position;
        recovery.cuts.push(Cut { path: segment.path(), position, offset, bytes, reason });
        segment.cut_file(position)?;
        let behind = format!("it lies behind the cut in {}", segment.path().display());
        self.cut_behind(number, offset, &behind, recovery)
    }

    /// Removes the segments behind the one at `number`.
    fn cut_behind(
        &mut self,
        number: usize,
        offset: i64,
        reason: &str,
        recovery: &mut Recovery,
    ) -> Result<(), StorageError> {
        // The last one first: what remains is a prefix at any moment.
        for segment in self.segments.split_off(number + 1).iter().rev() {
            let bytes = segment.size();
            let cut = Cut { path: segment.path(), position: 0, offset, bytes, reason: reason.to_owned() };
            recovery.cuts.push(cut);
            remove_files(segment)?;
        }
        self.log_end = offset;
        Ok(())
    }

    /// Walks the rest of the active segment after a truncation, so that its largest timestamp and its index follow.
    /// Returns the offset behind its last batch, its base offset if it has none.
    pub(super) fn rewalk_active(&mut self) -> Result<i64, StorageError> {
        let mut unused = Recovery::default();
        let number = self.segments.len() - 1;
        let walked = self.walk_segment(number, i64::MAX, i64::MAX, &mut BatchChecker::new(), &mut unused)?;
        match walked.bad {
            None => Ok(walked.next_offset),
            Some((position, reason)) => {
                let reason = format!("at position {position}: {reason}");
                Err(StorageError::Damaged { path: self.active().path(), reason })
            }
        }
    }
}

fn remove_files(segment: &Segment) -> Result<(), StorageError> {
    names::SEGMENT_SUFFIXES.iter().try_for_each(|suffix| disk::remove(&segment.name().path(suffix)))
}

struct Walked {
    next_offset: i64,
    /// Of the last batch.
    last_epoch: Option<i32>,
    bad: Option<(u64, String)>,
}
