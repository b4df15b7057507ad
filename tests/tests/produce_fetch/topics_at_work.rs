//! Topics that come and go, and segments that go, while clients write and read; and more partitions than a process may
//! have files open.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{DeleteTopicsRequest, FetchRequest, ProduceRequest};
use kafka_protocol::protocol::StrBytes;
use ottla_model::batch::Batches;
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;

use crate::{batch, create, end_offset, fetch, name, produce, records};

/// How often the topic is deleted and created again; CI asks for more.
const DELETIONS: &str = "OTTLA_TEST_DELETIONS";
/// What a client may be told of a topic that goes: OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION,
/// NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS (a destination of moved records is gone).
const OF_A_TOPIC_THAT_GOES: [i16; 5] = [0, 1, 3, 6, 19];

fn named(data: &Path, topic: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(data)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(topic) {
            found.insert(name);
        }
    }
    Ok(found)
}

async fn delete(raw: &mut Raw, topic: &str) -> Result<()> {
    let request = DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]).with_timeout_ms(10_000);
    let answer = raw.call(&request, 5).await?;
    ensure!(answer.responses[0].error_code == 0, "{answer:?}");
    Ok(())
}

/// Writes to every partition until `stop`; counts what was acknowledged.
async fn keep_writing(mut raw: Raw, stop: Arc<AtomicBool>, written: Arc<AtomicUsize>) -> Result<()> {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let keys: Vec<String> = (0..20).map(|key| format!("w-{number}-{key}")).collect();
        let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "x")).collect();
        let answer = produce(&mut raw, "churn", number % 3, batch(&pairs, None)?, -1).await?;
        ensure!(OF_A_TOPIC_THAT_GOES.contains(&answer.error_code), "{answer:?}");
        written.fetch_add(usize::from(answer.error_code == 0), Ordering::Relaxed);
    }
    Ok(())
}

async fn keep_reading(mut raw: Raw, stop: Arc<AtomicBool>) -> Result<()> {
    let mut offset = 0;
    while !stop.load(Ordering::Relaxed) {
        let data = fetch(&mut raw, "churn", 1, offset, 20).await?;
        ensure!(OF_A_TOPIC_THAT_GOES.contains(&data.error_code), "{data:?}");
        offset = match records(&data)?.last() {
            Some((last, _, _)) => last + 1,
            None => 0,
        };
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_deleted_and_created_again_while_clients_use_it() -> Result<()> {
    let rounds: usize = std::env::var(DELETIONS).map_or(Ok(40), |given| given.parse())?;
    // The broker's own loops meet partitions that are on their way out all the time.
    let mut broker = Process::start(&[
        "auto.create.topics.enable=false",
        "log.flush.offset.checkpoint.interval.ms=20",
        "log.flush.start.offset.checkpoint.interval.ms=20",
        "log.flush.scheduler.interval.ms=20",
        "log.retention.check.interval.ms=20",
    ])?;
    let mut raw = broker.connect().await?;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(tokio::spawn(keep_writing(broker.connect().await?, stop.clone(), written.clone())));
        clients.push(tokio::spawn(keep_reading(broker.connect().await?, stop.clone())));
    }
    let configs = [("file.delete.delay.ms", "0"), ("ottla.partitioner", "key-hash")];
    for round in 0..rounds {
        let created = create(&mut raw, "churn", 3, &configs).await?;
        ensure!(created == 0, "round {round}: {created}");
        let mark = format!("mark-{round}");
        let marked = produce(&mut raw, "churn", 0, batch(&[(&mark, "x")], None)?, -1).await?;
        ensure!(marked.error_code == 0, "round {round}: {marked:?}");
        for partition in 0..3 {
            let data = fetch(&mut raw, "churn", partition, 0, 0).await?;
            ensure!(data.error_code == 0, "round {round}: {data:?}");
            for (_, key, _) in records(&data)? {
                ensure!(key == mark || key.starts_with("w-"), "round {round} holds {key} of an earlier one");
            }
        }
        delete(&mut raw, "churn").await?;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await??;
    }
    ensure!(written.load(Ordering::Relaxed) > rounds / 4, "writers hardly met a topic");
    let gone = async {
        while !named(broker.data(), "churn")?.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), gone).await;
    in_time.ok().context("folders are left over")??;
    broker.terminate()?;
    // Nothing but the metadata looks like a partition, on its way out or not.
    let left = named(broker.data(), "")?;
    let is_partition = |name: &&String| {
        name.ends_with("-delete")
            || name.ends_with("-stray")
            || name.rsplit_once('-').is_some_and(|(_, end)| end.parse::<u32>().is_ok())
    };
    assert_eq!(left.iter().filter(is_partition).collect::<Vec<_>>(), ["__cluster_metadata-0"]);
    Ok(())
}

async fn set_for_all_brokers(raw: &mut Raw, key: &'static str, value: &str) -> Result<()> {
    let config = AlterableConfig::default()
        .with_name(StrBytes::from_static_str(key))
        .with_value(Some(StrBytes::from_string(value.to_owned())));
    let resource = AlterConfigsResource::default().with_resource_type(4).with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = raw.call(&request, 1).await?;
    ensure!(answer.responses[0].error_code == 0, "{answer:?}");
    Ok(())
}

/// The answer to a slow reader lies in files that retention takes away meanwhile.
#[tokio::test]
async fn a_reader_finishes_while_the_segments_it_reads_are_deleted() -> Result<()> {
    let broker = Process::start(&["log.retention.check.interval.ms=50"])?;
    let mut admin = broker.connect().await?;
    let configs = [("segment.bytes", "1048576"), ("file.delete.delay.ms", "0")];
    create(&mut admin, "fading", 1, &configs).await?;
    let value = "v".repeat(900_000);
    for number in 0..24 {
        let records = batch(&[(&number.to_string(), &value)], None)?;
        ensure!(produce(&mut admin, "fading", 0, records, -1).await?.error_code == 0);
    }
    let mut readers = Vec::new();
    for offset in 0..24 {
        // Each begins in another segment, and holds that one's file alone.
        let mut reader = broker.connect().await?;
        let wanted = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(50 << 20);
        let topic = FetchTopic::default().with_topic(name("fading")).with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_min_bytes(1)
            .with_max_bytes(50 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let id = reader.send(&request, 12).await?;
        reader.stream().readable().await?;
        readers.push((offset, id, reader));
    }
    // The broker's default changes for all topics at once, without a restart.
    set_for_all_brokers(&mut admin, "log.retention.bytes", "0").await?;
    let folder = broker.data().join("fading-0");
    let logs = || -> Result<usize> {
        let names = fs::read_dir(&folder)?.filter_map(Result::ok).map(|entry| entry.file_name());
        Ok(names.filter(|name| name.to_string_lossy().contains(".log")).count())
    };
    while logs()? > 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for (offset, id, mut reader) in readers {
        let response = reader.receive::<FetchRequest>(id, 12).await?;
        let data = &response.responses[0].partitions[0];
        for batch in Batches::new(&data.records.clone().unwrap_or_default()) {
            ottla_model::batch::check_crc(batch?.1)?;
        }
        let found = records(data)?;
        let (first, key, read) = found.first().context("a batch")?;
        assert_eq!((*first, key, read.len()), (offset, &offset.to_string(), value.len()));
    }
    assert_eq!(fetch(&mut admin, "fading", 0, 0, 0).await?.error_code, 1, "a new reader finds them gone");
    assert_eq!(end_offset(&mut admin, "fading", 0).await?, 24);
    Ok(())
}

/// Retention follows the broker's defaults and a topic's own values, each from the next look on.
#[tokio::test]
async fn retention_follows_changed_defaults_without_a_restart() -> Result<()> {
    let broker = Process::start(&["log.retention.check.interval.ms=50"])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "by-default", 1, &[]).await?;
    create(&mut raw, "own", 1, &[("retention.ms", "3600000")]).await?;
    for topic in ["by-default", "own"] {
        ensure!(produce(&mut raw, topic, 0, batch(&[("k", "v")], None)?, -1).await?.error_code == 0);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(records(&fetch(&mut raw, "by-default", 0, 0, 0).await?)?.len(), 1);
    set_for_all_brokers(&mut raw, "log.retention.ms", "1").await?;
    // The active segment goes as well.
    while fetch(&mut raw, "by-default", 0, 0, 0).await?.error_code == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(end_offset(&mut raw, "by-default", 0).await?, 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(records(&fetch(&mut raw, "own", 0, 0, 0).await?)?.len(), 1, "its own value wins");
    Ok(())
}

#[tokio::test]
async fn two_thousand_partitions_need_few_open_files() -> Result<()> {
    const TOPICS: usize = 20;
    const PARTITIONS: i32 = 100;
    let mut broker = Process::start_under(&["prlimit", "--nofile=1024:1024"], &[])?;
    for life in 0..2 {
        let mut raw = broker.connect().await?;
        for topic in 0..TOPICS {
            let topic = format!("many-{topic}");
            if life == 0 {
                ensure!(create(&mut raw, &topic, PARTITIONS, &[]).await? == 0);
            }
            let one = |partition: i32| -> Result<PartitionProduceData> {
                let records = batch(&[("k", "v")], None)?;
                Ok(PartitionProduceData::default().with_index(partition).with_records(Some(records)))
            };
            let data = TopicProduceData::default()
                .with_name(name(&topic))
                .with_partition_data((0..PARTITIONS).map(one).collect::<Result<_>>()?);
            let request =
                ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![data]);
            for answer in &raw.call(&request, 9).await?.responses[0].partition_responses {
                ensure!(answer.error_code == 0 && answer.base_offset == life, "{answer:?}");
            }
        }
        for topic in (0..TOPICS).map(|topic| format!("many-{topic}")) {
            for partition in (0..PARTITIONS).step_by(7) {
                let data = fetch(&mut raw, &topic, partition, 0, 0).await?;
                ensure!(records(&data)?.len() as i64 == life + 1, "{data:?}");
            }
        }
        let limits = fs::read_to_string(format!("/proc/{}/limits", broker.pid()))?;
        let bound = limits.lines().find(|line| line.starts_with("Max open files")).context("a bound")?;
        assert_eq!(bound.split_whitespace().nth(4), Some("1024"), "the hard one");
        let open = fs::read_dir(format!("/proc/{}/fd", broker.pid()))?.count();
        assert!(open < 700, "{open} files are open");
        broker.kill()?;
        broker.restart()?;
    }
    Ok(())
}
