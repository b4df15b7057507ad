//! One topic of the image: where its partitions lie, what was set for it, and which plugins went live on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_model::ids::TopicId;

use crate::record::{PartitionState, PluginIdentity, SwitchKind, SwitchRecord};

/// The topic config under which nothing of a topic may be removed.
pub const HOLD: &str = "ottla.retention.hold";

/// Names and values of one owner's configs.
pub type Configs = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub id: TopicId,
    pub name: Arc<str>,
    pub created_ms: i64,
    /// By index, without a gap; never empty.
    pub partitions: Vec<PartitionState>,
    /// What was set for this topic, without defaults.
    pub configs: Arc<Configs>,
    /// The last attachment switches, oldest first, at most [`crate::bounds::SWITCHES_MAX`] of each kind.
    pub switches: Vec<Arc<Switch>>,
}

/// A moment at which another plugin version or config went live on a topic.
pub type Switch = SwitchRecord;

impl Topic {
    pub fn partition(&self, index: i32) -> Option<&PartitionState> {
        usize::try_from(index).ok().and_then(|index| self.partitions.get(index))
    }

    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// Replicas of the first partition: the topic's replication factor as Kafka reports it.
    pub fn replication_factor(&self) -> i16 {
        self.partitions.first().map_or(0, |p| i16::try_from(p.replicas.len()).unwrap_or(i16::MAX))
    }

    /// Whether a legal hold lies on the topic.
    pub fn is_held(&self) -> bool {
        self.configs.get(HOLD).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// The plugin that went live last in a role, if it was not detached since.
    pub fn live_plugin(&self, kind: SwitchKind) -> Option<&PluginIdentity> {
        self.switches.iter().rfind(|switch| switch.kind == kind).and_then(|switch| switch.plugin.as_ref())
    }
}
