//! More partitions for a topic that exists. The rules and error codes are those of Kafka's
//! ReplicationControlManager.

use ottla_model::error::ErrorCode;
use ottla_model::ids::BrokerId;

use super::placement::{assign, place};
use super::{Decision, check_partition_room, refuse};
use crate::bounds::TOPIC_PARTITIONS_MAX;
use crate::image::Image;
use crate::record::{PartitionsRecord, Record};

/// How many partitions a topic shall have.
#[derive(Clone, Copy, Debug)]
pub struct NewPartitions<'a> {
    pub topic: &'a str,
    /// All partitions together, the old ones included.
    pub count: i32,
    /// Replicas of each new partition; `None`: the controller places them.
    pub assignments: Option<&'a [Vec<BrokerId>]>,
}

/// Adds partitions at the end of a topic and answers their new count. Errors: UNKNOWN_TOPIC_OR_PARTITION,
/// INVALID_PARTITIONS, INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR, POLICY_VIOLATION.
pub fn create_partitions(image: &Image, request: NewPartitions<'_>) -> Decision<i32> {
    let NewPartitions { topic: name, count, assignments } = request;
    let Some(topic) = image.topic(name) else {
        return refuse(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{name}'"));
    };
    let first = topic.partition_count();
    if count == first {
        return refuse(
            ErrorCode::InvalidPartitions,
            format!("topic '{name}' has {first} partitions already"),
        );
    }
    if count < first {
        return refuse(
            ErrorCode::InvalidPartitions,
            format!("topic '{name}' has {first} partitions and cannot shrink to {count}"),
        );
    }
    if count as usize > TOPIC_PARTITIONS_MAX {
        return refuse(
            ErrorCode::PolicyViolation,
            format!("a topic has at most {TOPIC_PARTITIONS_MAX} partitions, {count} were asked for"),
        );
    }
    let more = (count - first) as usize;
    check_partition_room(image, more)?;
    let factor = topic.partitions[0].replicas.len();
    let partitions = match assignments {
        None => place(image, first as usize, more, factor)?,
        Some(assignments) if assignments.len() != more => {
            return refuse(
                ErrorCode::InvalidReplicaAssignment,
                format!("{more} partitions are added, {} assignments were given", assignments.len()),
            );
        }
        Some(assignments) => (first..)
            .zip(assignments)
            .map(|(partition, replicas)| assign(image, partition, replicas, Some(factor)))
            .collect::<Result<_, _>>()?,
    };
    let record = PartitionsRecord { topic_id: topic.id, first, partitions };
    Ok((vec![Record::Partitions(record)], count))
}
