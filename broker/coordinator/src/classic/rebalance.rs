//! The way of a group from one generation to the next: members join until all are there or their time is over, a leader
//! and a protocol are chosen, and all of them are told.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use super::effect::Effect;
use super::group::{ClassicGroup, JoinTimer, State};
use super::life::extend_session;
use super::member::Member;
use crate::refusal::{joined, synced};
use crate::timers::{Armed, Timer};
use crate::turn::Turn;

impl ClassicGroup {
    /// Whether the group was empty before the members came that it waits for.
    pub(super) fn is_initial(&self) -> bool {
        self.join_timer.is_some_and(|timer| timer.initial.is_some())
    }

    /// Membership or metadata have changed: begins a rebalance, or goes on with the one that has begun.
    pub(super) fn rebalance(&mut self, turn: &mut Turn<'_>) -> Option<Effect> {
        match self.state {
            State::PreparingRebalance => self.complete_if_all_joined(turn),
            State::Empty => {
                self.begin_first(turn);
                None
            }
            State::CompletingRebalance | State::Stable => {
                if self.state == State::CompletingRebalance {
                    self.drop_assignments(ErrorCode::RebalanceInProgress, turn);
                }
                self.begin_joining(turn);
                if self.all_joined() { self.complete_join(turn) } else { None }
            }
        }
    }

    /// The members of an empty group come one after the other: they are given some time, and more while they come.
    fn begin_first(&mut self, turn: &mut Turn<'_>) {
        let delay_ms = turn.cluster.settings().initial_rebalance_delay_ms.max(0);
        let left_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
        self.member_added = false;
        self.arm_join(delay_ms, Some((delay_ms, left_ms)), turn);
        self.enter(State::PreparingRebalance, turn);
    }

    pub(crate) fn begin_joining(&mut self, turn: &mut Turn<'_>) {
        turn.timers.drop_kept(&mut self.sync_timer);
        self.unsynced.clear();
        self.arm_join(self.rebalance_timeout_ms(), None, turn);
        self.enter(State::PreparingRebalance, turn);
    }

    fn arm_join(&mut self, delay_ms: i64, initial: Option<(i64, i64)>, turn: &mut Turn<'_>) {
        self.cancel_join(turn);
        let due_ms = turn.now.monotonic_ms.saturating_add(delay_ms);
        let armed = turn.timers.arm(due_ms, Timer::ClassicJoin { group: Arc::clone(&self.name) });
        self.join_timer = Some(JoinTimer { armed, initial });
    }

    fn cancel_join(&mut self, turn: &mut Turn<'_>) {
        if let Some(timer) = self.join_timer.take() {
            turn.timers.cancel(timer.armed);
        }
    }

    pub(super) fn complete_if_all_joined(&mut self, turn: &mut Turn<'_>) -> Option<Effect> {
        let may = self.state == State::PreparingRebalance && !self.is_initial() && self.all_joined();
        if may { self.complete_join(turn) } else { None }
    }

    /// The time to join is over, or to extend.
    pub(crate) fn join_due(&mut self, armed: Armed, turn: &mut Turn<'_>) -> Option<Effect> {
        let timer = self.join_timer.filter(|timer| timer.armed == armed)?;
        if let Some((delay_ms, left_ms)) = timer.initial
            && self.member_added
            && left_ms > 0
        {
            self.member_added = false;
            let next_ms = turn.cluster.settings().initial_rebalance_delay_ms.max(0).min(left_ms);
            self.arm_join(next_ms, Some((next_ms, (left_ms - delay_ms).max(0))), turn);
            return None;
        }
        self.complete_join(turn)
    }

    /// Ends the joining: who has not come is no member any more, but for static members, who may be restarting.
    fn complete_join(&mut self, turn: &mut Turn<'_>) -> Option<Effect> {
        let was_initial = self.join_timer.and_then(|timer| timer.initial);
        self.cancel_join(turn);
        let absent = |member: &Member| member.joining.is_none() && member.instance.is_none();
        let gone: Vec<Arc<str>> =
            self.members.iter().filter(|(_, member)| absent(member)).map(|(id, _)| Arc::clone(id)).collect();
        for id in gone {
            self.take(&id, turn.timers);
        }
        if !self.members.is_empty() && !self.has_leader_that_joined() {
            // Only static members are left, and none has come: their sessions or their return will end this.
            self.arm_join(self.rebalance_timeout_ms(), was_initial, turn);
            return None;
        }
        self.generation = self.generation.wrapping_add(1).max(0);
        self.unsynced.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.subscribed = self.read_subscriptions();
            self.enter(State::Empty, turn);
            self.push_record(&|_| None, turn);
            return Some(Effect::Emptied { generation: self.generation });
        }
        self.protocol = self.choose_protocol();
        self.subscribed = self.read_subscriptions();
        self.enter(State::CompletingRebalance, turn);
        self.tell_generation(turn);
        None
    }

    /// Whether the leader has come; if not, another member that has takes its place.
    fn has_leader_that_joined(&mut self) -> bool {
        let joined = |member: &Member| member.joining.is_some();
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        if leader.is_some_and(|leader| joined(leader)) {
            return true;
        }
        let next = self.members.iter().find(|(_, member)| joined(member)).map(|(id, _)| Arc::clone(id));
        let found = next.is_some();
        if found {
            self.leader = next;
        }
        found
    }

    fn tell_generation(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in &ids {
            let answer = self.generation_for(id, self.is_leader(id), false);
            let Some(member) = self.members.get_mut(id) else { continue };
            member.is_new = false;
            let timeout_ms = i64::from(member.session_timeout_ms);
            extend_session(&self.name, id, member, timeout_ms, turn);
            if let Some(token) = member.joining.take() {
                turn.answers.give(token, answer);
            }
        }
        self.joining = 0;
        self.unsynced.extend(ids);
        let due_ms = turn.now.monotonic_ms.saturating_add(self.rebalance_timeout_ms());
        let timer = Timer::ClassicSync { group: Arc::clone(&self.name) };
        turn.timers.drop_kept(&mut self.sync_timer);
        self.sync_timer = Some(turn.timers.arm(due_ms, timer));
    }

    /// The time to sync is over: who has not is no member any more.
    pub(crate) fn sync_due(&mut self, armed: Armed, turn: &mut Turn<'_>) -> Option<Effect> {
        if self.sync_timer != Some(armed) {
            return None;
        }
        self.sync_timer = None;
        if self.unsynced.is_empty() || !matches!(self.state, State::CompletingRebalance | State::Stable) {
            return None;
        }
        for id in std::mem::take(&mut self.unsynced) {
            self.take(&id, turn.timers);
        }
        self.rebalance(turn)
    }

    /// Answers the requests of a member that is no more.
    pub(super) fn answer_removed(&mut self, id: &str, member: Member, error: ErrorCode, turn: &mut Turn<'_>) {
        if let Some(token) = member.joining {
            turn.answers.give(token, joined(error, id.to_owned()));
        }
        if let Some(token) = member.syncing {
            turn.answers.give(token, synced(error));
        }
    }

    /// The member is no more.
    pub(super) fn remove(&mut self, id: &str, turn: &mut Turn<'_>) {
        if let Some(member) = self.take(id, turn.timers) {
            self.answer_removed(id, *member, ErrorCode::UnknownMemberId, turn);
        }
    }

    /// A member, or one that was given an id, was not heard of in time, or its heartbeats moved that time.
    pub(crate) fn session_due(&mut self, armed: Armed, id: &Arc<str>, turn: &mut Turn<'_>) -> Option<Effect> {
        if self.pending.get(id) == Some(&armed) {
            self.pending.remove(id);
            return self.complete_if_all_joined(turn);
        }
        let member = self.members.get_mut(id).filter(|member| member.session == Some(armed))?;
        member.session = None;
        if turn.now.monotonic_ms < member.deadline_ms {
            let left_ms = member.deadline_ms - turn.now.monotonic_ms;
            extend_session(&self.name, id, member, left_ms, turn);
            return None;
        }
        // Who waits for the group cannot be late; its session begins again with the answer.
        if member.waits() && !member.is_new {
            return None;
        }
        self.remove(id, turn);
        self.rebalance_without(turn)
    }

    /// Goes on after members were removed.
    pub(super) fn rebalance_without(&mut self, turn: &mut Turn<'_>) -> Option<Effect> {
        match self.state {
            State::Empty => None,
            _ => self.rebalance(turn),
        }
    }
}
