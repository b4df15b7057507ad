//! What the tests with real files share: a topic of partitions in one folder whose lanes reach each other in this
//! process, and batches as clients send them.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use ottla_model::batch::{Batches, Builder, Compression, Limit, Producer, Records, records_area};
use ottla_model::ids::{TopicId, TopicPartition};
use ottla_replication::{
    Acks, Answering, ClientBatch, Decision, Destinations, Enqueued, ForwardAnswer, ForwardRequest, Held,
    Isolation, OpenPartition, Partition, PartitionConfig, PartitionRecovery, Runs, Screened, Surroundings,
    run_forwarder,
};
use ottla_storage::Open;
use parking_lot::Mutex;
use uuid::Uuid;

pub const NOW_MS: i64 = 1_700_000_000_000;
pub const TOPIC: TopicId = TopicId(Uuid::from_u128(7));

/// A topic whose partitions live in this process.
pub struct Topic {
    partitions: Mutex<BTreeMap<i32, Arc<Partition>>>,
    away: Mutex<Vec<i32>>,
    /// Without it, lanes only fill.
    forwards: bool,
    /// For each forward the end of its last entry, and up to where the lane was on the disk then.
    forwarded: Mutex<Vec<(i64, i64)>>,
    me: Weak<Topic>,
}

impl Destinations for Topic {
    fn is_writable(&self, topic_id: TopicId, partition: i32) -> bool {
        topic_id == TOPIC && !self.away.lock().contains(&partition)
    }

    fn held(&self, _topic_id: TopicId, partition: i32, ingress: i32) -> Answering<Option<Held>> {
        let held = self.reach(partition).and_then(|partition| partition.held(ingress));
        Box::pin(std::future::ready(held))
    }

    fn forward(
        &self,
        _topic_id: TopicId,
        partition: i32,
        request: ForwardRequest,
    ) -> Answering<ForwardAnswer> {
        let lane = self.reach(request.ingress).and_then(|ingress| ingress.lane_status());
        let flushed = lane.map_or(0, |lane| lane.flushed_offset);
        self.forwarded.lock().push((request.position.offset, flushed));
        let answer = match self.reach(partition) {
            Some(partition) => partition.forward(&request, NOW_MS),
            None => ForwardAnswer::Refused("away".to_owned()),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Surroundings for Topic {
    fn start_forwarder(&self, partition: Arc<Partition>) {
        if self.forwards {
            tokio::spawn(run_forwarder(partition));
        }
    }
}

impl Topic {
    pub fn open(dir: &Path, count: i32, config: PartitionConfig, forwards: bool) -> Arc<Topic> {
        Topic::open_with(dir, count, config, forwards, false).0
    }

    pub fn open_with(
        dir: &Path,
        count: i32,
        config: PartitionConfig,
        forwards: bool,
        clean: bool,
    ) -> (Arc<Topic>, Vec<PartitionRecovery>) {
        let topic = Arc::new_cyclic(|me| Topic {
            partitions: Mutex::default(),
            away: Mutex::default(),
            forwards,
            forwarded: Mutex::default(),
            me: Weak::clone(me),
        });
        let mut recoveries = Vec::new();
        for index in 0..count {
            let (partition, recovery) = Partition::open(OpenPartition {
                dir: dir.join(format!("t-{index}")),
                topic_partition: TopicPartition::new("t", index),
                topic_id: TOPIC,
                broker: 1,
                leader_epoch: 0,
                config,
                open: Open { clean, recovery_point: 0, log_start: 0, now_ms: NOW_MS },
                surroundings: Arc::clone(&topic) as Arc<dyn Surroundings>,
            })
            .expect("the partition opens");
            topic.partitions.lock().insert(index, partition);
            recoveries.push(recovery);
        }
        (topic, recoveries)
    }

    fn reach(&self, index: i32) -> Option<Arc<Partition>> {
        if self.away.lock().contains(&index) {
            return None;
        }
        self.partitions.lock().get(&index).cloned()
    }

    pub fn partition(&self, index: i32) -> Arc<Partition> {
        Arc::clone(&self.partitions.lock()[&index])
    }

    /// End of the last entry of each forward, and up to where the lane was on the disk then.
    pub fn forwarded(&self) -> Vec<(i64, i64)> {
        self.forwarded.lock().clone()
    }

    /// Makes a destination unreachable, or reachable again.
    pub fn set_away(&self, index: i32, away: bool) {
        self.away.lock().retain(|known| *known != index);
        if away {
            self.away.lock().push(index);
        }
    }

    /// Ends everything as a crash would, but for what the page cache holds.
    pub fn stop(&self) {
        for partition in std::mem::take(&mut *self.partitions.lock()).into_values() {
            partition.resign();
        }
    }
}

/// What a batch says of its producer.
#[derive(Clone, Copy)]
pub struct From {
    pub producer_id: i64,
    pub epoch: i16,
    pub sequence: i32,
}

impl From {
    /// The sequence that the `number`-th batch of one record has, where every tenth is another producer's.
    pub fn renumbered(self, number: i32) -> From {
        let sequence = if number % 10 == 0 { number / 10 } else { number - number / 10 - 1 };
        From { sequence, ..self }
    }
}

pub const NOBODY: From = From { producer_id: -1, epoch: -1, sequence: -1 };

pub fn from(producer_id: i64, sequence: i32) -> From {
    From { producer_id, epoch: 0, sequence }
}

/// A batch with one record for each value; keys are `k` and the value.
pub fn batch_of(from: From, compression: Compression, values: &[&str]) -> ClientBatch {
    let producer = Producer { id: from.producer_id, epoch: from.epoch, base_sequence: from.sequence };
    let mut builder = Builder::new(compression).producer(producer);
    for (index, value) in values.iter().enumerate() {
        let key = format!("k{value}");
        builder
            .append(NOW_MS + index as i64, Some(key.as_bytes()), Some(value.as_bytes()), [])
            .expect("a small record");
    }
    ClientBatch::parse(Bytes::from(builder.finish().expect("a small batch")), 1).expect("a sound batch")
}

pub fn batch(from: From, values: &[&str]) -> ClientBatch {
    batch_of(from, Compression::None, values)
}

pub fn moves(destinations: &[i32]) -> Option<Decision> {
    Some(Decision { destinations: Runs::from_each(destinations.iter().copied()), rule: [9; 32] })
}

pub fn append(partition: &Partition, batch: &ClientBatch, decision: Option<Decision>) -> Enqueued {
    match partition.screen(batch, Acks::All).expect("the batch is in order") {
        Screened::Duplicate(enqueued) => enqueued,
        Screened::New => partition.append(batch, decision, Acks::All, NOW_MS).expect("the batch is appended"),
    }
}

/// Every value below the high watermark, with its offset. Fails unless offsets are dense.
pub fn values(partition: &Partition) -> Vec<String> {
    let mut offset = partition.log_start();
    let end = partition.high_watermark();
    let mut found = Vec::new();
    while offset < end {
        let read =
            partition.read(offset, 1 << 20, true, Isolation::ReadUncommitted).expect("a read within the log");
        let mut bytes = Vec::new();
        read.slice.read_into(&mut bytes).expect("the slice is readable");
        for batch in Batches::new(&bytes) {
            let Ok((header, batch)) = batch else { break };
            assert_eq!(header.base_offset, offset, "offsets are dense");
            assert_eq!(header.record_count, header.last_offset_delta + 1);
            ottla_model::batch::check_crc(batch).expect("the CRC is right");
            let mut scratch = Vec::new();
            let area = records_area(batch, &mut scratch, Limit::default()).expect("it decompresses");
            for (index, record) in Records::new(area, header.record_count).expect("records").enumerate() {
                let record = record.expect("a sound record");
                assert_eq!(record.offset_delta as usize, index);
                let value = std::str::from_utf8(record.value.expect("a value")).expect("text").to_owned();
                assert_eq!(record.key, Some(format!("k{value}").as_bytes()));
                found.push(value);
            }
            offset = header.next_offset();
        }
    }
    found
}
