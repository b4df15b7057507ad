//! A lane whose bytes are not what was written: it is an error that names the folder, and never a panic.

mod support;

use std::os::unix::fs::FileExt;

use ottla_model::batch::Header;
use ottla_model::ids::TopicPartition;
use ottla_replication::{OpenPartition, Partition, PartitionConfig};
use ottla_storage::{LogConfig, Open, StorageError};
use support::*;

#[tokio::test]
async fn a_lane_whose_offsets_go_back_is_refused_after_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    // An index entry for each batch, so that a clean start does not look at those in the front.
    let log = LogConfig { index_interval_bytes: 1, ..LogConfig::default() };
    let config = PartitionConfig { log, ..PartitionConfig::default() };
    let topic = Topic::open(dir.path(), 2, config, false);
    for sequence in 0..4 {
        append(&topic.partition(0), &batch(from(5, sequence), &["a"]), moves(&[1]));
    }
    topic.partition(0).close(NOW_MS).unwrap();

    let path = dir.path().join("t-0/lane/00000000000000000000.log");
    let bytes = std::fs::read(&path).unwrap();
    let second = Header::parse(&bytes).unwrap().size();
    // A base offset is not under the checksum.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&0i64.to_be_bytes(), second as u64).unwrap();

    let opened = Partition::open(OpenPartition {
        dir: dir.path().join("t-0"),
        topic_partition: TopicPartition::new("t", 0),
        topic_id: TOPIC,
        broker: 1,
        leader_epoch: 0,
        config,
        open: Open { clean: true, recovery_point: 0, log_start: 0, now_ms: NOW_MS },
        surroundings: topic.clone(),
    });
    let error = opened.err().expect("what lies in the lane contradicts itself");
    assert!(matches!(error, StorageError::Damaged { .. }) && error.to_string().contains("lane"), "{error}");
}
