//! The topic by single messages, from the broker itself and not through the proxy: created, reloaded, read whole.

use anyhow::{Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, IncrementalAlterConfigsRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_model::batch::{Batches, Header, Limit, Records, records_area};
use ottla_tests::raw::Raw;

use super::workload::{Name, PARTITIONS};

pub const TOPIC: &str = "proof";
const TOPIC_RESOURCE: i8 = 2;
const SET: i8 = 0;
const FETCH_BYTES: i32 = 8 << 20;

pub fn topic_name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

pub async fn create(raw: &mut Raw, configs: &[(&str, &str)]) -> Result<()> {
    let configs = configs.iter().map(|(key, value)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string((*key).to_owned()))
            .with_value(Some(StrBytes::from_string((*value).to_owned())))
    });
    let topic = CreatableTopic::default()
        .with_name(topic_name())
        .with_num_partitions(PARTITIONS)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let response = raw.call(&request, 5).await?;
    ensure!(response.topics[0].error_code == 0, "{:?}", response.topics[0].error_message);
    Ok(())
}

/// Changes one config, as `kafka-configs --alter` does.
pub async fn alter(raw: &mut Raw, key: &str, value: String) -> Result<()> {
    let config = AlterableConfig::default()
        .with_name(StrBytes::from_string(key.to_owned()))
        .with_config_operation(SET)
        .with_value(Some(StrBytes::from_string(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(StrBytes::from_static_str(TOPIC))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response = raw.call(&request, 1).await?;
    ensure!(response.responses[0].error_code == 0, "{:?}", response.responses[0].error_message);
    Ok(())
}

/// A record as a consumer gets it.
pub struct Read {
    pub offset: i64,
    pub name: Name,
    pub created_ms: i64,
    /// The batch came out of a lane.
    pub forwarded: bool,
}

/// Everything of one partition, in its order.
pub async fn read(raw: &mut Raw, partition: i32) -> Result<Vec<Read>> {
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let wanted = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(next)
            .with_partition_max_bytes(FETCH_BYTES);
        let topic = FetchTopic::default().with_topic(topic_name()).with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_max_bytes(FETCH_BYTES)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let response = raw.call(&request, 11).await?;
        let data = &response.responses[0].partitions[0];
        ensure!(data.error_code == 0, "partition {partition} at {next}: error {}", data.error_code);
        let before = next;
        let bytes = data.records.clone().unwrap_or_default();
        for batch in Batches::new(&bytes) {
            // The last batch of an answer may be cut; it begins the next one.
            let Ok((header, batch)) = batch else { break };
            ensure!(
                header.base_offset == next,
                "partition {partition}: {} follows {next}",
                header.base_offset
            );
            next = header.next_offset();
            all.extend(records(&header, batch)?.into_iter().map(|(delta, name, created_ms)| Read {
                offset: header.base_offset + i64::from(delta),
                name,
                created_ms,
                forwarded: ottla_replication::is_marked(header.producer_id),
            }));
        }
        if next == before {
            ensure!(next == data.high_watermark, "partition {partition} ends at {next} for its readers");
            return Ok(all);
        }
    }
}

/// Offset delta, name and timestamp of each record of a batch, whose key must be the one that its name asks for.
pub fn records(header: &Header, batch: &[u8]) -> Result<Vec<(i32, Name, i64)>> {
    let mut scratch = Vec::new();
    let area = records_area(batch, &mut scratch, Limit::default())?;
    let mut all = Vec::new();
    for record in Records::new(area, header.record_count)? {
        let record = record?;
        let name = Name::of(record.value.unwrap_or_default())?;
        ensure!(record.key == Some(name.key().as_bytes()), "{name} has another's key");
        all.push((record.offset_delta, name, header.base_timestamp + record.timestamp_delta));
    }
    Ok(all)
}

/// A batch of these records of one producer.
pub fn batch(
    producer: ottla_model::batch::Producer,
    names: &[Name],
    value_bytes: usize,
    now_ms: i64,
) -> Result<Bytes> {
    let mut builder =
        ottla_model::batch::Builder::new(ottla_model::batch::Compression::None).producer(producer);
    for name in names {
        builder.append(now_ms, Some(name.key().as_bytes()), Some(name.value(value_bytes).as_bytes()), [])?;
    }
    Ok(Bytes::from(builder.finish()?))
}
