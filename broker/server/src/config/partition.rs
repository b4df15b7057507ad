//! What storage and replication are told about a partition, made of its topic's settings.

use super::Config;
use ottla_controller::image::Image;
use ottla_model::config::layers::Values;
use ottla_replication::PartitionConfig;
use ottla_storage::LogConfig;

impl Config {
    /// The settings of a topic's partitions: its own configs over the broker's.
    pub fn partition_config(&self, image: &Image, topic: &Values) -> PartitionConfig {
        let producer_expiration_ms = self
            .layers(image)
            .number("producer.id.expiration.ms")
            .unwrap_or(LogConfig::default().producer_expiration_ms);
        let topic = self.topic_config(image, topic);
        PartitionConfig {
            log: LogConfig {
                segment_bytes: topic.segment_bytes,
                segment_ms: topic.segment_ms,
                segment_jitter_ms: topic.segment_jitter_ms,
                segment_index_bytes: topic.segment_index_bytes,
                index_interval_bytes: topic.index_interval_bytes,
                retention_ms: topic.retention_ms,
                retention_bytes: topic.retention_bytes,
                cleanup_delete: topic.cleanup_delete,
                file_delete_delay_ms: topic.file_delete_delay_ms,
                flush_messages: topic.flush_messages,
                flush_ms: topic.flush_ms,
                flush_always: topic.flush_always,
                producer_expiration_ms,
            },
            max_message_bytes: topic.max_message_bytes,
            timestamp_type: topic.timestamp_type,
            timestamp_before_max_ms: topic.timestamp_before_max_ms,
            timestamp_after_max_ms: topic.timestamp_after_max_ms,
            min_insync_replicas: topic.min_insync_replicas,
            compression: topic.compression,
            compacted: topic.cleanup_compact,
            lane_bytes: topic.lane_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_all_crates_agree() {
        let config = Config::with(&[]).expect("the defaults are possible");
        assert_eq!(config.partition_config(&Image::default(), &Values::new()), PartitionConfig::default());
    }
}
