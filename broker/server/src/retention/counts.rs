//! What retention passes did, by topic, for the metrics page.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::report::{PartitionReport, Policy, Totals};
use crate::metrics::{Metrics, Sample, Type};

/// Failures told apart: topic, plugin and reason. Beyond it, new ones are counted under no plugin.
const FAILURES_MAX: usize = 10_000;

/// The counts of all topics.
#[derive(Default)]
pub struct Counts {
    topics: Mutex<BTreeMap<String, Sums>>,
    failures: Mutex<BTreeMap<(String, String, &'static str), u64>>,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    passes: u64,
    totals: Totals,
}

type Figure = fn(&Sums) -> u64;

const FAMILIES: &[(&str, &str, Figure)] = &[
    ("ottla_retention_passes", "Passes of a retention policy over a partition", |sums| sums.passes),
    ("ottla_retention_deleted_segments", "Segments that a retention policy deleted", |sums| {
        sums.totals.deleted_segments
    }),
    ("ottla_retention_erased_records", "Records that a retention policy erased one by one", |sums| {
        sums.totals.erased_records
    }),
    ("ottla_retention_tombstoned_records", "Records that a retention policy took the value of", |sums| {
        sums.totals.tombstoned_records
    }),
    ("ottla_retention_freed_bytes", "Bytes of log that retention policies freed", |sums| {
        sums.totals.freed_bytes
    }),
];

impl Counts {
    /// Counts a pass that was carried out.
    pub fn pass(&self, topic: &str, policy: &Policy, report: &PartitionReport) {
        let mut topics = self.topics.lock();
        let sums = topics.entry(topic.to_owned()).or_default();
        sums.passes += 1;
        let (sum, more) = (&mut sums.totals, &report.totals);
        sum.deleted_segments += more.deleted_segments;
        sum.erased_records += more.erased_records;
        sum.tombstoned_records += more.tombstoned_records;
        sum.freed_bytes += more.freed_bytes;
        drop(topics);
        if let Some(failure) = &report.failure {
            self.failure(topic, &format!("{}@{}", policy.name, policy.version), failure.reason);
        }
    }

    /// Counts a failure that kept data.
    pub fn failure(&self, topic: &str, plugin: &str, reason: &'static str) {
        let mut failures = self.failures.lock();
        let mut key = (topic.to_owned(), plugin.to_owned(), reason);
        if failures.len() >= FAILURES_MAX && !failures.contains_key(&key) {
            key = (String::new(), String::new(), reason);
        }
        *failures.entry(key).or_default() += 1;
    }

    /// Forgets topics that are gone.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.topics.lock().retain(|topic, _| exists(topic));
        self.failures.lock().retain(|(topic, ..), _| topic.is_empty() || exists(topic));
    }

    pub fn register(self: &Arc<Self>, metrics: &Metrics) {
        for &(name, help, figure) in FAMILIES {
            let counts = Arc::downgrade(self);
            metrics.register(name, help, Type::Counter, move || sums(&counts, figure));
        }
        let counts = Arc::downgrade(self);
        let help = "Passes of a retention policy that failed and kept the data, by reason";
        metrics.register("ottla_retention_failures", help, Type::Counter, move || failures(&counts));
    }
}

fn sums(counts: &Weak<Counts>, figure: Figure) -> Vec<Sample> {
    let Some(counts) = counts.upgrade() else { return Vec::new() };
    let topics = counts.topics.lock();
    let sample =
        |(topic, sums): (&String, &Sums)| Sample::new(vec![("topic", topic.clone())], figure(sums) as f64);
    topics.iter().map(sample).collect()
}

fn failures(counts: &Weak<Counts>) -> Vec<Sample> {
    let Some(counts) = counts.upgrade() else { return Vec::new() };
    let failures = counts.failures.lock();
    let sample = |((topic, plugin, reason), count): (&(String, String, &'static str), &u64)| {
        let labels =
            vec![("topic", topic.clone()), ("plugin", plugin.clone()), ("reason", (*reason).to_owned())];
        Sample::new(labels, *count as f64)
    };
    failures.iter().map(sample).collect()
}
