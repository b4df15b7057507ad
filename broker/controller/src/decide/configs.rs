//! Configs of topics, brokers and groups, changed one by one (IncrementalAlterConfigs) or all at once (AlterConfigs). A
//! resource's configs change together or not at all, and what results is validated as a whole. The order of the
//! checks is that of Kafka's ConfigurationControlManager; which keys and values there are is the broker's to say.

use std::collections::BTreeMap;

use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::BrokerId;

use super::{Decision, refuse};
use crate::bounds::{
    CONFIG_NAME_BYTES_MAX, CONFIG_VALUE_BYTES_MAX, CONFIGS_MAX, CONFIGURED_GROUPS_MAX, GROUP_NAME_BYTES_MAX,
};
use crate::image::{Configs, Image};
use crate::record::{ConfigOwner, ConfigRecord, GroupConfigRecord, Record};

/// Whose configs a request changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigTarget<'a> {
    Topic(&'a str),
    Broker(BrokerId),
    AllBrokers,
    /// A group of consumers, whether it exists or not.
    Group(&'a str),
}

/// Which configs there are and what they may be: the list of keys, with this broker's own defaults.
pub trait ConfigRules: Send + Sync {
    /// Refuses what a resource would have after a change. `before` tells what was there already. Errors with
    /// INVALID_CONFIG, or INVALID_REQUEST for a broker's config that cannot change while it runs.
    fn validate(&self, target: ConfigTarget<'_>, before: &Configs, after: &Configs)
    -> Result<(), KafkaError>;

    /// The default of a list config, empty for none; `None` for any other config.
    fn list_default(&self, target: ConfigTarget<'_>, name: &str) -> Option<String>;
}

/// What happens to one config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Set,
    /// Back to the default; the value is not read.
    Delete,
    /// More members of a list.
    Append,
    /// Fewer members of a list.
    Subtract,
}

impl Operation {
    /// The operation that IncrementalAlterConfigs writes as `id`.
    pub fn from_id(id: i8) -> Option<Operation> {
        match id {
            0 => Some(Operation::Set),
            1 => Some(Operation::Delete),
            2 => Some(Operation::Append),
            3 => Some(Operation::Subtract),
            _ => None,
        }
    }
}

/// One config of a request.
#[derive(Clone, Copy, Debug)]
pub struct ConfigChange<'a> {
    pub name: &'a str,
    pub value: Option<&'a str>,
    pub operation: Operation,
}

/// Changes the named configs of a resource and leaves the others. Answers all that the resource has afterwards.
/// Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST, INVALID_CONFIG.
pub fn alter_configs(
    image: &Image,
    rules: &dyn ConfigRules,
    target: ConfigTarget<'_>,
    changes: &[ConfigChange<'_>],
) -> Decision<Configs> {
    let (found, before) = current(image, target);
    let after = changed(rules, target, &before, changes)?;
    Ok((found?.records(&before, after.clone()), after))
}

/// Sets the named configs of a resource and removes all others. Answers what the resource has afterwards.
/// Errors: as [`alter_configs`].
pub fn replace_configs(
    image: &Image,
    rules: &dyn ConfigRules,
    target: ConfigTarget<'_>,
    configs: &[(&str, Option<&str>)],
) -> Decision<Configs> {
    let (found, before) = current(image, target);
    let changes: Vec<_> = configs
        .iter()
        .map(|(name, value)| ConfigChange { name, value: *value, operation: Operation::Set })
        .collect();
    let after = changed(rules, target, &before, &replaced(&before, &changes))?;
    Ok((found?.records(&before, after.clone()), after))
}

/// The changes that also delete what they do not name.
fn replaced<'a>(before: &'a Configs, changes: &[ConfigChange<'a>]) -> Vec<ConfigChange<'a>> {
    let unnamed = before.keys().filter(|name| !changes.iter().any(|change| change.name == *name));
    let deleted = unnamed.map(|name| ConfigChange { name, value: None, operation: Operation::Delete });
    changes.iter().copied().chain(deleted).collect()
}

/// A target that is there, and whose configs can be recorded.
enum Found<'a> {
    Owner(ConfigOwner),
    Group(&'a str),
}

impl Found<'_> {
    /// The record that leads from one set of configs to another; none where they are equal.
    fn records(&self, before: &Configs, after: Configs) -> Vec<Record> {
        match self {
            Found::Owner(owner) => change_records(*owner, before, after),
            Found::Group(group) => {
                let changes = differences(before, after);
                let record = GroupConfigRecord { group: (*group).to_owned(), changes };
                if record.changes.is_empty() { Vec::new() } else { vec![Record::GroupConfig(record)] }
            }
        }
    }
}

/// Whose configs a change is of, and what they are. As in Kafka, what is wrong with the change itself is told before
/// that there is nobody to change.
fn current<'a>(image: &Image, target: ConfigTarget<'a>) -> (Result<Found<'a>, KafkaError>, Configs) {
    let found = match target {
        ConfigTarget::Topic(name) => match image.topic(name) {
            Some(topic) => Ok(Found::Owner(ConfigOwner::Topic(topic.id))),
            None => refuse(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{name}'")),
        },
        ConfigTarget::Broker(id) if image.broker(id).is_none() => {
            refuse(ErrorCode::InvalidRequest, format!("broker {id} is not registered"))
        }
        ConfigTarget::Broker(id) => Ok(Found::Owner(ConfigOwner::Broker(id))),
        ConfigTarget::AllBrokers => Ok(Found::Owner(ConfigOwner::AllBrokers)),
        ConfigTarget::Group(name) => check_group(image, name).map(|()| Found::Group(name)),
    };
    let configs = match &found {
        Ok(Found::Owner(owner)) => image.configs(*owner),
        Ok(Found::Group(name)) => image.group_configs(name),
        Err(_) => None,
    };
    let configs = configs.map(|configs| (**configs).clone()).unwrap_or_default();
    (found, configs)
}

/// Refuses a group without a name, and one too many.
fn check_group(image: &Image, name: &str) -> Result<(), KafkaError> {
    if name.is_empty() {
        return refuse(
            ErrorCode::InvalidRequest,
            "configs for all groups at once do not exist: name one".to_owned(),
        );
    }
    if name.len() > GROUP_NAME_BYTES_MAX {
        return refuse(
            ErrorCode::InvalidRequest,
            format!("a group's name of {} bytes is above {GROUP_NAME_BYTES_MAX}", name.len()),
        );
    }
    if image.group_configs(name).is_none() && image.configured_group_count() >= CONFIGURED_GROUPS_MAX {
        let message =
            format!("{CONFIGURED_GROUPS_MAX} groups have configs, which is the most: delete those of some");
        return refuse(ErrorCode::PolicyViolation, message);
    }
    Ok(())
}

/// `before` with the changes made, validated as a whole.
pub(super) fn changed(
    rules: &dyn ConfigRules,
    target: ConfigTarget<'_>,
    before: &Configs,
    changes: &[ConfigChange<'_>],
) -> Result<Configs, KafkaError> {
    let mut after = before.clone();
    for (at, change) in changes.iter().enumerate() {
        if changes[..at].iter().any(|earlier| earlier.name == change.name) {
            return refuse(
                ErrorCode::InvalidRequest,
                format!("config {} is named twice; name each once", change.name),
            );
        }
        check_size(change)?;
        match (change.operation, change.value) {
            (Operation::Delete, _) => {
                after.remove(change.name);
            }
            (_, None) => {
                return refuse(
                    ErrorCode::InvalidRequest,
                    format!("config {} has no value; delete it for the default", change.name),
                );
            }
            (Operation::Set, Some(value)) => {
                after.insert(change.name.to_owned(), value.to_owned());
            }
            (Operation::Append | Operation::Subtract, Some(value)) => {
                let list = changed_list(rules, target, &after, change, value)?;
                after.insert(change.name.to_owned(), list);
            }
        }
    }
    if after.len() > CONFIGS_MAX {
        return refuse(
            ErrorCode::InvalidConfig,
            format!("{} configs are more than the {CONFIGS_MAX} that one resource can have", after.len()),
        );
    }
    rules.validate(target, before, &after)?;
    Ok(after)
}

fn check_size(change: &ConfigChange<'_>) -> Result<(), KafkaError> {
    let value_bytes = change.value.map_or(0, str::len);
    if change.name.len() > CONFIG_NAME_BYTES_MAX || value_bytes > CONFIG_VALUE_BYTES_MAX {
        let name: String = change.name.chars().take(64).collect();
        return refuse(
            ErrorCode::InvalidConfig,
            format!(
                "config {name} has a name of {} and a value of {value_bytes} bytes; {CONFIG_NAME_BYTES_MAX} and \
                 {CONFIG_VALUE_BYTES_MAX} are the most",
                change.name.len()
            ),
        );
    }
    Ok(())
}

/// A list config with members added or taken away; an unset one starts from its default.
fn changed_list(
    rules: &dyn ConfigRules,
    target: ConfigTarget<'_>,
    configs: &Configs,
    change: &ConfigChange<'_>,
    value: &str,
) -> Result<String, KafkaError> {
    let Some(default) = rules.list_default(target, change.name) else {
        return refuse(
            ErrorCode::InvalidConfig,
            format!("config {} is not a list, so it cannot be appended to or subtracted from", change.name),
        );
    };
    let now = configs.get(change.name).unwrap_or(&default);
    let mut members: Vec<&str> = now.split(',').map(str::trim).filter(|member| !member.is_empty()).collect();
    for member in value.split(',').map(str::trim).filter(|member| !member.is_empty()) {
        if change.operation == Operation::Subtract {
            members.retain(|m| *m != member);
        } else if !members.contains(&member) {
            members.push(member);
        }
    }
    Ok(members.join(","))
}

/// The record that leads from one set of configs to another; none where they are equal.
pub(super) fn change_records(owner: ConfigOwner, before: &Configs, after: Configs) -> Vec<Record> {
    let changes = differences(before, after);
    if changes.is_empty() {
        return Vec::new();
    }
    vec![Record::Config(ConfigRecord { owner, changes })]
}

fn differences(before: &Configs, after: Configs) -> BTreeMap<String, Option<String>> {
    let mut changes: BTreeMap<String, Option<String>> =
        before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.clone(), None)).collect();
    for (name, value) in after {
        if before.get(&name) != Some(&value) {
            changes.insert(name, Some(value));
        }
    }
    changes
}
