//! The one table of the APIs that this broker serves. ApiVersions advertises it and the router is generated from it, so
//! an API is listed exactly when its handler exists. Versions are those that the decoder knows.

use kafka_protocol::messages::ApiKey;

/// An API with the versions that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    pub key: ApiKey,
    /// The first version that is advertised. For Produce it lies below `decoded_min`: librdkafka takes a broker without
    /// Produce 0 for one of the oldest, and never sends it.
    pub advertised_min: i16,
    /// The first version that is decoded; below it a request ends the connection, as in Kafka.
    pub decoded_min: i16,
    pub max: i16,
    /// A wait that may be given up when the client goes away, because nothing was changed on its behalf.
    pub abandonable: bool,
}

/// Hands every served API to a macro: `Name key-versions => handler module, kind of answer;`.
macro_rules! with_apis {
    ($callback:ident) => {
        $callback! {
            AlterConfigs 0..=2 => alter_configs, response;
            AlterReplicaLogDirs 1..=2 => alter_replica_log_dirs, response;
            ApiVersions 0..=4 => api_versions, response;
            ConsumerGroupDescribe 0..=1 => consumer_group_describe, response;
            ConsumerGroupHeartbeat 0..=1 => consumer_group_heartbeat, outcome;
            CreatePartitions 0..=3 => create_partitions, response;
            CreateTopics 2..=7 => create_topics, response;
            DeleteGroups 0..=2 => delete_groups, response;
            DeleteRecords 0..=2 => delete_records, response;
            DeleteTopics 1..=6 => delete_topics, response;
            DescribeCluster 0..=2 => describe_cluster, response;
            DescribeConfigs 1..=4 => describe_configs, response;
            DescribeGroups 0..=6 => describe_groups, response;
            DescribeLogDirs 1..=4 => describe_log_dirs, response;
            DescribeProducers 0..=0 => describe_producers, response;
            DescribeTopicPartitions 0..=0 => describe_topic_partitions, response;
            Fetch 4..=18 => fetch, outcome;
            FindCoordinator 0..=6 => find_coordinator, response;
            Heartbeat 0..=4 => heartbeat, outcome;
            IncrementalAlterConfigs 0..=1 => incremental_alter_configs, response;
            InitProducerId 0..=5 => init_producer_id, response;
            JoinGroup 0..=9 => join_group, outcome;
            LeaveGroup 0..=5 => leave_group, outcome;
            ListConfigResources 0..=1 => list_config_resources, response;
            ListGroups 0..=5 => list_groups, response;
            ListOffsets 1..=10 => list_offsets, response;
            Metadata 0..=13 => metadata, response;
            OffsetCommit 2..=9 => offset_commit, outcome;
            OffsetDelete 0..=0 => offset_delete, response;
            OffsetFetch 1..=9 => offset_fetch, outcome;
            OffsetForLeaderEpoch 2..=4 => offset_for_leader_epoch, response;
            Produce 3..=13 => produce, outcome;
            SyncGroup 0..=5 => sync_group, outcome;
        }
    };
}
pub(super) use with_apis;

macro_rules! table {
    ($($name:ident $min:literal ..= $max:literal => $module:ident, $answer:ident;)*) => {
        /// Every API that is served.
        pub static APIS: &[Api] = &[$(api(ApiKey::$name, $min, $max)),*];
    };
}
with_apis!(table);

const fn api(key: ApiKey, decoded_min: i16, max: i16) -> Api {
    Api {
        key,
        advertised_min: if matches!(key, ApiKey::Produce) { 0 } else { decoded_min },
        decoded_min,
        max,
        abandonable: matches!(key, ApiKey::Fetch),
    }
}

/// The entry of an API in `apis`, by its number on the wire.
pub fn find(apis: &[Api], key: i16) -> Option<&Api> {
    apis.iter().find(|api| api.key as i16 == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::schema_of;
    use bytes::Bytes;
    use kafka_protocol::messages::RequestKind;

    #[test]
    fn every_served_api_is_guarded_and_its_versions_can_be_decoded() {
        for api in APIS {
            assert!(schema_of(api.key).is_some(), "{:?} has no schema in the guard", api.key);
            let decodable: Vec<i16> = (0..50).filter(|version| is_decodable(api.key, *version)).collect();
            let served: Vec<i16> = (api.decoded_min..=api.max).collect();
            assert_eq!(served, decodable, "{:?}", api.key);
        }
    }

    /// Asks the decoder, whose own table lists a version of InitProducerId that it then refuses. Zeros claim nothing.
    fn is_decodable(key: ApiKey, version: i16) -> bool {
        match RequestKind::decode(key, &mut Bytes::from_static(&[0; 64]), version) {
            Ok(_) => true,
            Err(error) => !format!("{error:#}").contains("version not supported"),
        }
    }

    #[test]
    fn every_api_is_listed_once() {
        for (index, api) in APIS.iter().enumerate() {
            assert!(APIS[..index].iter().all(|earlier| earlier.key != api.key), "{:?}", api.key);
        }
    }
}
