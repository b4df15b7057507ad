//! A group of the consumer protocol (KIP-848): what its records say, and what is counted over them so that a request
//! looks at one member and not at all. Requests decide on [`Change`]s against it; it takes them in when they are
//! appended or replayed. Nothing else changes what is durable of it, so that a replay gives the same group.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ottla_model::ids::TopicId;

use super::change::Change;
use super::deadlines::Deadlines;
use super::member::{Current, LEFT_EPOCH, Member, MemberMetadata};
use super::regex::Resolved;
use crate::partitions::Partitions;
use crate::timers::{Armed, Timer, Timers};

/// The state that ConsumerGroupDescribe and ListGroups name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    Empty,
    /// A newer target is to be computed.
    Assigning,
    /// Members are on their way to the target.
    Reconciling,
    Stable,
}

impl GroupState {
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
            GroupState::Stable => "Stable",
        }
    }
}

/// How many members there are of each of something.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts<K: Ord>(pub BTreeMap<K, usize>);

impl<K: Ord + Clone> Counts<K> {
    fn add(&mut self, key: &K) {
        match self.0.get_mut(key) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(key.clone(), 1);
            }
        }
    }

    fn remove(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }
}

impl<K: Ord> Counts<K> {
    pub fn of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.get(key).copied().unwrap_or(0)
    }
}

/// The epoch of a group before its first member has changed anything: Kafka's first target is of epoch 2.
const FIRST_EPOCH: i32 = 1;

/// What is in the log of a group.
#[derive(Debug, PartialEq, Eq)]
pub struct Durable {
    /// Rises with each change of members, subscriptions or topics.
    pub epoch: i32,
    pub metadata_hash: i64,
    /// Of the target; behind `epoch` while a newer one is to be computed. -1 once its record is gone.
    pub target_epoch: i32,
    pub members: BTreeMap<Arc<str>, Member>,
    pub targets: BTreeMap<Arc<str>, Partitions>,
    pub resolved: BTreeMap<Arc<str>, Arc<Resolved>>,
    /// A record of a broker before 4.1 that is to be removed.
    pub has_partition_metadata: bool,
}

impl Default for Durable {
    fn default() -> Durable {
        Durable {
            epoch: FIRST_EPOCH,
            metadata_hash: 0,
            target_epoch: 0,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            resolved: BTreeMap::new(),
            has_partition_metadata: false,
        }
    }
}

/// What follows from the members.
#[derive(Debug, Default, PartialEq, Eq)]
struct Derived {
    statics: HashMap<Arc<str>, Arc<str>>,
    /// Who owns a partition or has it still to give back.
    owners: HashMap<TopicId, HashMap<i32, Arc<str>>>,
    /// Members by the names of topics that they subscribe to.
    subscribers: Counts<Arc<str>>,
    patterns: Counts<Arc<str>>,
    assignors: Counts<Arc<str>>,
    classic_members: usize,
    classic_protocols: Counts<String>,
}

/// What is known since the shard was loaded, and is found out again after the next time.
#[derive(Debug, Default)]
pub struct Soft {
    pub deadlines: Deadlines,
    /// The version of the topics that the metadata hash and the names below are of.
    pub topics_version: Option<u64>,
    /// When patterns were resolved last, and against which version of the topics. Monotonic.
    pub resolved_at_ms: Option<i64>,
    pub resolved_version: Option<u64>,
    /// When the target was computed last. Monotonic.
    pub assigned_at_ms: Option<i64>,
    /// Names of the topics that members have partitions of.
    pub names: HashMap<TopicId, Arc<str>>,
    /// The shard's timer that stands for the earliest of the deadlines.
    pub armed: Option<Armed>,
}

#[derive(Debug)]
pub struct ConsumerGroup {
    pub id: Arc<str>,
    pub durable: Durable,
    derived: Derived,
    pub soft: Soft,
}

/// What became of the group by a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Alive,
    /// The record of the group is gone, and so is the group.
    Gone,
}

impl ConsumerGroup {
    pub fn new(id: &Arc<str>) -> ConsumerGroup {
        let id = Arc::clone(id);
        ConsumerGroup { id, durable: Durable::default(), derived: Derived::default(), soft: Soft::default() }
    }

    /// What is counted over the members, to be compared.
    #[cfg(test)]
    pub fn derived(&self) -> &(impl PartialEq + std::fmt::Debug + use<>) {
        &self.derived
    }

    pub fn is_empty(&self) -> bool {
        self.durable.members.is_empty()
    }

    pub fn member(&self, id: &str) -> Option<&Member> {
        self.durable.members.get(id)
    }

    /// The member of a `group.instance.id`.
    pub fn static_member(&self, instance: &str) -> Option<(&Arc<str>, &Member)> {
        let id = self.derived.statics.get(instance)?;
        self.durable.members.get_key_value(id)
    }

    pub fn target(&self, member: &str) -> Partitions {
        self.durable.targets.get(member).cloned().unwrap_or_default()
    }

    /// Who owns a partition now or has it still to give back.
    pub fn owner(&self, topic: TopicId, partition: i32) -> Option<&Arc<str>> {
        self.derived.owners.get(&topic)?.get(&partition)
    }

    pub fn owned_topics(&self) -> impl Iterator<Item = TopicId> + '_ {
        self.derived.owners.keys().copied()
    }

    pub fn classic_members(&self) -> usize {
        self.derived.classic_members
    }

    /// How many classic members can speak a protocol.
    pub fn classic_protocol(&self, name: &str) -> usize {
        self.derived.classic_protocols.of(name)
    }

    pub fn pattern_members(&self, pattern: &str) -> usize {
        self.derived.patterns.of(pattern)
    }

    pub fn patterns(&self) -> impl Iterator<Item = &Arc<str>> {
        self.derived.patterns.0.keys()
    }

    pub fn pattern_count(&self) -> usize {
        self.derived.patterns.0.len()
    }

    pub fn assignors(&self) -> &BTreeMap<Arc<str>, usize> {
        &self.derived.assignors.0
    }

    #[cfg(test)]
    pub fn subscribers(&self) -> &BTreeMap<Arc<str>, usize> {
        &self.derived.subscribers.0
    }

    /// Whether a member subscribes to the topic, by name or by pattern.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        self.derived.subscribers.of(topic) > 0
            || self.durable.resolved.values().any(|resolved| contains(&resolved.topics, topic))
    }

    /// The topics that members subscribe to, each once.
    pub fn subscribed_topics(&self) -> std::collections::BTreeSet<Arc<str>> {
        let named = self.derived.subscribers.0.keys();
        named.chain(self.durable.resolved.values().flat_map(|resolved| &resolved.topics)).cloned().collect()
    }

    /// Whether a member of this metadata subscribes to the topic.
    pub fn subscribes(&self, metadata: &MemberMetadata, topic: &str) -> bool {
        contains(&metadata.topics, topic)
            || metadata
                .regex
                .as_ref()
                .and_then(|pattern| self.durable.resolved.get(pattern))
                .is_some_and(|resolved| contains(&resolved.topics, topic))
    }

    pub fn state_name(&self) -> &'static str {
        self.state().name()
    }

    pub fn state(&self) -> GroupState {
        let durable = &self.durable;
        if durable.members.is_empty() {
            GroupState::Empty
        } else if durable.epoch > durable.target_epoch {
            GroupState::Assigning
        } else if durable.members.values().all(|m| m.current.is_reconciled_to(durable.target_epoch)) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// Sees to it that the shard looks at the group when something of it is due, and not much earlier.
    pub fn arm(&mut self, timers: &mut Timers) {
        let Some(due_ms) = self.soft.deadlines.next_ms() else { return self.cancel(timers) };
        if self.soft.armed.is_none_or(|armed| due_ms < armed.due_ms) {
            timers.drop_kept(&mut self.soft.armed);
            self.soft.armed = Some(timers.arm(due_ms, Timer::ConsumerGroup { group: Arc::clone(&self.id) }));
        }
    }

    /// Nothing is to be due for the group any more.
    pub fn cancel(&mut self, timers: &mut Timers) {
        timers.drop_kept(&mut self.soft.armed);
    }

    /// Takes in a change. Changes of members that are not there, and the like, come from logs that were cut or
    /// compacted; they leave as much as makes sense.
    pub fn apply(&mut self, change: &Change) -> Applied {
        let durable = &mut self.durable;
        match change {
            Change::Epoch { epoch, metadata_hash } => {
                durable.epoch = *epoch;
                durable.metadata_hash = *metadata_hash;
            }
            Change::GroupGone => return Applied::Gone,
            Change::PartitionMetadata => durable.has_partition_metadata = true,
            Change::PartitionMetadataGone => durable.has_partition_metadata = false,
            Change::TargetEpoch { epoch } => durable.target_epoch = *epoch,
            Change::TargetEpochGone => durable.target_epoch = -1,
            Change::Target { member, partitions } => {
                durable.targets.insert(member.clone(), partitions.clone());
            }
            Change::TargetGone { member } => {
                durable.targets.remove(member);
            }
            Change::Regex { pattern, resolved } => {
                durable.resolved.insert(pattern.clone(), resolved.clone());
            }
            Change::RegexGone { pattern } => {
                durable.resolved.remove(pattern);
            }
            Change::Metadata { member, metadata } => self.set_metadata(member, metadata.clone()),
            Change::MemberGone { member } => self.remove(member),
            Change::Current { member, current } => self.set_current(member, current.clone()),
            Change::CurrentGone { member } if durable.members.contains_key(member) => {
                let left = Current { epoch: LEFT_EPOCH, previous_epoch: LEFT_EPOCH, ..Current::default() };
                self.set_current(member, Arc::new(left));
            }
            Change::CurrentGone { .. } => {}
        }
        Applied::Alive
    }

    fn set_metadata(&mut self, id: &Arc<str>, mut metadata: Arc<MemberMetadata>) {
        self.share_topics(&mut metadata);
        let entry = self.durable.members.entry(id.clone());
        let existed = matches!(entry, std::collections::btree_map::Entry::Occupied(_));
        let member = entry.or_default();
        let before = std::mem::replace(&mut member.metadata, metadata.clone());
        if existed {
            self.derived.forget(id, &before);
        }
        self.derived.count(id, &metadata);
    }

    /// Members mostly subscribe to the same topics: they share one list of them.
    fn share_topics(&self, metadata: &mut Arc<MemberMetadata>) {
        let Some((_, first)) = self.durable.members.first_key_value() else { return };
        let topics = &first.metadata.topics;
        if !Arc::ptr_eq(topics, &metadata.topics) && *topics == metadata.topics {
            Arc::make_mut(metadata).topics = topics.clone();
        }
    }

    fn set_current(&mut self, id: &Arc<str>, current: Arc<Current>) {
        if !self.durable.members.contains_key(id) {
            self.set_metadata(id, Arc::default());
        }
        if let Some((id, member)) = self.durable.members.get_key_value(id) {
            let before = member.current.clone();
            let id = id.clone();
            self.derived.release(&id, &before);
            self.derived.own(&id, &current);
            if let Some(member) = self.durable.members.get_mut(&id) {
                member.current = current;
            }
        }
    }

    fn remove(&mut self, id: &Arc<str>) {
        if let Some(member) = self.durable.members.remove(id) {
            self.derived.release(id, &member.current);
            self.derived.forget(id, &member.metadata);
        }
        self.soft.deadlines.cancel_all(id);
    }
}

impl Derived {
    fn count(&mut self, id: &Arc<str>, metadata: &MemberMetadata) {
        metadata.topics.iter().for_each(|topic| self.subscribers.add(topic));
        metadata.regex.iter().for_each(|pattern| self.patterns.add(pattern));
        metadata.assignor.iter().for_each(|name| self.assignors.add(name));
        if let Some(instance) = &metadata.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        if let Some(classic) = &metadata.classic {
            self.classic_members += 1;
            classic.protocols.iter().for_each(|(name, _)| self.classic_protocols.add(name));
        }
    }

    fn forget(&mut self, id: &Arc<str>, metadata: &MemberMetadata) {
        metadata.topics.iter().for_each(|topic| self.subscribers.remove(topic));
        metadata.regex.iter().for_each(|pattern| self.patterns.remove(pattern));
        metadata.assignor.iter().for_each(|name| self.assignors.remove(name));
        // Another member may have taken the instance over.
        if let Some(instance) = &metadata.instance
            && self.statics.get(instance) == Some(id)
        {
            self.statics.remove(instance);
        }
        if let Some(classic) = &metadata.classic {
            self.classic_members -= 1;
            classic.protocols.iter().for_each(|(name, _)| self.classic_protocols.remove(name));
        }
    }

    fn own(&mut self, id: &Arc<str>, current: &Current) {
        for (topic, partitions) in current.assigned.entries().iter().chain(current.revoking.entries()) {
            let owners = self.owners.entry(*topic).or_default();
            owners.extend(partitions.iter().map(|partition| (*partition, id.clone())));
        }
    }

    fn release(&mut self, id: &Arc<str>, current: &Current) {
        for (topic, partitions) in current.assigned.entries().iter().chain(current.revoking.entries()) {
            let Some(owners) = self.owners.get_mut(topic) else { continue };
            for partition in partitions {
                if owners.get(partition) == Some(id) {
                    owners.remove(partition);
                }
            }
            if owners.is_empty() {
                self.owners.remove(topic);
            }
        }
    }
}

/// Whether a list in order has the name.
fn contains(topics: &[Arc<str>], name: &str) -> bool {
    topics.binary_search_by(|topic| (**topic).cmp(name)).is_ok()
}
