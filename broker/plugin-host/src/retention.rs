//! A plugin attached to a topic that says how long its records stay: what retention passes call. It splits what is too
//! large for one call and checks each answer; `attached` has the instances.
//!
//! Invariant: verdicts leave here only with exactly one for each segment or record, and any failure leaves none, so
//! that whoever acts on them keeps the data.

use crate::attached::{Attached, Call};
use crate::calls;
use crate::columns::Columns;
use crate::contract_v0_1::RetentionExports;
use crate::error::CallError;
use crate::judgement::{Judgement, Progress, SegmentVerdict, SegmentView, Usage};
use crate::stats::StatsSnapshot;
use crate::topic::{Fields, Identity, Kind};
use crate::verdicts;

/// Segments of a partition, and groups that read it, of one call. Part of the contract.
const CALL_SEGMENTS_MAX: usize = 65_536;
/// Records of one call. The contract allows more; so many cost the call nothing, and leave a slow policy time for
/// each of them within `ottla.plugin.batch.time.ms`.
const CALL_RECORDS_MAX: usize = 4_096;
/// Bytes of all columns of one call, unless a single record is larger; small for the same reason.
const CALL_BYTES_MAX: usize = 1024 * 1024;

/// An attached retention policy. Calls may come from any thread; dropping it ends its instances.
pub struct Retention {
    attached: Attached<RetentionExports>,
}

impl Retention {
    pub(crate) fn new(attached: Attached<RetentionExports>) -> Retention {
        Retention { attached }
    }

    /// True if it judges whole segments, and is asked for those first.
    pub fn judges_segments(&self) -> bool {
        self.attached.template.compiled.kinds().contains(&Kind::RetainSegments)
    }

    /// True if it judges records: of the segments for which it answers `ask`, or of all where it does not judge
    /// segments.
    pub fn judges_records(&self) -> bool {
        self.attached.template.compiled.kinds().contains(&Kind::RetainRecords)
    }

    /// The parts of records that it reads; others need not be in the columns.
    pub fn fields(&self) -> Fields {
        self.attached.fields
    }

    pub fn identity(&self) -> &Identity {
        &self.attached.identity
    }

    /// Asks what becomes of a partition's segments, given oldest first. `now_ms` is the time in milliseconds since
    /// 1970. Blocks for up to twice `ottla.plugin.batch.time.ms`. A policy that does not judge segments is not asked:
    /// all of them are [`SegmentVerdict::Ask`].
    ///
    /// # Errors
    /// See [`CallError`]; nothing may be deleted then. More than 65,536 segments or groups are `Failed`.
    pub fn judge_segments(
        &self,
        usage: &Usage,
        segments: &[SegmentView],
        groups: &[Progress],
        now_ms: i64,
    ) -> Result<Vec<SegmentVerdict>, CallError> {
        if segments.is_empty() || !self.judges_segments() {
            return Ok(vec![SegmentVerdict::Ask; segments.len()]);
        }
        self.attached.call(0, |call| {
            let Call { instance, limits, .. } = call;
            for (count, what) in [(segments.len(), "segments"), (groups.len(), "groups")] {
                if count > CALL_SEGMENTS_MAX {
                    return Err(CallError::Failed(format!(
                        "the partition has {count} {what}, and a call has at most {CALL_SEGMENTS_MAX}"
                    )));
                }
            }
            let judged = instance.call(limits.batch_time_ms, |exports, store| {
                exports.judge_segments(store, usage, segments, groups, now_ms)
            });
            match judged {
                Ok(Some(answer)) => verdicts::judge_segments(answer, segments.len(), self.judges_records()),
                Ok(None) => Err(CallError::Failed("the component does not export retain-segments".into())),
                Err(error) => Err(calls::fault(&error, instance.context(), limits)),
            }
        })
    }

    /// Asks what becomes of records, in the order of their offsets. `now_ms` is the time in milliseconds since 1970;
    /// columns in [`Self::fields`] must be filled. Blocks for up to twice `ottla.plugin.batch.time.ms` per 4,096
    /// records or 1 MiB.
    ///
    /// # Errors
    /// See [`CallError`]; nothing may be erased then. A policy that does not judge records is `Failed`.
    pub fn judge_records(&self, columns: &Columns, now_ms: i64) -> Result<Judgement, CallError> {
        let mut judgement =
            Judgement { verdicts: Vec::with_capacity(columns.count as usize), again_ms: Some(i64::MAX) };
        if columns.count == 0 {
            return Ok(judgement);
        }
        self.attached.call(columns.count, |call| {
            let Call { instance, limits, .. } = call;
            if !columns.is_sound(self.attached.fields) {
                return Err(CallError::unsound_columns());
            }
            let mut rest = columns.view(self.attached.fields);
            while rest.count > 0 {
                let part = rest.split_call(CALL_RECORDS_MAX, CALL_BYTES_MAX);
                let judged = instance
                    .call(limits.batch_time_ms, |exports, store| exports.judge_records(store, &part, now_ms));
                match judged {
                    Ok(Some(answer)) => verdicts::judge_records(answer, &part, &mut judgement)?,
                    Ok(None) => {
                        return Err(CallError::Failed("the component does not export retain-records".into()));
                    }
                    Err(error) => return Err(calls::fault(&error, instance.context(), limits)),
                }
            }
            Ok(judgement)
        })
    }

    /// An error of this policy as a sentence that names plugin, version, topic and reason.
    pub fn describe(&self, error: &CallError) -> String {
        self.attached.describe(error)
    }

    pub fn stats(&self) -> StatsSnapshot {
        self.attached.stats()
    }
}
