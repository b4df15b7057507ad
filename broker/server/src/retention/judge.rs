//! A policy as the judge of the cleaning engine: batches become columns of the fields that it reads, and its verdicts
//! those of the engine. What it promised about the future, and why it failed, is kept for the pass.

use ottla_model::batch::{BatchError, TimestampType};
use ottla_plugin_host::{CallError, Columns, RecordVerdict as Said, Retention};
use ottla_storage::{Judge, JudgeError, OpenBatch, RecordVerdict};

use super::report::Failure;

/// Asks a policy.
pub struct PolicyJudge<'a> {
    retention: &'a Retention,
    now_ms: i64,
    columns: Columns,
    /// No verdict since the last [`Self::take_again`] changes before then; `None` promises nothing.
    again_ms: Option<i64>,
    failure: Option<Failure>,
}

impl<'a> PolicyJudge<'a> {
    pub fn new(retention: &'a Retention, now_ms: i64) -> PolicyJudge<'a> {
        PolicyJudge { retention, now_ms, columns: Columns::new(), again_ms: Some(i64::MAX), failure: None }
    }

    /// The promise about all that was judged since the last call.
    pub fn take_again(&mut self) -> Option<i64> {
        self.again_ms.replace(i64::MAX)
    }

    /// Why the policy did not answer.
    pub fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    fn fill(&mut self, batches: &[OpenBatch<'_>]) -> Result<(), BatchError> {
        let fields = self.retention.fields();
        self.columns.clear();
        for batch in batches {
            let header = batch.header;
            let appended = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
            for record in batch.records()? {
                let record = record?;
                let timestamp_ms = match appended {
                    true => header.max_timestamp,
                    false => header.base_timestamp.wrapping_add(record.timestamp_delta),
                };
                let headers = record.headers.iter().map(|header| (header.key, header.value));
                self.columns.push_record(fields, timestamp_ms, record.key, record.value, headers);
            }
        }
        Ok(())
    }

    fn failed(&mut self, failure: Failure) -> JudgeError {
        let error = JudgeError::new(failure.message.clone());
        self.failure = Some(failure);
        error
    }
}

impl Judge for PolicyJudge<'_> {
    fn judge(
        &mut self,
        batches: &[OpenBatch<'_>],
        verdicts: &mut Vec<RecordVerdict>,
    ) -> Result<(), JudgeError> {
        if let Err(error) = self.fill(batches) {
            return Err(self.failed(Failure::new("damaged", error)));
        }
        let judgement = match self.retention.judge_records(&self.columns, self.now_ms) {
            Ok(judgement) => judgement,
            Err(error) => {
                let failure = Failure::new(reason(&error), self.retention.describe(&error));
                return Err(self.failed(failure));
            }
        };
        if judgement.verdicts.contains(&Said::Tombstone)
            && let Some(index) = keyless_tombstone(batches, &judgement.verdicts)
        {
            let message = format!("it makes a tombstone of record {index} of a call, which has no key");
            let error = self.retention.describe(&CallError::BadAnswer(message));
            return Err(self.failed(Failure::new("bad-answer", error)));
        }
        verdicts.extend(judgement.verdicts.into_iter().map(|said| match said {
            Said::Keep => RecordVerdict::Keep,
            Said::Erase => RecordVerdict::Erase,
            Said::Tombstone => RecordVerdict::Tombstone,
        }));
        self.again_ms = self.again_ms.zip(judgement.again_ms).map(|(one, other)| one.min(other));
        Ok(())
    }
}

/// The first record without a key that is to lose its value: nobody could tell what it is a tombstone of.
fn keyless_tombstone(batches: &[OpenBatch<'_>], verdicts: &[Said]) -> Option<usize> {
    let records = batches.iter().filter_map(|batch| batch.records().ok()).flatten();
    let has_no_key =
        records.map(|record| record.is_ok_and(|record| record.key.is_none() && record.value.is_some()));
    has_no_key.zip(verdicts).position(|(has_no_key, said)| has_no_key && *said == Said::Tombstone)
}

/// A call's failure as metrics count it.
pub fn reason(error: &CallError) -> &'static str {
    match error {
        CallError::Rejected(_) | CallError::Failed(_) => "failed",
        CallError::Trap(_) => "trap",
        CallError::Timeout => "timeout",
        CallError::BadAnswer(_) => "bad-answer",
        CallError::BreakerOpen { .. } => "breaker-open",
        CallError::Busy => "busy",
    }
}
