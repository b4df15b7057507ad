//! ListConfigResources: which resources have configs that can be described (KIP-1142). Version 0 asks for client metrics
//! alone, of which there are none. Called by the router; reads the metadata image.

use std::sync::Arc;

use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use ottla_controller::Image;
use ottla_model::error::ErrorCode;

use super::view::text;
use crate::broker::Broker;
use crate::configs::types::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::dispatch::RequestContext;

/// What Kafka lists where no type is named, in its order.
const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let types: &[i8] = match (context.api_version, request.resource_types.as_slice()) {
        (0, _) => &[CLIENT_METRICS],
        (_, []) => &ALL,
        (_, types) => types,
    };
    if types.iter().any(|asked| !ALL.contains(asked)) {
        return ListConfigResourcesResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code());
    }
    let image = broker.metadata.image();
    let asked = ALL.into_iter().filter(|known| types.contains(known));
    let resources = asked.flat_map(|kind| {
        names(&image, kind).into_iter().map(move |name| {
            ConfigResource::default().with_resource_name(text(name)).with_resource_type(kind)
        })
    });
    ListConfigResourcesResponse::default().with_config_resources(resources.collect())
}

/// The resources of a type. Groups are listed once they have configs of their own.
fn names(image: &Image, kind: i8) -> Vec<String> {
    match kind {
        TOPIC => image.topics().map(|topic| topic.name.to_string()).collect(),
        BROKER | BROKER_LOGGER => image.brokers().map(|broker| broker.id.to_string()).collect(),
        GROUP => image.configured_groups().map(|(name, _)| name.to_string()).collect(),
        _ => Vec::new(),
    }
}
