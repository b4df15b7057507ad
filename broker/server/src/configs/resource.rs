//! Whose configs a request means: its resource type and name, checked. Kafka knows more types than this broker has
//! configs for; the others get the error that Kafka gives for a type that it does not know.

use std::collections::HashSet;
use std::hash::Hash;

use ottla_controller::decide::ConfigTarget;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::BrokerId;
use ottla_model::topic_name;

/// Kafka's numbers of the types.
pub mod types {
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
    pub const BROKER_LOGGER: i8 = 8;
    pub const CLIENT_METRICS: i8 = 16;
    pub const GROUP: i8 = 32;
}
use types::{BROKER, GROUP, TOPIC};

/// A resource whose configs this broker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Topic(&'a str),
    /// This broker.
    ThisBroker(BrokerId),
    AllBrokers,
    /// A group of consumers, which need not exist.
    Group(&'a str),
}

impl<'a> Resource<'a> {
    /// Errors: INVALID_REQUEST for a type without configs, another broker, or a group without a name;
    /// INVALID_TOPIC_EXCEPTION for a name that no topic can have.
    pub fn parse(resource_type: i8, name: &'a str, node_id: BrokerId) -> Result<Resource<'a>, KafkaError> {
        let refuse = |message: String| Err(KafkaError::new(ErrorCode::InvalidRequest, message));
        match resource_type {
            TOPIC => {
                topic_name::validate(name)?;
                Ok(Resource::Topic(name))
            }
            BROKER if name.is_empty() => Ok(Resource::AllBrokers),
            BROKER => match name.parse::<BrokerId>() {
                Ok(id) if id == node_id => Ok(Resource::ThisBroker(id)),
                Ok(id) => {
                    refuse(format!("this is broker {node_id}, ask broker {id} itself, or name none for all"))
                }
                Err(_) => {
                    refuse("a broker is named by its node.id, a number; or by nothing for all".to_owned())
                }
            },
            GROUP if name.is_empty() => {
                refuse("configs for all groups at once do not exist: name one".to_owned())
            }
            GROUP => Ok(Resource::Group(name)),
            other => refuse(format!(
                "resources of type {other} have no configs here; topics (2), brokers (4) and groups (32) have"
            )),
        }
    }

    /// As [`Resource::parse`], for a change: a topic without a name is an INVALID_REQUEST then, as in Kafka.
    pub fn parse_changed(
        resource_type: i8,
        name: &'a str,
        node_id: BrokerId,
    ) -> Result<Resource<'a>, KafkaError> {
        if resource_type == TOPIC && name.is_empty() {
            let message = "configs for all topics at once do not exist: name one";
            return Err(KafkaError::new(ErrorCode::InvalidRequest, message));
        }
        Resource::parse(resource_type, name, node_id)
    }

    pub fn target(self) -> ConfigTarget<'a> {
        match self {
            Resource::Topic(name) => ConfigTarget::Topic(name),
            Resource::ThisBroker(id) => ConfigTarget::Broker(id),
            Resource::AllBrokers => ConfigTarget::AllBrokers,
            Resource::Group(name) => ConfigTarget::Group(name),
        }
    }
}

/// The members of a list that stand in it more than once: Kafka refuses each of them.
pub fn check_distinct<T: Eq + Hash + Clone>(items: impl Iterator<Item = T>) -> HashSet<T> {
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for item in items {
        if !seen.insert(item.clone()) {
            twice.insert(item);
        }
    }
    twice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_parsed_or_refused_as_kafka_does() {
        use ErrorCode::{InvalidRequest, InvalidTopicException};
        let cases: &[(i8, &str, Result<Resource<'_>, ErrorCode>)] = &[
            (2, "orders", Ok(Resource::Topic("orders"))),
            (2, "", Err(InvalidTopicException)),
            (2, "a/b", Err(InvalidTopicException)),
            (4, "", Ok(Resource::AllBrokers)),
            (4, "1", Ok(Resource::ThisBroker(1))),
            (4, "2", Err(InvalidRequest)),
            (4, "one", Err(InvalidRequest)),
            (0, "x", Err(InvalidRequest)),
            (8, "1", Err(InvalidRequest)),
            (16, "metrics", Err(InvalidRequest)),
            (32, "group", Ok(Resource::Group("group"))),
            (32, "", Err(InvalidRequest)),
        ];
        for (resource_type, name, expected) in cases {
            let parsed = Resource::parse(*resource_type, name, 1).map_err(|error| error.code);
            assert_eq!(&parsed, expected, "{resource_type} {name}");
        }
        let nameless = Resource::parse_changed(2, "", 1).map_err(|error| error.code);
        assert_eq!(nameless, Err(InvalidRequest));
    }
}
