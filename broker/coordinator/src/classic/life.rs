//! The timers of a classic group and its members, and the end of its requests when the shard is given up.

use ottla_model::error::ErrorCode;

use super::group::ClassicGroup;
use super::member::Member;
use crate::refusal;
use crate::timers::{Timer, Timers};
use crate::turn::{Answer, Turn};
use std::sync::Arc;

/// Moves the time until which the member must be heard of.
pub(crate) fn extend_session(
    group: &Arc<str>,
    id: &Arc<str>,
    member: &mut Member,
    timeout_ms: i64,
    turn: &mut Turn<'_>,
) {
    if member.extends_armed(timeout_ms, turn) {
        return;
    }
    turn.timers.drop_kept(&mut member.session);
    let timer = Timer::ClassicSession { group: Arc::clone(group), member: Arc::clone(id) };
    member.session = Some(turn.timers.arm(member.deadline_ms, timer));
}

impl Member {
    /// Moves the deadline, and answers whether the timer may stay: one that fires earlier is armed again when it does,
    /// so that heartbeats need not move it.
    fn extends_armed(&mut self, timeout_ms: i64, turn: &Turn<'_>) -> bool {
        self.deadline_ms = turn.now.monotonic_ms.saturating_add(timeout_ms);
        self.session.is_some_and(|armed| armed.due_ms <= self.deadline_ms)
    }
}

impl ClassicGroup {
    /// The member was heard of.
    pub(crate) fn heard_of(&mut self, id: &str, turn: &mut Turn<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        let timeout_ms = i64::from(member.session_timeout_ms);
        if member.extends_armed(timeout_ms, turn) {
            return;
        }
        let Some((id, _)) = self.members.get_key_value(id) else { return };
        let id = Arc::clone(id);
        if let Some(member) = self.members.get_mut(&id) {
            extend_session(&self.name, &id, member, timeout_ms, turn);
        }
    }

    /// After the replay: the members' sessions start anew, and a group that has grown too large sheds some.
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        ids.iter().for_each(|id| self.heard_of(id, turn));
        if self.members.len() > turn.cluster.settings().classic_max_size {
            self.begin_joining(turn);
        }
    }

    /// Nothing is to be due for the group any more.
    pub(crate) fn cancel(&mut self, timers: &mut Timers) {
        for member in self.members.values_mut() {
            timers.drop_kept(&mut member.session);
        }
        for (_, armed) in self.pending.drain() {
            timers.cancel(armed);
        }
        if let Some(timer) = self.join_timer.take() {
            timers.cancel(timer.armed);
        }
        timers.drop_kept(&mut self.sync_timer);
        timers.drop_kept(&mut self.unsaved);
    }

    /// Takes the requests that wait, answered with `error`.
    pub(crate) fn abandon(&mut self, error: ErrorCode, answers: &mut Vec<Answer>) {
        for (id, member) in &mut self.members {
            if let Some(token) = member.joining.take() {
                answers.push(Answer { token, response: refusal::joined(error, id.to_string()).into() });
            }
            if let Some(token) = member.syncing.take() {
                answers.push(Answer { token, response: refusal::synced(error).into() });
            }
        }
        self.joining = 0;
    }
}
