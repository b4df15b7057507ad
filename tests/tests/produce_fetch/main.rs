//! The way of a record, over real sockets, against a broker process: produce, fetch, offsets, restarts.

mod compaction;
mod folders;
mod listeners;
mod log_dirs;
mod reads;
mod refusals;
mod topics_at_work;

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, InitProducerIdRequest, ListOffsetsRequest,
    ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_model::batch::{Batches, Builder, Compression, Limit, Producer, Records, records_area};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;

const OUT_OF_ORDER: i16 = 45;

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// A request for a topic with the broker's own configs.
fn creation(topic: &str, partitions: i32) -> CreateTopicsRequest {
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000)
}

async fn create(raw: &mut Raw, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<i16> {
    let configs = configs.iter().map(|(key, value)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string((*key).to_owned()))
            .with_value(Some(StrBytes::from_string((*value).to_owned())))
    });
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let response = raw.call(&request, 5).await?;
    Ok(response.topics[0].error_code)
}

fn batch(records: &[(&str, &str)], producer: Option<Producer>) -> Result<Bytes> {
    let mut builder = Builder::new(Compression::None);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    let now_ms =
        i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis())?;
    for (key, value) in records {
        builder.append(now_ms, Some(key.as_bytes()), Some(value.as_bytes()), [])?;
    }
    Ok(Bytes::from(builder.finish()?))
}

async fn produce(
    raw: &mut Raw,
    topic: &str,
    partition: i32,
    records: Bytes,
    acks: i16,
) -> Result<PartitionProduceResponse> {
    let response = raw.call(&request(topic, partition, records, acks), 9).await?;
    Ok(response.responses[0].partition_responses[0].clone())
}

fn request(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![
        TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]),
    ])
}

async fn fetch(
    raw: &mut Raw,
    topic: &str,
    partition: i32,
    offset: i64,
    wait_ms: i32,
) -> Result<PartitionData> {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(50 << 20);
    let request = FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic(name(topic)).with_partitions(vec![wanted])]);
    let response = raw.call(&request, 11).await?;
    Ok(response.responses[0].partitions[0].clone())
}

/// (offset, key, value) of everything in an answer.
fn records(data: &PartitionData) -> Result<Vec<(i64, String, String)>> {
    let bytes = data.records.clone().unwrap_or_default();
    let mut all = Vec::new();
    for batch in Batches::new(&bytes) {
        let (header, bytes) = batch?;
        let mut scratch = Vec::new();
        let area = records_area(bytes, &mut scratch, Limit::default())?;
        for record in Records::new(area, header.record_count)? {
            let record = record?;
            let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
            all.push((
                header.base_offset + i64::from(record.offset_delta),
                text(record.key),
                text(record.value),
            ));
        }
    }
    Ok(all)
}

async fn end_offset(raw: &mut Raw, topic: &str, partition: i32) -> Result<i64> {
    let wanted = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(-1);
    let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![wanted]);
    let response = raw.call(&ListOffsetsRequest::default().with_topics(vec![topic]), 5).await?;
    Ok(response.topics[0].partitions[0].offset)
}

#[tokio::test]
async fn what_was_produced_is_fetched_also_after_kill_9() -> Result<()> {
    let mut broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    assert_eq!(create(&mut raw, "orders", 2, &[]).await?, 0);
    for round in 0..3 {
        let records = batch(&[("a", "1"), ("b", "2")], None)?;
        let answer = produce(&mut raw, "orders", 1, records, -1).await?;
        assert_eq!((answer.error_code, answer.base_offset), (0, round * 2));
    }
    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    let data = fetch(&mut raw, "orders", 1, 0, 0).await?;
    let offsets: Vec<i64> = records(&data)?.iter().map(|(offset, _, _)| *offset).collect();
    assert_eq!((data.error_code, data.high_watermark, offsets), (0, 6, (0..6).collect()));
    assert_eq!(fetch(&mut raw, "orders", 1, 7, 0).await?.error_code, 1, "OFFSET_OUT_OF_RANGE");
    broker.terminate()
}

#[tokio::test]
async fn a_long_poll_is_woken_by_the_append() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut writer = broker.connect().await?;
    let mut reader = broker.connect().await?;
    create(&mut writer, "tail", 1, &[]).await?;
    let waiting = tokio::spawn(async move { fetch(&mut reader, "tail", 0, 0, 60_000).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    produce(&mut writer, "tail", 0, batch(&[("k", "v")], None)?, -1).await?;
    // Far below the wait that the reader asked for: only the append can have woken it.
    let data = tokio::time::timeout(Duration::from_secs(20), waiting).await???;
    assert_eq!(records(&data)?.len(), 1);
    Ok(())
}

/// Records that lie in files are sent by the kernel while the client reads; meanwhile their topic may go.
#[tokio::test]
async fn an_answer_on_its_way_outlives_its_topic() -> Result<()> {
    const BATCHES: usize = 24;
    let broker = Process::start(&[])?;
    let mut admin = broker.connect().await?;
    assert_eq!(create(&mut admin, "leaving", 2, &[("file.delete.delay.ms", "0")]).await?, 0);
    let value = "v".repeat(900_000);
    for number in 0..BATCHES {
        let records = batch(&[(&number.to_string(), &value)], None)?;
        assert_eq!(produce(&mut admin, "leaving", (number % 2) as i32, records, -1).await?.error_code, 0);
    }
    assert_eq!(
        produce(&mut admin, "leaving", 1, batch(&[("last", "small")], None)?, -1).await?.error_code,
        0
    );

    let mut reader = broker.connect().await?;
    let wanted = [0, 1].map(|partition| {
        FetchPartition::default().with_partition(partition).with_partition_max_bytes(50 << 20)
    });
    let topic = FetchTopic::default().with_topic(name("leaving")).with_partitions(wanted.into());
    let request = FetchRequest::default()
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let id = reader.send(&request, 12).await?;
    // The first bytes of the answer are there, so the ranges were chosen.
    reader.stream().readable().await?;
    let delete =
        DeleteTopicsRequest::default().with_topic_names(vec![name("leaving")]).with_timeout_ms(10_000);
    assert_eq!(admin.call(&delete, 5).await?.responses[0].error_code, 0);
    let is_there = || -> Result<bool> {
        let mut names =
            std::fs::read_dir(broker.data())?.filter_map(Result::ok).map(|entry| entry.file_name());
        Ok(names.any(|name| name.to_string_lossy().starts_with("leaving")))
    };
    while is_there()? {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let response = reader.receive::<FetchRequest>(id, 12).await?;
    let mut keys = Vec::new();
    for partition in &response.responses[0].partitions {
        for batch in Batches::new(&partition.records.clone().unwrap_or_default()) {
            ottla_model::batch::check_crc(batch?.1)?;
        }
        keys.extend(records(partition)?.into_iter().map(|(_, key, value)| (key, value.len())));
    }
    let expected = |odd: usize| (odd..BATCHES).step_by(2).map(|number| (number.to_string(), value.len()));
    let last = ("last".to_owned(), "small".len());
    assert_eq!(keys, Vec::from_iter(expected(0).chain(expected(1)).chain([last])));
    Ok(())
}

#[tokio::test]
async fn idempotence_follows_kafkas_rules_across_a_restart() -> Result<()> {
    let mut broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "once", 1, &[]).await?;
    let wish = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(1000);
    let id = raw.call(&wish, 4).await?;
    assert_eq!(id.error_code, 0);
    let producer = |base_sequence| Producer { id: id.producer_id.0, epoch: id.producer_epoch, base_sequence };
    let first = batch(&[("a", "1"), ("b", "2")], Some(producer(0)))?;
    let second = batch(&[("c", "3")], Some(producer(2)))?;
    assert_eq!(produce(&mut raw, "once", 0, first.clone(), -1).await?.base_offset, 0);
    assert_eq!(produce(&mut raw, "once", 0, second.clone(), -1).await?.base_offset, 2);
    assert_eq!(produce(&mut raw, "once", 0, first.clone(), -1).await?.base_offset, 0, "a duplicate");
    let gap = batch(&[("d", "4")], Some(producer(9)))?;
    assert_eq!(produce(&mut raw, "once", 0, gap, -1).await?.error_code, OUT_OF_ORDER);
    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    let again = produce(&mut raw, "once", 0, second, -1).await?;
    assert_eq!((again.error_code, again.base_offset), (0, 2), "a duplicate after the restart");
    let third = batch(&[("e", "5")], Some(producer(3)))?;
    assert_eq!(produce(&mut raw, "once", 0, third, -1).await?.base_offset, 3);
    assert_eq!(end_offset(&mut raw, "once", 0).await?, 4);
    Ok(())
}

#[tokio::test]
async fn a_plugin_decides_where_records_go_and_changes_under_traffic() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    let config = r#"{"vip":{"prefix":"vip-"},"share":0.8}"#;
    let configs = [("ottla.partitioner", "vip-weighted"), ("ottla.partitioner.config", config)];
    assert_eq!(create(&mut raw, "vips", 10, &configs).await?, 0);
    let refused = [("ottla.partitioner", "no-such-plugin")];
    assert_eq!(create(&mut raw, "none", 10, &refused).await?, 40, "INVALID_CONFIG");

    let keys: Vec<String> =
        (0..500).map(|n| if n % 2 == 0 { format!("vip-{n}") } else { format!("user-{n}") }).collect();
    let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "x")).collect();
    let answer = produce(&mut raw, "vips", 0, batch(&pairs, None)?, -1).await?;
    assert_eq!(answer.error_code, 0);
    let mut seen = 0;
    for partition in 0..10 {
        let data = fetch(&mut raw, "vips", partition, 0, 0).await?;
        let records = records(&data)?;
        let offsets: Vec<i64> = records.iter().map(|(offset, _, _)| *offset).collect();
        assert_eq!(offsets, (0..offsets.len() as i64).collect::<Vec<_>>(), "dense offsets");
        assert!(
            records.iter().all(|(_, key, _)| key.starts_with("vip-") == (partition < 8)),
            "partition {partition}"
        );
        seen += records.len();
    }
    assert_eq!(seen, keys.len(), "each record is somewhere, once");
    Ok(())
}
