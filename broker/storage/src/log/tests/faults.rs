//! What the disk may do to a log: run full in mid-write, flip bits, lose indexes. Nothing here may crash, and nothing
//! that was acknowledged may change.

use std::process::Command;

use super::*;

/// Set in the child that runs under a limit of file sizes.
const UNDER_LIMIT: &str = "OTTLA_TEST_UNDER_FILE_LIMIT";

/// A file that cannot grow makes a write end in its middle: the kernel takes a part and refuses the rest. The limit
/// holds for a whole process, so the test runs itself again under it.
#[test]
fn a_write_that_ends_in_its_middle_is_undone_and_the_log_goes_on() {
    if let Ok(dir) = std::env::var(UNDER_LIMIT) {
        return append_until_refused(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::faults::a_write_that_ends_in_its_middle_is_undone_and_the_log_goes_on";
    // Through pipes: the limit would hold for a file behind standard output too.
    let output = Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 40; exec \"$0\" --exact \"$1\"")
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(UNDER_LIMIT, dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let (mut log, recovery) = open_at(dir.path(), LogConfig::default(), false, 0);
    assert!(recovery.cuts.is_empty(), "{recovery:?}");
    let end = log.end_offset();
    assert!(end > 0);
    append(&mut log, &batch(3, 3_000, 1, None), 1);
    assert_eq!(read_all(&log).last().unwrap().0, end);
}

fn append_until_refused(dir: &Path) {
    let (mut log, _) = open_at(dir, LogConfig::default(), false, 0);
    let bytes = batch(3, 1_000, 1, None);
    let header = Header::parse(&bytes).unwrap();
    let producers = log.producers().clone();
    for _ in 0..1_000 {
        let (end, size) = (log.end_offset(), log.size_bytes());
        if let Err(error) = log.append(&header, &[IoSlice::new(&bytes)], Assign::next(3), 1) {
            assert!(size > 0 && matches!(error, StorageError::DiskFull { .. }), "{error}");
            assert_eq!((log.end_offset(), log.size_bytes()), (end, size));
            assert_eq!(std::fs::metadata(dir.join("00000000000000000000.log")).unwrap().len(), size);
            assert_eq!(log.producers().len(), producers.len());
            assert_eq!(read_all(&log).len() as i64, end / 3);
            // A smaller one still fits.
            append(&mut log, &batch(1, 1, 1, None), 1);
            return;
        }
    }
    panic!("the limit was never met");
}

/// A log of a few segments, cleanly closed, with the files' names.
fn closed_log(dir: &Path) -> (LogConfig, usize) {
    let config = LogConfig { segment_bytes: 3_000, index_interval_bytes: 200, ..LogConfig::default() };
    let (mut log, _) = open_at(dir, config, false, 0);
    for n in 0..40 {
        append(&mut log, &batch(2, 50, 1_000 + n, None), 1);
    }
    let batches = read_all(&log).len();
    log.close_clean(2).unwrap();
    (config, batches)
}

#[test]
fn a_damaged_or_missing_side_file_costs_no_data() {
    let pattern = tempfile::tempdir().unwrap();
    closed_log(pattern.path());
    let names: Vec<_> =
        std::fs::read_dir(pattern.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    for name in names.iter().filter(|name| !name.to_string_lossy().ends_with(".log")) {
        // A damaged half of a producer state takes the other along.
        let dir = tempfile::tempdir().unwrap();
        let (config, batches) = closed_log(dir.path());
        let path = &dir.path().join(name);
        let sound = std::fs::read(path).unwrap();
        let mut damages: Vec<Option<Vec<u8>>> =
            vec![None, Some(Vec::new()), Some(vec![0xff; sound.len() + 3])];
        for at in (0..sound.len()).step_by(7) {
            let mut flipped = sound.clone();
            flipped[at] ^= 0x81;
            damages.push(Some(flipped));
            damages.push(Some(sound[..at].to_vec()));
        }
        for damage in damages {
            for clean in [true, false] {
                match &damage {
                    None => std::fs::remove_file(path).unwrap_or_default(),
                    Some(bytes) => std::fs::write(path, bytes).unwrap(),
                }
                let (log, recovery) = open_at(dir.path(), config, clean, 0);
                assert!(recovery.cuts.is_empty(), "{}: {recovery:?}", path.display());
                assert_eq!(read_all(&log).len(), batches, "{}", path.display());
                assert_eq!(log.epochs().epoch_at(70), Some(3), "{}", path.display());
                assert_eq!(
                    log.offset_for_timestamp(1_030).unwrap().unwrap().offset,
                    59,
                    "{}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn flipped_bits_in_data_never_crash_and_recovery_cuts_at_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (config, batches) = closed_log(dir.path());
    let path = dir.path().join("00000000000000000000.log");
    let sound = std::fs::read(&path).unwrap();
    let size = Header::parse(&sound).unwrap().size();
    let copy = tempfile::tempdir().unwrap();
    for at in (0..sound.len()).step_by(13) {
        for file in std::fs::read_dir(copy.path()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        std::fs::write(copy.path().join("00000000000000000000.log"), &damaged).unwrap();
        let (log, _) = open_at(copy.path(), config, true, 0);
        for offset in (0..log.end_offset()).step_by(11) {
            let _ = log.read(offset, 1 << 20, i64::MAX, true);
            let _ = log.offset_for_timestamp(1_000 + offset);
        }
        drop(log);
        let (log, recovery) = open_at(copy.path(), config, false, 0);
        // Base offset and epoch are not under the CRC.
        if at % size >= 16 {
            assert_eq!(recovery.cuts[0].position, (at - at % size) as u64, "byte {at}");
            assert_eq!(log.end_offset() as usize, at / size * 2);
            assert!(recovery.cuts.len() > 1, "what lies behind the cut is said too");
        }
        assert!(log.end_offset() as usize <= batches * 2);
    }
}

#[test]
fn a_failed_sync_takes_the_log_offline_and_leaves_reads_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open_at(dir.path(), LogConfig::default(), false, 0);
    append(&mut log, &batch(1, 10, 1, None), 1);
    log.flush_failed(&StorageError::io("sync", dir.path(), std::io::Error::other("the disk is gone")));
    let bytes = batch(1, 10, 1, None);
    let header = Header::parse(&bytes).unwrap();
    let refused = log.append(&header, &[IoSlice::new(&bytes)], Assign::next(3), 1);
    assert!(matches!(refused, Err(StorageError::Offline { .. })));
    assert!(matches!(log.flush(1), Err(StorageError::Offline { .. })));
    assert_eq!(read_all(&log).len(), 1);
}
