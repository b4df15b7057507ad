//! Cleaning of real folders: verdicts of every kind over batches of every kind, the swap with its crashes, and what must
//! survive both.

use ottla_model::batch::{Batches, Records, check_crc, records_area};

use super::*;
use crate::clean::{CleanError, Judge, JudgeError, OpenBatch, RecordVerdict, Unpaced};

/// Judges by the offset.
pub(super) struct ByOffset<F>(pub F);

impl<F: FnMut(i64) -> RecordVerdict> Judge for ByOffset<F> {
    fn judge(
        &mut self,
        batches: &[OpenBatch<'_>],
        verdicts: &mut Vec<RecordVerdict>,
    ) -> Result<(), JudgeError> {
        for batch in batches {
            for record in batch.records().map_err(JudgeError::new)? {
                let delta = record.map_err(JudgeError::new)?.offset_delta;
                verdicts.push(self.0(batch.header.base_offset + i64::from(delta)));
            }
        }
        Ok(())
    }
}

/// Offset, timestamp, key, value.
pub(super) type Seen = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// Every record of the log, and the headers of its batches, all of which are sound.
pub(super) fn records(log: &Log) -> (Vec<Seen>, Vec<Header>) {
    let (mut seen, mut headers) = (Vec::new(), Vec::new());
    let mut offset = log.start_offset();
    let mut bytes = Vec::new();
    while offset < log.end_offset() {
        log.read(offset, 1, i64::MAX, true).unwrap().read_into(&mut bytes).unwrap();
        let Some(first) = Batches::new(&bytes).next() else { break };
        let (header, batch) = first.unwrap();
        check_crc(batch).unwrap();
        let mut scratch = Vec::new();
        let area = records_area(batch, &mut scratch, Default::default()).unwrap();
        let mut newest = i64::MIN;
        for record in Records::new(area, header.record_count).unwrap() {
            let record = record.unwrap();
            let timestamp = header.base_timestamp + record.timestamp_delta;
            newest = newest.max(timestamp);
            let offset = header.base_offset + i64::from(record.offset_delta);
            assert!((header.base_offset..header.next_offset()).contains(&offset));
            seen.push((offset, timestamp, record.key.map(Vec::from), record.value.map(Vec::from)));
        }
        if header.record_count > 0 && !header.attributes.is_control() {
            assert_eq!(header.max_timestamp, newest);
        }
        assert!(headers.last().is_none_or(|last: &Header| last.next_offset() <= header.base_offset));
        headers.push(header);
        offset = header.next_offset();
    }
    (seen, headers)
}

fn log_of(dir: &Path, batches: i32) -> Log {
    let config = LogConfig { segment_bytes: 6_000, index_interval_bytes: 300, ..LogConfig::default() };
    let (mut log, _) = open_at(dir, config, false, 0);
    for number in 0..batches {
        let codec = Compression::ALL[number as usize % 5];
        let mut builder = Builder::new(codec).producer(Producer {
            id: i64::from(number % 3),
            epoch: 2,
            base_sequence: number / 3 * 4,
        });
        for record in 0..4 {
            let key = format!("key-{}", (number * 4 + record) % 17);
            let value = vec![number as u8; 60 + record as usize];
            builder
                .append(1_000 + i64::from(number * 10 - record), Some(key.as_bytes()), Some(&value), [])
                .unwrap();
        }
        append(&mut log, &builder.finish().unwrap(), 5_000);
    }
    log
}

fn clean(log: &mut Log, from: i64, to: i64, judge: &mut dyn Judge) -> crate::CleanReport {
    let task = log.prepare_clean(from, to).unwrap();
    let foreseen = task.survey(judge, &mut Unpaced).unwrap();
    let cleaned = task.run(judge, &mut Unpaced).unwrap();
    assert_eq!(cleaned.report(), foreseen, "a survey says what a run does");
    let report = log.complete_clean(cleaned, 7_000).unwrap();
    assert_eq!(report, foreseen);
    report
}

#[test]
fn verdicts_are_carried_out_and_everything_else_stays_also_after_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log_of(dir.path(), 200);
    let (before, headers_before) = records(&log);
    assert_eq!(before.len(), 800);
    let segments: Vec<SegmentInfo> = log.segments().collect();
    let verdict = |offset: i64| match offset {
        offset if offset >= 700 => RecordVerdict::Keep,
        offset if offset % 3 == 0 || (100..200).contains(&offset) => RecordVerdict::Erase,
        offset if offset % 7 == 1 => RecordVerdict::Tombstone,
        _ => RecordVerdict::Keep,
    };
    let report = clean(&mut log, 0, i64::MAX, &mut ByOffset(verdict));
    let closed = segments.last().unwrap().base_offset;
    let mut expected = before.clone();
    expected.retain_mut(|(offset, _, _, value)| {
        let verdict = if *offset < closed { verdict(*offset) } else { RecordVerdict::Keep };
        if verdict == RecordVerdict::Tombstone {
            *value = None;
        }
        verdict != RecordVerdict::Erase
    });
    let (after, headers) = records(&log);
    assert_eq!(after, expected);
    for header in &headers {
        let before = headers_before.iter().find(|before| before.base_offset == header.base_offset).unwrap();
        let fields = |header: &Header| {
            (
                header.last_offset_delta,
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
                header.partition_leader_epoch,
                header.base_timestamp.max(-1) * i64::from(header.record_count.min(1)),
            )
        };
        if header.record_count > 0 {
            assert_eq!(fields(header), fields(before));
            assert_eq!(header.attributes, before.attributes);
        }
    }
    assert_eq!(report.erased() as usize, before.len() - expected.len());
    assert_eq!(report.tombstoned() as usize, expected.iter().filter(|seen| seen.3.is_none()).count());
    assert_eq!(report.bytes_before() - report.bytes_after(), {
        let was: u64 = segments.iter().map(|segment| segment.size_bytes).sum();
        was - log.size_bytes()
    });
    let untouched = report.segments.iter().filter(|segment| !segment.rewritten).count();
    assert_eq!(untouched, segments.iter().filter(|one| !one.is_active && one.base_offset >= 700).count());
    assert_eq!(report.segments.iter().flat_map(|one| &one.changed).next(), Some(&(0, 2)));

    let ends = (log.start_offset(), log.end_offset());
    assert_eq!(ends, (0, 800));
    for clean in [true, false] {
        if clean {
            log.close_clean(8_000).unwrap();
        }
        drop(log);
        let (reopened, recovery) = open_at(dir.path(), LogConfig::default(), clean, 0);
        assert!(recovery.cuts.is_empty() && recovery.rebuilt.is_empty(), "{recovery:?}");
        assert_eq!(records(&reopened), (after.clone(), headers.clone()));
        log = reopened;
    }
    // The indexes of what was rewritten find every record.
    for (offset, ..) in &after {
        let slice = log.read(*offset, 1, i64::MAX, true).unwrap();
        let first = slice.first.unwrap();
        assert!((first.base_offset..first.next_offset()).contains(offset), "{offset}: {first:?}");
    }
}

#[test]
fn producers_and_lanes_outlive_the_erasure_of_all_that_they_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log_of(dir.path(), 60);
    let marked = Producer { id: (1 << 62) | (5 << 38), epoch: 1, base_sequence: 77 };
    append(&mut log, &batch(3, 50, 1, Some(marked)), 5_000);
    let after_lane = log.end_offset();
    log.roll(5_000).unwrap();
    let states = log.producers().clone();
    clean(&mut log, 0, i64::MAX, &mut ByOffset(|_| RecordVerdict::Erase));
    let (left, headers) = records(&log);
    assert_eq!(left, []);
    let kept: Vec<i64> = headers.iter().map(|header| header.producer_id).collect();
    assert!([0, 1, 2, marked.id].iter().all(|id| kept.contains(id)), "{kept:?}");
    assert!(headers.iter().all(|header| header.record_count == 0 && header.size() == 61));
    assert_eq!(log.end_offset(), after_lane);
    // Without a saved state the batches that are left must do.
    drop(log);
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|suffix| suffix == "snapshot" || suffix == "producers") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let (log, _) = open_at(dir.path(), LogConfig::default(), false, 0);
    assert_eq!(log.producers().lane(5), states.lane(5));
    for id in 0..3 {
        let last = |states: &ProducerStates| states.get(id).unwrap().last_sequence();
        assert_eq!(last(log.producers()), last(&states));
    }
}

#[test]
fn damage_ends_a_pass_and_is_not_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log_of(dir.path(), 60);
    let path = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 20;
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let task = log.prepare_clean(0, i64::MAX).unwrap();
    let result = task.run(&mut ByOffset(|_| RecordVerdict::Erase), &mut Unpaced);
    assert!(matches!(result, Err(CleanError::Storage(StorageError::Damaged { .. }))));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let left =
        std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.ends_with(".cleaned")).count(), 0, "a copy that is given up goes");
    let task = log.prepare_clean(1_000, i64::MAX).unwrap();
    assert!(task.is_empty());
    assert_eq!(log.complete_clean(task.run_batches(|_| true).unwrap(), 1).unwrap().segments, []);
}

#[test]
fn what_retention_took_meanwhile_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log_of(dir.path(), 200);
    let task = log.prepare_clean(0, i64::MAX).unwrap();
    let cleaned = task
        .run(
            &mut ByOffset(|offset| match offset % 2 {
                0 => RecordVerdict::Erase,
                _ => RecordVerdict::Keep,
            }),
            &mut Unpaced,
        )
        .unwrap();
    let second = log.segments().nth(1).unwrap().base_offset;
    log.advance_start(second).unwrap();
    log.delete_old_segments(6_000, i64::MAX).unwrap();
    let report = log.complete_clean(cleaned, 7_000).unwrap();
    assert_eq!(report.segments.first().map(|segment| segment.base_offset), Some(second));
    assert_eq!(log.start_offset(), second);
    assert!(!dir.path().join("00000000000000000000.log.cleaned").exists());
    let (left, _) = records(&log);
    assert_eq!(left.first().map(|seen| seen.0), Some(second + 1 - second % 2));
}

#[test]
fn whole_batches_are_forgotten_at_their_offsets_also_after_a_restart() {
    for clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log_of(dir.path(), 200);
        let (before, _) = records(&log);
        let segments: Vec<SegmentInfo> = log.segments().collect();
        let forget = |log: &mut Log, number: usize, keep: &dyn Fn(&Header) -> bool| {
            let SegmentInfo { base_offset, end_offset, .. } = segments[number];
            let task = log.prepare_clean(base_offset, end_offset).unwrap();
            log.complete_clean(task.run_batches(keep).unwrap(), 0).unwrap()
        };
        forget(&mut log, 1, &|header| header.base_offset % 3 == 0);
        let whole = forget(&mut log, 2, &|_| false);
        assert_eq!(whole.bytes_before() - whole.bytes_after(), segments[2].size_bytes);
        let kept = |seen: &&Seen| {
            let within =
                |number: usize| (segments[number].base_offset..segments[number].end_offset).contains(&seen.0);
            !within(2) && (!within(1) || (seen.0 / 4 * 4) % 3 == 0)
        };
        let expected: Vec<Seen> = before.iter().filter(kept).cloned().collect();
        let offsets = |seen: &[Seen]| seen.iter().map(|seen| seen.0).collect::<Vec<_>>();
        assert_eq!(offsets(&records(&log).0), offsets(&expected));
        if clean {
            log.close_clean(0).unwrap();
        }
        drop(log);
        let config = LogConfig { has_gaps: true, ..LogConfig::default() };
        let (log, recovery) = open_at(dir.path(), config, clean, 0);
        assert!(recovery.cuts.is_empty(), "{recovery:?}");
        assert_eq!((records(&log).0, log.end_offset()), (expected, 800));
    }
}
