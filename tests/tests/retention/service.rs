//! A broker as these tests use it: a raw connection for records, and the HTTP admin.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest, FindCoordinatorRequest,
    GroupId, IncrementalAlterConfigsRequest, OffsetCommitRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_model::batch::{Batches, Builder, Compression, Limit, RecordHeader, Records, records_area};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;
use serde_json::Value;

pub struct Service {
    raw: Raw,
    admin: String,
    /// The time of the last batch: a second behind the one before, so that segments roll by time where a test wants.
    time_ms: i64,
}

/// A record as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: String,
    pub value: Vec<u8>,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Service {
    pub async fn connect(broker: &Process) -> Result<Service> {
        Ok(Service {
            raw: broker.connect().await?,
            admin: format!("http://{}", broker.admin),
            time_ms: now_ms() - 600_000,
        })
    }

    fn send(&self, method: &str, path: &str, body: Vec<u8>) -> Result<(u16, String)> {
        let agent = ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).build());
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.admin))
            .header("content-type", "application/json")
            .body(body)?;
        let mut answer = tokio::task::block_in_place(|| agent.run(request))?;
        Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
    }

    fn json(&self, method: &str, path: &str, body: Value) -> Result<(u16, Value)> {
        let (status, text) = self.send(method, path, body.to_string().into_bytes())?;
        Ok((status, serde_json::from_str(&text).with_context(|| format!("{path}: {status} {text}"))?))
    }

    pub fn put(&self, path: &str, body: Value) -> Result<(u16, Value)> {
        self.json("PUT", path, body)
    }

    pub fn post(&self, path: &str, body: Value) -> Result<(u16, Value)> {
        self.json("POST", path, body)
    }

    pub fn get_text(&self, path: &str) -> Result<String> {
        Ok(self.send("GET", path, Vec::new())?.1)
    }

    pub async fn create(&mut self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<()> {
        let config = |&(key, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let answer = &self.raw.call(&request, 5).await?.topics[0];
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(())
    }

    /// Sets configs, or removes those without a value.
    pub async fn alter(&mut self, topic: &str, changes: &[(&str, Option<&str>)]) -> Result<()> {
        let change = |&(key, value): &(&str, Option<&str>)| {
            AlterableConfig::default()
                .with_name(text(key))
                .with_config_operation(if value.is_some() { 0 } else { 1 })
                .with_value(value.map(text))
        };
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(topic))
            .with_configs(changes.iter().map(change).collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = &self.raw.call(&request, 1).await?.responses[0];
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(())
    }

    pub async fn delete_topic(&mut self, topic: &str) -> Result<i16> {
        let request =
            DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]).with_timeout_ms(10_000);
        Ok(self.raw.call(&request, 5).await?.responses[0].error_code)
    }

    pub async fn delete_records(&mut self, topic: &str, partition: i32, offset: i64) -> Result<i16> {
        let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        Ok(self.raw.call(&request, 2).await?.topics[0].partitions[0].error_code)
    }

    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        codec: Compression,
        records: &[(String, String)],
    ) -> Result<()> {
        let mut builder = Builder::new(codec);
        self.time_ms += 1_000;
        for (key, value) in records {
            builder.append(self.time_ms, Some(key.as_bytes()), Some(value.as_bytes()), [])?;
        }
        self.produce_batch(topic, partition, builder.finish()?).await
    }

    /// One record with a `ttl-ms` header, or without.
    pub async fn produce_with_header(
        &mut self,
        topic: &str,
        codec: Compression,
        timestamp: i64,
        key: &str,
        ttl_ms: Option<&str>,
    ) -> Result<()> {
        let mut builder = Builder::new(codec);
        let header = ttl_ms.map(|ttl| RecordHeader { key: b"ttl-ms", value: Some(ttl.as_bytes()) });
        builder.append(timestamp, Some(key.as_bytes()), Some(b"value"), header)?;
        self.produce_batch(topic, 0, builder.finish()?).await
    }

    async fn produce_batch(&mut self, topic: &str, partition: i32, batch: Vec<u8>) -> Result<()> {
        let data =
            PartitionProduceData::default().with_index(partition).with_records(Some(Bytes::from(batch)));
        let data = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
        let request =
            ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![data]);
        let answer = self.raw.call(&request, 9).await?.responses[0].partition_responses[0].clone();
        ensure!(answer.error_code == 0, "error {}: {answer:?}", answer.error_code);
        Ok(())
    }

    /// Commits an offset of a group without members, as tools do.
    pub async fn commit(&mut self, group: &str, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let offset = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(-1);
        let topic = OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![offset]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
        // The topic of offsets is made for the first group, and read after a start.
        for _ in 0..200 {
            let found = self.raw.call(&find, 4).await?.coordinators[0].error_code;
            let code = match found {
                0 => self.raw.call(&request, 8).await?.topics[0].partitions[0].error_code,
                code => code,
            };
            match code {
                0 => return Ok(()),
                // COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
                14..=16 => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                other => bail!("the commit of {group}: error {other}"),
            }
        }
        bail!("there is no coordinator for {group}")
    }

    /// Everything that consumers see of a topic, by partition and offset.
    pub async fn records(&mut self, topic: &str, partitions: i32) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for partition in 0..partitions {
            let mut offset = 0;
            loop {
                let (batches, log_start) = self.fetch(topic, partition, offset).await?;
                if offset < log_start {
                    offset = log_start;
                    continue;
                }
                let before = offset;
                for batch in Batches::new(&batches) {
                    let (header, bytes) = batch?;
                    let mut scratch = Vec::new();
                    let area = records_area(bytes, &mut scratch, Limit::default())?;
                    for record in Records::new(area, header.record_count)? {
                        let record = record?;
                        seen.push(Seen {
                            partition,
                            offset: header.base_offset + i64::from(record.offset_delta),
                            timestamp: header.base_timestamp + record.timestamp_delta,
                            key: String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned(),
                            value: record.value.unwrap_or_default().to_vec(),
                        });
                    }
                    offset = header.next_offset();
                }
                if offset == before {
                    break;
                }
            }
        }
        Ok(seen)
    }

    async fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Result<(Bytes, i64)> {
        let wanted = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(1 << 20);
        let wanted = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(8 << 20)
            .with_topics(vec![wanted]);
        let answer = self.raw.call(&request, 11).await?.responses[0].partitions[0].clone();
        match answer.error_code {
            0 => Ok((answer.records.unwrap_or_default(), answer.log_start_offset)),
            // Below the log's start; what it is stands in an answer that is in range.
            1 => Ok((Bytes::new(), self.log_start(topic, partition).await?)),
            other => bail!("fetch: error {other}"),
        }
    }

    async fn log_start(&mut self, topic: &str, partition: i32) -> Result<i64> {
        use kafka_protocol::messages::ListOffsetsRequest;
        use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
        let wanted = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(-2);
        let wanted = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![wanted]);
        Ok(self.raw.call(&request, 5).await?.topics[0].partitions[0].offset)
    }

    /// The entries of the audit topic.
    pub async fn audit(&mut self) -> Result<Vec<Value>> {
        let records = self.records("__ottla_audit", 1).await?;
        records.iter().map(|record| Ok(serde_json::from_slice(&record.value)?)).collect()
    }

    /// Waits until something is true; a wait that never ends is the failure.
    pub async fn until(
        &mut self,
        what: &str,
        mut check: impl AsyncFnMut(&mut Service) -> Result<bool>,
    ) -> Result<()> {
        for _ in 0..400 {
            if check(self).await? {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        bail!("never: {what}")
    }
}
