//! What a request or a deadline does to a group. Changes are taken in at once, so that each decision sees those before
//! it; with each its opposite is kept, so that the group is as it was if the records cannot be appended. Between the
//! two nobody looks at the group.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use super::change::Change;
use super::deadlines::Due;
use super::group::ConsumerGroup;
use crate::cluster::Cluster;
use crate::turn::Now;

/// When a deadline that came up is looked at again if its records were refused.
const RETRY_MS: i64 = 1000;

/// What decisions are made in: the surroundings and the time.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub cluster: &'a dyn Cluster,
    pub wall_ms: i64,
    pub monotonic_ms: i64,
}

impl<'a> Context<'a> {
    pub fn new(cluster: &'a dyn Cluster, now: Now) -> Context<'a> {
        Context { cluster, wall_ms: now.wall_ms, monotonic_ms: now.monotonic_ms }
    }
}

/// A request that a group refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub error: ErrorCode,
    pub message: String,
}

impl Refused {
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Refused {
        Refused { error, message: message.into() }
    }
}

/// Changes in the order of their records.
#[derive(Debug, Default)]
pub struct Work {
    pub changes: Vec<Change>,
    /// Undo the changes if they are taken in last first.
    opposites: Vec<Change>,
    /// What came up, and must not be forgotten.
    came_up: Vec<(Due, Arc<str>)>,
}

impl Work {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether a deadline was taken out that is to be put back if the records are refused.
    pub fn has_come_up(&self) -> bool {
        !self.came_up.is_empty()
    }

    /// Makes the group take in a change of one of its members or of itself. To delete the group is not one.
    pub fn change(&mut self, group: &mut ConsumerGroup, change: Change) {
        group.opposite(&change, &mut self.opposites);
        group.apply(&change);
        self.changes.push(change);
    }

    pub(super) fn came_up(&mut self, due: Due, member: Arc<str>) {
        self.came_up.push((due, member));
    }

    /// Puts the group back to what it was.
    pub fn undo(self, group: &mut ConsumerGroup, context: &Context<'_>) {
        for opposite in self.opposites.iter().rev() {
            group.apply(opposite);
        }
        if !self.opposites.is_empty() {
            // What was noticed of topics went into the changes, and is to be noticed again.
            group.soft.topics_version = None;
            group.soft.resolved_version = None;
            group.soft.resolved_at_ms = None;
            group.soft.assigned_at_ms = None;
        }
        let now = context.monotonic_ms;
        for opposite in &self.opposites {
            if let Change::Metadata { member, .. } = opposite
                && let Some(timeout) = group.session_timeout_ms(member, context)
            {
                group.soft.deadlines.set(Due::Session, member, now + timeout);
            }
        }
        for (due, member) in self.came_up {
            group.soft.deadlines.set(due, &member, now + RETRY_MS);
        }
    }
}

impl ConsumerGroup {
    /// Appends what undoes the change. Several are to be taken in last first.
    fn opposite(&self, change: &Change, out: &mut Vec<Change>) {
        let durable = &self.durable;
        let of_metadata = |member: &Arc<str>| match durable.members.get(member) {
            Some(before) => Change::Metadata { member: member.clone(), metadata: before.metadata.clone() },
            None => Change::MemberGone { member: member.clone() },
        };
        let of_current = |member: &Arc<str>| match durable.members.get(member) {
            Some(before) => Change::Current { member: member.clone(), current: before.current.clone() },
            None => Change::MemberGone { member: member.clone() },
        };
        match change {
            Change::Epoch { .. } | Change::GroupGone => {
                out.push(Change::Epoch { epoch: durable.epoch, metadata_hash: durable.metadata_hash });
            }
            Change::PartitionMetadata => out.push(Change::PartitionMetadataGone),
            Change::PartitionMetadataGone => {
                if durable.has_partition_metadata {
                    out.push(Change::PartitionMetadata);
                }
            }
            Change::TargetEpoch { .. } | Change::TargetEpochGone => {
                out.push(Change::TargetEpoch { epoch: durable.target_epoch });
            }
            Change::Metadata { member, .. } => out.push(of_metadata(member)),
            Change::MemberGone { member } => {
                if durable.members.contains_key(member) {
                    out.extend([of_current(member), of_metadata(member)]);
                }
            }
            Change::Target { member, .. } | Change::TargetGone { member } => {
                out.push(match durable.targets.get(member) {
                    Some(before) => Change::Target { member: member.clone(), partitions: before.clone() },
                    None => Change::TargetGone { member: member.clone() },
                });
            }
            Change::Current { member, .. } => out.push(of_current(member)),
            Change::CurrentGone { member } => {
                if durable.members.contains_key(member) {
                    out.push(of_current(member));
                }
            }
            Change::Regex { pattern, .. } | Change::RegexGone { pattern } => {
                out.push(match durable.resolved.get(pattern) {
                    Some(before) => Change::Regex { pattern: pattern.clone(), resolved: before.clone() },
                    None => Change::RegexGone { pattern: pattern.clone() },
                });
            }
        }
    }
}
