//! Partitions over real files: appends, reads, duplicates across restarts, lanes that forward, and what is left after
//! a stop at any moment.

mod support;

use std::time::Duration;

use ottla_model::batch::{Compression, TimestampType};
use ottla_model::error::ErrorCode;
use ottla_model::ids::RECEIPT_OFFSET_BASE;
use ottla_replication::{Acks, Committed, FetchWaiter, Isolation, NO_RULE, PartitionConfig, Screened};
use support::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn config() -> PartitionConfig {
    PartitionConfig::default()
}

#[tokio::test]
async fn a_batch_that_stays_goes_into_the_log_as_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 1, config(), true);
    let partition = topic.partition(0);
    let sent = batch(from(5, 0), &["a", "b"]);
    let enqueued = append(&partition, &sent, None);
    assert_eq!((enqueued.base_offset, enqueued.in_lane), (0, false));
    assert!(matches!(enqueued.committed, Committed::Now));
    let read = partition.read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap();
    let mut bytes = Vec::new();
    read.slice.read_into(&mut bytes).unwrap();
    assert_eq!(bytes[16..], sent.bytes[16..], "only offset and epoch differ");
    assert!(partition.lane_status().is_none());
    assert!(!dir.path().join("t-0/lane").exists());
}

#[tokio::test]
async fn moved_records_reach_their_destinations_and_the_answer_is_a_receipt() {
    let dir = tempfile::tempdir().unwrap();
    for codec in Compression::ALL {
        let dir = dir.path().join(codec.name());
        let topic = Topic::open(&dir, 3, config(), true);
        let partition = topic.partition(0);
        let sent = batch_of(from(5, 0), codec, &["a", "b", "c", "d"]);
        let enqueued = append(&partition, &sent, moves(&[1, 0, 2, 1]));
        assert_eq!(enqueued.base_offset, RECEIPT_OFFSET_BASE);
        enqueued.committed.wait(PATIENCE).await.unwrap();
        assert_eq!(values(&topic.partition(0)), ["b"]);
        assert_eq!(values(&topic.partition(1)), ["a", "d"]);
        assert_eq!(values(&topic.partition(2)), ["c"]);
        let receipt = partition.resolve_receipt(RECEIPT_OFFSET_BASE + 2).unwrap().unwrap();
        assert_eq!((receipt.partition, receipt.record_index, receipt.is_resolved), (2, 2, true));
        assert_eq!(receipt.rule, [9; 32]);
        assert_eq!(partition.resolve_receipt(RECEIPT_OFFSET_BASE + 4).unwrap(), None);
        topic.stop();
    }
}

#[tokio::test]
async fn a_batch_that_stays_behind_others_keeps_the_rule_that_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 2, config(), false);
    let partition = topic.partition(0);
    assert!(!append(&partition, &batch(from(5, 0), &["a"]), moves(&[0])).in_lane, "nothing is before it");
    append(&partition, &batch(from(5, 1), &["b"]), moves(&[1]));
    for (sequence, decision, rule) in [(2, moves(&[0]), [9; 32]), (3, None, NO_RULE)] {
        let waiting = append(&partition, &batch(from(5, sequence), &["c"]), decision);
        assert!(waiting.in_lane);
        let receipt = partition.resolve_receipt(waiting.base_offset).unwrap().unwrap();
        assert_eq!((receipt.partition, receipt.rule), (0, rule));
    }
}

#[tokio::test]
async fn a_duplicate_is_answered_as_its_original_was_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    for restart in [false, true] {
        let dir = dir.path().join(restart.to_string());
        let mut topic = Topic::open(&dir, 2, config(), true);
        let logged = append(&topic.partition(0), &batch(from(5, 0), &["a"]), None);
        let moved = append(&topic.partition(0), &batch(from(5, 1), &["b", "c"]), moves(&[1, 1]));
        moved.committed.wait(PATIENCE).await.unwrap();
        let again = append(&topic.partition(0), &batch(from(5, 3), &["d"]), None);
        assert_eq!((logged.base_offset, again.base_offset), (0, 1));
        if restart {
            topic.stop();
            topic = Topic::open(&dir, 2, config(), true);
        }
        for (sequence, value, offset) in
            [(0, &["a"][..], 0), (1, &["b", "c"][..], RECEIPT_OFFSET_BASE), (3, &["d"][..], 1)]
        {
            let repeated = batch(from(5, sequence), value);
            let Screened::Duplicate(answer) = topic.partition(0).screen(&repeated, Acks::All).unwrap() else {
                panic!("sequence {sequence} is not recognised (restart: {restart})");
            };
            assert_eq!((answer.base_offset, answer.is_duplicate), (offset, true));
            answer.committed.wait(PATIENCE).await.unwrap();
        }
        let gap = topic.partition(0).screen(&batch(from(5, 9), &["x"]), Acks::All).unwrap_err();
        assert_eq!(gap.error.code, ErrorCode::OutOfOrderSequenceNumber);
        assert_eq!(values(&topic.partition(0)), ["a", "d"]);
        assert_eq!(values(&topic.partition(1)), ["b", "c"]);
        topic.stop();
    }
}

#[tokio::test]
async fn what_was_in_a_lane_at_a_stop_is_forwarded_once_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 3, config(), false);
    for sequence in 0..50 {
        let value = format!("v{sequence}");
        let enqueued =
            append(&topic.partition(0), &batch(from(5, sequence), &[&value]), moves(&[1 + sequence % 2]));
        assert!(matches!(enqueued.committed, Committed::Later(_)));
    }
    assert_eq!(values(&topic.partition(1)), [""; 0]);
    topic.stop();
    for _ in 0..3 {
        let topic = Topic::open(dir.path(), 3, config(), true);
        let last = batch(from(5, 49), &["v49"]);
        append(&topic.partition(0), &last, moves(&[2])).committed.wait(PATIENCE).await.unwrap();
        let expect = |odd: i32| (0..50).filter(|n| n % 2 == odd).map(|n| format!("v{n}")).collect::<Vec<_>>();
        assert_eq!(values(&topic.partition(1)), expect(0));
        assert_eq!(values(&topic.partition(2)), expect(1));
        topic.stop();
    }
}

#[tokio::test]
async fn later_batches_of_a_producer_queue_behind_what_is_in_the_lane_and_others_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 2, config(), false);
    let partition = topic.partition(0);
    append(&partition, &batch(from(5, 0), &["moved"]), moves(&[1]));
    assert!(append(&partition, &batch(from(5, 1), &["stays"]), None).in_lane);
    let newer_epoch = From { producer_id: 5, epoch: 1, sequence: 0 };
    assert!(append(&partition, &batch(newer_epoch, &["next"]), None).in_lane, "by id, whatever the epoch");
    assert!(!append(&partition, &batch(from(6, 0), &["other"]), None).in_lane);
    let mut anonymous = batch(NOBODY, &["anonymous"]);
    assert!(!append(&partition, &anonymous, None).in_lane);
    append(&partition, &anonymous, moves(&[1]));
    assert!(append(&partition, &anonymous, None).in_lane, "by connection where there is no id");
    anonymous.connection = 2;
    assert!(!append(&partition, &anonymous, None).in_lane);
}

#[tokio::test]
async fn the_same_sequence_with_other_records_is_out_of_order_until_it_is_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 2, config(), true);
    let partition = topic.partition(0);
    // Writable when it was decided, and away before the forwarder gets to run.
    let first = append(&partition, &batch(from(5, 0), &["a"]), moves(&[1]));
    topic.set_away(1, true);
    let other = batch(from(5, 0), &["z"]);
    let refused = partition.screen(&other, Acks::All).unwrap_err();
    assert_eq!(refused.error.code, ErrorCode::OutOfOrderSequenceNumber);
    let at_append = partition.append(&other, moves(&[1]), Acks::All, NOW_MS).unwrap_err();
    assert_eq!(at_append.error.code, ErrorCode::OutOfOrderSequenceNumber);
    // The same records in other bytes are the same batch.
    let recoded = batch_of(from(5, 0), Compression::Gzip, &["a"]);
    let Screened::Duplicate(second) = partition.screen(&recoded, Acks::All).unwrap() else {
        panic!("not recognised")
    };
    topic.set_away(1, false);
    second.committed.wait(PATIENCE).await.unwrap();
    first.committed.wait(PATIENCE).await.unwrap();
    let Screened::Duplicate(answer) = partition.screen(&other, Acks::All).unwrap() else {
        panic!("not recognised")
    };
    assert_eq!(answer.base_offset, RECEIPT_OFFSET_BASE);
    assert_eq!(values(&topic.partition(1)), ["a"]);
}

#[tokio::test]
async fn a_destination_that_cannot_be_written_to_fails_the_batch_before_anything_is_persisted() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 2, config(), true);
    topic.set_away(1, true);
    let partition = topic.partition(0);
    let error = partition.append(&batch(from(5, 0), &["a"]), moves(&[1]), Acks::All, NOW_MS).unwrap_err();
    assert_eq!(error.error.code, ErrorCode::NotEnoughReplicas);
    assert!(partition.lane_status().is_none());
    topic.set_away(1, false);
    append(&partition, &batch(from(5, 0), &["a"]), moves(&[1])).committed.wait(PATIENCE).await.unwrap();
    assert_eq!(values(&topic.partition(1)), ["a"]);
}

#[tokio::test]
async fn a_full_lane_refuses_before_the_append_and_drains() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 2, PartitionConfig { lane_bytes: 1_000, ..config() }, false);
    let partition = topic.partition(0);
    let mut taken = 0;
    let refused = loop {
        let sent = batch(from(5, taken), &["a record of some length"]);
        match partition.append(&sent, moves(&[1]), Acks::All, NOW_MS) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.error.code, ErrorCode::NotEnoughReplicas);
    assert!(refused.error.message.contains("ottla.lane.bytes"));
    assert!(taken >= 2);
    topic.stop();
    let topic = Topic::open(dir.path(), 2, PartitionConfig { lane_bytes: 1_000, ..config() }, true);
    let last = batch(from(5, taken - 1), &["a record of some length"]);
    append(&topic.partition(0), &last, moves(&[1])).committed.wait(PATIENCE).await.unwrap();
    append(&topic.partition(0), &batch(from(5, taken), &["more"]), moves(&[1]))
        .committed
        .wait(PATIENCE)
        .await
        .unwrap();
    assert_eq!(values(&topic.partition(1)).len() as i32, taken + 1);
}

#[tokio::test]
async fn resolved_segments_go_and_the_producers_are_known_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let small = PartitionConfig { lane_bytes: 2 << 20, ..config() };
    let topic = Topic::open(dir.path(), 2, small, true);
    append(&topic.partition(0), &batch(from(99, 0), &["early"]), moves(&[1]))
        .committed
        .wait(PATIENCE)
        .await
        .unwrap();
    let value = "x".repeat(100_000);
    for sequence in 0..60 {
        let sent = batch(from(5, sequence), &[&value]);
        append(&topic.partition(0), &sent, moves(&[1])).committed.wait(PATIENCE).await.unwrap();
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while topic.partition(0).lane_status().unwrap().start_offset == 0 && std::time::Instant::now() < deadline
    {
        tokio::task::yield_now().await;
    }
    let status = topic.partition(0).lane_status().unwrap();
    assert!(status.start_offset > 0, "{status:?}");
    assert!(status.size_bytes < 4 << 20, "{status:?}");
    topic.stop();
    let topic = Topic::open(dir.path(), 2, small, true);
    let early = topic.partition(0).screen(&batch(from(99, 0), &["early"]), Acks::All).unwrap();
    assert!(matches!(early, Screened::Duplicate(_)), "its entry is trimmed, its producer is not");
    let next = append(&topic.partition(0), &batch(from(5, 60), &["end"]), moves(&[1]));
    next.committed.wait(PATIENCE).await.unwrap();
    assert_eq!(values(&topic.partition(1)).len(), 62);
    assert_eq!(topic.partition(0).lane_status().unwrap().forwarder.losses, 0);
}

#[tokio::test]
async fn a_lane_entry_goes_with_the_end_of_the_log_that_it_followed() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 2, config(), false);
    let partition = topic.partition(0);
    append(&partition, &batch(from(5, 0), &["a"]), None);
    append(&partition, &batch(from(6, 0), &["b"]), moves(&[1]));
    append(&partition, &batch(from(7, 0), &["c"]), None);
    append(&partition, &batch(from(8, 0), &["d"]), moves(&[1]));
    topic.stop();
    // A power loss takes the log's tail, the batch of producer 7, and leaves the lane.
    let log = dir.path().join("t-0/00000000000000000000.log");
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 1).unwrap();
    let (topic, recoveries) = Topic::open_with(dir.path(), 2, config(), true, false);
    let lane = recoveries[0].lane.as_ref().unwrap();
    assert_eq!(lane.cut.as_ref().map(|cut| cut.offset), Some(1), "{lane:?}");
    let repeated = batch(from(6, 0), &["b"]);
    append(&topic.partition(0), &repeated, moves(&[1])).committed.wait(PATIENCE).await.unwrap();
    assert_eq!(values(&topic.partition(0)), ["a"]);
    assert_eq!(values(&topic.partition(1)), ["b"]);
}

#[tokio::test]
async fn marked_producer_ids_are_refused() {
    let marked = 1 << 62;
    let mut builder = ottla_model::batch::Builder::new(Compression::None)
        .producer(ottla_model::batch::Producer { id: marked, epoch: 0, base_sequence: 0 });
    builder.append(NOW_MS, None, Some(b"v"), []).unwrap();
    let error = ottla_replication::ClientBatch::parse(builder.finish().unwrap().into(), 1).unwrap_err();
    assert_eq!(error.error.code, ErrorCode::InvalidProducerIdMapping);
}

#[tokio::test]
async fn times_out_of_bounds_are_named_record_by_record() {
    let dir = tempfile::tempdir().unwrap();
    let strict = PartitionConfig { timestamp_after_max_ms: 1, ..config() };
    let topic = Topic::open(dir.path(), 1, strict, true);
    let error = topic
        .partition(0)
        .append(&batch(NOBODY, &["a", "b", "c", "d"]), None, Acks::All, NOW_MS)
        .unwrap_err();
    assert_eq!(error.error.code, ErrorCode::InvalidTimestamp);
    assert_eq!(error.records.iter().map(|record| record.index).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(topic.partition(0).log_end(), 0);
}

#[tokio::test]
async fn log_append_time_rewrites_header_and_crc_also_where_records_move() {
    let dir = tempfile::tempdir().unwrap();
    let by_broker = PartitionConfig { timestamp_type: TimestampType::LogAppendTime, ..config() };
    let topic = Topic::open(dir.path(), 2, by_broker, true);
    let logged = append(&topic.partition(0), &batch(from(5, 0), &["a"]), None);
    assert_eq!(logged.log_append_time_ms, NOW_MS);
    let moved = append(&topic.partition(0), &batch(from(5, 1), &["b", "c"]), moves(&[1, 0]));
    moved.committed.wait(PATIENCE).await.unwrap();
    for index in [0, 1] {
        let read = topic.partition(index).read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap();
        let header = read.slice.first.unwrap();
        assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(header.max_timestamp, NOW_MS);
        assert!(!values(&topic.partition(index)).is_empty());
    }
}

#[tokio::test]
async fn the_topics_compression_is_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let zstd = PartitionConfig { compression: Some((Compression::Zstd, None)), ..config() };
    let topic = Topic::open(dir.path(), 1, zstd, true);
    append(&topic.partition(0), &batch(NOBODY, &["a", "b"]), None);
    let read = topic.partition(0).read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap();
    assert_eq!(read.slice.first.unwrap().compression(), Ok(Compression::Zstd));
    assert_eq!(values(&topic.partition(0)), ["a", "b"]);
}

#[tokio::test]
async fn a_long_poll_is_woken_by_the_append_at_the_destination() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 2, config(), true);
    let destination = topic.partition(1);
    let read = destination.read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap();
    assert_eq!(read.slice.len, 0);
    let waiter = FetchWaiter::new(1);
    destination.watch(&waiter, read.mark);
    append(&topic.partition(0), &batch(from(5, 0), &["a"]), moves(&[1]));
    tokio::time::timeout(PATIENCE, waiter.woken()).await.unwrap();
    assert_eq!(values(&destination), ["a"]);
}

#[tokio::test]
async fn whoever_waits_when_leadership_ends_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 2, config(), false);
    let partition = topic.partition(0);
    let waiting = append(&partition, &batch(from(5, 0), &["a"]), moves(&[1]));
    let waiter = FetchWaiter::new(1);
    partition.watch(&waiter, 0);
    partition.resign();
    assert_eq!(waiting.committed.wait(PATIENCE).await, Err(ErrorCode::NotLeaderOrFollower));
    tokio::time::timeout(PATIENCE, waiter.woken()).await.unwrap();
    let late = partition.append(&batch(from(5, 1), &["b"]), None, Acks::All, NOW_MS).unwrap_err();
    assert_eq!(late.error.code, ErrorCode::NotLeaderOrFollower);
}

#[tokio::test]
async fn a_start_takes_an_epoch_above_all_that_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = -1;
    for start in 0..6 {
        let topic = Topic::open(dir.path(), 2, config(), false);
        let partition = topic.partition(0);
        assert!(partition.leader_epoch() > before);
        before = partition.leader_epoch();
        // Whether it was the log or the lane.
        append(&partition, &batch(from(start, 0), &["a"]), if start % 2 == 0 { None } else { moves(&[1]) });
        partition.close(NOW_MS).unwrap();
    }
}

#[tokio::test]
async fn retention_and_delete_records_leave_the_lane_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut short = config();
    short.log.retention_ms = 1;
    let topic = Topic::open(dir.path(), 2, short, false);
    let partition = topic.partition(0);
    append(&partition, &batch(from(5, 0), &["a"]), None);
    append(&partition, &batch(from(6, 0), &["b"]), moves(&[1]));
    let upkeep = partition.tick(NOW_MS + 10_000_000).unwrap();
    assert_eq!(upkeep.deleted.segments, 1);
    assert_eq!(partition.delete_records_before(-1).unwrap(), 1);
    assert_eq!(partition.delete_records_before(7).unwrap_err().code, ErrorCode::OffsetOutOfRange);
    topic.stop();
    let topic = Topic::open(dir.path(), 2, short, true);
    append(&topic.partition(0), &batch(from(6, 0), &["b"]), moves(&[1]))
        .committed
        .wait(PATIENCE)
        .await
        .unwrap();
    assert_eq!(values(&topic.partition(1)), ["b"]);
}

#[tokio::test]
async fn a_destination_that_is_away_does_not_fill_the_lane_for_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let small = PartitionConfig { lane_bytes: 4 << 20, ..config() };
    let topic = Topic::open(dir.path(), 3, small, true);
    let partition = topic.partition(0);
    let value = "x".repeat(50_000);
    for sequence in 0..200 {
        // One batch in ten has a record for the destination that goes away behind its back.
        let held_back = sequence % 10 == 0;
        topic.set_away(2, false);
        let sent = batch(from(if held_back { 6 } else { 5 }, 0).renumbered(sequence), &[&value]);
        let enqueued = append(&partition, &sent, moves(&[if held_back { 2 } else { 1 }]));
        topic.set_away(2, true);
        if !held_back {
            enqueued.committed.wait(PATIENCE).await.unwrap();
        }
    }
    let status = partition.lane_status().unwrap();
    assert!(status.size_bytes < 8 << 20, "20 MB went through, 2 MB are held back: {status:?}");
    assert_eq!(values(&topic.partition(1)).len(), 180);
    topic.stop();
    // What was rewritten away is still known, and what was held back is still there.
    let (topic, recoveries) = Topic::open_with(dir.path(), 3, small, true, false);
    assert!(recoveries[0].lane.as_ref().unwrap().log.cuts.is_empty());
    for sequence in [199, 198, 190] {
        let held_back = sequence % 10 == 0;
        let repeated = batch(from(if held_back { 6 } else { 5 }, 0).renumbered(sequence), &[&value]);
        let Screened::Duplicate(answer) = topic.partition(0).screen(&repeated, Acks::All).unwrap() else {
            panic!("sequence {sequence} is not recognised")
        };
        answer.committed.wait(PATIENCE).await.unwrap();
    }
    assert_eq!(values(&topic.partition(2)).len(), 20);
    assert_eq!(values(&topic.partition(1)).len(), 180);
}

#[tokio::test]
async fn a_changed_expiration_of_producers_holds_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 1, config(), true);
    let partition = topic.partition(0);
    append(&partition, &batch(from(5, 0), &["a"]), None);
    partition.tick(NOW_MS + 5_000).unwrap();
    assert_eq!(partition.producers().len(), 1);
    let mut shorter = config();
    shorter.log.producer_expiration_ms = 4_000;
    partition.set_config(shorter);
    partition.tick(NOW_MS + 5_000).unwrap();
    assert_eq!(partition.producers().len(), 0);
}
