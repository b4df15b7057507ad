//! What the members of a group are meant to have. Computed anew when the group's epoch has gone ahead of the target's:
//! after members, subscriptions or topics changed. Several changes within the assignment interval make one computation.

use std::collections::HashMap;
use std::sync::Arc;

use super::change::Change;
use super::deadlines::Due;
use super::group::ConsumerGroup;
use super::member::MemberMetadata;
use super::work::{Context, Work};
use crate::assignors::{Assignor, Subscriber, Topic};
use crate::partitions::Partitions;

/// Computes the target if it is behind, and the interval since the last time is over; otherwise sees to it that this
/// is done when it is. `at_once` does not wait.
pub fn update(group: &mut ConsumerGroup, context: &Context<'_>, work: &mut Work, at_once: bool) {
    if group.durable.epoch <= group.durable.target_epoch {
        return;
    }
    let now = context.monotonic_ms;
    let interval = interval_ms(group, context);
    let due = group.soft.assigned_at_ms.map_or(now, |last| last + interval);
    if !at_once && group.durable.target_epoch > 0 && now < due {
        group.soft.deadlines.set(Due::Assignment, &Arc::from(""), due);
        return;
    }
    compute(group, context, work);
}

fn interval_ms(group: &ConsumerGroup, context: &Context<'_>) -> i64 {
    let own = context.cluster.overrides(&group.id).consumer_assignment_interval_ms;
    own.unwrap_or(context.cluster.settings().consumer_assignment_interval_ms).max(0).into()
}

fn compute(group: &mut ConsumerGroup, context: &Context<'_>, work: &mut Work) {
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut topics: Vec<Topic> = Vec::new();
    group.soft.names.clear();
    for name in group.subscribed_topics() {
        if let Some(found) = context.cluster.topic(&name) {
            group.soft.names.insert(found.id, name.clone());
            topics.push(Topic { id: found.id, partitions: found.partitions });
            names.push(name);
        }
    }

    let lists = Lists::of(group, &names);
    let members: Vec<Subscriber<'_>> = group
        .durable
        .members
        .iter()
        .zip(&lists.of_members)
        .map(|((id, member), list)| Subscriber {
            id,
            instance: member.metadata.instance.as_deref(),
            topics: &lists.lists[*list],
            before: group.target(id),
        })
        .collect();
    let targets = assignor(group, context).assign(&topics, &members);
    drop(members);

    let changed: Vec<(Arc<str>, Partitions)> = group
        .durable
        .members
        .keys()
        .zip(targets)
        .filter(|(id, target)| group.durable.targets.get(*id) != Some(target))
        .map(|(id, target)| (id.clone(), target))
        .collect();
    for (member, partitions) in changed {
        work.change(group, Change::Target { member, partitions });
    }
    work.change(group, Change::TargetEpoch { epoch: group.durable.epoch });
    group.soft.assigned_at_ms = Some(context.monotonic_ms);
    group.soft.deadlines.cancel(Due::Assignment, &Arc::from(""));
}

/// The assignor that most members name; the default if none does, or if it is not allowed any more.
pub fn assignor(group: &ConsumerGroup, context: &Context<'_>) -> Assignor {
    let allowed = &context.cluster.settings().consumer_assignors;
    let named = group.assignors().iter().filter(|(name, _)| allowed.iter().any(|other| **other == ***name));
    let preferred = named.max_by_key(|(_, count)| **count).and_then(|(name, _)| Assignor::named(name));
    let default = || allowed.iter().find_map(|name| Assignor::named(name));
    preferred.or_else(default).unwrap_or(Assignor::Uniform)
}

/// The subscriptions of the members as indexes of topics: one list for all members with the same subscription.
struct Lists {
    lists: Vec<Vec<usize>>,
    of_members: Vec<usize>,
}

impl Lists {
    fn of(group: &ConsumerGroup, names: &[Arc<str>]) -> Lists {
        let index: HashMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (&**name, at)).collect();
        let mut known: HashMap<(*const Arc<str>, Option<&Arc<str>>), usize> = HashMap::new();
        let mut lists = Vec::new();
        let of_members = group.durable.members.values().map(|member| {
            let metadata = &*member.metadata;
            *known.entry((metadata.topics.as_ptr(), metadata.regex.as_ref())).or_insert_with(|| {
                lists.push(indexes(group, metadata, &index));
                lists.len() - 1
            })
        });
        let of_members = of_members.collect();
        Lists { lists, of_members }
    }
}

fn indexes(group: &ConsumerGroup, metadata: &MemberMetadata, index: &HashMap<&str, usize>) -> Vec<usize> {
    let resolved = metadata.regex.as_ref().and_then(|pattern| group.durable.resolved.get(pattern));
    let matched = resolved.iter().flat_map(|resolved| &resolved.topics);
    let mut list: Vec<usize> =
        metadata.topics.iter().chain(matched).filter_map(|name| index.get(&**name).copied()).collect();
    list.sort_unstable();
    list.dedup();
    list
}
