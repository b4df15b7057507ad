//! Opening a lane: the walk over its entries that makes the producers' windows and the ledger again, and the cut at
//! the first entry that recorded an end which the partition's log does not have. Runs before a new leader epoch
//! begins, so that log and lane of a producer never tell different stories. Until destinations have said what they
//! hold, every entry counts as unresolved.

use std::path::Path;

use ottla_model::batch::{BatchError, Batches, Header};
use ottla_storage::{Log, Open, Recovery, StorageError};

use super::entry::{BatchEntry, Entry, EntryError, LogEnd};
use super::ledger::{LedgerEntry, ProducerKey};
use super::{Lane, log_config};
use crate::config::PartitionConfig;

/// Bytes read at once while walking a lane; a larger entry is read whole.
const WALK_BYTES: usize = 1 << 20;

/// What opening a lane found.
#[derive(Debug)]
pub struct LaneRecovery {
    pub log: Recovery,
    /// Entries that were cut because the log lacks what came before them, with the lane offset of the cut.
    pub cut: Option<LaneCut>,
    /// Entries that may still be forwarded.
    pub entries: usize,
    pub bytes: u64,
}

/// A lane's tail that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneCut {
    pub offset: i64,
    pub offsets: i64,
    pub reason: String,
}

pub(super) fn open(
    dir: &Path,
    config: &PartitionConfig,
    partition_log: &Log,
    open: Open,
) -> Result<(Lane, LaneRecovery), StorageError> {
    // A lane's start is where its first segment begins, and its tail is short enough to be checked whole.
    let lane_open = Open { recovery_point: 0, log_start: 0, ..open };
    let (mut log, recovery) = Log::open(dir, log_config(config), lane_open)?;
    let cut = first_orphan(&log, partition_log)?;
    let cut = match cut {
        None => None,
        Some((offset, log_end)) => {
            let offsets = log.end_offset() - offset;
            log.truncate_to(offset, open.now_ms)?;
            let reason = format!(
                "the entry at {offset} was appended when the log ended at {} in epoch {}, which the log does not \
                 have any more",
                log_end.offset, log_end.epoch
            );
            Some(LaneCut { offset, offsets, reason })
        }
    };
    let mut lane = Lane::over(log, config);
    lane.replay()?;
    let entries = lane.forwarder.ledger.owed_entries();
    let bytes = lane.forwarder.ledger.owed_bytes();
    Ok((lane, LaneRecovery { log: recovery, cut, entries, bytes }))
}

impl Lane {
    fn replay(&mut self) -> Result<(), StorageError> {
        let (from, end) = (self.log.start_offset(), self.log.end_offset());
        let mut walk = LaneWalk::new(from, end);
        let mut next = from;
        while let Some(chunk) = walk.next_chunk(&self.log)? {
            for batch in chunk.batches() {
                let (outer, bytes) = batch.map_err(|error| damaged(&self.log, &error))?;
                if outer.base_offset < next {
                    return Err(damaged(&self.log, &EntryError::Inconsistent("offset")));
                }
                next = outer.next_offset();
                match Entry::decode(outer, bytes).map_err(|error| damaged(&self.log, &error))? {
                    Entry::Batch(entry) => self.replay_batch(&entry, bytes.len() as u64),
                    Entry::Checkpoint { checkpoint, .. } => {
                        self.windows = checkpoint.windows;
                        self.forwarder.on_recovered_checkpoint(checkpoint.confirmed);
                    }
                }
            }
        }
        Ok(())
    }

    fn replay_batch(&mut self, entry: &BatchEntry<'_>, bytes: u64) {
        let producer = if entry.inner.has_producer() {
            ProducerKey::Id(entry.inner.producer_id)
        } else {
            ProducerKey::Gone
        };
        let owed = LedgerEntry {
            base: entry.outer.base_offset,
            end: entry.outer.next_offset(),
            bytes,
            log_end: entry.head.log_end.offset,
            producer,
        };
        self.remember(&entry.inner, &entry.head, owed, entry.outer.max_timestamp);
        self.forwarder.on_recovered(owed, &entry.head.decision.destinations.destinations());
    }
}

/// The first entry whose recorded end the partition's log does not have.
fn first_orphan(lane: &Log, partition_log: &Log) -> Result<Option<(i64, LogEnd)>, StorageError> {
    let mut walk = LaneWalk::new(lane.start_offset(), lane.end_offset());
    while let Some(chunk) = walk.next_chunk(lane)? {
        for batch in chunk.batches() {
            let (outer, bytes) = batch.map_err(|error| damaged(lane, &error))?;
            let Entry::Batch(entry) = Entry::decode(outer, bytes).map_err(|error| damaged(lane, &error))?
            else {
                continue;
            };
            if !has_end(partition_log, entry.head.log_end) {
                return Ok(Some((outer.base_offset, entry.head.log_end)));
            }
        }
    }
    Ok(None)
}

fn has_end(log: &Log, end: LogEnd) -> bool {
    end.is_within(log.start_offset(), log.end_offset(), |offset| log.epochs().epoch_at(offset))
}

fn damaged(log: &Log, error: &dyn std::error::Error) -> StorageError {
    StorageError::Damaged { path: log.dir().to_path_buf(), reason: error.to_string() }
}

/// Reads a lane from one offset to another, in chunks of whole batches.
pub(crate) struct LaneWalk {
    next: i64,
    end: i64,
    buffer: Vec<u8>,
}

/// Whole batches of a lane, and perhaps a cut one behind them.
pub(crate) struct Chunk<'a>(&'a [u8]);

impl LaneWalk {
    pub fn new(from: i64, end: i64) -> LaneWalk {
        LaneWalk { next: from, end, buffer: Vec::new() }
    }

    /// The next batches, at least one; `None` at the end.
    pub fn next_chunk(&mut self, log: &Log) -> Result<Option<Chunk<'_>>, StorageError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let slice = log.read(self.next, WALK_BYTES, self.end, true)?;
        if slice.len == 0 {
            return Ok(None);
        }
        slice.read_into(&mut self.buffer).map_err(|source| StorageError::Io {
            action: "read",
            path: log.dir().to_path_buf(),
            source,
        })?;
        let chunk = Chunk(&self.buffer);
        self.next = chunk
            .batches()
            .filter_map(Result::ok)
            .last()
            .map_or(self.end, |(header, _)| header.next_offset());
        Ok(Some(chunk))
    }
}

impl<'a> Chunk<'a> {
    /// The batches; a cut one at the end is left for the next chunk.
    pub fn batches(&self) -> impl Iterator<Item = Result<(Header, &'a [u8]), BatchError>> + use<'a> {
        Batches::new(self.0).take_while(|batch| !matches!(batch, Err(BatchError::Short { .. })))
    }
}
