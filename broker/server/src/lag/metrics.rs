//! Lag on the metrics page: Burrow's names, so that dashboards made for it go on, and ours for what it has not. All
//! groups are shown; partitions only while there are few enough, as every one is a line of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_lag::GroupView;
use parking_lot::Mutex;

use super::{Lag, Watched};
use crate::metrics::{Metrics, Sample, Type};

/// Groups on the page, in the order of their names.
const GROUPS_MAX: usize = 10_000;
/// With more pairs of group and partition than this in a cluster, none of its pairs is on the page.
const PAIRS_MAX: usize = 10_000;
/// With more partitions than this in a cluster, none of their ends is on the page.
const ENDS_MAX: usize = 10_000;
/// The families of one scrape read one picture.
const FRESH_MS: i64 = 500;

/// A group on the page.
#[derive(Clone)]
struct Group {
    cluster: Arc<str>,
    name: Arc<str>,
    view: GroupView,
}

#[derive(Default)]
struct Picture {
    taken_ms: Option<i64>,
    groups: Arc<Vec<Group>>,
}

type OfGroup = fn(&GroupView) -> Option<f64>;

/// One sample a group.
const GROUPS: &[(&str, &str, OfGroup)] = &[
    (
        "burrow_kafka_consumer_lag_total",
        "Records that a group has not read yet, of all its partitions",
        |view| Some(view.lag as f64),
    ),
    ("burrow_kafka_consumer_status", "Status of a group as a number: 1 OK, 2 WARN, 3 ERR", |view| {
        Some(f64::from(view.status.number()))
    }),
    ("ottla_group_lag_max", "Records of the partition in which a group is behind most", |view| {
        Some(view.lag_max as f64)
    }),
    ("ottla_group_lag_seconds", "Age of the oldest record that a group has not read yet", |view| {
        view.lag_seconds
    }),
    (
        "ottla_group_complete",
        "Share of a group's partitions of which enough commits were seen to judge them",
        |view| Some(view.complete),
    ),
    ("ottla_group_commits_per_second", "Offset commits of a group, over its windows", |view| {
        Some(view.commit_rate)
    }),
];

impl Lag {
    /// Puts lag on the page, for as long as this lives.
    pub fn register_metrics(self: &Arc<Self>, metrics: &Metrics) {
        let picture = Arc::new(Mutex::new(Picture::default()));
        for (name, help, read) in GROUPS {
            let (lag, picture) = (Arc::downgrade(self), picture.clone());
            metrics.register(name, help, Type::Gauge, move || {
                let Some(lag) = lag.upgrade() else { return Vec::new() };
                let groups = lag.picture(&picture);
                let sample = |group: &Group| {
                    let labels = vec![
                        ("cluster", group.cluster.to_string()),
                        ("consumer_group", group.name.to_string()),
                    ];
                    Some(Sample::new(labels, read(&group.view)?))
                };
                groups.iter().filter_map(sample).collect()
            });
        }
        self.register_partitions(metrics);
        self.register_clusters(metrics);
        self.register_webhook(metrics);
    }

    /// The groups, by cluster and name.
    fn picture(&self, picture: &Mutex<Picture>) -> Arc<Vec<Group>> {
        let now_ms = self.clock.monotonic_ms();
        let mut picture = picture.lock();
        let is_fresh = |taken_ms: i64| (0..FRESH_MS).contains(&now_ms.saturating_sub(taken_ms));
        if picture.taken_ms.is_some_and(is_fresh) {
            return picture.groups.clone();
        }
        let mut groups = Vec::new();
        for cluster in self.clusters() {
            let mut of_cluster = cluster.all();
            of_cluster.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            of_cluster.truncate(GROUPS_MAX);
            groups.extend(of_cluster.into_iter().map(|(name, view)| Group {
                cluster: cluster.name.clone(),
                name,
                view,
            }));
        }
        *picture = Picture { taken_ms: Some(now_ms), groups: Arc::new(groups) };
        picture.groups.clone()
    }

    fn register_partitions(self: &Arc<Self>, metrics: &Metrics) {
        type OfPair = fn(&ottla_lag::PairView<'_>) -> Option<f64>;
        let families: [(&str, &str, OfPair); 4] = [
            (
                "burrow_kafka_consumer_partition_lag",
                "Records of a partition that a group has not read yet",
                |pair| Some(pair.lag()? as f64),
            ),
            (
                "burrow_kafka_consumer_current_offset",
                "The offset of a partition that a group committed last",
                |pair| Some(pair.offset()? as f64),
            ),
            (
                "ottla_group_partition_status",
                "Status of a group at a partition as a number: 1 OK, 2 WARN, 4 STOP, 5 STALL, 6 REWIND",
                |pair| Some(f64::from(pair.status().number())),
            ),
            (
                "ottla_group_partition_lag_seconds",
                "Age of the oldest record of a partition that a group has not read yet",
                |pair| pair.lag_seconds(),
            ),
        ];
        for (name, help, read) in families {
            let lag = Arc::downgrade(self);
            metrics.register(name, help, Type::Gauge, move || {
                let clusters = lag.upgrade().map_or_else(Vec::new, |lag| lag.clusters().cloned().collect());
                clusters.iter().flat_map(|cluster| of_pairs(cluster, read)).collect()
            });
        }
        let lag = Arc::downgrade(self);
        let (name, help) = ("burrow_kafka_topic_partition_offset", "The end of a partition's log");
        metrics.register(name, help, Type::Gauge, move || {
            let clusters = lag.upgrade().map_or_else(Vec::new, |lag| lag.clusters().cloned().collect());
            clusters.iter().flat_map(|cluster| ends_of(cluster)).collect()
        });
    }

    fn register_clusters(self: &Arc<Self>, metrics: &Metrics) {
        type OfCluster = fn(&Watched) -> f64;
        let families: [(&str, &str, Type, OfCluster); 6] = [
            ("ottla_monitor_groups", "Groups that are watched", Type::Gauge, |cluster| {
                cluster.counts().0 as f64
            }),
            (
                "ottla_monitor_pairs",
                "Pairs of group and partition that are watched",
                Type::Gauge,
                |cluster| cluster.counts().1 as f64,
            ),
            (
                "ottla_monitor_refused",
                "Commits of pairs that are not watched, as there are ottla.monitor.pairs.max already",
                Type::Counter,
                |cluster| cluster.counts().2 as f64,
            ),
            (
                "ottla_monitor_up",
                "1 if the cluster answered when it was asked last",
                Type::Gauge,
                |cluster| f64::from(u8::from(cluster.reached.is_up.load(Ordering::Relaxed))),
            ),
            ("ottla_monitor_rounds", "Rounds in which the cluster was looked at", Type::Counter, |cluster| {
                cluster.reached.rounds.load(Ordering::Relaxed) as f64
            }),
            ("ottla_monitor_failures", "Rounds that failed", Type::Counter, |cluster| {
                cluster.reached.failures.load(Ordering::Relaxed) as f64
            }),
        ];
        for (name, help, kind, read) in families {
            let lag = Arc::downgrade(self);
            metrics.register(name, help, kind, move || {
                let Some(lag) = lag.upgrade() else { return Vec::new() };
                let sample = |cluster: &Arc<Watched>| {
                    Sample::new(vec![("cluster", cluster.name.to_string())], read(cluster))
                };
                lag.clusters().map(sample).collect()
            });
        }
    }

    fn register_webhook(self: &Arc<Self>, metrics: &Metrics) {
        let Some(webhook) = &self.webhook else { return };
        type OfPosted = fn(&super::webhook::Posted) -> &AtomicU64;
        let families: [(&str, &str, OfPosted); 3] = [
            ("ottla_monitor_webhook_events", "Events that ottla.monitor.webhook took", |posted| &posted.sent),
            ("ottla_monitor_webhook_retries", "Tries that failed and were followed by another", |posted| {
                &posted.retried
            }),
            ("ottla_monitor_webhook_dropped", "Events that ottla.monitor.webhook did not take", |posted| {
                &posted.dropped
            }),
        ];
        for (name, help, counter) in families {
            let posted = webhook.posted.clone();
            metrics.register(name, help, Type::Counter, move || {
                vec![Sample::new(Vec::new(), counter(&posted).load(Ordering::Relaxed) as f64)]
            });
        }
    }
}

fn of_pairs(cluster: &Watched, read: fn(&ottla_lag::PairView<'_>) -> Option<f64>) -> Vec<Sample> {
    if cluster.counts().1 > PAIRS_MAX {
        return Vec::new();
    }
    let mut samples = Vec::new();
    for group in cluster.groups() {
        let book = cluster.book.lock();
        for pair in book.pairs_of(&group, cluster.now_ms()) {
            let labels = vec![
                ("cluster", cluster.name.to_string()),
                ("consumer_group", group.to_string()),
                ("topic", pair.topic().to_owned()),
                ("partition", pair.partition().to_string()),
            ];
            samples.extend(read(&pair).map(|value| Sample::new(labels, value)));
        }
    }
    samples
}

fn ends_of(cluster: &Watched) -> Vec<Sample> {
    let mut samples = Vec::new();
    for topic in cluster.logs.topics() {
        let ends = cluster.logs.ends_of(&topic).unwrap_or_default();
        for (index, end) in ends.iter().enumerate().filter(|(_, end)| **end >= 0) {
            let labels = vec![
                ("cluster", cluster.name.to_string()),
                ("topic", topic.to_string()),
                ("partition", index.to_string()),
            ];
            samples.push(Sample::new(labels, *end as f64));
            if samples.len() > ENDS_MAX {
                return Vec::new();
            }
        }
    }
    samples
}
