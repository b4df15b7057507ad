//! From one protocol to the other while a group lives. When a member with the consumer protocol joins a classic group of
//! consumers, its members go on in a consumer group, with the partitions that they have; when the last such member
//! leaves, the others go on in a classic group. What the group has committed is not touched.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use crate::classic::ClassicGroup;
use crate::cluster::Migration;
use crate::consumer::{
    Change, ClassicMember, ConsumerGroup, Context, Current, Due, MemberMetadata, Refused, Standing, Work,
    classic_assignment, metadata_hash, topic_list,
};
use crate::embedded::{Assignment, CONSUMER_PROTOCOL, Subscription};
use crate::partitions::Partitions;
use crate::records::{GroupMetadataValue, MemberMetadata as RecordedMember};

/// The consumer group that a classic group with members becomes, with the changes that make it.
///
/// # Errors
/// GROUP_ID_NOT_FOUND with Kafka's reason: the policy does not allow it, the members are no consumers, there are too many
/// of them, or what they say to each other cannot be read.
pub fn to_consumer(classic: &ClassicGroup, context: &Context<'_>) -> Result<(ConsumerGroup, Work), Refused> {
    let settings = context.cluster.settings();
    let refused = |why: &str| {
        let message =
            format!("Cannot upgrade classic group {} to consumer group because {why}.", classic.name);
        Err(Refused::new(ErrorCode::GroupIdNotFound, message))
    };
    if !matches!(settings.migration, Migration::Bidirectional | Migration::Upgrade) {
        return refused("online upgrade is disabled");
    }
    if classic.protocol_type() != Some(CONSUMER_PROTOCOL) {
        return refused("the group does not use the consumer embedded protocol");
    }
    if classic.members.len() > settings.consumer_max_size {
        return refused("the group size exceeds the consumer group maximum size");
    }
    let mut group = ConsumerGroup::new(&classic.name);
    let mut work = Work::default();
    let mut assigned: Vec<(Arc<str>, Partitions)> = Vec::with_capacity(classic.members.len());
    for (id, member) in &classic.members {
        let chosen = classic.protocol.as_deref().and_then(|protocol| member.metadata(protocol));
        let said = chosen.or_else(|| member.protocols.first().map(|(_, said)| said));
        let read = (
            Subscription::read(said.map(|said| &said[..]).unwrap_or_default()),
            Assignment::read(&member.assignment),
        );
        let (Ok(subscription), Ok(assignment)) = read else {
            return refused("the embedded consumer protocol is malformed");
        };
        if assignment.has_user_data {
            return refused(
                "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default \
                 assignor before re-attempting the upgrade",
            );
        }
        let metadata = MemberMetadata {
            instance: member.instance.clone(),
            rack: subscription.rack.map(Arc::from),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topics: topic_list(subscription.topics.iter().copied()),
            regex: None,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            assignor: None,
            classic: Some(Arc::new(ClassicMember {
                session_timeout_ms: member.session_timeout_ms,
                protocols: member
                    .protocols
                    .iter()
                    .map(|(name, said)| (name.to_string(), said.clone()))
                    .collect(),
            })),
        };
        work.change(&mut group, Change::Metadata { member: id.clone(), metadata: Arc::new(metadata) });
        assigned.push((id.clone(), partitions(&assignment, context)));
        let due_ms = context.monotonic_ms + i64::from(member.session_timeout_ms);
        group.soft.deadlines.set(Due::Session, id, due_ms);
    }

    let epoch = classic.generation;
    let metadata_hash = metadata_hash(&group, context.cluster);
    work.change(&mut group, Change::Epoch { epoch, metadata_hash });
    for (member, partitions) in &assigned {
        work.change(&mut group, Change::Target { member: member.clone(), partitions: partitions.clone() });
    }
    work.change(&mut group, Change::TargetEpoch { epoch });
    for (member, assigned) in assigned {
        let current = Current {
            epoch,
            previous_epoch: epoch,
            standing: Standing::Stable,
            assigned,
            revoking: Partitions::default(),
        };
        work.change(&mut group, Change::Current { member, current: Arc::new(current) });
    }
    Ok((group, work))
}

/// Topics that are gone are left out.
fn partitions(assignment: &Assignment<'_>, context: &Context<'_>) -> Partitions {
    let found = assignment.partitions.iter().filter_map(|(name, partitions)| {
        let topic = context.cluster.topic(name)?;
        Some((topic.id, partitions.clone()))
    });
    Partitions::new(found.collect())
}

/// The classic group that a consumer group becomes without those who leave. All that stay speak the classic protocol.
pub fn to_classic(group: &ConsumerGroup, leaving: &[Arc<str>], context: &Context<'_>) -> ClassicGroup {
    let staying = group.durable.members.iter().filter(|(id, _)| !leaving.contains(id));
    let staying: Vec<_> =
        staying.filter_map(|(id, member)| Some((id, member, member.metadata.classic.clone()?))).collect();
    // One that all of them support: each that joined had to have such a one.
    let protocol = staying.first().and_then(|(_, _, first)| {
        let common =
            first.protocols.iter().find(|(name, _)| group.classic_protocol(name) == group.classic_members());
        common.or(first.protocols.first()).map(|(name, _)| name.as_str())
    });
    // What they may be reading, not what they are meant to have: if the group goes over again before they have joined,
    // nobody else must be given it.
    let assignments: Vec<bytes::Bytes> = staying
        .iter()
        .map(|(_, member, classic)| {
            let owned = member.current.assigned.union(&member.current.revoking);
            classic_assignment(&owned, classic, context)
        })
        .collect();
    let members = staying.iter().zip(&assignments).map(|((id, member, classic), assignment)| {
        let said = classic.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
        RecordedMember {
            member: id,
            instance: member.metadata.instance.as_deref(),
            client_id: &member.metadata.client_id,
            client_host: &member.metadata.client_host,
            rebalance_timeout_ms: member.metadata.rebalance_timeout_ms,
            session_timeout_ms: classic.session_timeout_ms,
            subscription: said.map(|(_, said)| &said[..]).unwrap_or_default(),
            assignment,
        }
    });
    let value = GroupMetadataValue {
        protocol_type: CONSUMER_PROTOCOL,
        generation: group.durable.epoch,
        protocol,
        leader: staying.first().map(|(id, _, _)| &***id),
        state_since_ms: context.wall_ms,
        members: members.collect(),
    };
    ClassicGroup::from_record(&group.id, &value)
}
