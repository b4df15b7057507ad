//! Records become a new image. A record that contradicts the image is refused as a whole with the records beside
//! it, and the image stays as it was: that happens only to a log that was damaged or written by a faulty broker,
//! and every broker refuses it alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_model::ids::TopicId;
use ottla_model::topic_name::may_collide;
use thiserror::Error;

use super::{Configs, Image, Plugin, Topic, without_dots};
use crate::bounds::{PRODUCER_ID_END, REPLICAS_MAX, SWITCHES_MAX, TOPIC_PARTITIONS_MAX};
use crate::record::{
    BrokerRecord, ConfigOwner, ConfigRecord, GroupConfigRecord, NO_LEADER, PartitionState, PartitionsRecord,
    PluginRecord, PluginRemovedRecord, ProducerIdsRecord, Record, SwitchRecord, TopicRecord,
};

/// Why records do not fit an image.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ApplyError {
    #[error("the name of topic {name} collides with that of topic {other}")]
    TopicCollides { name: String, other: String },
    #[error("a record names topic id {0}, which does not exist")]
    UnknownTopic(TopicId),
    #[error("topic {0} exists already")]
    TopicExists(String),
    #[error("topic id {0} exists already")]
    TopicIdExists(TopicId),
    #[error("topic {topic} has {count} partitions, a record adds more from {first} on")]
    PartitionGap { topic: String, count: usize, first: i32 },
    #[error("topic {topic} would have {count} partitions")]
    PartitionCount { topic: String, count: usize },
    #[error("partition {index} of topic {topic} contradicts itself: {reason}")]
    Partition { topic: String, index: usize, reason: &'static str },
    #[error("plugin {name}@{version} does not exist")]
    UnknownPlugin { name: String, version: String },
    #[error("producer ids were handed out up to {next}, a record goes back to {to} or beyond their end")]
    ProducerIds { next: i64, to: i64 },
}

impl Image {
    /// The image after `records`, or an error and no change at all. Work and memory grow with what changes, not
    /// with what is there; only a broker's start visits every partition.
    pub fn apply<'a>(&self, records: impl IntoIterator<Item = &'a Record>) -> Result<Image, ApplyError> {
        let mut image = self.clone();
        for record in records {
            image.apply_one(record)?;
            image.version += 1;
        }
        Ok(image)
    }

    fn apply_one(&mut self, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::Broker(record) => self.apply_broker(record),
            Record::Topic(record) => return self.apply_topic(record),
            Record::TopicRemoved(record) => return self.remove_topic(record.id),
            Record::Partitions(record) => return self.apply_partitions(record),
            Record::Config(record) => return self.apply_config(record),
            Record::GroupConfig(record) => self.apply_group_config(record),
            Record::Plugin(record) => self.apply_plugin(record),
            Record::PluginRemoved(record) => return self.remove_plugin(record),
            Record::ProducerIds(record) => return self.apply_producer_ids(record),
            Record::Switch(record) => return self.apply_switch(record),
        }
        Ok(())
    }

    fn apply_broker(&mut self, record: &BrokerRecord) {
        self.brokers.insert_mut(record.id, Arc::new(record.clone()));
        let led: Vec<Arc<Topic>> =
            self.topics().filter(|t| t.partitions.iter().any(|p| p.leader == record.id)).cloned().collect();
        for topic in led {
            let mut topic = Topic::clone(&topic);
            for partition in topic.partitions.iter_mut().filter(|p| p.leader == record.id) {
                partition.leader_epoch = partition.leader_epoch.saturating_add(1);
                partition.partition_epoch = partition.partition_epoch.saturating_add(1);
            }
            self.put(topic);
        }
    }

    fn apply_topic(&mut self, record: &TopicRecord) -> Result<(), ApplyError> {
        if self.topic(&record.name).is_some() {
            return Err(ApplyError::TopicExists(record.name.clone()));
        }
        if self.topic_by_id(record.id).is_some() {
            return Err(ApplyError::TopicIdExists(record.id));
        }
        if let Some(other) = self.colliding_topic(&record.name) {
            return Err(ApplyError::TopicCollides { name: record.name.clone(), other: other.to_owned() });
        }
        let count = record.partitions.len();
        if count == 0 || count > TOPIC_PARTITIONS_MAX {
            return Err(ApplyError::PartitionCount { topic: record.name.clone(), count });
        }
        check_partitions(&record.name, 0, &record.partitions)?;
        let name: Arc<str> = Arc::from(record.name.as_str());
        if may_collide(&name) {
            self.colliding.insert_mut(Arc::from(without_dots(&name)), name.clone());
        }
        self.partition_count += count;
        self.put(Topic {
            id: record.id,
            name,
            created_ms: record.created_ms,
            partitions: record.partitions.clone(),
            configs: Arc::default(),
            switches: Vec::new(),
        });
        Ok(())
    }

    fn remove_topic(&mut self, id: TopicId) -> Result<(), ApplyError> {
        let topic = self.existing(id)?.clone();
        self.topics.remove_mut(&topic.name);
        self.topics_by_id.remove_mut(&id);
        if may_collide(&topic.name) {
            self.colliding.remove_mut(without_dots(&topic.name).as_str());
        }
        self.partition_count -= topic.partitions.len();
        Ok(())
    }

    fn apply_partitions(&mut self, record: &PartitionsRecord) -> Result<(), ApplyError> {
        let mut topic = Topic::clone(self.existing(record.topic_id)?);
        let count = topic.partitions.len();
        if usize::try_from(record.first) != Ok(count) {
            return Err(ApplyError::PartitionGap {
                topic: topic.name.to_string(),
                count,
                first: record.first,
            });
        }
        if count + record.partitions.len() > TOPIC_PARTITIONS_MAX {
            let count = count + record.partitions.len();
            return Err(ApplyError::PartitionCount { topic: topic.name.to_string(), count });
        }
        check_partitions(&topic.name, count, &record.partitions)?;
        self.partition_count += record.partitions.len();
        topic.partitions.extend_from_slice(&record.partitions);
        self.put(topic);
        Ok(())
    }

    fn apply_config(&mut self, record: &ConfigRecord) -> Result<(), ApplyError> {
        let configs = changed(self.configs(record.owner), &record.changes);
        match record.owner {
            ConfigOwner::Topic(id) => {
                let mut topic = Topic::clone(self.existing(id)?);
                topic.configs = Arc::new(configs);
                self.put(topic);
            }
            owner if configs.is_empty() => {
                self.broker_configs.remove_mut(&owner);
            }
            owner => self.broker_configs.insert_mut(owner, Arc::new(configs)),
        }
        Ok(())
    }

    fn apply_group_config(&mut self, record: &GroupConfigRecord) {
        let group: Arc<str> = Arc::from(record.group.as_str());
        let configs = changed(self.group_configs(&group), &record.changes);
        if configs.is_empty() {
            self.group_configs.remove_mut(&group);
        } else {
            self.group_configs.insert_mut(group, Arc::new(configs));
        }
    }

    fn apply_plugin(&mut self, record: &PluginRecord) {
        let mut plugin = match self.plugin(&record.name) {
            Some(plugin) => Plugin::clone(plugin),
            None => Plugin { name: Arc::from(record.name.as_str()), versions: Vec::new() },
        };
        plugin.insert(Arc::new(record.clone()));
        self.plugins.insert_mut(plugin.name.clone(), Arc::new(plugin));
    }

    fn remove_plugin(&mut self, record: &PluginRemovedRecord) -> Result<(), ApplyError> {
        let unknown =
            || ApplyError::UnknownPlugin { name: record.name.clone(), version: record.version.clone() };
        let mut plugin = Plugin::clone(self.plugin(&record.name).ok_or_else(unknown)?);
        if !plugin.remove(&record.version) {
            return Err(unknown());
        }
        if plugin.versions.is_empty() {
            self.plugins.remove_mut(&plugin.name);
        } else {
            self.plugins.insert_mut(plugin.name.clone(), Arc::new(plugin));
        }
        Ok(())
    }

    fn apply_producer_ids(&mut self, record: &ProducerIdsRecord) -> Result<(), ApplyError> {
        if record.next < self.next_producer_id || record.next > PRODUCER_ID_END {
            return Err(ApplyError::ProducerIds { next: self.next_producer_id, to: record.next });
        }
        self.next_producer_id = record.next;
        Ok(())
    }

    fn apply_switch(&mut self, record: &SwitchRecord) -> Result<(), ApplyError> {
        let mut topic = Topic::clone(self.existing(record.topic_id)?);
        let of_kind = topic.switches.iter().filter(|switch| switch.kind == record.kind).count();
        if of_kind >= SWITCHES_MAX
            && let Some(oldest) = topic.switches.iter().position(|switch| switch.kind == record.kind)
        {
            topic.switches.remove(oldest);
        }
        topic.switches.push(Arc::new(record.clone()));
        self.put(topic);
        Ok(())
    }

    fn existing(&self, id: TopicId) -> Result<&Arc<Topic>, ApplyError> {
        self.topic_by_id(id).ok_or(ApplyError::UnknownTopic(id))
    }

    fn put(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        self.topics.insert_mut(topic.name.clone(), topic.clone());
        self.topics_by_id.insert_mut(topic.id, topic);
    }
}

/// `configs` with the changes of a record made.
fn changed(configs: Option<&Arc<Configs>>, changes: &BTreeMap<String, Option<String>>) -> Configs {
    let mut configs = configs.map(|configs| (**configs).clone()).unwrap_or_default();
    for (name, value) in changes {
        match value {
            Some(value) => configs.insert(name.clone(), value.clone()),
            None => configs.remove(name),
        };
    }
    configs
}

fn check_partitions(topic: &str, first: usize, partitions: &[PartitionState]) -> Result<(), ApplyError> {
    for (at, partition) in partitions.iter().enumerate() {
        if let Some(reason) = contradiction(partition) {
            return Err(ApplyError::Partition { topic: topic.to_owned(), index: first + at, reason });
        }
    }
    Ok(())
}

/// What is wrong with a partition's state, if anything is.
pub(super) fn contradiction(partition: &PartitionState) -> Option<&'static str> {
    let PartitionState { replicas, isr, leader, leader_epoch, partition_epoch } = partition;
    let twice = |ids: &[i32]| ids.iter().enumerate().any(|(at, id)| ids[..at].contains(id));
    if replicas.is_empty() {
        Some("it has no replica")
    } else if replicas.len() > REPLICAS_MAX || isr.len() > REPLICAS_MAX {
        // Before they are compared with each other.
        Some("it has more replicas than there can be")
    } else if twice(replicas) || twice(isr) {
        Some("it names a broker twice")
    } else if !isr.iter().all(|id| replicas.contains(id)) {
        Some("its in-sync replicas are not all replicas")
    } else if *leader != NO_LEADER && !isr.contains(leader) {
        Some("its leader is not in sync")
    } else if *leader_epoch < 0 || *partition_epoch < 0 {
        Some("an epoch is negative")
    } else {
        None
    }
}
