//! Topics come and go. The rules and error codes are those of Kafka's ReplicationControlManager.

use std::collections::BTreeMap;

use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::{BrokerId, TopicId};
use ottla_model::topic_name;

use super::configs::{ConfigChange, ConfigRules, ConfigTarget, Operation, change_records};
use super::placement::{assign, place};
use super::{Decision, check_partition_room, refuse};
use crate::bounds::TOPIC_PARTITIONS_MAX;
use crate::image::{Configs, HOLD, Image};
use crate::record::{ConfigOwner, PartitionState, Record, TopicRecord, TopicRemovedRecord};

/// What a broker's config says where a request leaves it open.
#[derive(Clone, Copy, Debug)]
pub struct TopicDefaults {
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
}

/// A topic as a request asks for it.
#[derive(Clone, Copy, Debug)]
pub struct NewTopic<'a> {
    pub name: &'a str,
    /// A fresh id; used when the topic is created.
    pub id: TopicId,
    /// -1: the default.
    pub partitions: i32,
    /// -1: the default.
    pub replication_factor: i16,
    /// Partition and its replicas; empty: the controller places them.
    pub assignments: &'a [(i32, Vec<BrokerId>)],
    pub configs: &'a [(String, Option<String>)],
}

/// What a client is told of a topic that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    pub id: TopicId,
    pub partitions: i32,
    pub replication_factor: i16,
    /// What was set, without defaults.
    pub configs: Configs,
}

/// Creates a topic with its configs. Errors: INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS,
/// INVALID_REPLICATION_FACTOR, INVALID_REPLICA_ASSIGNMENT, INVALID_REQUEST, INVALID_CONFIG, POLICY_VIOLATION.
pub fn create_topic(
    image: &Image,
    rules: &dyn ConfigRules,
    topic: NewTopic<'_>,
    defaults: TopicDefaults,
    now_ms: i64,
) -> Decision<CreatedTopic> {
    let name = topic.name;
    topic_name::validate(name)?;
    if name == topic_name::CLUSTER_METADATA {
        return refuse(
            ErrorCode::InvalidRequest,
            format!("'{name}' is where the cluster keeps its metadata; choose another name"),
        );
    }
    if image.topic(name).is_some() {
        return refuse(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists."));
    }
    if let Some(other) = image.colliding_topic(name) {
        return refuse(
            ErrorCode::InvalidTopicException,
            format!("topic '{name}' collides with '{other}': in metrics '.' and '_' are the same character"),
        );
    }
    let configs = initial_configs(rules, name, topic.configs)?;
    let partitions = partitions(image, &topic, defaults)?;
    check_partition_room(image, partitions.len())?;
    let created = CreatedTopic {
        id: topic.id,
        partitions: partitions.len() as i32,
        replication_factor: partitions[0].replicas.len() as i16,
        configs: configs.clone(),
    };
    let mut records = vec![Record::Topic(TopicRecord {
        id: topic.id,
        name: name.to_owned(),
        created_ms: now_ms,
        partitions,
    })];
    records.extend(change_records(ConfigOwner::Topic(topic.id), &Configs::new(), configs));
    Ok((records, created))
}

fn partitions(
    image: &Image,
    topic: &NewTopic<'_>,
    defaults: TopicDefaults,
) -> Result<Vec<PartitionState>, KafkaError> {
    if !topic.assignments.is_empty() {
        return assigned_partitions(image, topic);
    }
    let factor = match topic.replication_factor {
        -1 => defaults.replication_factor,
        factor => factor,
    };
    let count = match topic.partitions {
        -1 => defaults.partitions,
        count => count,
    };
    let Some(factor) = usize::try_from(factor).ok().filter(|factor| *factor > 0) else {
        return refuse(
            ErrorCode::InvalidReplicationFactor,
            format!("a replication factor of {factor} is not possible; use 1 or more, or -1 for the default"),
        );
    };
    let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else {
        return refuse(
            ErrorCode::InvalidPartitions,
            format!("a topic cannot have {count} partitions; use 1 or more, or -1 for the default"),
        );
    };
    check_count(count)?;
    place(image, 0, count, factor)
}

/// The partitions of a manual assignment: numbered from 0 without a gap, equally many replicas each.
fn assigned_partitions(image: &Image, topic: &NewTopic<'_>) -> Result<Vec<PartitionState>, KafkaError> {
    if topic.replication_factor != -1 {
        return refuse(
            ErrorCode::InvalidRequest,
            "a request that assigns replicas by hand leaves the replication factor at -1",
        );
    }
    if topic.partitions != -1 {
        return refuse(
            ErrorCode::InvalidRequest,
            "a request that assigns replicas by hand leaves the partition count at -1",
        );
    }
    check_count(topic.assignments.len())?;
    let mut assignments: Vec<_> = topic.assignments.iter().collect();
    assignments.sort_by_key(|(partition, _)| *partition);
    let mut partitions: Vec<PartitionState> = Vec::with_capacity(assignments.len());
    for (at, (partition, replicas)) in assignments.iter().enumerate() {
        if at > 0 && assignments[at - 1].0 == *partition {
            return refuse(
                ErrorCode::InvalidReplicaAssignment,
                format!("partition {partition} is assigned twice"),
            );
        }
        if usize::try_from(*partition) != Ok(at) {
            return refuse(
                ErrorCode::InvalidReplicaAssignment,
                format!("partitions are numbered from 0 on without a gap; {at} is missing"),
            );
        }
        let factor = partitions.first().map(|first| first.replicas.len());
        partitions.push(assign(image, *partition, replicas, factor)?);
    }
    Ok(partitions)
}

fn check_count(count: usize) -> Result<(), KafkaError> {
    if count > TOPIC_PARTITIONS_MAX {
        return refuse(
            ErrorCode::PolicyViolation,
            format!("a topic has at most {TOPIC_PARTITIONS_MAX} partitions, {count} were asked for"),
        );
    }
    Ok(())
}

fn initial_configs(
    rules: &dyn ConfigRules,
    topic: &str,
    configs: &[(String, Option<String>)],
) -> Result<Configs, KafkaError> {
    // As in Kafka, the last value counts for a config that is named twice.
    let last: BTreeMap<&str, Option<&str>> =
        configs.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    let changes: Vec<ConfigChange<'_>> = last
        .into_iter()
        .map(|(name, value)| ConfigChange { name, value, operation: Operation::Set })
        .collect();
    for change in &changes {
        if change.value.is_none() {
            return refuse(
                ErrorCode::InvalidConfig,
                format!(
                    "config {} of topic '{topic}' has no value; leave it out for the default",
                    change.name
                ),
            );
        }
    }
    super::configs::changed(rules, ConfigTarget::Topic(topic), &Configs::new(), &changes)
}

/// Deletes a topic by id, with its configs. Errors: UNKNOWN_TOPIC_ID.
pub fn delete_topic(image: &Image, id: TopicId) -> Decision<String> {
    let Some(topic) = image.topic_by_id(id) else {
        return refuse(ErrorCode::UnknownTopicId, format!("there is no topic with the id {id}"));
    };
    if topic.is_held() {
        return refuse(
            ErrorCode::PolicyViolation,
            format!("topic '{}' is on hold; set {HOLD}=false first", topic.name),
        );
    }
    Ok((vec![Record::TopicRemoved(TopicRemovedRecord { id })], topic.name.to_string()))
}
