//! ConsumerGroupDescribe: epochs, members and assignments of groups with the consumer protocol (KIP-848). Called by the
//! router; each group's shard is asked at the same time.

use std::sync::Arc;

use futures_util::future::join_all;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId};
use ottla_coordinator::api::{
    ConsumerGroupDescribe, ConsumerGroupDescribed, DescribedConsumer, DescribedPartitions,
};
use ottla_model::error::ErrorCode;

use super::view::{GROUP_OPERATIONS, NOT_ASKED, text, topic_name};
use crate::broker::Broker;
use crate::dispatch::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let with_operations = request.include_authorized_operations;
    if !broker.groups.has_consumer_protocol() {
        let refused = request.group_ids.into_iter();
        let refused = refused.map(|id| described(id, Err(ErrorCode::UnsupportedVersion), false));
        return ConsumerGroupDescribeResponse::default().with_groups(refused.collect());
    }
    let asked = request.group_ids.into_iter().map(|id| {
        let answer = broker.groups.enqueue(ConsumerGroupDescribe { group: Arc::from(&**id) });
        async move {
            // As in Kafka, which knows groups without a name for their offsets only.
            let answer = if id.is_empty() { Err(ErrorCode::InvalidGroupId) } else { answer.await };
            described(id, answer, with_operations)
        }
    });
    ConsumerGroupDescribeResponse::default().with_groups(join_all(asked).await)
}

fn described(
    id: GroupId,
    answer: Result<ConsumerGroupDescribed, ErrorCode>,
    with_operations: bool,
) -> DescribedGroup {
    let described = DescribedGroup::default().with_group_id(id).with_authorized_operations(NOT_ASKED);
    let group = match answer {
        Ok(group) => group,
        Err(error) => return described.with_error_code(error.code()),
    };
    if !group.error.is_none() {
        return described.with_error_code(group.error.code()).with_error_message(group.message.map(text));
    }
    described
        .with_error_message(group.message.map(text))
        .with_group_state(text(group.state))
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(text(group.assignor))
        .with_members(group.members.into_iter().map(member).collect())
        .with_authorized_operations(if with_operations { GROUP_OPERATIONS } else { NOT_ASKED })
}

fn member(member: DescribedConsumer) -> Member {
    Member::default()
        .with_member_id(text(member.member))
        .with_instance_id(member.instance.map(text))
        .with_rack_id(member.rack.map(text))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&*member.client_id))
        .with_client_host(text(&*member.client_host))
        .with_subscribed_topic_names(member.subscribed_topics.iter().map(|name| topic_name(name)).collect())
        // Kafka tells an empty text of a member without one.
        .with_subscribed_topic_regex(Some(text(member.subscribed_regex.unwrap_or_default())))
        .with_assignment(assignment(member.assigned))
        .with_target_assignment(assignment(member.target))
        .with_member_type(member.member_type)
}

fn assignment(topics: Vec<DescribedPartitions>) -> Assignment {
    let topics = topics.into_iter().map(|topic| {
        TopicPartitions::default()
            .with_topic_id(topic.topic_id.0)
            .with_topic_name(topic_name(&topic.topic))
            .with_partitions(topic.partitions)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
