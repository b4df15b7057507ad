//! The guard's own description of every request that the broker decodes, written by hand from Kafka's protocol guide
//! (https://kafka.apache.org/protocol). It stands beside the decoder's generated one on purpose: two descriptions that
//! agree on every message is what the tests check, and a frame must please both.

use super::groups::{
    CONSUMER_GROUP_DESCRIBE, CONSUMER_GROUP_HEARTBEAT, DELETE_GROUPS, DESCRIBE_GROUPS, FIND_COORDINATOR,
    HEARTBEAT, JOIN_GROUP, LEAVE_GROUP, LIST_GROUPS, OFFSET_COMMIT, OFFSET_DELETE, OFFSET_FETCH, SYNC_GROUP,
};
use super::schema::Kind::{Group, List, Optional};
use super::schema::{
    BLOB, BOOL, Field, I8, I16, I32, I64, NEVER, Schema, TEXT, UUID, all, between, from, tagged,
};
use kafka_protocol::messages::ApiKey;

/// The schema of an API's request; none when the guard does not know it, and then nothing of it is decoded.
pub fn schema_of(key: ApiKey) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|schema| schema.key == key)
}

/// Ordered by how often a busy broker meets them.
pub static SCHEMAS: &[Schema] = &[
    Schema { key: ApiKey::Produce, flexible: 9, fields: PRODUCE },
    Schema { key: ApiKey::Fetch, flexible: 12, fields: FETCH },
    Schema { key: ApiKey::Metadata, flexible: 9, fields: METADATA },
    Schema { key: ApiKey::ListOffsets, flexible: 6, fields: LIST_OFFSETS },
    Schema { key: ApiKey::Heartbeat, flexible: 4, fields: HEARTBEAT },
    Schema { key: ApiKey::ConsumerGroupHeartbeat, flexible: 0, fields: CONSUMER_GROUP_HEARTBEAT },
    Schema { key: ApiKey::OffsetCommit, flexible: 8, fields: OFFSET_COMMIT },
    Schema { key: ApiKey::OffsetFetch, flexible: 6, fields: OFFSET_FETCH },
    Schema { key: ApiKey::FindCoordinator, flexible: 3, fields: FIND_COORDINATOR },
    Schema { key: ApiKey::JoinGroup, flexible: 6, fields: JOIN_GROUP },
    Schema { key: ApiKey::SyncGroup, flexible: 4, fields: SYNC_GROUP },
    Schema { key: ApiKey::LeaveGroup, flexible: 4, fields: LEAVE_GROUP },
    Schema { key: ApiKey::OffsetForLeaderEpoch, flexible: 4, fields: OFFSET_FOR_LEADER_EPOCH },
    Schema { key: ApiKey::ApiVersions, flexible: 3, fields: API_VERSIONS },
    Schema { key: ApiKey::InitProducerId, flexible: 2, fields: INIT_PRODUCER_ID },
    Schema { key: ApiKey::DescribeGroups, flexible: 5, fields: DESCRIBE_GROUPS },
    Schema { key: ApiKey::ListGroups, flexible: 3, fields: LIST_GROUPS },
    Schema { key: ApiKey::DeleteGroups, flexible: 2, fields: DELETE_GROUPS },
    Schema { key: ApiKey::OffsetDelete, flexible: NEVER, fields: OFFSET_DELETE },
    Schema { key: ApiKey::ConsumerGroupDescribe, flexible: 0, fields: CONSUMER_GROUP_DESCRIBE },
    Schema { key: ApiKey::CreateTopics, flexible: 5, fields: CREATE_TOPICS },
    Schema { key: ApiKey::DeleteTopics, flexible: 4, fields: DELETE_TOPICS },
    Schema { key: ApiKey::CreatePartitions, flexible: 2, fields: CREATE_PARTITIONS },
    Schema { key: ApiKey::DescribeConfigs, flexible: 4, fields: DESCRIBE_CONFIGS },
    Schema { key: ApiKey::AlterConfigs, flexible: 2, fields: ALTER_CONFIGS },
    Schema { key: ApiKey::IncrementalAlterConfigs, flexible: 1, fields: INCREMENTAL_ALTER_CONFIGS },
    Schema { key: ApiKey::ListConfigResources, flexible: 0, fields: LIST_CONFIG_RESOURCES },
    Schema { key: ApiKey::DescribeCluster, flexible: 0, fields: DESCRIBE_CLUSTER },
    Schema { key: ApiKey::DescribeTopicPartitions, flexible: 0, fields: DESCRIBE_TOPIC_PARTITIONS },
    Schema { key: ApiKey::DescribeProducers, flexible: 0, fields: DESCRIBE_PRODUCERS },
    Schema { key: ApiKey::DeleteRecords, flexible: 2, fields: DELETE_RECORDS },
    Schema { key: ApiKey::DescribeLogDirs, flexible: 2, fields: DESCRIBE_LOG_DIRS },
    Schema { key: ApiKey::AlterReplicaLogDirs, flexible: 2, fields: ALTER_REPLICA_LOG_DIRS },
];

// client software name, version
const API_VERSIONS: &[Field] = &[from(3, TEXT), from(3, TEXT)];

const METADATA: &[Field] = &[
    all(List(&Group(&[from(10, UUID), all(TEXT)]))), // topics: id, name
    from(4, BOOL),                                   // auto-creation allowed
    between(8, 10, BOOL),                            // with the cluster's authorized operations
    from(8, BOOL),                                   // with the topics'
];

const PRODUCE: &[Field] = &[
    all(TEXT), // transactional id
    all(I16),  // acks
    all(I32),  // timeout
    all(List(&Group(&[
        between(0, 12, TEXT),                      // topic's name
        from(13, UUID),                            // topic's id
        all(List(&Group(&[all(I32), all(BLOB)]))), // partitions: index, records
    ]))),
];

const FETCH: &[Field] = &[
    tagged(0, 12, TEXT),                                   // cluster id
    tagged(1, 15, Group(&[from(15, I32), from(15, I64)])), // replica: id, epoch
    between(0, 14, I32),                                   // replica id
    all(I32),                                              // wait at most
    all(I32),                                              // bytes at least
    all(I32),                                              // bytes at most
    all(I8),                                               // isolation level
    from(7, I32),                                          // session id
    from(7, I32),                                          // session epoch
    all(List(&Group(&[between(0, 12, TEXT), from(13, UUID), all(List(&Group(FETCH_PARTITION)))]))),
    from(7, List(&Group(&[between(7, 12, TEXT), from(13, UUID), from(7, List(&I32))]))), // forgotten topics
    from(11, TEXT),                                                                      // rack
];

const FETCH_PARTITION: &[Field] = &[
    all(I32),            // index
    from(9, I32),        // current leader epoch
    all(I64),            // offset
    from(12, I32),       // epoch of the last fetched record
    from(5, I64),        // log start offset
    all(I32),            // bytes at most
    tagged(0, 17, UUID), // replica's directory
    tagged(1, 18, I64),  // replica's high watermark
];

const LIST_OFFSETS: &[Field] = &[
    all(I32),    // replica id
    from(2, I8), // isolation level
    all(List(&Group(&[
        all(TEXT),
        all(List(&Group(&[all(I32), from(4, I32), all(I64)]))), // partition, leader epoch, timestamp
    ]))),
    from(10, I32), // timeout
];

const OFFSET_FOR_LEADER_EPOCH: &[Field] = &[
    from(3, I32), // replica id
    all(List(&Group(&[
        all(TEXT),
        all(List(&Group(&[all(I32), all(I32), all(I32)]))), // partition, current epoch, epoch asked for
    ]))),
];

const INIT_PRODUCER_ID: &[Field] = &[
    all(TEXT),    // transactional id
    all(I32),     // transaction timeout
    from(3, I64), // producer id
    from(3, I16), // producer epoch
];

const CREATE_TOPICS: &[Field] = &[
    all(List(&Group(&[
        all(TEXT),
        all(I32),                                        // partitions
        all(I16),                                        // replication factor
        all(List(&Group(&[all(I32), all(List(&I32))]))), // assignments: partition, brokers
        all(List(&Group(&[all(TEXT), all(TEXT)]))),      // configs
    ]))),
    all(I32),  // timeout
    all(BOOL), // validate only
];

const DELETE_TOPICS: &[Field] = &[
    from(6, List(&Group(&[all(TEXT), all(UUID)]))), // topics: name or id
    between(0, 5, List(&TEXT)),
    all(I32), // timeout
];

const CREATE_PARTITIONS: &[Field] = &[
    all(List(&Group(&[
        all(TEXT),
        all(I32),                              // total count
        all(List(&Group(&[all(List(&I32))]))), // assignments of the new ones
    ]))),
    all(I32),  // timeout
    all(BOOL), // validate only
];

const DESCRIBE_CONFIGS: &[Field] = &[
    all(List(&Group(&[all(I8), all(TEXT), all(List(&TEXT))]))), // resources: type, name, keys
    all(BOOL),                                                  // with synonyms
    from(3, BOOL),                                              // with documentation
];

const ALTER_CONFIGS: &[Field] = &[
    all(List(&Group(&[all(I8), all(TEXT), all(List(&Group(&[all(TEXT), all(TEXT)])))]))),
    all(BOOL), // validate only
];

const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[
    all(List(&Group(&[all(I8), all(TEXT), all(List(&Group(&[all(TEXT), all(I8), all(TEXT)])))]))),
    all(BOOL), // validate only
];

const LIST_CONFIG_RESOURCES: &[Field] = &[from(1, List(&I8))]; // types

const DESCRIBE_CLUSTER: &[Field] = &[
    all(BOOL),     // with authorized operations
    from(1, I8),   // endpoints of brokers or controllers
    from(2, BOOL), // with fenced brokers
];

const DESCRIBE_TOPIC_PARTITIONS: &[Field] = &[
    all(List(&Group(&[all(TEXT)]))),
    all(I32),                              // partitions at most
    all(Optional(&[all(TEXT), all(I32)])), // cursor
];

const DESCRIBE_PRODUCERS: &[Field] = &[all(List(&Group(&[all(TEXT), all(List(&I32))])))];

const DELETE_RECORDS: &[Field] = &[
    all(List(&Group(&[all(TEXT), all(List(&Group(&[all(I32), all(I64)])))]))), // topics: partition, offset
    all(I32),                                                                  // timeout
];

const DESCRIBE_LOG_DIRS: &[Field] = &[all(List(&Group(&[all(TEXT), all(List(&I32))])))];

const ALTER_REPLICA_LOG_DIRS: &[Field] =
    &[all(List(&Group(&[all(TEXT), all(List(&Group(&[all(TEXT), all(List(&I32))])))])))];
