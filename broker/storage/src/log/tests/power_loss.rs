//! What a power loss may leave of files that were not synced, one case each: recovery takes what is whole, and nothing
//! that is synced depends on what is not. `power_loss` of the replication crate tries them at random.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::disk::hooks::{Change, Hook, install};
use crate::names::file_name;

fn config() -> LogConfig {
    LogConfig { segment_bytes: 3_000, index_interval_bytes: 200, retention_ms: -1, ..LogConfig::default() }
}

/// A log of some segments of ten batches with two records each; all of it unflushed.
fn filled(dir: &Path) -> (Log, Vec<i64>) {
    let (mut log, _) = open_at(dir, config(), false, 0);
    for n in 0..60 {
        append(&mut log, &batch(2, 100, 1_000 + n, None), 1);
    }
    let bases: Vec<i64> = log.segments().map(|segment| segment.base_offset).collect();
    assert!(bases.len() > 4);
    (log, bases)
}

fn offsets(log: &Log) -> Vec<i64> {
    read_all(log).into_iter().map(|(offset, _)| offset).collect()
}

#[test]
fn what_follows_a_lost_segment_is_cut() {
    for is_empty in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (log, bases) = filled(dir.path());
        drop(log);
        let lost = dir.path().join(file_name(bases[2], "log"));
        match is_empty {
            true => std::fs::write(lost, []).unwrap(),
            false => std::fs::remove_file(lost).unwrap(),
        }
        let (log, recovery) = open_at(dir.path(), config(), false, bases[1]);
        assert_eq!(offsets(&log), (0..bases[2]).step_by(2).collect::<Vec<_>>());
        assert_eq!(recovery.cuts.len(), bases.len() - 3);
        assert!(recovery.cuts.iter().all(|cut| cut.offset == bases[2]), "{recovery:?}");
    }
}

#[test]
fn a_deleted_segment_that_comes_back_alone_takes_nothing_along() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, bases) = filled(dir.path());
    let bytes = log.segments().skip(3).map(|segment| segment.size_bytes as i64).sum();
    log.set_config(LogConfig { retention_bytes: bytes, ..config() });
    assert_eq!(log.delete_old_segments(1, i64::MAX).unwrap().segments, 3);
    let kept = offsets(&log);
    drop(log);
    for suffix in ["log", "index", "timeindex"] {
        let path = dir.path().join(file_name(bases[1], suffix));
        std::fs::rename(path.with_extension(format!("{suffix}.deleted")), path).unwrap();
    }
    let (log, recovery) = open_at(dir.path(), config(), false, 0);
    assert!(recovery.cuts.is_empty(), "{recovery:?}");
    assert_eq!((log.start_offset(), offsets(&log)), (bases[3], kept));
}

#[test]
fn an_epoch_checkpoint_that_is_lost_is_made_again_from_the_first_batch_on() {
    for content in [None, Some([0; 8])] {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = filled(dir.path());
        log.flush(1).unwrap();
        let point = log.recovery_point();
        drop(log);
        let path = dir.path().join("leader-epoch-checkpoint");
        match content {
            None => std::fs::remove_file(path).unwrap(),
            Some(zeros) => std::fs::write(path, zeros).unwrap(),
        }
        let (log, _) = open_at(dir.path(), config(), false, point);
        assert_eq!(log.epochs().entries(), [crate::EpochEntry { epoch: 3, start_offset: 0 }]);
    }
}

#[test]
fn kafkas_half_of_a_producer_state_does_not_hide_what_the_other_half_knew() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open_at(dir.path(), config(), false, 0);
    let lane = ottla_model::ids::FORWARDED_PRODUCER_ID_BIT | 5 << 38;
    append(&mut log, &batch(2, 100, 1, Some(Producer { id: lane, epoch: 0, base_sequence: 4 })), 1);
    log.save_producers().unwrap();
    drop(log);
    std::fs::remove_file(dir.path().join(file_name(2, "producers"))).unwrap();
    assert!(dir.path().join(file_name(2, "snapshot")).exists());
    let (log, _) = open_at(dir.path(), config(), false, 0);
    assert_eq!(log.producers().lane(5).map(|mark| mark.base_sequence), Some(4));
}

#[test]
fn the_index_of_the_segment_in_which_the_last_flush_ended_is_looked_over() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open_at(dir.path(), config(), false, 0);
    for n in 0..9 {
        append(&mut log, &batch(2, 100, 1_000 + n, None), 1);
    }
    log.flush(1).unwrap();
    let (base, point) = (log.roll(1).unwrap(), log.recovery_point());
    assert_eq!(base, point);
    append(&mut log, &batch(2, 100, 500, None), 1);
    drop(log);
    for (suffix, entry_bytes) in [("index", 8), ("timeindex", 12)] {
        let file =
            std::fs::OpenOptions::new().write(true).open(dir.path().join(file_name(0, suffix))).unwrap();
        file.set_len(entry_bytes).unwrap();
    }
    let (log, _) = open_at(dir.path(), config(), false, point);
    assert_eq!(log.newest_timestamp().map(|newest| newest.timestamp), Some(1_009));
}

/// Remembers which names of a folder were changed since it was synced last.
struct Names {
    dir: PathBuf,
    unsynced: Mutex<Vec<PathBuf>>,
}

impl Hook for Names {
    fn before(&self, _change: &Change<'_>) -> std::io::Result<()> {
        Ok(())
    }

    fn after(&self, change: &Change<'_>) {
        let changed = match *change {
            Change::Create(path) | Change::Remove(path) | Change::Rename { to: path, .. } => path,
            Change::SyncDir(dir) if *dir == self.dir => return self.unsynced.lock().clear(),
            _ => return,
        };
        if changed.parent() == Some(&self.dir) {
            self.unsynced.lock().push(changed.to_owned());
        }
    }
}

#[test]
fn the_first_segment_and_what_a_truncation_removes_are_on_the_disk_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let names = Arc::new(Names { dir: dir.path().to_owned(), unsynced: Mutex::default() });
    let installed = install(names.clone());
    let is_data = |path: &&PathBuf| path.to_string_lossy().contains(".log");
    drop(open_at(dir.path(), config(), false, 0));
    assert_eq!(names.unsynced.lock().iter().filter(is_data).count(), 0, "of a new log");
    let (mut log, bases) = filled(dir.path());
    log.save_producers().unwrap();
    log.truncate_to(bases[1] + 2, 1).unwrap();
    assert_eq!(*names.unsynced.lock(), Vec::<PathBuf>::new(), "of a truncation");
    drop(installed);
}
