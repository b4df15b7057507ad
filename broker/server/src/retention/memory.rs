//! Which offsets of a partition a policy has judged, and until when it promised not to change its mind: a pass leaves
//! them alone. In memory only; another plugin, version, config or instance forgets it.
//!
//! Invariant: an offset that is left alone was judged by what serves now, and its promise still holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::plugins::retaining::Retained;

/// Ranges of one partition that are remembered at most; beyond it, all is forgotten.
const RANGES_MAX: usize = 65_536;

/// What is remembered of one partition.
#[derive(Default)]
pub struct Memory {
    /// Who promised.
    by: Weak<Retained>,
    /// By first offset: the end, exclusive, and the time of the promise.
    ranges: BTreeMap<i64, (i64, i64)>,
    /// By base offset of a segment: its size, and the first record's timestamp.
    first_timestamps: BTreeMap<i64, (u64, i64)>,
}

impl Memory {
    /// Forgets what somebody else than `policy` promised, and what lies before the log's start.
    pub fn prepare(&mut self, policy: &Arc<Retained>, log_start: i64) {
        if !std::ptr::eq(self.by.as_ptr(), Arc::as_ptr(policy)) {
            self.by = Arc::downgrade(policy);
            self.ranges.clear();
        }
        self.ranges.retain(|_, (end, _)| *end > log_start);
        self.first_timestamps = self.first_timestamps.split_off(&log_start);
    }

    /// Notes that offsets from `from` up to `end` were judged; `again_ms` is the promise.
    pub fn remember(&mut self, from: i64, end: i64, again_ms: Option<i64>) {
        self.forget(from, end);
        let Some(mut again_ms) = again_ms.filter(|_| from < end) else { return };
        if self.ranges.len() >= RANGES_MAX {
            self.ranges.clear();
        }
        let mut from = from;
        // The active segment is looked at piece by piece.
        if let Some((&before, &(middle, earlier))) = self.ranges.range(..from).next_back()
            && middle == from
            && self.ranges.len() > RANGES_MAX / 2
        {
            (from, again_ms) = (before, again_ms.min(earlier));
        }
        self.ranges.insert(from, (end, again_ms));
    }

    fn forget(&mut self, from: i64, end: i64) {
        let within: Vec<i64> = self.ranges.range(from..end).map(|(&start, _)| start).collect();
        for start in within {
            self.ranges.remove(&start);
        }
    }

    /// How far offsets from `from` on can be left alone at `now_ms`, and until when: (`from`, never) if not at all.
    pub fn left_from(&self, from: i64, now_ms: i64) -> (i64, i64) {
        let (mut offset, mut again_ms) = (from, i64::MAX);
        while let Some((_, &(end, again))) = self.ranges.range(..=offset).next_back() {
            if end <= offset || again <= now_ms {
                break;
            }
            (offset, again_ms) = (end, again_ms.min(again));
        }
        (offset, again_ms)
    }

    /// The timestamp of a segment's first record, read once while the segment is what it was.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn first_timestamp<E>(
        &mut self,
        base_offset: i64,
        size_bytes: u64,
        is_active: bool,
        read: impl FnOnce() -> Result<i64, E>,
    ) -> Result<i64, E> {
        match self.first_timestamps.get(&base_offset) {
            Some(&(size, first)) if (size == size_bytes || is_active) && size > 0 => Ok(first),
            _ => {
                let first = read()?;
                self.first_timestamps.insert(base_offset, (size_bytes, first));
                Ok(first)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_covered_without_a_gap_is_left_alone() {
        let mut memory = Memory::default();
        memory.remember(0, 10, Some(100));
        memory.remember(10, 20, Some(50));
        memory.remember(25, 30, Some(i64::MAX));
        memory.remember(30, 40, None);
        for (from, now_ms, expected) in [
            (0, 10, (20, 50)),
            (0, 50, (10, 100)),
            (0, 100, (0, i64::MAX)),
            (12, 10, (20, 50)),
            (20, 10, (20, i64::MAX)),
            (25, 10, (30, i64::MAX)),
            (30, 10, (30, i64::MAX)),
        ] {
            assert_eq!(memory.left_from(from, now_ms), expected, "{from} at {now_ms}");
        }
        memory.remember(5, 20, None);
        assert_eq!(memory.left_from(5, 10), (10, 100), "what began before is still promised up to its end");
    }
}
