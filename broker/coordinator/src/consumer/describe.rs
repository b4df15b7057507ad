//! What others want to know of a consumer group: its description, who owns what, and whether a commit or a fetch of
//! offsets is from a member in its epoch.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use super::change::Change;
use super::group::ConsumerGroup;
use super::member::Member;
use super::target;
use super::work::Context;
use crate::api::{ConsumerGroupDescribed, DescribedConsumer, DescribedPartitions, OffsetCommit};
use crate::partitions::Partitions;

/// The first version of OffsetCommit that knows of member epochs.
const COMMIT_VERSION_OF_EPOCHS: i16 = 9;

impl ConsumerGroup {
    pub fn describe(&self, context: &Context<'_>) -> ConsumerGroupDescribed {
        let durable = &self.durable;
        ConsumerGroupDescribed {
            error: ErrorCode::None,
            message: None,
            state: self.state().name(),
            epoch: durable.epoch,
            assignment_epoch: durable.target_epoch,
            assignor: target::assignor(self, context).name().to_owned(),
            members: durable.members.iter().map(|(id, member)| self.described(id, member, context)).collect(),
        }
    }

    fn described(&self, id: &Arc<str>, member: &Member, context: &Context<'_>) -> DescribedConsumer {
        let metadata = &*member.metadata;
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        DescribedConsumer {
            member: id.to_string(),
            instance: text(&metadata.instance),
            rack: text(&metadata.rack),
            epoch: member.current.epoch,
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            subscribed_topics: metadata.topics.iter().map(|topic| topic.to_string()).collect(),
            subscribed_regex: text(&metadata.regex),
            assigned: described_partitions(&member.current.assigned, context),
            target: described_partitions(&self.target(id), context),
            member_type: if member.is_classic() { 0 } else { 1 },
        }
    }

    /// Calls `each` with topic, partition, client id and client host of each partition that somebody has.
    pub fn each_owner(&self, each: &mut dyn FnMut(&str, i32, &str, &str)) {
        for member in self.durable.members.values() {
            for (topic, partition) in member.current.assigned.each() {
                if let Some(name) = self.soft.names.get(&topic) {
                    each(name, partition, &member.metadata.client_id, &member.metadata.client_host);
                }
            }
        }
    }

    /// Whether a commit may be taken. From outside of the group it may while that is empty.
    pub fn check_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode> {
        if commit.generation < 0 && self.is_empty() {
            return Ok(());
        }
        let member = self.member(&commit.member).ok_or(ErrorCode::UnknownMemberId)?;
        if !member.is_classic() && commit.version < COMMIT_VERSION_OF_EPOCHS {
            return Err(ErrorCode::UnsupportedVersion);
        }
        check_epoch(member, commit.generation)
    }

    /// Whether a fetch of offsets may be answered. Who does not name a member may read.
    pub fn check_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        match member {
            None if epoch < 0 => Ok(()),
            None => Err(ErrorCode::UnknownMemberId),
            Some(member) => check_epoch(self.member(member).ok_or(ErrorCode::UnknownMemberId)?, epoch),
        }
    }

    /// What removes the group from the log, in the order that a replay needs.
    pub fn tombstones(&self) -> Vec<Change> {
        let durable = &self.durable;
        let of_each = |make: fn(Arc<str>) -> Change| durable.members.keys().cloned().map(make);
        let mut changes: Vec<Change> = of_each(|member| Change::CurrentGone { member }).collect();
        changes.extend(durable.targets.keys().cloned().map(|member| Change::TargetGone { member }));
        changes.push(Change::TargetEpochGone);
        changes.extend(of_each(|member| Change::MemberGone { member }));
        changes.extend(durable.resolved.keys().cloned().map(|pattern| Change::RegexGone { pattern }));
        if durable.has_partition_metadata {
            changes.push(Change::PartitionMetadataGone);
        }
        changes.push(Change::GroupGone);
        changes
    }
}

fn check_epoch(member: &Member, epoch: i32) -> Result<(), ErrorCode> {
    match (epoch == member.current.epoch, member.is_classic()) {
        (true, _) => Ok(()),
        (false, true) => Err(ErrorCode::IllegalGeneration),
        (false, false) => Err(ErrorCode::StaleMemberEpoch),
    }
}

/// Topics that are gone have no name, and are left out.
fn described_partitions(partitions: &Partitions, context: &Context<'_>) -> Vec<DescribedPartitions> {
    let named = partitions.entries().iter().filter_map(|(id, partitions)| {
        let topic = context.cluster.topic_by_id(*id)?;
        Some(DescribedPartitions { topic_id: *id, topic: topic.name, partitions: partitions.clone() })
    });
    named.collect()
}
