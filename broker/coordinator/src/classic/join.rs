//! JoinGroup: who may become a member, and what that does to the group. Each way through here ends in an answer, in a
//! member that waits for the next generation, or in the record of a static member's new id.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use ottla_model::error::ErrorCode;

use super::effect::{Before, Effect, Replaced};
use super::group::{ClassicGroup, State};
use super::life::extend_session;
use super::member::Member;
use crate::api::{JoinGroup, Joined, JoinedMember};
use crate::refusal::{joined, synced};
use crate::timers::Timer;
use crate::turn::{Token, Turn};

/// How long a new member waits for its first generation. It cannot be heard of meanwhile, and a client that gave up
/// joins again under another id.
const NEW_MEMBER_TIMEOUT_MS: i64 = 5 * 60 * 1000;
/// How many ids a group has given out whose members have not come back, at most: each is memory that a client gets
/// for nothing.
const PENDING_MEMBERS_MAX: usize = 100_000;
/// How much the members of a group may say in all. A leader is sent all of it, and the record of a generation, which
/// must fit into one batch of `__consumer_offsets`, holds a part.
const SAID_BYTES_MAX: usize = 128 << 20;

impl ClassicGroup {
    pub(crate) fn join(&mut self, token: Token, join: &JoinGroup, turn: &mut Turn<'_>) -> Option<Effect> {
        let refuse = |turn: &mut Turn<'_>, error, member: &str| {
            turn.answers.give(token, joined(error, member.to_owned()));
            None
        };
        if !self.has_place_for(&join.member, turn.cluster.settings().classic_max_size) {
            self.forget(&join.member, turn);
            return refuse(turn, ErrorCode::GroupMaxSizeReached, "");
        }
        let said: usize = join.protocols.iter().map(|(_, said)| said.len()).sum();
        if self.said_bytes.saturating_add(said) > SAID_BYTES_MAX {
            return refuse(turn, ErrorCode::GroupMaxSizeReached, "");
        }
        if !self.supports(join) {
            return refuse(turn, ErrorCode::InconsistentGroupProtocol, &join.member);
        }
        if join.member.is_empty() {
            return self.join_new(token, join, turn);
        }
        if self.pending.contains_key(join.member.as_str()) {
            if join.instance.is_some() {
                // Ids are given out to dynamic members only.
                return refuse(turn, ErrorCode::UnknownMemberId, &join.member);
            }
            return self.add_and_rebalance(token, join.member.as_str().into(), join, turn);
        }
        if let Err(error) = self.check_member(&join.member, join.instance.as_deref()) {
            return refuse(turn, error, &join.member);
        }
        self.join_again(token, join, turn)
    }

    /// A member that waits already has its place; others are let in up to the bound. While the group prepares, those
    /// who wait count, so that a group which shrank its bound sheds the last ones.
    fn has_place_for(&self, member: &str, size_max: usize) -> bool {
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let waits = self.members.get(member).is_some_and(|member| member.joining.is_some());
                waits || self.joining < size_max
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(member) || self.members.len() < size_max
            }
        }
    }

    /// Drops a member, or an id that was given out, without a word.
    fn forget(&mut self, member: &str, turn: &mut Turn<'_>) {
        if let Some(armed) = self.pending.remove(member) {
            turn.timers.cancel(armed);
        }
        if let Some(taken) = self.take(member, turn.timers) {
            self.answer_removed(member, *taken, ErrorCode::UnknownMemberId, turn);
        }
    }

    fn join_new(&mut self, token: Token, join: &JoinGroup, turn: &mut Turn<'_>) -> Option<Effect> {
        let prefix = join.instance.as_deref().unwrap_or(&join.caller.client_id);
        let id: Arc<str> = format!("{prefix}-{}", turn.cluster.unique()).into();
        if let Some(instance) = &join.instance {
            return match self.instances.get(instance.as_str()).cloned() {
                Some(old) => self.replace_and_rebalance(token, &old, id, join, turn),
                None => self.add_and_rebalance(token, id, join, turn),
            };
        }
        if !join.needs_member_id {
            return self.add_and_rebalance(token, id, join, turn);
        }
        if self.pending.len() >= PENDING_MEMBERS_MAX {
            turn.answers.give(token, joined(ErrorCode::GroupMaxSizeReached, String::new()));
            return None;
        }
        let due_ms = turn.now.monotonic_ms.saturating_add(i64::from(join.session_timeout_ms));
        let timer = Timer::ClassicSession { group: Arc::clone(&self.name), member: Arc::clone(&id) };
        self.pending.insert(Arc::clone(&id), turn.timers.arm(due_ms, timer));
        turn.answers.give(token, joined(ErrorCode::MemberIdRequired, id.to_string()));
        None
    }

    fn join_again(&mut self, token: Token, join: &JoinGroup, turn: &mut Turn<'_>) -> Option<Effect> {
        let says_the_same = self
            .members
            .get(join.member.as_str())
            .is_some_and(|member| member.says_the_same(&join.protocols));
        let is_leader = self.is_leader(&join.member);
        match self.state {
            // Its answer may have been lost: it hears the same again.
            State::CompletingRebalance if says_the_same => {
                let answer = self.generation_for(&join.member, is_leader, false);
                turn.answers.give(token, answer);
                None
            }
            // A follower may fetch its assignment. A leader that joins wants another one to be made: it sees what
            // members do not say, such as a topic's new partitions.
            State::Stable if says_the_same && !is_leader => {
                let answer = self.generation_for(&join.member, false, false);
                turn.answers.give(token, answer);
                None
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update(token, join, turn);
                self.rebalance(turn)
            }
            State::Empty => {
                turn.answers.give(token, joined(ErrorCode::UnknownMemberId, join.member.clone()));
                None
            }
        }
    }

    fn add_and_rebalance(
        &mut self,
        token: Token,
        id: Arc<str>,
        join: &JoinGroup,
        turn: &mut Turn<'_>,
    ) -> Option<Effect> {
        if let Some(armed) = self.pending.remove(&id) {
            turn.timers.cancel(armed);
        }
        if self.state == State::PreparingRebalance && self.is_initial() {
            self.member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.as_str().into());
        }
        let mut member = Member::new(join, self.names_of(join));
        member.joining = Some(token);
        extend_session(&self.name, &id, &mut member, NEW_MEMBER_TIMEOUT_MS, turn);
        self.add(id, member);
        self.rebalance(turn)
    }

    /// A static member came back under no id: it gets a new one, and whoever has the old one is fenced.
    fn replace_and_rebalance(
        &mut self,
        token: Token,
        old: &Arc<str>,
        id: Arc<str>,
        join: &JoinGroup,
        turn: &mut Turn<'_>,
    ) -> Option<Effect> {
        let leader = self.leader.clone();
        let before = self.replace(old, &id, turn)?;
        self.update(token, &JoinGroup { member: id.to_string(), ..join.clone() }, turn);
        self.heard_of(&id, turn);
        match self.state {
            // The others need not notice, if nothing that they know changes.
            State::Stable if self.choose_protocol() == self.protocol => {
                let is_leader = self.is_leader(&id);
                let answer = if join.can_skip_assignment {
                    self.generation_for(&id, is_leader, is_leader)
                } else {
                    // An old client would take itself for the leader, and assign: it hears the id that it had.
                    let leader = leader.as_deref().unwrap_or_default().to_owned();
                    Joined { leader, ..self.generation_for(&id, false, false) }
                };
                if let Some(member) = self.members.get_mut(&id)
                    && member.joining.take().is_some()
                {
                    self.joining -= 1;
                }
                self.push_record(&|_| None, turn);
                Some(Effect::Replaced(Box::new(Replaced { token, answer, old: Arc::clone(old), id, before })))
            }
            State::PreparingRebalance => self.complete_if_all_joined(turn),
            // The leader may have been told of the old id, and would assign to it.
            _ => self.rebalance(turn),
        }
    }

    /// What the member says now, and that it waits for the next generation.
    fn update(&mut self, token: Token, join: &JoinGroup, turn: &mut Turn<'_>) {
        let protocols = self.names_of(join);
        let Some((id, _)) = self.members.get_key_value(join.member.as_str()) else { return };
        let id = Arc::clone(id);
        let Some(mut member) = self.members.remove(&id) else { return };
        self.count_votes(&member, false);
        member.protocols = protocols;
        member.rebalance_timeout_ms = join.rebalance_timeout_ms;
        member.session_timeout_ms = join.session_timeout_ms;
        self.count_votes(&member, true);
        match member.joining.replace(token) {
            // The client asked again, on another connection perhaps.
            Some(older) => turn.answers.give(older, joined(ErrorCode::RebalanceInProgress, id.to_string())),
            None => self.joining += 1,
        }
        self.members.insert(id, member);
    }

    /// Puts `id` in the place of `old`, and returns how the member was.
    fn replace(&mut self, old: &str, id: &Arc<str>, turn: &mut Turn<'_>) -> Option<Before> {
        let was_leader = self.is_leader(old);
        let was_unsynced = self.unsynced.contains(old);
        let mut member = self.take(old, turn.timers)?;
        if let Some(token) = member.joining.take() {
            turn.answers.give(token, joined(ErrorCode::FencedInstanceId, old.to_owned()));
        }
        if let Some(token) = member.syncing.take() {
            turn.answers.give(token, synced(ErrorCode::FencedInstanceId));
        }
        let before = Before {
            protocols: member.protocols.clone(),
            session_timeout_ms: member.session_timeout_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
        };
        member.is_new = false;
        self.add(Arc::clone(id), *member);
        if was_leader {
            self.leader = Some(Arc::clone(id));
        }
        if was_unsynced {
            self.unsynced.insert(Arc::clone(id));
        }
        Some(before)
    }

    /// Undoes the replacement of a static member whose record was refused.
    pub(super) fn put_back(&mut self, replaced: &Replaced, turn: &mut Turn<'_>) {
        if self.replace(&replaced.id, &replaced.old, turn).is_none() {
            return;
        }
        if let Some(mut member) = self.members.remove(&replaced.old) {
            self.count_votes(&member, false);
            member.protocols = replaced.before.protocols.clone();
            member.session_timeout_ms = replaced.before.session_timeout_ms;
            member.rebalance_timeout_ms = replaced.before.rebalance_timeout_ms;
            self.count_votes(&member, true);
            self.members.insert(Arc::clone(&replaced.old), member);
        }
        self.heard_of(&replaced.old, turn);
    }

    /// What the member says, copied, so that it does not keep the whole request in memory; the names are shared with
    /// those of the other members.
    fn names_of(&self, join: &JoinGroup) -> Vec<(Arc<str>, Bytes)> {
        let shared = |name: &str| match self.votes.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => name.into(),
        };
        // A name that comes twice would count as two votes.
        let mut seen = HashSet::with_capacity(join.protocols.len());
        join.protocols
            .iter()
            .filter(|(name, _)| seen.insert(name.as_str()))
            .map(|(name, said)| (shared(name), Bytes::copy_from_slice(said)))
            .collect()
    }

    /// The answer that tells a member of the present generation.
    pub(super) fn generation_for(&self, member: &str, with_members: bool, skip_assignment: bool) -> Joined {
        Joined {
            error: ErrorCode::None,
            member: member.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.as_deref().map(str::to_owned),
            protocol: self.protocol.as_deref().map(str::to_owned),
            leader: self.leader.as_deref().unwrap_or_default().to_owned(),
            skip_assignment,
            members: if with_members { self.joined_members() } else { Vec::new() },
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let joined = self.members.iter().map(|(id, member)| JoinedMember {
            member: id.to_string(),
            instance: member.instance.as_deref().map(str::to_owned),
            metadata: member.metadata(protocol).cloned().unwrap_or_default(),
        });
        joined.collect()
    }
}
