//! The demo's producers: rskafka, a pure Rust client that knows nothing of Ottla. For each topic one task writes
//! batches to the partitions in turn, as a naive client does. Each record has a number of its own and the phase in
//! which it was made, so that what is read back can be checked one by one.

use super::{PARTITIONS, TOPICS};
use anyhow::{Context, bail};
use rskafka::BackoffConfig;
use rskafka::chrono::Utc;
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

const BATCH_RECORDS: u64 = 20;
/// Between two batches of one topic: steady, and far from what a broker can take.
const PACE: Duration = Duration::from_millis(5);
/// Three of ten records come from VIPs.
const VIP_OF_TEN: u64 = 3;
const CUSTOMERS: u64 = 500;

/// When a record was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    Before = b'b',
    /// The rule may be either.
    Reloading = b'r',
    After = b'a',
}

/// What was written, when it is over.
#[derive(Default)]
pub struct Sent {
    pub requests: u64,
    pub failed_requests: u64,
    pub first_error: Option<String>,
    /// Acknowledged records by topic: their numbers are 0 to this, without a gap.
    pub records: BTreeMap<&'static str, u64>,
}

impl Sent {
    pub fn records(&self) -> u64 {
        self.records.values().sum()
    }
}

pub struct Traffic {
    phase: AtomicU8,
    stopped: AtomicBool,
    acknowledged: AtomicU64,
    sent: Mutex<Sent>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Traffic {
    pub async fn start(kafka: &str) -> anyhow::Result<Arc<Traffic>> {
        // No second attempt: a request that fails is to be seen.
        let backoff = BackoffConfig { deadline: Some(Duration::ZERO), ..BackoffConfig::default() };
        let builder =
            ClientBuilder::new(vec![kafka.to_owned()]).client_id("rskafka-demo").backoff_config(backoff);
        let client = builder.build().await.context("rskafka does not connect")?;
        let traffic = Arc::new(Traffic {
            phase: AtomicU8::new(Phase::Before as u8),
            stopped: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            sent: Mutex::new(Sent::default()),
            tasks: Mutex::new(Vec::new()),
        });
        for (topic, _) in TOPICS {
            let partitions = partitions(&client, topic).await?;
            let task = tokio::spawn(write(Arc::clone(&traffic), topic, partitions));
            traffic.tasks.lock().unwrap_or_else(|held| held.into_inner()).push(task);
        }
        Ok(traffic)
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// # Errors
    /// The first request that failed.
    pub fn check(&self) -> anyhow::Result<()> {
        match &self.sent.lock().unwrap_or_else(|held| held.into_inner()).first_error {
            Some(error) => bail!("a request failed: {error}"),
            None => Ok(()),
        }
    }

    /// Lets every request that is on its way end.
    pub async fn stop(&self) -> anyhow::Result<Sent> {
        self.stopped.store(true, Ordering::SeqCst);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(|held| held.into_inner()));
        for task in tasks {
            task.await.context("a producer's task ended")?;
        }
        Ok(std::mem::take(&mut *self.sent.lock().unwrap_or_else(|held| held.into_inner())))
    }
}

async fn partitions(client: &Client, topic: &'static str) -> anyhow::Result<Vec<PartitionClient>> {
    let mut partitions = Vec::new();
    for partition in 0..PARTITIONS {
        let opened = client.partition_client(topic, partition, UnknownTopicHandling::Error).await;
        partitions.push(opened.with_context(|| format!("rskafka does not find {topic}-{partition}"))?);
    }
    Ok(partitions)
}

async fn write(traffic: Arc<Traffic>, topic: &'static str, partitions: Vec<PartitionClient>) {
    let mut next = 0;
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for partition in partitions.iter().cycle() {
        pace.tick().await;
        if traffic.stopped.load(Ordering::SeqCst) {
            return;
        }
        let phase = traffic.phase.load(Ordering::SeqCst);
        let batch = (next..next + BATCH_RECORDS).map(|number| record(topic, number, phase)).collect();
        let written = partition.produce(batch, Compression::NoCompression).await;
        let mut sent = traffic.sent.lock().unwrap_or_else(|held| held.into_inner());
        match written {
            Ok(_) => {
                next += BATCH_RECORDS;
                sent.requests += 1;
                sent.records.insert(topic, next);
                traffic.acknowledged.fetch_add(BATCH_RECORDS, Ordering::Relaxed);
            }
            Err(error) => {
                sent.failed_requests += 1;
                sent.first_error.get_or_insert_with(|| format!("{topic}-{}: {error}", partition.partition()));
                // What became of it is unknown, so its numbers cannot be used again.
                return;
            }
        }
    }
}

fn record(topic: &str, number: u64, phase: u8) -> Record {
    // A step that shares no factor with the number of customers reaches all of them.
    let customer = number.wrapping_mul(7919) % CUSTOMERS;
    let key =
        if number % 10 < VIP_OF_TEN { format!("vip-{customer:03}") } else { format!("std-{customer:03}") };
    // Half of the sticky topic's records have no key: they are what sticky is about.
    let keyless = topic == TOPICS[0].0 && number.is_multiple_of(2);
    let value = format!(
        "{}{number:012} one order of a customer, with some words to make it as long as one",
        phase as char
    );
    Record {
        key: (!keyless).then(|| key.into_bytes()),
        value: Some(value.into_bytes()),
        headers: BTreeMap::new(),
        timestamp: Utc::now(),
    }
}

/// The phase and number that a value begins with.
pub fn parse(value: &[u8]) -> Option<(u8, u64)> {
    let (phase, rest) = value.split_first()?;
    let number = std::str::from_utf8(rest.get(..12)?).ok()?.parse().ok()?;
    Some((*phase, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_told_apart() {
        let record = record("demo-key-hash", 1234, Phase::After as u8);
        assert_eq!(parse(record.value.as_deref().unwrap_or_default()), Some((b'a', 1234)));
        assert!(parse(b"").is_none() && parse(b"b12").is_none() && parse(b"bxxxxxxxxxxxx").is_none());
    }
}
