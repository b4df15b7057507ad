//! Logs in real folders: what is appended is read back, by the same log and after it is opened again.

mod bounds;
mod clean;
mod compaction;
mod faults;
mod flips;
mod many;
mod model;
mod power_loss;
mod restarts;

use std::io::IoSlice;

use ottla_model::batch::{Builder, Compression, Header, Producer};

use super::*;

/// A batch of `count` records of `bytes` bytes each, stamped `timestamp`, `timestamp + 1`, and so on.
pub(super) fn batch(count: i32, bytes: usize, timestamp: i64, producer: Option<Producer>) -> Vec<u8> {
    let mut builder = Builder::new(Compression::None);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for number in 0..count {
        let value = vec![number as u8; bytes];
        builder.append(timestamp + i64::from(number), Some(b"key"), Some(&value), []).unwrap();
    }
    builder.finish().unwrap()
}

fn append(log: &mut Log, bytes: &[u8], now_ms: i64) -> AppendInfo {
    let header = Header::parse(bytes).unwrap();
    // In two slices, cut within the header, as frames arrive.
    let (one, other) = bytes.split_at(30);
    log.append(&header, &[IoSlice::new(one), IoSlice::new(other)], Assign::next(3), now_ms).unwrap()
}

pub(super) fn open_at(dir: &Path, config: LogConfig, clean: bool, recovery_point: i64) -> (Log, Recovery) {
    Log::open(dir, config, Open { clean, recovery_point, log_start: 0, now_ms: 1_000_000 }).unwrap()
}

fn read_all(log: &Log) -> Vec<(i64, Vec<u8>)> {
    let mut all = Vec::new();
    let mut offset = log.start_offset();
    let mut bytes = Vec::new();
    while offset < log.end_offset() {
        log.read(offset, 1, i64::MAX, true).unwrap().read_into(&mut bytes).unwrap();
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(header.partition_leader_epoch, 3);
        ottla_model::batch::check_crc(&bytes).unwrap();
        all.push((header.base_offset, bytes[12 + 4..].to_vec()));
        offset = header.next_offset();
    }
    all
}

#[test]
fn what_is_appended_is_read_back_also_after_a_clean_and_an_unclean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 20_000, ..LogConfig::default() };
    let (mut log, recovery) = open_at(dir.path(), config, false, 0);
    assert!(recovery.cuts.is_empty());
    let mut expected = Vec::new();
    for n in 0..200 {
        let bytes = batch(1 + n % 7, 10 + (n as usize * 37) % 900, 1_000 + i64::from(n), None);
        let info = append(&mut log, &bytes, 5_000);
        expected.push((info.base_offset, bytes[16..].to_vec()));
    }
    assert!(log.segments().count() > 5);
    assert_eq!(read_all(&log), expected);
    drop(log);

    let (mut log, recovery) = open_at(dir.path(), config, false, 0);
    assert_eq!((recovery.cuts.len(), recovery.checked_batches), (0, 200));
    assert_eq!(read_all(&log), expected);
    log.close_clean(6_000).unwrap();

    let (log, recovery) = open_at(dir.path(), config, true, 0);
    assert_eq!((recovery.checked_batches, recovery.replayed_batches), (0, 0));
    assert_eq!(read_all(&log), expected);
}

#[test]
fn a_torn_tail_is_cut_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open_at(dir.path(), LogConfig::default(), false, 0);
    let bytes = batch(3, 500, 1, None);
    for _ in 0..4 {
        append(&mut log, &bytes, 1);
    }
    drop(log);
    let path = dir.path().join("00000000000000000000.log");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(bytes.len() as u64 * 4 - 10).unwrap();
    let (log, recovery) = open_at(dir.path(), LogConfig::default(), false, 0);
    let cut = &recovery.cuts[0];
    assert_eq!((cut.path.as_path(), cut.position, cut.offset), (path.as_path(), bytes.len() as u64 * 3, 9));
    assert_eq!(cut.bytes, bytes.len() as u64 - 10);
    assert_eq!(log.end_offset(), 9);
    assert_eq!(read_all(&log).len(), 3);
}

/// Leaves a folder for Kafka's own dump tool, where `OTTLA_DUMP_DIR` says:
/// `kafka-dump-log --files DIR/*.log --deep-iteration --index-sanity-check`, and so on for the other files.
#[test]
#[ignore = "makes a folder to be read by another tool"]
fn a_folder_for_kafkas_dump_tool() {
    let dir = std::env::var("OTTLA_DUMP_DIR").expect("OTTLA_DUMP_DIR names the folder to make");
    let dir = Path::new(&dir);
    let config = LogConfig { segment_bytes: 200_000, retention_bytes: 900_000, ..LogConfig::default() };
    let (mut log, _) = open_at(dir, config, false, 0);
    for n in 0..400 {
        let producer = Producer { id: i64::from(n % 3), epoch: 0, base_sequence: n / 3 * 4 };
        append(
            &mut log,
            &batch(4, 300 + (n as usize * 37) % 900, 1_000 + i64::from(n % 50) * 3, Some(producer)),
            5_000,
        );
        if n == 350 {
            log.delete_old_segments(6_000, i64::MAX).unwrap();
        }
    }
    drop(log);
    let last = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let last = last.filter(|path| path.extension().is_some_and(|suffix| suffix == "log")).max().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&last).unwrap();
    file.set_len(file.metadata().unwrap().len() - 100).unwrap();
    let (mut log, recovery) = open_at(dir, config, false, 0);
    assert_eq!(recovery.cuts.len(), 1);
    append(&mut log, &batch(4, 300, 9_000, None), 5_000);
    log.close_clean(7_000).unwrap();
}
