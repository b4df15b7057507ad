//! One segment: a file of consecutive batches with its two sparse indexes. The log appends to the last segment and
//! reads from any. Invariants: the file's first `size` bytes are whole batches with growing offsets, and what lies
//! behind them, after a failed write, is never read.

mod trust;

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ottla_model::batch::Header;

use crate::disk;
use crate::error::StorageError;
use crate::files::FileHandle;
use crate::index::{OffsetEntry, SparseIndex, TimeEntry};
use crate::names::{self, SegmentName};
use crate::walk::{HeaderWalk, WalkError};

/// Positions in a segment are 31-bit in Kafka's index.
pub(crate) const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// A timestamp and the offset that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: i64,
}

impl TimestampOffset {
    /// What an empty segment has.
    pub const NONE: TimestampOffset = TimestampOffset { timestamp: -1, offset: -1 };
}

/// Tells a segment from another that took its place under the same name.
pub(crate) type SegmentId = u64;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Segment {
    id: SegmentId,
    name: SegmentName,
    handle: FileHandle,
    pub offsets: SparseIndex<OffsetEntry>,
    pub times: SparseIndex<TimeEntry>,
    size: u64,
    bytes_since_index: u64,
    /// Read from the time index when it is first asked for.
    max_timestamp: OnceLock<TimestampOffset>,
    /// The largest timestamp of the first batch, by which a segment's age is judged.
    first_timestamp: OnceLock<i64>,
    /// When this process created or opened the segment.
    pub opened_ms: i64,
    /// True if one of the index files was not there when the log was opened.
    pub indexes_missing: bool,
    /// True until the file's name has been synced into its folder.
    pub name_unsynced: bool,
}

impl Segment {
    /// Creates the files of a new segment.
    pub fn create(name: SegmentName, now_ms: i64) -> Result<Segment, StorageError> {
        let path = name.path(names::LOG);
        let failed = |error| StorageError::io("create", &path, error);
        let offsets = SparseIndex::create(name.clone()).map_err(failed)?;
        let times = SparseIndex::create(name.clone()).map_err(failed)?;
        disk::create(&path).map_err(failed)?;
        Ok(Segment { offsets, times, name_unsynced: true, ..Segment::existing(name, 0, now_ms) })
    }

    /// A segment whose file is there and has `size` bytes. Nothing is opened yet.
    pub fn existing(name: SegmentName, size: u64, now_ms: i64) -> Segment {
        Segment {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            handle: FileHandle::new(),
            offsets: SparseIndex::existing(name.clone()),
            times: SparseIndex::existing(name.clone()),
            name,
            size,
            bytes_since_index: 0,
            max_timestamp: OnceLock::new(),
            first_timestamp: OnceLock::new(),
            opened_ms: now_ms,
            indexes_missing: false,
            name_unsynced: false,
        }
    }

    pub fn base_offset(&self) -> i64 {
        self.name.base_offset
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn path(&self) -> PathBuf {
        self.name.path(names::LOG)
    }

    pub fn file(&self) -> Result<Arc<File>, StorageError> {
        self.handle.get(|| self.path()).map_err(|error| StorageError::io("open", self.path(), error))
    }

    /// The offset relative to the segment's base, if an index entry can hold it.
    pub fn relative(&self, offset: i64) -> Option<u32> {
        let relative = offset.checked_sub(self.base_offset())?;
        i32::try_from(relative).ok().and_then(|relative| u32::try_from(relative).ok())
    }

    /// Writes `slices`, which are whole batches of `bytes` bytes in sum, behind the last one. On an error the file is
    /// cut back to what it was; `Err(Some(..))` brings the error of that cut, after which the file's end is unknown
    /// until `cut_back` succeeds.
    pub fn write(
        &mut self,
        slices: &mut [IoSlice<'_>],
        bytes: u64,
    ) -> Result<(), (StorageError, Option<StorageError>)> {
        let file = self.file().map_err(|error| (error, None))?;
        if let Err(error) = disk::write_all_at(&file, slices, self.size) {
            let error = StorageError::io("append to", self.path(), error);
            return Err((error, self.cut_back().err()));
        }
        self.size += bytes;
        Ok(())
    }

    /// Removes what a failed write left behind the last whole batch.
    pub fn cut_back(&self) -> Result<(), StorageError> {
        disk::set_length(&*self.file()?, self.size)
            .map_err(|error| StorageError::io("truncate", self.path(), error))
    }

    /// Notes a batch that lies at `position`: largest timestamp, and index entries every so many bytes.
    pub fn note(&mut self, position: u64, header: &Header, index_interval_bytes: u32) {
        if position == 0 {
            self.first_timestamp = OnceLock::from(header.max_timestamp);
        }
        let last_offset = header.last_offset();
        if header.max_timestamp > self.max_timestamp().timestamp {
            let newest = TimestampOffset { timestamp: header.max_timestamp, offset: last_offset };
            self.max_timestamp = OnceLock::from(newest);
        }
        if self.bytes_since_index > u64::from(index_interval_bytes)
            && let Some(relative_offset) = self.relative(last_offset)
        {
            self.offsets.append(OffsetEntry { relative_offset, position: position as u32 });
            self.index_time();
            self.bytes_since_index = 0;
        }
        self.bytes_since_index += header.size() as u64;
    }

    /// Adds the largest timestamp so far to the time index unless it is there.
    pub fn index_time(&mut self) {
        let newest = self.max_timestamp();
        let is_newer = self.times.last().is_none_or(|last| newest.timestamp > last.timestamp);
        if newest.timestamp >= 0
            && is_newer
            && let Some(relative_offset) = self.relative(newest.offset)
        {
            self.times.append(TimeEntry { timestamp: newest.timestamp, relative_offset });
        }
    }

    /// The largest timestamp in the segment and the last offset of its batch. Of a segment that is not yet loaded it is
    /// what the time index says, if the batch confirms it, and otherwise what a walk over all batches finds.
    pub fn max_timestamp(&self) -> TimestampOffset {
        *self.max_timestamp.get_or_init(|| {
            if self.size == 0 {
                return TimestampOffset::NONE;
            }
            self.max_timestamp_by_index().unwrap_or_else(|| self.max_timestamp_by_walk())
        })
    }

    fn max_timestamp_by_index(&self) -> Option<TimestampOffset> {
        let last = self.times.last()?;
        let offset = self.base_offset().checked_add(i64::from(last.relative_offset))?;
        let (_, header) = self.find(offset).ok()??;
        (header.max_timestamp == last.timestamp)
            .then_some(TimestampOffset { timestamp: last.timestamp, offset })
    }

    fn max_timestamp_by_walk(&self) -> TimestampOffset {
        let Ok(file) = self.file() else { return TimestampOffset::NONE };
        let mut newest = TimestampOffset::NONE;
        for (_, header) in HeaderWalk::new(&file, 0, self.size).map_while(Result::ok) {
            if header.max_timestamp > newest.timestamp {
                newest = TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
            }
        }
        newest
    }

    /// Overrides what the time index says, after a walk has seen more than the index holds.
    pub fn set_max_timestamp(&mut self, newest: TimestampOffset) {
        self.max_timestamp = OnceLock::from(newest);
    }

    /// The largest timestamp of the first batch; `None` without a batch, or if that has no timestamp.
    pub fn first_timestamp(&self) -> Option<i64> {
        if self.size == 0 {
            return None;
        }
        let read = || -> Option<i64> {
            let file = self.file().ok()?;
            let (_, header) = HeaderWalk::new(&file, 0, self.size).next()?.ok()?;
            Some(header.max_timestamp)
        };
        Some(*self.first_timestamp.get_or_init(|| read().unwrap_or(-1))).filter(|&timestamp| timestamp >= 0)
    }

    /// Lets the time index say again what the largest timestamp is.
    pub fn set_max_timestamp_by_index(&mut self) {
        self.max_timestamp = OnceLock::new();
        self.bytes_since_index = 0;
    }

    /// When the file was last written, in Unix milliseconds; 0 if the file system does not say.
    pub fn modified_ms(&self) -> i64 {
        let modified = std::fs::metadata(self.path()).and_then(|metadata| metadata.modified());
        let since = modified.ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        since.map_or(0, |since| since.as_millis() as i64)
    }

    /// The first batch whose last offset is `offset` or more, with its position. Trusts the index only as far as the
    /// batches confirm it: otherwise the walk begins at the segment's start.
    pub fn find(&self, offset: i64) -> Result<Option<(u64, Header)>, StorageError> {
        if self.size == 0 {
            return Ok(None);
        }
        let file = self.file()?;
        let start = self.position_before(offset);
        match self.find_from(&file, start, offset) {
            Ok(Some((position, header)))
                if position > start || start == 0 || header.base_offset <= offset =>
            {
                Ok(Some((position, header)))
            }
            Ok(None) if start == 0 => Ok(None),
            Err(error) if start == 0 => Err(self.walk_failed(error)),
            _ => self.find_from(&file, 0, offset).map_err(|error| self.walk_failed(error)),
        }
    }

    fn find_from(&self, file: &File, start: u64, offset: i64) -> Result<Option<(u64, Header)>, WalkError> {
        for batch in HeaderWalk::new(file, start, self.size) {
            let (position, header) = batch?;
            if header.last_offset() >= offset {
                return Ok(Some((position, header)));
            }
        }
        Ok(None)
    }

    /// A position at or before the batch that holds `offset`, by the index.
    pub fn position_before(&self, offset: i64) -> u64 {
        let Some(relative) = offset.checked_sub(self.base_offset()).filter(|&relative| relative >= 0) else {
            return 0;
        };
        let entry = self.offsets.last_where(|entry| i64::from(entry.relative_offset) <= relative);
        match entry {
            Ok(Some(entry)) if u64::from(entry.position) < self.size => u64::from(entry.position),
            _ => 0,
        }
    }

    pub fn walk_failed(&self, error: WalkError) -> StorageError {
        match error {
            WalkError::Io(error) => StorageError::io("read", self.path(), error),
            WalkError::Bad { position, reason } => StorageError::Damaged {
                path: self.path(),
                reason: format!("at position {position}: {reason}"),
            },
        }
    }

    /// Cuts off what lies behind the last sound batch; the indexes do not reach beyond it.
    pub fn cut_file(&mut self, position: u64) -> Result<(), StorageError> {
        self.size = position;
        self.cut_back()
    }

    /// Cuts the file at `position`, where a batch begins whose first offset is `offset`, and the indexes with it.
    /// The largest timestamp is what the time index then says: the caller walks what follows the last entry.
    pub fn truncate(&mut self, position: u64, offset: i64) -> Result<(), StorageError> {
        let path = self.path();
        let failed = |error| StorageError::io("truncate", &path, error);
        let file = self.file()?;
        // An index that lacks what the file still holds would be trusted after a power loss.
        disk::set_length(&file, position).and_then(|()| disk::sync_file(&file)).map_err(failed)?;
        self.size = position;
        let base_offset = self.base_offset();
        self.offsets
            .truncate_where(|entry| {
                u64::from(entry.position) < position
                    && base_offset + i64::from(entry.relative_offset) < offset
            })
            .and_then(|()| {
                self.times.truncate_where(|entry| base_offset + i64::from(entry.relative_offset) < offset)
            })
            .map_err(failed)?;
        self.max_timestamp = OnceLock::new();
        self.first_timestamp = OnceLock::new();
        self.bytes_since_index = 0;
        Ok(())
    }

    /// Writes the index entries that wait.
    pub fn finish_index(&mut self) -> io::Result<()> {
        self.offsets.write_pending()?;
        self.times.write_pending()
    }

    /// The open index files with their paths, for a sync. Empty ones need none.
    pub fn index_files(&mut self) -> Vec<(PathBuf, Arc<File>)> {
        let offsets = self.offsets.file_to_sync().map(|file| (self.name.path(names::OFFSET_INDEX), file));
        let times = self.times.file_to_sync().map(|file| (self.name.path(names::TIME_INDEX), file));
        offsets.into_iter().chain(times).collect()
    }

    /// Bytes of the offset index and of the time index.
    pub fn index_bytes(&self) -> (u64, u64) {
        (u64::from(self.offsets.len()) * 8, u64::from(self.times.len()) * 12)
    }

    /// Ends the growth of the segment: the time index gets its last entry, and what waits is written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.index_time();
        self.finish_index()?;
        self.offsets.shrink();
        self.times.shrink();
        Ok(())
    }

    /// Lets go of open files; readers that hold them go on.
    pub fn close(&self) {
        self.handle.close();
        self.offsets.close();
        self.times.close();
    }

    pub fn name(&self) -> &SegmentName {
        &self.name
    }

    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// The files lie in `dir` from now on, synced and byte for byte as they were.
    pub fn relocate(&mut self, dir: &Arc<Path>) {
        self.close();
        self.name.dir = dir.clone();
        self.offsets.relocate(dir);
        self.times.relocate(dir);
        self.name_unsynced = false;
    }
}
