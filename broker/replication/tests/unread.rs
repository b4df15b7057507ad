//! What a consumer at an offset is handed next, and when that was written; batches without a record for consumers are
//! passed over.

mod support;

use bytes::Bytes;
use ottla_model::batch::{Builder, Compression};
use ottla_replication::{ClientBatch, NextUnread, PartitionConfig};
use support::*;

/// A batch of `count` records that were written at `at_ms` and in the milliseconds after it.
fn written(at_ms: i64, count: i64) -> ClientBatch {
    let mut builder = Builder::new(Compression::None);
    for number in 0..count {
        builder.append(at_ms + number, Some(b"key"), Some(b"value"), []).expect("a small record");
    }
    ClientBatch::parse(Bytes::from(builder.finish().expect("a small batch")), 1).expect("a sound batch")
}

#[tokio::test]
async fn the_next_record_has_a_time_and_the_end_has_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let topic = Topic::open(dir.path(), 1, PartitionConfig::default(), true);
    let partition = topic.partition(0);
    assert_eq!(partition.next_unread(0).expect("readable"), NextUnread::Nothing);
    for (at_ms, count) in [(1_000, 3), (5_000, 1), (-1, 1)] {
        append(&partition, &written(at_ms, count), None);
    }
    for (offset, expected) in [
        (-1, NextUnread::WrittenAt(1_000)),
        (0, NextUnread::WrittenAt(1_000)),
        (2, NextUnread::WrittenAt(1_000)),
        (3, NextUnread::WrittenAt(5_000)),
        (4, NextUnread::Unknown),
        (5, NextUnread::Nothing),
        (9, NextUnread::Nothing),
    ] {
        assert_eq!(partition.next_unread(offset).expect("readable"), expected, "{offset}");
    }
}
