//! `ottla consume`: prints records, from where one says, until the end or for ever; alone, or as a member of a group.

mod member;

use crate::connect::Connect;
use crate::output::{Output, bytes_as_json};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use ottla_client::offsets::{At, find};
use ottla_client::{ClientError, Cluster, Consumer, ConsumerOptions};
use ottla_model::batch::Record;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::str::FromStr;
use std::time::Duration;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Beginning,
    End,
    Offset(i64),
    Timestamp(i64),
}

impl From {
    /// The offset of that place in a partition that ends at `end`.
    async fn position(
        self,
        cluster: &Cluster,
        topic: &str,
        partition: i32,
        end: i64,
    ) -> Result<i64, ClientError> {
        Ok(match self {
            From::End => end,
            From::Offset(offset) => offset,
            From::Beginning => find(cluster, topic, partition, At::Earliest).await?.unwrap_or(0),
            From::Timestamp(ms) => find(cluster, topic, partition, At::Timestamp(ms)).await?.unwrap_or(end),
        })
    }
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        match text {
            "beginning" => return Ok(From::Beginning),
            "end" => return Ok(From::End),
            _ => {}
        }
        let (number, make): (&str, fn(i64) -> From) = match text.strip_prefix("timestamp:") {
            Some(ms) => (ms, From::Timestamp),
            None => (text, From::Offset),
        };
        match number.parse() {
            Ok(number) if number >= 0 => Ok(make(number)),
            _ => Err("give beginning, end, an offset, or timestamp:MILLISECONDS".to_owned()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Partition,
    Offset,
    Timestamp,
    Key,
    Headers,
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Consume {
    topic: String,
    /// Only this partition; may be repeated
    #[arg(long)]
    partition: Vec<i32>,
    /// Read as a member of this group: share the partitions with its other members, go on where it was, commit
    #[arg(long, conflicts_with = "partition")]
    group: Option<String>,
    /// beginning, end, an offset, or timestamp:MILLISECONDS; with --group only where nothing is committed
    #[arg(long, default_value = "end")]
    from: From,
    /// Stop after so many records
    #[arg(long, value_name = "COUNT")]
    max: Option<u64>,
    /// Stop at the end that the partitions have now
    #[arg(long)]
    until_end: bool,
    /// Print these before the value, with tabs between them
    #[arg(long, value_enum, value_delimiter = ',')]
    with: Vec<Part>,
    /// Print nothing but the count at the end
    #[arg(long)]
    count: bool,
    #[command(flatten)]
    connect: Connect,
}

const EXAMPLES: &str = "\
Examples:
  ottla consume orders --from beginning --until-end
  ottla consume orders --with partition,offset,key             what arrives from now on
  ottla consume orders --from timestamp:1767225600000 --max 10 --output json
  ottla consume orders --partition 3 --from 1000 --until-end --count
  ottla consume orders --group billing --from beginning         beside the group's other members, until Ctrl-C";

impl Consume {
    pub async fn run(self) -> anyhow::Result<()> {
        let cluster = self.connect.cluster().await?;
        if let Some(group) = &self.group {
            return member::run(&self, cluster, group).await;
        }
        let partitions = self.partitions(&cluster).await?;
        let mut positions = BTreeMap::new();
        let mut ends = BTreeMap::new();
        for partition in partitions {
            let end = find(&cluster, &self.topic, partition, At::Latest).await?.unwrap_or(0);
            let position = self.from.position(&cluster, &self.topic, partition, end).await?;
            ends.insert(partition, end);
            if !self.until_end || position < end {
                positions.insert(partition, position);
            }
        }
        let consumer = Consumer::new(&cluster, &self.topic, positions, ConsumerOptions::default());
        self.print_all(consumer, &ends).await
    }

    async fn partitions(&self, cluster: &Cluster) -> anyhow::Result<Vec<i32>> {
        let topic = cluster.refresh(&self.topic).await?;
        let all: Vec<_> = topic.partitions.iter().map(|partition| partition.index).collect();
        if self.partition.is_empty() {
            return Ok(all);
        }
        match self.partition.iter().find(|wanted| !all.contains(wanted)) {
            Some(missing) => {
                bail!("topic {} has {} partitions, and none is {missing}", self.topic, all.len())
            }
            None => Ok(self.partition.clone()),
        }
    }

    async fn print_all(&self, mut consumer: Consumer, ends: &BTreeMap<i32, i64>) -> anyhow::Result<()> {
        let mut stdout = BufWriter::new(std::io::stdout().lock());
        let most = self.most();
        let mut printed = 0;
        while !consumer.positions().is_empty() && printed < most {
            let chunks = match consumer.poll().await {
                Ok(chunks) => chunks,
                Err(error) if error.is_retriable() => {
                    eprintln!("ottla: {error}; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
                Err(error) => return Err(error).context("cannot read on"),
            };
            for chunk in &chunks {
                let end = if self.until_end { ends[&chunk.partition] } else { i64::MAX };
                let mut failed = Ok(());
                chunk.for_each(|_, offset, timestamp, record| {
                    if printed < most && offset < end && failed.is_ok() {
                        printed += 1;
                        failed = self.print(&mut stdout, chunk.partition, offset, timestamp, record);
                    }
                })?;
                failed?;
            }
            stdout.flush()?;
            if self.until_end {
                let reached: Vec<_> = consumer
                    .positions()
                    .iter()
                    .filter(|(partition, position)| **position >= ends[*partition])
                    .map(|(partition, _)| *partition)
                    .collect();
                reached.into_iter().for_each(|partition| consumer.drop_partition(partition));
            }
        }
        drop(stdout);
        self.report(printed)
    }

    fn most(&self) -> u64 {
        self.max.unwrap_or(u64::MAX)
    }

    /// The count, where it was asked for.
    fn report(&self, printed: u64) -> anyhow::Result<()> {
        if self.count {
            let value = json!({ "topic": self.topic, "records": printed });
            self.connect.output.print(&value, || printed.to_string())?;
        }
        Ok(())
    }

    fn print(
        &self,
        to: &mut impl Write,
        partition: i32,
        offset: i64,
        timestamp: i64,
        record: &Record<'_>,
    ) -> std::io::Result<()> {
        if self.count {
            return Ok(());
        }
        if self.connect.output == Output::Json {
            let headers: Vec<_> = record
                .headers
                .iter()
                .map(|header| json!([String::from_utf8_lossy(header.key), bytes_as_json(header.value)]))
                .collect();
            let value = json!({
                "partition": partition, "offset": offset, "timestamp": timestamp,
                "key": bytes_as_json(record.key), "value": bytes_as_json(record.value), "headers": headers,
            });
            return writeln!(to, "{value}");
        }
        for part in &self.with {
            match part {
                Part::Partition => write!(to, "{partition}")?,
                Part::Offset => write!(to, "{offset}")?,
                Part::Timestamp => write!(to, "{timestamp}")?,
                Part::Key => to.write_all(record.key.unwrap_or(b"null"))?,
                Part::Headers => {
                    for (index, header) in record.headers.iter().enumerate() {
                        to.write_all(if index == 0 { b"" } else { b"," })?;
                        to.write_all(header.key)?;
                        to.write_all(b"=")?;
                        to.write_all(header.value.unwrap_or(b"null"))?;
                    }
                }
            }
            to.write_all(b"\t")?;
        }
        to.write_all(record.value.unwrap_or(b"null"))?;
        to.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_read() {
        assert_eq!("beginning".parse(), Ok(From::Beginning));
        assert_eq!("17".parse(), Ok(From::Offset(17)));
        assert_eq!("timestamp:5".parse(), Ok(From::Timestamp(5)));
        for wrong in ["", "-1", "timestamp:", "timestamp:-5", "start"] {
            assert!(wrong.parse::<From>().is_err(), "{wrong}");
        }
    }
}
