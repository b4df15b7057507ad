//! A topic's configs as settings of its partitions: the topic's own values over the broker's, which are those set
//! while it runs over those of its start.

use ottla_controller::Image;
use ottla_controller::image::Configs;
use ottla_model::config::TopicConfig;
use ottla_replication::PartitionConfig;
use ottla_storage::LogConfig;

use crate::config::Config;

/// The settings in force for the partitions of a topic with these configs.
pub fn partition_config(config: &Config, image: &Image, topic: &Configs) -> PartitionConfig {
    let layers = config.layers(image);
    let topic = TopicConfig::read(topic, &layers);
    let producer_expiration_ms = layers.number("producer.id.expiration.ms");
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
            producer_expiration_ms: producer_expiration_ms
                .unwrap_or(LogConfig::default().producer_expiration_ms),
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
