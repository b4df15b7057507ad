//! What `__consumer_offsets` is created with. Called by the handlers that create it: FindCoordinator, and Metadata
//! when somebody asks for it by name.

use ottla_model::config::Layers;

/// The topic of committed offsets as this broker would create it.
pub struct OffsetsTopic {
    /// `offsets.topic.num.partitions`
    pub partitions: i32,
    pub configs: Vec<(&'static str, String)>,
}

impl OffsetsTopic {
    /// By the broker's configs. A cluster of one broker keeps one replica, whatever
    /// `offsets.topic.replication.factor` asks for.
    pub fn new(layers: &Layers<'_>) -> OffsetsTopic {
        let segment_bytes = layers.value("offsets.topic.segment.bytes").unwrap_or_default();
        OffsetsTopic {
            partitions: layers.number("offsets.topic.num.partitions").unwrap_or(50),
            configs: vec![
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("segment.bytes", segment_bytes),
            ],
        }
    }
}
