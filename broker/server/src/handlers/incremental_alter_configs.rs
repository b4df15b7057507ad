//! IncrementalAlterConfigs: some configs of a resource, each set, deleted, or changed as a list (KIP-339). Called by the
//! router; `configs::change` does the work.

use std::sync::Arc;

use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use ottla_controller::decide::{ConfigChange, Operation};
use ottla_model::error::{ErrorCode, KafkaError};

use super::view::text;
use crate::broker::Broker;
use crate::configs::{self, Resource, Wish, check_distinct};
use crate::dispatch::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
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
    IncrementalAlterConfigsResponse::default().with_responses(responses)
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
    let changes = resource.configs.iter().map(|config| {
        let Some(operation) = Operation::from_id(config.config_operation) else {
            let message = format!(
                "config {} has the operation {}, which is none",
                config.name, config.config_operation
            );
            return Err(KafkaError::new(ErrorCode::InvalidRequest, message));
        };
        Ok(ConfigChange {
            name: &config.name,
            value: config.value.as_ref().map(|value| value.as_str()),
            operation,
        })
    });
    let wish = Wish::Some(changes.collect::<Result<_, _>>()?);
    configs::change(broker, target, &wish, validate_only, &context.peer.to_string()).await
}
