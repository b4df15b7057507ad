//! Compacted topics over sockets: the newest record of each key stays at its offset, tombstones go when their time has
//! come, records without a key are refused, and a kill in between changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::IncrementalAlterConfigsRequest;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::protocol::StrBytes;
use ottla_model::batch::{Batches, Builder, Compression, Limit, Records, records_area};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;

use crate::{create, end_offset, fetch, produce};

const INVALID_RECORD: i16 = 87;

/// By offset: key, and value or tombstone.
type Log = BTreeMap<i64, (String, Option<String>)>;

/// Each batch has a time of its own, so that each is a segment of its own.
struct Writer {
    raw: Raw,
    topic: &'static str,
    time_ms: i64,
    written: Log,
}

impl Writer {
    async fn write(&mut self, records: &[(&str, Option<&str>)]) -> Result<()> {
        let codec = Compression::ALL[self.written.len() % 5];
        let mut builder = Builder::new(codec);
        self.time_ms += 100;
        for (key, value) in records {
            builder.append(self.time_ms, Some(key.as_bytes()), value.map(str::as_bytes), [])?;
        }
        let answer = produce(&mut self.raw, self.topic, 0, Bytes::from(builder.finish()?), -1).await?;
        ensure!(answer.error_code == 0, "{answer:?}");
        for (delta, (key, value)) in records.iter().enumerate() {
            let record = ((*key).to_owned(), value.map(str::to_owned));
            self.written.insert(answer.base_offset + delta as i64, record);
        }
        Ok(())
    }

    /// What must be left of everything written but the last batch, which lies in the active segment: the newest record
    /// of each key.
    fn compacted(&self, active_from: i64) -> Log {
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for (offset, (key, _)) in self.written.range(..active_from) {
            newest.insert(key, *offset);
        }
        let stays = |offset: &i64, key: &str| *offset >= active_from || newest.get(key) == Some(offset);
        self.written
            .iter()
            .filter(|(offset, (key, _))| stays(offset, key))
            .map(|(offset, record)| (*offset, record.clone()))
            .collect()
    }
}

/// Everything that a consumer finds from offset 0 on.
async fn read(raw: &mut Raw, topic: &str) -> Result<Log> {
    let (mut log, mut offset) = (Log::new(), 0);
    let end = end_offset(raw, topic, 0).await?;
    while offset < end {
        let data = fetch(raw, topic, 0, offset, 0).await?;
        ensure!(data.error_code == 0, "{data:?}");
        let bytes = data.records.unwrap_or_default();
        let before = offset;
        for batch in Batches::new(&bytes) {
            let (header, batch) = batch?;
            let mut scratch = Vec::new();
            let area = records_area(batch, &mut scratch, Limit::default())?;
            for record in Records::new(area, header.record_count)? {
                let record = record?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let key = text(record.key.context("a compacted topic has no record without a key")?);
                log.insert(
                    header.base_offset + i64::from(record.offset_delta),
                    (key, record.value.map(text)),
                );
            }
            offset = header.next_offset();
        }
        ensure!(offset > before, "nothing at {before} of {end}");
    }
    Ok(log)
}

async fn wait_for(raw: &mut Raw, topic: &str, wanted: &Log) -> Result<()> {
    let arrival = async {
        while read(raw, topic).await? != *wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    if tokio::time::timeout(Duration::from_secs(60), arrival).await.is_err() {
        assert_eq!(read(raw, topic).await?, *wanted);
    }
    Ok(())
}

async fn start(delete_retention_ms: &str) -> Result<(Process, Writer)> {
    let broker = Process::start(&["log.cleaner.backoff.ms=20", "log.cleaner.threads=2"])?;
    let mut raw = broker.connect().await?;
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "50"),
        ("min.cleanable.dirty.ratio", "0"),
        ("delete.retention.ms", delete_retention_ms),
        ("file.delete.delay.ms", "0"),
    ];
    ensure!(create(&mut raw, "states", 1, &configs).await? == 0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let time_ms = i64::try_from(since.as_millis())? - 1_000_000;
    Ok((broker, Writer { raw, topic: "states", time_ms, written: Log::new() }))
}

#[tokio::test]
async fn the_newest_record_of_each_key_stays_at_its_offset_also_after_kill_9() -> Result<()> {
    let (mut broker, mut writer) = start("86400000").await?;
    for round in 0..40 {
        let value = "v".repeat(round + 1);
        let keys: Vec<String> = (0..4).map(|record| format!("key-{}", (round * 3 + record) % 7)).collect();
        let records: Vec<(&str, Option<&str>)> =
            keys.iter().map(|key| (key.as_str(), Some(value.as_str()))).collect();
        writer.write(&records).await?;
    }
    writer.write(&[("key-1", None)]).await?;
    writer.write(&[("last", Some("of all"))]).await?;
    let end = end_offset(&mut writer.raw, "states", 0).await?;
    let wanted = writer.compacted(end - 1);
    assert_eq!(wanted.len(), 8, "seven keys and the last record");
    let mut raw = broker.connect().await?;
    wait_for(&mut raw, "states", &wanted).await?;

    let mut keyless = Builder::new(Compression::None);
    keyless.append(writer.time_ms, None, Some(b"value"), [])?;
    let answer = produce(&mut raw, "states", 0, Bytes::from(keyless.finish()?), -1).await?;
    assert_eq!(answer.error_code, INVALID_RECORD);

    let checkpoint = broker.data().join("cleaner-offset-checkpoint");
    let wanted_line = format!("states 0 {}", end - 1);
    let noted = async {
        while !std::fs::read_to_string(&checkpoint).unwrap_or_default().contains(&wanted_line) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), noted).await?;
    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    assert_eq!(read(&mut raw, "states").await?, wanted);
    assert_eq!(end_offset(&mut raw, "states", 0).await?, end);
    broker.terminate()
}

#[tokio::test]
async fn a_tombstone_goes_once_its_time_has_come() -> Result<()> {
    let (mut broker, mut writer) = start("1").await?;
    writer.write(&[("gone", Some("value")), ("stays", Some("value"))]).await?;
    writer.write(&[("gone", None)]).await?;
    let mut raw = broker.connect().await?;
    // Each further record makes the log dirty again; two rounds are needed for a tombstone: one that marks it with its
    // time, and one behind that time.
    let departure = async {
        for tick in 0.. {
            writer.write(&[("tick", Some(&tick.to_string()))]).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let log = read(&mut raw, "states").await?;
            if !log.values().any(|(key, _)| key == "gone") {
                let stays = log.get(&1).cloned();
                assert_eq!(stays, Some(("stays".to_owned(), Some("value".to_owned()))));
                break;
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), departure).await??;
    let metrics =
        ureq::get(format!("http://{}/metrics", broker.admin)).call()?.body_mut().read_to_string()?;
    let figure = |name: &str| -> Option<f64> {
        let line = metrics.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    assert!(figure("ottla_cleaner_rounds_total ") >= Some(2.0), "{metrics}");
    assert!(figure("ottla_cleaner_read_bytes_total ") > figure("ottla_cleaner_kept_bytes_total "));
    assert_eq!(figure("ottla_cleaner_uncleanable_partitions "), Some(0.0));
    assert!(figure("ottla_cleaner_seconds_since_run ") >= Some(0.0));
    broker.terminate()
}

#[tokio::test]
async fn a_damaged_log_is_left_alone_and_counted() -> Result<()> {
    let (broker, mut writer) = start("1").await?;
    ensure!(create(&mut writer.raw, "damaged", 1, &[("segment.ms", "50")]).await? == 0);
    writer.topic = "damaged";
    for _ in 0..3 {
        writer.write(&[("key", Some("value"))]).await?;
    }
    let path = broker.data().join("damaged-0").join(format!("{:020}.log", 0));
    let mut bytes = std::fs::read(&path)?;
    *bytes.last_mut().context("it has bytes")? ^= 1;
    std::fs::write(&path, &bytes)?;
    let change = |key: &str, value: &str| {
        AlterableConfig::default()
            .with_name(StrBytes::from_string(key.to_owned()))
            .with_value(Some(StrBytes::from_string(value.to_owned())))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_static_str("damaged"))
        .with_configs(vec![change("cleanup.policy", "compact"), change("min.cleanable.dirty.ratio", "0")]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    assert_eq!(writer.raw.call(&request, 1).await?.responses[0].error_code, 0);
    let marked = async {
        loop {
            let url = format!("http://{}/metrics", broker.admin);
            let page = ureq::get(url).call()?.body_mut().read_to_string()?;
            if page.contains("ottla_cleaner_uncleanable_partitions 1") {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), marked).await??;
    assert_eq!(std::fs::read(&path)?, bytes, "nothing of it is dropped");
    Ok(())
}
