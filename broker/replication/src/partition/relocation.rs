//! Moving a partition into another folder while it goes on: log and lane are copied in steps, and under the lock the
//! little that is missing follows, the folders are renamed, and both go on from there. The server stands before it: it
//! paces the steps and moves the folders. Nothing is appended between the last byte copied and the renaming, so either
//! folder is a whole replica whatever the moment of a crash.

use std::path::{Path, PathBuf};

use ottla_storage::{Log, LogCopy, StorageError};

use super::{Partition, State};
use crate::lane::LANE_DIR;

/// Bytes that may be missing when the lock is taken for the rest: some milliseconds of copying.
const REST_BYTES_MAX: u64 = 1 << 20;

/// A partition on its way into another folder.
pub struct Relocation {
    dir: PathBuf,
    log: LogCopy,
    lane: Option<LogCopy>,
}

/// What a step of a relocation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelocationStep {
    Copied {
        bytes: u64,
    },
    /// So little is missing, and the rest is synced, that it can be completed.
    CaughtUp,
    /// This broker no longer leads the partition.
    Closed,
}

impl Relocation {
    /// Into `dir`, a folder that holds no log.
    pub fn new(dir: PathBuf) -> Relocation {
        Relocation { log: LogCopy::new(dir.clone()), dir, lane: None }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes of the log's segments that were copied.
    pub fn size_bytes(&self) -> u64 {
        self.log.size_bytes()
    }

    fn lane_copy(&mut self) -> Result<&mut LogCopy, StorageError> {
        if self.lane.is_none() {
            let dir = self.dir.join(LANE_DIR);
            ottla_storage::create_dirs(&dir)?;
            self.lane = Some(LogCopy::new(dir));
        }
        Ok(self.lane.as_mut().expect("it was made above"))
    }
}

impl Partition {
    /// Copies at most `bytes_max` bytes more. Blocks for as long as the disk takes; the lock is held only to see what is
    /// next. Returns also where the copy of the log ends.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn relocation_step(
        &self,
        relocation: &mut Relocation,
        bytes_max: u64,
    ) -> Result<(RelocationStep, i64), StorageError> {
        let state = self.state.lock();
        if state.closed {
            return Ok((RelocationStep::Closed, 0));
        }
        let end = state.log.copied_end(&relocation.log);
        if let Some(step) = state.log.next_to_copy(&relocation.log, bytes_max)? {
            drop(state);
            step.run(&mut relocation.log)?;
            return Ok((RelocationStep::Copied { bytes: step.bytes() }, end));
        }
        if let Some(lane) = &state.lane {
            let copy = relocation.lane_copy()?;
            if let Some(step) = lane.log.next_to_copy(copy, bytes_max)? {
                drop(state);
                step.run(copy)?;
                return Ok((RelocationStep::Copied { bytes: step.bytes() }, end));
            }
        }
        drop(state);
        relocation.log.sync()?;
        if let Some(copy) = &mut relocation.lane {
            copy.sync()?;
        }
        let is_little = self.state.lock().bytes_to_copy(relocation) <= REST_BYTES_MAX;
        let step = if is_little { RelocationStep::CaughtUp } else { RelocationStep::Copied { bytes: 0 } };
        Ok((step, end))
    }

    /// Completes the copy and goes on in the folder that `rename` answers. `rename` gives the copy its place and the
    /// present folder another name, and leaves everything as it was if it fails. The partition waits meanwhile, for as
    /// long as a few syncs take. Returns whether that was done; not if this broker no longer leads the partition.
    ///
    /// # Errors
    /// Those of the disk, and of `rename`; the partition stays where it was.
    pub fn relocate(
        &self,
        mut relocation: Relocation,
        rename: impl FnOnce(&Path) -> Result<PathBuf, StorageError>,
    ) -> Result<bool, StorageError> {
        let _no_flush = self.flushes.lock();
        let mut state = self.state.lock();
        if state.closed {
            return Ok(false);
        }
        let state = &mut *state;
        state.log.complete_copy(&mut relocation.log)?;
        if let Some(lane) = &mut state.lane {
            lane.log.complete_copy(relocation.lane_copy()?)?;
        }
        ottla_storage::sync_dir(&relocation.dir)?;
        let dir = rename(&relocation.dir)?;
        state.log.relocate(&dir);
        if let Some(lane) = &mut state.lane {
            lane.log.relocate(&dir.join(LANE_DIR));
            lane.name_unsynced = false;
        }
        // Whoever waits for a flush has it now.
        self.watchers.readable(state.advance_watermark());
        self.lane_wake.notify_one();
        Ok(true)
    }
}

impl State {
    fn bytes_to_copy(&self, relocation: &Relocation) -> u64 {
        let of_lane = |(lane, copy): (&Log, &LogCopy)| lane.bytes_to_copy(copy);
        let lane = self.lane.as_ref().map(|lane| &lane.log).zip(relocation.lane.as_ref());
        self.log.bytes_to_copy(&relocation.log) + lane.map_or(0, of_lane)
    }
}
