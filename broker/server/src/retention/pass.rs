//! One pass of a policy over one partition, on a thread that may block: segments first, deleted in order from the log's
//! start; then the records of those for which the policy asked, rewritten one segment at a time; then the lane.
//!
//! Invariant: nothing goes that the policy did not condemn in this pass, nothing goes before the audit has it on disk,
//! and whatever fails ends the pass with the rest of the data kept.

use std::sync::Arc;

use ottla_plugin_host::{SegmentVerdict, SegmentView, Usage};
use ottla_replication::{CleanLease, Partition};
use ottla_storage::{CleanError, Pace, SegmentInfo, StorageError};
use uuid::Uuid;

use super::audit::{Audit, Entry, Phase, Sums, Why};
use super::judge::{PolicyJudge, reason};
use super::memory::Memory;
use super::progress::{self, TopicProgress};
use super::report::{Failure, Lane, Outcome, PartitionReport, Policy, SegmentOutcome};
use super::tail;
use crate::plugins::retaining::Retained;

/// How far a pass goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What is due; the active segment is rolled only if something in it goes.
    Periodic,
    /// Everything, whatever was promised; the active segment is rolled.
    Now,
    /// Looks at everything and changes nothing.
    DryRun,
}

/// What a pass works with.
pub struct Pass<'a> {
    pub mode: Mode,
    pub retained: &'a Arc<Retained>,
    pub policy: &'a Policy,
    pub why: &'a Why,
    pub audit: &'a Audit,
    pub usage: Usage,
    /// How far groups have read the topic, or why that is not known. As it was before this pass.
    pub progress: &'a Result<TopicProgress, Failure>,
    pub now_ms: i64,
    pub pace: &'a mut dyn Pace,
    pub memory: &'a mut Memory,
}

impl Pass<'_> {
    /// Runs the pass. What it did before a failure is in the report.
    pub fn run(mut self, lease: &CleanLease) -> PartitionReport {
        let partition = lease.partition();
        let id = Uuid::new_v4().to_string();
        let mut report = PartitionReport::of(partition.topic_partition().partition);
        let done = self.judge_and_remove(lease, &id, &mut report);
        if let Err(failure) = done {
            report.fail(failure);
        }
        if self.mode != Mode::DryRun {
            self.purge_lane(partition, &mut report);
        }
        let totals = &report.totals;
        if self.mode != Mode::DryRun
            && totals.deleted_segments + totals.erased_records + totals.tombstoned_records > 0
        {
            let offsets = told(&report.segments);
            let sums = Sums::from(&report.totals);
            // What went is on record already as an intent.
            if let Err(failure) = self.write(partition, &id, Phase::Done, "pass", &offsets, sums) {
                report.fail(failure);
            }
        }
        report
    }

    fn judge_and_remove(
        &mut self,
        lease: &CleanLease,
        id: &str,
        report: &mut PartitionReport,
    ) -> Result<(), Failure> {
        let partition = lease.partition();
        self.memory.prepare(self.retained, partition.log_start());
        if self.mode == Mode::Now && self.retained.retention.judges_records() {
            // What is written to cannot be rewritten.
            partition.roll(self.now_ms).map_err(storage)?;
        }
        let segments = partition.segments();
        let verdicts = self.judge_segments(partition, &segments, report)?;
        let watermark = partition.high_watermark();
        let condemned = segments
            .iter()
            .zip(&verdicts)
            .take_while(|(segment, verdict)| {
                **verdict == SegmentVerdict::Delete
                    && segment.end_offset <= watermark
                    && segment.size_bytes > 0
            })
            .count();
        self.delete(partition, id, &segments[..condemned], report)?;
        for (segment, verdict) in segments.iter().zip(&verdicts).skip(condemned) {
            match verdict {
                // A fresh active segment.
                _ if segment.size_bytes == 0 => {}
                SegmentVerdict::Ask => self.judge_records(lease, id, segment, report)?,
                _ => report.add(whole(segment, Outcome::Keep)),
            }
        }
        Ok(())
    }

    /// Asks about segments. A policy that judges records only is asked about all of them later.
    fn judge_segments(
        &mut self,
        partition: &Partition,
        segments: &[SegmentInfo],
        report: &mut PartitionReport,
    ) -> Result<Vec<SegmentVerdict>, Failure> {
        let retention = &self.retained.retention;
        if !retention.judges_segments() {
            return Ok(vec![SegmentVerdict::Ask; segments.len()]);
        }
        let progress = self.progress.as_ref().map_err(Failure::clone)?;
        let groups = progress.of_partition(partition.topic_partition().partition);
        report.groups = Some(progress::told(&groups));
        let mut views = Vec::with_capacity(segments.len());
        for segment in segments {
            let SegmentInfo { base_offset, end_offset, size_bytes, max_timestamp, is_active } = *segment;
            let first = self.memory.first_timestamp(base_offset, size_bytes, is_active, || {
                partition.first_timestamp(base_offset)
            });
            views.push(SegmentView {
                base_offset,
                next_offset: end_offset,
                records: offsets_of(segment),
                bytes: size_bytes,
                first_timestamp_ms: first.map_err(storage)?,
                max_timestamp_ms: max_timestamp,
                active: is_active,
            });
        }
        let verdicts = retention.judge_segments(&self.usage, &views, &groups, self.now_ms);
        verdicts.map_err(|error| Failure::new(reason(&error), retention.describe(&error)))
    }

    fn delete(
        &mut self,
        partition: &Partition,
        id: &str,
        condemned: &[SegmentInfo],
        report: &mut PartitionReport,
    ) -> Result<(), Failure> {
        let (Some(first), Some(last)) = (condemned.first(), condemned.last()) else { return Ok(()) };
        if self.mode != Mode::DryRun {
            let sums = Sums {
                segments: condemned.len() as u64,
                bytes: condemned.iter().map(|segment| segment.size_bytes).sum(),
                ..Sums::default()
            };
            let offsets = [(first.base_offset, last.end_offset)];
            self.write(partition, id, Phase::Intent, "segments", &offsets, sums)?;
            let deleted = partition.delete_segments_before(last.end_offset, self.now_ms).map_err(storage)?;
            if deleted.log_start < last.end_offset {
                return Err(Failure::new(
                    "stopped",
                    "the topic was put on hold, or the partition moved away",
                ));
            }
        }
        for segment in condemned {
            let freed_bytes = segment.size_bytes;
            let offsets = vec![(segment.base_offset, segment.end_offset)];
            report.add(SegmentOutcome { freed_bytes, offsets, ..whole(segment, Outcome::Delete) });
        }
        Ok(())
    }

    /// Looks at the records of one segment and removes what the policy says.
    fn judge_records(
        &mut self,
        lease: &CleanLease,
        id: &str,
        segment: &SegmentInfo,
        report: &mut PartitionReport,
    ) -> Result<(), Failure> {
        let partition = lease.partition();
        let (left, again_ms) = match self.mode {
            Mode::Periodic => self.memory.left_from(segment.base_offset, self.now_ms),
            Mode::Now | Mode::DryRun => (segment.base_offset, i64::MAX),
        };
        let end = segment.end_offset.min(partition.high_watermark());
        if left >= end {
            report.add(SegmentOutcome { again_ms: Some(again_ms), ..whole(segment, Outcome::Left) });
            return Ok(());
        }
        if segment.is_active {
            return self.judge_active(lease, id, segment, left, report);
        }
        self.rewrite(lease, id, segment, report)
    }

    /// Looks into the active segment, and rolls it if something in it goes.
    fn judge_active(
        &mut self,
        lease: &CleanLease,
        id: &str,
        segment: &SegmentInfo,
        from: i64,
        report: &mut PartitionReport,
    ) -> Result<(), Failure> {
        let partition = lease.partition();
        let mut judge = PolicyJudge::new(&self.retained.retention, self.now_ms);
        let seen = tail::look(partition, from.max(partition.log_start()), &mut judge, self.pace)?;
        if self.mode == Mode::DryRun || !seen.changes() {
            let again_ms = judge.take_again();
            self.memory.remember(from, seen.end_offset, again_ms);
            let seen = SegmentOutcome { base_offset: segment.base_offset, again_ms, ..seen };
            report.add(SegmentOutcome { bytes: segment.size_bytes, ..seen });
            return Ok(());
        }
        partition.roll(self.now_ms).map_err(storage)?;
        let now_closed = partition.segments().into_iter().find(|one| one.base_offset == segment.base_offset);
        match now_closed.filter(|one| !one.is_active && one.end_offset <= partition.high_watermark()) {
            Some(closed) => self.rewrite(lease, id, &closed, report),
            // What came meanwhile is not committed yet: the next pass finds it closed.
            None => {
                report.add(whole(segment, Outcome::Keep));
                Ok(())
            }
        }
    }

    fn rewrite(
        &mut self,
        lease: &CleanLease,
        id: &str,
        segment: &SegmentInfo,
        report: &mut PartitionReport,
    ) -> Result<(), Failure> {
        let partition = lease.partition();
        let task = lease.prepare_clean(segment.base_offset, segment.end_offset).map_err(storage)?;
        if task.is_empty() {
            // Above the watermark, or gone.
            report.add(whole(segment, Outcome::Keep));
            return Ok(());
        }
        let mut judge = PolicyJudge::new(&self.retained.retention, self.now_ms);
        let (told, cleaned) = match self.mode {
            Mode::DryRun => {
                let survey = task.survey(&mut judge, self.pace);
                (survey.map_err(|error| failed(&mut judge, error))?, None)
            }
            Mode::Periodic | Mode::Now => {
                let cleaned = task.run(&mut judge, self.pace).map_err(|error| failed(&mut judge, error))?;
                (cleaned.report(), Some(cleaned))
            }
        };
        let again_ms = judge.take_again();
        let outcomes = told.segments.iter().map(SegmentOutcome::judged);
        let outcomes: Vec<SegmentOutcome> =
            outcomes.map(|outcome| SegmentOutcome { again_ms, ..outcome }).collect();
        if let Some(cleaned) = cleaned.filter(|_| outcomes.iter().any(SegmentOutcome::changes)) {
            let sums = Sums {
                segments: 0,
                records_erased: told.erased(),
                records_tombstoned: told.tombstoned(),
                bytes: told.bytes_before().saturating_sub(told.bytes_after()),
            };
            let offsets: Vec<(i64, i64)> =
                outcomes.iter().flat_map(|outcome| outcome.offsets.iter().copied()).collect();
            self.write(partition, id, Phase::Intent, "records", &offsets, sums)?;
            let swapped = lease.finish_clean(cleaned, self.now_ms).map_err(storage)?;
            if swapped.segments.is_empty() {
                // The log changed under the pass: the next one looks again.
                report.add(whole(segment, Outcome::Keep));
                return Ok(());
            }
        }
        if self.mode != Mode::DryRun {
            self.memory.remember(segment.base_offset, segment.end_offset, again_ms);
        }
        outcomes.into_iter().for_each(|outcome| report.add(outcome));
        Ok(())
    }

    /// Once something was erased here, what the lane has delivered goes too: the same bytes may lie there.
    fn purge_lane(&mut self, partition: &Partition, report: &mut PartitionReport) {
        let erased = report.totals.erased_records + report.totals.tombstoned_records > 0;
        if !erased && self.mode != Mode::Now {
            return;
        }
        match partition.purge_lane(self.now_ms) {
            Ok(left) => {
                report.lane = left.map(|left| Lane {
                    unresolved_batches: left.unresolved_batches,
                    held_bytes: left.held_bytes,
                });
            }
            Err(error) => report.fail(storage(error)),
        }
    }

    fn write(
        &self,
        partition: &Partition,
        id: &str,
        phase: Phase,
        kind: &'static str,
        offsets: &[(i64, i64)],
        sums: Sums,
    ) -> Result<(), Failure> {
        let name = partition.topic_partition();
        self.audit.write(&Entry {
            pass: id,
            phase,
            topic: &name.topic,
            topic_id: partition.topic_id().to_string(),
            partition: name.partition,
            kind,
            offsets,
            plugin: self.policy,
            why: self.why,
            at_ms: self.now_ms,
            sums,
        })
    }
}

/// The ranges of a whole pass, from the first to the last where they are too many.
fn told(segments: &[SegmentOutcome]) -> Vec<(i64, i64)> {
    let mut ranges: Vec<(i64, i64)> =
        segments.iter().flat_map(|segment| segment.offsets.iter().copied()).collect();
    if ranges.len() > ottla_storage::ERASED_RANGES_MAX {
        let end = ranges.last().map_or(0, |range| range.1);
        ranges.truncate(ottla_storage::ERASED_RANGES_MAX);
        if let Some(last) = ranges.last_mut() {
            last.1 = end;
        }
    }
    ranges
}

/// A segment of which nobody looked at the records.
fn whole(segment: &SegmentInfo, outcome: Outcome) -> SegmentOutcome {
    SegmentOutcome {
        base_offset: segment.base_offset,
        end_offset: segment.end_offset,
        active: segment.is_active,
        outcome,
        records: offsets_of(segment),
        bytes: segment.size_bytes,
        ..SegmentOutcome::default()
    }
}

/// No segment has more records than offsets.
fn offsets_of(segment: &SegmentInfo) -> u64 {
    u64::try_from(segment.end_offset - segment.base_offset).unwrap_or(0)
}

fn storage(error: StorageError) -> Failure {
    let reason = if matches!(error, StorageError::Damaged { .. }) { "damaged" } else { "storage" };
    Failure::new(reason, error)
}

fn failed(judge: &mut PolicyJudge<'_>, error: CleanError) -> Failure {
    match error {
        CleanError::Storage(error) => storage(error),
        CleanError::Stopped(stopped) => Failure::new("stopped", stopped),
        CleanError::Judge(error) => judge.take_failure().unwrap_or_else(|| Failure::new("failed", error)),
    }
}
