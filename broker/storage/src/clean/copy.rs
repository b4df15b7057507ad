//! The copy of a segment, or of several that become one: written beside the log under `.cleaned` names with its
//! indexes, synced, and handed to the swap. A copy that is dropped before takes its files with it.

use std::io::IoSlice;
use std::path::Path;
use std::time::SystemTime;

use ottla_model::batch::Header;

use super::judge::{CleanError, Pace};
use super::reader::{ReadBuffer, Reader};
use super::report::SegmentReport;
use super::source::Source;
use crate::disk;
use crate::error::StorageError;
use crate::names::{self, SegmentName};
use crate::segment::{Segment, TimestampOffset};

pub(crate) struct SegmentCopy {
    /// The segment whose place it takes.
    name: SegmentName,
    segment: Segment,
    index_interval_bytes: u32,
    is_swapped: bool,
}

impl SegmentCopy {
    pub fn begin(name: &SegmentName, index_interval_bytes: u32) -> Result<SegmentCopy, StorageError> {
        let mut segment = Segment::create(name.staged(names::CLEANED), 0)?;
        segment.set_max_timestamp(TimestampOffset::NONE);
        Ok(SegmentCopy { name: name.clone(), segment, index_interval_bytes, is_swapped: false })
    }

    /// Writes batches, whose bytes `slices` hold, behind those that are there.
    pub fn append(
        &mut self,
        slices: &mut [IoSlice<'_>],
        headers: &[Header],
        pace: &mut dyn Pace,
    ) -> Result<(), CleanError> {
        let bytes = headers.iter().map(|header| header.size() as u64).sum();
        pace.take(bytes)?;
        let mut position = self.segment.size();
        self.segment.write(slices, bytes).map_err(|(error, _)| error)?;
        for header in headers {
            self.segment.note(position, header, self.index_interval_bytes);
            position += header.size() as u64;
        }
        Ok(())
    }

    /// Copies what lies before `end`, of which nothing changed.
    pub fn take_prefix(
        &mut self,
        source: &Source,
        end: u64,
        buffer_bytes: usize,
        pace: &mut dyn Pace,
    ) -> Result<(), CleanError> {
        let mut reader = Reader::again(source, end);
        if reader.is_at_end() {
            return Ok(());
        }
        let mut buffer = ReadBuffer::new(buffer_bytes);
        loop {
            let found = reader.next_chunk(&mut buffer, pace)?;
            let Some(last) = found.last() else { return Ok(()) };
            let whole = &buffer.bytes()[..last.at + last.header.size()];
            let headers: Vec<Header> = found.iter().map(|found| found.header).collect();
            self.append(&mut [IoSlice::new(whole)], &headers, pace)?;
        }
    }

    /// Ends the copy and syncs it. It keeps the time at which the segment was last written, by which retention judges
    /// batches without timestamps.
    pub fn finish(&mut self, modified: Option<SystemTime>) -> Result<(), StorageError> {
        let path = self.segment.path();
        let failed = |error| StorageError::io("write", &path, error);
        self.segment.finish().map_err(failed)?;
        let file = self.segment.file()?;
        if let Some(modified) = modified {
            // Only an age: without it retention keeps the segment longer.
            let _ = disk::set_modified(&file, modified);
        }
        for (path, file) in self.segment.index_files() {
            disk::sync_file(&file).map_err(|error| StorageError::io("sync", path, error))?;
        }
        disk::sync_file(&file).map_err(failed)?;
        self.segment.close();
        Ok(())
    }

    /// The folder that it was written in.
    pub fn dir(&self) -> &Path {
        &self.name.dir
    }

    pub fn base_offset(&self) -> i64 {
        self.name.base_offset
    }

    pub fn size(&self) -> u64 {
        self.segment.size()
    }

    /// Renames the copy to its `.swap` names, the data last: from then on it stands for what it was made of. The
    /// caller syncs the folder, and no longer finds the old files needed.
    pub fn promise(&mut self) -> Result<(), StorageError> {
        self.rename(names::CLEANED, Some(names::SWAP), &SWAP_ORDER)?;
        self.is_swapped = true;
        Ok(())
    }

    /// Gives the copy's indexes their final names.
    pub fn place_indexes(&self) -> Result<(), StorageError> {
        self.rename(names::SWAP, None, &SWAP_ORDER[..2])
    }

    /// Gives the copy's data its final name, and yields the segment.
    pub fn place_data(&self, now_ms: i64) -> Result<Segment, StorageError> {
        self.rename(names::SWAP, None, &SWAP_ORDER[2..])?;
        let mut segment = Segment::existing(self.name.clone(), self.size(), now_ms);
        segment.set_max_timestamp(self.segment.max_timestamp());
        Ok(segment)
    }

    fn rename(
        &self,
        from: &'static str,
        to: Option<&'static str>,
        suffixes: &[&str],
    ) -> Result<(), StorageError> {
        let target = to.map_or_else(|| self.name.clone(), |to| self.name.staged(to));
        for suffix in suffixes {
            let path = self.name.staged(from).path(suffix);
            disk::rename(&path, &target.path(suffix))
                .map_err(|error| StorageError::io("rename", path, error))?;
        }
        Ok(())
    }
}

/// The data last: it says that the indexes are whole.
const SWAP_ORDER: [&str; 3] = [names::OFFSET_INDEX, names::TIME_INDEX, names::LOG];

impl Drop for SegmentCopy {
    fn drop(&mut self) {
        if self.is_swapped {
            return;
        }
        self.segment.close();
        for suffix in SWAP_ORDER.iter().rev() {
            // The next start removes what is left.
            let _ = disk::remove(&self.segment.name().path(suffix));
        }
    }
}

/// Adjacent segments and the copy that takes their place, if anything changed.
pub(crate) struct CleanedGroup {
    /// Base offset and size of each.
    pub sources: Vec<(i64, u64)>,
    pub copy: Option<SegmentCopy>,
    pub reports: Vec<SegmentReport>,
}

impl CleanedGroup {
    pub fn last_base_offset(&self) -> i64 {
        self.sources.last().map_or(0, |(base_offset, _)| *base_offset)
    }
}
