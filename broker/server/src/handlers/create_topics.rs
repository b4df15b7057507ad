//! CreateTopics, and the topics that other requests create by the way. Called by the router and by Metadata; decides on
//! the metadata image, has plugins proved before they are ordered, and answers once the topic's partitions are there.

use std::sync::Arc;

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use ottla_controller::decide::{self, ConfigTarget, CreatedTopic, Decision, NewTopic, TopicDefaults};
use ottla_controller::image::Configs;
use ottla_controller::{Image, Record};
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::TopicId;
use ottla_model::topic_name::{CONSUMER_OFFSETS, RETENTION_AUDIT};

use super::view::{text, topic_name};
use crate::broker::Broker;
use crate::configs::{self, InForce, Rules, check_distinct, prepare_topic, touches_plugins};
use crate::dispatch::RequestContext;
use crate::groups::OffsetsTopic;

/// A topic as a request asks for it.
struct Wanted {
    name: String,
    id: TopicId,
    partitions: i32,
    replication_factor: i16,
    assignments: Vec<(i32, Vec<i32>)>,
    configs: Vec<(String, Option<String>)>,
}

type Answer = Result<CreatedTopic, KafkaError>;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let twice = check_distinct(request.topics.iter().map(|topic| topic.name.to_string()));
    let wanted = request.topics.iter().map(Wanted::asked).filter(|topic| !twice.contains(&topic.name));
    let (placed, plain): (Vec<Wanted>, Vec<Wanted>) = wanted.partition(Wanted::names_plugin);
    let mut answers = create_all(broker, &plain, request.validate_only).await;
    for topic in &placed {
        answers
            .push(create_with_plugin(broker, topic, request.validate_only, &context.peer.to_string()).await);
    }
    if !request.validate_only && answers.iter().any(Result::is_ok) {
        broker.partitions.caught_up().await;
    }
    let image = broker.metadata.image();
    let in_force = InForce::new(&image, broker.config.node_id, &broker.config.given);
    let names = plain.iter().chain(&placed).map(|topic| &topic.name);
    let mut topics: Vec<_> =
        names.zip(answers).map(|(name, answer)| described(name, answer, &in_force)).collect();
    for name in &twice {
        let error = KafkaError::new(ErrorCode::InvalidRequest, "the request names this topic twice");
        topics.push(described(name, Err(error), &in_force));
    }
    CreateTopicsResponse::default().with_topics(topics)
}

/// Creates topics with the broker's defaults where `auto.create.topics.enable` allows it. Why one could not be created
/// is logged: whoever asked learns that there is no such topic, as from Kafka.
pub async fn create_by_default(broker: &Arc<Broker>, names: Vec<String>) {
    let image = broker.metadata.image();
    let in_force = InForce::new(&image, broker.config.node_id, &broker.config.given);
    if !in_force.layers().is_true("auto.create.topics.enable") {
        return;
    }
    // The broker creates its audit by itself, with configs that keep it.
    let (offsets, names): (Vec<String>, Vec<String>) =
        names.into_iter().filter(|name| name != RETENTION_AUDIT).partition(|name| name == CONSUMER_OFFSETS);
    if !offsets.is_empty()
        && let Err(error) = create_offsets_topic(broker).await
    {
        tracing::info!(topic = CONSUMER_OFFSETS, %error, "the topic could not be created for a client");
    }
    let wanted: Vec<Wanted> = names.into_iter().map(Wanted::by_default).collect();
    let answers = create_all(broker, &wanted, false).await;
    broker.partitions.caught_up().await;
    for (Wanted { name: topic, .. }, answer) in wanted.into_iter().zip(answers) {
        match answer {
            Ok(_) => tracing::info!(topic, "the topic was created because a client asked for it"),
            Err(error) if error.code == ErrorCode::TopicAlreadyExists => {}
            Err(error) => tracing::info!(topic, %error, "the topic could not be created for a client"),
        }
    }
}

/// Creates `__consumer_offsets` as the broker's configs say. One that is there already is as good.
///
/// # Errors
/// Those of creating topics.
pub async fn create_offsets_topic(broker: &Arc<Broker>) -> Result<(), KafkaError> {
    let topic = OffsetsTopic::new(&broker.config.layers(&broker.metadata.image()));
    let configs: Vec<(&str, &str)> =
        topic.configs.iter().map(|(key, value)| (*key, value.as_str())).collect();
    create_internal(broker, CONSUMER_OFFSETS, topic.partitions, &configs).await
}

/// Creates a topic that the broker needs for itself. One that is there already is as good.
///
/// # Errors
/// Those of creating topics.
pub async fn create_internal(
    broker: &Arc<Broker>,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<(), KafkaError> {
    let configs = configs.iter().map(|&(key, value)| (key.to_owned(), Some(value.to_owned())));
    let wanted = Wanted { partitions, configs: configs.collect(), ..Wanted::by_default(name.to_owned()) };
    let answers = create_all(broker, &[wanted], false).await;
    broker.partitions.caught_up().await;
    match answers.into_iter().next() {
        Some(Err(error)) if error.code != ErrorCode::TopicAlreadyExists => Err(error),
        _ => Ok(()),
    }
}

impl Wanted {
    fn asked(topic: &CreatableTopic) -> Wanted {
        let assignment =
            |assignment: &kafka_protocol::messages::create_topics_request::CreatableReplicaAssignment| {
                (assignment.partition_index, assignment.broker_ids.iter().map(|id| id.0).collect())
            };
        let configs = topic.configs.iter();
        Wanted {
            name: topic.name.to_string(),
            id: TopicId::random(),
            partitions: topic.num_partitions,
            replication_factor: topic.replication_factor,
            assignments: topic.assignments.iter().map(assignment).collect(),
            configs: configs.map(|c| (c.name.to_string(), c.value.as_ref().map(|v| v.to_string()))).collect(),
        }
    }

    fn by_default(name: String) -> Wanted {
        Wanted {
            name,
            id: TopicId::random(),
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }
    }

    fn names_plugin(&self) -> bool {
        let set = self.configs.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        touches_plugins(&set.collect::<Configs>())
    }

    fn decide(&self, broker: &Broker, image: &Image) -> Decision<CreatedTopic> {
        let in_force = InForce::new(image, broker.config.node_id, &broker.config.given);
        let layers = in_force.layers();
        let defaults = TopicDefaults {
            partitions: layers.number("num.partitions").unwrap_or(1),
            replication_factor: layers.number("default.replication.factor").unwrap_or(1),
        };
        let topic = NewTopic {
            name: &self.name,
            id: self.id,
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            assignments: &self.assignments,
            configs: &self.configs,
        };
        decide::create_topic(image, &Rules::new(&in_force), topic, defaults, broker.clock.now_ms())
    }
}

/// Creates topics in one step of the metadata, each on its own: one that is refused does not hinder the others.
async fn create_all(broker: &Arc<Broker>, topics: &[Wanted], validate_only: bool) -> Vec<Answer> {
    let decide_all = |image: &Image| -> Decision<Vec<Answer>> {
        let mut image = image.clone();
        let mut records: Vec<Record> = Vec::new();
        let mut answers = Vec::with_capacity(topics.len());
        for topic in topics {
            answers.push(topic.decide(broker, &image).and_then(|(more, created)| {
                image = image
                    .apply(&more)
                    .map_err(|error| KafkaError::new(ErrorCode::UnknownServerError, error.to_string()))?;
                records.extend(more);
                Ok(created)
            }));
        }
        Ok((records, answers))
    };
    let done = match validate_only {
        true => decide_all(&broker.metadata.image()).map(|(_, answers)| answers),
        false => broker.metadata.change(decide_all).await,
    };
    let answers = done.unwrap_or_else(|error| topics.iter().map(|_| Err(error.clone())).collect());
    for created in answers.iter().flatten().filter(|_| !validate_only) {
        configs::warn_without_effect(ConfigTarget::Topic(""), &created.configs);
    }
    answers
}

/// Creates a topic whose configs name a plugin: proved first, then ordered, then in force.
async fn create_with_plugin(broker: &Arc<Broker>, topic: &Wanted, validate_only: bool, by: &str) -> Answer {
    let image = broker.metadata.image();
    let (_, would_be) = topic.decide(broker, &image)?;
    let prepared = prepare_topic(broker, &image, &topic.name, would_be.partitions, &would_be.configs).await?;
    if validate_only {
        return Ok(would_be);
    }
    let answers = create_all(broker, std::slice::from_ref(topic), false).await;
    let created = answers.into_iter().next().unwrap_or_else(|| Err(ErrorCode::UnknownServerError.into()))?;
    broker.plugins.install(prepared, by).await;
    configs::warn_of_compaction(broker, &image, &topic.name, &created.configs);
    Ok(created)
}

fn described(name: &str, answer: Answer, in_force: &InForce<'_>) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(topic_name(name));
    let created = match answer {
        Ok(created) => created,
        Err(error) => {
            return result
                .with_error_code(error.code.code())
                .with_error_message(Some(text(error.message)))
                .with_configs(None);
        }
    };
    let configs = configs::topic_entries(&created.configs, in_force).into_iter().map(|entry| {
        CreatableTopicConfigs::default()
            .with_name(text(entry.key.name))
            .with_value(entry.value.map(text))
            .with_read_only(entry.read_only)
            .with_config_source(entry.source as i8)
            .with_is_sensitive(entry.key.is_sensitive())
    });
    result
        .with_topic_id(created.id.0)
        .with_error_message(None)
        .with_num_partitions(created.partitions)
        .with_replication_factor(created.replication_factor)
        .with_configs(Some(configs.collect()))
}
