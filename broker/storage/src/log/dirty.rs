//! How dirty a log is: which part compaction has not seen yet, which part of that it may see now, and whether anything
//! in it is overdue. The cleaner asks every log and takes the dirtiest. Source: KIP-58, KIP-354.

use super::Log;
use crate::segment::Segment;

/// A log as compaction sees it. Offsets are exclusive ends or first offsets of segments; bytes are of closed segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirtiness {
    /// Compaction begins to note keys here.
    pub first_dirty: i64,
    /// It may go up to here, where a segment begins.
    pub end: i64,
    pub clean_bytes: u64,
    pub dirty_bytes: u64,
    /// By how much the oldest dirty record is older than `max.compaction.lag.ms`; 0 if it is not.
    pub overdue_ms: i64,
}

impl Dirtiness {
    /// Which part of the closed segments is dirty, of a million.
    pub fn dirty_ppm(&self) -> u32 {
        let all = u128::from(self.clean_bytes) + u128::from(self.dirty_bytes);
        let ppm = (u128::from(self.dirty_bytes) * 1_000_000).checked_div(all).unwrap_or(0);
        u32::try_from(ppm).unwrap_or(1_000_000)
    }
}

impl Log {
    /// Judges the log, of which everything below `first_dirty` was compacted. Nothing at or above `stable` may be
    /// compacted, nor a segment with a record that is not older than `min_lag_ms`.
    pub fn dirtiness(
        &self,
        first_dirty: i64,
        stable: i64,
        min_lag_ms: i64,
        max_lag_ms: i64,
        now_ms: i64,
    ) -> Dirtiness {
        let active = self.active().base_offset();
        let is_within = (self.log_start..=active).contains(&first_dirty);
        let first_dirty = if is_within { first_dirty } else { self.log_start.min(active) };
        let closed = &self.segments[..self.segments.len() - 1];
        let dirty_from = closed.partition_point(|segment| segment.base_offset() <= first_dirty);
        let dirty = &closed[dirty_from.saturating_sub(1)..];
        let young = |segment: &&Segment| {
            min_lag_ms > 0 && segment.max_timestamp().timestamp > now_ms.saturating_sub(min_lag_ms)
        };
        let first_young = dirty.iter().find(young).map_or(active, Segment::base_offset);
        let upto = stable.min(active).min(first_young);
        let end = self.segments[self.segment_of(upto)].base_offset();
        let (mut clean_bytes, mut dirty_bytes) = (0, 0);
        for (number, segment) in closed.iter().enumerate() {
            if self.end_of(number) <= first_dirty {
                clean_bytes += segment.size();
            } else if segment.base_offset() < end {
                dirty_bytes += segment.size();
            }
        }
        let overdue_ms = match max_lag_ms {
            i64::MAX => 0,
            _ => {
                let oldest = dirty.iter().filter_map(Segment::first_timestamp).filter(|&at| at > 0).min();
                let until = now_ms.saturating_sub(max_lag_ms.max(0));
                oldest.map_or(0, |oldest| until.saturating_sub(oldest).max(0))
            }
        };
        Dirtiness { first_dirty, end, clean_bytes, dirty_bytes, overdue_ms }
    }
}
