//! What storage and replication are told about a partition, made of its topic's settings.

use super::Config;
use ottla_controller::image::Image;
use ottla_model::config::layers::Values;
use ottla_replication::{CompactionConfig, PartitionConfig};
use ottla_storage::LogConfig;

impl Config {
    /// The settings of a topic's partitions: its own configs over the broker's.
    pub fn partition_config(&self, image: &Image, topic: &Values) -> PartitionConfig {
        let producer_expiration_ms = self
            .layers(image)
            .number("producer.id.expiration.ms")
            .unwrap_or(LogConfig::default().producer_expiration_ms);
        let topic = self.topic_config(image, topic);
        // A plugin decides in place of the topic's own retention, and a hold overrules both.
        let deletes = !topic.hold && !topic.retention_plugin;
        // What lies in the active segment is not compacted: it must end before its oldest record is too old for that.
        let segment_ms = match topic.cleanup_compact {
            true => topic.segment_ms.min(topic.max_compaction_lag_ms),
            false => topic.segment_ms,
        };
        PartitionConfig {
            log: LogConfig {
                segment_bytes: topic.segment_bytes,
                segment_ms,
                segment_jitter_ms: topic.segment_jitter_ms,
                segment_index_bytes: topic.segment_index_bytes,
                index_interval_bytes: topic.index_interval_bytes,
                retention_ms: if deletes { topic.retention_ms } else { -1 },
                retention_bytes: if deletes { topic.retention_bytes } else { -1 },
                cleanup_delete: topic.cleanup_delete && deletes,
                file_delete_delay_ms: topic.file_delete_delay_ms,
                flush_messages: topic.flush_messages,
                flush_ms: topic.flush_ms,
                flush_always: topic.flush_always,
                has_gaps: false,
                producer_expiration_ms,
            },
            max_message_bytes: topic.max_message_bytes,
            timestamp_type: topic.timestamp_type,
            timestamp_before_max_ms: topic.timestamp_before_max_ms,
            timestamp_after_max_ms: topic.timestamp_after_max_ms,
            min_insync_replicas: topic.min_insync_replicas,
            compression: topic.compression,
            compacted: topic.cleanup_compact,
            compaction: CompactionConfig {
                delete_retention_ms: topic.delete_retention_ms,
                min_lag_ms: topic.min_compaction_lag_ms,
                max_lag_ms: topic.max_compaction_lag_ms,
                min_dirty_ppm: topic.min_cleanable_dirty_ppm,
            },
            lane_bytes: topic.lane_bytes,
            hold: topic.hold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_or_a_hold_stands_above_the_topics_own_retention() {
        let config = Config::with(&[]).expect("the defaults are possible");
        let of = |key: &str, value: &str| {
            let values: Values = [("retention.ms", "1000"), ("retention.bytes", "1"), (key, value)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
            config.partition_config(&Image::default(), &values)
        };
        for (key, value, deletes, hold) in [
            ("ottla.retention.hold", "false", true, false),
            ("ottla.retention.hold", "true", false, true),
            ("ottla.retention", "ttl-header", false, false),
        ] {
            let made = of(key, value);
            let numbers = if deletes { (1000, 1) } else { (-1, -1) };
            assert_eq!((made.log.retention_ms, made.log.retention_bytes), numbers, "{key}={value}");
            assert_eq!((made.log.cleanup_delete, made.hold), (deletes, hold), "{key}={value}");
        }
    }

    #[test]
    fn the_defaults_of_all_crates_agree() {
        let config = Config::with(&[]).expect("the defaults are possible");
        assert_eq!(config.partition_config(&Image::default(), &Values::new()), PartitionConfig::default());
    }
}
