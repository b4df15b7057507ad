//! Copying a log into another folder while it is appended to, and going on from there. The owner takes steps under its
//! lock and runs them without it, until little is missing; it completes the copy under its lock, moves the folders,
//! and tells the log where it lies. The invariant: a completed copy is synced, and holds the same bytes, states and
//! epochs as the log, so that either of the two folders alone is a whole replica.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Log, trash};
use crate::disk;
use crate::error::StorageError;
use crate::names;
use crate::producers;
use crate::segment::{Segment, SegmentId};

/// Bytes copied at once.
const BUFFER_BYTES: usize = 256 << 10;
const INDEXES: [&str; 2] = [names::OFFSET_INDEX, names::TIME_INDEX];

/// An unfinished copy of a log in a folder of its own.
pub struct LogCopy {
    dir: PathBuf,
    segments: BTreeMap<i64, Copied>,
    /// The segment that was written to last, as steps follow upon each other in one.
    open: Option<(i64, File)>,
}

/// What a copy holds of one segment.
#[derive(Clone, Copy, Debug)]
struct Copied {
    id: SegmentId,
    /// Of the log, when it was copied: what was cut off since may have been replaced by other batches.
    truncations: u64,
    bytes: u64,
    synced_bytes: u64,
    /// The segment is closed, and its indexes are copied.
    is_complete: bool,
}

/// A range of one segment that is to be copied.
pub struct CopyStep {
    base_offset: i64,
    id: SegmentId,
    file: Arc<File>,
    from: u64,
    to: u64,
    /// Where the segment's indexes lie, if it is closed and ends with this step.
    indexes_of: Option<PathBuf>,
    truncations: u64,
}

impl LogCopy {
    /// A copy that begins empty; `dir` is there and holds no files of a log.
    pub fn new(dir: PathBuf) -> LogCopy {
        LogCopy { dir, segments: BTreeMap::new(), open: None }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes of segments that were copied.
    pub fn size_bytes(&self) -> u64 {
        self.segments.values().map(|copied| copied.bytes).sum()
    }

    /// Makes what was copied so far outlive a power loss. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// Those of the disk; the copy is worth nothing then.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        for (&base_offset, copied) in &mut self.segments {
            if copied.synced_bytes < copied.bytes {
                sync_file(&self.dir.join(names::file_name(base_offset, names::LOG)))?;
                copied.synced_bytes = copied.bytes;
            }
        }
        Ok(())
    }

    /// The file of a segment's copy; emptied if the copy of it begins.
    fn target(&mut self, base_offset: i64, begins: bool) -> Result<&File, StorageError> {
        let path = self.dir.join(names::file_name(base_offset, names::LOG));
        let failed = |error| StorageError::io("write", &path, error);
        if begins || self.open.as_ref().is_none_or(|(open, _)| *open != base_offset) {
            let file = if begins { disk::create(&path) } else { disk::open(&path) };
            self.open = Some((base_offset, file.map_err(failed)?));
        }
        self.open.as_ref().map(|(_, file)| file).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    fn remove_segment(&mut self, base_offset: i64) -> Result<(), StorageError> {
        self.open = None;
        for suffix in [names::OFFSET_INDEX, names::TIME_INDEX, names::LOG] {
            disk::remove(&self.dir.join(names::file_name(base_offset, suffix)))?;
        }
        self.segments.remove(&base_offset);
        Ok(())
    }
}

impl CopyStep {
    /// Bytes of batches that the step copies.
    pub fn bytes(&self) -> u64 {
        self.to - self.from
    }

    /// Copies. Blocks for as long as the disk takes; the log is not needed meanwhile.
    ///
    /// # Errors
    /// Those of the disk, and `Damaged` if the source ends early. The copy can be gone on with.
    pub fn run(&self, copy: &mut LogCopy) -> Result<(), StorageError> {
        let begins = self.from == 0;
        let mut buffer = vec![0; BUFFER_BYTES.min(self.bytes() as usize)];
        let path = copy.dir.join(names::file_name(self.base_offset, names::LOG));
        let target = copy.target(self.base_offset, begins)?;
        let mut position = self.from;
        while position < self.to {
            let wanted = (self.to - position).min(buffer.len() as u64) as usize;
            let count = disk::read_up_to(&self.file, &mut buffer[..wanted], position)
                .map_err(|error| StorageError::io("read what is to be copied to", &path, error))?;
            if count < wanted {
                let reason = format!("its original ends at {} of {}", position + count as u64, self.to);
                return Err(StorageError::Damaged { path, reason });
            }
            disk::write_all_at(target, &mut [IoSlice::new(&buffer[..count])], position)
                .map_err(|error| StorageError::io("write", &path, error))?;
            position += count as u64;
        }
        if let Some(dir) = &self.indexes_of {
            for suffix in INDEXES {
                let name = names::file_name(self.base_offset, suffix);
                copy_file(&dir.join(&name), &copy.dir.join(&name))?;
            }
        }
        let known = copy.segments.get(&self.base_offset).filter(|_| !begins);
        let synced_bytes = known.map_or(0, |known| known.synced_bytes);
        let is_complete = self.indexes_of.is_some();
        let copied =
            Copied { id: self.id, truncations: self.truncations, bytes: self.to, synced_bytes, is_complete };
        copy.segments.insert(self.base_offset, copied);
        Ok(())
    }
}

impl Log {
    /// What is to be copied next, at most `bytes_max` bytes of one segment; `None` once the copy holds every batch. A
    /// segment that was replaced by another, as a cleaner does, is copied anew.
    ///
    /// # Errors
    /// Those of opening the segment.
    pub fn next_to_copy(&self, copy: &LogCopy, bytes_max: u64) -> Result<Option<CopyStep>, StorageError> {
        let closed = self.segments.len() - 1;
        for (number, segment) in self.segments.iter().enumerate() {
            let known = self.known(copy, segment);
            let from = known.map_or(0, |known| known.bytes);
            let is_closed = number < closed;
            let is_done = known.is_some_and(|known| known.is_complete || !is_closed);
            if from == segment.size() && is_done {
                continue;
            }
            let to = segment.size().min(from.saturating_add(bytes_max.max(1)));
            let ends = is_closed && to == segment.size();
            return Ok(Some(CopyStep {
                base_offset: segment.base_offset(),
                id: segment.id(),
                file: segment.file()?,
                from,
                to,
                indexes_of: ends.then(|| self.dir.to_path_buf()),
                truncations: self.truncations,
            }));
        }
        Ok(None)
    }

    fn known<'a>(&self, copy: &'a LogCopy, segment: &Segment) -> Option<&'a Copied> {
        let is_this = |known: &&Copied| {
            known.id == segment.id() && known.truncations == self.truncations && known.bytes <= segment.size()
        };
        copy.segments.get(&segment.base_offset()).filter(is_this)
    }

    /// Bytes that the copy lacks.
    pub fn bytes_to_copy(&self, copy: &LogCopy) -> u64 {
        let missing =
            |segment: &Segment| segment.size() - self.known(copy, segment).map_or(0, |known| known.bytes);
        self.segments.iter().map(missing).sum()
    }

    /// Where the copy ends, to within an index entry; the log's start for one that has just begun.
    pub fn copied_end(&self, copy: &LogCopy) -> i64 {
        for (number, segment) in self.segments.iter().enumerate() {
            let bytes = self.known(copy, segment).map_or(0, |known| known.bytes);
            if bytes == segment.size() && segment.size() > 0 {
                continue;
            }
            if bytes == 0 {
                return segment.base_offset().max(self.log_start).min(self.end_of(number));
            }
            let before = segment.offsets.last_where(|entry| u64::from(entry.position) <= bytes);
            let relative = before.ok().flatten().map_or(0, |entry| i64::from(entry.relative_offset));
            return segment.base_offset() + relative;
        }
        self.log_end
    }

    /// Ends a copy: copies what is missing, with indexes, states and epochs, and syncs it all. To be called with the
    /// log's owner locked, once little is missing: it blocks for as long as the disk takes.
    ///
    /// # Errors
    /// Those of the disk; the log is as it was.
    pub fn complete_copy(&mut self, copy: &mut LogCopy) -> Result<(), StorageError> {
        self.ensure_writable()?;
        let path = self.active().path();
        let finished = self.active_mut().finish_index();
        finished.map_err(|error| StorageError::io("write the index of", &path, error))?;
        while let Some(step) = self.next_to_copy(copy, u64::MAX)? {
            step.run(copy)?;
        }
        let is_gone = |base: &i64| self.segments.iter().all(|segment| segment.base_offset() != *base);
        for gone in copy.segments.keys().copied().filter(is_gone).collect::<Vec<_>>() {
            copy.remove_segment(gone)?;
        }
        for suffix in INDEXES {
            let name = names::file_name(self.active().base_offset(), suffix);
            copy_file(&self.dir.join(&name), &copy.dir.join(&name))?;
        }
        copy.sync()?;
        self.producers.advance_end(self.log_end);
        producers::write_saved(&self.producers, &copy.dir, disk::Durability::Synced)?;
        self.epochs.write_copy(&copy.dir)?;
        disk::sync_dir(&copy.dir)
    }

    /// The log goes on in `dir`, where its completed copy lies now; the folder it lay in is the caller's to remove.
    pub fn relocate(&mut self, dir: &Path) {
        self.dir = dir.into();
        for segment in &mut self.segments {
            segment.relocate(&self.dir);
        }
        self.epochs.relocate(dir);
        self.saved.relocated(self.log_end, self.segments.iter().any(|one| one.base_offset() == self.log_end));
        self.trash = trash::Trash::default();
        self.recovery_point = self.log_end;
        self.truncations += 1;
        self.indexes_synced_upto = self.active().base_offset();
    }
}

/// Copies a small file, synced, and leaves out one that is not there: an index can be made again.
fn copy_file(from: &Path, to: &Path) -> Result<(), StorageError> {
    let source = match File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StorageError::io("open", from, error)),
    };
    let failed = |error| StorageError::io("write", to, error);
    let target = disk::create(to).map_err(failed)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut position = 0;
    loop {
        let count = disk::read_up_to(&source, &mut buffer, position)
            .map_err(|error| StorageError::io("read", from, error))?;
        if count == 0 {
            return disk::sync_file(&target).map_err(failed);
        }
        disk::write_all_at(&target, &mut [IoSlice::new(&buffer[..count])], position).map_err(failed)?;
        position += count as u64;
    }
}

fn sync_file(path: &Path) -> Result<(), StorageError> {
    let synced = File::open(path).and_then(|file| disk::sync_file(&file));
    synced.map_err(|error| StorageError::io("sync", path, error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ottla_model::batch::{Builder, Compression, Header, Producer};

    use super::*;
    use crate::config::LogConfig;
    use crate::log::{Assign, Open};

    const CLEAN: Open = Open { clean: true, recovery_point: 0, log_start: 0, now_ms: 0 };

    fn open(dir: &Path, open: Open) -> Log {
        let config = LogConfig {
            segment_bytes: 3_000,
            index_interval_bytes: 200,
            retention_bytes: 6_000,
            retention_ms: -1,
            ..LogConfig::default()
        };
        let (log, recovery) = Log::open(dir, config, open).unwrap();
        assert!(recovery.cuts.is_empty() && recovery.rebuilt.is_empty(), "{recovery:?}");
        log
    }

    fn append(log: &mut Log, count: usize) {
        for n in 0..count {
            let producer = Producer { id: 7, epoch: 0, base_sequence: log.end_offset() as i32 };
            let mut builder = Builder::new(Compression::None).producer(producer);
            builder.append(1_000 + log.end_offset(), None, Some(&[n as u8; 100]), []).unwrap();
            let batch = builder.finish().unwrap();
            let header = Header::parse(&batch).unwrap();
            log.append(&header, &[IoSlice::new(&batch)], Assign::next(1), 0).unwrap();
        }
    }

    /// Every file of a folder with its content, but those that only one of two replicas has to have.
    fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
        let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap());
        let name = |file: &fs::DirEntry| file.file_name().into_string().unwrap();
        files
            .map(|file| (name(&file), fs::read(file.path()).unwrap()))
            .filter(|(name, _)| ["log", "index", "timeindex"].iter().any(|suffix| name.ends_with(suffix)))
            .collect()
    }

    fn step(log: &Log, copy: &mut LogCopy, bytes: u64) -> bool {
        let step = log.next_to_copy(copy, bytes).unwrap();
        step.inspect(|step| step.run(copy).unwrap()).is_some()
    }

    #[test]
    fn a_log_that_is_appended_to_rolled_deleted_and_cut_meanwhile_goes_on_from_its_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&to).unwrap();
        let mut log = open(&from, CLEAN);
        log.begin_epoch(1);
        append(&mut log, 100);
        let mut copy = LogCopy::new(to.clone());
        assert_eq!((log.copied_end(&copy), log.bytes_to_copy(&copy)), (0, log.size_bytes()));
        for round in 0..40 {
            step(&log, &mut copy, 700);
            assert!(log.copied_end(&copy) <= log.end_offset());
            match round {
                10 => append(&mut log, 30),
                // Cut within what was copied already, and other batches in its place.
                20 => {
                    log.truncate_to(15, 0).unwrap();
                    append(&mut log, 70);
                }
                30 => assert!(log.delete_old_segments(0, log.end_offset()).unwrap().segments > 0),
                _ => {}
            }
        }
        while step(&log, &mut copy, 700) {}
        assert_eq!((log.copied_end(&copy), log.bytes_to_copy(&copy)), (log.end_offset(), 0));
        append(&mut log, 40);
        log.complete_copy(&mut copy).unwrap();
        assert_eq!(files(&from), files(&to));
        assert_eq!(copy.size_bytes(), log.size_bytes());
        log.relocate(&to);
        fs::remove_dir_all(&from).unwrap();
        append(&mut log, 40);
        let (start, end) = (log.start_offset(), log.end_offset());
        let producer = log.producers().get(7).cloned().unwrap();
        let epochs = log.epochs().entries().to_vec();
        let read = log.read(start, 1 << 20, end, true).unwrap();
        assert_eq!(read.first.unwrap().base_offset, start);
        for clean in [false, true] {
            if clean {
                log.close_clean(0).unwrap();
            }
            drop(log);
            log = open(&to, Open { clean, ..CLEAN });
            assert_eq!((log.start_offset(), log.end_offset()), (start, end));
            assert_eq!(log.producers().get(7), Some(&producer));
            assert_eq!(log.epochs().entries(), epochs);
        }
    }

    #[test]
    fn a_copy_of_an_empty_log_is_an_empty_log() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&to).unwrap();
        let mut log = open(&from, CLEAN);
        let mut copy = LogCopy::new(to.clone());
        log.complete_copy(&mut copy).unwrap();
        log.relocate(&to);
        append(&mut log, 3);
        drop(log);
        assert_eq!(open(&to, Open { clean: false, ..CLEAN }).end_offset(), 3);
    }
}
