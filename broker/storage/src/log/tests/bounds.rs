//! When a segment ends and when it goes, each rule at its exact boundary: what still fits does not roll, and one byte,
//! one millisecond or one entry more does.

use super::*;

/// What one batch of one record of 100 bytes takes.
const BATCH_BYTES: u32 = 173;

fn plain() -> LogConfig {
    LogConfig {
        segment_ms: i64::MAX,
        retention_ms: -1,
        retention_bytes: -1,
        index_interval_bytes: 1 << 30,
        ..LogConfig::default()
    }
}

fn log_of(config: LogConfig) -> (tempfile::TempDir, Log) {
    let dir = tempfile::tempdir().unwrap();
    let log = open_at(dir.path(), config, true, 0).0;
    (dir, log)
}

/// Appends one batch of one record and says whether that began a segment.
fn rolls(log: &mut Log, timestamp: i64, now_ms: i64) -> bool {
    let bytes = batch(1, 100, timestamp, None);
    assert_eq!(bytes.len(), BATCH_BYTES as usize);
    append(log, &bytes, now_ms).rolled
}

#[test]
fn a_segment_is_filled_to_its_last_byte() {
    let (_dir, mut log) = log_of(LogConfig { segment_bytes: 3 * BATCH_BYTES, ..plain() });
    let rolled: Vec<bool> = (0..7).map(|n| rolls(&mut log, n, 0)).collect();
    assert_eq!(rolled, [false, false, false, true, false, false, true]);
    let (_dir, mut log) = log_of(LogConfig { segment_bytes: 3 * BATCH_BYTES - 1, ..plain() });
    let rolled: Vec<bool> = (0..4).map(|n| rolls(&mut log, n, 0)).collect();
    assert_eq!(rolled, [false, false, true, false]);
}

/// By the timestamps of the records, as in Kafka: the broker's clock counts for batches without one.
#[test]
fn a_segment_ages_by_its_first_batch() {
    let (_dir, mut log) = log_of(LogConfig { segment_ms: 1_000, ..plain() });
    assert!(!rolls(&mut log, 5_000, 0));
    assert!(!rolls(&mut log, 6_000, 99_000_000), "exactly segment.ms, whatever the clock says");
    assert!(rolls(&mut log, 6_001, 0), "one more");
    assert!(!rolls(&mut log, 7_001, 0), "the next one is counted from its own first batch");
    assert!(!rolls(&mut log, 3_000, 0), "an older one does not end it");

    let (_dir, mut log) = log_of(LogConfig { segment_ms: 1_000, ..plain() });
    // The log was opened when the clock stood at 1,000,000.
    assert!(!rolls(&mut log, -1, 1_001_000));
    assert!(!rolls(&mut log, -1, 1_001_000));
    assert!(rolls(&mut log, -1, 1_001_001));
}

#[test]
fn jitter_takes_off_less_than_it_says_and_not_the_same_from_each_segment() {
    let config = LogConfig { segment_ms: 10_000, segment_jitter_ms: 4_000, ..plain() };
    let mut ages = std::collections::BTreeSet::new();
    let (_dir, mut log) = log_of(config);
    let mut first = 0;
    assert!(!rolls(&mut log, first, 0));
    for _ in 0..8 {
        let age = (6_000..10_002).find(|age| rolls(&mut log, first + age, 0)).unwrap();
        assert!((6_002..=10_001).contains(&age), "{age}");
        ages.insert(age);
        first += age;
    }
    assert!(ages.len() > 4, "{ages:?}");
}

#[test]
fn an_index_that_is_full_ends_its_segment() {
    // An entry for each batch but the first of a segment.
    let every = LogConfig { index_interval_bytes: 0, ..plain() };
    let until_rolled = |config: LogConfig, stamped: bool| {
        let (_dir, mut log) = log_of(config);
        (0..200).position(|n| rolls(&mut log, if stamped { n } else { -1 }, 0)).unwrap()
    };
    // Room for ten entries of 8 bytes: the eleventh batch brings the tenth.
    assert_eq!(until_rolled(LogConfig { segment_index_bytes: 80, ..every }, false), 11);
    assert_eq!(until_rolled(LogConfig { segment_index_bytes: 87, ..every }, false), 11);
    assert_eq!(until_rolled(LogConfig { segment_index_bytes: 88, ..every }, false), 12);
    // Of 12 bytes, one of them kept for the segment's end.
    assert_eq!(until_rolled(LogConfig { segment_index_bytes: 120, ..every }, true), 10);
}

#[test]
fn a_segment_goes_when_it_is_older_than_retention_ms_and_not_before() {
    let config = LogConfig { segment_bytes: 2 * BATCH_BYTES, retention_ms: 1_000, ..plain() };
    let (_dir, mut log) = log_of(config);
    // Three segments, whose newest batches are of 10, 30 and 40; the last one is the active one.
    for timestamp in [5, 10, 30, 20, 40] {
        rolls(&mut log, timestamp, 0);
    }
    let mut delete = |now_ms: i64, watermark: i64| log.delete_old_segments(now_ms, watermark).unwrap();
    assert_eq!(delete(1_010, 5).segments, 0, "exactly retention.ms");
    assert_eq!(delete(1_011, 1).segments, 0, "it ends above the watermark");
    assert_eq!((delete(1_011, 5).log_start, delete(1_030, 5).segments), (2, 0));
    assert_eq!(delete(1_031, 4).log_start, 4);
    assert_eq!(delete(1_040, 5).segments, 0);
    assert_eq!(delete(1_041, 5).log_start, 5, "the active segment too");
    assert_eq!(delete(i64::MAX, 5).segments, 0, "an empty one stays");
    assert_eq!((log.start_offset(), log.end_offset(), log.size_bytes()), (5, 5, 0));
    rolls(&mut log, 50, 0);
    assert_eq!((log.start_offset(), log.end_offset()), (5, 6), "offsets go on");
}

#[test]
fn as_many_segments_go_as_leave_no_less_than_retention_bytes() {
    let two = 2 * BATCH_BYTES;
    let kept = |retention_bytes: i64| {
        let config = LogConfig { segment_bytes: two, retention_bytes, ..plain() };
        let (_dir, mut log) = log_of(config);
        for n in 0..7 {
            rolls(&mut log, n, 0);
        }
        log.delete_old_segments(0, 7).unwrap();
        log.size_bytes() / u64::from(BATCH_BYTES)
    };
    let bytes = |batches: u32| i64::from(batches * BATCH_BYTES);
    assert_eq!([kept(bytes(7)), kept(bytes(5) + 1), kept(bytes(5))], [7, 7, 5]);
    assert_eq!([kept(bytes(3) + 1), kept(bytes(3)), kept(bytes(1))], [5, 3, 1]);
    assert_eq!([kept(1), kept(0)], [1, 0], "the active segment goes as well where nothing is to stay");
}

#[test]
fn a_changed_config_holds_from_the_next_look_on() {
    let (_dir, mut log) = log_of(plain());
    assert!(!rolls(&mut log, 1, 0));
    assert!(!rolls(&mut log, 2, 0));
    log.set_config(LogConfig { segment_bytes: 2 * BATCH_BYTES, ..plain() });
    assert!(rolls(&mut log, 3, 0));
    log.set_config(LogConfig { retention_ms: 0, file_delete_delay_ms: 100, ..plain() });
    assert_eq!(log.delete_old_segments(10, 3).unwrap().segments, 2);
    assert!(log.take_deleted(109).is_empty(), "readers have file.delete.delay.ms");
    assert!(!log.take_deleted(110).is_empty());
}
