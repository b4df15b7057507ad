//! Topics and configs, as any AdminClient sets them.

use crate::cluster::Cluster;
use crate::fault::{ClientError, check};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_model::ids::TopicId;

/// What a broker may take to make a change known, in milliseconds.
const CHANGE_TIMEOUT_MS: i32 = 30_000;

#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    pub name: String,
    /// None for the broker's `num.partitions`.
    pub partitions: Option<i32>,
    /// None for the broker's default.
    pub replication_factor: Option<i16>,
    pub configs: Vec<(String, String)>,
    /// Checks everything and creates nothing.
    pub validate_only: bool,
}

/// Whose configs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    Topic(String),
    /// A broker by its id; none for the defaults of all.
    Broker(Option<i32>),
}

impl Resource {
    fn on_the_wire(&self) -> (i8, StrBytes) {
        match self {
            Resource::Topic(name) => (2, string(name)),
            Resource::Broker(id) => (4, string(&id.map(|id| id.to_string()).unwrap_or_default())),
        }
    }
}

/// Where a config's value comes from, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    Topic,
    DynamicBroker,
    StaticBroker,
    Default,
    Other(i8),
}

impl ConfigSource {
    fn of(number: i8) -> ConfigSource {
        match number {
            1 => ConfigSource::Topic,
            2 | 3 => ConfigSource::DynamicBroker,
            4 => ConfigSource::StaticBroker,
            5 => ConfigSource::Default,
            other => ConfigSource::Other(other),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// None for null, and for what must not be shown.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub read_only: bool,
    pub documentation: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    Set(String, String),
    Delete(String),
}

/// The requests of administration, to any broker of the cluster.
#[derive(Clone)]
pub struct Admin {
    cluster: Cluster,
}

impl Admin {
    pub fn new(cluster: &Cluster) -> Admin {
        Admin { cluster: cluster.clone() }
    }

    /// # Errors
    /// `Refused` with the broker's code and sentence; as [`crate::Connection::ask`].
    pub async fn create_topic(&self, new: &NewTopic) -> Result<TopicId, ClientError> {
        let configs = new.configs.iter().map(|(key, value)| {
            CreatableTopicConfig::default().with_name(string(key)).with_value(Some(string(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(TopicName(string(&new.name)))
            .with_num_partitions(new.partitions.unwrap_or(-1))
            .with_replication_factor(new.replication_factor.unwrap_or(-1))
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(CHANGE_TIMEOUT_MS)
            .with_validate_only(new.validate_only);
        let response = self.cluster.any().await?.ask(&request).await?;
        let result = response.topics.first().ok_or_else(|| missing("CreateTopics"))?;
        check(result.error_code, &format!("topic {}", new.name), result.error_message.as_deref())?;
        Ok(TopicId(result.topic_id))
    }

    /// # Errors
    /// As [`Admin::create_topic`].
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let topic = DeleteTopicState::default().with_name(Some(TopicName(string(name))));
        let request =
            DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(CHANGE_TIMEOUT_MS);
        let response = self.cluster.any().await?.ask(&request).await?;
        self.cluster.forget(name).await;
        let result = response.responses.first().ok_or_else(|| missing("DeleteTopics"))?;
        check(result.error_code, &format!("topic {name}"), result.error_message.as_deref())
    }

    /// Raises a topic's partitions to `count`.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    pub async fn create_partitions(&self, name: &str, count: i32) -> Result<(), ClientError> {
        let topic = CreatePartitionsTopic::default()
            .with_name(TopicName(string(name)))
            .with_count(count)
            .with_assignments(None);
        let request =
            CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(CHANGE_TIMEOUT_MS);
        let response = self.cluster.any().await?.ask(&request).await?;
        self.cluster.forget(name).await;
        let result = response.results.first().ok_or_else(|| missing("CreatePartitions"))?;
        check(result.error_code, &format!("topic {name}"), result.error_message.as_deref())
    }

    /// The configs of a topic or broker: all, or those named.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    pub async fn describe_configs(
        &self,
        resource: &Resource,
        keys: Option<&[&str]>,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let (kind, name) = resource.on_the_wire();
        let asked = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(name.clone())
            .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| string(key)).collect()));
        let request =
            DescribeConfigsRequest::default().with_resources(vec![asked]).with_include_documentation(true);
        // A broker answers for itself only.
        let connection = match resource {
            Resource::Broker(Some(id)) => self.cluster.broker(*id).await?,
            _ => self.cluster.any().await?,
        };
        let response = connection.ask(&request).await?;
        let result = response.results.first().ok_or_else(|| missing("DescribeConfigs"))?;
        check(
            result.error_code,
            &format!("configs of {}", shown(resource)),
            result.error_message.as_deref(),
        )?;
        let entries = result.configs.iter().map(|config| ConfigEntry {
            name: config.name.to_string(),
            value: config.value.as_ref().map(|value| value.to_string()),
            source: ConfigSource::of(config.config_source),
            read_only: config.read_only,
            documentation: config.documentation.as_ref().map(|text| text.to_string()),
        });
        Ok(entries.collect())
    }

    /// Sets and deletes configs; the others stay.
    ///
    /// # Errors
    /// As [`Admin::create_topic`].
    pub async fn alter_configs(
        &self,
        resource: &Resource,
        changes: &[ConfigChange],
    ) -> Result<(), ClientError> {
        let configs = changes.iter().map(|change| match change {
            ConfigChange::Set(key, value) => AlterableConfig::default()
                .with_name(string(key))
                .with_config_operation(0)
                .with_value(Some(string(value))),
            ConfigChange::Delete(key) => {
                AlterableConfig::default().with_name(string(key)).with_config_operation(1).with_value(None)
            }
        });
        let (kind, name) = resource.on_the_wire();
        let changed = AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(name)
            .with_configs(configs.collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![changed]);
        let response = self.cluster.any().await?.ask(&request).await?;
        let result = response.responses.first().ok_or_else(|| missing("IncrementalAlterConfigs"))?;
        check(result.error_code, &format!("configs of {}", shown(resource)), result.error_message.as_deref())
    }
}

fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn shown(resource: &Resource) -> String {
    match resource {
        Resource::Topic(name) => format!("topic {name}"),
        Resource::Broker(Some(id)) => format!("broker {id}"),
        Resource::Broker(None) => "all brokers".to_owned(),
    }
}

fn missing(api: &str) -> ClientError {
    let reason = format!("its {api} response has no result");
    ClientError::Malformed { address: "the broker".to_owned(), reason }
}
