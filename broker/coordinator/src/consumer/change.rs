//! What can become of a consumer group: one value for each kind of record that Kafka keeps of it. Decisions are lists
//! of these; the group takes them in when the records are appended, and when they are read again, by the same code.

use std::sync::Arc;

use super::member::{Current, MemberMetadata};
use super::regex::Resolved;
use crate::partitions::Partitions;

/// A record of a consumer group, without its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// ConsumerGroupMetadata
    Epoch {
        epoch: i32,
        metadata_hash: i64,
    },
    /// Its tombstone: the group is deleted.
    GroupGone,
    /// ConsumerGroupPartitionMetadata, which Kafka wrote before 4.1: all that matters is that it is there.
    PartitionMetadata,
    PartitionMetadataGone,
    /// ConsumerGroupMemberMetadata
    Metadata {
        member: Arc<str>,
        metadata: Arc<MemberMetadata>,
    },
    MemberGone {
        member: Arc<str>,
    },
    /// ConsumerGroupTargetAssignmentMetadata
    TargetEpoch {
        epoch: i32,
    },
    TargetEpochGone,
    /// ConsumerGroupTargetAssignmentMember
    Target {
        member: Arc<str>,
        partitions: Partitions,
    },
    TargetGone {
        member: Arc<str>,
    },
    /// ConsumerGroupCurrentMemberAssignment
    Current {
        member: Arc<str>,
        current: Arc<Current>,
    },
    CurrentGone {
        member: Arc<str>,
    },
    /// ConsumerGroupRegularExpression
    Regex {
        pattern: Arc<str>,
        resolved: Arc<Resolved>,
    },
    RegexGone {
        pattern: Arc<str>,
    },
}
