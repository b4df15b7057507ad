//! The groups' part of the metrics page: how many there are by protocol and state, what they commit, how often they
//! rebalance, and how their shards are.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use ottla_coordinator::api::{ListGroups, Response};

use super::Groups;
use super::counts::Counts;
use super::slot::{Asked, SlotState};
use crate::metrics::{Metrics, Sample, Type};

type Figure = fn(&Counts) -> f64;

const COUNTERS: &[(&str, &str, Figure)] = &[
    ("ottla_group_offset_commits", "Offsets that groups committed", |counts| counts.commits.get() as f64),
    ("ottla_group_offset_removals", "Committed offsets that expired or were deleted", |counts| {
        counts.removals.get() as f64
    }),
    ("ottla_group_records", "Records written to __consumer_offsets", |counts| counts.records.get() as f64),
    ("ottla_group_appends_refused", "Appends to __consumer_offsets that failed", |counts| {
        counts.refused.get() as f64
    }),
    ("ottla_group_shard_loads", "Shards of groups that were loaded", |counts| counts.loads.get() as f64),
    ("ottla_group_shard_load_failures", "Shards of groups that could not be loaded", |counts| {
        counts.load_failures.get() as f64
    }),
    ("ottla_group_shard_load_seconds", "Time that loading shards of groups took", |counts| {
        counts.load_ms.get() as f64 / 1_000.0
    }),
    (
        "ottla_group_shards_given_up",
        "Shards of groups that were loaded anew because a write failed",
        |counts| counts.given_up.get() as f64,
    ),
];

impl Groups {
    /// Puts the groups on the page, for as long as they live.
    pub fn register_metrics(self: &Arc<Self>, metrics: &Metrics) {
        for &(name, help, figure) in COUNTERS {
            let groups = Arc::downgrade(self);
            metrics.register(name, help, Type::Counter, move || one(&groups, figure));
        }
        let groups = Arc::downgrade(self);
        metrics.register(
            "ottla_group_rebalances",
            "Generations of classic groups and epochs of consumer groups",
            Type::Counter,
            move || groups.upgrade().map_or_else(Vec::new, |groups| rebalances(&groups.shared.counts)),
        );
        let groups = Arc::downgrade(self);
        metrics.register("ottla_groups", "Groups by protocol and state", Type::Gauge, move || {
            groups.upgrade().map_or_else(Vec::new, |groups| by_state(&groups))
        });
        let groups = Arc::downgrade(self);
        metrics.register("ottla_group_shards", "Shards of groups by state", Type::Gauge, move || {
            groups.upgrade().map_or_else(Vec::new, |groups| shards(&groups))
        });
    }
}

fn one(groups: &Weak<Groups>, figure: Figure) -> Vec<Sample> {
    groups
        .upgrade()
        .map_or_else(Vec::new, |groups| vec![Sample::new(Vec::new(), figure(&groups.shared.counts))])
}

fn rebalances(counts: &Counts) -> Vec<Sample> {
    let sample =
        |protocol: &str, count: u64| Sample::new(vec![("protocol", protocol.to_owned())], count as f64);
    vec![
        sample("classic", counts.classic_rebalances.get()),
        sample("consumer", counts.consumer_rebalances.get()),
    ]
}

fn by_state(groups: &Groups) -> Vec<Sample> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for slot in &groups.slots.load().slots {
        let every = ListGroups { states: Vec::new(), types: Vec::new() };
        // What waits for a commit is on the next page.
        let Ok(Asked::Now(Response::ListGroups(listed))) = slot.ask(every.into()) else { continue };
        for group in listed.groups {
            *counts.entry((group.group_type, group.state)).or_default() += 1;
        }
    }
    let sample = |((protocol, state), count): ((&str, &str), u64)| {
        Sample::new(vec![("protocol", protocol.to_owned()), ("state", state.to_owned())], count as f64)
    };
    counts.into_iter().map(sample).collect()
}

fn shards(groups: &Groups) -> Vec<Sample> {
    let states = groups.states();
    let names =
        [("loading", SlotState::Loading), ("failed", SlotState::Failed), ("serving", SlotState::Serving)];
    let sample = |(name, state): (&str, SlotState)| {
        let count = states.iter().filter(|(_, is)| *is == state).count();
        Sample::new(vec![("state", name.to_owned())], count as f64)
    };
    names.into_iter().map(sample).collect()
}
