//! The partitions' part of the metrics page: how many there are, how large their logs are, and what waits in their
//! lanes. Read from the registry of partitions at each scrape.

use std::sync::{Arc, Weak};

use ottla_replication::{LaneStatus, Partition};

use super::{Metrics, Sample, Type};
use crate::partitions::Partitions;

type Figure = fn(&LaneStatus) -> u64;

/// Families with one sample by lane.
const LANES: &[(&str, &str, Type, Figure)] = &[
    ("ottla_lane_bytes", "Bytes of the lane's segments", Type::Gauge, |lane| lane.size_bytes),
    (
        "ottla_lane_unresolved_bytes",
        "Bytes in the lane that are not where they belong yet",
        Type::Gauge,
        |lane| lane.unresolved_bytes,
    ),
    (
        "ottla_lane_unresolved_batches",
        "Batches in the lane that are not where they belong yet",
        Type::Gauge,
        |lane| lane.unresolved_batches,
    ),
    (
        "ottla_lane_forwarded_batches",
        "Batches that the forwarder brought to destinations",
        Type::Counter,
        |lane| lane.forwarder.groups,
    ),
    (
        "ottla_lane_forwarded_bytes",
        "Bytes that the forwarder brought to destinations",
        Type::Counter,
        |lane| lane.forwarder.bytes,
    ),
    (
        "ottla_lane_suppressed_batches",
        "Forwarded batches that their destination held already",
        Type::Counter,
        |lane| lane.forwarder.suppressed,
    ),
    ("ottla_lane_refusals", "Forwards that a destination refused or did not answer", Type::Counter, |lane| {
        lane.forwarder.refused
    }),
    (
        "ottla_lane_losses",
        "Destinations found to miss records that the lane no longer holds",
        Type::Counter,
        |lane| lane.forwarder.losses,
    ),
];

/// Puts the partitions on the page, for as long as they live.
pub fn register_partitions(metrics: &Metrics, partitions: &Arc<Partitions>) {
    let all = Arc::downgrade(partitions);
    metrics.register("ottla_topics", "Topics", Type::Gauge, move || {
        let topics = all.upgrade().map_or(0, |all| all.topics().len());
        vec![Sample::new(Vec::new(), topics as f64)]
    });
    let all = Arc::downgrade(partitions);
    metrics.register("ottla_partitions", "Partitions that lie on this broker", Type::Gauge, move || {
        let partitions = all.upgrade().map_or(0, |all| all.all().len());
        vec![Sample::new(Vec::new(), partitions as f64)]
    });
    let all = Arc::downgrade(partitions);
    metrics.register("ottla_log_bytes", "Bytes of the partition's log", Type::Gauge, move || {
        samples(&all, |partition| Some(partition.size_bytes() as f64))
    });
    for &(name, help, kind, figure) in LANES {
        let all = Arc::downgrade(partitions);
        metrics.register(name, help, kind, move || {
            samples(&all, |partition| partition.lane_status().map(|lane| figure(&lane) as f64))
        });
    }
}

/// One sample for each partition that has the figure.
fn samples(partitions: &Weak<Partitions>, figure: impl Fn(&Partition) -> Option<f64>) -> Vec<Sample> {
    let Some(partitions) = partitions.upgrade() else { return Vec::new() };
    let mut samples = Vec::new();
    for topic in partitions.topics() {
        for partition in topic.partitions() {
            if let Some(value) = figure(partition) {
                let index = partition.topic_partition().partition.to_string();
                samples
                    .push(Sample::new(vec![("topic", topic.name.to_string()), ("partition", index)], value));
            }
        }
    }
    samples
}
