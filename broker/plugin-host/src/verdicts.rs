//! Judges what a retention policy answers, as `calls` does for partitioners: verdicts leave only where each segment or
//! record has exactly one that the contract knows.

use crate::calls::REASON_BYTES_MAX;
use crate::columns::View;
use crate::contract_v0_1::{RawJudgement, RawSegmentVerdict, RawVerdict, RawVerdicts};
use crate::error::CallError;
use crate::judgement::{Judgement, RecordVerdict, SegmentVerdict};
use crate::log::cut;
use crate::topic::Fields;

/// Checks an answer about `count` segments. `ask` is right only if the component `has_records`.
pub(crate) fn judge_segments(
    answer: Result<Vec<RawSegmentVerdict>, String>,
    count: usize,
    has_records: bool,
) -> Result<Vec<SegmentVerdict>, CallError> {
    let verdicts = answer.map_err(failed)?;
    if verdicts.len() != count {
        return Err(CallError::BadAnswer(format!("it judged {} segments of {count}", verdicts.len())));
    }
    if !has_records && let Some(index) = verdicts.iter().position(|raw| *raw == RawSegmentVerdict::Ask) {
        return Err(CallError::BadAnswer(format!(
            "it answered `ask` for segment {index}, and the component does not export retain-records"
        )));
    }
    let known = |raw| match raw {
        RawSegmentVerdict::Keep => SegmentVerdict::Keep,
        RawSegmentVerdict::Delete => SegmentVerdict::Delete,
        RawSegmentVerdict::Ask => SegmentVerdict::Ask,
    };
    Ok(verdicts.into_iter().map(known).collect())
}

/// Checks an answer about the records of `view` and appends it to the judgement of those before them.
pub(crate) fn judge_records(
    answer: Result<RawJudgement, String>,
    view: &View<'_>,
    judgement: &mut Judgement,
) -> Result<(), CallError> {
    let answer = answer.map_err(failed)?;
    let count = view.count;
    let verdicts = &mut judgement.verdicts;
    let before = verdicts.len();
    match answer.verdicts {
        RawVerdicts::All(raw) => verdicts.resize(verdicts.len() + count as usize, known(raw)),
        RawVerdicts::Each(each) => {
            if each.len() != count as usize {
                return Err(CallError::BadAnswer(format!("it judged {} records of {count}", each.len())));
            }
            // One pass without a branch per record; which one is wrong is looked up only when one is.
            if each.iter().copied().fold(0, u8::max) > RawVerdict::Tombstone as u8 {
                let index = each.iter().position(|&code| code > RawVerdict::Tombstone as u8).unwrap_or(0);
                return Err(CallError::BadAnswer(format!(
                    "its verdict on record {index} is {}; it must be 0 (keep), 1 (erase) or 2 (tombstone)",
                    each[index]
                )));
            }
            verdicts.extend(each.into_iter().map(coded));
        }
    }
    if view.fields.contains(Fields::KEYS)
        && let Some(index) = keyless_tombstone(view.keys.lengths, &verdicts[before..])
    {
        return Err(CallError::BadAnswer(format!(
            "it made a tombstone of record {index}, which has no key that could stay"
        )));
    }
    judgement.again_ms = match (judgement.again_ms, answer.again_ms) {
        (Some(before), Some(again)) => Some(before.min(again)),
        _ => None,
    };
    Ok(())
}

/// The first record that shall keep a key and has none; lengths of -1 are null.
fn keyless_tombstone(key_lengths: &[i32], verdicts: &[RecordVerdict]) -> Option<usize> {
    let mut records = key_lengths.iter().zip(verdicts);
    records.position(|(length, verdict)| *length < 0 && *verdict == RecordVerdict::Tombstone)
}

fn failed(reason: String) -> CallError {
    CallError::Failed(cut(&reason, REASON_BYTES_MAX).to_owned())
}

fn known(raw: RawVerdict) -> RecordVerdict {
    match raw {
        RawVerdict::Keep => RecordVerdict::Keep,
        RawVerdict::Erase => RecordVerdict::Erase,
        RawVerdict::Tombstone => RecordVerdict::Tombstone,
    }
}

#[inline]
fn coded(code: u8) -> RecordVerdict {
    match code {
        1 => RecordVerdict::Erase,
        2 => RecordVerdict::Tombstone,
        _ => RecordVerdict::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Columns;

    use RawSegmentVerdict as Raw;
    use RecordVerdict::{Erase, Keep, Tombstone};

    fn records(parts: Vec<(RawVerdicts, Option<i64>)>, counts: &[u32]) -> Result<Judgement, CallError> {
        let mut judgement = Judgement { verdicts: Vec::new(), again_ms: Some(i64::MAX) };
        for ((verdicts, again_ms), count) in parts.into_iter().zip(counts) {
            let view = View { count: *count, ..View::default() };
            judge_records(Ok(RawJudgement { verdicts, again_ms }), &view, &mut judgement)?;
        }
        Ok(judgement)
    }

    #[test]
    fn segments_have_one_verdict_each_and_ask_only_where_somebody_answers() {
        use SegmentVerdict::{Ask, Delete, Keep};
        let all = || Ok(vec![Raw::Delete, Raw::Ask, Raw::Keep]);
        assert_eq!(judge_segments(all(), 3, true), Ok(vec![Delete, Ask, Keep]));
        for (answer, count, has_records, word) in [
            (all(), 3, false, "`ask` for segment 1"),
            (all(), 2, true, "3 segments of 2"),
            (all(), 4, true, "3 segments of 4"),
        ] {
            match judge_segments(answer, count, has_records) {
                Err(CallError::BadAnswer(reason)) => assert!(reason.contains(word), "{reason}"),
                other => panic!("{word}: {other:?}"),
            }
        }
        assert_eq!(judge_segments(Err("no".into()), 3, true), Err(CallError::Failed("no".into())));
    }

    #[test]
    fn parts_join_and_the_earliest_time_counts() {
        let parts = |again| {
            vec![(RawVerdicts::Each(vec![0, 1, 2]), Some(70)), (RawVerdicts::All(RawVerdict::Erase), again)]
        };
        let all = vec![Keep, Erase, Tombstone, Erase, Erase];
        for (again, joined) in [(Some(50), Some(50)), (Some(90), Some(70)), (None, None)] {
            let expected = Judgement { verdicts: all.clone(), again_ms: joined };
            assert_eq!(records(parts(again), &[3, 2]), Ok(expected));
        }
    }

    #[test]
    fn a_record_without_a_key_becomes_no_tombstone() {
        let mut columns = Columns::new();
        for key in [Some(&b"a"[..]), None] {
            columns.push_key(key);
        }
        let judge = |codes| {
            let mut judgement = Judgement { verdicts: vec![Erase; 3], again_ms: None };
            let answer = RawJudgement { verdicts: RawVerdicts::Each(codes), again_ms: None };
            judge_records(Ok(answer), &columns.view(Fields::KEYS), &mut judgement)
        };
        assert_eq!(judge(vec![2, 1]), Ok(()));
        let wrong = judge(vec![2, 2]);
        assert!(
            matches!(&wrong, Err(CallError::BadAnswer(reason)) if reason.contains("record 1")),
            "{wrong:?}"
        );
    }

    #[test]
    fn wrong_answers_are_named() {
        for (codes, word) in [
            (vec![0; 2], "2 records of 3"),
            (vec![0; 4], "4 records of 3"),
            (vec![0, 3, 0], "record 1 is 3"),
            (vec![0, 0, 255], "record 2 is 255"),
        ] {
            match records(vec![(RawVerdicts::Each(codes), None)], &[3]) {
                Err(CallError::BadAnswer(reason)) => assert!(reason.contains(word), "{reason}"),
                other => panic!("{word}: {other:?}"),
            }
        }
    }
}
