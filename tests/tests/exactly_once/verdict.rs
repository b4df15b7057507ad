//! The judgement on a run: every acknowledged record is there once and none twice, in order by producer and key within
//! each partition, at the place that its lane recorded, which obeys a rule that was in force then.
//!
//! Which rule that was follows from the topic's history. A lane records the digest of the component, and the digest does
//! not tell one config from another, nor does a switch name positions of lanes. So the config comes from times: a batch
//! was decided on between the creation of its records and its entry into the lane, by one of the configs in force in
//! between, the same for all of its records. A batch that stayed has no time of its own; the ends of the logs at each
//! switch stand in for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, bail, ensure};

use super::lanes::{Recorded, by_name};
use super::page::Switch;
use super::scenario::Asked;
use super::topic::Read;
use super::workload::{Name, config, ingress, place};

/// All that is known of a run.
pub struct Evidence {
    /// By producer.
    pub acknowledged: BTreeMap<u32, Vec<u64>>,
    /// Producers that never came back.
    pub lost: BTreeSet<u32>,
    /// Records of each producer.
    pub records: u64,
    pub partitions: Vec<Vec<Read>>,
    pub lanes: Vec<Recorded>,
    pub switches: Vec<Switch>,
    pub asked: Vec<Asked>,
    /// Summed over the broker's lives.
    pub counters: BTreeMap<String, f64>,
}

/// A config and when it may have decided.
struct Rule {
    share: u32,
    from_ms: i64,
    /// When its successor was surely in force.
    to_ms: i64,
    /// The logs' ends when it began.
    offsets: Vec<i64>,
}

#[derive(Debug, Default)]
pub struct Summary {
    pub records: usize,
    pub acknowledged: usize,
    pub moved: usize,
    /// Records for whose batch only one rule came into question.
    pub certain: usize,
    pub in_lanes: usize,
}

impl Evidence {
    pub fn judge(&self) -> Result<Summary> {
        let places = self.each_is_there_once()?;
        self.order_holds()?;
        let mut summary = Summary { records: places.len(), ..Summary::default() };
        summary.acknowledged = self.all_acknowledged_are_there(&places)?;
        let rules = self.rules()?;
        self.places_obey(&rules, &places, &mut summary)?;
        ensure!(summary.moved * 2 >= summary.records, "too few records move: {summary:?}");
        let counted = self.counter("ottla_plugin_moved_records_total");
        ensure!(
            counted * 2.0 >= summary.acknowledged as f64,
            "the metrics saw {counted} records move, of {} acknowledged",
            summary.acknowledged
        );
        let suppressed = self.counter("ottla_produce_duplicates_total");
        ensure!(suppressed > 0.0, "no repeated batch was recognised: the run proves nothing");
        eprintln!(
            "{summary:?}; counted: {counted} moved, {suppressed} repeated batches, {} forwarded again",
            self.counter("ottla_lane_suppressed_batches_total")
        );
        Ok(summary)
    }

    fn counter(&self, name: &str) -> f64 {
        self.counters.get(name).copied().unwrap_or(0.0)
    }

    /// Partition and place of each record.
    fn each_is_there_once(&self) -> Result<HashMap<Name, (i32, usize)>> {
        let mut places = HashMap::new();
        for (partition, reads) in (0..).zip(&self.partitions) {
            for (index, read) in reads.iter().enumerate() {
                ensure!(
                    self.acknowledged.contains_key(&read.name.producer) && read.name.index < self.records,
                    "{} was never written",
                    read.name
                );
                if let Some((other, at)) = places.insert(read.name, (partition, index)) {
                    let before = &self.partitions[other as usize][at];
                    bail!(
                        "{} is there twice: at {} of partition {other}{} and at {} of partition {partition}{}",
                        read.name,
                        before.offset,
                        out_of(before),
                        read.offset,
                        out_of(read),
                    );
                }
            }
        }
        Ok(places)
    }

    fn order_holds(&self) -> Result<()> {
        for (partition, reads) in self.partitions.iter().enumerate() {
            let mut last: HashMap<(u32, String), u64> = HashMap::new();
            for read in reads {
                let before = last.insert((read.name.producer, read.name.key()), read.name.index);
                ensure!(
                    before.is_none_or(|before| before < read.name.index),
                    "{} stands at {} of partition {partition}, behind record {} of its key",
                    read.name,
                    read.offset,
                    before.unwrap_or_default()
                );
            }
        }
        Ok(())
    }

    fn all_acknowledged_are_there(&self, places: &HashMap<Name, (i32, usize)>) -> Result<usize> {
        let mut count = 0;
        for (&producer, indices) in &self.acknowledged {
            let mut missing = indices
                .iter()
                .map(|&index| Name { producer, index })
                .filter(|name| !places.contains_key(name))
                .peekable();
            if let Some(first) = missing.peek().copied() {
                bail!("{} acknowledged records are missing, the first: {first}", missing.count());
            }
            let distinct: BTreeSet<u64> = indices.iter().copied().collect();
            let whole = self.lost.contains(&producer) || distinct.len() as u64 == self.records;
            ensure!(whole, "producer {producer} has {} of {} acknowledged", distinct.len(), self.records);
            count += distinct.len();
        }
        Ok(count)
    }

    /// The history, which must show every share that was asked for, in this order.
    fn rules(&self) -> Result<Vec<Rule>> {
        let mut rules = Vec::new();
        let mut switches = self.switches.iter();
        for (index, asked) in self.asked.iter().enumerate() {
            let wanted = config(asked.share);
            let switch = switches
                .find(|switch| switch.config == wanted)
                .with_context(|| format!("the history has no switch to the share of reload {index}"))?;
            rules.push(Rule {
                share: asked.share,
                from_ms: switch.at_ms,
                to_ms: self.asked.get(index + 1).map_or(i64::MAX, |next| next.answered_ms),
                offsets: switch.offsets.clone(),
            });
        }
        Ok(rules)
    }

    fn places_obey(
        &self,
        rules: &[Rule],
        places: &HashMap<Name, (i32, usize)>,
        summary: &mut Summary,
    ) -> Result<()> {
        let digests: BTreeSet<&str> = self.switches.iter().map(|switch| switch.digest.as_str()).collect();
        let (recorded, twice) = by_name(&self.lanes);
        ensure!(twice.is_empty(), "lanes took a record twice: {}", twice[0]);
        for entry in &self.lanes {
            summary.in_lanes += entry.records.len();
            let stays = entry.records.iter().all(|record| record.destination == entry.ingress);
            let is_known = digests.contains(entry.digest.as_str()) || (stays && is_zero(&entry.digest));
            ensure!(is_known, "a lane entry bears the digest {}", entry.digest);
            let candidates = entry_rules(rules, entry);
            let keeps = |rule: &&&Rule| {
                entry
                    .records
                    .iter()
                    .all(|one| place(one.name.key().as_bytes(), rule.share) == one.destination)
            };
            ensure!(
                candidates.iter().any(|rule| keeps(&rule)),
                "the lane entry of {} obeys none of the shares {:?} that were in force",
                entry.records[0].name,
                candidates.iter().map(|rule| rule.share).collect::<Vec<_>>()
            );
            summary.certain += if candidates.len() == 1 { entry.records.len() } else { 0 };
        }
        for (name, &(partition, index)) in places {
            let read = &self.partitions[partition as usize][index];
            match recorded.get(name) {
                Some(&(entry, place)) => {
                    let wanted = self.lanes[entry].records[place].destination;
                    ensure!(partition == wanted, "{name} is in {partition}, its lane says {wanted}");
                    summary.moved += usize::from(partition != self.lanes[entry].ingress);
                }
                None => self.stayed(rules, *name, partition, read)?,
            }
        }
        let forgotten = recorded.keys().find(|name| !places.contains_key(name));
        ensure!(forgotten.is_none(), "{} is in a lane, and never arrived", forgotten.expect("it is some"));
        Ok(())
    }

    /// A record that no lane recorded stayed where its client put it, as the rule wanted.
    fn stayed(&self, rules: &[Rule], name: Name, partition: i32, read: &Read) -> Result<()> {
        let key = name.key();
        ensure!(!read.forwarded, "{name} came out of a lane that did not record it");
        ensure!(ingress(key.as_bytes()) == partition, "{name} moved to {partition} without a lane");
        let obeys = rules.iter().any(|rule| {
            let began = rule.offsets.get(partition as usize).is_none_or(|end| *end <= read.offset);
            began && rule.to_ms >= read.created_ms && place(key.as_bytes(), rule.share) == partition
        });
        ensure!(obeys, "{name} stayed in {partition}, against every share that was in force");
        Ok(())
    }
}

/// Rules that may have decided on a batch: in force between its creation and its entry into the lane.
fn entry_rules<'a>(rules: &'a [Rule], entry: &Recorded) -> Vec<&'a Rule> {
    let created_ms = entry.records.iter().map(|record| record.created_ms).max().unwrap_or_default();
    rules.iter().filter(|rule| rule.from_ms <= entry.at_ms && rule.to_ms >= created_ms).collect()
}

fn is_zero(digest: &str) -> bool {
    digest.bytes().all(|digit| digit == b'0')
}

fn out_of(read: &Read) -> &'static str {
    if read.forwarded { " (out of a lane)" } else { " (as its client sent it)" }
}
