//! Files that no longer belong to the log: renamed to `.deleted` at once, handed to the owner after
//! `file.delete.delay.ms` to be removed, or removed at the next start. Readers that hold a file open finish in any case.

use std::collections::VecDeque;
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

impl Trash {
    pub fn extend(&mut self, files: Vec<(i64, PathBuf)>) {
        self.waiting.extend(files);
    }
}

impl Log {
    /// Takes the files of a segment out of the folder's sight. What cannot be renamed is logged: the next start finds
    /// it below the log's start and removes it.
    pub(super) fn throw_away(&mut self, segment: &Segment, now_ms: i64) {
        let renamed = self.throw_away_files(segment, &names::SEGMENT_SUFFIXES, now_ms);
        self.trash.extend(renamed);
        segment.close();
    }

    /// Renames some files of a segment for deletion, and yields when each may go.
    pub(super) fn throw_away_files(
        &self,
        segment: &Segment,
        suffixes: &[&str],
        now_ms: i64,
    ) -> Vec<(i64, PathBuf)> {
        let mut thrown = Vec::with_capacity(suffixes.len());
        for suffix in suffixes {
            let path = segment.name().path(suffix);
            let renamed = disk::with_suffix(&path, names::DELETED);
            match disk::rename(&path, &renamed) {
                Ok(()) => {
                    let due_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
                    thrown.push((due_ms, renamed));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "could not be renamed for deletion")
                }
            }
        }
        thrown
    }

    /// Takes what has waited long enough, to be removed without the log: freeing the blocks of a large segment takes
    /// the file system many milliseconds, for which nobody should have to wait.
    #[must_use = "the files stay until they are removed"]
    pub fn take_deleted(&mut self, now_ms: i64) -> DeletedFiles {
        let due = self.trash.waiting.iter().take_while(|(due_ms, _)| *due_ms <= now_ms).count();
        DeletedFiles(self.trash.waiting.drain(..due).map(|(_, path)| path).collect())
    }
}

/// Files that no log knows any more. Dropped, they stay until the folder's next start.
#[derive(Debug, Default)]
pub struct DeletedFiles(Vec<PathBuf>);

impl DeletedFiles {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes them all. Blocks.
    ///
    /// # Errors
    /// The first file that could not be removed; the others were tried all the same, and the next start removes what
    /// is left.
    pub fn remove(self) -> Result<(), StorageError> {
        self.0.iter().map(|path| disk::remove(path)).fold(Ok(()), Result::and)
    }
}
