//! DeleteTopics: by name, and from version 6 on by id. Called by the router; decides on the metadata image. The
//! partitions' files go once the registry of partitions has seen the new image.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_controller::decide::{self, Decision};
use ottla_controller::{Image, Record};
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::TopicId;

use super::view::{text, topic_name};
use crate::broker::Broker;
use crate::configs::{InForce, check_distinct};
use crate::dispatch::RequestContext;

/// From this version on a broker that deletes nothing has an error of its own.
const DELETION_ERROR: i16 = 3;
/// From this version on topics are named by name or id, one each.
const BY_ID: i16 = 6;

/// A topic as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Named {
    name: Option<String>,
    id: TopicId,
}

/// What is told of one topic: its name and id as far as they are known, and the error.
type Answer = (Named, Result<(), KafkaError>);

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let named = named(&request, context.api_version);
    let image = broker.metadata.image();
    let in_force = InForce::new(&image, broker.config.node_id, &broker.config.given);
    let answers = if in_force.layers().is_true("delete.topic.enable") {
        let done = broker.metadata.change(|image| delete_all(image, &named)).await;
        done.unwrap_or_else(|error| named.iter().map(|topic| (topic.clone(), Err(error.clone()))).collect())
    } else {
        let code = match context.api_version >= DELETION_ERROR {
            true => ErrorCode::TopicDeletionDisabled,
            false => ErrorCode::InvalidRequest,
        };
        let error = KafkaError::new(code, "delete.topic.enable is false on this broker");
        named.iter().map(|topic| (topic.clone(), Err(error.clone()))).collect()
    };
    if answers.iter().any(|(_, answer)| answer.is_ok()) {
        broker.partitions.caught_up().await;
    }
    let responses = answers.into_iter().map(|(topic, answer)| described(topic, answer, context.api_version));
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

fn named(request: &DeleteTopicsRequest, version: i16) -> Vec<Named> {
    if version < BY_ID {
        let by_name = |name: &kafka_protocol::messages::TopicName| Named {
            name: Some(name.to_string()),
            id: TopicId::ZERO,
        };
        return request.topic_names.iter().map(by_name).collect();
    }
    let topics = request.topics.iter();
    topics
        .map(|topic| Named {
            name: topic.name.as_ref().map(|name| name.to_string()),
            id: TopicId(topic.topic_id),
        })
        .collect()
}

/// Deletes what can be deleted; each topic has an answer of its own.
fn delete_all(image: &Image, named: &[Named]) -> Decision<Vec<Answer>> {
    let twice = check_distinct(named.iter().cloned());
    let (again, covered) = named_both_ways(image, named);
    let mut image = image.clone();
    let mut records: Vec<Record> = Vec::new();
    let mut answers: Vec<Answer> = Vec::new();
    for topic in named {
        if twice.contains(topic) {
            if !answers.iter().any(|(answered, _)| answered == topic) {
                let error = KafkaError::new(ErrorCode::InvalidRequest, "the request names this topic twice");
                answers.push((topic.clone(), Err(error)));
            }
            continue;
        }
        if covered.contains(&topic.id) && topic.name.is_none() {
            continue;
        }
        if let Some(id) = again.get(topic) {
            let error =
                KafkaError::new(ErrorCode::InvalidRequest, "the request also names this topic by its id");
            answers.push((Named { id: *id, ..topic.clone() }, Err(error)));
            continue;
        }
        match delete(&image, topic) {
            Ok((more, known)) => {
                let applied = image.apply(&more);
                image = applied
                    .map_err(|error| KafkaError::new(ErrorCode::UnknownServerError, error.to_string()))?;
                records.extend(more);
                answers.push((known, Ok(())));
            }
            Err(error) => answers.push((topic.clone(), Err(error))),
        }
    }
    Ok((records, answers))
}

/// The topics that a request names once by name and once by id: as they are named by name with their id, and the ids.
/// Kafka deletes none of them, and answers the name only.
fn named_both_ways<'a>(image: &Image, named: &'a [Named]) -> (HashMap<&'a Named, TopicId>, HashSet<TopicId>) {
    let ids: HashSet<TopicId> =
        named.iter().filter(|topic| topic.name.is_none()).map(|topic| topic.id).collect();
    let by_name = named.iter().filter(|topic| topic.id.is_zero());
    let again: HashMap<&Named, TopicId> = by_name
        .filter_map(|topic| Some((topic, image.topic(topic.name.as_ref()?)?.id)))
        .filter(|(_, id)| ids.contains(id))
        .collect();
    let covered = again.values().copied().collect();
    (again, covered)
}

fn delete(image: &Image, topic: &Named) -> Decision<Named> {
    let refuse = |code, message: String| Err(KafkaError::new(code, message));
    let id = match (&topic.name, topic.id) {
        (Some(_), id) if !id.is_zero() => {
            return refuse(
                ErrorCode::InvalidRequest,
                "a topic is named by its name or its id, not both".to_owned(),
            );
        }
        (None, id) if id.is_zero() => {
            return refuse(
                ErrorCode::InvalidRequest,
                "the request names neither a topic nor an id".to_owned(),
            );
        }
        (None, id) => id,
        (Some(name), _) => match image.topic(name) {
            Some(topic) => topic.id,
            None => {
                return refuse(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{name}'"));
            }
        },
    };
    let (records, name) = decide::delete_topic(image, id)?;
    Ok((records, Named { name: Some(name), id }))
}

fn described(topic: Named, answer: Result<(), KafkaError>, version: i16) -> DeletableTopicResult {
    // Before version 6 a name is never null.
    let name = match topic.name {
        None if version >= BY_ID => None,
        name => Some(topic_name(&name.unwrap_or_default())),
    };
    let result = DeletableTopicResult::default().with_name(name).with_topic_id(topic.id.0);
    match answer {
        Ok(()) => result.with_error_message(None),
        Err(error) => result.with_error_code(error.code.code()).with_error_message(Some(text(error.message))),
    }
}
