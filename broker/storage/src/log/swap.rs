//! Completes at the start what a crash left of a swap: a copy under its `.swap` name stands for all segments in its
//! range. Opening a log calls it before it lists its segments. It can itself be cut anywhere: each step leaves what
//! the next start needs.

use std::collections::BTreeSet;
use std::fs;

use super::Log;
use crate::disk;
use crate::error::StorageError;
use crate::names::{self, SegmentName};
use crate::walk::HeaderWalk;

impl Log {
    pub(super) fn finish_swaps(&mut self) -> Result<(), StorageError> {
        let failed = |error| StorageError::io("list", &self.dir, error);
        let (mut copies, mut indexes, mut segments) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for file in fs::read_dir(&self.dir).map_err(failed)? {
            let name = file.map_err(failed)?.file_name();
            let Some((base, suffix)) = name.to_str().and_then(names::parse) else { continue };
            let of_swap = suffix.strip_suffix(names::SWAP).and_then(|rest| rest.strip_suffix('.'));
            match (of_swap, suffix) {
                (Some(names::LOG), _) => drop(copies.insert(base)),
                (Some(names::OFFSET_INDEX | names::TIME_INDEX), _) => drop(indexes.insert(base)),
                (Some(_), _) => disk::remove(&self.dir.join(&name))?,
                (None, names::LOG) => drop(segments.insert(base)),
                _ => {}
            }
        }
        for &base in &copies {
            self.finish_swap(base, &segments)?;
        }
        // Of a swap that did not begin, or that ended: whose index stands there now is not known.
        for base in indexes.difference(&copies) {
            let name = SegmentName::new(self.dir.clone(), *base);
            for suffix in [names::OFFSET_INDEX, names::TIME_INDEX] {
                disk::remove(&name.staged(names::SWAP).path(suffix))?;
                disk::remove(&name.path(suffix))?;
            }
        }
        if copies.is_empty() && indexes.is_empty() {
            return Ok(());
        }
        disk::sync_dir(&self.dir)
    }

    fn finish_swap(&self, base: i64, segments: &BTreeSet<i64>) -> Result<(), StorageError> {
        let name = SegmentName::new(self.dir.clone(), base);
        let copy = name.staged(names::SWAP);
        let end = end_of(&copy)?.max(base.saturating_add(1));
        tracing::info!(path = %copy.path(names::LOG).display(), "completing a cleaned segment's swap");
        for &replaced in segments.range(base..end) {
            let replaced = SegmentName::new(self.dir.clone(), replaced);
            for suffix in names::DATA_SUFFIXES {
                // Its own data goes when the copy takes its name.
                if !(replaced.base_offset == base && suffix == names::LOG) {
                    disk::remove(&replaced.path(suffix))?;
                }
            }
        }
        for suffix in [names::OFFSET_INDEX, names::TIME_INDEX] {
            let (from, to) = (copy.path(suffix), name.path(suffix));
            match disk::rename(&from, &to) {
                // The start makes a missing one again.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                renamed => renamed.map_err(|error| StorageError::io("rename", &from, error))?,
            }
        }
        disk::sync_dir(&self.dir)?;
        let from = copy.path(names::LOG);
        disk::rename(&from, &name.path(names::LOG)).map_err(|error| StorageError::io("rename", from, error))
    }
}

/// Exclusive end of what the copy holds: its last batch is the last of what it stands for.
fn end_of(copy: &SegmentName) -> Result<i64, StorageError> {
    let path = copy.path(names::LOG);
    let failed = |error| StorageError::io("read", &path, error);
    let file = disk::open(&path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let headers = HeaderWalk::new(&file, 0, size).map_while(Result::ok);
    Ok(headers.last().map_or(copy.base_offset, |(_, header)| header.next_offset()))
}
