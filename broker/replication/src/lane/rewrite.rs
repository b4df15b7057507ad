//! Rewriting: when one destination is away for long, the segments that are held back for it lose their resolved
//! entries, offsets kept, so that the others' traffic does not fill the lane. Like trimming it comes after a
//! checkpoint that is committed, and it drops nothing unresolved. The copy is made without the partition's lock.

use ottla_storage::{CleanError, CleanTask, Cleaned, StorageError};

use super::Lane;

/// How far the lane's segments were looked at since the newest of them began.
#[derive(Clone, Debug, Default)]
pub(crate) struct RewriteSweep {
    /// Base offset of the segment that was the active one.
    active: i64,
    /// Segments from here on are still to be looked at.
    next: i64,
    chosen: Option<Chosen>,
}

/// A segment that is to be rewritten once the checkpoint is committed.
#[derive(Clone, Debug)]
struct Chosen {
    base: i64,
    /// Base offsets of the entries to keep, ascending.
    keep: Vec<i64>,
    checkpoint_end: i64,
}

/// A segment's rewriting, to be run where blocking is fine.
pub(crate) struct Rewrite {
    task: CleanTask,
    keep: Vec<i64>,
}

impl Rewrite {
    /// Makes the copy.
    pub fn run(&self) -> Result<Cleaned, CleanError> {
        self.task.run_batches(|header| self.keep.binary_search(&header.base_offset).is_ok())
    }
}

impl Lane {
    /// Whether a segment is worth rewriting; then its checkpoint is written, and the lane's end moves.
    pub fn choose_rewrite(&mut self, leader_epoch: i32, now_ms: i64) -> Result<bool, StorageError> {
        if self.sweep.chosen.is_some()
            || self.trimming.is_some()
            || self.log.size_bytes() <= self.bytes_max / 2
        {
            return Ok(false);
        }
        let Some(active) = self.log.segments().last().map(|segment| segment.base_offset) else {
            return Ok(false);
        };
        if self.sweep.active != active {
            self.sweep = RewriteSweep { active, next: 0, chosen: None };
        }
        let next = self.sweep.next;
        let ledger = &self.forwarder.ledger;
        let chosen =
            self.log.segments().filter(|one| !one.is_active && one.base_offset >= next).find_map(|segment| {
                let (keep, bytes) = ledger.unsettled_within(segment.base_offset, segment.end_offset);
                (2 * bytes < segment.size_bytes).then_some((segment.base_offset, segment.end_offset, keep))
            });
        let Some((base, end, keep)) = chosen else {
            self.sweep.next = active;
            return Ok(false);
        };
        let checkpoint_end = self.write_checkpoint(leader_epoch, now_ms)?;
        self.sweep.next = end;
        self.sweep.chosen = Some(Chosen { base, keep, checkpoint_end });
        Ok(true)
    }

    /// The rewriting that was chosen, once its checkpoint is under the lane's watermark.
    pub fn take_rewrite(&mut self, watermark: i64) -> Result<Option<Rewrite>, StorageError> {
        let Some(chosen) = self.sweep.chosen.take_if(|chosen| chosen.checkpoint_end <= watermark) else {
            return Ok(None);
        };
        let Some(segment) = self.log.segments().find(|segment| segment.base_offset == chosen.base) else {
            return Ok(None);
        };
        let task = self.log.prepare_clean(segment.base_offset, segment.end_offset)?;
        Ok((!task.is_empty()).then_some(Rewrite { task, keep: chosen.keep }))
    }
}
