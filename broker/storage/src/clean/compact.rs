//! Compaction's two judges: one reads the dirty part of a log and notes the newest offset of each key, the other lets go
//! of what a newer record of the same key supersedes, and of tombstones whose time has come. Both are run by the
//! engine; the cleaner in the server chooses logs and offsets.
//! Source: Kafka's documentation on log compaction, KIP-534 (delete horizons).

use super::judge::{Judge, JudgeError, OpenBatch, RecordVerdict};
use super::map::{KeyHash, OffsetMap};
use super::rebuild::horizon_passed;

/// Fills an [`OffsetMap`]. Runs as a survey over the segments that hold offsets from `from` on.
pub struct Indexer<'m> {
    map: &'m mut OffsetMap,
    from: i64,
    /// Exclusive end of what is noted whole.
    end: i64,
    full: bool,
    records: u64,
    /// Keys of a batch, with their offsets.
    found: Vec<(KeyHash, i64)>,
}

impl<'m> Indexer<'m> {
    pub fn new(map: &'m mut OffsetMap, from: i64) -> Indexer<'m> {
        Indexer { map, from, end: from, full: false, records: 0, found: Vec::new() }
    }

    /// Where the round must end: `upto`, or before it where the map was full.
    pub fn end_of_round(&self, upto: i64) -> i64 {
        if self.full { self.end } else { upto }
    }

    /// True once the map was full: the survey then ended with an error that is none.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Records with a key that were seen.
    pub fn records(&self) -> u64 {
        self.records
    }
}

impl Judge for Indexer<'_> {
    fn judge(
        &mut self,
        batches: &[OpenBatch<'_>],
        verdicts: &mut Vec<RecordVerdict>,
    ) -> Result<(), JudgeError> {
        for batch in batches {
            verdicts.resize(verdicts.len() + batch.header.record_count as usize, RecordVerdict::Keep);
            if batch.header.last_offset() < self.from {
                continue;
            }
            self.found.clear();
            for record in batch.records().map_err(JudgeError::new)? {
                let record = record.map_err(JudgeError::new)?;
                let offset = batch.header.base_offset.saturating_add(i64::from(record.offset_delta));
                let Some(key) = record.key.filter(|_| offset >= self.from) else { continue };
                self.found.push((self.map.hash(key), offset));
            }
            std::hint::black_box(self.found.iter().map(|&(hash, _)| self.map.touch(hash)).fold(0, u64::max));
            for &(hash, offset) in &self.found {
                self.records += 1;
                if !self.map.put(hash, offset) {
                    self.full = true;
                    return Err(JudgeError::new("the map of keys is full"));
                }
            }
            self.end = batch.header.next_offset();
        }
        Ok(())
    }
}

/// Decides by an [`OffsetMap`] that holds the newest offset of every key between the round's first dirty offset and its
/// end. What lies at or above the end is kept.
pub struct Compactor<'m> {
    map: &'m OffsetMap,
    end: i64,
    now_ms: i64,
    delete_retention_ms: i64,
    /// Of each batch of the last call.
    horizons: Vec<Option<i64>>,
    lookups: Vec<Lookup>,
}

impl<'m> Compactor<'m> {
    /// `now_ms` is the clock of the round; tombstones seen for the first time may go `delete_retention_ms` later.
    pub fn new(map: &'m OffsetMap, end: i64, now_ms: i64, delete_retention_ms: i64) -> Compactor<'m> {
        Compactor { map, end, now_ms, delete_retention_ms, horizons: Vec::new(), lookups: Vec::new() }
    }

    fn judge_batch(
        &mut self,
        batch: &OpenBatch<'_>,
        verdicts: &mut Vec<RecordVerdict>,
    ) -> Result<Option<i64>, JudgeError> {
        let header = batch.header;
        if header.base_offset >= self.end {
            verdicts.resize(verdicts.len() + header.record_count as usize, RecordVerdict::Keep);
            return Ok(None);
        }
        let passed = horizon_passed(header, self.now_ms);
        let mut has_tombstone = false;
        // The lookups come after the walk and depend on nothing but their hash, so that the processor makes many at
        // once: each is a cache miss.
        let mut waiting = std::mem::take(&mut self.lookups);
        for record in batch.records().map_err(JudgeError::new)? {
            let record = record.map_err(JudgeError::new)?;
            let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
            let verdict = match record.key {
                _ if offset >= self.end => RecordVerdict::Keep,
                // Nobody may append one to a compacted topic; older ones can never be superseded.
                None => RecordVerdict::Erase,
                Some(key) => {
                    let (hash, index) = (self.map.hash(key), verdicts.len());
                    waiting.push(Lookup { hash, offset, index, is_tombstone: record.value.is_none() });
                    RecordVerdict::Keep
                }
            };
            verdicts.push(verdict);
            has_tombstone |= record.value.is_none() && offset >= self.end;
        }
        for Lookup { hash, offset, index, is_tombstone } in waiting.drain(..) {
            let is_newest = self.map.get(hash).is_none_or(|newest| offset >= newest);
            if !is_newest || (is_tombstone && passed == Some(true)) {
                verdicts[index] = RecordVerdict::Erase;
            } else {
                has_tombstone |= is_tombstone;
            }
        }
        self.lookups = waiting;
        let horizon = self.now_ms.saturating_add(self.delete_retention_ms);
        Ok((has_tombstone && passed.is_none()).then_some(horizon))
    }
}

/// A record whose key is to be looked up.
struct Lookup {
    hash: KeyHash,
    offset: i64,
    /// Where its verdict stands.
    index: usize,
    is_tombstone: bool,
}

impl Judge for Compactor<'_> {
    fn judge(
        &mut self,
        batches: &[OpenBatch<'_>],
        verdicts: &mut Vec<RecordVerdict>,
    ) -> Result<(), JudgeError> {
        self.horizons.clear();
        for batch in batches {
            let horizon = self.judge_batch(batch, verdicts)?;
            self.horizons.push(horizon);
        }
        Ok(())
    }

    fn delete_horizon(&self, batch: usize) -> Option<i64> {
        self.horizons.get(batch).copied().flatten()
    }
}
