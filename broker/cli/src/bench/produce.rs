//! `ottla bench produce`: several connections, each with a producer of its own, write one topic.
//! The latency of a batch is counted from when its first record was handed over, so waiting in the producer counts.

use super::cpu;
use super::payload::Payload;
use super::report::{Totals, rounded};
use crate::connect::Connect;
use crate::produce::AcksArg;
use anyhow::{Context, bail};
use clap::Args;
use hdrhistogram::Histogram;
use ottla_client::{Acks, Admin, Delivered, NewTopic, Partitioning, Producer, ProducerOptions, Record};
use ottla_model::batch::Compression;
use ottla_model::clock::{Clock, SystemClock};
use ottla_model::error::ErrorCode;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Latencies up to here are told apart, in microseconds.
const LATENCY_US_MAX: u64 = 120_000_000;

/// Records between two looks at the clock at full speed.
const STRIDE: u64 = 64;

/// How often records are handed over at a steady rate.
const TICK: Duration = Duration::from_millis(1);

#[derive(Args, Clone)]
pub struct Produce {
    topic: String,
    /// Create the topic with so many partitions, where it is missing
    #[arg(long)]
    partitions: Option<i32>,
    /// Stop after so many records
    #[arg(long, default_value_t = 1_000_000, conflicts_with = "seconds")]
    records: u64,
    /// Stop after so many seconds instead
    #[arg(long)]
    seconds: Option<u64>,
    /// Key and value together, in bytes
    #[arg(long, default_value_t = 1024)]
    record_size: usize,
    /// Distinct keys; 0 writes null keys
    #[arg(long, default_value_t = 100_000)]
    keys: u32,
    /// Name any partition but the one that Java's hash names: a topic with key-hash then moves every record
    #[arg(long)]
    misplace: bool,
    /// Records per second, all connections together; full speed without it
    #[arg(long)]
    rate: Option<u64>,
    #[arg(long, value_enum, default_value_t = AcksArg::All)]
    acks: AcksArg,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, default_value_t = Compression::None)]
    compression: Compression,
    /// Without producer ids
    #[arg(long)]
    no_idempotence: bool,
    #[arg(long, default_value_t = 4)]
    connections: u32,
    /// A batch goes once it has so many bytes
    #[arg(long, default_value_t = 16 << 10)]
    batch_bytes: usize,
    /// At a steady rate, a batch that is not full goes after so long
    #[arg(long, default_value_t = 5)]
    linger_ms: u64,
    /// Not counted, before the clock starts
    #[arg(long, default_value_t = 0)]
    warmup_records: u64,
    /// The broker's process, whose CPU is counted
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    connect: Connect,
}

/// What all connections add up.
struct Counts {
    latencies_us: std::sync::Mutex<Histogram<u64>>,
    records: AtomicU64,
    retried_batches: AtomicU64,
    /// What is left to write, where a count was given.
    left: AtomicU64,
}

impl Counts {
    fn new(records: u64) -> anyhow::Result<Counts> {
        let latencies_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).context("a histogram")?;
        Ok(Counts {
            latencies_us: std::sync::Mutex::new(latencies_us),
            records: AtomicU64::new(0),
            retried_batches: AtomicU64::new(0),
            left: AtomicU64::new(records),
        })
    }

    fn note(&self, delivered: Delivered) {
        let mut latencies = self.latencies_us.lock().unwrap_or_else(|held| held.into_inner());
        latencies.saturating_record_n(delivered.took.as_micros() as u64, u64::from(delivered.records));
        self.records.fetch_add(u64::from(delivered.records), Ordering::Relaxed);
        if delivered.attempts > 1 {
            self.retried_batches.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes up to `count` of what is left.
    fn take(&self, count: u64) -> u64 {
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left - left.min(count)));
        taken.unwrap_or_else(|left| left).min(count)
    }
}

impl Produce {
    pub async fn run(self) -> anyhow::Result<()> {
        if self.connections == 0 || self.record_size == 0 || self.rate == Some(0) {
            bail!("--connections, --record-size and --rate must be above 0");
        }
        self.create_topic().await?;
        if self.warmup_records > 0 {
            let warmup = Produce { records: self.warmup_records, seconds: None, rate: None, ..self.clone() };
            warmup.measure().await?;
        }
        let cpu_before = self.pid.map(cpu::used).transpose()?;
        let (counts, took) = self.measure().await?;
        let cpu_after = self.pid.map(cpu::used).transpose()?;
        let records = counts.records.load(Ordering::Relaxed);
        let totals = Totals {
            records,
            bytes: records * self.record_size as u64,
            took,
            broker_cpu: cpu_after.zip(cpu_before).map(|(after, before)| after.saturating_sub(before)),
        };
        self.report(&totals, &counts)
    }

    async fn create_topic(&self) -> anyhow::Result<()> {
        let Some(partitions) = self.partitions else {
            return Ok(());
        };
        let cluster = self.connect.cluster().await?;
        let new = NewTopic { name: self.topic.clone(), partitions: Some(partitions), ..NewTopic::default() };
        match Admin::new(&cluster).create_topic(&new).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn measure(&self) -> anyhow::Result<(Arc<Counts>, Duration)> {
        let records = if self.seconds.is_some() { u64::MAX } else { self.records };
        let counts = Arc::new(Counts::new(records)?);
        let mut producers = Vec::new();
        for connection in 0..self.connections {
            producers.push(self.producer(connection, &counts).await?);
        }
        let begin = Instant::now();
        let until = self.seconds.map(|seconds| begin + Duration::from_secs(seconds));
        let mut tasks = tokio::task::JoinSet::new();
        for (connection, producer) in producers.into_iter().enumerate() {
            let payload = Payload::new(self.record_size, self.keys, connection as u64);
            let (produce, counts) = (self.clone(), Arc::clone(&counts));
            tasks.spawn(async move {
                match produce.rate {
                    None => produce.at_full_speed(producer, payload, &counts, until).await,
                    Some(rate) => produce.steadily(producer, payload, &counts, until, rate, begin).await,
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.context("a connection's task ended")??;
        }
        Ok((counts, begin.elapsed()))
    }

    async fn producer(&self, connection: u32, counts: &Arc<Counts>) -> anyhow::Result<Producer> {
        let cluster = self.connect.cluster().await?;
        let acks = Acks::from(self.acks);
        let options = ProducerOptions {
            acks,
            idempotent: acks == Acks::All && !self.no_idempotence,
            compression: self.compression,
            partitioning: if self.misplace { Partitioning::Misplaced } else { Partitioning::Keyed },
            batch_bytes: self.batch_bytes,
            turn: connection,
            ..ProducerOptions::default()
        };
        let counts = Arc::clone(counts);
        let on_delivery = Arc::new(move |delivered| counts.note(delivered));
        Ok(Producer::new(&cluster, &self.topic, options, on_delivery).await?)
    }

    async fn at_full_speed(
        &self,
        mut producer: Producer,
        mut payload: Payload,
        counts: &Counts,
        until: Option<Instant>,
    ) -> anyhow::Result<()> {
        while until.is_none_or(|until| Instant::now() < until) {
            let count = counts.take(STRIDE);
            if count == 0 {
                break;
            }
            let timestamp = SystemClock.now_ms();
            for _ in 0..count {
                let (key, value) = payload.record();
                producer.send(Record { timestamp, key, value: Some(value), headers: &[] }).await?;
            }
            // Sending is seldom a wait; answers must be read all the same.
            tokio::task::yield_now().await;
        }
        Ok(producer.flush().await?)
    }

    async fn steadily(
        &self,
        producer: Producer,
        mut payload: Payload,
        counts: &Counts,
        until: Option<Instant>,
        rate: u64,
        begin: Instant,
    ) -> anyhow::Result<()> {
        let producer = Mutex::new(producer);
        let per_second = rate as f64 / f64::from(self.connections);
        let (mut sent, mut pushed) = (0u64, Instant::now());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
            let due = (begin.elapsed().as_secs_f64() * per_second) as u64;
            let wanted = due.saturating_sub(sent);
            let count = counts.take(wanted);
            let mut producer = producer.lock().await;
            let timestamp = SystemClock.now_ms();
            for _ in 0..count {
                let (key, value) = payload.record();
                producer.send(Record { timestamp, key, value: Some(value), headers: &[] }).await?;
            }
            sent += count;
            if count < wanted {
                break;
            }
            if pushed.elapsed() >= Duration::from_millis(self.linger_ms) {
                producer.push().await?;
                pushed = Instant::now();
            }
        }
        Ok(producer.into_inner().flush().await?)
    }

    fn report(&self, totals: &Totals, counts: &Counts) -> anyhow::Result<()> {
        let latencies = counts.latencies_us.lock().unwrap_or_else(|held| held.into_inner());
        let at = |quantile: f64| rounded(latencies.value_at_quantile(quantile) as f64 / 1e3);
        let retried = counts.retried_batches.load(Ordering::Relaxed);
        let mut value = totals.json();
        value["latency_ms"] = json!({
            "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": rounded(latencies.max() as f64 / 1e3),
        });
        value["retried_batches"] = json!(retried);
        self.connect.output.print(&value, || {
            let retries = if retried > 0 { format!("; {retried} batches retried") } else { String::new() };
            format!(
                "{}\nlatency p50 {} ms, p99 {} ms, p999 {} ms{retries}",
                totals.text(),
                at(0.5),
                at(0.99),
                at(0.999),
            )
        })
    }
}
