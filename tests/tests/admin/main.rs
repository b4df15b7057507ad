//! What an admin client asks for, over real sockets, against a broker process: topics, partitions, configs, the cluster.
//! Every version of every request is decoded, answered and decoded again.

mod cluster;
mod configs;
mod faults;
mod group_configs;
mod topics;

use anyhow::{Context, Result};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DescribeConfigsRequest, MetadataRequest, MetadataResponse,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_tests::raw::Raw;
use uuid::Uuid;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const UNSUPPORTED_VERSION: i16 = 35;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_REPLICATION_FACTOR: i16 = 38;
const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const TOPIC_DELETION_DISABLED: i16 = 73;
const UNKNOWN_TOPIC_ID: i16 = 100;
const MISMATCHED_ENDPOINT_TYPE: i16 = 114;
const UNSUPPORTED_ENDPOINT_TYPE: i16 = 115;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn topic(of: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default().with_name(name(of)).with_num_partitions(partitions).with_replication_factor(-1)
}

fn with_configs(topic: CreatableTopic, configs: &[(&str, &str)]) -> CreatableTopic {
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    topic.with_configs(configs.iter().map(config).collect())
}

async fn create(raw: &mut Raw, topics: Vec<CreatableTopic>, version: i16) -> Result<CreateTopicsResponse> {
    let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(10_000);
    raw.call(&request, version).await
}

async fn metadata(raw: &mut Raw, topics: Option<&[&str]>, version: i16) -> Result<MetadataResponse> {
    let topics = topics.map(|topics| {
        topics.iter().map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic)))).collect()
    });
    let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(version < 4);
    raw.call(&request, version).await
}

fn resource(resource_type: i8, name: &str) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configuration_keys(None)
}

async fn describe(raw: &mut Raw, resource_type: i8, name: &str) -> Result<DescribeConfigsResult> {
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource(resource_type, name)])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    raw.call(&request, 4).await?.results.pop().context("no result")
}

fn config<'a>(result: &'a DescribeConfigsResult, name: &str) -> Result<&'a DescribeConfigsResourceResult> {
    result.configs.iter().find(|config| config.name.as_str() == name).with_context(|| name.to_owned())
}

fn value<'a>(result: &'a DescribeConfigsResult, name: &str) -> Result<&'a str> {
    config(result, name)?.value.as_ref().map(|value| value.as_str()).with_context(|| name.to_owned())
}

async fn alter(
    raw: &mut Raw,
    resource_type: i8,
    resource_name: &str,
    changes: &[(&str, i8, Option<&str>)],
    validate_only: bool,
) -> Result<(i16, String)> {
    let change = |(name, operation, value): &(&str, i8, Option<&str>)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(resource_name))
        .with_configs(changes.iter().map(change).collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    let response = raw.call(&request, 1).await?.responses.pop().context("no response")?;
    Ok((response.error_code, response.error_message.map(|message| message.to_string()).unwrap_or_default()))
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn config_source(result: &DescribeConfigsResult, name: &str) -> Result<i8> {
    Ok(config(result, name)?.config_source)
}
