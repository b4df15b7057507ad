//! Keys of tiered storage.

use super::row::{refused, stored};
use crate::config::key::Check::{Any, AtLeast, NonEmpty};
use crate::config::key::Key;
use crate::config::key::Type::{Boolean, Int, Long, String};
use crate::config::key::Update::{ClusterWide, ReadOnly};

#[rustfmt::skip] // a table: one key a line
pub(super) static KEYS: &[Key] = &[
    refused("remote.log.storage.system.enable", Boolean, Some("false"), Any, ReadOnly, "Whether old segments move to a remote store."),
    refused("remote.log.storage.manager.class.name", String, None, Any, ReadOnly, "A Java class that reaches the remote store."),
    refused("remote.log.storage.manager.class.path", String, None, Any, ReadOnly, "Where the class that reaches the remote store lies."),
    stored("remote.log.storage.manager.impl.prefix", String, Some("rsm.config."), NonEmpty, ReadOnly, "Prefix of the configs of the class that reaches the remote store."),
    refused("remote.log.metadata.manager.class.name", String, Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), NonEmpty, ReadOnly, "A Java class that keeps account of remote segments."),
    refused("remote.log.metadata.manager.class.path", String, None, Any, ReadOnly, "Where the class that keeps account of remote segments lies."),
    stored("remote.log.metadata.manager.impl.prefix", String, Some("rlmm.config."), NonEmpty, ReadOnly, "Prefix of the configs of the class that keeps account of remote segments."),
    refused("remote.log.metadata.manager.listener.name", String, None, Any, ReadOnly, "The listener over which that account reaches the broker."),
    stored("remote.log.metadata.custom.metadata.max.bytes", Int, Some("128"), AtLeast(0), ReadOnly, "The largest note that a remote store may attach to a segment."),
    stored("remote.fetch.max.wait.ms", Int, Some("500"), AtLeast(1), ClusterWide, "How long a fetch waits for the remote store."),
    stored("remote.list.offsets.request.timeout.ms", Long, Some("30000"), AtLeast(1), ClusterWide, "How long ListOffsets waits for the remote store."),
    stored("remote.log.index.file.cache.total.size.bytes", Long, Some("1073741824"), AtLeast(1), ClusterWide, "Local space for indexes of remote segments."),
    stored("remote.log.manager.copier.thread.pool.size", Int, Some("10"), AtLeast(1), ClusterWide, "Threads that copy segments to the remote store."),
    stored("remote.log.manager.expiration.thread.pool.size", Int, Some("10"), AtLeast(1), ClusterWide, "Threads that delete remote segments."),
    stored("remote.log.manager.follower.thread.pool.size", Int, Some("2"), AtLeast(1), ClusterWide, "Threads that follow remote logs."),
    stored("remote.log.manager.thread.pool.size", Int, Some("2"), AtLeast(1), ReadOnly, "Threads that plan work on remote segments."),
    stored("remote.log.manager.task.interval.ms", Long, Some("30000"), AtLeast(1), ReadOnly, "How often work on remote segments is planned."),
    stored("remote.log.manager.copy.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1), ClusterWide, "Bytes that may be copied to the remote store in a second."),
    stored("remote.log.manager.copy.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, "Samples over which copying to the remote store is throttled."),
    stored("remote.log.manager.copy.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, "Length of one sample of the throttle on copying to the remote store."),
    stored("remote.log.manager.fetch.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1), ClusterWide, "Bytes that may be read from the remote store in a second."),
    stored("remote.log.manager.fetch.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, "Samples over which reading from the remote store is throttled."),
    stored("remote.log.manager.fetch.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, "Length of one sample of the throttle on reading from the remote store."),
    stored("remote.log.reader.threads", Int, Some("10"), AtLeast(1), ClusterWide, "Threads that read from the remote store."),
    stored("remote.log.reader.max.pending.tasks", Int, Some("100"), AtLeast(1), ReadOnly, "Reads from the remote store that may wait for a thread."),
];
