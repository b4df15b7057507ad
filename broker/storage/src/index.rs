//! The sparse indexes of a segment, in Kafka's formats: from relative offset to file position, and from timestamp to
//! relative offset. The segment appends to them as it grows and asks them where to begin a walk. An index is a
//! hint, never the truth: a lookup in a damaged one yields a worse starting point, and it can always be made again
//! from the segment. New entries wait in memory and are written many at a time.

use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::disk;
use crate::files::FileHandle;
use crate::names::{self, SegmentName};

/// So many entries wait in memory before they are written: one write per half a megabyte of batches.
const PENDING_ENTRIES_MAX: usize = 128;
/// Once the search is down to so many entries they are read at once.
const BLOCK_ENTRIES: usize = 64;
/// The larger of the two entry sizes.
const ENTRY_BYTES_MAX: usize = 12;

/// What one line of an index says.
pub(crate) trait IndexEntry: Copy {
    const BYTES: usize;
    const SUFFIX: &'static str;
    fn decode(bytes: &[u8]) -> Self;
    fn encode(self, into: &mut Vec<u8>);
}

/// `.index`: the last offset of a batch, relative to the segment's base, and where the batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub relative_offset: u32,
    pub position: u32,
}

impl IndexEntry for OffsetEntry {
    const BYTES: usize = 8;
    const SUFFIX: &'static str = names::OFFSET_INDEX;

    fn decode(bytes: &[u8]) -> OffsetEntry {
        OffsetEntry { relative_offset: u32_at(bytes, 0), position: u32_at(bytes, 4) }
    }

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
    }
}

/// `.timeindex`: the largest timestamp so far, and the last offset of the batch that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp: i64,
    pub relative_offset: u32,
}

impl IndexEntry for TimeEntry {
    const BYTES: usize = 12;
    const SUFFIX: &'static str = names::TIME_INDEX;

    fn decode(bytes: &[u8]) -> TimeEntry {
        let timestamp = (i64::from(u32_at(bytes, 0)) << 32) | i64::from(u32_at(bytes, 4));
        TimeEntry { timestamp, relative_offset: u32_at(bytes, 8) }
    }

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.timestamp.to_be_bytes());
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
    }
}

/// Callers hand over a whole entry; what is missing reads as zero.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// One index file with the entries that are not yet written.
pub(crate) struct SparseIndex<E> {
    name: SegmentName,
    handle: FileHandle,
    /// Entries in the file; unknown until the file is first looked at.
    written: OnceLock<u32>,
    pending: Vec<E>,
    /// The file may hold what no sync has covered.
    unsynced: bool,
    entry: PhantomData<E>,
}

impl<E: IndexEntry> SparseIndex<E> {
    /// The index of a segment that exists. Nothing is opened yet.
    pub fn existing(name: SegmentName) -> SparseIndex<E> {
        SparseIndex {
            name,
            handle: FileHandle::new(),
            written: OnceLock::new(),
            pending: Vec::new(),
            unsynced: true,
            entry: PhantomData,
        }
    }

    /// The index of a new segment: an empty file.
    pub fn create(name: SegmentName) -> io::Result<SparseIndex<E>> {
        disk::create(&name.path(E::SUFFIX))?;
        let index = SparseIndex::existing(name);
        let _ = index.written.set(0);
        Ok(index)
    }

    fn file(&self) -> io::Result<Arc<std::fs::File>> {
        self.handle.get(|| self.name.path(E::SUFFIX))
    }

    /// Number of entries. A file that cannot be read counts as empty, as does one that does not hold whole entries.
    pub fn len(&self) -> u32 {
        self.written() + self.pending.len() as u32
    }

    fn written(&self) -> u32 {
        if let Some(&written) = self.written.get() {
            return written;
        }
        let length = self.file().and_then(|file| file.metadata()).map_or(0, |metadata| metadata.len());
        let entries = if length.is_multiple_of(E::BYTES as u64) { length / E::BYTES as u64 } else { 0 };
        *self.written.get_or_init(|| entries.min(u64::from(u32::MAX)) as u32)
    }

    /// The file, opened, with the number of entries in it; those that wait are not in it yet.
    pub fn as_written(&self) -> (PathBuf, io::Result<Arc<std::fs::File>>, u32) {
        (self.name.path(E::SUFFIX), self.file(), self.written())
    }

    /// True if the file is there and holds whole entries.
    pub fn is_whole(&self) -> bool {
        std::fs::metadata(self.name.path(E::SUFFIX))
            .is_ok_and(|metadata| metadata.len().is_multiple_of(E::BYTES as u64))
    }

    /// The entry at `number`, which must be below `len`.
    fn entry(&self, number: u32) -> io::Result<E> {
        let written = self.written();
        if number >= written {
            return self.pending.get((number - written) as usize).copied().ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("index entry {number} of {}", self.len()))
            });
        }
        let mut bytes = [0; ENTRY_BYTES_MAX];
        let bytes = &mut bytes[..E::BYTES];
        let count = disk::read_up_to(&*self.file()?, bytes, u64::from(number) * E::BYTES as u64)?;
        if count < E::BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(E::decode(bytes))
    }

    /// The last entry, if there is one and it can be read.
    pub fn last(&self) -> Option<E> {
        if let Some(last) = self.pending.last() {
            return Some(*last);
        }
        self.len().checked_sub(1).and_then(|number| self.entry(number).ok())
    }

    /// The last entry for which `holds` is true, where it is true for all entries up to some point and false after.
    pub fn last_where(&self, holds: impl Fn(E) -> bool) -> io::Result<Option<E>> {
        match self.count_where(&holds)? {
            0 => Ok(None),
            count => self.entry(count - 1).map(Some),
        }
    }

    /// How many entries from the first on satisfy `holds`, by binary search.
    fn count_where(&self, holds: &impl Fn(E) -> bool) -> io::Result<u32> {
        let written = self.written();
        if self.pending.first().is_some_and(|&first| holds(first)) {
            return Ok(written + self.pending.partition_point(|&entry| holds(entry)) as u32);
        }
        let (mut low, mut high) = (0, written);
        while (high - low) as usize > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            if holds(self.entry(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == high {
            return Ok(low);
        }
        let mut bytes = [0; BLOCK_ENTRIES * ENTRY_BYTES_MAX];
        let bytes = &mut bytes[..(high - low) as usize * E::BYTES];
        let count = disk::read_up_to(&*self.file()?, bytes, u64::from(low) * E::BYTES as u64)?;
        let holding = bytes[..count].chunks_exact(E::BYTES).take_while(|entry| holds(E::decode(entry)));
        Ok(low + holding.count() as u32)
    }

    /// Adds an entry; it is written with others once enough wait. A failed write costs density, not truth: the data
    /// is in the log already, and every second waiting entry is let go when they become too many.
    pub fn append(&mut self, entry: E) {
        self.written();
        self.pending.push(entry);
        if self.pending.len() < PENDING_ENTRIES_MAX {
            return;
        }
        if let Err(error) = self.write_pending() {
            tracing::warn!(path = %self.name.path(E::SUFFIX).display(), %error, "index entries could not be written");
            let mut keep = false;
            self.pending.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Writes the waiting entries.
    pub fn write_pending(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = self.written();
        let mut bytes = Vec::with_capacity(self.pending.len() * E::BYTES);
        for entry in &self.pending {
            entry.encode(&mut bytes);
        }
        let file = self.handle.get_or_create(|| self.name.path(E::SUFFIX))?;
        disk::write_all_at(&file, &mut [IoSlice::new(&bytes)], u64::from(written) * E::BYTES as u64)?;
        self.unsynced = true;
        self.written = OnceLock::from(written + self.pending.len() as u32);
        self.pending.clear();
        Ok(())
    }

    /// The file, if it has entries that a sync must cover and can be opened.
    pub fn file_to_sync(&mut self) -> Option<Arc<std::fs::File>> {
        if self.written() == 0 || !self.unsynced {
            return None;
        }
        let file = self.file().ok()?;
        self.unsynced = false;
        Some(file)
    }

    /// Keeps the entries up to the last for which `holds` is true; empty if they cannot be read.
    pub fn truncate_where(&mut self, holds: impl Fn(E) -> bool) -> io::Result<()> {
        let keep = self.count_where(&holds).unwrap_or(0);
        let written = self.written();
        if keep == self.len() && self.is_whole() {
            return Ok(());
        }
        self.pending.truncate(keep.saturating_sub(written) as usize);
        let file = self.handle.get_or_create(|| self.name.path(E::SUFFIX))?;
        let kept = keep.min(written);
        disk::set_length(&file, u64::from(kept) * E::BYTES as u64)?;
        self.unsynced = true;
        self.written = OnceLock::from(kept);
        Ok(())
    }

    /// Empties the index, so that it can be built again.
    pub fn reset(&mut self) -> io::Result<()> {
        self.truncate_where(|_| false)
    }

    /// Lets go of the open file.
    pub fn close(&self) {
        self.handle.close();
    }

    /// The file lies in `dir` from now on; the caller has closed it.
    pub fn relocate(&mut self, dir: &Arc<Path>) {
        self.name.dir = dir.clone();
    }

    /// Lets go of memory that only a growing segment needs.
    pub fn shrink(&mut self) {
        self.pending.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(dir: &Path) -> SegmentName {
        SegmentName::new(dir.into(), 100)
    }

    fn entry(n: u32) -> OffsetEntry {
        OffsetEntry { relative_offset: n * 10, position: n * 4096 }
    }

    #[test]
    fn every_lookup_agrees_with_a_list_whether_entries_are_written_or_wait() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = SparseIndex::<OffsetEntry>::create(name(dir.path())).unwrap();
        assert_eq!(index.last(), None);
        for count in 1..700u32 {
            index.append(entry(count));
            if count % 97 != 0 && count < 690 {
                continue;
            }
            for offset in (0..count * 10 + 25).step_by(7) {
                let found = index.last_where(|entry| entry.relative_offset <= offset).unwrap();
                let expected = (offset / 10).min(count);
                assert_eq!(found, (expected > 0).then(|| entry(expected)), "{offset} of {count}");
            }
        }
        index.write_pending().unwrap();
        let again = SparseIndex::<OffsetEntry>::existing(name(dir.path()));
        assert_eq!(again.len(), 699);
        assert_eq!(again.last(), Some(entry(699)));
        let file = std::fs::read(dir.path().join("00000000000000000100.index")).unwrap();
        assert_eq!(&file[..8], [0, 0, 0, 10, 0, 0, 16, 0], "the format is big-endian offset, then position");
    }

    #[test]
    fn truncation_keeps_what_holds_and_appending_goes_on_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = SparseIndex::<OffsetEntry>::create(name(dir.path())).unwrap();
        (1..=200).for_each(|n| index.append(entry(n)));
        for keep in [170, 130, 128, 50, 0] {
            index.truncate_where(|entry| entry.relative_offset <= keep * 10).unwrap();
            assert_eq!(index.len(), keep);
            assert_eq!(index.last(), (keep > 0).then(|| entry(keep)));
        }
        index.append(entry(3));
        index.write_pending().unwrap();
        assert_eq!(SparseIndex::<OffsetEntry>::existing(name(dir.path())).last(), Some(entry(3)));
    }

    #[test]
    fn a_file_without_whole_entries_counts_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("00000000000000000100.timeindex"), [7; 13]).unwrap();
        let index = SparseIndex::<TimeEntry>::existing(name(dir.path()));
        assert!(!index.is_whole());
        assert_eq!(index.len(), 0);
        assert_eq!(index.last_where(|_| true).unwrap(), None);
    }

    #[test]
    fn time_entries_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = SparseIndex::<TimeEntry>::create(name(dir.path())).unwrap();
        let entries: Vec<TimeEntry> = [-1, 0, 1 << 40, i64::MAX]
            .iter()
            .map(|&timestamp| TimeEntry { timestamp, relative_offset: 9 })
            .collect();
        entries.iter().for_each(|&entry| index.append(entry));
        index.write_pending().unwrap();
        let again = SparseIndex::<TimeEntry>::existing(name(dir.path()));
        assert_eq!(again.last_where(|entry| entry.timestamp <= 5).unwrap(), Some(entries[1]));
        assert_eq!(again.last(), Some(entries[3]));
    }
}
