//! A topic's configs as numbers and choices: its own values over the broker's defaults. Whoever opens or changes a
//! partition makes storage's and replication's settings of it.

use super::layers::{Layers, Values};
use super::lookup::{Scope, find, validate};
use crate::batch::{Compression, TimestampType};
use std::str::FromStr;

/// What storage and replication need to know of a topic. Times are milliseconds, sizes bytes; `i64::MAX` of a time or a
/// count means never, -1 of a retention no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    pub segment_bytes: u32,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: u32,
    pub index_interval_bytes: u32,
    pub retention_ms: i64,
    pub retention_bytes: i64,
    pub cleanup_delete: bool,
    pub cleanup_compact: bool,
    pub delete_retention_ms: i64,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    /// Of a million.
    pub min_cleanable_dirty_ppm: u32,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    /// `ottla.flush` is `always`.
    pub flush_always: bool,
    pub max_message_bytes: usize,
    pub timestamp_type: TimestampType,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub min_insync_replicas: u32,
    /// None keeps the producer's; else the codec, with its level where it has one.
    pub compression: Option<(Compression, Option<i32>)>,
    pub lane_bytes: u64,
    /// A plugin decides what stays, so the topic's own retention deletes nothing.
    pub retention_plugin: bool,
    /// Nothing may be removed.
    pub hold: bool,
}

impl TopicConfig {
    /// Reads a topic's own values over `broker`'s. A value that is not possible, which no request accepts, counts as
    /// not given.
    pub fn read(topic: &Values, broker: &Layers<'_>) -> TopicConfig {
        let source = Source { topic, broker };
        TopicConfig {
            segment_bytes: source.number("segment.bytes"),
            segment_ms: source.number("segment.ms"),
            segment_jitter_ms: source.number("segment.jitter.ms"),
            segment_index_bytes: source.number("segment.index.bytes"),
            index_interval_bytes: source.number("index.interval.bytes"),
            retention_ms: source.number("retention.ms"),
            retention_bytes: source.number("retention.bytes"),
            cleanup_delete: source.has_item("cleanup.policy", "delete"),
            cleanup_compact: source.has_item("cleanup.policy", "compact"),
            delete_retention_ms: source.number("delete.retention.ms"),
            min_compaction_lag_ms: source.number("min.compaction.lag.ms"),
            max_compaction_lag_ms: source.number("max.compaction.lag.ms"),
            min_cleanable_dirty_ppm: source.millionths("min.cleanable.dirty.ratio"),
            file_delete_delay_ms: source.number("file.delete.delay.ms"),
            flush_messages: source.number("flush.messages"),
            flush_ms: source.number("flush.ms"),
            flush_always: source.has_item("ottla.flush", "always"),
            max_message_bytes: source.number("max.message.bytes"),
            timestamp_type: match source.value("message.timestamp.type").as_deref() {
                Some("LogAppendTime") => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: source.number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: source.number("message.timestamp.after.max.ms"),
            min_insync_replicas: source.number("min.insync.replicas"),
            compression: source.compression(),
            lane_bytes: source.number("ottla.lane.bytes"),
            retention_plugin: source.value("ottla.retention").is_some_and(|name| !name.is_empty()),
            hold: source.value("ottla.retention.hold").is_some_and(|held| held.eq_ignore_ascii_case("true")),
        }
    }

    /// The value of any topic key that is in force.
    pub fn value(topic: &Values, broker: &Layers<'_>, name: &str) -> Option<String> {
        value_over(Scope::Topic, topic, broker, name)
    }
}

/// The value in force of a key that a topic or a group may have for itself: its own, the broker's, or the default.
pub fn value_over(scope: Scope, own: &Values, broker: &Layers<'_>, name: &str) -> Option<String> {
    let given = own.get(name).filter(|value| validate(scope, name, value).is_ok());
    if let Some(given) = given {
        return Some(given.trim().to_owned());
    }
    let key = find(scope, name)?;
    let of_broker = key.broker_default.and_then(|name| broker.value(name));
    of_broker.or_else(|| key.default.map(str::to_owned)).map(|value| value.trim().to_owned())
}

struct Source<'a> {
    topic: &'a Values,
    broker: &'a Layers<'a>,
}

impl Source<'_> {
    fn value(&self, name: &str) -> Option<String> {
        value_over(Scope::Topic, self.topic, self.broker, name)
    }

    /// Every numeric key has a default that parses, which a test holds.
    fn number<T: FromStr + Default>(&self, name: &str) -> T {
        self.value(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// A share from 0 to 1.
    fn millionths(&self, name: &str) -> u32 {
        (self.number::<f64>(name).clamp(0.0, 1.0) * 1e6).round() as u32
    }

    fn has_item(&self, name: &str, item: &str) -> bool {
        self.value(name).is_some_and(|value| super::list::items(&value).any(|given| given == item))
    }

    fn compression(&self) -> Option<(Compression, Option<i32>)> {
        match self.value("compression.type")?.as_str() {
            "uncompressed" => Some((Compression::None, None)),
            "gzip" => Some((Compression::Gzip, Some(self.number("compression.gzip.level")))),
            "snappy" => Some((Compression::Snappy, None)),
            "lz4" => Some((Compression::Lz4, Some(self.number("compression.lz4.level")))),
            "zstd" => Some((Compression::Zstd, Some(self.number("compression.zstd.level")))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn defaults_are_kafkas() {
        let config = TopicConfig::read(&Values::new(), &Layers::default());
        let expected = TopicConfig {
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 604_800_000,
            retention_bytes: -1,
            cleanup_delete: true,
            cleanup_compact: false,
            delete_retention_ms: 86_400_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ppm: 500_000,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            flush_always: false,
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            min_insync_replicas: 1,
            compression: None,
            lane_bytes: 256 << 20,
            retention_plugin: false,
            hold: false,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn a_topics_own_value_wins_over_the_brokers() {
        let broker = values(&[
            ("log.retention.hours", "1"),
            ("log.segment.bytes", "2000000"),
            ("compression.type", "zstd"),
            ("compression.zstd.level", "9"),
            ("log.message.timestamp.type", "LogAppendTime"),
        ]);
        let topic =
            values(&[("segment.bytes", " 3000000"), ("retention.bytes", "many"), ("ottla.flush", "always")]);
        let config = TopicConfig::read(&topic, &Layers::new(vec![&broker]));
        assert_eq!((config.segment_bytes, config.retention_ms), (3_000_000, 3_600_000));
        assert!(config.flush_always);
        assert_eq!(config.retention_bytes, -1, "an impossible value counts as not given");
        assert_eq!(config.compression, Some((Compression::Zstd, Some(9))));
        assert_eq!(config.timestamp_type, TimestampType::LogAppendTime);
        assert!(!config.hold && !config.retention_plugin);
        let topic = values(&[("ottla.retention", "ttl-header"), ("ottla.retention.hold", "True")]);
        let config = TopicConfig::read(&topic, &Layers::default());
        assert!(config.hold && config.retention_plugin);
    }
}
