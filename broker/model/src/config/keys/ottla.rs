//! Ottla's own keys, for what Kafka does not have.

use super::row::{honoured, monitor_name, monitored_clusters, of_topic, webhook};
use crate::config::key::Check::{Any, AtLeast, Between, Custom, OneOf};
use crate::config::key::Key;
use crate::config::key::Type::{Boolean, Int, List, Long, String};
use crate::config::key::Update::{ClusterWide, ReadOnly};

#[rustfmt::skip] // a table: one key a line
pub(super) static BROKER_KEYS: &[Key] = &[
    honoured("ottla.admin.listener", String, Some("127.0.0.1:9644"), Any, ReadOnly, "Address of the HTTP admin API and the metrics page, as HOST:PORT. Port 0 picks a free one."),
    honoured("ottla.lane.bytes", Long, Some("268435456"), AtLeast(1 << 20), ClusterWide, "Bytes that a partition's lane may hold before producers of records that move are told to wait."),
    honoured("ottla.monitor.name", String, Some("ottla"), Custom(monitor_name), ReadOnly, "This cluster's name where lag is shown: in Burrow's paths, in metrics and in alerts."),
    honoured("ottla.monitor.window", Int, Some("10"), Between(2, 100), ReadOnly, "Commits of a group to a partition by which it is judged."),
    honoured("ottla.monitor.distance.ms", Long, Some("1000"), Between(0, 3_600_000), ReadOnly, "Commits closer than this after each other share a place of that window."),
    honoured("ottla.monitor.interval.ms", Long, Some("10000"), Between(100, 3_600_000), ReadOnly, "How often log ends are looked at and groups judged that commit nothing, and how often other clusters are asked."),
    honoured("ottla.monitor.pairs.max", Int, Some("100000"), Between(1, 10_000_000), ReadOnly, "Pairs of group and partition that are watched in each cluster, of up to 1 KB each; further ones are refused and counted."),
    honoured("ottla.monitor.clusters", List, Some(""), Custom(monitored_clusters), ReadOnly, "Other Kafka-compatible clusters to watch, as NAME=HOST:PORT between commas; a name that is given again gets another broker to begin with."),
    honoured("ottla.monitor.webhook", String, Some(""), Custom(webhook), ReadOnly, "Where a group's change of status is POSTed to, as JSON: an address that begins with http://. Empty: nowhere."),
    honoured("ottla.plugin.memory.bytes", Long, Some("67108864"), Between(1 << 20, 4 << 30), ClusterWide, "Memory of one instance of a plugin; an allocation beyond it fails inside the plugin."),
    honoured("ottla.plugin.batch.time.ms", Long, Some("100"), Between(1, 60_000), ClusterWide, "Time of one call of a plugin; a call that takes longer is ended."),
    honoured("ottla.plugin.result.bytes", Long, Some("1048576"), Between(64 << 10, 256 << 20), ClusterWide, "Size of what one call of a plugin may return; a larger answer fails the call."),
    honoured("ottla.plugin.component.bytes", Long, Some("33554432"), Between(1 << 10, 1 << 30), ClusterWide, "Size of a component; a larger one is refused at upload."),
    honoured("ottla.plugin.compile.time.ms", Long, Some("60000"), Between(10, 3_600_000), ClusterWide, "Time to compile a component; a compilation that takes longer is ended."),
    honoured("ottla.plugin.compile.memory.bytes", Long, Some("2147483648"), Between(128 << 20, 1 << 40), ClusterWide, "Address space of the process that compiles a component; a compilation that needs more is ended."),
    honoured("ottla.plugin.instances", Long, Some("8"), Between(1, 1024), ClusterWide, "Instances of a plugin for each topic, and so its calls at the same time; further calls wait."),
    honoured("ottla.plugin.log.bytes.per.second", Long, Some("65536"), Between(0, 1 << 30), ClusterWide, "Log output of a plugin for each topic and second; lines beyond it are counted and dropped."),
];

#[rustfmt::skip] // a table: one key a line
pub(super) static TOPIC_KEYS: &[Key] = &[
    of_topic(honoured("ottla.flush", String, Some("default"), OneOf(&["default", "always"]), ClusterWide, "With `always`, an answer to acks=1 or all waits until its batch is synced to the disk, and so do readers; whatever waits shares one sync. With `default`, flush.messages and flush.ms decide."), None),
    of_topic(honoured("ottla.partitioner", String, Some(""), Any, ClusterWide, "The plugin that places this topic's records, as NAME@VERSION or NAME for its latest version. Empty: clients place them."), None),
    of_topic(honoured("ottla.partitioner.config", String, Some("{}"), Any, ClusterWide, "That plugin's config, as JSON."), None),
    of_topic(honoured("ottla.partitioner.mode", String, Some("assign"), OneOf(&["assign", "enforce", "observe"]), ClusterWide, "Whether the plugin places records, refuses those that were placed otherwise, or is only counted."), None),
    of_topic(honoured("ottla.partitioner.on.error", String, Some("reject"), OneOf(&["reject", "builtin", "pass"]), ClusterWide, "What becomes of a batch on which the plugin fails: refuse it, place it by Kafka's own rule, or leave it where the client put it."), None),
    of_topic(honoured("ottla.retention", String, Some(""), Any, ClusterWide, "The plugin that says what of this topic stays, as NAME@VERSION or NAME for its latest version. While one is attached, retention.ms and retention.bytes are told to it and delete nothing themselves."), None),
    of_topic(honoured("ottla.retention.config", String, Some("{}"), Any, ClusterWide, "That plugin's config, as JSON."), None),
    of_topic(honoured("ottla.retention.on.error", String, Some("keep"), OneOf(&["keep"]), ClusterWide, "What becomes of data on which the plugin fails: it stays."), None),
    of_topic(honoured("ottla.retention.hold", Boolean, Some("false"), Any, ClusterWide, "A legal hold: nothing of the topic is removed, not by retention, compaction, a plugin, DeleteRecords or the topic's deletion."), None),
    of_topic(honoured("ottla.tenant", String, Some(""), Any, ClusterWide, "The tenant to which the topic belongs, for plugins that look at all topics of one."), None),
    of_topic(honoured("ottla.lane.bytes", Long, Some("268435456"), AtLeast(1 << 20), ClusterWide, "Bytes that a partition's lane may hold before producers of records that move are told to wait."), Some("ottla.lane.bytes")),
];
