//! AlterReplicaLogDirs: moves partitions into the folders of `log.dirs` that the request names. The answer says that a
//! move has begun; DescribeLogDirs says how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, TopicName};
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicPartition;

use crate::broker::Broker;
use crate::dispatch::RequestContext;

/// Answers an AlterReplicaLogDirs of version 1 or 2. A partition that is named twice goes where it is named last.
pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let mut wanted: BTreeMap<&TopicName, BTreeMap<i32, &str>> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            let named = topic.partitions.iter().map(|index| (*index, dir.path.as_str()));
            wanted.entry(&topic.name).or_default().extend(named);
        }
    }
    let results = wanted.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, path)| {
            let partition = TopicPartition::new(name.as_str(), index);
            let answer = broker.moves.alter(&partition, path);
            let code = answer.err().unwrap_or(ErrorCode::None);
            AlterReplicaLogDirPartitionResult::default()
                .with_partition_index(index)
                .with_error_code(code.code())
        });
        AlterReplicaLogDirTopicResult::default()
            .with_topic_name(name.clone())
            .with_partitions(partitions.collect())
    });
    AlterReplicaLogDirsResponse::default().with_results(results.collect())
}
