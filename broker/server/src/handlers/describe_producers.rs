//! DescribeProducers: the idempotent producers that a partition knows (KIP-664). Producer ids by which lanes mark
//! forwarded batches are none of them.

use std::sync::Arc;

use kafka_protocol::messages::ProducerId;
use kafka_protocol::messages::describe_producers_request::DescribeProducersRequest;
use kafka_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::topic_name;
use ottla_replication::Partition;

use super::view::text;
use crate::broker::Broker;
use crate::dispatch::RequestContext;

/// Answers a DescribeProducers of version 0.
pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|&index| partition(broker, &topic.name, index));
        TopicResponse::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn find(broker: &Broker, topic: &str, index: i32) -> Result<Arc<Partition>, KafkaError> {
    topic_name::validate(topic)?;
    if broker.partitions.topic(topic).is_none() {
        let message = format!("this broker has no partition of a topic '{topic}'");
        return Err(KafkaError::new(ErrorCode::UnknownTopicOrPartition, message));
    }
    broker.partitions.find(topic, index).map_err(|code| KafkaError::new(code, ""))
}

fn partition(broker: &Broker, topic: &str, index: i32) -> PartitionResponse {
    let response = PartitionResponse::default().with_partition_index(index);
    let partition = match find(broker, topic, index) {
        Ok(partition) => partition,
        Err(error) => {
            let message = (!error.message.is_empty()).then(|| text(error.message));
            return response.with_error_code(error.code.code()).with_error_message(message);
        }
    };
    let producers = partition.producers().into_iter().map(|producer| {
        ProducerState::default()
            .with_producer_id(ProducerId(producer.producer_id))
            .with_producer_epoch(i32::from(producer.producer_epoch))
            .with_last_sequence(producer.last_sequence())
            .with_last_timestamp(producer.last().map_or(-1, |batch| batch.timestamp))
            // No transaction was ever open.
            .with_coordinator_epoch(-1)
            .with_current_txn_start_offset(-1)
    });
    response.with_active_producers(producers.collect())
}
