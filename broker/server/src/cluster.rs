//! The rest of the broker as its plugins see it: cluster metadata, the open partitions, and the door through which a
//! topic's configs change. `plugins` stands before it, `metadata` and `partitions` behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use ottla_controller::decide::{self, ConfigChange, ConfigTarget, NewPlugin, Operation};
use ottla_controller::record::{PluginIdentity, SwitchKind, SwitchRecord};
use ottla_controller::{Image, image};
use ottla_model::clock::Clock;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_plugin_host::Limits;
use ottla_replication::{Arrival, Partition, Receipt};
use tokio::sync::watch;

use crate::broker::Broker;
use crate::configs;
use crate::metadata::Metadata;
use crate::partitions::Partitions;
use crate::plugins::cluster::{Cluster, Part, PartState, Switch, SwitchedTo, TopicView, Whereabouts};
use crate::plugins::rule::{in_hex, switch_rule};
use crate::plugins::settings::TopicConfigs;
use crate::plugins::version::Registered;
use crate::retention::Passes;
use crate::retention::report::{TopicReport, Tried};

/// What stands behind [`Cluster`] in a running broker.
pub struct LocalCluster {
    metadata: Arc<Metadata>,
    partitions: Arc<Partitions>,
    clock: Arc<dyn Clock>,
    /// For config changes, which pass through the same handlers as a client's.
    broker: OnceLock<Weak<Broker>>,
    passes: Arc<Passes>,
}

impl LocalCluster {
    pub fn new(
        metadata: Arc<Metadata>,
        partitions: Arc<Partitions>,
        clock: Arc<dyn Clock>,
        passes: Arc<Passes>,
    ) -> Arc<LocalCluster> {
        Arc::new(LocalCluster { metadata, partitions, clock, broker: OnceLock::new(), passes })
    }

    /// Says whose handlers change configs. Before it, no config can be changed from here.
    pub fn set(&self, broker: &Arc<Broker>) {
        // A second call would name the same broker.
        let _ = self.broker.set(Arc::downgrade(broker));
    }

    fn running(&self) -> Result<Arc<Broker>, KafkaError> {
        self.broker.get().and_then(Weak::upgrade).ok_or_else(|| {
            KafkaError::new(ErrorCode::CoordinatorNotAvailable, "the broker is starting or ending; try again")
        })
    }

    fn view(&self, image: &Image, topic: &image::Topic) -> TopicView {
        let broker = self.broker.get().and_then(Weak::upgrade);
        let (configs, compacted) = match broker {
            Some(broker) => (
                configs::plugin_configs(&broker, image, &topic.configs),
                broker.config.topic_config(image, &topic.configs).cleanup_compact,
            ),
            None => Default::default(),
        };
        TopicView {
            name: topic.name.to_string(),
            id: topic.id.to_string(),
            partitions: u32::try_from(topic.partition_count()).unwrap_or(0),
            configs,
            held: topic.is_held(),
            compacted,
        }
    }

    fn ends(&self, topic: &str) -> Vec<(i32, Option<i64>)> {
        let Some(topic) = self.partitions.topic(topic) else { return Vec::new() };
        let count = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
        (0..count).map(|index| (index, topic.partition(index).ok().map(|one| one.log_end()))).collect()
    }
}

/// The first record of a batch at one of its destinations.
#[derive(Clone, Copy)]
enum First {
    UnderWay,
    At(i64),
    Unknown,
}

impl First {
    fn at(self) -> Option<i64> {
        match self {
            First::At(offset) => Some(offset),
            First::UnderWay | First::Unknown => None,
        }
    }

    fn state(self) -> PartState {
        match self {
            First::UnderWay => PartState::UnderWay,
            First::At(_) => PartState::Stored,
            First::Unknown => PartState::Unknown,
        }
    }
}

/// Where the first record of the receipt's batch that belongs to `destination` is there.
fn first_offset(
    ingress: &Partition,
    destination: &Partition,
    receipt: &Receipt,
) -> Result<First, KafkaError> {
    let lane = ingress.topic_partition().partition;
    let index = destination.topic_partition().partition;
    let offset = match destination.arrival(lane, receipt.position)? {
        Arrival::UnderWay => return Ok(First::UnderWay),
        Arrival::Unknown => None,
        Arrival::There(header) => ingress.offset_at(receipt, index, &header)?,
    };
    Ok(offset.filter(|offset| *offset >= destination.log_start()).map_or(First::Unknown, First::At))
}

fn registered(image: &Image) -> Vec<Registered> {
    let versions = image.plugins().flat_map(|plugin| plugin.versions.iter());
    let parsed = versions.filter_map(|known| {
        // A decision has checked it before it was recorded.
        let version = known.version.parse().ok()?;
        Some(Registered {
            name: known.name.clone(),
            version,
            digest: known.digest.clone(),
            kinds: known.kinds.clone(),
            tenant: known.tenant.clone(),
            size_bytes: known.size_bytes,
            registered_ms: known.registered_ms,
            registered_by: known.registered_by.clone(),
            shipped: false,
        })
    });
    parsed.collect()
}

#[async_trait]
impl Cluster for LocalCluster {
    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn registered(&self) -> Vec<Registered> {
        registered(&self.metadata.image())
    }

    async fn register(&self, version: &Registered) -> Result<(), KafkaError> {
        let plugin = NewPlugin {
            name: version.name.clone(),
            version: version.version.to_string(),
            digest: version.digest.clone(),
            kinds: version.kinds.clone(),
            tenant: version.tenant.clone(),
            size_bytes: version.size_bytes,
            by: version.registered_by.clone(),
        };
        let now_ms = self.clock.now_ms();
        let label = format!("{}@{}", version.name, version.version);
        let new =
            self.metadata.change(|image| decide::register_plugin(image, plugin.clone(), now_ms)).await?;
        match new {
            true => Ok(()),
            false => Err(KafkaError::new(
                ErrorCode::DuplicateResource,
                format!("plugin {label} is registered already"),
            )),
        }
    }

    async fn unregister(&self, name: &str, version: &str) -> Result<(), KafkaError> {
        self.metadata.change(|image| decide::delete_plugin(image, name, version)).await
    }

    fn topics(&self) -> Vec<TopicView> {
        let image = self.metadata.image();
        image
            .topics()
            .filter(|topic| configs::touches_plugins(&topic.configs))
            .map(|topic| self.view(&image, topic))
            .filter(|topic| !topic.configs.is_empty())
            .collect()
    }

    fn topic(&self, name: &str) -> Option<TopicView> {
        let image = self.metadata.image();
        image.topic(name).map(|topic| self.view(&image, topic))
    }

    fn told(&self, topic: &str) -> TopicConfigs {
        let (image, broker) = (self.metadata.image(), self.broker.get().and_then(Weak::upgrade));
        let told = broker.zip(image.topic(topic));
        told.map(|(broker, topic)| configs::told_to_retention(&broker, &image, &topic.configs))
            .unwrap_or_default()
    }

    async fn alter(
        &self,
        topic: &str,
        changes: &[(&str, Option<String>)],
        by: &str,
    ) -> Result<(), KafkaError> {
        let broker = self.running()?;
        let changes = changes.iter().map(|(name, value)| ConfigChange {
            name,
            value: value.as_deref(),
            operation: if value.is_some() { Operation::Set } else { Operation::Delete },
        });
        let wish = configs::Wish::Some(changes.collect());
        configs::change(&broker, ConfigTarget::Topic(topic), &wish, false, by).await
    }

    async fn record_switch(&self, topic: &TopicView, switch: Switch) -> Result<(), KafkaError> {
        let id = topic.id.parse().map_err(|_| {
            KafkaError::new(ErrorCode::UnknownTopicId, format!("'{}' is no topic id", topic.id))
        })?;
        let Switch { kind, plugin, config, by, at_ms, offsets } = switch;
        let plugin =
            plugin.map(|to| PluginIdentity { name: to.name, version: to.version, digest: to.digest });
        let switch = SwitchRecord { topic_id: id, kind, plugin, config, by, at_ms, offsets };
        self.metadata.change(|image| decide::record_switch(image, switch.clone())).await
    }

    fn switches(&self, topic: &str) -> Vec<Switch> {
        let image = self.metadata.image();
        let Some(topic) = image.topic(topic) else { return Vec::new() };
        let switch = |known: &Arc<image::Switch>| Switch {
            kind: known.kind,
            plugin: known.plugin.as_ref().map(|to| SwitchedTo {
                name: to.name.clone(),
                version: to.version.clone(),
                digest: to.digest.clone(),
                rule: switch_rule(&to.digest, known.config.as_deref()),
            }),
            config: known.config.clone(),
            by: known.by.clone(),
            at_ms: known.at_ms,
            offsets: known.offsets.clone(),
        };
        topic.switches.iter().map(switch).collect()
    }

    fn unwritable(&self, topic: &str) -> Vec<u32> {
        let Some(topic) = self.partitions.topic(topic) else { return Vec::new() };
        let count = u32::try_from(topic.partition_count()).unwrap_or(u32::MAX);
        let is_writable = |index: u32| {
            let found = i32::try_from(index).ok().and_then(|index| topic.partition(index).ok());
            found.is_some_and(|found| found.is_writable())
        };
        (0..count).filter(|&index| !is_writable(index)).collect()
    }

    fn log_ends(&self, topic: &str) -> Vec<i64> {
        self.ends(topic).into_iter().map(|(_, end)| end.unwrap_or(-1)).collect()
    }

    fn whereabouts(&self, topic: &str, partition: i32, offset: i64) -> Result<Whereabouts, KafkaError> {
        let found = self.partitions.find(topic, partition).map_err(|code| {
            KafkaError::new(code, format!("there is no partition {partition} of topic '{topic}' here"))
        })?;
        let receipt = found.resolve_receipt(offset)?.ok_or_else(|| {
            KafkaError::new(
                ErrorCode::OffsetOutOfRange,
                format!(
                    "{offset} is no receipt that the lane of {topic}-{partition} holds: it is an ordinary offset, or \
                     the lane was trimmed since"
                ),
            )
        })?;
        let whole = self.partitions.topic(topic);
        let mut firsts = BTreeMap::new();
        for destination in receipt.destinations.destinations() {
            let there = whole.as_ref().and_then(|topic| topic.partition(destination).ok());
            let first = match there {
                Some(there) => first_offset(&found, there, &receipt)?,
                None => First::Unknown,
            };
            firsts.insert(destination, first);
        }
        let part = |(run, (records, partition)): (usize, (u32, i32))| {
            let first = firsts.get(&partition).copied().unwrap_or(First::Unknown);
            let offset = |first: i64| first + receipt.records_before(run, partition);
            Part { records, partition, offset: first.at().map(offset), state: first.state() }
        };
        let rule = in_hex(&receipt.rule);
        let switches = self.switches(topic);
        let decided = switches
            .into_iter()
            .rev()
            .filter(|one| one.kind == SwitchKind::Partitioner)
            .find(|one| one.plugin.as_ref().is_some_and(|to| to.rule == rule));
        Ok(Whereabouts {
            record: receipt.record_index,
            parts: receipt.destinations.iter().enumerate().map(part).collect(),
            rule,
            config: decided.as_ref().and_then(|switch| switch.config.clone()),
            plugin: decided.and_then(|switch| switch.plugin),
        })
    }

    async fn clean(&self, topic: &str, by: &str) -> Result<TopicReport, KafkaError> {
        let broker = self.running()?;
        self.passes.clean(&broker, topic, by).await
    }

    async fn dry_run(&self, topic: &str, tried: Option<Tried>) -> Result<TopicReport, KafkaError> {
        let broker = self.running()?;
        self.passes.dry_run(&broker, topic, tried).await
    }

    fn limits(&self) -> Option<Limits> {
        let broker = self.broker.get().and_then(Weak::upgrade)?;
        Some(broker.config.plugin_limits(&self.metadata.image()))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.metadata.subscribe()
    }
}
