//! SyncGroup, Heartbeat and LeaveGroup: members fetch what they were assigned, show that they live, and go.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_model::error::ErrorCode;

use super::effect::Effect;
use super::group::{ClassicGroup, State};
use super::life::extend_session;
use crate::api::{Beaten, Heartbeat, LeaveGroup, LeavingMember, Left, SyncGroup, Synced};
use crate::refusal::synced;
use crate::turn::{Token, Turn};

impl ClassicGroup {
    pub(crate) fn sync(&mut self, token: Token, sync: SyncGroup, turn: &mut Turn<'_>) -> Option<Effect> {
        if let Err(error) = self.check_sync(&sync) {
            turn.answers.give(token, synced(error));
            return None;
        }
        self.unsynced.remove(sync.member.as_str());
        if self.unsynced.is_empty() {
            turn.timers.drop_kept(&mut self.sync_timer);
        }
        if self.state == State::Stable {
            self.heard_of(&sync.member, turn);
            let assignment = self.members.get(sync.member.as_str()).map(|member| member.assignment.clone());
            turn.answers.give(token, self.assignment_for(assignment.unwrap_or_default()));
            return None;
        }
        if let Some(member) = self.members.get_mut(sync.member.as_str())
            && let Some(older) = member.syncing.replace(token)
        {
            // The client asked again, on another connection perhaps.
            turn.answers.give(older, synced(ErrorCode::RebalanceInProgress));
        }
        if !self.is_leader(&sync.member) {
            return None;
        }
        let known = |(id, assignment): (String, Bytes)| {
            // Copied, so that it does not keep the whole request in memory.
            self.members.contains_key(id.as_str()).then(|| (id, Bytes::copy_from_slice(&assignment)))
        };
        let assignments: HashMap<String, Bytes> = sync.assignments.into_iter().filter_map(known).collect();
        self.push_record(&|id| Some(assignments.get(id).cloned().unwrap_or_default()), turn);
        Some(Effect::Assigned { generation: self.generation, assignments })
    }

    fn check_sync(&self, sync: &SyncGroup) -> Result<(), ErrorCode> {
        self.check_member(&sync.member, sync.instance.as_deref())?;
        if sync.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |asked: &Option<String>, is: &Option<Arc<str>>| match (asked, is) {
            (Some(asked), Some(is)) => **asked != **is,
            _ => false,
        };
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    fn assignment_for(&self, assignment: Bytes) -> Synced {
        Synced {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.as_deref().map(str::to_owned),
            protocol: self.protocol.as_deref().map(str::to_owned),
            assignment,
        }
    }

    /// Answers all that wait for their assignment.
    pub(super) fn answer_syncs(&mut self, error: ErrorCode, turn: &mut Turn<'_>) {
        let name = Arc::clone(&self.name);
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        for (id, member) in &mut self.members {
            let Some(token) = member.syncing.take() else { continue };
            let answer = if error.is_none() {
                Synced {
                    error,
                    protocol_type: protocol_type.as_deref().map(str::to_owned),
                    protocol: protocol.as_deref().map(str::to_owned),
                    assignment: member.assignment.clone(),
                }
            } else {
                synced(error)
            };
            turn.answers.give(token, answer);
            let timeout_ms = i64::from(member.session_timeout_ms);
            extend_session(&name, id, member, timeout_ms, turn);
        }
    }

    /// The generation came to nothing: its assignments are void, and who waits for them hears why.
    pub(super) fn drop_assignments(&mut self, error: ErrorCode, turn: &mut Turn<'_>) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        self.answer_syncs(error, turn);
    }

    pub(crate) fn beat(&mut self, token: Token, beat: &Heartbeat, turn: &mut Turn<'_>) {
        let of_generation =
            if beat.generation == self.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) };
        let checked = self.check_member(&beat.member, beat.instance.as_deref()).and(of_generation);
        let error = match (checked, self.state) {
            (Err(error), _) => error,
            (Ok(()), State::Empty) => ErrorCode::UnknownMemberId,
            (Ok(()), state) => {
                self.heard_of(&beat.member, turn);
                match state {
                    State::PreparingRebalance => ErrorCode::RebalanceInProgress,
                    _ => ErrorCode::None,
                }
            }
        };
        turn.answers.give(token, Beaten { error });
    }

    /// A member's commit shows that it lives.
    pub(crate) fn committed(&mut self, member: &str, turn: &mut Turn<'_>) {
        if matches!(self.state, State::Stable | State::PreparingRebalance) {
            self.heard_of(member, turn);
        }
    }

    pub(crate) fn leave(&mut self, token: Token, leave: LeaveGroup, turn: &mut Turn<'_>) -> Option<Effect> {
        let mut left = Vec::with_capacity(leave.members.len());
        let mut some_left = false;
        for member in leave.members {
            let error = self.leave_one(&member, turn).err().unwrap_or(ErrorCode::None);
            some_left |= error.is_none();
            left.push((member, error));
        }
        let effect = if some_left { self.rebalance_without(turn) } else { None };
        turn.answers.give_if_appended(token, Left { error: ErrorCode::None, members: left });
        effect
    }

    fn leave_one(&mut self, leaving: &LeavingMember, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        if leaving.member.is_empty() {
            // An administrator knows the instance only.
            let instance = leaving.instance.as_deref().ok_or(ErrorCode::UnknownMemberId)?;
            let id = self.instances.get(instance).cloned().ok_or(ErrorCode::UnknownMemberId)?;
            self.remove(&id, turn);
            return Ok(());
        }
        if let Some(armed) = self.pending.remove(leaving.member.as_str()) {
            turn.timers.cancel(armed);
            return Ok(());
        }
        self.check_member(&leaving.member, leaving.instance.as_deref())?;
        self.remove(&leaving.member, turn);
        Ok(())
    }
}
