//! IncrementalAlterConfigs: some configs of a resource, each set, deleted, or changed as a list (KIP-339). Called by the
//! router; `configs::change_all` does the work.

use std::sync::Arc;

use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use ottla_controller::decide::{ConfigChange, Operation};
use ottla_model::error::{ErrorCode, KafkaError};

use super::view::{code_of, message_of};
use crate::broker::Broker;
use crate::configs::{Wanted, Wish, change_all};
use crate::dispatch::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let wanted = request.resources.iter().map(wanted).collect();
    let answers = change_all(broker, context, wanted, request.validate_only).await;
    let responses = request.resources.iter().zip(answers).map(|(resource, answer)| {
        AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_code(code_of(&answer))
            .with_error_message(message_of(answer))
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn wanted(resource: &AlterConfigsResource) -> Wanted<'_> {
    Wanted {
        resource_type: resource.resource_type,
        resource_name: &resource.resource_name,
        wish: resource.configs.iter().map(change).collect::<Result<_, _>>().map(Wish::Some),
    }
}

fn change(config: &AlterableConfig) -> Result<ConfigChange<'_>, KafkaError> {
    let Some(operation) = Operation::from_id(config.config_operation) else {
        let message =
            format!("config {} has the operation {}, which is none", config.name, config.config_operation);
        return Err(KafkaError::new(ErrorCode::InvalidRequest, message));
    };
    let value = config.value.as_ref().map(|value| value.as_str());
    Ok(ConfigChange { name: &config.name, value, operation })
}
