//! A classic group: its state, its generation, and its members. Requests and timers change it through the files beside
//! this one, which keep that `joining` counts the members that wait for a generation, and that `votes` counts the
//! members that support each protocol.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_model::error::ErrorCode;
use ottla_model::ids::NO_TIMESTAMP;

use super::member::Member;
use super::protocol::{CONSUMER, each_assigned, each_subscribed};
use crate::api::{GroupDescribed, JoinGroup, OffsetCommit};
use crate::records::{GroupMetadataValue, Key, MemberMetadata, Record};
use crate::timers::{Armed, Timers};
use crate::turn::Turn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No members; perhaps offsets.
    Empty,
    /// Waits for its members to join.
    PreparingRebalance,
    /// Waits for the leader's assignments.
    CompletingRebalance,
    Stable,
}

/// What the group waits for while its members join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinTimer {
    pub(crate) armed: Armed,
    /// Of a group that was empty: how long the present delay is, and what is left of the rebalance timeout to extend
    /// it by. None for a later rebalance.
    pub(crate) initial: Option<(i64, i64)>,
}

#[derive(Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) name: Arc<str>,
    pub(crate) state: State,
    /// In wall time, since when the state is what it is; none if an old broker wrote it.
    pub(crate) state_since_ms: Option<i64>,
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) generation: i32,
    pub(crate) leader: Option<Arc<str>>,
    pub(crate) members: BTreeMap<Arc<str>, Box<Member>>,
    /// Static members by their instance.
    pub(crate) instances: HashMap<Arc<str>, Arc<str>>,
    /// Ids that were given out (KIP-394), with the time until which their members may come back.
    pub(crate) pending: HashMap<Arc<str>, Armed>,
    /// Members of this generation that have not synced.
    pub(crate) unsynced: BTreeSet<Arc<str>>,
    /// How many members wait for a generation.
    pub(crate) joining: usize,
    /// How many members support each protocol.
    pub(crate) votes: HashMap<Arc<str>, usize>,
    /// How much the members have said, in bytes.
    pub(crate) said_bytes: usize,
    /// What the members of this generation subscribe to, where that is known.
    pub(crate) subscribed: Option<HashSet<Box<str>>>,
    /// A member came while the group began, which extends its delay.
    pub(crate) member_added: bool,
    pub(crate) join_timer: Option<JoinTimer>,
    pub(crate) sync_timer: Option<Armed>,
    /// The log holds a record of this group, as far as is known.
    pub(crate) is_recorded: bool,
    /// The log holds an older state than this.
    pub(crate) unsaved: Option<Armed>,
}

impl ClassicGroup {
    pub(crate) fn new(name: &Arc<str>) -> ClassicGroup {
        ClassicGroup {
            name: Arc::clone(name),
            state: State::Empty,
            state_since_ms: None,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            instances: HashMap::new(),
            pending: HashMap::new(),
            unsynced: BTreeSet::new(),
            joining: 0,
            votes: HashMap::new(),
            said_bytes: 0,
            subscribed: None,
            member_added: false,
            join_timer: None,
            sync_timer: None,
            is_recorded: false,
            unsaved: None,
        }
    }

    pub(crate) fn from_record(name: &Arc<str>, value: &GroupMetadataValue<'_>) -> ClassicGroup {
        let mut group = ClassicGroup::new(name);
        group.is_recorded = true;
        group.state = if value.members.is_empty() { State::Empty } else { State::Stable };
        group.state_since_ms = (value.state_since_ms != NO_TIMESTAMP).then_some(value.state_since_ms);
        group.protocol_type = (!value.protocol_type.is_empty()).then(|| value.protocol_type.into());
        group.protocol = value.protocol.map(Arc::from);
        group.generation = value.generation;
        group.leader = value.leader.map(Arc::from);
        let protocol: Arc<str> = value.protocol.unwrap_or_default().into();
        for member in &value.members {
            group.add(member.member.into(), Member::from_record(member, &protocol));
        }
        group.subscribed = group.read_subscriptions();
        group
    }

    /// Asks for the record of the group, with the assignments that its members have or `assigned` gives them.
    pub(crate) fn push_record(&mut self, assigned: &dyn Fn(&str) -> Option<Bytes>, turn: &mut Turn<'_>) {
        let protocol = self.protocol.as_deref();
        let assignment =
            |id: &str, member: &Member| assigned(id).unwrap_or_else(|| member.assignment.clone());
        let assignments: Vec<Bytes> =
            self.members.iter().map(|(id, member)| assignment(id, member)).collect();
        let members =
            self.members.iter().zip(&assignments).map(|((id, member), assignment)| MemberMetadata {
                member: id,
                instance: member.instance.as_deref(),
                client_id: &member.client_id,
                client_host: &member.client_host,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                subscription: protocol
                    .and_then(|protocol| member.metadata(protocol))
                    .map_or(&[], |said| said),
                assignment,
            });
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.as_deref().unwrap_or_default(),
            generation: self.generation,
            protocol,
            leader: self.leader.as_deref(),
            state_since_ms: self.state_since_ms.unwrap_or(NO_TIMESTAMP),
            members: members.collect(),
        };
        turn.records.push(Record::new(&Key::GroupMetadata { group: &self.name }, value.write()));
        self.is_recorded = true;
    }

    pub(crate) fn enter(&mut self, state: State, turn: &Turn<'_>) {
        self.state = state;
        self.state_since_ms = Some(turn.now.wall_ms);
    }

    pub(crate) fn add(&mut self, id: Arc<str>, member: Member) {
        if let Some(older) = self.members.remove(&id) {
            // Only a record could name a member twice.
            self.joining -= usize::from(older.joining.is_some());
            self.count_votes(&older, false);
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(Arc::clone(instance), Arc::clone(&id));
        }
        if self.leader.is_none() {
            self.leader = Some(Arc::clone(&id));
        }
        self.joining += usize::from(member.joining.is_some());
        self.count_votes(&member, true);
        self.members.insert(id, Box::new(member));
    }

    /// Takes the member out, with its timer. A leader's place goes to another member.
    pub(crate) fn take(&mut self, id: &str, timers: &mut Timers) -> Option<Box<Member>> {
        self.unsynced.remove(id);
        let mut member = self.members.remove(id)?;
        timers.drop_kept(&mut member.session);
        self.joining -= usize::from(member.joining.is_some());
        self.count_votes(&member, false);
        if let Some(instance) = &member.instance
            && self.instances.get(instance).is_some_and(|owner| **owner == *id)
        {
            self.instances.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    pub(crate) fn count_votes(&mut self, member: &Member, added: bool) {
        for (name, said) in &member.protocols {
            match added {
                true => self.said_bytes += said.len(),
                false => self.said_bytes -= said.len(),
            }
            if added {
                *self.votes.entry(Arc::clone(name)).or_default() += 1;
            } else if let Some(count) = self.votes.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.votes.remove(name);
                }
            }
        }
    }

    pub(crate) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// Whether a member could join with what it can do.
    pub(crate) fn supports(&self, join: &JoinGroup) -> bool {
        if self.state == State::Empty {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(join.protocol_type.as_str())
            && join.protocols.iter().any(|(name, _)| {
                self.votes.get(name.as_str()).copied().unwrap_or_default() == self.members.len()
            })
    }

    /// The protocol that all members support and most prefer. None without members.
    pub(crate) fn choose_protocol(&self) -> Option<Arc<str>> {
        let is_candidate = |name: &Arc<str>| self.votes.get(name) == Some(&self.members.len());
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| is_candidate(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| Arc::clone(name))
    }

    /// The longest of the members'.
    pub(crate) fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or_default()
    }

    pub(crate) fn all_joined(&self) -> bool {
        self.joining == self.members.len() && self.pending.is_empty()
    }

    /// Whether the request comes from the member that it names.
    pub(crate) fn check_member(&self, member: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(owner) if **owner != *member => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    pub(crate) fn check_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode> {
        if commit.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if commit.generation < 0 && commit.member.is_empty() && commit.instance.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(&commit.member, commit.instance.as_deref())?;
        if commit.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    pub(crate) fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        if self.state == State::Empty || self.is_of_consumers() {
            Ok(())
        } else {
            Err(ErrorCode::NonEmptyGroup)
        }
    }

    pub(crate) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    /// What the members subscribe to; none if that cannot be known.
    pub(crate) fn read_subscriptions(&self) -> Option<HashSet<Box<str>>> {
        let mut topics = HashSet::new();
        if !self.is_of_consumers() {
            return None;
        }
        if self.members.is_empty() {
            return Some(topics);
        }
        let protocol = self.protocol.as_deref()?;
        for member in self.members.values() {
            let mut add = |topic: &str| {
                if !topics.contains(topic) {
                    topics.insert(topic.into());
                }
            };
            each_subscribed(member.metadata(protocol)?, &mut add).ok()?;
        }
        Some(topics)
    }

    /// From when the retention of an offset runs (KIP-211); none if it does not run now.
    pub(crate) fn retention_since_ms(&self, commit_ms: i64) -> Option<i64> {
        match (&self.protocol_type, self.state) {
            // A simple group has no members whose absence could be counted.
            (None, _) => Some(commit_ms),
            // An administrator may have committed since.
            (Some(_), State::Empty) => Some(self.state_since_ms.unwrap_or(commit_ms).max(commit_ms)),
            (Some(_), State::Stable) if self.is_of_consumers() && self.subscribed.is_some() => {
                Some(commit_ms)
            }
            _ => None,
        }
    }

    pub(crate) fn each_owner(&self, each: &mut dyn FnMut(&str, i32, &str, &str)) {
        if !self.is_of_consumers() || self.state != State::Stable {
            return;
        }
        for member in self.members.values() {
            let mut owned = |topic: &str, partition| {
                each(topic, partition, &member.client_id, &member.client_host);
            };
            // What a client wrote that cannot be read has no owner that could be told.
            let _ = each_assigned(&member.assignment, &mut owned);
        }
    }

    pub(crate) fn describe(&self) -> GroupDescribed {
        let protocol = if self.state == State::Stable { self.protocol.as_deref() } else { None };
        GroupDescribed {
            error: ErrorCode::None,
            message: None,
            state: self.state_name(),
            protocol_type: self.protocol_type().unwrap_or_default().to_owned(),
            protocol: protocol.unwrap_or_default().to_owned(),
            members: self.members.iter().map(|(id, member)| member.described(id, protocol)).collect(),
        }
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }

    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Adds what removes the group from the log.
    pub(crate) fn add_tombstones(&self, records: &mut Vec<Record>) {
        records.push(Record::tombstone(&Key::GroupMetadata { group: &self.name }));
    }

    /// Whether neither the log nor a client knows of it.
    pub(crate) fn is_nothing(&self) -> bool {
        self.is_empty() && self.pending.is_empty() && !self.is_recorded && self.unsaved.is_none()
    }
}
