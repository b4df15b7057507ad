//! Verification of a log that is in use: every batch of a segment with its CRC and its offsets, both indexes against
//! the batches, and the saved states beside them. The owner takes a segment's check under its lock and runs it without;
//! what the check covers never changes meanwhile. Nothing is repaired here, and memory is bounded by the indexes of
//! one segment and the damage that is listed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_model::batch::Header;

use super::Log;
use crate::disk;
use crate::epochs::EpochCache;
use crate::error::StorageError;
use crate::index::{IndexEntry, OffsetEntry, SparseIndex, TimeEntry};
use crate::names;
use crate::producers;
use crate::walk::{BatchChecker, HeaderWalk, WalkError};

/// So many damages are listed of one segment; further ones are counted.
const DAMAGES_MAX: usize = 50;
/// The longest index that is compared. Kafka's default bound for one is 10 MiB.
const INDEX_BYTES_MAX: u64 = 64 << 20;

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in the file; 0 if all of it is concerned.
    pub position: u64,
    /// The first and the last offset that may be concerned, if it is records.
    pub offsets: Option<(i64, i64)>,
    pub reason: String,
}

/// What the verification of a segment, or of the files beside all segments, found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub batches: u64,
    pub bytes: u64,
    pub index_entries: u64,
    /// In the order in which they were found; a bounded number.
    pub damages: Vec<Damage>,
    /// Damages beyond those that are listed.
    pub damages_left_out: u64,
}

impl Verified {
    /// Takes over what another verification of the same log found.
    pub fn add(&mut self, other: Verified) {
        self.batches += other.batches;
        self.bytes += other.bytes;
        self.index_entries += other.index_entries;
        self.damages_left_out += other.damages_left_out;
        for damage in other.damages {
            self.note(damage);
        }
    }

    fn note(&mut self, damage: Damage) {
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage);
        } else {
            self.damages_left_out += 1;
        }
    }
}

/// One segment as it was when it was asked for.
pub struct SegmentCheck {
    path: PathBuf,
    file: Arc<File>,
    size: u64,
    base: i64,
    end: i64,
    offsets: IndexCheck<OffsetEntry>,
    times: IndexCheck<TimeEntry>,
}

/// An index as far as it is written.
struct IndexCheck<E> {
    path: PathBuf,
    file: io::Result<Arc<File>>,
    entries: u32,
    is_whole: bool,
    read: Vec<E>,
    /// The first entry that no batch has confirmed yet.
    next: usize,
}

impl<E: IndexEntry> IndexCheck<E> {
    fn of(index: &SparseIndex<E>) -> IndexCheck<E> {
        let (path, file, entries) = index.as_written();
        IndexCheck { is_whole: index.is_whole(), path, file, entries, read: Vec::new(), next: 0 }
    }

    fn damage(&self, entry: usize, reason: String) -> Damage {
        let position = (entry * E::BYTES) as u64;
        Damage { path: self.path.clone(), position, offsets: None, reason }
    }

    /// Reads the entries, and finds those that do not grow.
    fn load(&mut self, grows: impl Fn(&E, &E) -> bool, into: &mut Verified) -> Result<(), StorageError> {
        let file = match &self.file {
            Ok(file) => file.clone(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                into.note(self.damage(0, "it is missing".to_owned()));
                return Ok(());
            }
            Err(error) => {
                let error = io::Error::new(error.kind(), error.to_string());
                return Err(StorageError::io("open", &self.path, error));
            }
        };
        if !self.is_whole {
            into.note(self.damage(0, "it does not hold whole entries".to_owned()));
            return Ok(());
        }
        let bytes = u64::from(self.entries) * E::BYTES as u64;
        if bytes > INDEX_BYTES_MAX {
            into.note(self.damage(0, format!("{bytes} bytes, where at most {INDEX_BYTES_MAX} are expected")));
            return Ok(());
        }
        let mut content = vec![0; bytes as usize];
        let count = disk::read_up_to(&file, &mut content, 0)
            .map_err(|error| StorageError::io("read", &self.path, error))?;
        self.read = content[..count].chunks_exact(E::BYTES).map(E::decode).collect();
        into.index_entries += self.read.len() as u64;
        if self.read.len() < self.entries as usize {
            into.note(self.damage(self.read.len(), "it ends too early".to_owned()));
        }
        let odd = self.read.windows(2).position(|pair| !grows(&pair[0], &pair[1]));
        if let Some(odd) = odd {
            into.note(self.damage(odd + 1, "the entry does not follow the one before".to_owned()));
            self.read.truncate(odd + 1);
        }
        Ok(())
    }

    /// The next entry, if `is_due`; the one behind it is next then.
    fn take(&mut self, is_due: impl Fn(&E) -> bool) -> Option<(usize, E)> {
        let entry = *self.read.get(self.next).filter(|entry| is_due(entry))?;
        self.next += 1;
        Some((self.next - 1, entry))
    }
}

impl SegmentCheck {
    /// Compares everything. Blocks for as long as reading takes; `goes_on` is asked before each batch, and ends the check
    /// early.
    ///
    /// # Errors
    /// Those of reading; damage is none.
    pub fn run(mut self, goes_on: &dyn Fn() -> bool) -> Result<Verified, StorageError> {
        let mut found = Verified::default();
        let strictly = |one: &OffsetEntry, next: &OffsetEntry| {
            next.relative_offset > one.relative_offset && next.position > one.position
        };
        self.offsets.load(strictly, &mut found)?;
        let times = |one: &TimeEntry, next: &TimeEntry| {
            next.timestamp > one.timestamp && next.relative_offset > one.relative_offset
        };
        self.times.load(times, &mut found)?;
        self.batches(goes_on, &mut found)?;
        if goes_on() {
            let missed = "it points to where no batch ends that the segment holds";
            if let Some((number, _)) = self.offsets.take(|_| true) {
                found.note(self.offsets.damage(number, missed.to_owned()));
            }
            if let Some((number, _)) = self.times.take(|_| true) {
                found.note(self.times.damage(number, missed.to_owned()));
            }
        }
        Ok(found)
    }

    fn batches(&mut self, goes_on: &dyn Fn() -> bool, found: &mut Verified) -> Result<(), StorageError> {
        let file = self.file.clone();
        let mut checker = BatchChecker::new();
        let (mut start, mut next_offset) = (0, self.base);
        // Each round walks as far as headers follow each other.
        loop {
            let mut bad = None;
            for batch in HeaderWalk::new(&file, start, self.size).within(next_offset, self.end) {
                if !goes_on() {
                    return Ok(());
                }
                let (position, header) = match batch {
                    Ok(batch) => batch,
                    Err(WalkError::Bad { position, reason }) => {
                        bad = Some((position, reason));
                        break;
                    }
                    Err(WalkError::Io(error)) => return Err(StorageError::io("read", &self.path, error)),
                };
                found.batches += 1;
                found.bytes += header.size() as u64;
                match checker.check(&file, position, &header) {
                    Ok(()) => {}
                    Err(WalkError::Bad { position, reason }) => {
                        let offsets = Some((header.base_offset, header.last_offset()));
                        found.note(Damage { path: self.path.clone(), position, offsets, reason });
                    }
                    Err(WalkError::Io(error)) => return Err(StorageError::io("read", &self.path, error)),
                }
                self.indexes(position, &header, found);
                next_offset = header.next_offset();
            }
            let Some((position, reason)) = bad else { return Ok(()) };
            let again = self.after(position);
            let (until, reason) = match again {
                Some((_, offset)) => (offset, reason),
                None => (self.end, format!("{reason}; nothing behind it in the file can be found")),
            };
            let offsets = Some((next_offset, until - 1));
            found.note(Damage { path: self.path.clone(), position, offsets, reason });
            match again {
                Some((position, offset)) => (start, next_offset) = (position, offset),
                None => {
                    // What the indexes say of the rest cannot be judged.
                    (self.offsets.next, self.times.next) = (usize::MAX, usize::MAX);
                    return Ok(());
                }
            }
        }
    }

    /// The next batch behind `position` that the index knows: where it begins, and its base offset.
    fn after(&self, position: u64) -> Option<(u64, i64)> {
        let later = self.offsets.read.iter().filter(|entry| u64::from(entry.position) > position);
        later.take(1 << 10).find_map(|entry| {
            let start = u64::from(entry.position);
            let (_, header) = HeaderWalk::new(&self.file, start, self.size).next()?.ok()?;
            let is_its = header.last_offset() == self.base + i64::from(entry.relative_offset);
            is_its.then_some((start, header.base_offset))
        })
    }

    /// Compares the entries that are due by now with a batch.
    fn indexes(&mut self, position: u64, header: &Header, found: &mut Verified) {
        let (base, last) = (self.base, header.last_offset());
        while let Some((number, entry)) =
            self.offsets.take(|entry| base + i64::from(entry.relative_offset) <= last)
        {
            if (u64::from(entry.position), base + i64::from(entry.relative_offset)) != (position, last) {
                let reason = format!("it says {entry:?}, and no batch is there");
                found.note(self.offsets.damage(number, reason));
            }
        }
        while let Some((number, entry)) =
            self.times.take(|entry| base + i64::from(entry.relative_offset) <= last)
        {
            let offset = base + i64::from(entry.relative_offset);
            if offset < header.base_offset || entry.timestamp != header.max_timestamp {
                let reason = format!("it says {entry:?}, and no batch bears that");
                found.note(self.times.damage(number, reason));
            }
        }
    }
}

impl Log {
    /// The check of the segment that begins at `base_offset`; `None` if it is gone.
    ///
    /// # Errors
    /// Those of opening its file; a missing file is damage, and comes as `Io` with `NotFound`.
    pub fn segment_check(&self, base_offset: i64) -> Result<Option<SegmentCheck>, StorageError> {
        let number = self.segments.iter().position(|segment| segment.base_offset() == base_offset);
        let Some(number) = number else { return Ok(None) };
        let segment = &self.segments[number];
        Ok(Some(SegmentCheck {
            path: segment.path(),
            file: segment.file()?,
            size: segment.size(),
            base: base_offset,
            end: self.end_of(number),
            offsets: IndexCheck::of(&segment.offsets),
            times: IndexCheck::of(&segment.times),
        }))
    }

    /// Where the folder lies and as of which offsets producer states are saved in it, for `verify_side_files`.
    ///
    /// # Errors
    /// Those of listing the folder.
    pub fn side_files(&self) -> Result<(Arc<Path>, Vec<i64>), StorageError> {
        Ok((self.dir.clone(), self.saved_offsets()?))
    }
}

/// Reads what lies beside the segments of a log: saved producer states and the epochs. A file that went meanwhile is no
/// damage.
pub fn verify_side_files(dir: &Path, saved: &[i64]) -> Verified {
    let mut found = Verified::default();
    for &offset in saved {
        for (path, reason) in producers::faults_of_saved(dir, offset) {
            found.note(Damage { path, position: 0, offsets: None, reason });
        }
    }
    if let Err(error) = EpochCache::load(dir) {
        let path = dir.join(names::LEADER_EPOCH_CHECKPOINT);
        found.note(Damage { path, position: 0, offsets: None, reason: error.to_string() });
    }
    found
}
