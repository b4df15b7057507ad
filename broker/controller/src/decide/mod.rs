//! Every change of the metadata, decided. A decision reads an image and a request and answers the records that
//! carry the request out, beside what the caller tells its client, or the error that Kafka answers in that case.
//! It changes nothing itself: `validate_only` is to decide and to drop the records.

mod brokers;
mod configs;
mod partitions;
mod placement;
mod plugins;
mod producer_ids;
mod topics;

use ottla_model::error::{ErrorCode, KafkaError};

use crate::bounds::CLUSTER_PARTITIONS_MAX;
use crate::image::Image;
use crate::record::Record;

pub use brokers::{NewBroker, register_broker};
pub use configs::{ConfigChange, ConfigRules, ConfigTarget, Operation, alter_configs, replace_configs};
pub use partitions::{NewPartitions, create_partitions};
pub use plugins::{NewPlugin, attached_topics, delete_plugin, record_switch, register_plugin};
pub use producer_ids::{ProducerIdBlock, allocate_producer_ids};
pub use topics::{CreatedTopic, NewTopic, TopicDefaults, create_topic, delete_topic};

/// The records of a change, in order, and what its caller is told.
pub type Decision<T> = Result<(Vec<Record>, T), KafkaError>;

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, KafkaError> {
    Err(KafkaError::new(code, message))
}

/// Refuses a change that would lead above the bound of the whole cluster.
fn check_partition_room(image: &Image, more: usize) -> Result<(), KafkaError> {
    let count = image.partition_count() + more;
    if count > CLUSTER_PARTITIONS_MAX {
        return refuse(
            ErrorCode::PolicyViolation,
            format!(
                "{more} more partitions would make {count} in this cluster, which holds at most \
                 {CLUSTER_PARTITIONS_MAX}; delete topics or ask for fewer"
            ),
        );
    }
    Ok(())
}
