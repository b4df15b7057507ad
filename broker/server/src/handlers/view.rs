//! What several answers say of the cluster: brokers by the listener that was asked, a partition's state, and which
//! operations a client may carry out.

use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla_controller::Image;
use ottla_controller::record::{BrokerRecord, Endpoint, NO_LEADER, PartitionState};
use ottla_model::error::{ErrorCode, KafkaError};

/// What stands in a response where the operations were not asked for: Java's `Integer.MIN_VALUE`.
pub const NOT_ASKED: i32 = i32::MIN;
/// Read, write, create, delete, alter, describe, describe configs and alter configs, a bit each. Without an
/// authorizer everyone may do everything that a topic knows, as in Kafka.
pub const TOPIC_OPERATIONS: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
/// Create, alter, describe, cluster action, describe configs, alter configs and idempotent write.
pub const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

/// Read, delete, describe, describe configs and alter configs.
pub const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// The brokers that can be reached by a listener, each with its address there.
pub fn brokers<'a>(
    image: &'a Image,
    listener: &'a str,
) -> impl Iterator<Item = (&'a BrokerRecord, &'a Endpoint)> {
    image.brokers().filter_map(move |broker| {
        let endpoint = broker.endpoints.iter().find(|endpoint| endpoint.listener == listener)?;
        Some((&**broker, endpoint))
    })
}

/// A partition as Metadata and DescribeTopicPartitions tell of it.
pub struct PartitionView {
    pub error: ErrorCode,
    pub leader: BrokerId,
    pub leader_epoch: i32,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    pub offline_replicas: Vec<BrokerId>,
}

impl PartitionView {
    /// `listener_error` is what a leader without the client's listener is reported as. `offline` names the broker whose
    /// disk failed under the partition.
    pub fn new(
        image: &Image,
        listener: &str,
        partition: &PartitionState,
        listener_error: ErrorCode,
        offline: Option<i32>,
    ) -> PartitionView {
        let reachable = |id: i32| {
            let broker = image.broker(id)?;
            broker.endpoints.iter().find(|endpoint| endpoint.listener == listener)
        };
        let (error, leader) = if partition.leader == NO_LEADER || offline == Some(partition.leader) {
            (ErrorCode::LeaderNotAvailable, NO_LEADER)
        } else if reachable(partition.leader).is_none() {
            (listener_error, NO_LEADER)
        } else {
            (ErrorCode::None, partition.leader)
        };
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        let offline: Vec<i32> = partition
            .replicas
            .iter()
            .copied()
            .filter(|id| image.broker(*id).is_none() || offline == Some(*id))
            .collect();
        PartitionView {
            error,
            leader: BrokerId(leader),
            leader_epoch: partition.leader_epoch,
            replicas: ids(&partition.replicas),
            isr: ids(&partition.isr),
            offline_replicas: ids(&offline),
        }
    }
}

/// The code of an answer.
pub fn code_of(answer: &Result<(), KafkaError>) -> i16 {
    answer.as_ref().map_or_else(|error| error.code, |()| ErrorCode::None).code()
}

/// The sentence of an answer; none where nothing was wrong.
pub fn message_of(answer: Result<(), KafkaError>) -> Option<StrBytes> {
    answer.err().map(|error| text(error.message))
}

pub fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}
