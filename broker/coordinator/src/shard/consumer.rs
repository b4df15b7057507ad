//! Where a shard calls into consumer groups: heartbeats, classic members in such a group, what is due. Groups take in
//! their changes at once; the step keeps how to undo them until its records are appended.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use super::{Shard, turn};
use crate::api::{Beaten, ConsumerBeaten, ConsumerGroupHeartbeat, JoinGroup, Request, Response};
use crate::classic::ClassicGroup;
use crate::cluster::Cluster;
use crate::consumer::{ConsumerGroup, Context, Fenced, Refused, Work, check, leaves};
use crate::group::{Entry, Group};
use crate::migration;
use crate::refusal::{consumer_beaten, refusal};
use crate::step::{Effect, Settled, Step};
use crate::turn::{Now, Token};

/// What a request to a consumer group comes to.
type Outcome = Result<(Response, Fenced), Refused>;

impl Shard {
    pub(super) fn consumer_heartbeat(
        &mut self,
        token: Token,
        beat: ConsumerGroupHeartbeat,
        cluster: &dyn Cluster,
        now: Now,
        step: &mut Step,
    ) {
        if !cluster.settings().consumer_protocol {
            let message = "The consumer group protocol is not enabled.".to_owned();
            return step.answers.give(token, consumer_beaten(ErrorCode::UnsupportedVersion, Some(message)));
        }
        let entered = check(&beat, cluster.settings())
            .and_then(|()| self.enter_consumer(&beat.group, beat.member_epoch == 0, cluster, now, step));
        let refuse = |refused: Refused, step: &mut Step| {
            step.answers.give(token, consumer_beaten(refused.error, Some(refused.message)));
        };
        let made = match entered {
            Ok(made) => made,
            Err(refused) => return refuse(refused, step),
        };
        let decided = self.decide(&beat.group, cluster, now, step, |group, context, work| {
            if leaves(&beat) {
                return group.leave(&beat, context, work).map(|(beaten, fenced)| (beaten.into(), fenced));
            }
            group.heartbeat(&beat, context, work).map(|beaten: ConsumerBeaten| (beaten.into(), Fenced::Done))
        });
        match decided {
            Ok(response) => step.answers.give_if_appended(token, response),
            Err(refused) => {
                if made {
                    self.take_back(&beat.group, step);
                }
                refuse(refused, step);
            }
        }
    }

    /// Sees to it that the group is there and a consumer group. Answers whether it was made for this request: from
    /// nothing, from a classic group without members, or from one whose members can go on in it.
    fn enter_consumer(
        &mut self,
        name: &Arc<str>,
        joins: bool,
        cluster: &dyn Cluster,
        now: Now,
        step: &mut Step,
    ) -> Result<bool, Refused> {
        let missing = |message: String| Err(Refused::new(ErrorCode::GroupIdNotFound, message));
        let group = match self.groups.get(&**name).map(|entry| &entry.group) {
            Some(Group::Consumer(_)) => return Ok(false),
            Some(Group::Classic(_)) if !joins => {
                return missing(format!("Group {name} is not a consumer group."));
            }
            None if !joins => return missing(format!("Consumer group {name} not found.")),
            None => ConsumerGroup::new(name),
            Some(Group::Classic(classic)) if classic.is_empty() => {
                if classic.is_recorded {
                    classic.add_tombstones(&mut step.records);
                }
                ConsumerGroup::new(name)
            }
            Some(Group::Classic(classic)) => {
                let context = Context::new(cluster, now);
                let (group, work) = migration::to_consumer(classic, &context)?;
                classic.add_tombstones(&mut step.records);
                step.records.extend(group.records(&work.changes));
                group
            }
        };
        self.replace(name, Group::Consumer(group), step);
        Ok(true)
    }

    /// Runs a decision of a consumer group: its records go into the step, or it is undone.
    fn decide(
        &mut self,
        name: &Arc<str>,
        cluster: &dyn Cluster,
        now: Now,
        step: &mut Step,
        decide: impl FnOnce(&mut ConsumerGroup, &Context<'_>, &mut Work) -> Outcome,
    ) -> Result<Response, Refused> {
        let Some(Entry { group: Group::Consumer(group), .. }) = self.groups.get_mut(&**name) else {
            return Err(Refused::new(ErrorCode::GroupIdNotFound, format!("Group {name} not found.")));
        };
        let context = Context::new(cluster, now);
        let mut work = Work::default();
        match decide(group, &context, &mut work) {
            Err(refused) => {
                work.undo(group, &context);
                group.arm(&mut self.timers);
                Err(refused)
            }
            Ok((response, fenced)) => {
                step.records.extend(group.records(&work.changes));
                group.arm(&mut self.timers);
                if !work.is_empty() || work.has_come_up() {
                    step.effects.push(Effect::Consumer { group: Arc::clone(&group.id), work });
                }
                if let Fenced::Downgrade(leaving) = fenced {
                    self.downgrade(name, &leaving, cluster, now, step);
                }
                Ok(response)
            }
        }
    }

    /// The group becomes a classic one, without those who leave.
    fn downgrade(
        &mut self,
        name: &Arc<str>,
        leaving: &[Arc<str>],
        cluster: &dyn Cluster,
        now: Now,
        step: &mut Step,
    ) {
        let Some(Entry { group: Group::Consumer(group), .. }) = self.groups.get(&**name) else { return };
        let mut classic = migration::to_classic(group, leaving, &Context::new(cluster, now));
        group.add_tombstones(&mut step.records);
        let mut turn = turn(&mut self.timers, step, cluster, now);
        // In the log it is a generation later than the members have: a broker that starts from there makes them join
        // again, as this one does, and does not take what the others left for assigned.
        let generation = classic.generation;
        classic.generation = generation.saturating_add(1);
        classic.push_record(&|_| None, &mut turn);
        classic.generation = generation;
        classic.begin(&mut turn);
        // What the others left is to be assigned.
        classic.begin_joining(&mut turn);
        self.replace(name, Group::Classic(classic), step);
    }

    fn replace(&mut self, name: &Arc<str>, group: Group, step: &mut Step) {
        let name = self.name_of(name);
        let before = match self.groups.get_mut(&*name) {
            Some(entry) => Some(std::mem::replace(&mut entry.group, group)),
            None => {
                let entry = Entry { group, ..Entry::simple(&name) };
                self.groups.insert(Arc::clone(&name), entry);
                None
            }
        };
        step.effects.push(Effect::Replaced { group: name, before });
    }

    /// Takes back a replacement, and its records, before the step is done.
    fn take_back(&mut self, name: &Arc<str>, step: &mut Step) {
        step.records.clear();
        if let Some(Effect::Replaced { group, before }) = step.effects.pop() {
            debug_assert_eq!(&group, name, "the replacement is the last effect of a refused request");
            self.put_back(&group, before);
        }
    }

    /// Answers the group that has to go again, with those who wait in it.
    pub(super) fn put_back(&mut self, name: &Arc<str>, before: Option<Group>) -> Option<Group> {
        let mut entry = self.groups.remove(&**name);
        if let Some(entry) = &mut entry {
            entry.group.cancel(&mut self.timers);
        }
        let (gone, offsets) = entry.map(|entry| (entry.group, entry.offsets)).unzip();
        if let Some(group) = before {
            self.groups.insert(Arc::clone(name), Entry { group, offsets: offsets.unwrap_or_default() });
        }
        gone
    }

    /// The group that was replaced is gone: who waits in it is told to begin anew.
    pub(super) fn drop_replaced(&mut self, before: Option<Group>, settled: &mut Settled) {
        if let Some(mut group) = before {
            group.cancel(&mut self.timers);
            group.abandon(ErrorCode::RebalanceInProgress, &mut settled.answers);
        }
    }

    pub(super) fn undo_consumer(&mut self, name: &Arc<str>, work: Work, cluster: &dyn Cluster, now: Now) {
        if let Some(Entry { group: Group::Consumer(group), .. }) = self.groups.get_mut(&**name) {
            work.undo(group, &Context::new(cluster, now));
            group.arm(&mut self.timers);
        }
    }

    /// JoinGroup, SyncGroup, Heartbeat or LeaveGroup of a member with the classic protocol in a consumer group that is
    /// not empty; or of one that joins an empty consumer group, which becomes a classic one.
    pub(super) fn classic_in_consumer(
        &mut self,
        token: Token,
        request: Request,
        cluster: &dyn Cluster,
        now: Now,
        step: &mut Step,
    ) {
        let name = self.name_of(request.group().unwrap_or_default());
        let Some(Entry { group: Group::Consumer(group), .. }) = self.groups.get(&*name) else { return };
        if group.is_empty() {
            return match request {
                Request::JoinGroup(join) => self.join_emptied(token, join, cluster, now, step),
                other => step.answers.give(token, refusal(&other, ErrorCode::UnknownMemberId)),
            };
        }
        let decided = self.decide(&name, cluster, now, step, |group, context, work| match &request {
            Request::JoinGroup(join) => {
                group.join_classic(join, context, work).map(|joined| (joined.into(), Fenced::Done))
            }
            Request::SyncGroup(sync) => {
                group.sync_classic(sync, context).map(|synced| (synced.into(), Fenced::Done))
            }
            Request::Heartbeat(beat) => group
                .beat_classic(beat, context)
                .map(|()| (Beaten { error: ErrorCode::None }.into(), Fenced::Done)),
            Request::LeaveGroup(leave) => {
                let (left, fenced) = group.leave_classic(leave, context, work);
                Ok((left.into(), fenced))
            }
            _ => Err(Refused::new(ErrorCode::UnknownServerError, "not a request of a classic member")),
        });
        match decided {
            Ok(response) => step.answers.give_if_appended(token, response),
            Err(refused) => step.answers.give(token, refusal(&request, refused.error)),
        }
    }

    fn join_emptied(
        &mut self,
        token: Token,
        join: JoinGroup,
        cluster: &dyn Cluster,
        now: Now,
        step: &mut Step,
    ) {
        let name = self.name_of(&join.group);
        if let Some(Entry { group, .. }) = self.groups.get(&*name) {
            group.add_tombstones(&mut step.records);
        }
        self.replace(&name, Group::Classic(ClassicGroup::new(&name)), step);
        self.member(token, Request::JoinGroup(join), cluster, now, step);
    }

    pub(super) fn consumer_due(&mut self, name: &Arc<str>, cluster: &dyn Cluster, now: Now, step: &mut Step) {
        let Some(Entry { group: Group::Consumer(group), .. }) = self.groups.get_mut(&**name) else { return };
        group.soft.armed = None;
        let outcome = self.decide(name, cluster, now, step, |group, context, work| {
            let fenced = group.expire(context, work);
            Ok((Beaten { error: ErrorCode::None }.into(), fenced))
        });
        debug_assert!(outcome.is_ok(), "what is due is not refused");
    }
}
