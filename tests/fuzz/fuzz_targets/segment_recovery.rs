//! A folder of segments, indexes, producer states and epochs, opened as after a crash or a clean stop: it opens, it is
//! whole, and what it left opens again without a further loss and as the same log. Then it takes a batch.
#![no_main]

use std::io::IoSlice;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::folder::{self, How};
use ottla_model::batch::{Batches, Builder, Compression, Header, crc};
use ottla_storage::{
    Assign, EpochEntry, Log, LogConfig, Open, ProducerStates, Recovery, SegmentInfo, StorageError,
    TimestampedOffset,
};

const NOW_MS: i64 = 1_700_000_000_000;
/// A read yields so much at once, so that a log is read in several.
const READ_BYTES: usize = 300;
const READS_MAX: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((how, files)) = folder::decode(bytes) else { return };
    let home = folder_in_memory();
    folder::write(home.path(), how, &files, |bytes| crc(&[bytes])).expect("the disk takes small files");

    let (log, recovery) = open(home.path(), how);
    let found = Found::of(&log);
    read_all(&log);
    let how = How { log_start: log.start_offset(), recovery_point: log.recovery_point(), ..how };
    drop(log);
    let (log, again) = open(home.path(), how);
    assert!(again.cuts.is_empty() && again.rebuilt.is_empty(), "{recovery:?} left {again:?}");
    assert_eq!(found, Found::of(&log));
    grow(home.path(), log);
});

fn folder_in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    tempfile::tempdir_in(place).expect("a folder can be made")
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 2000,
        index_interval_bytes: 150,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

fn open(dir: &Path, how: How) -> (Log, Recovery) {
    let How { clean, log_start, recovery_point, .. } = how;
    let open = Open { clean, recovery_point, log_start, now_ms: NOW_MS };
    Log::open(dir, config(), open).expect("damage is no error")
}

/// All that a log knows of itself.
#[derive(Debug, PartialEq)]
struct Found {
    start: i64,
    end: i64,
    segments: Vec<SegmentInfo>,
    epochs: Vec<EpochEntry>,
    producers: ProducerStates,
    newest: Result<Option<TimestampedOffset>, String>,
    since: Result<Option<TimestampedOffset>, String>,
}

impl Found {
    fn of(log: &Log) -> Found {
        assert!(log.start_offset() <= log.end_offset());
        assert!((log.start_offset()..=log.end_offset()).contains(&log.recovery_point()));
        let text = |error: StorageError| error.to_string();
        let mut found = Found {
            start: log.start_offset(),
            end: log.end_offset(),
            segments: log.segments().collect(),
            epochs: log.epochs().entries().to_vec(),
            producers: log.producers().clone(),
            newest: log.max_timestamp().map_err(text),
            since: log.offset_for_timestamp(NOW_MS).map_err(text),
        };
        if !is_sound(log) {
            found.forget_times();
        }
        found
    }

    /// Where damage lies below the recovery point, how much of the timestamps is seen depends on where a walk began.
    fn forget_times(&mut self) {
        self.segments.iter_mut().for_each(|segment| segment.max_timestamp = -1);
        (self.newest, self.since) = (Ok(None), Ok(None));
    }
}

/// Whether all files of the log hold batches in the order of their offsets, and nothing else.
fn is_sound(log: &Log) -> bool {
    log.segments().all(|segment| {
        let path = log.dir().join(format!("{:020}.log", segment.base_offset));
        let bytes = std::fs::read(path).expect("a segment can be read");
        let mut next = segment.base_offset;
        Batches::new(&bytes).all(|batch| {
            batch.is_ok_and(|(header, _)| {
                let ascends = header.last_offset_delta >= 0 && header.base_offset >= next;
                next = header.next_offset();
                ascends && next <= segment.end_offset
            })
        })
    })
}

/// Reads from the start on. A log that was not checked may hold damage, and says so.
fn read_all(log: &Log) {
    let (mut offset, mut bytes) = (log.start_offset(), Vec::new());
    for _ in 0..READS_MAX {
        let Ok(slice) = log.read(offset, READ_BYTES, log.end_offset(), true) else { return };
        let Some(first) = slice.first else { return };
        slice.read_into(&mut bytes).expect("what a slice covers can be read");
        assert!(first.next_offset() > offset, "a read that asks for {offset} finds it or what follows");
        offset = first.next_offset();
    }
}

/// Appends, cuts the end off again, and closes; what was appended is there until it is cut.
fn grow(dir: &Path, mut log: Log) {
    let mut builder = Builder::new(Compression::None);
    builder.append(NOW_MS, Some(b"key"), Some(b"value"), []).expect("a small record");
    let batch = builder.finish().expect("a small batch");
    let header = Header::parse(&batch).expect("it was just built");
    let end = log.end_offset();
    let epoch = log.epochs().latest().map_or(0, |latest| latest.epoch);
    for _ in 0..2 {
        // An offset at the end of all numbers has no room behind it.
        let Ok(info) = log.append(&header, &[IoSlice::new(&batch)], Assign::next(epoch), NOW_MS) else {
            return;
        };
        assert_eq!(info.last_offset + 1, log.end_offset());
    }
    let slice =
        log.read(end, READ_BYTES, log.end_offset(), true).expect("what was just appended can be read");
    assert_eq!(slice.first.map(|first| first.base_offset), Some(end));
    log.close_clean(NOW_MS).expect("the disk takes small files");
    let found = Found::of(&log);
    let how =
        How { clean: true, log_start: found.start, recovery_point: log.recovery_point(), ..How::default() };
    drop(log);
    let (mut log, recovery) = open(dir, how);
    assert_eq!(found, Found::of(&log), "{recovery:?}");
    if let Ok(cut) = log.truncate_to(end, NOW_MS) {
        assert_eq!(cut, end);
        assert_eq!(log.end_offset(), end);
    }
}
