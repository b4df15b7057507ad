//! Files that no longer belong to the log: renamed to `.deleted` at once, removed after `file.delete.delay.ms` by the
//! owner's tick or at the next start. Readers that hold a file open finish in any case.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::Log;
use crate::disk;
use crate::error::StorageError;
use crate::names;
use crate::segment::Segment;

/// What waits for its removal, the oldest first.
#[derive(Default)]
pub(super) struct Trash {
    waiting: VecDeque<(i64, PathBuf)>,
}

impl Log {
    /// Takes the files of a segment out of the folder's sight. What cannot be renamed is logged: the next start finds
    /// it below the log's start and removes it.
    pub(super) fn throw_away(&mut self, segment: &Segment, now_ms: i64) {
        for suffix in names::SEGMENT_SUFFIXES {
            let path = segment.name().path(suffix);
            let renamed = disk::with_suffix(&path, names::DELETED);
            match fs::rename(&path, &renamed) {
                Ok(()) => {
                    let due_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
                    self.trash.waiting.push_back((due_ms, renamed));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "could not be renamed for deletion")
                }
            }
        }
        segment.close();
    }

    /// Removes what has waited long enough. Returns how many files are gone.
    ///
    /// # Errors
    /// Those of removing a file; it is tried again at the next call.
    pub fn remove_deleted(&mut self, now_ms: i64) -> Result<usize, StorageError> {
        let mut removed = 0;
        while let Some((due_ms, path)) = self.trash.waiting.front() {
            if *due_ms > now_ms {
                break;
            }
            disk::remove(path)?;
            self.trash.waiting.pop_front();
            removed += 1;
        }
        Ok(removed)
    }
}
