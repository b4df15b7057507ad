//! The state of the cluster that the records add up to. An image never changes: [`Image::apply`] answers a new
//! one that shares every part that did not change, so that a reader may hold one as long as it likes and the
//! thousandth topic costs no more to add than the first. Every broker holds the same image after the same
//! records; [`Image::check`] says what must be true of each.

mod apply;
mod check;
mod plugin;
mod topic;

use std::sync::Arc;

use ottla_model::ids::{BrokerId, TopicId};
use ottla_model::topic_name::may_collide;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::record::{BrokerRecord, ConfigOwner};

pub use apply::ApplyError;
pub use plugin::{Plugin, PluginVersion};
pub use topic::{Configs, HOLD, Switch, Topic};

/// All metadata after some number of records.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    version: u64,
    topics: RedBlackTreeMapSync<Arc<str>, Arc<Topic>>,
    topics_by_id: HashTrieMapSync<TopicId, Arc<Topic>>,
    /// Names that have '.' or '_', by the name with every '.' made a '_': at most one topic each.
    colliding: HashTrieMapSync<Arc<str>, Arc<str>>,
    partition_count: usize,
    brokers: RedBlackTreeMapSync<BrokerId, Arc<BrokerRecord>>,
    broker_configs: RedBlackTreeMapSync<ConfigOwner, Arc<Configs>>,
    group_configs: RedBlackTreeMapSync<Arc<str>, Arc<Configs>>,
    plugins: RedBlackTreeMapSync<Arc<str>, Arc<Plugin>>,
    next_producer_id: i64,
}

impl Default for Image {
    fn default() -> Image {
        Image {
            version: 0,
            topics: RedBlackTreeMapSync::new_sync(),
            topics_by_id: HashTrieMapSync::new_sync(),
            colliding: HashTrieMapSync::new_sync(),
            partition_count: 0,
            brokers: RedBlackTreeMapSync::new_sync(),
            broker_configs: RedBlackTreeMapSync::new_sync(),
            group_configs: RedBlackTreeMapSync::new_sync(),
            plugins: RedBlackTreeMapSync::new_sync(),
            next_producer_id: 0,
        }
    }
}

impl Image {
    /// How many records were applied to get here.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics_by_id.get(&id)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// The topics from `name` on, by name.
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Topic>> {
        let start: Arc<str> = Arc::from(name);
        self.topics.range(start..).map(|(_, topic)| topic)
    }

    pub fn topic_count(&self) -> usize {
        self.topics.size()
    }

    /// Partitions of all topics together.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// The topic whose name a metric could not tell from `name`, as '.' and '_' become the same there.
    pub fn colliding_topic(&self, name: &str) -> Option<&str> {
        if !may_collide(name) {
            return None;
        }
        self.colliding.get(without_dots(name).as_str()).map(|name| &**name)
    }

    pub fn broker(&self, id: BrokerId) -> Option<&Arc<BrokerRecord>> {
        self.brokers.get(&id)
    }

    /// All brokers, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<BrokerRecord>> {
        self.brokers.values()
    }

    pub fn broker_count(&self) -> usize {
        self.brokers.size()
    }

    /// What was set for an owner; a topic that is gone has none.
    pub fn configs(&self, owner: ConfigOwner) -> Option<&Arc<Configs>> {
        match owner {
            ConfigOwner::Topic(id) => self.topic_by_id(id).map(|topic| &topic.configs),
            ConfigOwner::Broker(_) | ConfigOwner::AllBrokers => self.broker_configs.get(&owner),
        }
    }

    /// The configs of brokers that have any, by owner.
    pub fn broker_configs(&self) -> impl Iterator<Item = (ConfigOwner, &Configs)> {
        self.broker_configs.iter().map(|(owner, configs)| (*owner, &**configs))
    }

    /// What was set for a group of consumers, whether it exists or not.
    pub fn group_configs(&self, group: &str) -> Option<&Arc<Configs>> {
        self.group_configs.get(group)
    }

    /// The groups that have configs of their own, by name.
    pub fn configured_groups(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Configs>)> {
        self.group_configs.iter()
    }

    pub fn configured_group_count(&self) -> usize {
        self.group_configs.size()
    }

    pub fn plugin(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.plugins.get(name)
    }

    /// All plugins, by name.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.plugins.values()
    }

    pub fn plugin_count(&self) -> usize {
        self.plugins.size()
    }

    /// The lowest producer id that no block holds yet.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }
}

fn without_dots(name: &str) -> String {
    name.replace('.', "_")
}
