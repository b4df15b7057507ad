//! Reads all three topics back and compares them, record by record, with what was acknowledged: each once, none twice,
//! none that nobody wrote, and every one where the rule of its time puts it.

use super::traffic::{Phase, Sent, parse};
use super::{PARTITIONS, SHARES, TOPICS, VIP_TOPIC};
use crate::output::grouped;
use anyhow::{bail, ensure};
use ottla_client::offsets::{At, find};
use ottla_client::{Cluster, Consumer, ConsumerOptions};
use std::collections::BTreeMap;

/// What was read of one topic.
#[derive(Default)]
struct Read {
    /// How often each number came.
    seen: Vec<u8>,
    /// VIP records by partition: under the first rule, under the second.
    vips: [[u64; PARTITIONS as usize]; 2],
    others: [[u64; PARTITIONS as usize]; 2],
    /// Where the records of a key are.
    places: BTreeMap<Vec<u8>, i32>,
    keys_in_two_places: u64,
}

/// # Errors
/// The first thing that is not as it must be.
pub async fn read_back(cluster: &Cluster, sent: &Sent) -> anyhow::Result<String> {
    let mut verdict = String::new();
    for (topic, _) in TOPICS {
        let acknowledged = sent.records.get(topic).copied().unwrap_or(0);
        let read = read(cluster, topic, acknowledged).await?;
        let missing = read.seen.iter().filter(|times| **times == 0).count();
        let twice = read.seen.iter().filter(|times| **times > 1).count();
        ensure!(missing == 0, "{topic}: {missing} acknowledged records are not there");
        ensure!(twice == 0, "{topic}: {twice} records are there more than once");
        verdict.push_str(&format!("{topic}: {} records read back, each once\n", grouped(acknowledged)));
        if topic == TOPICS[1].0 {
            let (keys, torn) = (read.places.len(), read.keys_in_two_places);
            ensure!(torn == 0, "{topic}: {torn} records are not where the others of their key are");
            verdict.push_str(&format!("  {keys} keys, each in one partition\n"));
        }
        if topic == VIP_TOPIC {
            verdict.push_str(&check_vips(&read)?);
        }
    }
    Ok(verdict)
}

fn check_vips(read: &Read) -> anyhow::Result<String> {
    let mut text = String::new();
    for (rule, share) in SHARES.into_iter().enumerate() {
        let border = (share * f64::from(PARTITIONS)).round() as usize;
        let (vips, others) = (&read.vips[rule], &read.others[rule]);
        let strayed = vips[border..].iter().sum::<u64>() + others[..border].iter().sum::<u64>();
        ensure!(
            strayed == 0,
            "{VIP_TOPIC}: {strayed} records are not where the rule of share {share} puts them"
        );
        let (vip, other) = (vips.iter().sum::<u64>(), others.iter().sum::<u64>());
        ensure!(vip > 0 && other > 0, "{VIP_TOPIC}: nothing was written under the rule of share {share}");
        text.push_str(&format!(
            "  share {share}: {} VIP records in p0 to p{}, {} others in p{border} to p{}\n",
            grouped(vip),
            border - 1,
            grouped(other),
            PARTITIONS - 1,
        ));
    }
    Ok(text)
}

async fn read(cluster: &Cluster, topic: &str, acknowledged: u64) -> anyhow::Result<Read> {
    let mut ends = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let end = find(cluster, topic, partition, At::Latest).await?.unwrap_or(0);
        if end > 0 {
            ends.insert(partition, end);
        }
    }
    let begins = ends.keys().map(|partition| (*partition, 0));
    let mut consumer = Consumer::new(cluster, topic, begins, ConsumerOptions::default());
    let mut read = Read { seen: vec![0; acknowledged as usize], ..Read::default() };
    while !consumer.positions().is_empty() {
        for chunk in consumer.poll().await? {
            let mut strange = None;
            chunk.for_each(|_, offset, _, record| {
                if read.take(chunk.partition, record.key, record.value.unwrap_or_default()).is_none() {
                    strange.get_or_insert(offset);
                }
            })?;
            if let Some(offset) = strange {
                bail!(
                    "{topic}-{}, offset {offset}: nobody was told that this record was taken",
                    chunk.partition
                );
            }
        }
        for (partition, end) in &ends {
            if consumer.positions().get(partition).is_some_and(|position| position >= end) {
                consumer.drop_partition(*partition);
            }
        }
    }
    Ok(read)
}

impl Read {
    /// None for a record that was not acknowledged.
    fn take(&mut self, partition: i32, key: Option<&[u8]>, value: &[u8]) -> Option<()> {
        let (phase, number) = parse(value)?;
        let times = self.seen.get_mut(usize::try_from(number).ok()?)?;
        *times = times.saturating_add(1);
        let rule = match phase {
            phase if phase == Phase::Before as u8 => Some(0),
            phase if phase == Phase::After as u8 => Some(1),
            _ => None,
        };
        let key = key.unwrap_or_default();
        if let Some(rule) = rule {
            let by_partition = if key.starts_with(b"vip-") { &mut self.vips } else { &mut self.others };
            *by_partition[rule].get_mut(usize::try_from(partition).ok()?)? += 1;
        }
        if *self.places.entry(key.to_vec()).or_insert(partition) != partition {
            self.keys_in_two_places += 1;
        }
        Some(())
    }
}
