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
use crate::producers::{self, ProducerStates};
use crate::segment::Segment;
use crate::walk::{BatchChecker, HeaderWalk, WalkError};

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
        fs::create_dir_all(dir).map_err(|error| StorageError::io("create", dir, error))?;
        let mut recovery = Recovery::default();
        let mut log = Log {
            dir: dir.into(),
            config,
            segments: Vec::new(),
            log_start: open.log_start.max(0),
            log_end: 0,
            recovery_point: open.recovery_point.max(0),
            epochs: EpochCache::rebuilding(dir),
            producers: ProducerStates::default(),
            saved: SavedStates::default(),
            truncations: 0,
            trash: trash::Trash::default(),
            health: Health::Sound,
            last_flush_ms: open.now_ms,
            roll_jitter_ms: 0,
        };
        let mut epochs_are_known = log.load_epochs(&mut recovery);
        log.load_segments(open.now_ms, &mut recovery)?;
        log.recover(open, &mut recovery)?;
        log.settle_ends(open)?;
        epochs_are_known &= !log.epochs.entries().is_empty();
        if !epochs_are_known {
            log.replay(log.log_start, |_, _| {})?;
        }
        let replayed = log.load_producers(open.now_ms)?;
        recovery.replayed_batches = replayed.batches;
        recovery.rebuilt.extend(replayed.rebuilt);
        log.epochs.truncate_end(log.log_end);
        log.epochs.truncate_start(log.log_start);
        log.epochs.write_changes(disk::Durability::PageCache)?;
        log.roll_jitter_ms = log.jitter();
        Ok((log, recovery))
    }

    fn load_epochs(&mut self, recovery: &mut Recovery) -> bool {
        match EpochCache::load(&self.dir) {
            Ok(epochs) => {
                self.epochs = epochs;
                true
            }
            Err(error) => {
                let path = self.dir.join(names::LEADER_EPOCH_CHECKPOINT);
                recovery.rebuilt.push(Rebuilt { path, reason: error.to_string() });
                false
            }
        }
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
            let name = SegmentName { dir: dir.clone(), base_offset };
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
        }
        Ok(())
    }

    /// Creates the files of a segment at `base_offset`.
    pub(super) fn new_segment(&self, base_offset: i64, now_ms: i64) -> Result<Segment, StorageError> {
        Segment::create(SegmentName { dir: self.dir.clone(), base_offset }, now_ms)
    }

    /// Walks the segments that may hold something unsound, and the last one to find the log's end.
    fn recover(&mut self, open: Open, recovery: &mut Recovery) -> Result<(), StorageError> {
        let last = self.segments.len() - 1;
        let check_from = if open.clean { i64::MAX } else { self.recovery_point };
        let first_unsynced = if open.clean { last } else { self.segment_of(check_from) };
        let mut checker = BatchChecker::new();
        self.log_end = self.active().base_offset();
        for number in 0..=last {
            let segment = &self.segments[number];
            let is_odd = !open.clean && !segment.indexes_missing && !segment.is_indexed();
            if is_odd {
                let path = segment.name().path(names::OFFSET_INDEX);
                let reason = "it or the time index does not hold whole entries".to_owned();
                recovery.rebuilt.push(Rebuilt { path, reason });
            }
            if number < first_unsynced && !segment.indexes_missing && !is_odd {
                continue;
            }
            let end_max = self.segments.get(number + 1).map_or(i64::MAX, Segment::base_offset);
            let walked = self.walk_segment(number, check_from, end_max, &mut checker, recovery)?;
            if number == last {
                self.log_end = walked.next_offset;
            }
            if let Some((position, reason)) = walked.bad {
                self.cut(number, position, walked.next_offset, reason, recovery)?;
                break;
            }
        }
        Ok(())
    }

    /// Walks one segment from its last trustworthy index entry on; checks CRCs of batches at or above `check_from`;
    /// adds index entries and epochs that are missing.
    fn walk_segment(
        &mut self,
        number: usize,
        check_from: i64,
        end_max: i64,
        checker: &mut BatchChecker,
        recovery: &mut Recovery,
    ) -> Result<Walked, StorageError> {
        let interval = self.config.index_interval_bytes;
        let is_last = number + 1 == self.segments.len();
        let segment = &mut self.segments[number];
        let mut walked = Walked { next_offset: segment.base_offset(), bad: None };
        if segment.size() == 0 {
            segment.ensure_empty_indexes()?;
            return Ok(walked);
        }
        let start = segment.trusted_start(check_from)?;
        let file = segment.file()?;
        for batch in HeaderWalk::new(&file, start, segment.size()) {
            let checked = batch.and_then(|(position, header)| {
                let bad = |reason| WalkError::Bad { position, reason };
                if header.base_offset < walked.next_offset || header.next_offset() > end_max {
                    let (base, next) = (header.base_offset, header.next_offset());
                    return Err(bad(format!(
                        "offsets {base} to {next} do not lie between {} and {end_max}",
                        walked.next_offset
                    )));
                }
                if segment.relative(header.last_offset()).is_none() {
                    return Err(bad(format!("offset {} is too far from the base", header.last_offset())));
                }
                if header.last_offset() >= check_from {
                    checker.check(&file, position, &header)?;
                    recovery.checked_batches += 1;
                    recovery.checked_bytes += header.size() as u64;
                }
                Ok((position, header))
            });
            match checked {
                Ok((position, header)) => {
                    segment.note(position, &header, interval);
                    self.epochs.note(header.partition_leader_epoch, header.base_offset);
                    walked.next_offset = header.next_offset();
                }
                Err(WalkError::Bad { position, .. }) if position == start && start > 0 => {
                    segment.indexes_missing = true;
                    return self.walk_segment(number, check_from, end_max, checker, recovery);
                }
                Err(WalkError::Bad { position, reason }) => {
                    walked.bad = Some((position, reason));
                    break;
                }
                Err(error) => return Err(segment.walk_failed(error)),
            }
        }
        segment.indexes_missing = false;
        if !is_last {
            segment
                .finish()
                .map_err(|error| StorageError::io("write the index of", segment.path(), error))?;
        }
        Ok(walked)
    }

    /// Removes everything from `position` of segment `number` on.
    fn cut(
        &mut self,
        number: usize,
        position: u64,
        offset: i64,
        reason: String,
        recovery: &mut Recovery,
    ) -> Result<(), StorageError> {
        let segment = &mut self.segments[number];
        let bytes = segment.size() - position;
        recovery.cuts.push(Cut { path: segment.path(), position, offset, bytes, reason });
        segment.cut_file(position)?;
        let behind = format!("it lies behind the cut in {}", segment.path().display());
        for segment in self.segments.split_off(number + 1) {
            let cut = Cut {
                path: segment.path(),
                position: 0,
                offset,
                bytes: segment.size(),
                reason: behind.clone(),
            };
            recovery.cuts.push(cut);
            for suffix in names::SEGMENT_SUFFIXES {
                disk::remove(&segment.name().path(suffix))?;
            }
        }
        self.log_end = offset;
        Ok(())
    }

    /// Brings start, end and recovery point into order. A log that ends below its start begins anew there.
    fn settle_ends(&mut self, open: Open) -> Result<(), StorageError> {
        let now_ms = open.now_ms;
        let first = self.segments.first().map_or(0, Segment::base_offset);
        self.log_start = self.log_start.max(first);
        if self.log_start > self.log_end {
            let start = self.log_start;
            // What is known of lanes outlives the batches.
            self.load_producers(now_ms)?;
            for segment in std::mem::take(&mut self.segments) {
                self.throw_away(&segment, now_ms);
            }
            self.segments.push(self.new_segment(start, now_ms)?);
            self.log_end = start;
            self.save_producers_at(start)?;
        }
        let known = if open.clean { self.log_end } else { self.recovery_point };
        self.recovery_point = known.clamp(self.log_start.min(self.log_end), self.log_end);
        Ok(())
    }

    /// Walks the rest of the active segment after a truncation, so that its largest timestamp and its index follow.
    pub(super) fn rewalk_active(&mut self, _now_ms: i64) -> Result<(), StorageError> {
        let mut unused = Recovery::default();
        let number = self.segments.len() - 1;
        let walked = self.walk_segment(number, i64::MAX, i64::MAX, &mut BatchChecker::new(), &mut unused)?;
        match walked.bad {
            None => Ok(()),
            Some((position, reason)) => {
                let reason = format!("at position {position}: {reason}");
                Err(StorageError::Damaged { path: self.active().path(), reason })
            }
        }
    }

    /// Takes the newest sound saved state at or below the log's end, and replays what follows it.
    pub(super) fn load_producers(&mut self, now_ms: i64) -> Result<Replayed, StorageError> {
        let mut replayed = Replayed::default();
        // Also what lies below the log's start tells, as long as it is there.
        let mut states = ProducerStates::starting_at(self.segments.first().map_or(0, Segment::base_offset));
        self.saved = SavedStates::default();
        let end = self.log_end;
        // They tell of batches that are gone.
        self.forget_states_where(|saved| saved > end)?;
        let offsets = self.saved_offsets()?;
        let newest = offsets.last().copied();
        for &offset in offsets.iter().rev() {
            match producers::read_saved(&self.dir, offset) {
                Ok(saved) => {
                    states = saved;
                    self.saved.newest = Some(offset);
                    break;
                }
                Err(reason) => {
                    let path = self.dir.join(names::file_name(offset, names::SNAPSHOT));
                    replayed.rebuilt.push(Rebuilt { path, reason });
                    self.remove_states(offset)?;
                }
            }
        }
        self.forget_strays(&offsets, newest)?;
        let from = states.end_offset();
        let mut batches = 0;
        self.replay(from, |header, _| {
            states.record(header, now_ms);
            batches += 1;
        })?;
        self.producers = states;
        replayed.batches = batches;
        Ok(replayed)
    }

    /// Removes saved states that stand between segments, but the newest, which goes when a newer one is written.
    fn forget_strays(&mut self, offsets: &[i64], newest: Option<i64>) -> Result<(), StorageError> {
        for &offset in offsets {
            let is_base = self.segments.iter().any(|segment| segment.base_offset() == offset);
            if is_base {
                continue;
            }
            if Some(offset) == newest || Some(offset) == self.saved.newest {
                self.saved.stray = Some(offset);
            } else {
                self.remove_states(offset)?;
            }
        }
        Ok(())
    }

    /// Calls `observe` with the header and the position of each batch from the one that holds `from` on. Epochs that
    /// the checkpoint lacks are noted on the way. Damage within a segment ends the walk of that segment.
    fn replay(
        &mut self,
        from: i64,
        mut observe: impl FnMut(&ottla_model::batch::Header, u64),
    ) -> Result<(), StorageError> {
        if from >= self.log_end {
            return Ok(());
        }
        for number in self.segment_of(from)..self.segments.len() {
            let segment = &self.segments[number];
            if segment.size() == 0 {
                continue;
            }
            let file = segment.file()?;
            let start = segment.confirmed_start(&file, from);
            for batch in HeaderWalk::new(&file, start, segment.size()) {
                match batch {
                    Ok((_, header)) if header.last_offset() < from => {}
                    Ok((position, header)) => {
                        self.epochs.note(header.partition_leader_epoch, header.base_offset);
                        observe(&header, position);
                    }
                    Err(WalkError::Bad { position, reason }) => {
                        tracing::error!(path = %segment.path().display(), position, reason, "damage in the log");
                        break;
                    }
                    Err(error) => return Err(segment.walk_failed(error)),
                }
            }
        }
        Ok(())
    }
}

struct Walked {
    next_offset: i64,
    bad: Option<(u64, String)>,
}

#[derive(Default)]
pub(super) struct Replayed {
    batches: u64,
    rebuilt: Vec<Rebuilt>,
}

/// True for files that an earlier run had not finished, or had given up.
fn is_leftover(name: &str) -> bool {
    [names::DELETED, names::TEMPORARY, names::CLEANED]
        .iter()
        .any(|suffix| name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')))
}
