//! The plugins' part of the metrics page: families by plugin, version and topic, read from the counts at each scrape.

use std::sync::{Arc, Weak};

use ottla_plugin_host::BreakerState;

use super::Plugins;
use super::attachment::Partitioning;
use super::counts::CountsSnapshot;
use super::retaining::Retaining;
use super::serve::Serve;
use crate::metrics::{Metrics, Sample, Type};

type Figure = fn(&CountsSnapshot) -> f64;

/// Families with one sample by plugin, version and topic.
const FAMILIES: &[(&str, &str, Type, Figure)] = &[
    ("ottla_plugin_calls", "Batches that the plugin was asked about", Type::Counter, |c| {
        c.calls.calls as f64
    }),
    ("ottla_plugin_records", "Records in those batches", Type::Counter, |c| c.calls.records as f64),
    ("ottla_plugin_moved_records", "Records placed elsewhere than their client said", Type::Counter, |c| {
        c.moved_records as f64
    }),
    (
        "ottla_plugin_disagreeing_records",
        "Records that the plugin would have placed elsewhere, in the modes enforce and observe",
        Type::Counter,
        |c| c.disagreeing_records as f64,
    ),
    ("ottla_plugin_enforced_batches", "Batches refused in the mode enforce", Type::Counter, |c| {
        c.enforced_batches as f64
    }),
    ("ottla_plugin_rejected_records", "Records that the plugin rejected", Type::Counter, |c| {
        c.calls.rejected_records as f64
    }),
    ("ottla_plugin_seconds", "Time in calls of the plugin", Type::Counter, |c| c.calls.nanos as f64 / 1e9),
    ("ottla_plugin_memory_bytes", "Memory of the plugin's instances", Type::Gauge, |c| {
        c.calls.memory_bytes as f64
    }),
    ("ottla_plugin_instances", "Instances of the plugin", Type::Gauge, |c| c.calls.instances as f64),
    ("ottla_plugin_instances_dropped", "Instances thrown away after a failure", Type::Counter, |c| {
        c.calls.instances_dropped as f64
    }),
    (
        "ottla_plugin_breaker_open",
        "1 while the plugin rests after repeated failures, 0.5 while one call finds out whether it works again",
        Type::Gauge,
        |c| breaker(c.calls.breaker),
    ),
    ("ottla_plugin_log_lines", "Lines that the plugin logged", Type::Counter, |c| c.calls.log_lines as f64),
    ("ottla_plugin_log_lines_dropped", "Lines of the plugin beyond its budget", Type::Counter, |c| {
        c.calls.log_lines_dropped as f64
    }),
];

/// Families of retention policies, likewise.
const POLICIES: &[(&str, &str, Type, Figure)] = &[
    ("ottla_retention_calls", "Calls of the retention policy", Type::Counter, |c| c.calls.calls as f64),
    ("ottla_retention_judged_records", "Records that it was asked about", Type::Counter, |c| {
        c.calls.records as f64
    }),
    ("ottla_retention_seconds", "Time in calls of the retention policy", Type::Counter, |c| {
        c.calls.nanos as f64 / 1e9
    }),
    ("ottla_retention_memory_bytes", "Memory of the retention policy's instances", Type::Gauge, |c| {
        c.calls.memory_bytes as f64
    }),
    (
        "ottla_retention_breaker_open",
        "1 while the retention policy rests after repeated failures, 0.5 while one call finds out whether it works again",
        Type::Gauge,
        |c| breaker(c.calls.breaker),
    ),
];

/// Calls without a placement, by their reason.
const REASONS: &[(&str, Figure)] = &[
    ("rejected", |c| c.calls.errors_rejected as f64),
    ("failed", |c| c.calls.errors_failed as f64),
    ("trap", |c| c.calls.errors_trap as f64),
    ("timeout", |c| c.calls.errors_timeout as f64),
    ("bad-answer", |c| c.calls.errors_bad_answer as f64),
    ("breaker-open", |c| c.calls.errors_breaker_open as f64),
    ("busy", |c| c.calls.errors_busy as f64),
];

fn breaker(state: BreakerState) -> f64 {
    match state {
        BreakerState::Closed => 0.0,
        BreakerState::Probing => 0.5,
        BreakerState::Open => 1.0,
    }
}

/// What became of batches on which the plugin failed.
const ON_ERROR: &[(&str, Figure)] = &[
    ("reject", |c| c.on_error_reject as f64),
    ("builtin", |c| c.on_error_builtin as f64),
    ("pass", |c| c.on_error_pass as f64),
];

impl Plugins {
    /// Puts the plugins on the metrics page, for as long as they live.
    pub fn register_metrics(self: &Arc<Self>, metrics: &Metrics) {
        for &(name, help, kind, figure) in FAMILIES {
            let plugins = Arc::downgrade(self);
            metrics
                .register(name, help, kind, move || samples::<Partitioning>(&plugins, &[("", figure)], ""));
        }
        for &(name, help, kind, figure) in POLICIES {
            let plugins = Arc::downgrade(self);
            metrics.register(name, help, kind, move || samples::<Retaining>(&plugins, &[("", figure)], ""));
        }
        let plugins = Arc::downgrade(self);
        metrics.register(
            "ottla_plugin_errors",
            "Calls without a placement, by reason",
            Type::Counter,
            move || samples::<Partitioning>(&plugins, REASONS, "reason"),
        );
        let plugins = Arc::downgrade(self);
        metrics.register(
            "ottla_plugin_on_error",
            "Batches that the plugin did not place, by what ottla.partitioner.on.error did",
            Type::Counter,
            move || samples::<Partitioning>(&plugins, ON_ERROR, "action"),
        );
        let plugins = Arc::downgrade(self);
        metrics.register(
            "ottla_plugin_attached",
            "1 for the plugin that serves a topic, 0 for one that should and cannot",
            Type::Gauge,
            move || attached::<Partitioning>(&plugins),
        );
        let plugins = Arc::downgrade(self);
        metrics.register(
            "ottla_retention_attached",
            "1 for the policy that says what of a topic stays, 0 for one that should and cannot",
            Type::Gauge,
            move || attached::<Retaining>(&plugins),
        );
    }
}

/// One sample for each figure of each plugin version of each topic; `label` tells figures apart.
fn samples<R: Serve>(
    plugins: &Weak<Plugins>,
    figures: &[(&str, Figure)],
    label: &'static str,
) -> Vec<Sample> {
    let Some(plugins) = plugins.upgrade() else { return Vec::new() };
    let mut samples = Vec::new();
    for slot in R::slots(&plugins).counted() {
        for counted in slot.counts.all() {
            let snapshot = counted.counts.snapshot();
            for (value, figure) in figures {
                let mut labels = vec![
                    ("plugin", counted.plugin.clone()),
                    ("version", counted.version.clone()),
                    ("topic", slot.topic.to_string()),
                ];
                if !label.is_empty() {
                    labels.push((label, (*value).to_owned()));
                }
                samples.push(Sample::new(labels, figure(&snapshot)));
            }
        }
    }
    samples
}

fn attached<R: Serve>(plugins: &Weak<Plugins>) -> Vec<Sample> {
    let Some(plugins) = plugins.upgrade() else { return Vec::new() };
    let sample = |slot: &Arc<super::Slot<R>>| {
        let attachment = slot.attachment()?;
        let version = attachment.version.as_ref();
        let labels = vec![
            ("plugin", attachment.settings.reference.name.clone()),
            ("version", version.map_or_else(|| "none".into(), |version| version.version.to_string())),
            ("digest", version.map(|version| version.digest.clone()).unwrap_or_default()),
            ("topic", slot.topic.to_string()),
        ];
        Some(Sample::new(labels, if attachment.running.is_ok() { 1.0 } else { 0.0 }))
    };
    R::slots(&plugins).attached().iter().filter_map(sample).collect()
}
