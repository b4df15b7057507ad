//! Finds a key, or the nearest known one, and judges a value. Whoever takes a config from a file, a command line or a
//! request asks here first, and passes the sentence on.

use super::key::{Check, Key, Status, Type};
use super::keys;
use crate::error::{ErrorCode, KafkaError};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Whose configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Broker,
    Topic,
    Group,
}

impl Scope {
    fn word(self) -> &'static str {
        match self {
            Scope::Broker => "broker",
            Scope::Topic => "topic",
            Scope::Group => "group",
        }
    }

    /// Every key of this scope: Kafka's in the order of its areas, then Ottla's.
    pub fn keys(self) -> impl Iterator<Item = &'static Key> {
        let tables: &[&[Key]] = match self {
            Scope::Broker => keys::BROKER,
            Scope::Topic => keys::TOPIC,
            Scope::Group => keys::GROUP,
        };
        tables.iter().flat_map(|table| table.iter())
    }
}

/// Why a config is not accepted; the text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("unknown {scope} config {name}{}", nearest.map_or_else(String::new, |n| format!("; did you mean {n}?")))]
    Unknown { scope: &'static str, name: String, nearest: Option<&'static str> },
    #[error("{key}={value} is not possible: it must be {expected}")]
    Invalid { key: &'static str, value: String, expected: String },
    #[error("{key}={value} is refused: {reason}")]
    Refused { key: &'static str, value: String, reason: String },
}

impl From<ConfigError> for KafkaError {
    fn from(error: ConfigError) -> Self {
        KafkaError::new(ErrorCode::InvalidConfig, error.to_string())
    }
}

type ByName = HashMap<&'static str, &'static Key>;

/// The key of that name.
pub fn find(scope: Scope, name: &str) -> Option<&'static Key> {
    static BY_NAME: LazyLock<[ByName; 3]> = LazyLock::new(|| {
        [Scope::Broker, Scope::Topic, Scope::Group]
            .map(|scope| scope.keys().map(|key| (key.name, key)).collect())
    });
    BY_NAME[scope as usize].get(name).copied()
}

/// The key of that name if `value` is one that it takes.
///
/// # Errors
/// An unknown key, with the nearest known one; a value of the wrong type or range; what is not built.
pub fn validate(scope: Scope, name: &str, value: &str) -> Result<&'static Key, ConfigError> {
    let key = find(scope, name).ok_or_else(|| unknown(scope, name))?;
    judge(key, value)?;
    Ok(key)
}

/// The error for a key that does not exist.
pub fn unknown(scope: Scope, name: &str) -> ConfigError {
    ConfigError::Unknown { scope: scope.word(), name: shown(name), nearest: nearest(scope, name) }
}

/// Names and values longer than this are cut in messages.
const SHOWN_CHARS_MAX: usize = 100;

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn judge(key: &'static Key, value: &str) -> Result<(), ConfigError> {
    let shown_value = || if key.is_sensitive() { "[hidden]".to_owned() } else { shown(value) };
    if key.status == Status::Refused && key.default.unwrap_or_default() != value.trim() {
        let default = key.default.filter(|default| !default.is_empty());
        let remedy = default
            .map_or_else(|| "leave it out".to_owned(), |default| format!("leave it out or at {default}"));
        let reason = format!("this is not built; {remedy}");
        return Err(ConfigError::Refused { key: key.name, value: shown_value(), reason });
    }
    is_accepted(key, value.trim()).map_err(|expected| ConfigError::Invalid {
        key: key.name,
        value: shown_value(),
        expected,
    })
}

fn is_accepted(key: &Key, value: &str) -> Result<(), String> {
    let number = match key.kind {
        Type::Boolean => matches!(value.to_ascii_lowercase().as_str(), "true" | "false").then_some(None),
        Type::Int => value.parse::<i32>().ok().map(|number| Some(i64::from(number))),
        Type::Short => value.parse::<i16>().ok().map(|number| Some(i64::from(number))),
        Type::Long => value.parse::<i64>().ok().map(Some),
        Type::Double => value.parse::<f64>().ok().filter(|number| number.is_finite()).map(|_| None),
        Type::String | Type::List | Type::Class | Type::Password => Some(None),
    };
    let Some(number) = number else { return Err(key.expected()) };
    let in_range = |least: i64, most: i64| number.is_none_or(|number| (least..=most).contains(&number));
    let is_fine = match key.check {
        Check::Any => true,
        Check::AtLeast(least) => in_range(least, i64::MAX),
        Check::Between(least, most) => in_range(least, most),
        Check::Share => value.parse::<f64>().is_ok_and(|share| (0.0..=1.0).contains(&share)),
        Check::NonEmpty => !value.is_empty(),
        Check::OneOf(values) => values.contains(&value),
        // No item at all is a list; an empty item is a slip.
        Check::ManyOf(values) => {
            value.is_empty() || value.split(',').all(|item| values.contains(&item.trim()))
        }
        Check::Custom(judge) => return judge(value),
    };
    if is_fine { Ok(()) } else { Err(key.expected()) }
}

/// A name further away than a third of its length is no misspelling of it.
fn nearest(scope: Scope, name: &str) -> Option<&'static str> {
    let name = shown(name);
    let edits_max = name.chars().count().max(3) / 3;
    let close = scope.keys().filter_map(|key| Some((distance(&name, key.name, edits_max)?, key.name)));
    close.min().map(|(_, name)| name)
}

/// Edits that turn one text into the other (Levenshtein); `None` beyond `edits_max`, which costs little to find out: one
/// request can name thousands of keys that do not exist.
fn distance(left: &str, right: &str, edits_max: usize) -> Option<usize> {
    if left.chars().count().abs_diff(right.chars().count()) > edits_max {
        return None;
    }
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, left) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        let mut least = row[0];
        for (column, right) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
            least = least.min(row[column + 1]);
        }
        if least > edits_max {
            return None;
        }
    }
    Some(row[right.len()]).filter(|edits| *edits <= edits_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_key_stands_once_and_takes_its_own_default() {
        for scope in [Scope::Broker, Scope::Topic, Scope::Group] {
            let mut seen = HashSet::new();
            for key in scope.keys() {
                assert!(seen.insert(key.name), "{} stands twice", key.name);
                assert!(key.doc.ends_with('.'), "{}", key.name);
                let Some(default) = key.default else { continue };
                let accepted = judge(key, default);
                assert_eq!(accepted, Ok(()), "{}", key.name);
            }
        }
        assert!(Scope::Broker.keys().count() >= 343 && Scope::Topic.keys().count() >= 33);
    }

    #[test]
    fn a_topics_default_is_a_brokers_key_of_the_same_type() {
        for key in Scope::Topic.keys() {
            let Some(name) = key.broker_default else { continue };
            let broker = find(Scope::Broker, name).unwrap_or_else(|| panic!("{name} does not exist"));
            assert_eq!(broker.kind, key.kind, "{}", key.name);
            assert_eq!(broker.status, key.status, "{}", key.name);
        }
        for key in Scope::Group.keys() {
            let Some(name) = key.broker_default else { continue };
            let broker = find(Scope::Broker, name).unwrap_or_else(|| panic!("{name} does not exist"));
            assert_eq!((broker.kind, broker.default), (key.kind, key.default), "{}", key.name);
        }
    }

    #[test]
    fn what_groups_may_be_is_judged() {
        let protocols = "group.coordinator.rebalance.protocols";
        let (assignors, policy) = ("group.consumer.assignors", "group.consumer.migration.policy");
        for (name, value) in [
            (protocols, "classic"),
            (protocols, "consumer, classic"),
            (assignors, "range"),
            (assignors, "range,uniform"),
            (policy, "Upgrade"),
        ] {
            assert!(validate(Scope::Broker, name, value).is_ok(), "{name}={value}");
        }
        for (scope, name, value, part) in [
            (Scope::Broker, protocols, "", "classic"),
            (Scope::Broker, protocols, "consumer", "classic"),
            (Scope::Broker, protocols, "classic,consumer,streams", "streams and share groups are not built"),
            (Scope::Broker, protocols, "classic,share", "streams and share groups are not built"),
            (Scope::Broker, assignors, "", "uniform"),
            (Scope::Broker, assignors, "range,range", "uniform"),
            (Scope::Broker, assignors, "org.example.Mine", "not built"),
            (Scope::Broker, policy, "both", "bidirectional"),
            (Scope::Broker, "offsets.topic.compression.codec", "5", "from 0 to 4"),
            (Scope::Group, "consumer.session.timeout.ms", "0", "at least 1"),
            (Scope::Group, "consumer.session.timeout", "1", "did you mean consumer.session.timeout.ms"),
            (Scope::Group, "share.auto.offset.reset", "earliest", "not built"),
            (Scope::Group, "streams.num.standby.replicas", "1", "not built"),
        ] {
            let error = validate(scope, name, value).expect_err(name).to_string();
            assert!(error.contains(part) && error.contains(name), "{error}");
        }
    }

    #[test]
    fn values_are_judged() {
        for (name, value) in [
            ("retention.ms", "-1"),
            ("retention.ms", " 5 "),
            ("cleanup.policy", "delete"),
            ("cleanup.policy", "compact, delete"),
            ("cleanup.policy", ""),
            ("leader.replication.throttled.replicas", "*"),
            ("follower.replication.throttled.replicas", "0:1, 12:3"),
            ("message.timestamp.type", "LogAppendTime"),
            ("preallocate", "FALSE"),
            ("remote.storage.enable", "false"),
            ("min.cleanable.dirty.ratio", "0.25"),
            ("compression.gzip.level", "-1"),
        ] {
            assert!(validate(Scope::Topic, name, value).is_ok(), "{name}={value}");
        }
        for (name, value, part) in [
            ("retention.ms", "-2", "at least -1"),
            ("retention.ms", "soon", "64 bits"),
            ("max.message.bytes", "3000000000", "32 bits"),
            ("segment.bytes", "", "32 bits"),
            ("cleanup.policy", "compress", "a list of delete, compact"),
            ("cleanup.policy", "delete,", "a list of delete, compact"),
            ("leader.replication.throttled.replicas", "x", "PARTITION:BROKER"),
            ("follower.replication.throttled.replicas", "0:1,*", "PARTITION:BROKER"),
            ("message.timestamp.type", "createtime", "CreateTime, LogAppendTime"),
            ("preallocate", "yes", "true or false"),
            ("remote.storage.enable", "true", "not built"),
            ("min.cleanable.dirty.ratio", "1.5", "from 0 to 1"),
            ("min.cleanable.dirty.ratio", "NaN", "decimal"),
            ("compression.gzip.level", "0", "1 to 9"),
            ("retention", "5", "unknown topic config"),
        ] {
            let error = validate(Scope::Topic, name, value).expect_err(name).to_string();
            assert!(error.contains(part) && error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_misspelt_key_is_told_the_right_one() {
        for (wrong, right) in [
            ("retention.mss", Some("retention.ms")),
            ("rentention.ms", Some("retention.ms")),
            ("max.messages.bytes", Some("max.message.bytes")),
            ("ottla.partitoner", Some("ottla.partitioner")),
            ("x", None),
            ("something.else.entirely", None),
            (&"ä".repeat(1000), None),
        ] {
            assert_eq!(nearest(Scope::Topic, wrong), right, "{wrong}");
        }
    }

    #[test]
    fn a_secret_does_not_show_in_an_error() {
        let error =
            validate(Scope::Broker, "ssl.key.password", "hunter2").expect_err("not built").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
