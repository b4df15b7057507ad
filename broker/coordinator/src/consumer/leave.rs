//! Members that go: by their own word, or since a deadline went by. Their partitions are free at once, the group's epoch
//! rises, and the next heartbeat of another member, whoever that is, brings a new target.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use super::change::Change;
use super::deadlines::Due;
use super::group::ConsumerGroup;
use super::heartbeat::{check_fence, unknown_instance, unknown_member};
use super::member::{AWAY_EPOCH, Current, Standing};
use super::work::{Context, Refused, Work};
use super::{target, topics};
use crate::api::{ConsumerBeaten, ConsumerGroupHeartbeat};
use crate::cluster::Migration;
use crate::partitions::Partitions;

/// Members that are fenced in one step.
const FENCED_MAX: usize = 300;

/// What became of a group whose members went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fenced {
    Done,
    /// All that stay speak the classic protocol: the group is to become a classic one, without these.
    Downgrade(Vec<Arc<str>>),
}

impl ConsumerGroup {
    /// A farewell: epoch -1 or -2. The request was checked.
    pub fn leave(
        &mut self,
        call: &ConsumerGroupHeartbeat,
        context: &Context<'_>,
        work: &mut Work,
    ) -> Result<(ConsumerBeaten, Fenced), Refused> {
        let answer = |member: &str| ConsumerBeaten {
            error: ErrorCode::None,
            message: None,
            member: Some(member.to_owned()),
            member_epoch: call.member_epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        };
        let id = match &call.instance {
            None => match self.durable.members.get_key_value(call.member.as_str()) {
                Some((id, _)) => id.clone(),
                None => return Err(unknown_member(self, &call.member)),
            },
            Some(instance) => {
                let (id, member) = self.static_member(instance).ok_or_else(|| unknown_instance(instance))?;
                check_fence(id, &call.member, instance)?;
                let (id, current) = (id.clone(), member.current.clone());
                if call.member_epoch == AWAY_EPOCH {
                    let away =
                        Current { epoch: AWAY_EPOCH, revoking: Partitions::default(), ..(*current).clone() };
                    work.change(self, Change::Current { member: id.clone(), current: Arc::new(away) });
                    self.soft.deadlines.cancel(Due::Rebalance, &id);
                    return Ok((answer(&id), Fenced::Done));
                }
                id
            }
        };
        let beaten = answer(&id);
        Ok((beaten, self.fence(vec![id], context, work)))
    }

    /// Takes members out of the group, or says that it is to become a classic one without them.
    pub fn fence(&mut self, ids: Vec<Arc<str>>, context: &Context<'_>, work: &mut Work) -> Fenced {
        if ids.is_empty() {
            return Fenced::Done;
        }
        if self.becomes_classic(&ids, context) {
            return Fenced::Downgrade(ids);
        }
        for id in &ids {
            let pattern = self.member(id).and_then(|member| member.metadata.regex.clone());
            self.remove_member(id, work);
            if let Some(pattern) = pattern.filter(|pattern| self.pattern_members(pattern) == 0)
                && self.durable.resolved.contains_key(&pattern)
            {
                work.change(self, Change::RegexGone { pattern });
            }
        }
        topics::refresh_epoch(self, context, work, true);
        Fenced::Done
    }

    fn becomes_classic(&self, leaving: &[Arc<str>], context: &Context<'_>) -> bool {
        let settings = context.cluster.settings();
        let allowed = matches!(settings.migration, Migration::Bidirectional | Migration::Downgrade);
        let classic = |id: &&Arc<str>| self.member(id).is_some_and(|member| member.is_classic());
        let staying = self.durable.members.len() - leaving.len();
        let staying_classic = self.classic_members() - leaving.iter().filter(classic).count();
        allowed && staying > 0 && staying == staying_classic && staying <= settings.classic_max_size
    }

    /// Deals with what is due. To be called again while `next_due_ms` is in the past.
    pub fn expire(&mut self, context: &Context<'_>, work: &mut Work) -> Fenced {
        let mut fenced: Vec<Arc<str>> = Vec::new();
        while fenced.len() < FENCED_MAX {
            let Some((due, member)) = self.soft.deadlines.pop(context.monotonic_ms) else { break };
            if due == Due::Assignment {
                // Patterns and topics first: there may be more that the same computation can take in.
                let bump = topics::refresh_patterns(self, context, work);
                topics::refresh_epoch(self, context, work, bump);
                target::update(self, context, work, true);
                work.came_up(due, member);
                continue;
            }
            let Some(found) = self.member(&member) else { continue };
            if due == Due::Rebalance && found.current.standing != Standing::UnrevokedPartitions {
                continue;
            }
            work.came_up(due, member.clone());
            if !fenced.contains(&member) {
                fenced.push(member);
            }
        }
        self.fence(fenced, context, work)
    }

    /// After a load: sessions begin anew, and members that were to give partitions back have their time for it.
    pub fn begin(&mut self, context: &Context<'_>) {
        let now = context.monotonic_ms;
        let members: Vec<(Arc<str>, bool, i64)> = self
            .durable
            .members
            .iter()
            .map(|(id, member)| {
                let waits = member.current.standing == Standing::UnrevokedPartitions && !member.is_classic();
                (id.clone(), waits, i64::from(member.metadata.rebalance_timeout_ms.max(0)))
            })
            .collect();
        for (id, waits, rebalance_timeout) in members {
            if let Some(timeout) = self.session_timeout_ms(&id, context) {
                self.soft.deadlines.set(Due::Session, &id, now + timeout);
            }
            if waits {
                self.soft.deadlines.set(Due::Rebalance, &id, now + rebalance_timeout);
            }
        }
        let topics: Vec<_> = self.owned_topics().collect();
        for id in topics {
            if let Some(topic) = context.cluster.topic_by_id(id) {
                self.soft.names.insert(id, topic.name);
            }
        }
    }

    /// When `expire` wants to be called next, in monotonic time.
    #[cfg(test)]
    pub fn next_due_ms(&self) -> Option<i64> {
        self.soft.deadlines.next_ms()
    }
}
