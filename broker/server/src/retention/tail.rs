//! A look into the active segment, which the cleaning engine cannot copy while it is written to: what would a policy
//! erase there? A pass rolls the segment only if something would go; a dry run tells it. Writes nothing.

use ottla_model::batch::{BatchError, Batches, HEADER_BYTES, Header, Limit, check_crc, records_area};
use ottla_replication::{Isolation, Partition};
use ottla_storage::{ERASED_RANGES_MAX, Judge, OpenBatch, Pace, RecordVerdict};

use super::judge::PolicyJudge;
use super::report::{Failure, Outcome, SegmentOutcome};

/// Bytes read at once, unless a batch is larger.
const READ_BYTES: usize = 512 * 1024;

/// Judges what lies between `from` and the watermark. The freed bytes are an estimate: batches are not written anew.
///
/// # Errors
/// What ended the look: the policy, the disk, damage, or the pace.
pub fn look(
    partition: &Partition,
    from: i64,
    judge: &mut PolicyJudge<'_>,
    pace: &mut dyn Pace,
) -> Result<SegmentOutcome, Failure> {
    let mut seen = SegmentOutcome {
        base_offset: from,
        end_offset: from,
        active: true,
        outcome: Outcome::Judged,
        ..SegmentOutcome::default()
    };
    let (mut buffer, mut scratch) = (Vec::new(), Vec::new());
    loop {
        let read = partition.read(seen.end_offset, READ_BYTES, true, Isolation::ReadUncommitted);
        let read = read.map_err(|error| Failure::new("storage", error))?;
        if read.slice.len == 0 {
            return Ok(seen);
        }
        pace.take(read.slice.len as u64).map_err(|stopped| Failure::new("stopped", stopped))?;
        buffer.clear();
        read.slice.read_into(&mut buffer).map_err(|error| Failure::new("storage", error))?;
        for batch in Batches::new(&buffer) {
            let (header, bytes) = batch.map_err(|error| damaged(partition, seen.end_offset, &error))?;
            look_at(&header, bytes, &mut scratch, judge, &mut seen)
                .map_err(|wrong| wrong.told(partition, header.base_offset))?;
            seen.end_offset = header.next_offset();
        }
    }
}

/// Why a batch could not be judged.
enum Wrong {
    Policy(Failure),
    Batch(BatchError),
}

impl From<BatchError> for Wrong {
    fn from(error: BatchError) -> Wrong {
        Wrong::Batch(error)
    }
}

impl Wrong {
    fn told(self, partition: &Partition, offset: i64) -> Failure {
        match self {
            Wrong::Policy(failure) => failure,
            Wrong::Batch(error) => damaged(partition, offset, &error),
        }
    }
}

fn look_at(
    header: &Header,
    bytes: &[u8],
    scratch: &mut Vec<u8>,
    judge: &mut PolicyJudge<'_>,
    seen: &mut SegmentOutcome,
) -> Result<(), Wrong> {
    check_crc(bytes)?;
    seen.bytes += bytes.len() as u64;
    if header.attributes.is_control() || header.record_count == 0 {
        return Ok(());
    }
    let records = records_area(bytes, scratch, Limit::default())?;
    let batch = OpenBatch { header, records };
    let mut verdicts = Vec::new();
    if let Err(error) = judge.judge(&[batch], &mut verdicts) {
        let failure = judge.take_failure().unwrap_or_else(|| Failure::new("failed", error));
        return Err(Wrong::Policy(failure));
    }
    seen.records += u64::from(header.record_count.unsigned_abs());
    let (mut gone, mut all) = (0, 0);
    for (record, verdict) in batch.records()?.zip(&verdicts) {
        let record = record?;
        let value = record.value.map_or(0, <[u8]>::len) as u64;
        let whole = value + record.key.map_or(0, <[u8]>::len) as u64;
        all += whole;
        match verdict {
            RecordVerdict::Keep => continue,
            RecordVerdict::Erase => {
                seen.erased_records += 1;
                gone += whole;
            }
            // As the engine has it: what has no value stays as it is.
            RecordVerdict::Tombstone if record.value.is_none() => continue,
            RecordVerdict::Tombstone => {
                seen.tombstoned_records += 1;
                gone += value;
            }
        }
        note(&mut seen.offsets, header.base_offset + i64::from(record.offset_delta));
    }
    let size = (bytes.len() - HEADER_BYTES) as u64;
    seen.freed_bytes += (size * gone).checked_div(all).unwrap_or(0);
    Ok(())
}

fn note(ranges: &mut Vec<(i64, i64)>, offset: i64) {
    let is_full = ranges.len() >= ERASED_RANGES_MAX;
    match ranges.last_mut() {
        Some((_, end)) if *end == offset || is_full => *end = offset + 1,
        _ => ranges.push((offset, offset + 1)),
    }
}

fn damaged(partition: &Partition, offset: i64, error: &BatchError) -> Failure {
    Failure::new("damaged", format!("{} at offset {offset}: {error}", partition.topic_partition()))
}
