//! ListOffsets: the offset at a timestamp, or at one of the special points of a log. Reads the partition's indexes;
//! nothing waits.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
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

/// Answers a ListOffsets of version 1 to 10. Each topic and partition is answered once, also when the request names it
/// twice, which for a partition is an error.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let read_committed = request.isolation_level == 1;
    let topics = named_once(&request.topics).into_iter().map(|(name, wanted)| {
        let partitions = wanted.into_iter().map(|wanted| {
            let answer = match wanted {
                Named::Once(wanted) => offset(broker, context.api_version, name, wanted, read_committed),
                Named::Again(_) => Err(ErrorCode::InvalidRequest),
            };
            respond(wanted.index(), answer, context.api_version)
        });
        ListOffsetsTopicResponse::default().with_partitions(partitions.collect()).with_name(name.clone())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// A partition as a request names it.
#[derive(Clone, Copy)]
enum Named<'a> {
    Once(&'a ListOffsetsPartition),
    Again(i32),
}

impl Named<'_> {
    fn index(self) -> i32 {
        match self {
            Named::Once(partition) => partition.partition_index,
            Named::Again(index) => index,
        }
    }
}

/// Each topic with its partitions, in the order in which they are named first.
fn named_once(topics: &[ListOffsetsTopic]) -> Vec<(&TopicName, Vec<Named<'_>>)> {
    let mut places: HashMap<&TopicName, (usize, HashMap<i32, usize>)> = HashMap::new();
    let mut named: Vec<(&TopicName, Vec<Named<'_>>)> = Vec::with_capacity(topics.len());
    for topic in topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let (place, seen) = places.entry(&topic.name).or_insert_with(|| {
            named.push((&topic.name, Vec::with_capacity(topic.partitions.len())));
            (named.len() - 1, HashMap::with_capacity(topic.partitions.len()))
        });
        let partitions = &mut named[*place].1;
        for partition in &topic.partitions {
            match seen.entry(partition.partition_index) {
                Entry::Occupied(at) => partitions[*at.get()] = Named::Again(partition.partition_index),
                Entry::Vacant(at) => {
                    at.insert(partitions.len());
                    partitions.push(Named::Once(partition));
                }
            }
        }
    }
    named
}

fn respond(
    index: i32,
    answer: Result<(i64, i64, i32), ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let response = match answer {
        Ok((timestamp, offset, leader_epoch)) => ListOffsetsPartitionResponse::default()
            .with_timestamp(timestamp)
            .with_offset(offset)
            .with_leader_epoch(if version >= LEADER_EPOCH_VERSION { leader_epoch } else { -1 }),
        Err(code) => ListOffsetsPartitionResponse::default()
            .with_error_code(code.code())
            .with_timestamp(-1)
            .with_offset(-1)
            .with_leader_epoch(-1),
    };
    response.with_partition_index(index)
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

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::protocol::StrBytes;

    fn topic(name: &str, partitions: &[i32]) -> ListOffsetsTopic {
        let partition = |index: &i32| ListOffsetsPartition::default().with_partition_index(*index);
        ListOffsetsTopic::default()
            .with_name(TopicName(StrBytes::from_string(name.to_owned())))
            .with_partitions(partitions.iter().map(partition).collect())
    }

    #[test]
    fn what_is_named_twice_is_answered_once() {
        let topics = [topic("a", &[0, 1, 0]), topic("b", &[]), topic("c", &[7]), topic("a", &[1, 2])];
        let named: Vec<(&str, Vec<(i32, bool)>)> = named_once(&topics)
            .into_iter()
            .map(|(name, partitions)| {
                let partition = |one: &Named<'_>| (one.index(), matches!(one, Named::Again(_)));
                (name.as_str(), partitions.iter().map(partition).collect())
            })
            .collect();
        let expected = [("a", vec![(0, true), (1, true), (2, false)]), ("c", vec![(7, false)])];
        assert_eq!(named, expected);
    }
}
