//! What outlives a power loss, and when: flushes of segments with the recovery point that follows them, and the saved
//! producer states. A flush is three steps, so that an owner need not hold its lock while the disk works: prepare,
//! run, complete. A failed sync takes the log offline, since the kernel may have dropped what it could not write.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Health, Log};
use crate::disk::{self, Durability};
use crate::error::StorageError;
use crate::names;
use crate::producers;

/// Where producer states lie on disk.
#[derive(Debug, Default)]
pub(super) struct SavedStates {
    /// As of this offset the newest pair of files is.
    pub newest: Option<i64>,
    /// The newest pair that surely outlives a power loss.
    pub synced: Option<i64>,
    /// Pairs that only the page cache may hold; the next flush takes them along.
    pub unsynced: Vec<i64>,
    /// A pair between segments that is perhaps only in the page cache; it goes when a newer one is written.
    pub stray: Option<i64>,
    /// A pair between segments that goes once a newer one is on the disk.
    pub superseded: Option<i64>,
}

impl SavedStates {
    /// After the log moved to another folder, in which one synced pair as of `end` lies.
    pub(super) fn relocated(&mut self, end: i64, is_base: bool) {
        let stray = (!is_base).then_some(end);
        *self = SavedStates { newest: Some(end), synced: Some(end), stray, ..SavedStates::default() };
    }
}

/// What must be synced for everything below `upto` to be on the disk.
pub struct FlushTask {
    files: Vec<(PathBuf, Arc<File>)>,
    dir: Option<PathBuf>,
    upto: i64,
    indexes_upto: i64,
    states: usize,
    truncations: u64,
}

/// A flush that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    upto: i64,
    indexes_upto: i64,
    states: usize,
    truncations: u64,
}

impl Flushed {
    /// Exclusive end of what is on the disk.
    pub fn upto(&self) -> i64 {
        self.upto
    }
}

impl FlushTask {
    /// Exclusive end of what the task makes durable.
    pub fn upto(&self) -> i64 {
        self.upto
    }

    /// Syncs the files; blocks for as long as the disk takes. The log is not needed meanwhile.
    ///
    /// # Errors
    /// The first failure, which must be handed to `Log::flush_failed`.
    pub fn run(&self) -> Result<Flushed, StorageError> {
        for (path, file) in &self.files {
            disk::sync_file(file).map_err(|error| StorageError::sync(path, error))?;
        }
        if let Some(dir) = &self.dir {
            disk::sync_dir(dir)?;
        }
        let FlushTask { upto, indexes_upto, states, truncations, .. } = *self;
        Ok(Flushed { upto, indexes_upto, states, truncations })
    }
}

impl Log {
    /// Records that a power loss could take.
    pub fn unflushed(&self) -> i64 {
        self.log_end - self.recovery_point
    }

    /// True if `ottla.flush`, `flush.messages` or `flush.ms` asks for a flush now.
    pub fn flush_due(&self, now_ms: i64) -> bool {
        let unflushed = self.unflushed();
        unflushed > 0
            && (self.config.flush_always
                || unflushed >= self.config.flush_messages
                || now_ms.saturating_sub(self.last_flush_ms) >= self.config.flush_ms)
    }

    /// Flushes everything up to the log's end and moves the recovery point there. Blocks for as long as the disk
    /// takes.
    ///
    /// # Errors
    /// Those of the disk. After a failed sync the log is offline.
    pub fn flush(&mut self, now_ms: i64) -> Result<Flushed, StorageError> {
        let task = self.prepare_flush()?;
        match task.run() {
            Ok(flushed) => {
                self.complete_flush(flushed, now_ms);
                Ok(flushed)
            }
            Err(error) => {
                self.flush_failed(&error);
                Err(error)
            }
        }
    }

    /// Collects what a flush must sync: what was appended since the last one with its indexes, which a start trusts
    /// below the recovery point, saved producer states, and new names. The indexes are written here, and the epochs
    /// synced if they changed.
    ///
    /// # Errors
    /// Those of writing indexes and the epoch checkpoint; nothing is lost, the flush may be tried again.
    pub fn prepare_flush(&mut self) -> Result<FlushTask, StorageError> {
        self.ensure_writable()?;
        self.epochs.write_changes(Durability::Synced)?;
        let (indexes_from, mut indexes_upto) = (self.indexes_synced_upto, self.active().base_offset());
        let first = self.segment_of(self.recovery_point.min(indexes_from));
        let (mut files, mut dir) = (Vec::new(), None);
        for number in first..self.segments.len() {
            let holds_news = self.end_of(number) > self.recovery_point;
            let segment = &mut self.segments[number];
            if segment.name_unsynced {
                dir = Some(self.dir.to_path_buf());
            }
            if segment.size() > 0 && segment.base_offset() >= indexes_from {
                let written = segment.finish_index();
                match written.map_err(|error| StorageError::io("write the index of", segment.path(), error)) {
                    Ok(()) => files.extend(segment.index_files()),
                    // The batches themselves need no more space: the next flush takes the index.
                    Err(error) if error.is_retriable() => {
                        tracing::warn!(%error, "a flush leaves an index to the next one");
                        indexes_upto = segment.base_offset();
                    }
                    Err(error) => return Err(error),
                }
            }
            if segment.size() > 0 && holds_news {
                files.push((segment.path(), segment.file()?));
            }
        }
        let states = self.saved.unsynced.len();
        for &offset in &self.saved.unsynced {
            let path = self.dir.join(names::file_name(offset, names::PRODUCERS));
            match disk::open(&path) {
                Ok(file) => files.push((path, Arc::new(file))),
                // A newer one has replaced it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StorageError::io("open", path, error)),
            }
            dir = Some(self.dir.to_path_buf());
        }
        let (upto, truncations) = (self.log_end, self.truncations);
        Ok(FlushTask { files, dir, upto, indexes_upto, states, truncations })
    }

    /// Moves the recovery point after a flush; not if the log was truncated meanwhile.
    pub fn complete_flush(&mut self, flushed: Flushed, now_ms: i64) {
        if flushed.truncations != self.truncations {
            return;
        }
        self.recovery_point = self.recovery_point.max(flushed.upto).min(self.log_end);
        let synced = flushed.states.min(self.saved.unsynced.len());
        if self.saved.unsynced.drain(..synced).count() > 0
            && let Some(superseded) = self.saved.superseded.take()
            && let Err(error) = self.remove_states(superseded)
        {
            tracing::warn!(dir = %self.dir.display(), %error, "old producer states could not be removed");
        }
        self.indexes_synced_upto = self.indexes_synced_upto.max(flushed.indexes_upto);
        self.last_flush_ms = now_ms;
        for segment in &mut self.segments {
            if segment.base_offset() <= flushed.upto {
                segment.name_unsynced = false;
            }
        }
    }

    /// Takes the log offline after a failed sync. Reads go on.
    pub fn flush_failed(&mut self, error: &StorageError) {
        tracing::error!(dir = %self.dir.display(), %error, "a sync failed: the log is offline until a restart");
        self.health = Health::Offline(error.to_string());
    }

    /// Saves producer states as of the log's end, so that a restart replays only what follows. Call it now and then
    /// (each minute, say), after a flush.
    ///
    /// # Errors
    /// Those of writing the files; the state saved before stays.
    pub fn save_producers(&mut self) -> Result<(), StorageError> {
        if self.saved.newest == Some(self.log_end) {
            return Ok(());
        }
        self.save_producers_at(self.log_end)
    }

    pub(super) fn save_producers_at(&mut self, offset: i64) -> Result<(), StorageError> {
        self.write_states(offset, Durability::PageCache)
    }

    /// As `save_producers`, but it surely outlives what is deleted next.
    pub(super) fn save_producers_durably(&mut self) -> Result<(), StorageError> {
        if self.saved.synced == Some(self.log_end) {
            return Ok(());
        }
        self.write_states(self.log_end, Durability::Synced)
    }

    fn write_states(&mut self, offset: i64, durability: Durability) -> Result<(), StorageError> {
        self.producers.advance_end(offset);
        producers::write_saved(&self.producers, &self.dir, durability)?;
        self.saved.newest = Some(offset);
        match durability {
            Durability::Synced => self.saved.synced = Some(offset),
            Durability::PageCache => self.saved.unsynced.push(offset),
        }
        let is_base = |offset| self.segments.iter().any(|segment| segment.base_offset() == offset);
        let between = (!is_base(offset)).then_some(offset);
        if durability == Durability::PageCache {
            let previous = std::mem::replace(&mut self.saved.stray, between);
            let mut goes = previous.filter(|&stray| stray != offset && !is_base(stray));
            if goes.is_some_and(|stray| !self.saved.unsynced.contains(&stray)) {
                // It may be the newest that is on the disk, and stays until another one is.
                goes = std::mem::replace(&mut self.saved.superseded, goes);
            }
            self.saved.unsynced.retain(|&unsynced| Some(unsynced) != goes);
            return goes.map_or(Ok(()), |stray| self.remove_states(stray));
        }
        self.saved.stray = None;
        self.saved.superseded = None;
        for older in self.saved_offsets()?.into_iter().filter(|&older| older < offset && !is_base(older)) {
            self.remove_states(older)?;
        }
        Ok(())
    }

    /// Removes a saved state, Kafka's file first: a `.snapshot` never stands without the `.producers` it needs.
    pub(super) fn remove_states(&self, offset: i64) -> Result<(), StorageError> {
        disk::remove(&self.dir.join(names::file_name(offset, names::SNAPSHOT)))?;
        disk::remove(&self.dir.join(names::file_name(offset, names::PRODUCERS)))
    }

    /// Flushes everything, saves producer states and completes the indexes, so that the next start need not recover.
    /// The owner then notes the clean stop in the folder.
    ///
    /// # Errors
    /// Those of the disk: then the stop must not be noted as clean.
    pub fn close_clean(&mut self, now_ms: i64) -> Result<(), StorageError> {
        if self.log_end == 0 && self.producers.is_empty() && matches!(self.health, Health::Sound) {
            // Nothing was ever written, and thousands of partitions may stop at once.
            return Ok(());
        }
        let path = self.active().path();
        self.active_mut().finish().map_err(|error| StorageError::io("write the index of", path, error))?;
        self.flush(now_ms)?;
        if self.saved.newest != Some(self.log_end) || !self.producers.is_empty() {
            self.save_producers_durably()?;
        }
        for segment in &self.segments {
            segment.close();
        }
        Ok(())
    }
}
