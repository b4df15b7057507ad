//! DescribeConfigs: values, where they come from, and what they mean (KIP-226, KIP-569). Called by the router; reads the
//! metadata image and the broker's own values.

use std::sync::Arc;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use ottla_controller::Image;
use ottla_model::config::layers::Values;
use ottla_model::error::{ErrorCode, KafkaError};

use super::view::text;
use crate::broker::Broker;
use crate::configs::{self, Entry, InForce, Resource};
use crate::dispatch::RequestContext;

const BROKER_ID: &str = "broker.id";
const ADMIN_LISTENER: &str = "ottla.admin.listener";

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let image = broker.metadata.image();
    let in_force = InForce::new(&image, broker.config.node_id, &broker.config.given);
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match entries(broker, &image, &in_force, resource) {
            Ok(entries) => {
                let entries = entries.into_iter().filter(|entry| is_asked(resource, entry));
                let configs = entries.map(|entry| described(entry, &request)).collect();
                // Kafka's answers bear an empty message here, not none.
                result.with_error_message(Some(text(""))).with_configs(configs)
            }
            Err(error) => {
                result.with_error_code(error.code.code()).with_error_message(Some(text(error.message)))
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn entries(
    broker: &Broker,
    image: &Image,
    in_force: &InForce<'_>,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Entry>, KafkaError> {
    match Resource::parse(resource.resource_type, &resource.resource_name, broker.config.node_id)? {
        Resource::Topic(name) => match image.topic(name) {
            Some(topic) => Ok(configs::topic_entries(&topic.configs, in_force)),
            None => {
                let message = format!("there is no topic '{name}'");
                Err(KafkaError::new(ErrorCode::UnknownTopicOrPartition, message))
            }
        },
        Resource::ThisBroker(_) => Ok(as_it_runs(configs::broker_entries(in_force), broker)),
        Resource::AllBrokers => Ok(configs::cluster_entries(in_force)),
        Resource::Group(name) => {
            let none = Values::new();
            let own = image.group_configs(name).map_or(&none, |configs| configs);
            Ok(configs::group_entries(own, in_force))
        }
    }
}

/// The admin address is told as it is, not as it was asked for: port 0 picks a free one, and tools find it here. The
/// broker's id goes by its older name too.
fn as_it_runs(mut entries: Vec<Entry>, broker: &Broker) -> Vec<Entry> {
    for entry in &mut entries {
        match entry.key.name {
            ADMIN_LISTENER => entry.value = Some(broker.admin_addr.to_string()),
            BROKER_ID => entry.value = Some(broker.config.node_id.to_string()),
            _ => {}
        }
    }
    entries
}

/// No list of names, or an empty one, asks for all.
fn is_asked(resource: &DescribeConfigsResource, entry: &Entry) -> bool {
    let names = resource.configuration_keys.as_deref().unwrap_or_default();
    names.is_empty() || names.iter().any(|name| name.as_str() == entry.key.name)
}

fn described(entry: Entry, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let documentation = request.include_documentation.then(|| text(entry.key.documentation()));
    let synonyms = entry.synonyms.into_iter().filter(|_| request.include_synonyms).map(|synonym| {
        DescribeConfigsSynonym::default()
            .with_name(text(synonym.name))
            .with_value(synonym.value.map(text))
            .with_source(synonym.source as i8)
    });
    DescribeConfigsResourceResult::default()
        .with_name(text(entry.key.name))
        .with_value(entry.value.map(text))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source as i8)
        .with_is_sensitive(entry.key.is_sensitive())
        .with_synonyms(synonyms.collect())
        .with_config_type(entry.key.kind.code())
        .with_documentation(documentation)
}
