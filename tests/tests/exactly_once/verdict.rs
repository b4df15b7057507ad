//! The judgement on a run: every acknowledged record is there once and none twice, in order by producer and key within
//! each partition, at the place that its lane recorded, which obeys the rule that the lane recorded.
//!
//! A rule's digest is made here again, from the component's digest and the config, so that each entry has exactly one
//! rule to obey. That rule must have been in force: a batch was decided on between the creation of its records and its
//! entry into the lane. A batch that stayed outside of the lane has no rule on record and no time of its own; it obeys
//! one of the rules that were in force between the ends of the logs at two switches.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

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
    /// How often the broker was ended, and the failpoints at which it ended by itself.
    pub kills: u32,
    pub failpoints: Vec<&'static str>,
}

/// A config and when it may have decided.
struct Rule {
    share: u32,
    /// What lanes record of it.
    digest: String,
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
    /// Records that went through a lane.
    pub in_lanes: usize,
    /// Rules that lanes recorded.
    pub rules: usize,
    pub kills: u32,
    pub failpoints: Vec<&'static str>,
    pub reloads: usize,
    /// Repeated batches of clients, and repeated forwards, that were recognised.
    pub suppressed: u64,
    pub suppressed_forwards: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records, {} acknowledged, {} moved, {} through lanes under {} rules; {} kills, failpoints met: {}; \
             {} reloads; suppressed: {} repeated batches, {} repeated forwards",
            self.records,
            self.acknowledged,
            self.moved,
            self.in_lanes,
            self.rules,
            self.kills,
            if self.failpoints.is_empty() { "none".to_owned() } else { self.failpoints.join(" ") },
            self.reloads,
            self.suppressed,
            self.suppressed_forwards,
        )
    }
}

impl Evidence {
    pub fn judge(&self) -> Result<Summary> {
        let places = self.each_is_there_once()?;
        self.order_holds()?;
        let mut summary = Summary {
            records: places.len(),
            kills: self.kills,
            failpoints: self.failpoints.clone(),
            reloads: self.asked.len().saturating_sub(1),
            suppressed: self.counter("ottla_produce_duplicates_total") as u64,
            suppressed_forwards: self.counter("ottla_lane_suppressed_batches_total") as u64,
            ..Summary::default()
        };
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
        ensure!(summary.suppressed > 0, "no repeated batch was recognised: the run proves nothing");
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
            let digest = rule_digest(&switch.digest, &switch.config)?;
            ensure!(switch.rule == digest, "the history calls {} the rule {}", switch.config, switch.rule);
            rules.push(Rule {
                share: asked.share,
                digest,
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
        let (recorded, twice) = by_name(&self.lanes);
        ensure!(twice.is_empty(), "lanes took a record twice: {}", twice[0]);
        let mut used = BTreeSet::new();
        for entry in &self.lanes {
            summary.in_lanes += entry.records.len();
            let first = entry.records.first().context("a lane entry without records")?.name;
            // The same share is the same rule, however often it was asked for.
            let recorded = rules.iter().find(|rule| rule.digest == entry.rule).with_context(|| {
                format!("the lane entry of {first} bears the rule {}, which nobody set", entry.rule)
            })?;
            let astray = entry
                .records
                .iter()
                .find(|one| place(one.name.key().as_bytes(), recorded.share) != one.destination);
            if let Some(one) = astray {
                bail!(
                    "{} was sent to {}, against the share {} that its lane recorded",
                    one.name,
                    one.destination,
                    recorded.share
                );
            }
            ensure!(
                rules.iter().any(|rule| rule.digest == entry.rule && was_in_force(rule, entry)),
                "the lane entry of {first} was decided by the share {} while it was not in force",
                recorded.share
            );
            used.insert(entry.rule.as_str());
        }
        summary.rules = used.len();
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

/// Whether a rule may have decided on a batch: in force between its creation and its entry into the lane.
fn was_in_force(rule: &Rule, entry: &Recorded) -> bool {
    let created_ms = entry.records.iter().map(|record| record.created_ms).max().unwrap_or_default();
    rule.from_ms <= entry.at_ms && rule.to_ms >= created_ms
}

/// What a lane records where this component decided with this config.
fn rule_digest(component: &str, config: &str) -> Result<String> {
    let pair = |at: usize| u8::from_str_radix(component.get(2 * at..2 * at + 2).unwrap_or("?"), 16);
    let component: Vec<u8> = (0..component.len().div_ceil(2)).map(pair).collect::<Result<_, _>>()?;
    let digest = Sha256::new().chain_update(component).chain_update(config).finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn out_of(read: &Read) -> &'static str {
    if read.forwarded { " (out of a lane)" } else { " (as its client sent it)" }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
