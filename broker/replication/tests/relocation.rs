//! A partition that moves into another folder while it is written to: log and lane arrive whole, whatever is appended,
//! flushed and forwarded meanwhile, and either folder is a whole replica at the moment of the swap.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_replication::{Partition, PartitionConfig, Relocation, RelocationStep};
use support::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Copies in small steps, with `between` called after each; the swap leaves the original under another name.
fn relocate(partition: &Arc<Partition>, future: &Path, mut between: impl FnMut(usize)) -> PathBuf {
    std::fs::create_dir(future).unwrap();
    let mut relocation = Relocation::new(future.to_path_buf());
    for number in 0.. {
        match partition.relocation_step(&mut relocation, 2_000).unwrap().0 {
            RelocationStep::CaughtUp => break,
            RelocationStep::Copied { .. } => between(number),
            RelocationStep::Closed => panic!("the partition is open"),
        }
    }
    let (from, to) = (future.with_file_name("t-0"), future.with_file_name("moved-0"));
    let left = from.with_file_name("left");
    let moved = partition.relocate(relocation, |copy| {
        std::fs::rename(copy, &to).unwrap();
        std::fs::rename(&from, &left).unwrap();
        Ok(to.clone())
    });
    assert!(moved.unwrap());
    to
}

fn config() -> PartitionConfig {
    let mut config = PartitionConfig::default();
    config.log.segment_bytes = 5_000;
    config
}

#[tokio::test]
async fn a_partition_moves_with_its_lane_while_it_is_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 2, config(), true);
    let (partition, other) = (topic.partition(0), topic.partition(1));
    let value = "v".repeat(200);
    let mut sequence = 0;
    let mut write = |count: usize| {
        let mut waits = Vec::new();
        for _ in 0..count {
            // Later ones queue behind those that are in the lane.
            let decision =
                ((20..150).contains(&sequence) && sequence % 3 == 0).then(|| moves(&[1])).flatten();
            waits.push(append(&partition, &batch(from(5, sequence), &[&value]), decision).committed);
            sequence += 1;
        }
        waits
    };
    // The forwarder has not run yet: nothing awaits.
    let mut waits = write(150);
    topic.set_away(1, true);
    assert!(partition.lane_status().unwrap().unresolved_batches > 100);
    let to = relocate(&partition, &dir.path().join("future"), |number| {
        if number < 10 {
            waits.extend(write(10));
        }
    });
    waits.extend(write(20));
    topic.set_away(1, false);
    for wait in waits {
        wait.wait(PATIENCE).await.unwrap();
    }
    assert_eq!(values(&partition).len() + values(&other).len(), sequence as usize);
    assert!(to.join("lane").is_dir());
    let (log_start, recovery_point) = partition.checkpoint();
    assert_eq!(log_start, 0);
    assert!(recovery_point > 0, "what was copied was synced");

    // The next start finds everything in the new folder, after a crash as well.
    let expected = values(&partition);
    topic.stop();
    std::fs::remove_dir_all(dir.path().join("left")).unwrap();
    std::fs::rename(&to, dir.path().join("t-0")).unwrap();
    let (topic, recoveries) = Topic::open_with(dir.path(), 2, config(), true, false);
    assert!(recoveries.iter().all(|recovery| recovery.log.cuts.is_empty()), "{recoveries:?}");
    assert_eq!(values(&topic.partition(0)), expected);
    let again = append(&topic.partition(0), &batch(from(5, sequence - 1), &[&value]), None);
    assert!(again.is_duplicate, "the producer is known");
}

#[tokio::test]
async fn what_was_left_behind_is_whole_too_and_answers_that_wait_for_a_flush_come() {
    let dir = tempfile::tempdir().unwrap();
    let mut flushing = config();
    flushing.log.flush_messages = 1;
    let topic = Topic::open(dir.path(), 1, flushing, true);
    let partition = topic.partition(0);
    let value = "v".repeat(200);
    let mut waits = Vec::new();
    let mut sequence = 0;
    let mut write = |waits: &mut Vec<_>| {
        waits.push(append(&partition, &batch(from(5, sequence), &[&value]), None).committed);
        sequence += 1;
    };
    (0..100).for_each(|_| write(&mut waits));
    relocate(&partition, &dir.path().join("future"), |number| {
        if number < 50 {
            write(&mut waits);
        }
    });
    let expected = values(&partition);
    write(&mut waits);
    for wait in waits {
        wait.wait(PATIENCE).await.unwrap();
    }
    assert_eq!(partition.checkpoint().1, partition.log_end());
    topic.stop();
    std::fs::rename(dir.path().join("left"), dir.path().join("t-0")).unwrap();
    let (topic, recoveries) = Topic::open_with(dir.path(), 1, flushing, true, false);
    assert!(recoveries[0].log.cuts.is_empty(), "{recoveries:?}");
    assert_eq!(values(&topic.partition(0)), expected);
}

#[tokio::test]
async fn a_partition_that_is_gone_moves_nowhere_and_a_failed_swap_leaves_it_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 1, config(), true);
    let partition = topic.partition(0);
    append(&partition, &batch(from(5, 0), &["a"]), None);
    let future = dir.path().join("future");
    std::fs::create_dir(&future).unwrap();
    let mut relocation = Relocation::new(future.clone());
    while partition.relocation_step(&mut relocation, 1 << 20).unwrap().0 != RelocationStep::CaughtUp {}
    let failed = partition.relocate(relocation, |_| {
        Err(ottla_storage::StorageError::BadBatch("the renaming failed".to_owned()))
    });
    assert!(failed.is_err());
    std::fs::remove_dir_all(&future).unwrap();
    append(&partition, &batch(from(5, 1), &["b"]), None);
    assert_eq!(values(&partition), ["a", "b"]);

    std::fs::create_dir(&future).unwrap();
    let mut relocation = Relocation::new(future);
    partition.resign();
    assert_eq!(partition.relocation_step(&mut relocation, 1 << 20).unwrap().0, RelocationStep::Closed);
    assert!(!partition.relocate(relocation, |_| panic!("nothing is renamed")).unwrap());
}

/// The folder of a deleted topic has another name, and a new topic may have one of the old name: whoever still holds the
/// partition must not write there, nor take missing files for a failed disk.
#[tokio::test]
async fn a_partition_that_has_ended_touches_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut flushing = config();
    flushing.log.flush_ms = 1_000;
    flushing.log.retention_bytes = 0;
    let topic = Topic::open(dir.path(), 2, flushing, false);
    let partition = topic.partition(0);
    let value = "v".repeat(200);
    for sequence in 0..60 {
        let decision = (sequence > 50).then(|| moves(&[1])).flatten();
        append(&partition, &batch(from(5, sequence), &[&value]), decision);
    }
    partition.resign();
    let folder = dir.path().join("t-0");
    std::fs::rename(&folder, dir.path().join("t-0.deleted")).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let later = NOW_MS + 10_000;
    partition.flush(later).unwrap();
    partition.save_producers().unwrap();
    partition.roll(later).unwrap();
    partition.tick(later).unwrap();
    assert!(partition.begin_clean().is_none());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    partition.read_failed(std::io::ErrorKind::NotFound.into());
    assert!(!partition.is_offline(), "the disk has not failed");
}
