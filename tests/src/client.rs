//! A client for suites that look at what a broker keeps and loses: topics, batches of numbered values, and all that a
//! partition holds, one call each, over one connection.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, InitProducerIdRequest, ListOffsetsRequest,
    MetadataRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_model::batch::{Batches, Builder, Compression, Limit, Producer, Records, records_area};

use crate::raw::Raw;

/// Asked for at once by a fetch.
const FETCH_BYTES: i32 = 8 << 20;

/// One record as a consumer sees it.
pub type Read = (i64, String);

pub struct Client {
    raw: Raw,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Result<Client> {
        Ok(Client { raw: Raw::connect(address).await? })
    }

    /// Creates a topic and answers the code and the sentence.
    pub async fn create(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<(i16, String)> {
        let configs = configs.iter().map(|(key, value)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let answer = self.raw.call(&request, 5).await?.topics.into_iter().next().context("no topic")?;
        Ok((answer.error_code, answer.error_message.map(|text| text.to_string()).unwrap_or_default()))
    }

    pub async fn delete(&mut self, topic: &str) -> Result<i16> {
        let request =
            DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]).with_timeout_ms(10_000);
        Ok(self.raw.call(&request, 5).await?.responses.first().context("no topic")?.error_code)
    }

    /// A producer id, with sequences that begin at 0.
    pub async fn producer(&mut self) -> Result<Producer> {
        let answer = self.raw.call(&InitProducerIdRequest::default().with_transactional_id(None), 4).await?;
        ensure!(answer.error_code == 0, "InitProducerId was answered {}", answer.error_code);
        Ok(Producer { id: answer.producer_id.0, epoch: answer.producer_epoch, base_sequence: 0 })
    }

    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
        acks: i16,
    ) -> Result<PartitionProduceResponse> {
        let answer = self.raw.call(&production(topic, partition, batch, acks), 9).await?;
        let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        partition.cloned().context("no partition")
    }

    /// Sends a batch with acks=all and does not wait. Returns what [`Client::receive_batch`] takes.
    pub async fn send_batch(&mut self, topic: &str, partition: i32, batch: Bytes) -> Result<i32> {
        self.raw.send(&production(topic, partition, batch, -1), 9).await
    }

    /// The code of the answer to a batch; answers come in the order of the batches.
    pub async fn receive_batch(&mut self, id: i32) -> Result<i16> {
        let answer = self.raw.receive::<ProduceRequest>(id, 9).await?;
        let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        Ok(partition.context("no partition")?.error_code)
    }

    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        wait_ms: i32,
    ) -> Result<PartitionData> {
        let wanted = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(FETCH_BYTES);
        let request = FetchRequest::default()
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES)
            .with_session_epoch(-1)
            .with_topics(vec![FetchTopic::default().with_topic(name(topic)).with_partitions(vec![wanted])]);
        let answer = self.raw.call(&request, 11).await?;
        let partition = answer.responses.first().and_then(|topic| topic.partitions.first());
        partition.cloned().context("no partition")
    }

    /// Everything from the partition's start to its high watermark: offsets and values. Checks CRCs, as consumers do.
    pub async fn read_all(&mut self, topic: &str, partition: i32) -> Result<Vec<Read>> {
        let start = self.offset(topic, partition, -2).await?;
        ensure!(start.error_code == 0, "the start of {topic}-{partition}: {}", start.error_code);
        self.read_from(topic, partition, start.offset).await
    }

    /// As [`Client::read_all`], from an offset on.
    pub async fn read_from(&mut self, topic: &str, partition: i32, from: i64) -> Result<Vec<Read>> {
        let (mut read, mut next) = (Vec::new(), from);
        loop {
            let answer = self.fetch(topic, partition, next, 0).await?;
            ensure!(answer.error_code == 0, "fetch of {topic}-{partition} at {next}: {}", answer.error_code);
            let before = read.len();
            next = values(&answer.records.unwrap_or_default(), next, &mut read)?;
            if next >= answer.high_watermark {
                return Ok(read);
            }
            ensure!(read.len() > before, "{topic}-{partition} yields nothing at {next}");
        }
    }

    /// ListOffsets: -1 for the end, -2 for the start.
    pub async fn offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> Result<ListOffsetsPartitionResponse> {
        let wanted =
            ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![wanted]);
        let answer = self.raw.call(&ListOffsetsRequest::default().with_topics(vec![topic]), 5).await?;
        let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
        partition.cloned().context("no partition")
    }

    pub async fn metadata(&mut self, topic: &str) -> Result<MetadataResponseTopic> {
        let asked = MetadataRequestTopic::default().with_name(Some(name(topic)));
        let request =
            MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(false);
        self.raw.call(&request, 9).await?.topics.into_iter().next().context("no topic")
    }
}

fn production(topic: &str, partition: i32, batch: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

/// An uncompressed batch of these values.
pub fn batch<T: AsRef<[u8]>>(values: &[T], producer: Option<Producer>) -> Result<Bytes> {
    let mut builder = Builder::new(Compression::None);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    for value in values {
        builder.append(i64::try_from(now.as_millis())?, Some(b"key"), Some(value.as_ref()), [])?;
    }
    Ok(Bytes::from(builder.finish()?))
}

/// Takes the values from `from` on out of whole batches; the last one may be cut. Returns the offset to go on at.
fn values(bytes: &[u8], from: i64, into: &mut Vec<Read>) -> Result<i64> {
    let mut next = from;
    for batch in Batches::new(bytes) {
        let Ok((header, bytes)) = batch else { break };
        ottla_model::batch::check_crc(bytes)?;
        let mut scratch = Vec::new();
        let area = records_area(bytes, &mut scratch, Limit::default())?;
        for record in Records::new(area, header.record_count)? {
            let record = record?;
            let offset = header.base_offset + i64::from(record.offset_delta);
            let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            if offset >= from {
                into.push((offset, value));
            }
        }
        next = header.next_offset();
    }
    Ok(next)
}

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
