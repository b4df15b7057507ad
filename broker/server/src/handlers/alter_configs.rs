//! AlterConfigs: all configs of a resource at once; what is not named goes back to its default. Called by the router;
//! `configs::change` does the work.

use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use ottla_model::error::{ErrorCode, KafkaError};

use super::view::text;
use crate::broker::Broker;
use crate::configs::{self, Resource, Wish, check_distinct};
use crate::dispatch::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let key = |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let twice = check_distinct(request.resources.iter().map(key));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let answer = match twice.contains(&key(resource)) {
            true => Err(KafkaError::new(ErrorCode::InvalidRequest, "the request names this resource twice")),
            false => alter(broker, context, resource, request.validate_only).await,
        };
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        responses.push(match answer {
            Ok(()) => response.with_error_message(None),
            Err(error) => {
                response.with_error_code(error.code.code()).with_error_message(Some(text(error.message)))
            }
        });
    }
    AlterConfigsResponse::default().with_responses(responses)
}

async fn alter(
    broker: &Arc<Broker>,
    context: &RequestContext,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), KafkaError> {
    let target =
        Resource::parse_changed(resource.resource_type, &resource.resource_name, broker.config.node_id)?
            .target();
    let configs = resource.configs.iter();
    let wish =
        Wish::All(configs.map(|c| (c.name.as_str(), c.value.as_ref().map(|value| value.as_str()))).collect());
    configs::change(broker, target, &wish, validate_only, &context.peer.to_string()).await
}
