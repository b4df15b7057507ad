//! OffsetForLeaderEpoch: where an epoch ends in this log, so that a reader can tell whether its own log parts from
//! it (KIP-101, KIP-320).

use std::sync::Arc;

use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use ottla_model::error::ErrorCode;

use crate::broker::Broker;
use crate::dispatch::RequestContext;

/// Answers an OffsetForLeaderEpoch of version 2 to 4.
pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let (code, (epoch, end_offset)) = match end(broker, &topic.topic, wanted) {
                Ok(end) => (ErrorCode::None, end),
                Err(code) => (code, UNDEFINED),
            };
            EpochEndOffset::default()
                .with_error_code(code.code())
                .with_partition(wanted.partition)
                .with_leader_epoch(epoch)
                .with_end_offset(end_offset)
        });
        OffsetForLeaderTopicResult::default()
            .with_partitions(partitions.collect())
            .with_topic(topic.topic.clone())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

/// An epoch that the log does not know: (epoch, end offset).
const UNDEFINED: (i32, i64) = (-1, -1);

fn end(broker: &Broker, topic: &str, wanted: &OffsetForLeaderPartition) -> Result<(i32, i64), ErrorCode> {
    let partition = broker.partitions.find(topic, wanted.partition)?;
    partition.check_leader_epoch(wanted.current_leader_epoch)?;
    Ok(partition.end_offset_for_epoch(wanted.leader_epoch).unwrap_or(UNDEFINED))
}
