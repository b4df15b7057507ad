//! Cleaning seen from the log: which closed segments a pass reads, and the swap of its copies for them. The engine in
//! `clean` runs between the two without the log. The invariant: at any point of a swap a crash leaves each group of
//! segments whole as it was, or whole as it was cleaned; `swap` settles at the next start which.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Log;
use crate::clean::{
    Ahead, CleanReport, CleanTask, Cleaned, CleanedGroup, Compacting, LastBatches, Plan, SegmentCopy, Source,
    Transactions, grouped,
};
use crate::disk;
use crate::error::StorageError;
use crate::names;
use crate::segment::Segment;

/// One round of compaction over a log: what its passes share. A pass is one group of segments.
pub struct CompactionRound {
    compacting: Compacting,
    /// From and to of each pass, in order.
    ranges: Vec<(i64, i64)>,
}

impl CompactionRound {
    /// From and to of each pass, in order: segments that become one.
    pub fn ranges(&self) -> &[(i64, i64)] {
        &self.ranges
    }

    /// The clock of the round, by which tombstones go.
    pub fn now_ms(&self) -> i64 {
        self.compacting.now_ms
    }

    pub fn delete_retention_ms(&self) -> i64 {
        self.compacting.delete_retention_ms
    }
}

impl CleanTask {
    /// Makes the pass one of a compaction: small neighbours become one segment, records of aborted transactions and
    /// markers that nothing needs any more go, and tombstones get the time from which they may go.
    pub fn compacting(self, round: &CompactionRound) -> CleanTask {
        let plan = Plan { compacting: Some(round.compacting.clone()), ..self.plan };
        CleanTask { plan, ..self }
    }
}

impl Log {
    /// Begins a pass over the closed segments that lie within `from..to` whole; `from` may lie within the first.
    ///
    /// # Errors
    /// Those of opening their files.
    pub fn prepare_clean(&self, from: i64, to: i64) -> Result<CleanTask, StorageError> {
        Ok(CleanTask {
            sources: self.sources(from, to)?,
            plan: Plan::new(self.config, LastBatches::of(&self.producers)),
            truncations: self.truncations,
        })
    }

    /// Plans a round of compaction over the closed segments from the first up to the one that holds `upto - 1`; no
    /// transaction may be open below `stable`. `delete_retention_ms` is how long tombstones stay.
    ///
    /// # Errors
    /// Those of opening their files.
    pub fn plan_compaction(
        &self,
        upto: i64,
        stable: i64,
        now_ms: i64,
        delete_retention_ms: i64,
    ) -> Result<CompactionRound, StorageError> {
        let first = self.segments[0].base_offset();
        let last = self.segment_of(upto.saturating_sub(1).max(first));
        let sources = self.sources(first, self.end_of(last))?;
        let ranges = grouped(&sources, &self.config).into_iter().filter_map(|group| {
            let (first, last) = (group.first()?, group.last()?);
            Some((first.base_offset, last.end_offset))
        });
        let transactions = Arc::new(Mutex::new(self.transactions(stable)));
        let compacting = Compacting { now_ms, delete_retention_ms, transactions };
        Ok(CompactionRound { ranges: ranges.collect(), compacting })
    }

    /// Begins the survey by which an [`crate::Indexer`] notes the keys of the closed segments that lie within
    /// `from..to`; `stable` as for `plan_compaction`.
    ///
    /// # Errors
    /// Those of opening their files.
    pub fn prepare_index(&self, from: i64, to: i64, stable: i64) -> Result<CleanTask, StorageError> {
        let transactions = Arc::new(Mutex::new(self.transactions(stable)));
        // Nothing is written: no time matters.
        let compacting = Compacting { now_ms: 0, delete_retention_ms: 0, transactions };
        let task = self.prepare_clean(from, to)?;
        Ok(CleanTask { plan: Plan { compacting: Some(compacting), ..task.plan }, ..task })
    }

    /// What is to be known of transactions that end below `stable`.
    fn transactions(&self, stable: i64) -> Transactions {
        let ahead = self.segments.iter().take_while(|segment| segment.base_offset() < stable);
        let ahead = ahead.map(|segment| Ahead { base_offset: segment.base_offset(), size: segment.size() });
        Transactions::new(self.dir.clone(), ahead.collect())
    }

    fn sources(&self, from: i64, to: i64) -> Result<Vec<Source>, StorageError> {
        let closed = self.segments.len() - 1;
        let numbered = self.segments[..closed].iter().enumerate();
        let within = numbered.filter(|(number, _)| {
            let end = self.end_of(*number);
            end > from && end <= to
        });
        let source = |(number, segment): (usize, &Segment)| {
            Ok(Source {
                dir: self.dir.clone(),
                base_offset: segment.base_offset(),
                end_offset: self.end_of(number),
                size: segment.size(),
                file: segment.file()?,
                index_bytes: segment.index_bytes(),
            })
        };
        within.map(source).collect()
    }

    /// Puts finished copies in the places of what they were made of. A group whose segments changed meanwhile, by
    /// retention or truncation, is left as it is. Blocks for some syncs of the folder.
    ///
    /// # Errors
    /// Those of the disk. A group is then what it was, or what it became, or the next start completes it.
    pub fn complete_clean(&mut self, cleaned: Cleaned, now_ms: i64) -> Result<CleanReport, StorageError> {
        let changes = cleaned.changes();
        let Cleaned { groups, truncations, keeps_states } = cleaned;
        let mut report = CleanReport::default();
        if truncations != self.truncations {
            return Ok(report);
        }
        self.ensure_writable()?;
        if changes && keeps_states && !self.producers.is_empty() {
            // What is emptied no longer tells of the batches that its producers may repeat. A state counts only as
            // long as the log reaches up to it, also after a power loss.
            let end = groups.last().map_or(0, CleanedGroup::last_base_offset);
            if self.saved.synced.is_none_or(|synced| synced <= end) {
                self.flush(now_ms)?;
                self.save_producers_durably()?;
            }
        }
        for group in groups {
            // The log may lie in another folder now, or have lost a segment to retention.
            let is_here = group.copy.as_ref().is_none_or(|copy| copy.dir() == &*self.dir);
            let Some(number) = self.place_of(&group).filter(|_| is_here) else { continue };
            if let Some(copy) = group.copy {
                self.swap(number, group.sources.len(), copy, keeps_states, now_ms)?;
            }
            report.segments.extend(group.reports);
        }
        Ok(report)
    }

    /// Where the group's segments stand, if they are what they were.
    fn place_of(&self, group: &CleanedGroup) -> Option<usize> {
        let closed = &self.segments[..self.segments.len() - 1];
        let (first, _) = *group.sources.first()?;
        let number = closed.iter().position(|segment| segment.base_offset() == first)?;
        let there = closed.get(number..number + group.sources.len())?;
        let same = there
            .iter()
            .map(|segment| (segment.base_offset(), segment.size()))
            .eq(group.sources.iter().copied());
        same.then_some(number)
    }

    fn swap(
        &mut self,
        number: usize,
        count: usize,
        mut copy: SegmentCopy,
        keeps_empty: bool,
        now_ms: i64,
    ) -> Result<(), StorageError> {
        if copy.size() == 0 && !keeps_empty {
            let segment = self.segments.remove(number);
            self.throw_away(&segment, now_ms);
            return Ok(());
        }
        copy.promise()?;
        disk::sync_dir(&self.dir)?;
        // From here on the next start completes what an error leaves.
        for segment in &self.segments[number..number + count] {
            let renamed = self.throw_away_files(segment, &names::DATA_SUFFIXES, now_ms);
            self.trash.extend(renamed);
            segment.close();
            if segment.base_offset() != copy.base_offset() {
                // Beside the copy that holds its batches it would be a second segment of the same offsets.
                disk::remove(&segment.path())?;
            }
        }
        copy.place_indexes()?;
        disk::sync_dir(&self.dir)?;
        let segment = copy.place_data(now_ms)?;
        disk::sync_dir(&self.dir)?;
        let merged: Vec<i64> = self
            .segments
            .splice(number..number + count, [segment])
            .map(|segment| segment.base_offset())
            .collect();
        for offset in merged.into_iter().skip(1) {
            if Some(offset) != self.saved.newest && Some(offset) != self.saved.synced {
                self.remove_states(offset)?;
            }
        }
        Ok(())
    }
}
