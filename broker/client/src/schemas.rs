//! The schemas of the responses that this client reads, for the guard.
//! Source: the message definitions of Kafka's protocol guide. Names stand beside each field in its order.

use crate::guard::{Field, TAGS};
use Field::{Array, Compact, Fixed, LongArray, Optional, Tags, Text};

/// Error, [api key, min, max], throttle time.
pub const API_VERSIONS_V2: &[Field] = &[Fixed(2), LongArray(&[Fixed(2), Fixed(2), Fixed(2)]), Fixed(4)];

const NODES: Field = Array(&[Fixed(4)]);

/// Error, index, leader, epoch, replicas, ISR, offline.
const METADATA_PARTITION: &[Field] = &[Fixed(2), Fixed(4), Fixed(4), Fixed(4), NODES, NODES, NODES, TAGS];

/// Error, name, id, internal, partitions, operations.
const METADATA_TOPIC: &[Field] =
    &[Fixed(2), Compact, Fixed(16), Fixed(1), Array(METADATA_PARTITION), Fixed(4), TAGS];

/// Throttle time, brokers (id, host, port, rack), cluster, controller, topics.
pub const METADATA_V12: &[Field] = &[
    Fixed(4),
    Array(&[Fixed(4), Compact, Fixed(4), Compact, TAGS]),
    Compact,
    Fixed(4),
    Array(METADATA_TOPIC),
    TAGS,
];

/// Index, error, base offset, append time, log start, record errors, message.
const PRODUCE_PARTITION: &[Field] =
    &[Fixed(4), Fixed(2), Fixed(8), Fixed(8), Fixed(8), Array(&[Fixed(4), Compact, TAGS]), Compact, TAGS];

pub const PRODUCE_V9: &[Field] = &[Array(&[Compact, Array(PRODUCE_PARTITION), TAGS]), Fixed(4), TAGS];

/// Diverging epoch, current leader, snapshot: pairs of fixed size.
const FETCH_TAGS: Field = Tags(&[
    (0, &[Fixed(4), Fixed(8), TAGS]),
    (1, &[Fixed(4), Fixed(4), TAGS]),
    (2, &[Fixed(8), Fixed(4), TAGS]),
]);

/// Index, error, watermark, stable offset, log start, aborted, preferred replica, records.
const FETCH_PARTITION: &[Field] = &[
    Fixed(4),
    Fixed(2),
    Fixed(8),
    Fixed(8),
    Fixed(8),
    Array(&[Fixed(8), Fixed(8), TAGS]),
    Fixed(4),
    Compact,
    FETCH_TAGS,
];

/// Throttle time, error, session, topics.
pub const FETCH_V12: &[Field] =
    &[Fixed(4), Fixed(2), Fixed(4), Array(&[Compact, Array(FETCH_PARTITION), TAGS]), TAGS];

/// Index, error, timestamp, offset, epoch.
pub const LIST_OFFSETS_V7: &[Field] = &[
    Fixed(4),
    Array(&[Compact, Array(&[Fixed(4), Fixed(2), Fixed(8), Fixed(8), Fixed(4), TAGS]), TAGS]),
    TAGS,
];

/// Name, id, error, message, partitions, replication factor, configs; a config error as tag 0.
pub const CREATE_TOPICS_V7: &[Field] = &[
    Fixed(4),
    Array(&[
        Compact,
        Fixed(16),
        Fixed(2),
        Compact,
        Fixed(4),
        Fixed(2),
        Array(&[Compact, Compact, Fixed(1), Fixed(1), Fixed(1), TAGS]),
        Tags(&[(0, &[Fixed(2)])]),
    ]),
    TAGS,
];

/// Name, id, error, message.
pub const DELETE_TOPICS_V6: &[Field] =
    &[Fixed(4), Array(&[Compact, Fixed(16), Fixed(2), Compact, TAGS]), TAGS];

/// Name, error, message.
pub const CREATE_PARTITIONS_V3: &[Field] = &[Fixed(4), Array(&[Compact, Fixed(2), Compact, TAGS]), TAGS];

/// Name, value, read only, source, sensitive, synonyms, type, documentation.
const CONFIG: &[Field] = &[
    Compact,
    Compact,
    Fixed(1),
    Fixed(1),
    Fixed(1),
    Array(&[Compact, Compact, Fixed(1), TAGS]),
    Fixed(1),
    Compact,
    TAGS,
];

/// Error, message, resource type, name, configs.
pub const DESCRIBE_CONFIGS_V4: &[Field] =
    &[Fixed(4), Array(&[Fixed(2), Compact, Fixed(1), Compact, Array(CONFIG), TAGS]), TAGS];

/// Error, message, resource type, name.
pub const INCREMENTAL_ALTER_CONFIGS_V1: &[Field] =
    &[Fixed(4), Array(&[Fixed(2), Compact, Fixed(1), Compact, TAGS]), TAGS];

/// Throttle time, error, producer id, epoch.
pub const INIT_PRODUCER_ID_V4: &[Field] = &[Fixed(4), Fixed(2), Fixed(8), Fixed(2), TAGS];

/// Throttle time, coordinators (key, node, host, port, error, message).
pub const FIND_COORDINATOR_V4: &[Field] =
    &[Fixed(4), Array(&[Compact, Fixed(4), Compact, Fixed(4), Fixed(2), Compact, TAGS]), TAGS];

/// Throttle time, error, groups (id, protocol type, state).
pub const LIST_GROUPS_V4: &[Field] = &[Fixed(4), Fixed(2), Array(&[Compact, Compact, Compact, TAGS]), TAGS];

/// With the type of each group.
pub const LIST_GROUPS_V5: &[Field] =
    &[Fixed(4), Fixed(2), Array(&[Compact, Compact, Compact, Compact, TAGS]), TAGS];

/// Member, instance, client, host, metadata, assignment.
const DESCRIBED_MEMBERS: Field = Array(&[Compact, Compact, Compact, Compact, Compact, Compact, TAGS]);

/// Error, id, state, protocol type, protocol, members, operations.
pub const DESCRIBE_GROUPS_V5: &[Field] = &[
    Fixed(4),
    Array(&[Fixed(2), Compact, Compact, Compact, Compact, DESCRIBED_MEMBERS, Fixed(4), TAGS]),
    TAGS,
];

/// With a message behind each error.
pub const DESCRIBE_GROUPS_V6: &[Field] = &[
    Fixed(4),
    Array(&[Fixed(2), Compact, Compact, Compact, Compact, Compact, DESCRIBED_MEMBERS, Fixed(4), TAGS]),
    TAGS,
];

/// Topic id, name, partitions.
const TOPIC_PARTITIONS: Field = Array(&[Fixed(16), Compact, NODES, TAGS]);

const NAMES: Field = Array(&[Compact]);

/// Member, instance, rack, epoch, client, host, topics, regex, assignment, target.
const CONSUMER_MEMBER_V0: &[Field] = &[
    Compact,
    Compact,
    Compact,
    Fixed(4),
    Compact,
    Compact,
    NAMES,
    Compact,
    TOPIC_PARTITIONS,
    TAGS,
    TOPIC_PARTITIONS,
    TAGS,
    TAGS,
];

/// With the member's type.
const CONSUMER_MEMBER_V1: &[Field] = &[
    Compact,
    Compact,
    Compact,
    Fixed(4),
    Compact,
    Compact,
    NAMES,
    Compact,
    TOPIC_PARTITIONS,
    TAGS,
    TOPIC_PARTITIONS,
    TAGS,
    Fixed(1),
    TAGS,
];

/// Error, message, id, state, epoch, assignment epoch, assignor, members, operations.
pub const CONSUMER_GROUP_DESCRIBE_V0: &[Field] = &[
    Fixed(4),
    Array(&[
        Fixed(2),
        Compact,
        Compact,
        Compact,
        Fixed(4),
        Fixed(4),
        Compact,
        Array(CONSUMER_MEMBER_V0),
        Fixed(4),
        TAGS,
    ]),
    TAGS,
];

pub const CONSUMER_GROUP_DESCRIBE_V1: &[Field] = &[
    Fixed(4),
    Array(&[
        Fixed(2),
        Compact,
        Compact,
        Compact,
        Fixed(4),
        Fixed(4),
        Compact,
        Array(CONSUMER_MEMBER_V1),
        Fixed(4),
        TAGS,
    ]),
    TAGS,
];

/// Id, error.
pub const DELETE_GROUPS_V2: &[Field] = &[Fixed(4), Array(&[Compact, Fixed(2), TAGS]), TAGS];

/// Index, offset, leader epoch, metadata, error.
const FETCHED_OFFSETS: Field = Array(&[Fixed(4), Fixed(8), Fixed(4), Compact, Fixed(2), TAGS]);

/// Throttle time, groups (id, topics, error).
pub const OFFSET_FETCH_V8: &[Field] =
    &[Fixed(4), Array(&[Compact, Array(&[Compact, FETCHED_OFFSETS, TAGS]), Fixed(2), TAGS]), TAGS];

/// Topic, partitions (index, error); version 9 has the same.
pub const OFFSET_COMMIT_V8: &[Field] =
    &[Fixed(4), Array(&[Compact, Array(&[Fixed(4), Fixed(2), TAGS]), TAGS]), TAGS];

/// Error, throttle time, topics, partitions (index, error): it has no flexible version.
pub const OFFSET_DELETE_V0: &[Field] =
    &[Fixed(2), Fixed(4), LongArray(&[Text, LongArray(&[Fixed(4), Fixed(2)])])];

/// Throttle time, error, generation, protocol type, protocol, leader, member, members (id, instance, metadata).
pub const JOIN_GROUP_V7: &[Field] = &[
    Fixed(4),
    Fixed(2),
    Fixed(4),
    Compact,
    Compact,
    Compact,
    Compact,
    Array(&[Compact, Compact, Compact, TAGS]),
    TAGS,
];

/// Throttle time, error, protocol type, protocol, assignment.
pub const SYNC_GROUP_V5: &[Field] = &[Fixed(4), Fixed(2), Compact, Compact, Compact, TAGS];

/// Throttle time, error.
pub const HEARTBEAT_V4: &[Field] = &[Fixed(4), Fixed(2), TAGS];

/// Throttle time, error, members (id, instance, error).
pub const LEAVE_GROUP_V4: &[Field] = &[Fixed(4), Fixed(2), Array(&[Compact, Compact, Fixed(2), TAGS]), TAGS];

/// Throttle time, error, message, member, epoch, interval, assignment (topic id, partitions).
pub const CONSUMER_GROUP_HEARTBEAT_V1: &[Field] = &[
    Fixed(4),
    Fixed(2),
    Compact,
    Compact,
    Fixed(4),
    Fixed(4),
    Optional(&[Array(&[Fixed(16), NODES, TAGS]), TAGS]),
    TAGS,
];
