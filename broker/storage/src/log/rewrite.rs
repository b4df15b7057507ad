//! Rewriting one closed segment without some of its batches, offsets kept. The owner of a log that may forget single
//! batches asks for it: a lane whose oldest segments are held back by a few. The copy is made beside the segment
//! without the log, synced, and put in its place by one rename; a crash leaves the old segment or the new one.

use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;

use ottla_model::batch::Header;

use super::Log;
use crate::disk;
use crate::error::StorageError;
use crate::names::{self, SegmentName};
use crate::segment::Segment;
use crate::walk::HeaderWalk;

/// Bytes copied at once.
const COPY_BYTES: usize = 256 << 10;

/// A segment to be rewritten.
pub struct RewriteTask {
    name: SegmentName,
    file: Arc<File>,
    size: u64,
}

/// The finished copy of a segment.
pub struct Rewritten {
    name: SegmentName,
    size_before: u64,
    kept: Vec<(u64, Header)>,
    size: u64,
}

impl RewriteTask {
    /// Copies the batches for which `keep` is true, and syncs the copy. Blocks for as long as the disk takes; the log
    /// is not needed meanwhile.
    ///
    /// # Errors
    /// `Damaged` if the batches cannot be walked; those of the disk. The segment stays as it is.
    pub fn run(&self, keep: impl Fn(&Header) -> bool) -> Result<Rewritten, StorageError> {
        let path = disk::with_suffix(&self.name.path(names::LOG), names::CLEANED);
        let failed = |error| StorageError::io("write", &path, error);
        let copy = disk::create(&path).map_err(failed)?;
        let segment = Segment::existing(self.name.clone(), self.size, 0);
        let (mut kept, mut size) = (Vec::new(), 0);
        let mut buffer = vec![0; COPY_BYTES];
        for batch in HeaderWalk::new(&self.file, 0, self.size) {
            let (position, header) = batch.map_err(|error| segment.walk_failed(error))?;
            if !keep(&header) {
                continue;
            }
            let mut copied = 0;
            while copied < header.size() {
                let wanted = (header.size() - copied).min(COPY_BYTES);
                let count = disk::read_up_to(&self.file, &mut buffer[..wanted], position + copied as u64)
                    .map_err(|error| StorageError::io("read", segment.path(), error))?;
                if count == 0 {
                    let reason = format!("the file ends within the batch at position {position}");
                    return Err(StorageError::Damaged { path: segment.path(), reason });
                }
                let slices = &mut [IoSlice::new(&buffer[..count])];
                disk::write_all_at(&copy, slices, size + copied as u64).map_err(failed)?;
                copied += count;
            }
            kept.push((size, header));
            size += header.size() as u64;
        }
        disk::sync_file(&copy).map_err(failed)?;
        Ok(Rewritten { name: self.name.clone(), size_before: self.size, kept, size })
    }
}

impl Log {
    /// Begins to rewrite the segment that begins at `base_offset`; `None` if there is none, or it is still written to.
    ///
    /// # Errors
    /// Those of opening its file.
    pub fn prepare_rewrite(&self, base_offset: i64) -> Result<Option<RewriteTask>, StorageError> {
        let closed = self.segments.len() - 1;
        let Some(segment) = self.segments[..closed].iter().find(|one| one.base_offset() == base_offset)
        else {
            return Ok(None);
        };
        Ok(Some(RewriteTask { name: segment.name().clone(), file: segment.file()?, size: segment.size() }))
    }

    /// Puts the copy in the segment's place and makes its indexes anew; a segment of which nothing is kept goes. Nothing is done if the segment is gone
    /// meanwhile. Returns the bytes that this freed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn complete_rewrite(&mut self, rewritten: Rewritten, now_ms: i64) -> Result<u64, StorageError> {
        let Rewritten { name, size_before, kept, size } = rewritten;
        let path = name.path(names::LOG);
        let copy = disk::with_suffix(&path, names::CLEANED);
        let closed = self.segments.len() - 1;
        let is_same = |one: &Segment| one.base_offset() == name.base_offset && one.size() == size_before;
        let Some(number) = self.segments[..closed].iter().position(is_same) else {
            disk::remove(&copy)?;
            return Ok(0);
        };
        if kept.is_empty() {
            let segment = self.segments.remove(number);
            self.throw_away(&segment, now_ms);
            disk::remove(&copy)?;
            return Ok(size_before);
        }
        // Without indexes the next start makes them again, whichever of the two files it finds.
        disk::remove(&name.path(names::OFFSET_INDEX))?;
        disk::remove(&name.path(names::TIME_INDEX))?;
        disk::rename(&copy, &path).map_err(|error| StorageError::io("rename", &copy, error))?;
        disk::sync_dir(&self.dir)?;
        self.segments[number].close();
        let mut segment = Segment::rewritten(name, size, now_ms)?;
        for (position, header) in &kept {
            segment.note(*position, header, self.config.index_interval_bytes);
        }
        segment.finish_index().map_err(|error| StorageError::io("write the index of", &path, error))?;
        self.segments[number] = segment;
        Ok(size_before - size)
    }
}

#[cfg(test)]
mod tests {
    use ottla_model::batch::{Batches, Builder, Compression};

    use super::*;
    use crate::config::LogConfig;
    use crate::log::{Assign, Open};

    fn open(dir: &std::path::Path, clean: bool) -> Log {
        let config = LogConfig { segment_bytes: 2_000, index_interval_bytes: 200, ..LogConfig::default() };
        let (log, recovery) =
            Log::open(dir, config, Open { clean, recovery_point: 0, log_start: 0, now_ms: 0 }).unwrap();
        assert!(recovery.cuts.is_empty(), "{recovery:?}");
        log
    }

    fn offsets(log: &Log) -> Vec<i64> {
        let (mut found, mut offset) = (Vec::new(), log.start_offset());
        while offset < log.end_offset() {
            let slice = log.read(offset, 1, log.end_offset(), true).unwrap();
            let mut bytes = Vec::new();
            slice.read_into(&mut bytes).unwrap();
            let Some(Ok((header, _))) = Batches::new(&bytes).next() else { break };
            found.push(header.base_offset);
            offset = header.next_offset();
        }
        found
    }

    #[test]
    fn a_rewritten_segment_holds_what_was_kept_at_its_offsets_also_after_a_restart() {
        for clean in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let mut log = open(dir.path(), true);
            for _ in 0..60 {
                let mut builder = Builder::new(Compression::None);
                builder.append(7, None, Some(&[1; 100]), []).unwrap();
                let batch = builder.finish().unwrap();
                let header = Header::parse(&batch).unwrap();
                log.append(&header, &[IoSlice::new(&batch)], Assign::next(1), 0).unwrap();
            }
            let segments: Vec<_> = log.segments().collect();
            assert!(segments.len() > 4);
            let before = log.size_bytes();
            let task = log.prepare_rewrite(segments[1].base_offset).unwrap().unwrap();
            let freed =
                log.complete_rewrite(task.run(|header| header.base_offset % 5 == 0).unwrap(), 0).unwrap();
            let task = log.prepare_rewrite(segments[2].base_offset).unwrap().unwrap();
            let all = log.complete_rewrite(task.run(|_| false).unwrap(), 0).unwrap();
            assert_eq!((all, log.size_bytes()), (segments[2].size_bytes, before - freed - all));
            let is_kept = |offset: &i64| {
                let within = |number: usize| {
                    (segments[number].base_offset..segments[number].end_offset).contains(offset)
                };
                !within(2) && (!within(1) || offset % 5 == 0)
            };
            let expected: Vec<i64> = (0..60).filter(is_kept).collect();
            assert_eq!(offsets(&log), expected);
            if clean {
                log.close_clean(0).unwrap();
            }
            drop(log);
            let log = open(dir.path(), clean);
            assert_eq!(offsets(&log), expected);
            assert_eq!(log.end_offset(), 60);
            assert!(log.prepare_rewrite(log.segments().last().unwrap().base_offset).unwrap().is_none());
        }
    }
}
