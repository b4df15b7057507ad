//! DescribeTopicPartitions: the partitions of topics, a page at a time (KIP-966). Called by the router; reads the
//! metadata image. A page never holds more partitions than `max.request.partition.size.limit`, and the cursor names the
//! first that it left out.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use ottla_controller::Image;
use ottla_controller::image::Topic;
use ottla_model::error::ErrorCode;
use ottla_model::topic_name::{is_internal, validate};

use super::view::{NOT_ASKED, PartitionView, TOPIC_OPERATIONS, topic_name};
use crate::broker::Broker;
use crate::configs::InForce;
use crate::dispatch::RequestContext;

const LIMIT: &str = "max.request.partition.size.limit";

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = broker.metadata.image();
    let in_force = InForce::new(&image, broker.config.node_id, &broker.config.given);
    let bound: i32 = in_force.layers().number(LIMIT).unwrap_or(1);
    let limit = usize::try_from(request.response_partition_limit.min(bound)).unwrap_or(0).max(1);
    if is_cursor_lost(&request) {
        return refused(&request);
    }
    page(broker, &image, &context.listener, &request, limit)
}

/// A cursor names a partition of a topic that is asked for.
fn is_cursor_lost(request: &DescribeTopicPartitionsRequest) -> bool {
    let Some(cursor) = &request.cursor else { return false };
    let is_asked =
        request.topics.is_empty() || request.topics.iter().any(|one| one.name == cursor.topic_name);
    !is_asked || cursor.partition_index < 0
}

/// An answer of this version has no place for an error of the whole request, so each topic bears it.
fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.iter().map(|topic| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(ErrorCode::InvalidRequest.code())
            .with_name(Some(topic.name.clone()))
            .with_topic_authorized_operations(NOT_ASKED)
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
}

fn page(
    broker: &Broker,
    image: &Image,
    listener: &str,
    request: &DescribeTopicPartitionsRequest,
    limit: usize,
) -> DescribeTopicPartitionsResponse {
    let (first_topic, first_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.to_string(), usize::try_from(cursor.partition_index).unwrap_or(0)),
        None => (String::new(), 0),
    };
    let mut page = Page { broker, image, listener, room: limit, topics: Vec::new() };
    let skipped = |name: &str| if name == first_topic { first_partition } else { 0 };
    let mut next = None;
    if request.topics.is_empty() {
        for topic in image.topics_from(&first_topic) {
            next = page.add(topic, skipped(&topic.name));
            if next.is_some() {
                break;
            }
        }
    } else {
        let names: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
        for name in names.into_iter().filter(|name| *name >= first_topic.as_str()) {
            match image.topic(name) {
                Some(topic) => next = page.add(topic, skipped(name)),
                None => next = page.add_unknown(name),
            }
            if next.is_some() {
                break;
            }
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(page.topics).with_next_cursor(next)
}

struct Page<'a> {
    broker: &'a Broker,
    image: &'a Image,
    listener: &'a str,
    /// Partitions that still fit.
    room: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
}

impl Page<'_> {
    /// Adds a topic from a partition on, and answers where the next page begins if it did not fit.
    fn add(&mut self, topic: &Topic, first: usize) -> Option<Cursor> {
        let more = topic.partitions.len().saturating_sub(first);
        let taken = more.min(self.room);
        if taken > 0 || more == 0 {
            let partitions = (0..).zip(&topic.partitions).skip(first).take(taken);
            let partitions = partitions.map(|(index, partition)| {
                let error = ErrorCode::ListenerNotFound;
                let offline = self.broker.offline_replica(topic.id, index);
                let view = PartitionView::new(self.image, self.listener, partition, error, offline);
                DescribeTopicPartitionsResponsePartition::default()
                    .with_error_code(view.error.code())
                    .with_partition_index(index)
                    .with_leader_id(view.leader)
                    .with_leader_epoch(view.leader_epoch)
                    .with_replica_nodes(view.replicas)
                    .with_isr_nodes(view.isr)
                    .with_eligible_leader_replicas(Some(Vec::new()))
                    .with_last_known_elr(Some(Vec::new()))
                    .with_offline_replicas(view.offline_replicas)
            });
            let described = DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(topic_name(&topic.name)))
                .with_topic_id(topic.id.0)
                .with_is_internal(is_internal(&topic.name))
                .with_partitions(partitions.collect())
                .with_topic_authorized_operations(TOPIC_OPERATIONS);
            self.topics.push(described);
        }
        self.room -= taken;
        (taken < more).then(|| {
            let next = i32::try_from(first + taken).unwrap_or(i32::MAX);
            Cursor::default().with_topic_name(topic_name(&topic.name)).with_partition_index(next)
        })
    }

    /// Adds a topic that does not exist, if the page has room for anything.
    fn add_unknown(&mut self, name: &str) -> Option<Cursor> {
        if self.room == 0 {
            return Some(Cursor::default().with_topic_name(topic_name(name)).with_partition_index(0));
        }
        let error = match validate(name) {
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
            Err(error) => error.code,
        };
        let described = DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(error.code())
            .with_name(Some(topic_name(name)))
            .with_topic_authorized_operations(TOPIC_OPERATIONS);
        self.topics.push(described);
        None
    }
}
