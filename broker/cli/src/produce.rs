//! `ottla produce`: a line is a record, a part of it its key.

use crate::connect::{Connect, pair};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use ottla_client::{Acks, Delivered, Partitioning, Producer, ProducerOptions, Record};
use ottla_model::batch::{Compression, RecordHeader};
use ottla_model::clock::{Clock, SystemClock};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A longer line is no record that a broker with Kafka's defaults takes, and is refused before it fills the memory.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// A pause of the input this long sends what was collected, so that a person sees his line arrive.
const PUSH_AFTER: std::time::Duration = std::time::Duration::from_millis(50);

/// Lines that were read and not yet produced.
const LINES_AHEAD: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AcksArg {
    #[value(name = "0")]
    None,
    #[value(name = "1")]
    Leader,
    All,
}

impl From<AcksArg> for Acks {
    fn from(acks: AcksArg) -> Acks {
        match acks {
            AcksArg::None => Acks::None,
            AcksArg::Leader => Acks::Leader,
            AcksArg::All => Acks::All,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PartitionerArg {
    /// By Java's hash of the key
    Keyed,
    RoundRobin,
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Produce {
    topic: String,
    /// Read lines from here instead of stdin
    #[arg(long)]
    file: Option<PathBuf>,
    /// What stands between key and value in a line; without it a line is a value
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// The key of every record
    #[arg(long, conflicts_with = "key_separator")]
    key: Option<String>,
    /// The value of one record; nothing is read then
    #[arg(long, conflicts_with_all = ["file", "key_separator"])]
    value: Option<String>,
    /// Take empty values for null: tombstones of a compacted topic
    #[arg(long)]
    null_if_empty: bool,
    /// A header of every record; may be repeated, also with the same key
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    header: Vec<(String, String)>,
    /// Name this partition
    #[arg(long, conflicts_with = "partitioner")]
    partition: Option<i32>,
    /// Which partition to name, where the topic has no partitioner of its own
    #[arg(long, value_enum, default_value_t = PartitionerArg::Keyed)]
    partitioner: PartitionerArg,
    #[arg(long, value_enum, default_value_t = AcksArg::All)]
    acks: AcksArg,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, default_value_t = Compression::None)]
    compression: Compression,
    /// Without a producer id: a repeated batch may be stored twice
    #[arg(long)]
    no_idempotence: bool,
    #[command(flatten)]
    connect: Connect,
}

const EXAMPLES: &str = "\
Examples:
  echo hello | ottla produce orders
  printf 'k1|v1\\nk2|v2\\n' | ottla produce orders --key-separator '|' --header source=shell
  ottla produce orders --key vip-7 --value 'one record' --output json
  ottla produce orders --file records.txt --compression zstd --acks 1 --no-idempotence";

impl Produce {
    pub async fn run(self) -> anyhow::Result<()> {
        let cluster = self.connect.cluster().await?;
        let delivered = Arc::new(Mutex::new(BTreeMap::<i32, Vec<Delivered>>::new()));
        let noted = Arc::clone(&delivered);
        let note = move |batch: Delivered| {
            noted
                .lock()
                .unwrap_or_else(|held| held.into_inner())
                .entry(batch.partition)
                .or_default()
                .push(batch);
        };
        let acks = Acks::from(self.acks);
        let options = ProducerOptions {
            acks,
            idempotent: acks == Acks::All && !self.no_idempotence,
            compression: self.compression,
            partitioning: match (self.partition, self.partitioner) {
                (Some(partition), _) => Partitioning::Explicit(partition),
                (None, PartitionerArg::Keyed) => Partitioning::Keyed,
                (None, PartitionerArg::RoundRobin) => Partitioning::RoundRobin,
            },
            ..ProducerOptions::default()
        };
        let mut producer = Producer::new(&cluster, &self.topic, options, Arc::new(note)).await?;
        match &self.value {
            Some(value) => {
                self.send(&mut producer, self.key.as_deref().map(str::as_bytes), value.as_bytes()).await?
            }
            None => self.send_lines(&mut producer).await?,
        }
        producer.flush().await?;
        let delivered = delivered.lock().unwrap_or_else(|held| held.into_inner());
        self.report(&delivered)
    }

    async fn send_lines(&self, producer: &mut Producer) -> anyhow::Result<()> {
        let input: Box<dyn Read + Send> = match &self.file {
            Some(path) => {
                let file = std::fs::File::open(path);
                Box::new(file.with_context(|| format!("cannot open {}", path.display()))?)
            }
            None => Box::new(std::io::stdin()),
        };
        // A thread reads, because a terminal has no other way of waiting; it ends with the input.
        let (lines, mut arrived) = tokio::sync::mpsc::channel(LINES_AHEAD);
        std::thread::spawn(move || read_lines(BufReader::new(input), &lines));
        loop {
            let line = match tokio::time::timeout(PUSH_AFTER, arrived.recv()).await {
                Ok(Some(line)) => line?,
                Ok(None) => return Ok(()),
                Err(_) => {
                    producer.push().await?;
                    match arrived.recv().await {
                        Some(line) => line?,
                        None => return Ok(()),
                    }
                }
            };
            let (key, value) = self.split(&line)?;
            self.send(producer, key, value).await?;
        }
    }

    fn split<'a>(&'a self, line: &'a [u8]) -> anyhow::Result<(Option<&'a [u8]>, &'a [u8])> {
        let Some(separator) = &self.key_separator else {
            return Ok((self.key.as_deref().map(str::as_bytes), line));
        };
        let at = line.windows(separator.len().max(1)).position(|part| part == separator.as_bytes());
        match at {
            Some(at) => Ok((Some(&line[..at]), &line[at + separator.len()..])),
            None => {
                let shown: String = String::from_utf8_lossy(line).chars().take(60).collect();
                bail!("the line `{shown}` has no key separator `{separator}`")
            }
        }
    }

    async fn send(&self, producer: &mut Producer, key: Option<&[u8]>, value: &[u8]) -> anyhow::Result<()> {
        let headers: Vec<_> = self
            .header
            .iter()
            .map(|(key, value)| RecordHeader { key: key.as_bytes(), value: Some(value.as_bytes()) })
            .collect();
        let value = if self.null_if_empty && value.is_empty() { None } else { Some(value) };
        let timestamp = SystemClock.now_ms();
        Ok(producer.send(Record { timestamp, key, value, headers: &headers }).await?)
    }

    fn report(&self, delivered: &BTreeMap<i32, Vec<Delivered>>) -> anyhow::Result<()> {
        let mut partitions = Vec::new();
        let mut total = 0;
        for (partition, batches) in delivered {
            let records: u64 = batches.iter().map(|batch| u64::from(batch.records)).sum();
            let last = batches.last().map_or(-1, |batch| batch.base_offset);
            total += records;
            partitions.push(json!({
                "partition": partition, "records": records, "batches": batches.len(), "last_base_offset": last,
            }));
        }
        let value = json!({ "topic": self.topic, "records": total, "partitions": partitions });
        self.connect.output.print(&value, || format!("{total} records to {}", self.topic))
    }
}

/// Sends each line without its end. Ends with the input, with an error, or when nobody takes lines any more.
fn read_lines(mut input: impl BufRead, lines: &tokio::sync::mpsc::Sender<anyhow::Result<Vec<u8>>>) {
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => return,
            Ok(read) if read as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') => {
                Err(anyhow::anyhow!("a line is longer than {LINE_BYTES_MAX} bytes"))
            }
            Ok(_) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                Ok(line)
            }
            Err(error) => Err(anyhow::Error::new(error).context("the input cannot be read")),
        };
        let failed = line.is_err();
        if lines.blocking_send(line).is_err() || failed {
            return;
        }
    }
}
