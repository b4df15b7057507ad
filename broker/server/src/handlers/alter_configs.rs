//! AlterConfigs: all configs of a resource at once; what is not named goes back to its default. Called by the router;
//! `configs::change_all` does the work.

use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::view::{code_of, message_of};
use crate::broker::Broker;
use crate::configs::{Wanted, Wish, change_all};
use crate::dispatch::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let wanted = request.resources.iter().map(wanted).collect();
    let answers = change_all(broker, context, wanted, request.validate_only).await;
    let responses = request.resources.iter().zip(answers).map(|(resource, answer)| {
        AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_code(code_of(&answer))
            .with_error_message(message_of(answer))
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

fn wanted(resource: &AlterConfigsResource) -> Wanted<'_> {
    let configs = resource.configs.iter();
    let configs = configs.map(|c| (c.name.as_str(), c.value.as_ref().map(|value| value.as_str())));
    Wanted {
        resource_type: resource.resource_type,
        resource_name: &resource.resource_name,
        wish: Ok(Wish::All(configs.collect())),
    }
}
