//! Where a shard calls into classic groups: the requests of members, and their timers.

use ottla_model::error::ErrorCode;

use super::Shard;
use crate::api::Request;
use crate::cluster::Cluster;
use crate::group::{Entry, Group};
use crate::refusal::refusal;
use crate::step::Step;
use crate::timers::{Armed, Timer};
use crate::turn::{Now, Token};

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
        let name = request.group().unwrap_or_default();
        if let Some(Entry { group: Group::Consumer(_), .. }) = self.groups.get(name) {
            return self.classic_in_consumer(token, request, cluster, now, step);
        }
        step.answers.give(token, refusal(&request, ErrorCode::UnsupportedVersion));
    }

    pub(super) fn classic_due(
        &mut self,
        _armed: Armed,
        _timer: Timer,
        _cluster: &dyn Cluster,
        _now: Now,
        _step: &mut Step,
    ) {
    }
}
