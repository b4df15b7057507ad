//! What a pass did, or would do, to each segment: the pass counts, the owner tells operators, metrics and the audit.

use ottla_model::batch::Header;

/// So many ranges of erased offsets are told apart in a segment; what follows widens the last one.
pub const ERASED_RANGES_MAX: usize = 256;

/// A pass over some segments, in the log's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanReport {
    pub segments: Vec<SegmentReport>,
}

impl CleanReport {
    pub fn bytes_before(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes_before).sum()
    }

    pub fn bytes_after(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes_after).sum()
    }

    pub fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }

    pub fn erased(&self) -> u64 {
        self.segments.iter().map(|segment| segment.erased).sum()
    }

    pub fn tombstoned(&self) -> u64 {
        self.segments.iter().map(|segment| segment.tombstoned).sum()
    }
}

/// One segment as it was before the pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentReport {
    pub base_offset: i64,
    /// Exclusive.
    pub end_offset: i64,
    pub bytes_before: u64,
    /// What is left of it, in whichever file.
    pub bytes_after: u64,
    /// Records before.
    pub records: u64,
    pub erased: u64,
    pub tombstoned: u64,
    /// Ranges of offsets, the ends exclusive, that hold every record erased or turned into a tombstone. Neighbours are
    /// one range; beyond [`ERASED_RANGES_MAX`] the last one is widened over what was kept.
    pub changed: Vec<(i64, i64)>,
    /// False where nothing changed and the file is the one it was.
    pub rewritten: bool,
}

impl SegmentReport {
    pub(super) fn erase(&mut self, offset: i64) {
        self.erased += 1;
        self.change(offset);
    }

    /// All records of a batch go, and nobody looked at their offsets.
    pub(super) fn erase_batch(&mut self, header: &Header) {
        let Some(count) = u64::try_from(header.record_count).ok().filter(|&count| count > 0) else { return };
        self.erased += count;
        self.change(header.base_offset);
        if let Some((_, end)) = self.changed.last_mut() {
            *end = header.next_offset();
        }
    }

    pub(super) fn tombstone(&mut self, offset: i64) {
        self.tombstoned += 1;
        self.change(offset);
    }

    fn change(&mut self, offset: i64) {
        let is_full = self.changed.len() >= ERASED_RANGES_MAX;
        match self.changed.last_mut() {
            Some((_, end)) if *end == offset || is_full => *end = offset.saturating_add(1),
            _ => self.changed.push((offset, offset.saturating_add(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_their_number_is_bounded() {
        let mut report = SegmentReport::default();
        for offset in [3, 4, 5, 9] {
            report.erase(offset);
        }
        assert_eq!(report.changed, [(3, 6), (9, 10)]);
        (10..5_000).step_by(2).for_each(|offset| report.tombstone(offset));
        assert_eq!(report.changed.len(), ERASED_RANGES_MAX);
        assert_eq!(report.changed.last().map(|range| range.1), Some(4_999));
        assert_eq!((report.erased, report.tombstoned), (4, 2_495));
    }
}
