//! CreatePartitions: more partitions for topics. Called by the router; decides on the metadata image. A topic's
//! partitioner proves that it can serve the new count before the change is ordered.

use std::sync::Arc;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use ottla_controller::decide::{self, NewPartitions};
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::topic_name::CONSUMER_OFFSETS;

use super::view::text;
use crate::broker::Broker;
use crate::configs::{check_distinct, prepare_topic, touches_plugins};
use crate::dispatch::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let twice = check_distinct(request.topics.iter().map(|topic| topic.name.clone()));
    let mut results: Vec<CreatePartitionsTopicResult> = Vec::with_capacity(request.topics.len());
    let mut changed = false;
    for topic in &request.topics {
        let answer = if twice.contains(&topic.name) {
            if results.iter().any(|result| result.name == topic.name) {
                continue;
            }
            Err(KafkaError::new(ErrorCode::InvalidRequest, "the request names this topic twice"))
        } else {
            let answer = create(broker, topic, request.validate_only, &context.peer.to_string()).await;
            changed |= answer.is_ok() && !request.validate_only;
            answer
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        results.push(match answer {
            Ok(()) => result.with_error_message(None),
            Err(error) => {
                result.with_error_code(error.code.code()).with_error_message(Some(text(error.message)))
            }
        });
    }
    if changed {
        broker.partitions.caught_up().await;
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn create(
    broker: &Arc<Broker>,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
    by: &str,
) -> Result<(), KafkaError> {
    let replicas =
        |assignment: &kafka_protocol::messages::create_partitions_request::CreatePartitionsAssignment| {
            assignment.broker_ids.iter().map(|id| id.0).collect::<Vec<i32>>()
        };
    let assignments: Option<Vec<Vec<i32>>> =
        topic.assignments.as_ref().map(|assignments| assignments.iter().map(replicas).collect());
    let wanted =
        NewPartitions { topic: &topic.name, count: topic.count, assignments: assignments.as_deref() };
    let image = broker.metadata.image();
    decide::create_partitions(&image, wanted)?;
    if **topic.name == *CONSUMER_OFFSETS {
        // A group is found by its name and this number, and what it committed would be left behind.
        let message =
            "groups would lose their offsets: the partitions of __consumer_offsets stay as many as they are";
        return Err(KafkaError::new(ErrorCode::InvalidPartitions, message));
    }
    let configs = image.topic(&topic.name).map(|topic| topic.configs.clone()).unwrap_or_default();
    let prepared = match touches_plugins(&configs) {
        true => Some(prepare_topic(broker, &image, &topic.name, topic.count, &configs).await?),
        false => None,
    };
    if validate_only {
        return Ok(());
    }
    broker.metadata.change(|image| decide::create_partitions(image, wanted)).await?;
    if let Some(prepared) = prepared {
        broker.plugins.install(prepared, by).await;
    }
    Ok(())
}
