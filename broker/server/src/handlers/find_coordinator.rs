//! FindCoordinator: which broker a group must talk to. Called by the router. The first one asked creates the topic
//! `__consumer_offsets`, as in Kafka. Coordinators of transactions and of share groups there are none, and who asks for
//! one is told so at once: an error that clients repeat would have them wait for it until their time is over.

use std::sync::Arc;

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use ottla_model::error::ErrorCode;
use ottla_model::topic_name::CONSUMER_OFFSETS;

use super::create_topics::create_offsets_topic;
use super::view::{brokers, text};
use crate::broker::Broker;
use crate::dispatch::RequestContext;

/// From this version on a request names several keys (KIP-699).
const BATCHED: i16 = 4;
const NOBODY: BrokerId = BrokerId(-1);

/// Where a coordinator is.
struct Node {
    id: BrokerId,
    host: StrBytes,
    port: i32,
}

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let refused = match request.key_type {
        0 => ensure_topic(broker).await.err(),
        _ => Some(ErrorCode::InvalidRequest),
    };
    let find = |key: &str| {
        let found = refused.map_or_else(|| group_coordinator(broker, context, key), Err);
        let nobody = || Node { id: NOBODY, host: StrBytes::default(), port: -1 };
        found.map_or_else(|error| (error, nobody()), |node| (ErrorCode::None, node))
    };
    if context.api_version < BATCHED {
        let (error, node) = find(&request.key);
        return FindCoordinatorResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(text(message(error).unwrap_or(error.name()))))
            .with_node_id(node.id)
            .with_host(node.host)
            .with_port(node.port);
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        let (error, node) = find(&key);
        Coordinator::default()
            .with_key(key)
            .with_error_code(error.code())
            .with_error_message(Some(text(message(error).unwrap_or_default())))
            .with_node_id(node.id)
            .with_host(node.host)
            .with_port(node.port)
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

/// What is wrong with the request itself.
fn message(error: ErrorCode) -> Option<&'static str> {
    (error == ErrorCode::InvalidRequest).then_some(
        "this broker coordinates groups (key type 0); it has no transactions (1) and no share groups (2)",
    )
}

/// Returns once the topic is there, and its shards are.
async fn ensure_topic(broker: &Arc<Broker>) -> Result<(), ErrorCode> {
    if broker.metadata.image().topic(CONSUMER_OFFSETS).is_none() {
        create_offsets_topic(broker).await.map_err(|error| {
            tracing::warn!(%error, "{CONSUMER_OFFSETS} cannot be created");
            ErrorCode::CoordinatorNotAvailable
        })?;
    }
    broker.groups.caught_up().await;
    Ok(())
}

/// The broker of a group, as the client's listener reaches it.
fn group_coordinator(broker: &Broker, context: &RequestContext, group: &str) -> Result<Node, ErrorCode> {
    let leader = broker.groups.coordinator_of(group)?;
    let image = broker.metadata.image();
    let mut reachable = brokers(&image, &context.listener);
    let (_, endpoint) =
        reachable.find(|(known, _)| known.id == leader).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok(Node { id: BrokerId(leader), host: text(&endpoint.host), port: i32::from(endpoint.port) })
}
