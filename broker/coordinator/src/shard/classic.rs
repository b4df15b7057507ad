//! Where a shard calls into classic groups: the requests of members, and their timers.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use super::{Shard, turn};
use crate::api::Request;
use crate::classic::{self, ClassicGroup};
use crate::cluster::Cluster;
use crate::group::{Entry, Group};
use crate::refusal::refusal;
use crate::step::{Effect, Step};
use crate::timers::{Armed, Timer};
use crate::turn::{Now, Token, Turn};

impl Shard {
    /// JoinGroup, SyncGroup, Heartbeat and LeaveGroup.
    pub(super) fn member(
        &mut self,
        token: Token,
        request: Request,
        cluster: &dyn Cluster,
        now: Now,
        step: &mut Step,
    ) {
        match self.groups.get_mut(request.group().unwrap_or_default()).map(|entry| &mut entry.group) {
            Some(Group::Classic(group)) => {
                let mut turn = turn(&mut self.timers, step, cluster, now);
                let effect = ask(group, token, request, &mut turn);
                // Most requests change nothing of this: heartbeats must be cheap.
                let is_nothing = group.is_nothing();
                if effect.is_none() && !is_nothing {
                    return;
                }
                let name = Arc::clone(&group.name);
                let effect = effect.map(|effect| Effect::Classic { group: Arc::clone(&name), effect });
                step.effects.extend(effect);
                if is_nothing {
                    self.drop_if_nothing(&name);
                }
            }
            Some(Group::Consumer(_)) => self.classic_in_consumer(token, request, cluster, now, step),
            // Only a member that has no id yet makes a group.
            None => match request {
                Request::JoinGroup(join) if join.member.is_empty() && cluster.settings().classic_protocol => {
                    self.groups.insert(Arc::clone(&join.group), Entry::simple(&join.group));
                    self.member(token, Request::JoinGroup(join), cluster, now, step);
                }
                other => step.answers.give(token, refusal(&other, ErrorCode::UnknownMemberId)),
            },
        }
    }

    /// One of the timers that are named `Classic…`.
    pub(super) fn classic_due(
        &mut self,
        armed: Armed,
        timer: Timer,
        cluster: &dyn Cluster,
        now: Now,
        step: &mut Step,
    ) {
        let (Timer::ClassicSession { group, .. }
        | Timer::ClassicJoin { group }
        | Timer::ClassicSync { group }
        | Timer::ClassicUnsaved { group }) = &timer
        else {
            return;
        };
        let Some(Entry { group: Group::Classic(classic), .. }) = self.groups.get_mut(&**group) else {
            return;
        };
        let mut turn = turn(&mut self.timers, step, cluster, now);
        let effect = match &timer {
            Timer::ClassicSession { member, .. } => classic.session_due(armed, member, &mut turn),
            Timer::ClassicJoin { .. } => classic.join_due(armed, &mut turn),
            Timer::ClassicSync { .. } => classic.sync_due(armed, &mut turn),
            _ if classic.unsaved == Some(armed) => classic.save_again(&mut turn),
            _ => None,
        };
        step.effects.extend(effect.map(|effect| Effect::Classic { group: Arc::clone(group), effect }));
        self.drop_if_nothing(group);
    }
}

fn ask(
    group: &mut ClassicGroup,
    token: Token,
    request: Request,
    turn: &mut Turn<'_>,
) -> Option<classic::Effect> {
    match request {
        Request::JoinGroup(join) => group.join(token, &join, turn),
        Request::SyncGroup(sync) => group.sync(token, sync, turn),
        Request::LeaveGroup(leave) => group.leave(token, leave, turn),
        Request::Heartbeat(beat) => {
            group.beat(token, &beat, turn);
            None
        }
        other => {
            turn.answers.give(token, refusal(&other, ErrorCode::UnknownServerError));
            None
        }
    }
}
