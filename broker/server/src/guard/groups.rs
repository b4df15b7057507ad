//! The requests about groups and their offsets, as the guard knows them: the part of its table that belongs to the
//! coordinator. `table` lists them with all others; the walk stands behind. Member metadata and assignments are bytes
//! that nobody here looks into.

use super::schema::Kind::{Group, List};
use super::schema::{BLOB, BOOL, Field, I8, I32, I64, TEXT, UUID, all, between, from};

pub(super) const FIND_COORDINATOR: &[Field] = &[
    between(0, 3, TEXT),  // key
    from(1, I8),          // key's type: group, transaction, share group
    from(4, List(&TEXT)), // keys
];

pub(super) const JOIN_GROUP: &[Field] = &[
    all(TEXT),                                  // group
    all(I32),                                   // session timeout
    from(1, I32),                               // rebalance timeout
    all(TEXT),                                  // member
    from(5, TEXT),                              // instance
    all(TEXT),                                  // protocol type
    all(List(&Group(&[all(TEXT), all(BLOB)]))), // protocols: name, metadata
    from(8, TEXT),                              // reason
];

pub(super) const SYNC_GROUP: &[Field] = &[
    all(TEXT),                                  // group
    all(I32),                                   // generation
    all(TEXT),                                  // member
    from(3, TEXT),                              // instance
    from(5, TEXT),                              // protocol type
    from(5, TEXT),                              // protocol
    all(List(&Group(&[all(TEXT), all(BLOB)]))), // assignments: member, assignment
];

pub(super) const HEARTBEAT: &[Field] = &[
    all(TEXT),     // group
    all(I32),      // generation
    all(TEXT),     // member
    from(3, TEXT), // instance
];

pub(super) const LEAVE_GROUP: &[Field] = &[
    all(TEXT),                                                     // group
    between(0, 2, TEXT),                                           // member
    from(3, List(&Group(&[all(TEXT), all(TEXT), from(5, TEXT)]))), // members: id, instance, reason
];

pub(super) const OFFSET_COMMIT: &[Field] = &[
    all(TEXT),          // group
    all(I32),           // generation or member epoch
    all(TEXT),          // member
    from(7, TEXT),      // instance
    between(2, 4, I64), // retention
    all(List(&Group(&[
        all(TEXT),
        all(List(&Group(&[all(I32), all(I64), from(6, I32), all(TEXT)]))), // partition, offset, epoch, metadata
    ]))),
];

pub(super) const OFFSET_FETCH: &[Field] = &[
    between(0, 7, TEXT),                                        // group
    between(0, 7, List(&Group(&[all(TEXT), all(List(&I32))]))), // topics
    from(
        8,
        List(&Group(&[
            all(TEXT),
            from(9, TEXT),                                    // member
            from(9, I32),                                     // member epoch
            all(List(&Group(&[all(TEXT), all(List(&I32))]))), // topics
        ])),
    ),
    from(7, BOOL), // stable offsets only
];

pub(super) const OFFSET_DELETE: &[Field] =
    &[all(TEXT), all(List(&Group(&[all(TEXT), all(List(&Group(&[all(I32)])))])))]; // group, topics: partitions

pub(super) const DESCRIBE_GROUPS: &[Field] = &[
    all(List(&TEXT)),
    from(3, BOOL), // with authorized operations
];

pub(super) const LIST_GROUPS: &[Field] = &[
    from(4, List(&TEXT)), // states
    from(5, List(&TEXT)), // types
];

pub(super) const DELETE_GROUPS: &[Field] = &[all(List(&TEXT))];

pub(super) const CONSUMER_GROUP_HEARTBEAT: &[Field] = &[
    all(TEXT),                                        // group
    all(TEXT),                                        // member
    all(I32),                                         // member epoch
    all(TEXT),                                        // instance
    all(TEXT),                                        // rack
    all(I32),                                         // rebalance timeout
    all(List(&TEXT)),                                 // subscribed topics
    from(1, TEXT),                                    // subscribed pattern
    all(TEXT),                                        // assignor
    all(List(&Group(&[all(UUID), all(List(&I32))]))), // owned partitions
];

pub(super) const CONSUMER_GROUP_DESCRIBE: &[Field] = &[
    all(List(&TEXT)),
    all(BOOL), // with authorized operations
];
