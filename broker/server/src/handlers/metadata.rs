//! Metadata: the brokers and the topics that a client asks for, by name or by id (KIP-516). A topic that does not exist
//! is created where the client and `auto.create.topics.enable` allow it. Called by the router; reads the metadata image.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse};
use ottla_controller::Image;
use ottla_controller::image::Topic;
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;
use ottla_model::topic_name::{is_internal, validate};

use super::create_topics::create_by_default;
use super::view::{self, CLUSTER_OPERATIONS, NOT_ASKED, PartitionView, TOPIC_OPERATIONS, text, topic_name};
use crate::broker::Broker;
use crate::dispatch::RequestContext;

/// From this version on `null` means all topics; before it an empty list did.
const NULL_IS_ALL: i16 = 1;
/// Before this version a client could not say whether topics are created for it: they are.
const CREATION_IS_CHOSEN: i16 = 4;
/// From this version on a listener that the leader lacks has an error of its own.
const LISTENER_ERROR: i16 = 6;
/// From this version on topics can be asked for by id.
const BY_ID: i16 = 12;
/// These versions have the field for ids, and brokers never answered it.
const BY_ID_REFUSED: std::ops::Range<i16> = 10..BY_ID;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: MetadataRequest,
) -> MetadataResponse {
    if BY_ID_REFUSED.contains(&context.api_version) && names_ids(&request) {
        return ids_refused(&request);
    }
    let asked = Asked::of(&request, context.api_version);
    // As in Kafka, a topic that is created on the way is in the next answer, not in this one: who just deleted it and
    // looks whether it is gone is told so.
    let image = broker.metadata.image();
    if let Asked::Some(topics) = &asked {
        create_missing(broker, &image, context, &request, topics).await;
    }
    let with_operations = request.include_topic_authorized_operations;
    let view = View { image: &image, broker, context, with_operations };
    let topics = match &asked {
        Asked::All => image.topics().map(|topic| view.topic(topic)).collect(),
        Asked::Some(topics) => {
            let mut topics: Vec<_> = topics.iter().map(|topic| view.asked(topic)).collect();
            // In Kafka's order: ids that nobody knows, what exists, names that do not.
            topics.sort_by_key(|topic| match topic.error_code {
                code if code == ErrorCode::UnknownTopicId.code() => 0,
                0 => 1,
                _ => 2,
            });
            topics
        }
    };
    let operations =
        if request.include_cluster_authorized_operations { CLUSTER_OPERATIONS } else { NOT_ASKED };
    MetadataResponse::default()
        .with_brokers(view.brokers())
        .with_cluster_id(Some(text(&broker.cluster_id)))
        .with_controller_id(BrokerId(broker.config.node_id))
        .with_topics(topics)
        .with_cluster_authorized_operations(operations)
}

/// What a request asks for, each topic once, in the order of the request.
enum Asked {
    All,
    Some(Vec<AskedTopic>),
}

enum AskedTopic {
    Name(String),
    Id(TopicId),
    /// Neither, or an id in a version that has none to ask by.
    Nothing(TopicId),
}

impl Asked {
    fn of(request: &MetadataRequest, version: i16) -> Asked {
        let topics = match &request.topics {
            None => return Asked::All,
            Some(topics) if topics.is_empty() && version < NULL_IS_ALL => return Asked::All,
            Some(topics) => topics,
        };
        let by_id = version >= BY_ID && names_ids(request);
        let mut seen = BTreeSet::new();
        let mut asked = Vec::new();
        for topic in topics {
            let id = TopicId(topic.topic_id);
            if by_id && id.is_zero() {
                // As in Kafka, a request that asks by id asks by nothing else.
                continue;
            }
            let name = topic.name.as_ref().map(|name| name.to_string());
            if !seen.insert((id, name.clone())) {
                continue;
            }
            asked.push(match name {
                _ if !id.is_zero() && version >= BY_ID => AskedTopic::Id(id),
                Some(name) if id.is_zero() => AskedTopic::Name(name),
                _ => AskedTopic::Nothing(id),
            });
        }
        Asked::Some(asked)
    }
}

fn names_ids(request: &MetadataRequest) -> bool {
    request.topics.iter().flatten().any(|topic| !topic.topic_id.is_nil())
}

/// The answer to ids in a version that cannot be asked by id: nothing but the error, for each topic.
fn ids_refused(request: &MetadataRequest) -> MetadataResponse {
    let topics = request.topics.iter().flatten().map(|topic| {
        MetadataResponseTopic::default()
            .with_error_code(ErrorCode::InvalidRequest.code())
            .with_name(Some(topic.name.clone().unwrap_or_default()))
            .with_topic_id(topic.topic_id)
            .with_topic_authorized_operations(NOT_ASKED)
    });
    MetadataResponse::default()
        .with_controller_id(BrokerId(-1))
        .with_topics(topics.collect())
        .with_cluster_authorized_operations(NOT_ASKED)
}

/// Creates what is asked for by name and missing, as far as that is allowed and possible.
async fn create_missing(
    broker: &Arc<Broker>,
    image: &Image,
    context: &RequestContext,
    request: &MetadataRequest,
    topics: &[AskedTopic],
) {
    let allowed = context.api_version < CREATION_IS_CHOSEN || request.allow_auto_topic_creation;
    let missing = |topic: &AskedTopic| match topic {
        AskedTopic::Name(name) if image.topic(name).is_none() && validate(name).is_ok() => Some(name.clone()),
        _ => None,
    };
    let missing: Vec<String> = topics.iter().filter_map(missing).collect();
    if allowed && !missing.is_empty() {
        create_by_default(broker, missing).await;
    }
}

struct View<'a> {
    image: &'a Image,
    broker: &'a Broker,
    context: &'a RequestContext,
    with_operations: bool,
}

impl View<'_> {
    fn brokers(&self) -> Vec<MetadataResponseBroker> {
        let broker = |(broker, endpoint): (
            &ottla_controller::record::BrokerRecord,
            &ottla_controller::record::Endpoint,
        )| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(broker.id))
                .with_host(text(&endpoint.host))
                .with_port(i32::from(endpoint.port))
                .with_rack(broker.rack.as_deref().map(text))
        };
        view::brokers(self.image, &self.context.listener).map(broker).collect()
    }

    fn asked(&self, asked: &AskedTopic) -> MetadataResponseTopic {
        let (name, id, error) = match asked {
            AskedTopic::Name(name) => match self.image.topic(name) {
                Some(topic) => return self.topic(topic),
                None if validate(name).is_err() => {
                    (Some(name), TopicId::ZERO, ErrorCode::InvalidTopicException)
                }
                None => (Some(name), TopicId::ZERO, ErrorCode::UnknownTopicOrPartition),
            },
            AskedTopic::Id(id) => match self.image.topic_by_id(*id) {
                Some(topic) => return self.topic(topic),
                None => (None, *id, ErrorCode::UnknownTopicId),
            },
            AskedTopic::Nothing(id) => (None, *id, ErrorCode::InvalidRequest),
        };
        // Before version 12 a name is never null.
        let name = match name {
            None if self.context.api_version >= BY_ID => None,
            name => Some(topic_name(name.map_or("", String::as_str))),
        };
        MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(name)
            .with_topic_id(id.0)
            // Of an id that nobody knows, there is nothing to be allowed.
            .with_topic_authorized_operations(match asked {
                AskedTopic::Id(_) => NOT_ASKED,
                AskedTopic::Name(_) | AskedTopic::Nothing(_) => self.operations(),
            })
    }

    fn operations(&self) -> i32 {
        if self.with_operations { TOPIC_OPERATIONS } else { NOT_ASKED }
    }

    fn topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let listener_error = match self.context.api_version >= LISTENER_ERROR {
            true => ErrorCode::ListenerNotFound,
            false => ErrorCode::LeaderNotAvailable,
        };
        let partitions = (0..).zip(&topic.partitions).map(|(index, partition)| {
            let offline = self.broker.offline_replica(topic.id, index);
            let listener = &self.context.listener;
            let view = PartitionView::new(self.image, listener, partition, listener_error, offline);
            MetadataResponsePartition::default()
                .with_error_code(view.error.code())
                .with_partition_index(index)
                .with_leader_id(view.leader)
                .with_leader_epoch(view.leader_epoch)
                .with_replica_nodes(view.replicas)
                .with_isr_nodes(view.isr)
                .with_offline_replicas(view.offline_replicas)
        });
        MetadataResponseTopic::default()
            .with_name(Some(topic_name(&topic.name)))
            .with_topic_id(topic.id.0)
            .with_is_internal(is_internal(&topic.name))
            .with_partitions(partitions.collect())
            .with_topic_authorized_operations(self.operations())
    }
}
