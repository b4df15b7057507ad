//! The topic configs of a plugin, read and checked. Config requests and the follower of cluster metadata
//! read them here, so a value that was accepted once is accepted after a restart too.

use std::fmt;
use std::str::FromStr;

use ottla_model::error::{ErrorCode, KafkaError};
use serde::Serialize;

pub use super::role::TopicConfigs;
use super::role::{Keys, Role};
use super::version::{Reference, shown};

pub const PARTITIONER: &str = "ottla.partitioner";
pub const CONFIG: &str = "ottla.partitioner.config";
pub const MODE: &str = "ottla.partitioner.mode";
pub const ON_ERROR: &str = "ottla.partitioner.on.error";

/// A plugin's config is at most this long: it goes into each metadata record of a switch.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// What becomes of the plugin's decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Records go where the plugin says.
    #[default]
    Assign,
    /// A batch with a record that its client placed elsewhere is refused.
    Enforce,
    /// Nothing is placed; what the plugin would have placed elsewhere is counted.
    Observe,
}

/// What becomes of a batch on which the plugin failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The client gets an error.
    #[default]
    Reject,
    /// The native partitioner decides: murmur2 for keyed records, others stay.
    Builtin,
    /// The batch stays where the client put it.
    Pass,
}

impl FromStr for Mode {
    type Err = KafkaError;
    fn from_str(text: &str) -> Result<Mode, KafkaError> {
        match text {
            "assign" => Ok(Mode::Assign),
            "enforce" => Ok(Mode::Enforce),
            "observe" => Ok(Mode::Observe),
            _ => Err(invalid(format!("{MODE}={}: give assign, enforce or observe", shown(text)))),
        }
    }
}

impl FromStr for OnError {
    type Err = KafkaError;
    fn from_str(text: &str) -> Result<OnError, KafkaError> {
        match text {
            "reject" => Ok(OnError::Reject),
            "builtin" => Ok(OnError::Builtin),
            "pass" => Ok(OnError::Pass),
            _ => Err(invalid(format!("{ON_ERROR}={}: give reject, builtin or pass", shown(text)))),
        }
    }
}

impl fmt::Display for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OnError::Reject => "reject",
            OnError::Builtin => "builtin",
            OnError::Pass => "pass",
        })
    }
}

/// What a topic asks for in one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings<O = Placing> {
    pub reference: Reference,
    /// JSON text; `{}` where none is set.
    pub config: String,
    /// What is the role's own.
    pub options: O,
}

/// What a topic asks of a partitioner beside the plugin and its config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placing {
    pub mode: Mode,
    pub on_error: OnError,
}

impl Placing {
    pub(super) fn read(configs: &TopicConfigs) -> Result<Placing, KafkaError> {
        let mode = given(configs, MODE).map(str::parse).transpose()?.unwrap_or_default();
        let on_error = given(configs, ON_ERROR).map(str::parse).transpose()?.unwrap_or_default();
        Ok(Placing { mode, on_error })
    }
}

/// The settings of a role.
pub type SettingsOf<R> = Settings<<R as Role>::Options>;

/// A config that is set and not empty.
pub(super) fn given<'a>(configs: &'a TopicConfigs, key: &str) -> Option<&'a str> {
    configs.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// Reads a topic's configs of one role. None where its plugin is not set or empty; the others are checked all the same,
/// for they may be set before it.
///
/// # Errors
/// INVALID_CONFIG with the key, the value and what it may be.
pub fn read<R: Role>(configs: &TopicConfigs) -> Result<Option<SettingsOf<R>>, KafkaError> {
    let Keys { plugin, config: key } = R::KEYS;
    let config = given(configs, key).unwrap_or("{}");
    if config.len() > CONFIG_BYTES_MAX {
        return Err(invalid(format!("{key} has {} bytes, and {CONFIG_BYTES_MAX} are allowed", config.len())));
    }
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(config) {
        return Err(invalid(format!("{key}={} is not JSON: {error}", shown(config))));
    }
    let options = R::options(configs)?;
    let Some(reference) = given(configs, plugin) else { return Ok(None) };
    let reference = Reference::parse(reference).map_err(|reason| invalid(format!("{plugin}: {reason}")))?;
    Ok(Some(Settings { reference, config: config.to_owned(), options }))
}

impl<O: Default> Settings<O> {
    /// Stands for configs that cannot be read: nothing serves them, and the role's `on.error` applies.
    pub(super) fn unreadable() -> Settings<O> {
        let reference = Reference { name: "unreadable".to_owned(), version: None };
        Settings { reference, config: "{}".to_owned(), options: O::default() }
    }
}

pub(super) fn invalid(message: String) -> KafkaError {
    KafkaError::new(ErrorCode::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use super::super::attachment::Partitioning;
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Settings>, KafkaError> {
        super::read::<Partitioning>(
            &pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        )
    }

    #[test]
    fn defaults_hold_where_nothing_is_set() {
        let settings = read(&[(PARTITIONER, "key-hash")]).unwrap().unwrap();
        assert_eq!(settings.reference, Reference { name: "key-hash".into(), version: None });
        assert_eq!(
            (settings.config.as_str(), settings.options.mode, settings.options.on_error),
            ("{}", Mode::Assign, OnError::Reject)
        );
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[(PARTITIONER, " "), (MODE, "enforce")]), Ok(None));
    }

    #[test]
    fn a_wrong_value_is_named_with_what_it_may_be() {
        let long = format!("\"{}\"", "x".repeat(CONFIG_BYTES_MAX));
        for (key, value, part) in [
            (MODE, "Assign", "assign, enforce or observe"),
            (ON_ERROR, "dead-letter", "reject, builtin or pass"),
            (CONFIG, "{share:0.8}", "is not JSON"),
            (CONFIG, &long, "65536 are allowed"),
            (PARTITIONER, "key-hash@latest", "three numbers"),
            (PARTITIONER, "Key Hash", "lower case"),
        ] {
            for with_plugin in [false, true] {
                let mut pairs = vec![(key, value)];
                if with_plugin && key != PARTITIONER {
                    pairs.push((PARTITIONER, "key-hash"));
                }
                let error = read(&pairs).unwrap_err();
                assert_eq!(error.code, ErrorCode::InvalidConfig);
                assert!(error.message.contains(key) && error.message.contains(part), "{}", error.message);
            }
        }
    }
}
