//! A log is the same after a restart, and after another one, whatever stood in its folder.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::*;

fn reopen(log: Log, log_start: i64) -> Log {
    let dir = log.dir().to_path_buf();
    drop(log);
    let open = Open { clean: false, recovery_point: 0, log_start, now_ms: 1_000_000 };
    let config = LogConfig { has_gaps: true, ..LogConfig::default() };
    Log::open(&dir, config, open).unwrap().0
}

/// A log whose first segment kept the one batch at `kept` of those that it had; the second one's base offset.
fn rewritten(dir: &Path, kept: i64) -> (Log, i64) {
    let config = LogConfig { segment_bytes: 8_000, ..LogConfig::default() };
    let (mut log, _) = open_at(dir, config, false, 0);
    while log.segments().count() < 3 {
        append(&mut log, &batch(3, 500, 1, None), 1);
    }
    let second = log.segments().nth(1).unwrap().base_offset;
    let task = log.prepare_clean(0, second).unwrap();
    let copy = task.run_batches(|header| header.base_offset == kept).unwrap();
    log.complete_clean(copy, 1).unwrap();
    (log, second)
}

#[test]
fn an_end_within_a_gap_stands_after_a_restart() {
    for (kept, behind_start) in [(0, false), (3, false), (3, true)] {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, second) = rewritten(dir.path(), kept);
        let wanted = if behind_start { kept } else { second - 1 };
        assert_eq!(log.truncate_to(wanted, 1).unwrap(), wanted);
        let start = log.start_offset();
        let mut log = reopen(log, 0);
        assert_eq!((log.start_offset(), log.end_offset()), (start, wanted), "{kept} {behind_start}");
        append(&mut log, &batch(3, 500, 1, None), 1);
        assert_eq!(read_all(&log).last().unwrap().0, wanted, "no offset is given twice");
    }
}

#[test]
fn the_epoch_of_batches_that_are_deleted_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open_at(dir.path(), LogConfig::default(), false, 0);
    append(&mut log, &batch(3, 500, 1, None), 1);
    for _ in 0..3 {
        log = reopen(log, 9);
        assert_eq!((log.start_offset(), log.end_offset()), (9, 9));
        assert_eq!(log.epochs().entries(), [crate::EpochEntry { epoch: 3, start_offset: 9 }]);
    }
}

#[test]
fn a_checkpoint_that_does_not_know_the_last_batchs_epoch_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open_at(dir.path(), LogConfig::default(), false, 0);
    append(&mut log, &batch(3, 500, 1, None), 1);
    append(&mut log, &batch(3, 500, 1, None), 1);
    drop(log);
    std::fs::write(dir.path().join("leader-epoch-checkpoint"), "0\n2\n1 0\n3 64\n").unwrap();
    let (log, recovery) = open_at(dir.path(), LogConfig::default(), false, 0);
    assert_eq!(recovery.rebuilt.len(), 1, "{recovery:?}");
    assert_eq!(log.epochs().entries(), [crate::EpochEntry { epoch: 3, start_offset: 0 }]);
    drop(log);
    let (_, recovery) = open_at(dir.path(), LogConfig::default(), false, 0);
    assert!(recovery.rebuilt.is_empty(), "{recovery:?}");
}

#[test]
fn an_epoch_that_only_a_replay_finds_begins_at_the_start_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 1_000, ..LogConfig::default() };
    let (mut log, _) = open_at(dir.path(), config, false, 0);
    append(&mut log, &batch(3, 500, 1, None), 1);
    append(&mut log, &batch(3, 500, 1, None), 1);
    drop(log);
    // The epoch of a batch, which no checksum covers, in a segment that was synced and lies below the start.
    let file = OpenOptions::new().write(true).open(dir.path().join("00000000000000000000.log")).unwrap();
    file.write_all_at(&9i32.to_be_bytes(), 12).unwrap();
    std::fs::remove_file(dir.path().join("00000000000000000003.snapshot")).unwrap();
    let mut found = Vec::new();
    for _ in 0..2 {
        let open = Open { clean: true, recovery_point: 6, log_start: 3, now_ms: 1_000_000 };
        let (log, _) = Log::open(dir.path(), config, open).unwrap();
        found.push(log.epochs().entries().to_vec());
    }
    assert_eq!(found[0], found[1]);
}

#[test]
fn an_index_whose_entries_do_not_grow_is_made_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { index_interval_bytes: 1, ..LogConfig::default() };
    let (mut log, _) = open_at(dir.path(), config, false, 0);
    for _ in 0..6 {
        append(&mut log, &batch(3, 500, 1, None), 1);
    }
    log.close_clean(1).unwrap();
    drop(log);
    let path = dir.path().join("00000000000000000000.index");
    let sound = std::fs::read(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"deleted!", 8).unwrap();
    let (mut log, _) = open_at(dir.path(), config, true, 18);
    log.close_clean(1).unwrap();
    assert!(std::fs::read(&path).unwrap() == sound);
}

#[test]
fn a_batch_whose_offsets_lie_outside_its_segment_tells_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 2_000, ..LogConfig::default() };
    let (mut log, _) = open_at(dir.path(), config, false, 0);
    let by = |sequence| batch(1, 500, 1, Some(Producer { id: 7, epoch: 0, base_sequence: sequence }));
    let size = by(0).len() as u64;
    for sequence in 0..6 {
        append(&mut log, &by(sequence), 1);
    }
    assert!(log.segments().count() > 1);
    log.close_clean(1).unwrap();
    let end = log.end_offset();
    drop(log);
    // No CRC covers the base offset. Without saved states, every batch is replayed.
    let first = OpenOptions::new().write(true).open(dir.path().join("00000000000000000000.log")).unwrap();
    first.write_all_at(&(1i64 << 50).to_be_bytes(), size).unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|suffix| suffix == "snapshot" || suffix == "producers") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let (log, _) = open_at(dir.path(), config, true, end);
    assert_eq!((log.end_offset(), log.producers().end_offset()), (end, end));
    assert!(log.producers().get(7).unwrap().window().iter().all(|one| one.last_offset < end));
}

#[test]
fn a_restart_walks_only_what_came_after_the_last_saved_producers() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 8_000, ..LogConfig::default() };
    let (mut log, _) = open_at(dir.path(), config, false, 0);
    let mut since_roll = 0;
    for n in 0..300 {
        let producer = Producer { id: i64::from(n % 7), epoch: 0, base_sequence: n / 7 };
        let rolled = append(&mut log, &batch(1, 300, 1, Some(producer)), 1).rolled;
        since_roll = if rolled { 1 } else { since_roll + 1 };
    }
    let (expected, point) = (log.producers().clone(), log.flush(1).unwrap().upto());
    drop(log);
    let (mut log, recovery) = open_at(dir.path(), config, false, point);
    assert_eq!(recovery.replayed_batches, since_roll);
    let windows = |states: &ProducerStates| {
        let mut all: Vec<_> = states.iter().map(|one| (one.producer_id, one.window().to_vec())).collect();
        all.sort_by_key(|one| one.0);
        all
    };
    assert_eq!(windows(log.producers()), windows(&expected));
    // In between, the upkeep saves them too.
    log.save_producers().unwrap();
    drop(log);
    assert_eq!(open_at(dir.path(), config, false, point).1.replayed_batches, 0);
}
