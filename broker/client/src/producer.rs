//! Writes records to one topic: collects them into a batch for each partition, sends it when it is full or the
//! caller flushes, and repeats it, unchanged, while errors are retriable.
//! One batch is on the way for each partition, so that order holds through every retry, and with a producer id each
//! record is stored once.

use crate::bounds::{ATTEMPTS_MAX, BACKOFF_MS_MAX, BACKOFF_MS_MIN};
use crate::cluster::Cluster;
use crate::fault::{ClientError, check};
use crate::partitioning::{Chooser, Partitioning};
use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProducerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla_model::batch::{self, Builder, Compression, RecordHeader};
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// When a broker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Never.
    None,
    /// Once the leader has it.
    Leader,
    /// Once every replica in sync has it.
    All,
}

impl Acks {
    fn on_the_wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

#[derive(Debug, Clone)]
pub struct ProducerOptions {
    pub acks: Acks,
    /// Asks for a producer id; needs `Acks::All`.
    pub idempotent: bool,
    pub compression: Compression,
    pub level: Option<i32>,
    pub partitioning: Partitioning,
    /// A batch goes once its records, uncompressed, reach this.
    pub batch_bytes: usize,
    /// How long the broker may wait for replicas.
    pub timeout_ms: i32,
    /// Where turns begin.
    pub turn: u32,
}

impl Default for ProducerOptions {
    fn default() -> ProducerOptions {
        ProducerOptions {
            acks: Acks::All,
            idempotent: true,
            compression: Compression::None,
            level: None,
            partitioning: Partitioning::Keyed,
            batch_bytes: 16 << 10,
            timeout_ms: 30_000,
            turn: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Record<'a> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [RecordHeader<'a>],
}

/// A batch that a broker acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Delivered {
    pub partition: i32,
    /// As the broker answered: an offset, a receipt of a topic with a partitioner, or -1 without acks.
    pub base_offset: i64,
    pub records: u32,
    /// From when the batch's first record was taken to its answer.
    pub took: Duration,
    /// More than 1 where an error was met by another attempt.
    pub attempts: u32,
}

pub type OnDelivery = Arc<dyn Fn(Delivered) + Send + Sync>;

pub struct Producer {
    to: Arc<Destination>,
    options: ProducerOptions,
    chooser: Chooser,
    producer: batch::Producer,
    partitions: BTreeMap<i32, Collecting>,
}

/// What every batch on its way needs.
struct Destination {
    cluster: Cluster,
    topic: String,
    acks: Acks,
    timeout_ms: i32,
    on_delivery: OnDelivery,
}

struct Collecting {
    builder: Builder,
    next_sequence: i32,
    /// When the first record of the builder was taken.
    since: Option<Instant>,
    on_the_way: Option<JoinHandle<Result<(), ClientError>>>,
}

impl Producer {
    /// # Errors
    /// As [`Cluster::topic`]; `Refused` where the broker gives no producer id.
    pub async fn new(
        cluster: &Cluster,
        topic: &str,
        options: ProducerOptions,
        on_delivery: OnDelivery,
    ) -> Result<Producer, ClientError> {
        let partitions = cluster.topic(topic).await?.partitions.len() as u32;
        let mut producer = batch::Producer::NONE;
        if options.idempotent {
            if options.acks != Acks::All {
                let message = "an idempotent producer needs acks=all".to_owned();
                return Err(KafkaError::new(ErrorCode::InvalidRequiredAcks, message).into());
            }
            (producer.id, producer.epoch) = init_producer_id(cluster).await?;
        }
        let to = Destination {
            cluster: cluster.clone(),
            topic: topic.to_owned(),
            acks: options.acks,
            timeout_ms: options.timeout_ms,
            on_delivery,
        };
        let chooser = Chooser::new(options.partitioning, partitions, options.turn);
        Ok(Producer { to: Arc::new(to), options, chooser, producer, partitions: BTreeMap::new() })
    }

    /// Takes a record into its partition's batch. Waits where that batch is full and the one before it is still on
    /// the way. Delivery is told to the callback, and certain after [`Producer::flush`].
    ///
    /// # Errors
    /// Of an earlier batch of this partition, which then is lost: the producer should be given up.
    pub async fn send(&mut self, record: Record<'_>) -> Result<(), ClientError> {
        let partition = self.chooser.choose(record.key);
        let (options, producer) = (&self.options, self.producer);
        let collecting = self.partitions.entry(partition).or_insert_with(|| Collecting {
            builder: builder(options),
            next_sequence: if producer.id == NO_PRODUCER_ID { NO_SEQUENCE } else { 0 },
            since: None,
            on_the_way: None,
        });
        let headers = record.headers.iter().copied();
        collecting.builder.append(record.timestamp, record.key, record.value, headers)?;
        collecting.since.get_or_insert_with(Instant::now);
        if collecting.builder.size_bytes() >= options.batch_bytes {
            collecting.ship(partition, &self.to, options, producer).await?;
            if record.key.is_none() {
                self.chooser.batch_sent();
            }
        }
        Ok(())
    }

    /// Sends what was collected without waiting for answers.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn push(&mut self) -> Result<(), ClientError> {
        for (partition, collecting) in &mut self.partitions {
            if !collecting.builder.is_empty() {
                collecting.ship(*partition, &self.to, &self.options, self.producer).await?;
            }
        }
        self.chooser.batch_sent();
        Ok(())
    }

    /// Sends what was collected and waits until everything is acknowledged.
    ///
    /// # Errors
    /// The first error of any batch.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.push().await?;
        for collecting in self.partitions.values_mut() {
            collecting.settle().await?;
        }
        Ok(())
    }
}

impl Collecting {
    async fn ship(
        &mut self,
        partition: i32,
        to: &Arc<Destination>,
        options: &ProducerOptions,
        mut producer: batch::Producer,
    ) -> Result<(), ClientError> {
        self.settle().await?;
        producer.base_sequence = self.next_sequence;
        let full = std::mem::replace(&mut self.builder, builder(options)).producer(producer);
        let records = full.count();
        let bytes = Bytes::from(full.finish()?);
        if self.next_sequence != NO_SEQUENCE {
            self.next_sequence = (self.next_sequence.wrapping_add(records as i32)) & i32::MAX;
        }
        let to = Arc::clone(to);
        let since = self.since.take().unwrap_or_else(Instant::now);
        self.on_the_way =
            Some(tokio::spawn(async move { deliver(&to, partition, bytes, records, since).await }));
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), ClientError> {
        match self.on_the_way.take() {
            None => Ok(()),
            Some(task) => task.await.unwrap_or_else(|error| {
                let reason = format!("the task that sent a batch ended: {error}");
                Err(ClientError::Encode(reason))
            }),
        }
    }
}

fn builder(options: &ProducerOptions) -> Builder {
    let mut builder = Builder::new(options.compression).level(options.level);
    builder.reserve(options.batch_bytes + options.batch_bytes / 4);
    builder
}

async fn init_producer_id(cluster: &Cluster) -> Result<(i64, i16), ClientError> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX)
        .with_producer_id(ProducerId(NO_PRODUCER_ID))
        .with_producer_epoch(NO_PRODUCER_EPOCH);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let asked = async {
            let response = cluster.any().await?.ask(&request).await?;
            check(response.error_code, "producer id", None)?;
            Ok((response.producer_id.0, response.producer_epoch))
        };
        match asked.await {
            // Kafka loads the state behind this when it is first asked.
            Err(error) if ClientError::is_retriable(&error) && attempts < ATTEMPTS_MAX => {
                back_off(attempts).await
            }
            result => return result,
        }
    }
}

/// Waits before the next attempt, longer each time.
async fn back_off(attempts: u32) {
    let backoff_ms = (BACKOFF_MS_MIN << (attempts - 1)).min(BACKOFF_MS_MAX);
    tokio::time::sleep(Duration::from_millis(backoff_ms)).await;
}

/// Sends one batch until it is acknowledged or refused for good.
async fn deliver(
    to: &Destination,
    partition: i32,
    bytes: Bytes,
    records: u32,
    since: Instant,
) -> Result<(), ClientError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match attempt(to, partition, &bytes).await {
            Ok(base_offset) => {
                let took = since.elapsed();
                (to.on_delivery)(Delivered { partition, base_offset, records, took, attempts });
                return Ok(());
            }
            Err(error) if error.is_retriable() && attempts < ATTEMPTS_MAX && to.acks != Acks::None => {
                to.cluster.forget(&to.topic).await;
                back_off(attempts).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn attempt(to: &Destination, partition: i32, bytes: &Bytes) -> Result<i64, ClientError> {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(bytes.clone()));
    let name = TopicName(StrBytes::from_string(to.topic.clone()));
    let topic = TopicProduceData::default().with_name(name).with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(to.acks.on_the_wire())
        .with_timeout_ms(to.timeout_ms)
        .with_topic_data(vec![topic]);
    let connection = to.cluster.leader(&to.topic, partition).await?;
    if to.acks == Acks::None {
        connection.tell(&request).await?;
        return Ok(-1);
    }
    let response = connection.ask(&request).await?;
    let answer = response.responses.first().and_then(|topic| topic.partition_responses.first());
    let Some(answer) = answer else {
        let address = connection.address().to_owned();
        let reason = "its Produce response has no result".to_owned();
        return Err(ClientError::Malformed { address, reason });
    };
    // A repeated batch whose first answer was lost: it is there, once.
    if answer.error_code == ErrorCode::DuplicateSequenceNumber.code() {
        return Ok(answer.base_offset);
    }
    check(answer.error_code, &format!("{}-{partition}", to.topic), refusal(answer).as_deref())?;
    Ok(answer.base_offset)
}

/// The broker's sentence, with the record that it is about where it says so.
fn refusal(answer: &PartitionProduceResponse) -> Option<String> {
    let record = answer.record_errors.first().map(|error| {
        let reason = error.batch_index_error_message.as_deref().unwrap_or("no reason given");
        format!("record {} of the batch: {reason}", error.batch_index)
    });
    match (answer.error_message.as_deref(), record) {
        (Some(message), Some(record)) => Some(format!("{message} ({record})")),
        (Some(message), None) => Some(message.to_owned()),
        (None, record) => record,
    }
}
