//! Where a shard calls into consumer groups: heartbeats, classic members in such a group, timers, changes of topics.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use super::Shard;
use crate::api::{ConsumerGroupHeartbeat, Request};
use crate::cluster::Cluster;
use crate::consumer;
use crate::refusal::refusal;
use crate::step::{Settled, Step};
use crate::timers::{Armed, Timer};
use crate::turn::{Now, Token};

impl Shard {
    pub(super) fn consumer_heartbeat(
        &mut self,
        token: Token,
        request: ConsumerGroupHeartbeat,
        _cluster: &dyn Cluster,
        _now: Now,
        step: &mut Step,
    ) {
        step.answers.give(token, refusal(&request.into(), ErrorCode::UnsupportedVersion));
    }

    /// JoinGroup, SyncGroup, Heartbeat or LeaveGroup of a member with the classic protocol in a consumer group that is
    /// not empty; or of one that joins an empty consumer group, which becomes a classic one.
    pub(super) fn classic_in_consumer(
        &mut self,
        token: Token,
        request: Request,
        _cluster: &dyn Cluster,
        _now: Now,
        step: &mut Step,
    ) {
        step.answers.give(token, refusal(&request, ErrorCode::UnsupportedVersion));
    }

    /// One of the timers that are named `Consumer…`.
    pub(super) fn consumer_due(
        &mut self,
        _armed: Armed,
        _timer: Timer,
        _cluster: &dyn Cluster,
        _now: Now,
        _step: &mut Step,
    ) {
    }

    /// After the replay, for each consumer group: sessions start anew.
    pub(super) fn consumer_begin(
        &mut self,
        _group: &Arc<str>,
        _cluster: &dyn Cluster,
        _now: Now,
        _step: &mut Step,
    ) {
    }

    /// On each call: topics may have changed since the last one. It must be quick where they have not.
    pub(super) fn consumer_topics(&mut self, _cluster: &dyn Cluster, _now: Now) {}

    pub(super) fn settle_consumer(
        &mut self,
        _group: &Arc<str>,
        effect: consumer::Effect,
        _appended: Result<(), ErrorCode>,
        _cluster: &dyn Cluster,
        _now: Now,
        _settled: &mut Settled,
    ) {
        match effect {}
    }
}
