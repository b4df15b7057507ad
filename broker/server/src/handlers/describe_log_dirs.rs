//! DescribeLogDirs: what lies in each folder of `log.dirs`: partitions with the bytes of their segments, copies of those
//! that are on their way there, and the room on the volume.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicPartition;
use ottla_replication::Partition;

use super::view::{text, topic_name};
use crate::broker::Broker;
use crate::dispatch::RequestContext;
use crate::partitions::MoveView;

/// What is told of one topic in one folder.
type Found = BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>>;

/// Answers a DescribeLogDirs of version 1 to 4.
pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let asked: Option<HashSet<(&str, i32)>> = request.topics.as_ref().map(|topics| {
        topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |index| (topic.topic.as_str(), *index)))
            .collect()
    });
    let is_asked = |partition: &TopicPartition| {
        asked.as_ref().is_none_or(|asked| asked.contains(&(&*partition.topic, partition.partition)))
    };
    let folders = broker.moves.folders();
    let mut found: Vec<Found> = (0..folders.len()).map(|_| Found::new()).collect();
    // Each partition is looked at once, so that one that changes its folder just now is told of once.
    for (partition, folder) in broker.partitions.placed() {
        if is_asked(partition.topic_partition()) {
            note(&mut found, folder, partition.topic_partition(), present(&partition));
        }
    }
    for copy in broker.moves.under_way().into_iter().filter(|copy| is_asked(&copy.partition)) {
        if broker.partitions.folder_of(&copy.partition).is_some_and(|folder| folder != copy.to) {
            note(&mut found, copy.to, &copy.partition, future(broker, &copy));
        }
    }
    let results = found.into_iter().enumerate().map(|(folder, found)| {
        let topics = found.into_iter().map(|(name, partitions)| {
            DescribeLogDirsTopic::default().with_name(topic_name(&name)).with_partitions(partitions)
        });
        let result = DescribeLogDirsResult::default().with_log_dir(text(folders.name(folder)));
        if folders.is_offline(folder) {
            return result.with_error_code(ErrorCode::KafkaStorageError.code());
        }
        match folders.volume(folder) {
            Ok((total, usable)) => result
                .with_topics(topics.collect())
                .with_total_bytes(i64::try_from(total).unwrap_or(i64::MAX))
                .with_usable_bytes(i64::try_from(usable).unwrap_or(i64::MAX)),
            Err(error) => {
                tracing::warn!(folder = folders.name(folder), %error, "a folder cannot be described");
                result.with_error_code(ErrorCode::KafkaStorageError.code())
            }
        }
    });
    DescribeLogDirsResponse::default().with_results(results.collect())
}

fn note(found: &mut [Found], folder: usize, partition: &TopicPartition, what: DescribeLogDirsPartition) {
    if let Some(found) = found.get_mut(folder) {
        let what = what.with_partition_index(partition.partition);
        found.entry(partition.topic.clone()).or_default().push(what);
    }
}

fn present(partition: &Partition) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition::default()
        .with_partition_size(i64::try_from(partition.size_bytes()).unwrap_or(i64::MAX))
        .with_offset_lag(partition.high_watermark().saturating_sub(partition.log_end()).max(0))
}

/// A copy that is being made, with how far it is behind its original.
fn future(broker: &Broker, copy: &MoveView) -> DescribeLogDirsPartition {
    let original = broker.partitions.find(&copy.partition.topic, copy.partition.partition);
    let end = original.map_or(copy.end_offset, |original| original.log_end());
    DescribeLogDirsPartition::default()
        .with_partition_size(i64::try_from(copy.size_bytes).unwrap_or(i64::MAX))
        .with_offset_lag(end.saturating_sub(copy.end_offset).max(0))
        .with_is_future_key(true)
}
