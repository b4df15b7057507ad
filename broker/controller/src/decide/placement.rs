//! Which brokers hold a partition: as a request says, or in turn over the registered brokers, so that leaders
//! and replicas spread evenly. The first replica leads.

use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::BrokerId;

use super::refuse;
use crate::bounds::REPLICAS_MAX;
use crate::image::Image;
use crate::record::PartitionState;

/// Replicas for `count` new partitions, of which the first has index `first`. Errors with
/// INVALID_REPLICATION_FACTOR where there are fewer brokers than replicas.
pub(super) fn place(
    image: &Image,
    first: usize,
    count: usize,
    factor: usize,
) -> Result<Vec<PartitionState>, KafkaError> {
    let brokers: Vec<BrokerId> = image.brokers().map(|broker| broker.id).collect();
    if factor > brokers.len() || factor > REPLICAS_MAX {
        return refuse(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "a replication factor of {factor} needs {factor} brokers, {} {} registered; use {} or -1",
                brokers.len(),
                if brokers.len() == 1 { "is" } else { "are" },
                brokers.len().clamp(1, REPLICAS_MAX)
            ),
        );
    }
    let start = image.partition_count() + first;
    let one = |index: usize| {
        let replicas = (0..factor).map(|at| brokers[(start + index + at) % brokers.len()]).collect();
        new_partition(replicas)
    };
    Ok((0..count).map(one).collect())
}

/// A partition where a request wants it. Errors with INVALID_REPLICA_ASSIGNMENT.
pub(super) fn assign(
    image: &Image,
    partition: i32,
    replicas: &[BrokerId],
    factor: Option<usize>,
) -> Result<PartitionState, KafkaError> {
    let refuse = |reason: String| {
        refuse(
            ErrorCode::InvalidReplicaAssignment,
            format!("the assignment of partition {partition} {reason}"),
        )
    };
    if replicas.is_empty() {
        return refuse("names no broker; name at least one".to_owned());
    }
    if replicas.len() > REPLICAS_MAX {
        return refuse(format!("names {} brokers, at most {REPLICAS_MAX} can hold one", replicas.len()));
    }
    for (at, id) in replicas.iter().enumerate() {
        if image.broker(*id).is_none() {
            return refuse(format!("names broker {id}, which is not registered"));
        }
        if replicas[..at].contains(id) {
            return refuse(format!("names broker {id} twice"));
        }
    }
    if let Some(factor) = factor
        && factor != replicas.len()
    {
        return refuse(format!(
            "has {} replicas where the partitions before it have {factor}; every partition of a topic has \
             equally many",
            replicas.len()
        ));
    }
    Ok(new_partition(replicas.to_vec()))
}

fn new_partition(replicas: Vec<BrokerId>) -> PartitionState {
    PartitionState {
        leader: replicas[0],
        isr: replicas.clone(),
        replicas,
        leader_epoch: 0,
        partition_epoch: 0,
    }
}
