//! What the plugins need of the rest of the broker, as one trait: cluster metadata stands behind it, and the open
//! partitions. Tests put a plain memory in its place and run everything else as it is.

use async_trait::async_trait;
use ottla_controller::record::SwitchKind;
use ottla_model::error::KafkaError;
use ottla_plugin_host::Limits;
use serde::Serialize;
use tokio::sync::watch;

use super::settings::TopicConfigs;
use super::version::Registered;
use crate::retention::report::{TopicReport, Tried};

/// A topic as the plugins see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicView {
    pub name: String,
    /// Tells a topic from an earlier one of the same name.
    pub id: String,
    pub partitions: u32,
    /// Those of the topic's configs that concern plugins, and what a plugin is told of the others.
    pub configs: TopicConfigs,
    /// `ottla.retention.hold`
    pub held: bool,
    /// Whether `cleanup.policy` compacts it.
    pub compacted: bool,
}

/// A change of what serves a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// The role in which it serves.
    pub kind: SwitchKind,
    /// Name, version and digest of what is live from then on; none after a detach.
    pub plugin: Option<SwitchedTo>,
    pub config: Option<String>,
    /// Who asked: a client's address, or the broker itself.
    pub by: String,
    /// Unix time in milliseconds.
    pub at_ms: i64,
    /// The end of each partition's log at that moment, by partition.
    pub offsets: Vec<i64>,
}

/// The plugin of a [`Switch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SwitchedTo {
    pub name: String,
    pub version: String,
    pub digest: String,
    /// What lanes record of decisions from then on: SHA-256 over the component's SHA-256 and the config, in hexadecimal.
    pub rule: String,
}

/// Where the records behind a receipt (an offset that a producer got for a moved batch) went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Whereabouts {
    /// The record's index in the batch.
    pub record: u32,
    /// The whole batch, in its order.
    pub parts: Vec<Part>,
    /// The rule that decided, as the lane recorded it; zeros if no plugin decided.
    pub rule: String,
    /// The plugin and config behind the rule, as far as switches are remembered.
    pub plugin: Option<SwitchedTo>,
    pub config: Option<String>,
}

/// A run of records of one batch that went to one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    pub records: u32,
    pub partition: i32,
    /// The offset of the run's first record there; the others follow. `None` unless it is stored, and known where.
    pub offset: Option<i64>,
    pub state: PartState,
}

/// How far a part has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// In the lane, not at its destination yet.
    UnderWay,
    Stored,
    /// It reached its destination. At which offset is not known any more: the records were deleted there, or the lane
    /// does not hold what came with them.
    Unknown,
}

/// The rest of the broker.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// Unix time in milliseconds.
    fn now_ms(&self) -> i64;

    /// Versions that were uploaded, without those that ship with the broker.
    fn registered(&self) -> Vec<Registered>;

    /// Records a version; what has its name and version already is an error.
    async fn register(&self, version: &Registered) -> Result<(), KafkaError>;

    /// Forgets a version.
    async fn unregister(&self, name: &str, version: &str) -> Result<(), KafkaError>;

    /// Topics that have a config of the plugins.
    fn topics(&self) -> Vec<TopicView>;

    fn topic(&self, name: &str) -> Option<TopicView>;

    /// What a retention policy is told of a topic: the configs in [`super::retaining::TOLD`], as they are in force. A
    /// topic's view has them only where it asks for a policy.
    fn told(&self, topic: &str) -> TopicConfigs;

    /// Sets (or with `None` removes) configs of a topic, as IncrementalAlterConfigs does.
    async fn alter(
        &self,
        topic: &str,
        changes: &[(&str, Option<String>)],
        by: &str,
    ) -> Result<(), KafkaError>;

    /// Puts a switch on record.
    async fn record_switch(&self, topic: &TopicView, switch: Switch) -> Result<(), KafkaError>;

    /// Recorded switches of a topic, oldest first.
    fn switches(&self, topic: &str) -> Vec<Switch>;

    /// Partitions that take no records now, ascending.
    fn unwritable(&self, topic: &str) -> Vec<u32>;

    /// The end of each partition's log, by partition.
    fn log_ends(&self, topic: &str) -> Vec<i64>;

    /// Resolves a receipt. Blocks while logs are searched.
    fn whereabouts(&self, topic: &str, partition: i32, offset: i64) -> Result<Whereabouts, KafkaError>;

    /// Lets a topic's retention policy judge everything now, or the topic's own retention where there is none.
    async fn clean(&self, topic: &str, by: &str) -> Result<TopicReport, KafkaError>;

    /// What would go, by the policy that is attached or one that is tried.
    async fn dry_run(&self, topic: &str, tried: Option<Tried>) -> Result<TopicReport, KafkaError>;

    /// What the configs allow plugins; none where they say nothing.
    fn limits(&self) -> Option<Limits>;

    /// Changes with each change of metadata.
    fn changes(&self) -> watch::Receiver<u64>;
}
