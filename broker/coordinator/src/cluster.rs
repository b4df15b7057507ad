//! What a shard may know of the world around it: topics, configs, and a source of ids. The server implements it over
//! the metadata image; tests over a table. Time is no part of it, but an argument of each call.

use std::sync::Arc;

use ottla_model::ids::TopicId;
use uuid::Uuid;

/// A topic, as coordinators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicView {
    pub id: TopicId,
    pub name: Arc<str>,
    pub partitions: i32,
}

/// The broker's surroundings at the moment of a call.
pub trait Cluster {
    fn settings(&self) -> &Settings;

    /// What the configs of this group (resource type GROUP) say in place of the broker's settings.
    fn overrides(&self, group: &str) -> GroupOverrides;

    fn topic(&self, name: &str) -> Option<TopicView>;

    fn topic_by_id(&self, id: TopicId) -> Option<TopicView>;

    /// Calls `each` with every topic that clients may see, in no order.
    fn each_topic(&self, each: &mut dyn FnMut(&TopicView));

    /// Rises whenever a topic is created or deleted, or its partitions change.
    fn topics_version(&self) -> u64;

    /// A fresh random id, for the name of a member.
    fn unique(&self) -> Uuid;
}

/// The broker's settings of groups, by the keys that Kafka has for them. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i64,
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.max.size`
    pub classic_max_size: usize,
    /// `group.consumer.max.size`
    pub consumer_max_size: usize,
    /// `group.consumer.session.timeout.ms`
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`
    pub consumer_heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`
    pub consumer_assignment_interval_ms: i32,
    /// `group.consumer.assignors`, the default first; of `uniform` and `range`.
    pub consumer_assignors: Vec<String>,
    /// `group.consumer.migration.policy`
    pub migration: Migration,
    /// `group.coordinator.rebalance.protocols` contains `consumer`.
    pub consumer_protocol: bool,
    /// `group.coordinator.rebalance.protocols` contains `classic`.
    pub classic_protocol: bool,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
}

/// `group.consumer.migration.policy`: which groups change their protocol while they live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    Bidirectional,
    Upgrade,
    Downgrade,
    Disabled,
}

/// `consumer.session.timeout.ms` and its siblings, of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupOverrides {
    pub consumer_session_timeout_ms: Option<i32>,
    pub consumer_heartbeat_interval_ms: Option<i32>,
    pub consumer_assignment_interval_ms: Option<i32>,
}
