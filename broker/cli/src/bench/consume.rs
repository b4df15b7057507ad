//! `ottla bench consume`: several connections read a topic's partitions from their beginning to their end of now.

use super::cpu;
use super::report::Totals;
use crate::connect::Connect;
use anyhow::{Context, bail};
use clap::Args;
use ottla_client::offsets::{At, find};
use ottla_client::{Consumer, ConsumerOptions};
use std::collections::BTreeMap;
use std::time::Instant;

#[derive(Args, Clone)]
pub struct Consume {
    topic: String,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Stop after so many records
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    records: u64,
    /// Take the batches as they come, without comparing them with their CRC
    #[arg(long)]
    no_check_crc: bool,
    /// The most that one answer may bring of a partition, in bytes
    #[arg(long, default_value_t = 1 << 20)]
    partition_max_bytes: i32,
    /// The broker's process, whose CPU is counted
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    connect: Connect,
}

impl Consume {
    pub async fn run(self) -> anyhow::Result<()> {
        if self.connections == 0 {
            bail!("--connections must be above 0");
        }
        let shares = self.shares().await?;
        let mut readers = Vec::new();
        for share in shares {
            // A connection of its own each, opened before the clock starts.
            let cluster = self.connect.cluster().await?;
            let positions = share.iter().map(|(partition, (begin, _))| (*partition, *begin));
            let options = ConsumerOptions {
                check_crc: !self.no_check_crc,
                partition_max_bytes: self.partition_max_bytes,
                ..ConsumerOptions::default()
            };
            readers.push((Consumer::new(&cluster, &self.topic, positions, options), share));
        }
        let cpu_before = self.pid.map(cpu::used).transpose()?;
        let begin = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        let most = self.records.div_ceil(readers.len().max(1) as u64);
        for (consumer, share) in readers {
            tasks.spawn(read(consumer, share, most));
        }
        let (mut records, mut bytes) = (0, 0);
        while let Some(ended) = tasks.join_next().await {
            let read = ended.context("a connection's task ended")??;
            records += read.0;
            bytes += read.1;
        }
        let took = begin.elapsed();
        let cpu_after = self.pid.map(cpu::used).transpose()?;
        let broker_cpu = cpu_after.zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
        let totals = Totals { records, bytes, took, broker_cpu };
        self.connect.output.print(&totals.json(), || totals.text())
    }

    /// The partitions with their begin and end, dealt out over the connections.
    async fn shares(&self) -> anyhow::Result<Vec<BTreeMap<i32, (i64, i64)>>> {
        let cluster = self.connect.cluster().await?;
        let topic = cluster.refresh(&self.topic).await?;
        let mut shares = vec![BTreeMap::new(); self.connections.min(topic.partitions.len()).max(1)];
        for (index, partition) in topic.partitions.iter().enumerate() {
            let begin = find(&cluster, &self.topic, partition.index, At::Earliest).await?.unwrap_or(0);
            let end = find(&cluster, &self.topic, partition.index, At::Latest).await?.unwrap_or(0);
            let connections = shares.len();
            if begin < end {
                shares[index % connections].insert(partition.index, (begin, end));
            }
        }
        Ok(shares)
    }
}

/// Reads until every partition's end, and returns records and bytes.
async fn read(
    mut consumer: Consumer,
    share: BTreeMap<i32, (i64, i64)>,
    records_max: u64,
) -> anyhow::Result<(u64, u64)> {
    let (mut records, mut bytes) = (0, 0);
    while !consumer.positions().is_empty() && records < records_max {
        for chunk in consumer.poll().await? {
            records += chunk.count();
            bytes += chunk.size_bytes() as u64;
        }
        for (partition, (_, end)) in &share {
            if consumer.positions().get(partition).is_some_and(|position| position >= end) {
                consumer.drop_partition(*partition);
            }
        }
    }
    Ok((records, bytes))
}
