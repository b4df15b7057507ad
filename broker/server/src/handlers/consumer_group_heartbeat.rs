//! ConsumerGroupHeartbeat (KIP-848): a member of a consumer group joins, says that it lives and what it owns, learns
//! what it is assigned, and leaves, all by this one request. Called by the router.

use std::sync::Arc;

use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ResponseKind};
use ottla_coordinator::api::{ConsumerBeaten, ConsumerGroupHeartbeat};
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;

use super::group::{caller, owned, owned_option, respond, text_option};
use super::view::text;
use crate::broker::Broker;
use crate::dispatch::{Outcome, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> Outcome {
    let refuse = |error, message: Option<&str>| {
        Outcome::Ready(ResponseKind::ConsumerGroupHeartbeat(refused(error, message)))
    };
    if !broker.groups.has_consumer_protocol() {
        return refuse(ErrorCode::UnsupportedVersion, None);
    }
    if request.group_id.is_empty() {
        return refuse(ErrorCode::InvalidRequest, Some("GroupId can't be empty."));
    }
    let subscribed = request.subscribed_topic_names;
    let owned_partitions = request
        .topic_partitions
        .map(|topics| topics.into_iter().map(|topic| (TopicId(topic.topic_id), topic.partitions)).collect());
    let call = ConsumerGroupHeartbeat {
        group: Arc::from(&**request.group_id),
        caller: caller(context),
        member: owned(&request.member_id),
        member_epoch: request.member_epoch,
        instance: owned_option(&request.instance_id),
        rack: owned_option(&request.rack_id),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        subscribed_topics: subscribed.map(|names| names.iter().map(|name| name.to_string()).collect()),
        subscribed_regex: owned_option(&request.subscribed_topic_regex),
        server_assignor: owned_option(&request.server_assignor),
        owned: owned_partitions,
        version: context.api_version,
    };
    respond(broker, context, broker.groups.take(call), |answer| {
        ResponseKind::ConsumerGroupHeartbeat(match answer {
            Ok(beaten) => response(beaten),
            Err(error) => refused(error, None),
        })
    })
}

fn response(beaten: ConsumerBeaten) -> ConsumerGroupHeartbeatResponse {
    let assignment = beaten.assignment.map(|topics| {
        let topics = topics.into_iter().map(|(id, partitions)| {
            TopicPartitions::default().with_topic_id(id.0).with_partitions(partitions)
        });
        Assignment::default().with_topic_partitions(topics.collect())
    });
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(beaten.error.code())
        .with_error_message(text_option(beaten.message))
        .with_member_id(text_option(beaten.member))
        .with_member_epoch(beaten.member_epoch)
        .with_heartbeat_interval_ms(beaten.heartbeat_interval_ms)
        .with_assignment(assignment)
}

fn refused(error: ErrorCode, message: Option<&str>) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(error.code())
        .with_error_message(message.map(text))
        .with_member_id(None)
        .with_assignment(None)
}
