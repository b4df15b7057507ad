//! Keys that one group may have for itself (the resource type GROUP), each over a key of the broker. Those of share and
//! streams groups are told as Kafka tells them, and only their defaults are accepted: such groups are not built.

use super::row::{honoured, of_topic as over, refused};
use crate::config::key::Check::{AtLeast, Between, OneOf};
use crate::config::key::Key;
use crate::config::key::Type::{Boolean, Int, String};
use crate::config::key::Update::ClusterWide;

#[rustfmt::skip] // a table: one key a line
pub(super) static KEYS: &[Key] = &[
    over(honoured("consumer.session.timeout.ms", Int, Some("45000"), AtLeast(1), ClusterWide, "Session timeout of the members of this group, if it is a consumer group."), Some("group.consumer.session.timeout.ms")),
    over(honoured("consumer.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), ClusterWide, "Heartbeat interval of the members of this group, if it is a consumer group."), Some("group.consumer.heartbeat.interval.ms")),
    over(honoured("consumer.assignment.interval.ms", Int, Some("1000"), AtLeast(0), ClusterWide, "Least time between two assignments of this group, if it is a consumer group."), Some("group.consumer.assignment.interval.ms")),
    over(refused("share.session.timeout.ms", Int, Some("45000"), AtLeast(1), ClusterWide, "Session timeout of the members of a share group."), Some("group.share.session.timeout.ms")),
    over(refused("share.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), ClusterWide, "Heartbeat interval of the members of a share group."), Some("group.share.heartbeat.interval.ms")),
    over(refused("share.assignment.interval.ms", Int, Some("1000"), AtLeast(0), ClusterWide, "Least time between two assignments of a share group."), Some("group.share.assignment.interval.ms")),
    over(refused("share.record.lock.duration.ms", Int, Some("30000"), AtLeast(1000), ClusterWide, "How long a record stays with the share consumer that took it."), Some("group.share.record.lock.duration.ms")),
    over(refused("share.delivery.count.limit", Int, Some("5"), Between(2, 25), ClusterWide, "How often a share group delivers a record before it gives up."), Some("group.share.delivery.count.limit")),
    over(refused("share.partition.max.record.locks", Int, Some("2000"), AtLeast(100), ClusterWide, "Records of one partition that a share group may hold at once."), Some("group.share.partition.max.record.locks")),
    over(refused("share.auto.offset.reset", String, Some("latest"), OneOf(&["latest"]), ClusterWide, "Where a share group begins a partition."), None),
    over(refused("share.isolation.level", String, Some("read_uncommitted"), OneOf(&["read_uncommitted", "read_committed"]), ClusterWide, "Whether a share group sees records of open transactions."), None),
    over(refused("share.renew.acknowledge.enable", Boolean, Some("true"), OneOf(&["true", "false"]), ClusterWide, "Whether members of a share group may keep a record for longer."), None),
    over(refused("streams.session.timeout.ms", Int, Some("45000"), AtLeast(1), ClusterWide, "Session timeout of the members of a streams group."), Some("group.streams.session.timeout.ms")),
    over(refused("streams.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), ClusterWide, "Heartbeat interval of the members of a streams group."), Some("group.streams.heartbeat.interval.ms")),
    over(refused("streams.assignment.interval.ms", Int, Some("1000"), AtLeast(0), ClusterWide, "Least time between two assignments of a streams group."), Some("group.streams.assignment.interval.ms")),
    over(refused("streams.initial.rebalance.delay.ms", Int, Some("3000"), AtLeast(0), ClusterWide, "How long a new streams group waits for more members."), Some("group.streams.initial.rebalance.delay.ms")),
    over(refused("streams.num.standby.replicas", Int, Some("0"), AtLeast(0), ClusterWide, "Standby copies of each stateful task."), Some("group.streams.num.standby.replicas")),
];
