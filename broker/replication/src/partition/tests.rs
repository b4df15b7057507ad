//! What is easier seen from within: the bound on remembered producers, and a disk that fails.

use std::path::Path;

use bytes::Bytes;
use ottla_model::batch::{Builder, Compression, Producer};
use ottla_storage::{PRODUCERS_MAX, ProducerEntry};
use uuid::Uuid;

use super::*;
use crate::batch::ClientBatch;
use crate::destinations::{Answering, ForwardAnswer, ForwardRequest, Held};
use crate::lane::decision::{Decision, NO_RULE, Runs};

/// Every partition can be written to, and nobody forwards anything.
struct Nowhere;

impl Destinations for Nowhere {
    fn is_writable(&self, _topic_id: TopicId, _partition: i32) -> bool {
        true
    }

    fn held(&self, _topic_id: TopicId, _partition: i32, _ingress: i32) -> Answering<Option<Held>> {
        Box::pin(std::future::ready(None))
    }

    fn forward(&self, _: TopicId, _: i32, _: ForwardRequest) -> Answering<ForwardAnswer> {
        Box::pin(std::future::ready(ForwardAnswer::Refused(String::new())))
    }
}

impl Surroundings for Nowhere {
    fn start_forwarder(&self, _partition: Arc<Partition>) {}
}

fn batch(producer_id: i64, sequence: i32) -> ClientBatch {
    let producer = Producer { id: producer_id, epoch: 0, base_sequence: sequence };
    let mut builder = Builder::new(Compression::None).producer(producer);
    builder.append(1, None, Some(b"v"), []).unwrap();
    ClientBatch::parse(Bytes::from(builder.finish().unwrap()), 1).unwrap()
}

fn open(dir: &Path, config: PartitionConfig) -> Arc<Partition> {
    let (partition, _) = Partition::open(OpenPartition {
        dir: dir.to_owned(),
        topic_partition: TopicPartition::new("t", 0),
        topic_id: TopicId(Uuid::from_u128(1)),
        broker: 1,
        leader_epoch: 0,
        config,
        open: Open { clean: false, recovery_point: 0, log_start: 0, now_ms: 0 },
        surroundings: Arc::new(Nowhere),
    })
    .unwrap();
    partition
}

#[test]
fn a_producer_with_something_unresolved_is_not_forgotten_for_others() {
    const BUSY: i64 = 7;
    const IDLE: i64 = 8;
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path(), PartitionConfig::default());
    // The oldest in the log; one of them has its next batch in the lane.
    for producer_id in [BUSY, IDLE] {
        partition.append(&batch(producer_id, 0), None, Acks::All, 1).unwrap();
    }
    let moves = Decision { destinations: Runs::all(1, 1), rule: NO_RULE };
    partition.append(&batch(BUSY, 1), Some(moves), Acks::All, 2).unwrap();
    for number in 0..PRODUCERS_MAX as i64 {
        let mut entry = ProducerEntry::new(1_000 + number);
        entry.last_append_ms = 3;
        partition.state.lock().log.producers_mut().insert(entry);
    }
    partition.append(&batch(9, 0), None, Acks::All, 4).unwrap();
    let state = partition.state.lock();
    let known = |producer_id: i64| state.log.producers().get(producer_id).is_some();
    assert!(state.log.producers().len() <= PRODUCERS_MAX);
    assert!(known(BUSY) && !known(IDLE) && known(9));
}

#[test]
fn a_partition_whose_sync_failed_is_not_writable() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("t-0");
    let mut config = PartitionConfig::default();
    config.log.segment_bytes = 100;
    let partition = open(&folder, config);
    partition.append(&batch(1, 0), None, Acks::All, 1).unwrap();
    partition.flush(1).unwrap();
    partition.append(&batch(1, 1), None, Acks::All, 1).unwrap();
    assert!(partition.is_writable());
    // The new segment's name must be synced with the folder.
    std::fs::remove_dir_all(&folder).unwrap();
    partition.flush(2).unwrap_err();
    assert!(!partition.is_writable());
    assert!(partition.append(&batch(1, 2), None, Acks::All, 3).is_err());
}

#[test]
fn one_has_the_right_to_clean_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path(), PartitionConfig::default());
    let lease = partition.begin_clean().unwrap();
    for _ in 0..3 {
        assert!(partition.begin_clean().is_none(), "also where it was refused before");
    }
    drop(lease);
    assert!(partition.begin_clean().is_some());
    partition.resign();
    assert!(partition.begin_clean().is_none());
}
