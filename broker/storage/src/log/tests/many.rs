//! Thousands of partitions: what an empty one costs, and that open files do not grow with their number.

use std::process::Command;

use super::*;

const IN_CHILD: &str = "OTTLA_TEST_MANY_LOGS";
const LOGS: usize = 2_000;
/// Resident bytes that an empty log may take.
const EMPTY_LOG_BYTES_MAX: usize = 4_096;

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

fn open_files_in(dir: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter_map(|link| std::fs::read_link(link.ok()?.path()).ok())
        .filter(|path| path.starts_with(dir))
        .count()
}

/// Memory belongs to a whole process, so the test runs itself again alone, and with few descriptors.
#[test]
fn empty_partitions_are_cheap_and_descriptors_stay_bounded() {
    if let Ok(dir) = std::env::var(IN_CHILD) {
        return open_many(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "log::tests::many::empty_partitions_are_cheap_and_descriptors_stay_bounded";
    let status = Command::new("sh")
        .args(["-c", "ulimit -n 200; exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(IN_CHILD, dir.path())
        .status()
        .unwrap();
    assert!(status.success());
}

fn open_many(dir: &Path) {
    let path = |n: usize| dir.join(format!("t-{n}"));
    let mut logs = Vec::with_capacity(LOGS);
    drop(open_at(&path(0), LogConfig::default(), true, 0));
    let before = resident_bytes();
    for n in 0..LOGS {
        logs.push(open_at(&path(n), LogConfig::default(), true, 0).0);
    }
    let each = resident_bytes().saturating_sub(before) / LOGS;
    assert!(each <= EMPTY_LOG_BYTES_MAX, "{each} bytes for each log");
    assert_eq!(open_files_in(dir), 0, "an empty log opens nothing");
    let bytes = batch(1, 100, 1, None);
    for _ in 0..2 {
        for log in &mut logs {
            append(log, &bytes, 1);
        }
        assert!(open_files_in(dir) <= 100, "half of the process' limit");
    }
    assert!(logs.iter().all(|log| read_all(log).len() == 2));
}
