//! Judges what comes back from a call: wasmtime's errors become reasons that an operator can act on, and answers
//! become placements only if they are right. `attach` and `partitioner` ask it after each call.

use wasmtime::Trap;

use crate::contract_v0_1::{Answer, RawFailure, RawPlacement, RawRejection};
use crate::error::{CallError, Rejection};
use crate::guest::Context;
use crate::limits::Limits;
use crate::log::cut;
use crate::placement::Placement;

/// A reason that a plugin gives is cut to this; it travels in Kafka responses.
pub(crate) const REASON_BYTES_MAX: usize = 1024;
/// Rejections of one batch that are passed on; a client needs the first few.
const REJECTIONS_MAX: usize = 1000;

/// What a wasmtime error of a call means.
pub(crate) fn fault(error: &wasmtime::Error, context: Context, limits: &Limits) -> CallError {
    let mut reason = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => return CallError::Timeout,
        Some(Trap::StackOverflow) => "it called itself until the stack was full".to_owned(),
        Some(Trap::UnreachableCodeReached) => "it panicked (reached `unreachable`)".to_owned(),
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => return bad_answer(error, &context, limits),
    };
    explain(&mut reason, &context, limits);
    CallError::Trap(reason)
}

fn bad_answer(error: &wasmtime::Error, context: &Context, limits: &Limits) -> CallError {
    let text = format!("{error:#}");
    if text.contains("fuel") {
        let limit = limits.result_bytes;
        return CallError::BadAnswer(format!(
            "it returned or logged more than {limit} bytes at once (ottla.plugin.result.bytes)"
        ));
    }
    let mut reason = cut(&text, REASON_BYTES_MAX).to_owned();
    explain(&mut reason, context, limits);
    CallError::BadAnswer(reason)
}

fn explain(reason: &mut String, context: &Context, limits: &Limits) {
    if context.memory_refused {
        let limit = limits.memory_bytes;
        *reason += &format!(", after it was refused more than {limit} bytes (ottla.plugin.memory.bytes)");
    }
    if let Some(last) = &context.last_error {
        *reason += &format!("; its last words: {last}");
    }
}

/// The message of a call error, with the limit that it ran into.
pub(crate) fn detailed(error: &CallError, limits: &Limits) -> String {
    match error {
        CallError::Timeout => {
            format!("it took longer than {} ms (ottla.plugin.batch.time.ms)", limits.batch_time_ms)
        }
        CallError::Busy => {
            format!("all of its {} instances were busy (ottla.plugin.instances)", limits.instances)
        }
        other => other.to_string(),
    }
}

/// Checks an answer about `count` records of a topic with `partitions` partitions.
#[inline]
pub(crate) fn judge(answer: Answer, count: u32, partitions: u32) -> Result<Placement, CallError> {
    match answer {
        Ok(RawPlacement::Stay) => Ok(Placement::Stay),
        Ok(RawPlacement::All(partition)) => {
            check_range(partition, partitions)?;
            Ok(Placement::All(partition))
        }
        Ok(RawPlacement::Each(each)) => judge_each(each, count, partitions),
        Err(RawFailure::Failed(reason)) => Err(CallError::Failed(cut(&reason, REASON_BYTES_MAX).to_owned())),
        Err(RawFailure::Rejected(rejections)) => Err(judge_rejections(rejections, count)),
    }
}

fn check_range(partition: u32, partitions: u32) -> Result<(), CallError> {
    if partition < partitions {
        return Ok(());
    }
    Err(CallError::BadAnswer(format!(
        "it named partition {partition}, and the topic has {partitions} (0 to {})",
        partitions.saturating_sub(1)
    )))
}

fn judge_each(each: Vec<u32>, count: u32, partitions: u32) -> Result<Placement, CallError> {
    if each.len() != count as usize {
        return Err(CallError::BadAnswer(format!("it placed {} records of {count}", each.len())));
    }
    // One pass without a branch per record; which one is wrong is looked up only when one is.
    let largest = each.iter().copied().fold(0, u32::max);
    check_range(largest, partitions)?;
    match each.first() {
        Some(&first) if each.iter().all(|&partition| partition == first) => Ok(Placement::All(first)),
        _ => Ok(Placement::Each(each)),
    }
}

fn judge_rejections(rejections: Vec<RawRejection>, count: u32) -> CallError {
    if rejections.is_empty() {
        return CallError::BadAnswer("it rejected the batch and named no record".into());
    }
    let ascending = rejections.windows(2).all(|pair| pair[0].record_index < pair[1].record_index);
    let last = rejections[rejections.len() - 1].record_index;
    if !ascending {
        return CallError::BadAnswer("it rejected records out of order, or one of them twice".into());
    }
    if last >= count {
        return CallError::BadAnswer(format!("it rejected record {last} of {count}"));
    }
    let passed_on = rejections.into_iter().take(REJECTIONS_MAX);
    CallError::Rejected(
        passed_on
            .map(|raw| Rejection {
                record_index: raw.record_index,
                reason: cut(&raw.reason, REASON_BYTES_MAX).to_owned(),
            })
            .collect(),
    )
}

/// Appends the placement of `count` further records.
pub(crate) fn join(whole: &mut Vec<u32>, part: Placement, count: u32, client: u32) {
    match part {
        Placement::Stay => whole.resize(whole.len() + count as usize, client),
        Placement::All(partition) => whole.resize(whole.len() + count as usize, partition),
        Placement::Each(each) => whole.extend(each),
    }
}

/// The placement of a whole batch that was asked for in parts.
pub(crate) fn joined(whole: Vec<u32>, client: u32) -> Placement {
    match whole.first() {
        Some(&first) if whole.iter().all(|&partition| partition == first) => {
            if first == client {
                Placement::Stay
            } else {
                Placement::All(first)
            }
        }
        _ => Placement::Each(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_answers_are_named() {
        let rejected = |indexes: &[u32]| {
            let reason = String::from("bad");
            let of = |&record_index: &u32| RawRejection { record_index, reason: reason.clone() };
            Err(RawFailure::Rejected(indexes.iter().map(of).collect()))
        };
        for (answer, word) in [
            (Ok(RawPlacement::All(3)), "partition 3"),
            (Ok(RawPlacement::Each(vec![0])), "1 records of 2"),
            (Ok(RawPlacement::Each(vec![0, 1, 2])), "3 records of 2"),
            (Ok(RawPlacement::Each(vec![0, u32::MAX])), "partition 4294967295"),
            (rejected(&[]), "named no record"),
            (rejected(&[1, 0]), "out of order"),
            (rejected(&[1, 1]), "twice"),
            (rejected(&[0, 2]), "record 2 of 2"),
        ] {
            match judge(answer, 2, 3) {
                Err(CallError::BadAnswer(reason)) => assert!(reason.contains(word), "{reason}"),
                other => panic!("{word}: {other:?}"),
            }
        }
    }

    #[test]
    fn right_answers_pass() {
        assert_eq!(judge(Ok(RawPlacement::Stay), 2, 3), Ok(Placement::Stay));
        assert_eq!(judge(Ok(RawPlacement::All(2)), 2, 3), Ok(Placement::All(2)));
        assert_eq!(judge(Ok(RawPlacement::Each(vec![2, 0])), 2, 3), Ok(Placement::Each(vec![2, 0])));
        assert_eq!(judge(Ok(RawPlacement::Each(vec![2, 2])), 2, 3), Ok(Placement::All(2)));
    }

    #[test]
    fn parts_join_into_the_smallest_form() {
        let mut whole = Vec::new();
        join(&mut whole, Placement::Stay, 2, 7);
        assert_eq!(joined(whole.clone(), 7), Placement::Stay);
        join(&mut whole, Placement::All(1), 1, 7);
        join(&mut whole, Placement::Each(vec![3, 4]), 2, 7);
        assert_eq!(joined(whole, 7), Placement::Each(vec![7, 7, 1, 3, 4]));
        assert_eq!(joined(vec![5, 5], 7), Placement::All(5));
    }
}
