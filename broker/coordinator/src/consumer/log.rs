//! Changes as records of `__consumer_offsets`, and back: a group is written to its log and read from it here.

use std::sync::Arc;

use super::change::Change;
use super::group::{Applied, ConsumerGroup};
use super::member::{ClassicMember, Current, MemberMetadata, Standing};
use super::regex::Resolved;
use crate::partitions::Partitions;
use crate::records::{
    ClassicMemberMetadata, ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataValue, Key, Record,
    ReplayError,
};

impl ConsumerGroup {
    /// Takes in one record of this group, from the log. Answers whether the group is still there after it.
    pub fn replay(&mut self, key: &Key<'_>, value: Option<&[u8]>) -> Result<bool, ReplayError> {
        match change(key, value)? {
            Some(change) => Ok(self.apply(&change) == Applied::Alive),
            None => Ok(true),
        }
    }

    /// The records of changes.
    pub fn records<'a>(&'a self, changes: &'a [Change]) -> impl Iterator<Item = Record> + 'a {
        changes.iter().map(|change| record(&self.id, change))
    }

    pub fn add_tombstones(&self, records: &mut Vec<Record>) {
        records.extend(self.records(&self.tombstones()));
    }
}

/// The record of a change to the group.
pub fn record(group: &str, change: &Change) -> Record {
    let key = key(group, change);
    match change {
        Change::Epoch { epoch, metadata_hash } => {
            let value = ConsumerGroupMetadataValue { epoch: *epoch, metadata_hash: *metadata_hash };
            Record::new(&key, value.write())
        }
        Change::Metadata { metadata, .. } => Record::new(&key, metadata_value(metadata).write()),
        Change::TargetEpoch { epoch } => {
            let value = ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch: *epoch };
            Record::new(&key, value.write())
        }
        Change::Target { partitions, .. } => {
            let value =
                ConsumerGroupTargetAssignmentMemberValue { partitions: partitions.entries().to_vec() };
            Record::new(&key, value.write())
        }
        Change::Current { current, .. } => {
            let value = ConsumerGroupCurrentMemberAssignmentValue {
                member_epoch: current.epoch,
                previous_member_epoch: current.previous_epoch,
                state: current.standing.code(),
                assigned: current.assigned.entries().to_vec(),
                pending_revocation: current.revoking.entries().to_vec(),
            };
            Record::new(&key, value.write())
        }
        Change::Regex { resolved, .. } => {
            let value = ConsumerGroupRegularExpressionValue {
                topics: resolved.topics.iter().map(|topic| &**topic).collect(),
                version: resolved.version,
                resolved_ms: resolved.resolved_ms,
            };
            Record::new(&key, value.write())
        }
        // Only a log has it.
        Change::PartitionMetadata
        | Change::GroupGone
        | Change::PartitionMetadataGone
        | Change::MemberGone { .. }
        | Change::TargetEpochGone
        | Change::TargetGone { .. }
        | Change::CurrentGone { .. }
        | Change::RegexGone { .. } => Record::tombstone(&key),
    }
}

fn key<'a>(group: &'a str, change: &'a Change) -> Key<'a> {
    match change {
        Change::Epoch { .. } | Change::GroupGone => Key::ConsumerGroupMetadata { group },
        Change::PartitionMetadata | Change::PartitionMetadataGone => {
            Key::ConsumerGroupPartitionMetadata { group }
        }
        Change::Metadata { member, .. } | Change::MemberGone { member } => {
            Key::ConsumerGroupMemberMetadata { group, member }
        }
        Change::TargetEpoch { .. } | Change::TargetEpochGone => {
            Key::ConsumerGroupTargetAssignmentMetadata { group }
        }
        Change::Target { member, .. } | Change::TargetGone { member } => {
            Key::ConsumerGroupTargetAssignmentMember { group, member }
        }
        Change::Current { member, .. } | Change::CurrentGone { member } => {
            Key::ConsumerGroupCurrentMemberAssignment { group, member }
        }
        Change::Regex { pattern, .. } | Change::RegexGone { pattern } => {
            Key::ConsumerGroupRegularExpression { group, expression: pattern }
        }
    }
}

fn metadata_value(metadata: &MemberMetadata) -> ConsumerGroupMemberMetadataValue<'_> {
    ConsumerGroupMemberMetadataValue {
        instance: metadata.instance.as_deref(),
        rack: metadata.rack.as_deref(),
        client_id: &metadata.client_id,
        client_host: &metadata.client_host,
        subscribed_topics: metadata.topics.iter().map(|topic| &**topic).collect(),
        // As Kafka writes it: no pattern is an empty one.
        subscribed_regex: Some(metadata.regex.as_deref().unwrap_or_default()),
        rebalance_timeout_ms: metadata.rebalance_timeout_ms,
        server_assignor: metadata.assignor.as_deref(),
        classic: metadata.classic.as_ref().map(|classic| ClassicMemberMetadata {
            session_timeout_ms: classic.session_timeout_ms,
            protocols: classic.protocols.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect(),
        }),
    }
}

/// The change that a record of a consumer group stands for; none for a key of something else.
pub fn change(key: &Key<'_>, value: Option<&[u8]>) -> Result<Option<Change>, ReplayError> {
    let change = match *key {
        Key::ConsumerGroupMetadata { .. } => match value {
            None => Change::GroupGone,
            Some(bytes) => {
                let value = ConsumerGroupMetadataValue::read(bytes)?;
                Change::Epoch { epoch: value.epoch, metadata_hash: value.metadata_hash }
            }
        },
        Key::ConsumerGroupPartitionMetadata { .. } => match value {
            None => Change::PartitionMetadataGone,
            Some(_) => Change::PartitionMetadata,
        },
        Key::ConsumerGroupMemberMetadata { member, .. } => match value {
            None => Change::MemberGone { member: member.into() },
            Some(bytes) => Change::Metadata { member: member.into(), metadata: Arc::new(metadata(bytes)?) },
        },
        Key::ConsumerGroupTargetAssignmentMetadata { .. } => match value {
            None => Change::TargetEpochGone,
            Some(bytes) => {
                let value = ConsumerGroupTargetAssignmentMetadataValue::read(bytes)?;
                Change::TargetEpoch { epoch: value.assignment_epoch }
            }
        },
        Key::ConsumerGroupTargetAssignmentMember { member, .. } => match value {
            None => Change::TargetGone { member: member.into() },
            Some(bytes) => {
                let value = ConsumerGroupTargetAssignmentMemberValue::read(bytes)?;
                Change::Target { member: member.into(), partitions: Partitions::new(value.partitions) }
            }
        },
        Key::ConsumerGroupCurrentMemberAssignment { member, .. } => match value {
            None => Change::CurrentGone { member: member.into() },
            Some(bytes) => Change::Current { member: member.into(), current: Arc::new(current(bytes)?) },
        },
        Key::ConsumerGroupRegularExpression { expression, .. } => match value {
            None => Change::RegexGone { pattern: expression.into() },
            Some(bytes) => Change::Regex { pattern: expression.into(), resolved: Arc::new(resolved(bytes)?) },
        },
        Key::OffsetCommit { .. } | Key::GroupMetadata { .. } => return Ok(None),
    };
    Ok(Some(change))
}

fn metadata(bytes: &[u8]) -> Result<MemberMetadata, ReplayError> {
    let value = ConsumerGroupMemberMetadataValue::read(bytes)?;
    let text = |text: Option<&str>| text.map(Arc::from);
    let mut topics: Vec<Arc<str>> = value.subscribed_topics.iter().map(|topic| Arc::from(*topic)).collect();
    topics.sort_unstable();
    topics.dedup();
    Ok(MemberMetadata {
        instance: text(value.instance),
        rack: text(value.rack),
        client_id: value.client_id.into(),
        client_host: value.client_host.into(),
        topics: topics.into(),
        regex: text(value.subscribed_regex.filter(|pattern| !pattern.is_empty())),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: text(value.server_assignor),
        classic: value.classic.map(|classic| {
            let protocols = classic.protocols.iter();
            let protocols =
                protocols.map(|(name, bytes)| ((*name).to_owned(), bytes::Bytes::copy_from_slice(bytes)));
            Arc::new(ClassicMember {
                session_timeout_ms: classic.session_timeout_ms,
                protocols: protocols.collect(),
            })
        }),
    })
}

fn current(bytes: &[u8]) -> Result<Current, ReplayError> {
    let value = ConsumerGroupCurrentMemberAssignmentValue::read(bytes)?;
    Ok(Current {
        epoch: value.member_epoch,
        previous_epoch: value.previous_member_epoch,
        standing: Standing::from_code(value.state),
        assigned: Partitions::new(value.assigned),
        revoking: Partitions::new(value.pending_revocation),
    })
}

fn resolved(bytes: &[u8]) -> Result<Resolved, ReplayError> {
    let value = ConsumerGroupRegularExpressionValue::read(bytes)?;
    let mut topics: Vec<Arc<str>> = value.topics.iter().map(|topic| Arc::from(*topic)).collect();
    topics.sort_unstable();
    Ok(Resolved { topics, version: value.version, resolved_ms: value.resolved_ms })
}
