//! What a retention pass did, or would do: the answer of `clean --now` and of a dry run, and the source of what is
//! counted and audited. Numbers and offsets only, never what stood in a record.

use ottla_storage::SegmentReport;
use serde::Serialize;

/// Segments of a partition that a report tells of one by one; those that stay whole are counted only.
pub const SEGMENTS_TOLD_MAX: usize = 1_000;

/// A plugin that is not attached, for a dry run.
#[derive(Clone, Debug)]
pub struct Tried {
    /// `name` or `name@version`.
    pub plugin: String,
    /// JSON.
    pub config: String,
}

/// A pass over a topic.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TopicReport {
    pub topic: String,
    /// Nothing was changed: this is what would go.
    pub dry_run: bool,
    /// The time by which was judged, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who judged; none where the topic's own retention did.
    pub policy: Option<Policy>,
    /// The topic is on hold: nothing goes, whatever a policy says.
    pub hold: bool,
    pub totals: Totals,
    pub partitions: Vec<PartitionReport>,
}

/// A plugin as it was attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Policy {
    pub name: String,
    pub version: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// SHA-256 over the component's SHA-256 and the config.
    pub rule: String,
}

/// Sums over all partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub segments: u64,
    pub records: u64,
    pub bytes: u64,
    pub deleted_segments: u64,
    pub erased_records: u64,
    pub tombstoned_records: u64,
    pub freed_bytes: u64,
    pub failures: u64,
}

/// One partition.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PartitionReport {
    pub partition: i32,
    pub totals: Totals,
    /// Segments in which something goes, the oldest first, and as many of the others as fit.
    pub segments: Vec<SegmentOutcome>,
    /// What a policy of segments was told of consumer groups; none where it was not asked.
    pub groups: Option<GroupsTold>,
    /// What erasure cannot reach yet, because its place is not decided: it is judged once it is at its destination.
    pub lane: Option<Lane>,
    /// Why the pass ended early; everything that is not named stays.
    pub failure: Option<Failure>,
}

/// Consumer groups of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupsTold {
    pub count: u64,
    /// Those that are furthest behind, the slowest first; at most 100.
    pub slowest: Vec<GroupTold>,
}

/// How far a group has read a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupTold {
    pub group: String,
    /// None where it has committed nothing in this partition.
    pub committed_offset: Option<i64>,
    /// In milliseconds since 1970.
    pub committed_ms: Option<i64>,
}

/// What is left in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lane {
    pub unresolved_batches: u64,
    pub held_bytes: u64,
}

/// Why nothing was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// As metrics count it: `trap`, `timeout`, `bad-answer`, `failed`, `busy`, `breaker-open`, `not-attached`,
    /// `groups`, `damaged`, `storage`, `audit` or `stopped`.
    pub reason: &'static str,
    pub message: String,
}

impl Failure {
    pub fn new(reason: &'static str, message: impl ToString) -> Failure {
        Failure { reason, message: message.to_string() }
    }
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It stays as it is.
    #[default]
    Keep,
    /// It goes as a whole.
    Delete,
    /// Its records were judged one by one.
    Judged,
    /// It was judged before, and no verdict changes before `again_ms`.
    Left,
}

/// One segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SegmentOutcome {
    pub base_offset: i64,
    /// Exclusive.
    pub end_offset: i64,
    pub active: bool,
    pub outcome: Outcome,
    /// Records in it; the number of its offsets where nobody looked.
    pub records: u64,
    pub bytes: u64,
    pub erased_records: u64,
    pub tombstoned_records: u64,
    /// Of an active segment that was only looked at, an estimate.
    pub freed_bytes: u64,
    /// Ranges of the offsets that go or lose their value, the ends exclusive. At most 256; then the last is widened.
    pub offsets: Vec<(i64, i64)>,
    pub again_ms: Option<i64>,
}

impl SegmentOutcome {
    /// Whether anything goes.
    pub fn changes(&self) -> bool {
        self.outcome == Outcome::Delete || self.erased_records + self.tombstoned_records > 0
    }

    /// A segment whose records the cleaning engine looked at.
    pub fn judged(report: &SegmentReport) -> SegmentOutcome {
        SegmentOutcome {
            base_offset: report.base_offset,
            end_offset: report.end_offset,
            outcome: Outcome::Judged,
            records: report.records,
            bytes: report.bytes_before,
            erased_records: report.erased,
            tombstoned_records: report.tombstoned,
            freed_bytes: report.bytes_before.saturating_sub(report.bytes_after),
            offsets: report.changed.clone(),
            ..SegmentOutcome::default()
        }
    }
}

impl PartitionReport {
    pub fn of(partition: i32) -> PartitionReport {
        PartitionReport { partition, ..PartitionReport::default() }
    }

    /// Takes a segment in: counted always, told of while there is room.
    pub fn add(&mut self, segment: SegmentOutcome) {
        let totals = &mut self.totals;
        totals.segments += 1;
        totals.records += segment.records;
        totals.bytes += segment.bytes;
        totals.deleted_segments += u64::from(segment.outcome == Outcome::Delete);
        totals.erased_records += segment.erased_records;
        totals.tombstoned_records += segment.tombstoned_records;
        totals.freed_bytes += segment.freed_bytes;
        if self.segments.len() < SEGMENTS_TOLD_MAX {
            self.segments.push(segment);
        } else if segment.changes()
            && let Some(other) = self.segments.iter().rposition(|told| !told.changes())
        {
            self.segments.remove(other);
            self.segments.push(segment);
        }
    }

    pub fn fail(&mut self, failure: Failure) {
        self.totals.failures += 1;
        self.failure = Some(failure);
    }
}

impl TopicReport {
    pub fn add(&mut self, partition: PartitionReport) {
        let (sum, more) = (&mut self.totals, &partition.totals);
        sum.segments += more.segments;
        sum.records += more.records;
        sum.bytes += more.bytes;
        sum.deleted_segments += more.deleted_segments;
        sum.erased_records += more.erased_records;
        sum.tombstoned_records += more.tombstoned_records;
        sum.freed_bytes += more.freed_bytes;
        sum.failures += more.failures;
        self.partitions.push(partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_told_before_what_stays() {
        let mut report = PartitionReport::of(0);
        let segment = |base_offset: i64, erased_records| SegmentOutcome {
            base_offset,
            end_offset: base_offset + 1,
            erased_records,
            ..SegmentOutcome::default()
        };
        for base in 0..SEGMENTS_TOLD_MAX as i64 + 5 {
            report.add(segment(base, 0));
        }
        report.add(segment(5_000, 3));
        assert_eq!(report.totals.segments, SEGMENTS_TOLD_MAX as u64 + 6);
        assert_eq!(report.segments.len(), SEGMENTS_TOLD_MAX);
        assert_eq!(report.segments.last().unwrap().base_offset, 5_000);
    }
}
