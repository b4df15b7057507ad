//! Configs change: decided on the image, proved by the plugins where a topic's partitioner is meant, ordered, and then
//! in force. A change that fails at any step leaves everything as it was.

use std::sync::Arc;

use ottla_controller::Image;
use ottla_controller::decide::{self, ConfigChange, ConfigTarget, Decision};
use ottla_controller::image::{Configs, HOLD};
use ottla_model::config::key::Status;
use ottla_model::config::{TopicConfig, find};
use ottla_model::error::{ErrorCode, KafkaError};

use super::{InForce, Rules, scope_of};
use crate::broker::Broker;
use crate::plugins::retaining::{RETENTION, TENANT, TOLD};
use crate::plugins::{COMPACTED_AND_PARTITIONED, Prepared};

/// Configs whose names begin so are the plugins' concern, but for the hold, which stands above them.
const PLUGIN_PREFIXES: [&str; 2] = ["ottla.partitioner", "ottla.retention"];
/// How often a change is prepared again because another change of the same topic came between.
const PREPARATIONS_MAX: usize = 4;

/// What shall become of a resource's configs.
pub enum Wish<'a> {
    /// These change, the others stay.
    Some(Vec<ConfigChange<'a>>),
    /// These are all.
    All(Vec<(&'a str, Option<&'a str>)>),
}

impl Wish<'_> {
    /// Whether a config that begins so may change.
    fn names_prefix(&self, prefix: &str) -> bool {
        match self {
            Wish::Some(changes) => changes.iter().any(|change| change.name.starts_with(prefix)),
            // What is not named goes.
            Wish::All(_) => true,
        }
    }
}

/// Changes a resource's configs, or only checks that they could be. `by` is who asked, for the record of a switch.
pub async fn change(
    broker: &Arc<Broker>,
    target: ConfigTarget<'_>,
    wish: &Wish<'_>,
    validate_only: bool,
    by: &str,
) -> Result<(), KafkaError> {
    for _ in 0..PREPARATIONS_MAX {
        let image = broker.metadata.image();
        let (_, after) = decide_on(broker, &image, target, wish)?;
        let prepared = match target {
            ConfigTarget::Topic(name) => prepare_change(broker, &image, name, &after).await?,
            ConfigTarget::Broker(_) | ConfigTarget::AllBrokers | ConfigTarget::Group(_) => None,
        };
        if validate_only {
            return Ok(());
        }
        let expected = plugin_configs(broker, &image, &after);
        let ordered = broker
            .metadata
            .change(|image| {
                let (records, after) = decide_on(broker, image, target, wish)?;
                if plugin_configs(broker, image, &after) != expected {
                    return Ok((Vec::new(), false));
                }
                Ok((records, true))
            })
            .await?;
        if ordered {
            if let Some(prepared) = prepared {
                broker.plugins.install(prepared, by).await;
            }
            if matches!(target, ConfigTarget::Topic(_)) && wish.names_prefix("ottla.retention") {
                // Once a hold is answered, nothing goes any more.
                broker.partitions.caught_up().await;
            }
            warn_without_effect(target, &after);
            if let ConfigTarget::Topic(name) = target {
                warn_of_compaction(broker, &broker.metadata.image(), name, &after);
            }
            return Ok(());
        }
    }
    Err(KafkaError::new(
        ErrorCode::RequestTimedOut,
        "other changes of the topic's plugin kept coming between",
    ))
}

fn decide_on(broker: &Broker, image: &Image, target: ConfigTarget<'_>, wish: &Wish<'_>) -> Decision<Configs> {
    let in_force = InForce::new(image, broker.config.node_id, &broker.config.given);
    let rules = Rules::new(&in_force);
    match wish {
        Wish::Some(changes) => decide::alter_configs(image, &rules, target, changes),
        Wish::All(configs) => decide::replace_configs(image, &rules, target, configs),
    }
}

async fn prepare_change(
    broker: &Arc<Broker>,
    image: &Image,
    name: &str,
    after: &Configs,
) -> Result<Option<Prepared>, KafkaError> {
    let Some(topic) = image.topic(name) else { return Ok(None) };
    if plugin_configs(broker, image, &topic.configs) == plugin_configs(broker, image, after) {
        return Ok(None);
    }
    prepare_topic(broker, image, name, topic.partition_count(), after).await.map(Some)
}

/// Proves that a topic's plugins work, before the change that brings them is ordered.
pub async fn prepare_topic(
    broker: &Arc<Broker>,
    image: &Image,
    name: &str,
    partitions: i32,
    configs: &Configs,
) -> Result<Prepared, KafkaError> {
    let partitions = u32::try_from(partitions).unwrap_or_default();
    broker.plugins.prepare(name, partitions, &plugin_configs(broker, image, configs)).await
}

/// Whether configs name a plugin or say anything of one.
pub fn touches_plugins(configs: &Configs) -> bool {
    configs.keys().any(|name| is_of_plugins(name))
}

fn is_of_plugins(name: &str) -> bool {
    name != HOLD && (name == TENANT || PLUGIN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// What plugins are to know of a topic's configs: those of their own, and for a retention policy what the topic's own
/// retention would go by.
pub fn plugin_configs(broker: &Broker, image: &Image, configs: &Configs) -> Configs {
    let own = configs.iter().filter(|(name, _)| is_of_plugins(name));
    let mut concern: Configs = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    if concern.contains_key(RETENTION) {
        concern.extend(told_to_retention(broker, image, configs));
    }
    concern
}

/// The configs in force that a retention policy is told.
pub fn told_to_retention(broker: &Broker, image: &Image, configs: &Configs) -> Configs {
    let in_force = InForce::new(image, broker.config.node_id, &broker.config.given);
    let layers = in_force.layers();
    let told =
        TOLD.into_iter().filter_map(|key| Some((key.to_owned(), TopicConfig::value(configs, &layers, key)?)));
    told.collect()
}

/// Says so where a topic is compacted and a plugin places its records: each is fine alone.
pub fn warn_of_compaction(broker: &Broker, image: &Image, topic: &str, configs: &Configs) {
    let compacted = broker.config.topic_config(image, configs).cleanup_compact;
    if compacted && configs.contains_key("ottla.partitioner") {
        tracing::warn!(topic, "{COMPACTED_AND_PARTITIONED}");
    }
}

/// Says which of the configs have no effect yet.
pub fn warn_without_effect(target: ConfigTarget<'_>, configs: &Configs) {
    let scope = scope_of(target);
    for name in configs.keys() {
        if find(scope, name).is_some_and(|key| key.status == Status::Stored) {
            tracing::warn!(config = name, resource = ?target, "the config is stored and reported, without effect yet");
        }
    }
}
