//! ListOffsets: the offset at a timestamp, or at one of the special points of a log. Reads the partition's indexes;
//! nothing waits.

use std::sync::Arc;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_storage::TimestampedOffset;

use crate::broker::Broker;
use crate::dispatch::RequestContext;

/// The offset behind the last record.
const LATEST: i64 = -1;
/// The first offset.
const EARLIEST: i64 = -2;
/// The record with the largest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// The first offset that is on a local disk (KIP-405): all of them are.
const EARLIEST_LOCAL: i64 = -4;
/// The last offset that is in tiered storage (KIP-1005): there is none.
const LATEST_TIERED: i64 = -5;
/// From this version on, the answer has a place for the leader's epoch.
const LEADER_EPOCH_VERSION: i16 = 4;
/// From this version on, MAX_TIMESTAMP is known.
const MAX_TIMESTAMP_VERSION: i16 = 7;
const EARLIEST_LOCAL_VERSION: i16 = 8;
const LATEST_TIERED_VERSION: i16 = 9;

/// Answers a ListOffsets of version 1 to 10.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let knows_epochs = context.api_version >= LEADER_EPOCH_VERSION;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let again =
                topic.partitions.iter().filter(|one| one.partition_index == wanted.partition_index).count()
                    > 1;
            let answer = if again {
                Err(ErrorCode::InvalidRequest)
            } else {
                offset(broker, context.api_version, &topic.name, wanted, request.isolation_level == 1)
            };
            let response = match answer {
                Ok((timestamp, offset, leader_epoch)) => ListOffsetsPartitionResponse::default()
                    .with_timestamp(timestamp)
                    .with_offset(offset)
                    .with_leader_epoch(if knows_epochs { leader_epoch } else { -1 }),
                Err(code) => ListOffsetsPartitionResponse::default()
                    .with_error_code(code.code())
                    .with_timestamp(-1)
                    .with_offset(-1)
                    .with_leader_epoch(-1),
            };
            partitions.push(response.with_partition_index(wanted.partition_index));
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// (timestamp, offset, leader epoch); -1 where there is no such record.
fn offset(
    broker: &Broker,
    version: i16,
    topic: &str,
    wanted: &ListOffsetsPartition,
    read_committed: bool,
) -> Result<(i64, i64, i32), ErrorCode> {
    let partition = broker.partitions.find(topic, wanted.partition_index)?;
    partition.check_leader_epoch(wanted.current_leader_epoch)?;
    let epoch = partition.leader_epoch();
    match wanted.timestamp {
        LATEST if read_committed => Ok((-1, partition.last_stable_offset(), epoch)),
        LATEST => Ok((-1, partition.high_watermark(), epoch)),
        timestamp
            if timestamp == EARLIEST
                || (timestamp == EARLIEST_LOCAL && version >= EARLIEST_LOCAL_VERSION) =>
        {
            let start = partition.log_start();
            Ok((-1, start, partition.epoch_at(start).unwrap_or(epoch)))
        }
        MAX_TIMESTAMP if version >= MAX_TIMESTAMP_VERSION => found(partition.offset_of_max_timestamp()),
        LATEST_TIERED if version >= LATEST_TIERED_VERSION => Ok((-1, -1, -1)),
        timestamp if timestamp >= 0 => found(partition.offset_for_timestamp(timestamp)),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

/// A record that was found by its timestamp; none is no error.
fn found(found: Result<Option<TimestampedOffset>, KafkaError>) -> Result<(i64, i64, i32), ErrorCode> {
    match found.map_err(|error| error.code)? {
        Some(found) => Ok((found.timestamp, found.offset, found.leader_epoch)),
        None => Ok((-1, -1, -1)),
    }
}
