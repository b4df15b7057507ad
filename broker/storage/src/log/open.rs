//! Opening a log: finds its segments, checks what lies above the recovery point after an unclean stop, cuts at the
//! first bad batch, makes missing or damaged indexes again, and replays producers and epochs. It says what it cut.
//! The invariant: whatever the folder holds, the log opens with a whole prefix of what was written, and a damaged
//! index, snapshot or checkpoint costs time, never data. Memory is one small buffer and what is listed here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::durability::SavedStates;
use super::{Health, Log, trash};
use crate::config::LogConfig;
use crate::disk;
use crate::epochs::EpochCache;
use crate::error::StorageError;
use crate::names::{self, SegmentName};
use crate::producers::ProducerStates;
use crate::segment::Segment;

/// What the owner knows about a log from the folder's checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// True if the last stop was noted as clean: then nothing is checked.
    pub clean: bool,
    /// Below it everything was synced. 0 if unknown.
    pub recovery_point: i64,
    /// The first offset that may be read. 0 if unknown.
    pub log_start: i64,
    pub now_ms: i64,
}

/// What opening a log did.
#[derive(Debug, Default)]
pub struct Recovery {
    /// What was lost, in order.
    pub cuts: Vec<Cut>,
    /// Files that were missing or damaged and were made again.
    pub rebuilt: Vec<Rebuilt>,
    /// Batches whose CRC was compared, and their bytes.
    pub checked_batches: u64,
    pub checked_bytes: u64,
    /// Batches of which only the header was read, to rebuild producer states.
    pub replayed_batches: u64,
}

/// Bytes that were no whole, sound batches and were removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub path: PathBuf,
    pub position: u64,
    /// The log's end after the cut.
    pub offset: i64,
    pub bytes: u64,
    pub reason: String,
}

/// A file that was made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    pub path: PathBuf,
    pub reason: String,
}

impl Log {
    /// Opens the log in `dir`, and creates folder and files if there are none.
    ///
    /// # Errors
    /// Those of the disk. Damage is no error: it is repaired, or cut, and reported.
    pub fn open(dir: &Path, config: LogConfig, open: Open) -> Result<(Log, Recovery), StorageError> {
        disk::create_dirs(dir)?;
        let mut recovery = Recovery::default();
        let mut log = Log {
            dir: dir.into(),
            config,
            segments: Vec::new(),
            log_start: open.log_start.max(0),
            log_end: 0,
            recovery_point: open.recovery_point.max(0),
            indexes_synced_upto: 0,
            epochs: EpochCache::rebuilding(dir),
            producers: ProducerStates::default(),
            saved: SavedStates::default(),
            truncations: 0,
            trash: trash::Trash::default(),
            health: Health::Sound,
            last_flush_ms: open.now_ms,
            roll_jitter_ms: 0,
        };
        log.finish_swaps()?;
        let epochs_are_known = log.load_epochs(&mut recovery);
        log.load_segments(open.now_ms, &mut recovery)?;
        let last_epoch = log.recover(open, &mut recovery)?;
        log.settle_ends(open)?;
        log.settle_epochs(epochs_are_known, last_epoch, &mut recovery)?;
        if !open.clean {
            log.distrust_page_cache()?;
        }
        let replayed = log.load_producers(open.now_ms, alone_upto(open))?;
        recovery.replayed_batches = replayed.batches;
        recovery.rebuilt.extend(replayed.rebuilt);
        // A replay notes what batches below the start bear, too.
        log.cut_epochs();
        log.epochs.write_changes(disk::Durability::PageCache)?;
        // Most logs have one segment, and there are many logs.
        log.segments.shrink_to_fit();
        log.roll_jitter_ms = log.jitter();
        // Most logs hold one segment, and a vector that grew makes room for four.
        log.segments.shrink_to_fit();
        Ok((log, recovery))
    }

    /// What an earlier process left above the recovery point may be in the page cache only: the next flush takes it
    /// along.
    fn distrust_page_cache(&mut self) -> Result<(), StorageError> {
        let from = self.segment_of(self.recovery_point.saturating_sub(1));
        self.segments[from..].iter_mut().for_each(|segment| segment.name_unsynced = true);
        let saved = self.saved_offsets()?.into_iter();
        self.saved.unsynced = saved.filter(|&offset| offset >= self.recovery_point).collect();
        Ok(())
    }

    fn load_epochs(&mut self, recovery: &mut Recovery) -> bool {
        match EpochCache::load(&self.dir) {
            Ok(epochs) => {
                self.epochs = epochs;
                !self.epochs.entries().is_empty()
            }
            Err(error) => {
                let path = self.dir.join(names::LEADER_EPOCH_CHECKPOINT);
                recovery.rebuilt.push(Rebuilt { path, reason: error.to_string() });
                false
            }
        }
    }

    /// Brings the epochs in line with the batches: `last` is the epoch of the last one that was walked. A checkpoint that
    /// does not know it is none of this log's, and is made again. A later epoch than that may stand there: its batches
    /// can be gone, as a lane forgets single ones.
    fn settle_epochs(
        &mut self,
        are_known: bool,
        last: Option<i32>,
        recovery: &mut Recovery,
    ) -> Result<(), StorageError> {
        self.cut_epochs();
        let latest = self.epochs.latest().map(|latest| latest.epoch);
        let last = last.filter(|&epoch| epoch >= 0 && self.log_end > self.log_start);
        if let (Some(last), Some(latest)) = (last, latest)
            && last > latest
        {
            let path = self.dir.join(names::LEADER_EPOCH_CHECKPOINT);
            let reason = format!("it ends with epoch {latest}, and the last batch is of epoch {last}");
            recovery.rebuilt.push(Rebuilt { path, reason });
            self.epochs = EpochCache::rebuilding(&self.dir);
        }
        let are_lost = !are_known || self.epochs.entries().is_empty();
        if are_lost && self.log_end > self.log_start {
            // The walk so far began somewhere in the middle.
            self.epochs = EpochCache::rebuilding(&self.dir);
            self.replay(self.log_start, |_, _| {})?;
        }
        Ok(())
    }

    fn cut_epochs(&mut self) {
        // Of a log whose batches are all deleted, the last one's epoch stands at its end, and stays.
        self.epochs.truncate_end(self.log_end.max(self.log_start.saturating_add(1)));
        self.epochs.truncate_start(self.log_start);
    }

    /// Lists the folder: segments with their sizes, leftovers to remove, indexes without a segment.
    fn load_segments(&mut self, now_ms: i64, recovery: &mut Recovery) -> Result<(), StorageError> {
        let dir = self.dir.clone();
        let failed = |error| StorageError::io("list", &dir, error);
        let mut sizes: BTreeMap<i64, u64> = BTreeMap::new();
        let mut indexes: BTreeSet<(i64, &'static str)> = BTreeSet::new();
        for file in fs::read_dir(&dir).map_err(failed)? {
            let file = file.map_err(failed)?;
            let file_name = file.file_name();
            let Some(name) = file_name.to_str() else { continue };
            if is_leftover(name) {
                disk::remove(&file.path())?;
                continue;
            }
            match names::parse(name) {
                Some((base, names::LOG)) => {
                    sizes.insert(base, file.metadata().map_err(failed)?.len());
                }
                Some((base, names::OFFSET_INDEX)) => drop(indexes.insert((base, names::OFFSET_INDEX))),
                Some((base, names::TIME_INDEX)) => drop(indexes.insert((base, names::TIME_INDEX))),
                _ => {}
            }
        }
        for (base, suffix) in indexes.iter().filter(|(base, _)| !sizes.contains_key(base)) {
            disk::remove(&dir.join(names::file_name(*base, suffix)))?;
        }
        for (base_offset, size) in sizes {
            let name = SegmentName::new(dir.clone(), base_offset);
            let mut segment = Segment::existing(name, size, now_ms);
            for suffix in [names::OFFSET_INDEX, names::TIME_INDEX] {
                if !indexes.contains(&(base_offset, suffix)) {
                    segment.indexes_missing = true;
                    let path = segment.name().path(suffix);
                    recovery.rebuilt.push(Rebuilt { path, reason: "it is missing".to_owned() });
                }
            }
            self.segments.push(segment);
        }
        if self.segments.is_empty() {
            self.segments.push(self.new_segment(self.log_start, now_ms)?);
            // Without its name, the log would begin at the next segment after a power loss.
            disk::sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Creates the files of a segment at `base_offset`.
    pub(super) fn new_segment(&self, base_offset: i64, now_ms: i64) -> Result<Segment, StorageError> {
        Segment::create(SegmentName::new(self.dir.clone(), base_offset), now_ms)
    }

    /// Brings start, end and recovery point into order. A log that ends below its start begins anew there.
    fn settle_ends(&mut self, open: Open) -> Result<(), StorageError> {
        let now_ms = open.now_ms;
        let first = self.segments.first().map_or(0, Segment::base_offset);
        self.log_start = self.log_start.max(first);
        if self.log_start > self.log_end {
            let start = self.log_start;
            // What is known of lanes outlives the batches.
            self.load_producers(now_ms, alone_upto(open))?;
            for segment in std::mem::take(&mut self.segments) {
                self.throw_away(&segment, now_ms);
            }
            self.segments.push(self.new_segment(start, now_ms)?);
            disk::sync_dir(&self.dir)?;
            self.log_end = start;
            self.save_producers_at(start)?;
        }
        let known = if open.clean { self.log_end } else { self.recovery_point };
        self.recovery_point = known.clamp(self.log_start.min(self.log_end), self.log_end);
        Ok(())
    }
}

/// Producer states below it are on the disk whole.
fn alone_upto(open: Open) -> i64 {
    if open.clean { i64::MAX } else { open.recovery_point }
}

/// True for files that an earlier run had not finished, or had given up.
fn is_leftover(name: &str) -> bool {
    [names::DELETED, names::TEMPORARY, names::CLEANED]
        .iter()
        .any(|suffix| name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')))
}
