//! What configs may be set, by the one list of keys. The controller's decisions ask here with what a resource would
//! have afterwards; what was accepted before is not judged again.

use ottla_controller::decide::{ConfigRules, ConfigTarget};
use ottla_controller::image::Configs;
use ottla_model::config::key::{Type, Update};
use ottla_model::config::{Layers, Scope, find, lookup, validate, value_over};
use ottla_model::error::{ErrorCode, KafkaError};

use super::{InForce, group_bounds};

/// The list of keys, over the values of this broker.
pub struct Rules<'a> {
    broker: Layers<'a>,
}

impl<'a> Rules<'a> {
    pub fn new(in_force: &InForce<'a>) -> Rules<'a> {
        Rules { broker: in_force.layers() }
    }
}

impl ConfigRules for Rules<'_> {
    fn validate(
        &self,
        target: ConfigTarget<'_>,
        before: &Configs,
        after: &Configs,
    ) -> Result<(), KafkaError> {
        for (name, value) in after {
            if before.get(name) == Some(value) {
                continue;
            }
            match target {
                ConfigTarget::Topic(_) => {
                    validate(Scope::Topic, name, value)?;
                }
                ConfigTarget::Group(_) => {
                    validate(Scope::Group, name, value)?;
                }
                ConfigTarget::Broker(_) | ConfigTarget::AllBrokers => validate_broker(target, name, value)?,
            }
        }
        match target {
            ConfigTarget::Group(_) => group_bounds::check(&self.broker, after),
            _ => Ok(()),
        }
    }

    fn list_default(&self, target: ConfigTarget<'_>, name: &str) -> Option<String> {
        let scope = scope_of(target);
        let key = find(scope, name)?;
        if key.kind != Type::List {
            return None;
        }
        let value = match scope {
            Scope::Broker => self.broker.value(name),
            scope => value_over(scope, &Configs::new(), &self.broker, name),
        };
        Some(value.unwrap_or_default())
    }
}

/// Whose keys a target has.
pub fn scope_of(target: ConfigTarget<'_>) -> Scope {
    match target {
        ConfigTarget::Topic(_) => Scope::Topic,
        ConfigTarget::Group(_) => Scope::Group,
        ConfigTarget::Broker(_) | ConfigTarget::AllBrokers => Scope::Broker,
    }
}

/// Whatever is wrong with a broker's config is an INVALID_REQUEST, as in Kafka.
fn validate_broker(target: ConfigTarget<'_>, name: &str, value: &str) -> Result<(), KafkaError> {
    let refuse = |message: String| Err(KafkaError::new(ErrorCode::InvalidRequest, message));
    let Some(key) = find(Scope::Broker, name) else {
        return refuse(lookup::unknown(Scope::Broker, name).to_string());
    };
    match (key.update, target) {
        (Update::ReadOnly, _) => {
            return refuse(format!("{name} cannot change while the broker runs; set it at the next start"));
        }
        (Update::PerBroker, ConfigTarget::AllBrokers) => {
            return refuse(format!("{name} is a config of one broker; name the broker"));
        }
        _ => {}
    }
    match validate(Scope::Broker, name, value) {
        Ok(_) => Ok(()),
        Err(error) => refuse(error.to_string()),
    }
}
