//! What a topic that asks for flushes gets: answers, forwards and deletions that wait for the disk, of log and lane
//! alike.

mod support;

use std::time::Duration;

use ottla_replication::{Acks, PartitionConfig};
use support::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn config() -> PartitionConfig {
    PartitionConfig::default()
}

#[tokio::test]
async fn a_flush_that_is_asked_for_comes_before_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut flushing = config();
    flushing.log.flush_messages = 1;
    let topic = Topic::open(dir.path(), 2, flushing, true);
    let partition = topic.partition(0);
    let answers: Vec<_> =
        (0..20).map(|n| append(&partition, &batch(from(5, n), &["a"]), None).committed).collect();
    for answer in answers {
        answer.wait(PATIENCE).await.unwrap();
    }
    assert_eq!(partition.checkpoint().1, 20, "the recovery point");
    let moved = append(&partition, &batch(from(5, 20), &["m"]), moves(&[1]));
    moved.committed.wait(PATIENCE).await.unwrap();
    assert_eq!(topic.partition(1).checkpoint().1, 1);
}

#[tokio::test]
async fn a_lane_is_flushed_as_its_topic_asks_before_anything_is_forwarded() {
    let dir = tempfile::tempdir().unwrap();
    let mut flushing = config();
    flushing.log.flush_messages = 1;
    let topic = Topic::open(dir.path(), 2, flushing, true);
    let partition = topic.partition(0);
    for sequence in 0..10 {
        let moved = append(&partition, &batch(from(5, sequence), &["m"]), moves(&[1]));
        moved.committed.wait(PATIENCE).await.unwrap();
        let lane = partition.lane_status().unwrap();
        assert_eq!(lane.flushed_offset, lane.end_offset);
    }
    let forwarded = topic.forwarded();
    assert!(forwarded.iter().all(|(end, flushed)| end <= flushed), "(entry's end, flushed): {forwarded:?}");
    // With acks=1 too, as for a batch in the log.
    let moved = partition.append(&batch(from(5, 10), &["m"]), moves(&[1]), Acks::Leader, NOW_MS).unwrap();
    moved.committed.wait(PATIENCE).await.unwrap();
    assert_eq!(topic.partition(1).checkpoint().1, 11, "the destination's recovery point");
}

#[tokio::test]
async fn a_power_loss_repeats_nothing_where_flushes_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut flushing = config();
    flushing.log.flush_messages = 1;
    let topic = Topic::open(dir.path(), 2, flushing, true);
    let moved = append(&topic.partition(0), &batch(from(5, 0), &["m"]), moves(&[1]));
    moved.committed.wait(PATIENCE).await.unwrap();
    let flushed = topic.partition(0).lane_status().unwrap().flushed_offset;
    topic.stop();
    if flushed == 0 {
        // What was not synced is gone.
        let lane = dir.path().join("t-0/lane/00000000000000000000.log");
        std::fs::OpenOptions::new().write(true).open(lane).unwrap().set_len(0).unwrap();
    }
    // The answer was lost, so the client sends again.
    let topic = Topic::open(dir.path(), 2, flushing, true);
    let again = append(&topic.partition(0), &batch(from(5, 0), &["m"]), moves(&[1]));
    again.committed.wait(PATIENCE).await.unwrap();
    assert_eq!(values(&topic.partition(1)), ["m"]);
}

#[tokio::test]
async fn a_lane_keeps_its_segments_until_what_stands_for_them_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut flushing = PartitionConfig { lane_bytes: 2 << 20, ..config() };
    // Entries alone never ask for it.
    flushing.log.flush_messages = 1_000_000;
    let topic = Topic::open(dir.path(), 2, flushing, true);
    let partition = topic.partition(0);
    let value = "x".repeat(100_000);
    for sequence in 0..1_000 {
        let sent = batch(from(5, sequence), &[&value]);
        append(&partition, &sent, moves(&[1])).committed.wait(PATIENCE).await.unwrap();
        tokio::task::yield_now().await;
        let lane = partition.lane_status().unwrap();
        if lane.start_offset > 0 {
            assert!(lane.flushed_offset > lane.start_offset, "{lane:?}");
            return;
        }
    }
    panic!("the lane was never trimmed");
}

#[tokio::test]
async fn a_lane_is_flushed_by_time_also_when_nothing_more_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut flushing = config();
    flushing.log.flush_ms = 1_000;
    let topic = Topic::open(dir.path(), 2, flushing, false);
    let partition = topic.partition(0);
    append(&partition, &batch(from(5, 0), &["m"]), moves(&[1]));
    assert!(!partition.flush_due(NOW_MS + 999));
    assert!(partition.flush_due(NOW_MS + 1_000));
    partition.flush(NOW_MS + 1_000).unwrap();
    assert_eq!(partition.lane_status().unwrap().flushed_offset, 1);
    assert!(!partition.flush_due(NOW_MS + 9_000), "nothing is left to flush");
}
