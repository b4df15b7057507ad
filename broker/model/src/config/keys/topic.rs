//! Kafka's keys of topics, each with the broker's key that holds its default.

use super::row::{gzip_level, honoured, of_topic, refused, stored, throttled_replicas};
use crate::config::key::Check::{Any, AtLeast, Between, Custom, ManyOf, OneOf, Share};
use crate::config::key::Key;
use crate::config::key::Type::{Boolean, Double, Int, List, Long, String};
use crate::config::key::Update::ClusterWide;

#[rustfmt::skip] // a table: one key a line
pub(super) static KEYS: &[Key] = &[
    of_topic(honoured("cleanup.policy", List, Some("delete"), ManyOf(&["delete", "compact"]), ClusterWide, "What happens to old segments: `delete` removes them by age and size, `compact` keeps the newest record of each key; with an empty list they stay."), Some("log.cleanup.policy")),
    of_topic(honoured("compression.type", String, Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), ClusterWide, "Whether batches keep the producer's compression (`producer`), or are recompressed to this one."), Some("compression.type")),
    of_topic(honoured("compression.gzip.level", Int, Some("-1"), Custom(gzip_level), ClusterWide, "Level for batches that the broker recompresses with gzip."), Some("compression.gzip.level")),
    of_topic(honoured("compression.lz4.level", Int, Some("9"), Between(1, 17), ClusterWide, "Level for batches that the broker recompresses with lz4."), Some("compression.lz4.level")),
    of_topic(honoured("compression.zstd.level", Int, Some("3"), Between(-131072, 22), ClusterWide, "Level for batches that the broker recompresses with zstd."), Some("compression.zstd.level")),
    of_topic(honoured("delete.retention.ms", Long, Some("86400000"), AtLeast(0), ClusterWide, "How long a compacted topic keeps the marks of deleted keys."), Some("log.cleaner.delete.retention.ms")),
    of_topic(honoured("file.delete.delay.ms", Long, Some("60000"), AtLeast(0), ClusterWide, "How long the files of a deleted segment stay, so that reads in flight can end."), Some("log.segment.delete.delay.ms")),
    of_topic(honoured("flush.messages", Long, Some("9223372036854775807"), AtLeast(1), ClusterWide, "Records after which the log is flushed to disk."), Some("log.flush.interval.messages")),
    of_topic(honoured("flush.ms", Long, Some("9223372036854775807"), AtLeast(0), ClusterWide, "Time after which the log is flushed to disk."), Some("log.flush.interval.ms")),
    of_topic(stored("follower.replication.throttled.replicas", List, Some(""), Custom(throttled_replicas), ClusterWide, "Followers whose fetches are throttled."), None),
    of_topic(honoured("index.interval.bytes", Int, Some("4096"), AtLeast(0), ClusterWide, "Bytes of log between two entries of the offset index."), Some("log.index.interval.bytes")),
    of_topic(stored("leader.replication.throttled.replicas", List, Some(""), Custom(throttled_replicas), ClusterWide, "Leaders whose answers to followers are throttled."), None),
    of_topic(stored("local.retention.bytes", Long, Some("-2"), AtLeast(-2), ClusterWide, "Size of the local part of a tiered log."), Some("log.local.retention.bytes")),
    of_topic(stored("local.retention.ms", Long, Some("-2"), AtLeast(-2), ClusterWide, "Age of the local part of a tiered log."), Some("log.local.retention.ms")),
    of_topic(honoured("max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1), ClusterWide, "Age at which a record must become compactable."), Some("log.cleaner.max.compaction.lag.ms")),
    of_topic(honoured("max.message.bytes", Int, Some("1048588"), AtLeast(0), ClusterWide, "The largest record batch that is accepted, as the client sent it."), Some("message.max.bytes")),
    of_topic(honoured("message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0), ClusterWide, "How far a record's timestamp may lie in the future."), Some("log.message.timestamp.after.max.ms")),
    of_topic(honoured("message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0), ClusterWide, "How far a record's timestamp may lie in the past."), Some("log.message.timestamp.before.max.ms")),
    of_topic(honoured("message.timestamp.type", String, Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), ClusterWide, "Whether records keep the producer's timestamp or get the time of the append."), Some("log.message.timestamp.type")),
    of_topic(honoured("min.cleanable.dirty.ratio", Double, Some("0.5"), Share, ClusterWide, "Share of the log that must be dirty before it is compacted."), Some("log.cleaner.min.cleanable.ratio")),
    of_topic(honoured("min.compaction.lag.ms", Long, Some("0"), AtLeast(0), ClusterWide, "Age before which a record is not compacted."), Some("log.cleaner.min.compaction.lag.ms")),
    of_topic(honoured("min.insync.replicas", Int, Some("1"), AtLeast(1), ClusterWide, "In-sync replicas without which a produce request with acks=all is refused."), Some("min.insync.replicas")),
    of_topic(stored("preallocate", Boolean, Some("false"), Any, ClusterWide, "Whether segment files are given their full size when they are created."), Some("log.preallocate")),
    of_topic(refused("remote.log.copy.disable", Boolean, Some("false"), Any, ClusterWide, "Stops copying to the remote store."), None),
    of_topic(refused("remote.log.delete.on.disable", Boolean, Some("false"), Any, ClusterWide, "Deletes the remote part when tiering is switched off."), None),
    of_topic(refused("remote.storage.enable", Boolean, Some("false"), Any, ClusterWide, "Whether old segments of this topic move to a remote store."), None),
    of_topic(honoured("retention.bytes", Long, Some("-1"), AtLeast(-1), ClusterWide, "Size of a partition above which its oldest segments are deleted; -1 has no bound."), Some("log.retention.bytes")),
    of_topic(honoured("retention.ms", Long, Some("604800000"), AtLeast(-1), ClusterWide, "Age at which segments are deleted; -1 keeps them."), Some("log.retention.ms")),
    of_topic(honoured("segment.bytes", Int, Some("1073741824"), AtLeast(1048576), ClusterWide, "Size at which a log starts a new segment."), Some("log.segment.bytes")),
    of_topic(honoured("segment.index.bytes", Int, Some("10485760"), AtLeast(4), ClusterWide, "The largest an offset or time index may become."), Some("log.index.size.max.bytes")),
    of_topic(honoured("segment.jitter.ms", Long, Some("0"), AtLeast(0), ClusterWide, "Spread taken off segment.ms, so that logs do not roll together."), Some("log.roll.jitter.ms")),
    of_topic(honoured("segment.ms", Long, Some("604800000"), AtLeast(1), ClusterWide, "Age at which a log starts a new segment."), Some("log.roll.ms")),
    of_topic(stored("unclean.leader.election.enable", Boolean, Some("false"), Any, ClusterWide, "Whether a replica that lags may become leader when no other is left."), Some("unclean.leader.election.enable")),
];
