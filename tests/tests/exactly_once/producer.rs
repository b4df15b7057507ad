//! An idempotent producer by single messages, for machines that have no other client: batches to several partitions at
//! once, and after each trouble the same batches again, with their sequences, in their order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use ottla_model::batch::Producer as Identity;
use ottla_model::error::ErrorCode;
use ottla_tests::raw::Raw;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::topic::{batch, topic_name};
use super::workload::{Name, ingress};

const BURST: u64 = 150;
const BATCH: usize = 10;
const ANSWER_WAIT: Duration = Duration::from_secs(5);
const RECONNECT_WAIT: Duration = Duration::from_millis(20);

pub struct RustProducer {
    pub number: u32,
    pub records: u64,
    pub value_bytes: usize,
    pub address: SocketAddr,
    /// How many records may have been sent by now.
    pub credit: watch::Receiver<u64>,
    pub acknowledged: Arc<Mutex<Vec<u64>>>,
}

/// A batch that was not acknowledged yet.
struct Pending {
    partition: i32,
    bytes: Bytes,
    names: Vec<Name>,
}

impl RustProducer {
    pub async fn run(mut self) -> Result<()> {
        let identity = self.begin().await?;
        let mut sequences: HashMap<i32, i32> = HashMap::new();
        let mut next = 0;
        while next < self.records {
            let credit = *self.credit.wait_for(|credit| *credit > next).await?;
            let end = credit.min(next + BURST).min(self.records);
            let pending = self.batches(identity, &mut sequences, next..end)?;
            self.deliver(pending).await?;
            next = end;
        }
        Ok(())
    }

    async fn begin(&self) -> Result<Identity> {
        loop {
            let asked = async {
                let mut raw = Raw::connect(self.address).await?;
                let request = InitProducerIdRequest::default().with_transactional_id(None);
                raw.call(&request, 4).await
            };
            if let Ok(Ok(answer)) = timeout(ANSWER_WAIT, asked).await
                && answer.error_code == 0
            {
                let (id, epoch) = (answer.producer_id.0, answer.producer_epoch);
                return Ok(Identity { id, epoch, base_sequence: 0 });
            }
            sleep(RECONNECT_WAIT).await;
        }
    }

    fn batches(
        &self,
        identity: Identity,
        sequences: &mut HashMap<i32, i32>,
        indices: std::ops::Range<u64>,
    ) -> Result<Vec<Pending>> {
        let mut by_partition: BTreeMap<i32, Vec<Name>> = BTreeMap::new();
        for index in indices {
            let name = Name { producer: self.number, index };
            by_partition.entry(ingress(name.key().as_bytes())).or_default().push(name);
        }
        let mut pending = Vec::new();
        for (partition, names) in by_partition {
            for names in names.chunks(BATCH) {
                let base_sequence = sequences.entry(partition).or_default();
                let identity = Identity { base_sequence: *base_sequence, ..identity };
                *base_sequence += names.len() as i32;
                let bytes = batch(identity, names, self.value_bytes, super::now_ms())?;
                pending.push(Pending { partition, bytes, names: names.to_vec() });
            }
        }
        Ok(pending)
    }

    /// Sends until everything is acknowledged.
    async fn deliver(&self, mut pending: Vec<Pending>) -> Result<()> {
        while !pending.is_empty() {
            let Ok(mut raw) = Raw::connect(self.address).await else {
                sleep(RECONNECT_WAIT).await;
                continue;
            };
            let mut codes = Vec::new();
            // An answer that does not come says nothing about its batch.
            let _ = self.exchange(&mut raw, &pending, &mut codes).await;
            let mut failed = HashSet::new();
            let mut answered = codes.into_iter();
            let mut left = Vec::new();
            for one in pending {
                match answered.next() {
                    Some(0) => {
                        ensure!(
                            !failed.contains(&one.partition),
                            "{} was acknowledged after an earlier batch of its partition failed",
                            one.names[0]
                        );
                        self.acknowledged.lock().extend(one.names.iter().map(|name| name.index));
                        continue;
                    }
                    Some(code) => judge(code, failed.contains(&one.partition), one.names[0])?,
                    None => {}
                }
                failed.insert(one.partition);
                left.push(one);
            }
            pending = left;
            sleep(RECONNECT_WAIT).await;
        }
        Ok(())
    }

    async fn exchange(&self, raw: &mut Raw, pending: &[Pending], codes: &mut Vec<i16>) -> Result<()> {
        let mut ids = Vec::new();
        for one in pending {
            let data = PartitionProduceData::default()
                .with_index(one.partition)
                .with_records(Some(one.bytes.clone()));
            let topic = TopicProduceData::default().with_name(topic_name()).with_partition_data(vec![data]);
            let request =
                ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic]);
            ids.push(timeout(ANSWER_WAIT, raw.send(&request, 9)).await??);
        }
        for id in ids {
            let answer = timeout(ANSWER_WAIT, raw.receive::<ProduceRequest>(id, 9)).await??;
            codes.push(answer.responses[0].partition_responses[0].error_code);
        }
        Ok(())
    }
}

/// What a client may be told after which it sends the batch again.
fn judge(code: i16, follows_a_failure: bool, first: Name) -> Result<()> {
    let retriable = [
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::RequestTimedOut,
        ErrorCode::NotEnoughReplicas,
        ErrorCode::NotEnoughReplicasAfterAppend,
    ];
    let out_of_order = code == ErrorCode::OutOfOrderSequenceNumber.code();
    if retriable.iter().any(|one| one.code() == code) || (out_of_order && follows_a_failure) {
        return Ok(());
    }
    bail!("the batch that begins with {first} was answered with error {code}")
}
