//! ConsumerGroupHeartbeat: a member joins, says that it lives, changes its subscription, reports what it owns, learns
//! what it is meant to have, or leaves. One that changes nothing costs a few look-ups.

use std::sync::Arc;

use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;

use super::change::Change;
use super::deadlines::Due;
use super::group::ConsumerGroup;
use super::member::{AWAY_EPOCH, Current, LEFT_EPOCH, MemberMetadata, Standing};
use super::reconcile::Reconciliation;
use super::regex::{PATTERNS_MAX, Pattern};
use super::work::{Context, Refused, Work};
use super::{target, topics};
use crate::api::{ConsumerBeaten, ConsumerGroupHeartbeat};
use crate::cluster::Settings;
use crate::partitions::Partitions;

/// From this version on, clients choose the ids of their members.
const MEMBER_ID_OF_CLIENT_VERSION: i16 = 1;

/// What can be said of a request without its group.
pub fn check(call: &ConsumerGroupHeartbeat, settings: &Settings) -> Result<(), Refused> {
    let invalid = |what: &str| Err(Refused::new(ErrorCode::InvalidRequest, what));
    let is_blank = |text: &str| text.trim().is_empty();
    let epoch = call.member_epoch;
    let names_itself = call.version >= MEMBER_ID_OF_CLIENT_VERSION || epoch > 0 || epoch == LEFT_EPOCH;
    if names_itself && is_blank(&call.member) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&call.group) {
        return invalid("GroupId can't be empty.");
    }
    if call.instance.as_deref().is_some_and(is_blank) {
        return invalid("InstanceId can't be empty.");
    }
    if call.rack.as_deref().is_some_and(is_blank) {
        return invalid("RackId can't be empty.");
    }
    if epoch == 0 {
        if call.rebalance_timeout_ms == -1 {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if call.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if call.subscribed_topics.is_none() && call.subscribed_regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
    } else if epoch == AWAY_EPOCH && call.instance.is_none() {
        return invalid("InstanceId can't be null.");
    } else if epoch < AWAY_EPOCH {
        return invalid("MemberEpoch is invalid.");
    }
    let supported = &settings.consumer_assignors;
    match &call.server_assignor {
        Some(name) if !supported.contains(name) => Err(Refused::new(
            ErrorCode::UnsupportedAssignor,
            format!("ServerAssignor {name} is not supported. Supported assignors: {}.", supported.join(", ")),
        )),
        _ => Ok(()),
    }
}

/// Whether the request is a member's farewell.
pub fn leaves(call: &ConsumerGroupHeartbeat) -> bool {
    matches!(call.member_epoch, LEFT_EPOCH | AWAY_EPOCH)
}

pub fn unknown_member(group: &ConsumerGroup, member: &str) -> Refused {
    let message = format!("Member {member} is not a member of group {}.", group.id);
    Refused::new(ErrorCode::UnknownMemberId, message)
}

impl ConsumerGroup {
    /// A heartbeat that is no farewell. The request was checked. If it is refused, what was done of it must be undone.
    pub fn heartbeat(
        &mut self,
        call: &ConsumerGroupHeartbeat,
        context: &Context<'_>,
        work: &mut Work,
    ) -> Result<ConsumerBeaten, Refused> {
        self.check_room(&call.member, context.cluster.settings().consumer_max_size)?;
        let owned = call.owned.as_ref().map(|owned| Partitions::new(owned.clone()));
        let id = self.enter(call, owned.as_ref(), context, work)?;
        let before = self.member(&id).map(|member| member.current.assigned.clone()).unwrap_or_default();

        let subscription = self.take_metadata(&id, call, context, work)?;
        let mut bump = subscription != Subscribed::Same || self.durable.epoch == 0;
        bump |= topics::refresh_patterns(self, context, work);
        topics::refresh_epoch(self, context, work, bump);
        target::update(self, context, work, false);
        self.reconcile(&id, owned.as_ref(), subscription == Subscribed::Changed, context, work)?;

        let timeout = self.session_timeout_ms(&id, context).unwrap_or_default();
        self.soft.deadlines.set(Due::Session, &id, context.monotonic_ms + timeout);

        let member = self.member(&id).ok_or_else(|| unknown_member(self, &id))?;
        let is_full = call.rebalance_timeout_ms != -1
            && (call.subscribed_topics.is_some() || call.subscribed_regex.is_some())
            && call.owned.is_some();
        let tells = call.member_epoch == 0 || is_full || member.current.assigned != before;
        Ok(ConsumerBeaten {
            error: ErrorCode::None,
            message: None,
            member: Some(id.to_string()),
            member_epoch: member.current.epoch,
            heartbeat_interval_ms: self.heartbeat_interval_ms(context),
            assignment: tells.then(|| member.current.assigned.entries().to_vec()),
        })
    }

    fn heartbeat_interval_ms(&self, context: &Context<'_>) -> i32 {
        let own = context.cluster.overrides(&self.id).consumer_heartbeat_interval_ms;
        own.unwrap_or(context.cluster.settings().consumer_heartbeat_interval_ms)
    }

    /// None for an unknown member.
    pub fn session_timeout_ms(&self, member: &str, context: &Context<'_>) -> Option<i64> {
        let member = self.member(member)?;
        let timeout = match &member.metadata.classic {
            Some(classic) => classic.session_timeout_ms,
            None => {
                let own = context.cluster.overrides(&self.id).consumer_session_timeout_ms;
                own.unwrap_or(context.cluster.settings().consumer_session_timeout_ms)
            }
        };
        Some(timeout.into())
    }

    pub(super) fn check_room(&self, member: &str, size_max: usize) -> Result<(), Refused> {
        if self.durable.members.len() >= size_max && self.member(member).is_none() {
            let message =
                format!("The consumer group has reached its maximum capacity of {size_max} members.");
            return Err(Refused::new(ErrorCode::GroupMaxSizeReached, message));
        }
        Ok(())
    }

    /// The id of the member that asks: it is in the group, may be joining it, or takes the place of its instance.
    fn enter(
        &mut self,
        call: &ConsumerGroupHeartbeat,
        owned: Option<&Partitions>,
        context: &Context<'_>,
        work: &mut Work,
    ) -> Result<Arc<str>, Refused> {
        let joins = call.member_epoch == 0;
        if let Some(instance) = &call.instance {
            return self.enter_static(call, instance, owned, context, work);
        }
        match self.durable.members.get_key_value(call.member.as_str()) {
            Some((id, member)) => {
                check_epoch(&member.current, call.member_epoch, owned)?;
                Ok(id.clone())
            }
            None if joins => Ok(member_id(&call.member, context)),
            None => Err(unknown_member(self, &call.member)),
        }
    }

    fn enter_static(
        &mut self,
        call: &ConsumerGroupHeartbeat,
        instance: &str,
        owned: Option<&Partitions>,
        context: &Context<'_>,
        work: &mut Work,
    ) -> Result<Arc<str>, Refused> {
        let existing = self.static_member(instance).map(|(id, member)| (id.clone(), member.clone()));
        if call.member_epoch != 0 {
            let (id, member) = existing.ok_or_else(|| unknown_instance(instance))?;
            check_fence(&id, &call.member, instance)?;
            check_epoch(&member.current, call.member_epoch, owned)?;
            return Ok(id);
        }
        let Some((old, member)) = existing else { return Ok(member_id(&call.member, context)) };
        if !member.is_classic() && member.current.epoch != AWAY_EPOCH {
            let message = format!(
                "Static member {} with instance id {instance} cannot join the group because the instance id is owned \
                 by {old} member.",
                call.member
            );
            return Err(Refused::new(ErrorCode::UnreleasedInstanceId, message));
        }
        let id = member_id(&call.member, context);
        self.replace(&old, &id, work);
        Ok(id)
    }

    /// A static member comes back under another id: the new one has all of the old one, in epoch 0.
    pub(super) fn replace(&mut self, old: &Arc<str>, new: &Arc<str>, work: &mut Work) {
        let Some(member) = self.member(old).cloned() else { return };
        let target = self.target(old);
        self.remove_member(old, work);
        let metadata = member.metadata.clone();
        work.change(self, Change::Metadata { member: new.clone(), metadata });
        work.change(self, Change::Target { member: new.clone(), partitions: target });
        let current = Current { epoch: 0, previous_epoch: 0, ..(*member.current).clone() };
        work.change(self, Change::Current { member: new.clone(), current: Arc::new(current) });
    }

    /// The tombstones of a member; a replay needs them in this order.
    pub(super) fn remove_member(&mut self, id: &Arc<str>, work: &mut Work) {
        work.change(self, Change::CurrentGone { member: id.clone() });
        work.change(self, Change::TargetGone { member: id.clone() });
        work.change(self, Change::MemberGone { member: id.clone() });
    }

    /// Takes over what the request says of the member.
    fn take_metadata(
        &mut self,
        id: &Arc<str>,
        call: &ConsumerGroupHeartbeat,
        context: &Context<'_>,
        work: &mut Work,
    ) -> Result<Subscribed, Refused> {
        let known = self.member(id).map(|member| member.metadata.clone());
        let old = known.clone().unwrap_or_default();
        if known.is_some() && says_nothing_new(&old, call) {
            return Ok(Subscribed::Same);
        }
        let text = |now: &Option<String>, old: &Option<Arc<str>>| match now {
            Some(now) => Some(Arc::from(now.as_str())),
            None => old.clone(),
        };
        let new = MemberMetadata {
            instance: text(&call.instance, &old.instance),
            rack: text(&call.rack, &old.rack),
            client_id: call.caller.client_id.clone(),
            client_host: call.caller.client_host.clone(),
            topics: match &call.subscribed_topics {
                Some(names) => topic_list(names.iter().map(String::as_str)),
                None => old.topics.clone(),
            },
            regex: match &call.subscribed_regex {
                Some(pattern) => Some(Arc::from(pattern.as_str())).filter(|text: &Arc<str>| !text.is_empty()),
                None => old.regex.clone(),
            },
            rebalance_timeout_ms: match call.rebalance_timeout_ms {
                -1 => old.rebalance_timeout_ms,
                timeout => timeout,
            },
            assignor: text(&call.server_assignor, &old.assignor),
            classic: None,
        };
        if known.as_deref() == Some(&new) {
            return Ok(Subscribed::Same);
        }
        self.set_subscription(id, &old, new, context, work)
    }

    /// Writes the member's metadata, and resolves its pattern if it is a new one.
    pub(super) fn set_subscription(
        &mut self,
        id: &Arc<str>,
        old: &MemberMetadata,
        new: MemberMetadata,
        context: &Context<'_>,
        work: &mut Work,
    ) -> Result<Subscribed, Refused> {
        let changed = old.topics != new.topics || old.regex != new.regex;
        let pattern = new.regex.clone().filter(|_| old.regex != new.regex);
        let compiled = match &pattern {
            Some(pattern) if self.pattern_members(pattern) == 0 => Some(self.compile(pattern)?),
            _ => None,
        };
        work.change(self, Change::Metadata { member: id.clone(), metadata: Arc::new(new) });
        if let Some(before) = old.regex.as_ref().filter(|before| self.pattern_members(before) == 0)
            && self.durable.resolved.contains_key(before)
        {
            work.change(self, Change::RegexGone { pattern: before.clone() });
        }
        if let (Some(pattern), Some(compiled)) = (pattern, compiled) {
            topics::resolve(self, &pattern, &compiled, context, work);
        }
        Ok(if changed { Subscribed::Changed } else { Subscribed::Same })
    }

    fn compile(&self, pattern: &str) -> Result<Pattern, Refused> {
        if self.pattern_count() >= PATTERNS_MAX {
            let message =
                format!("The group has {PATTERNS_MAX} regular expressions already; that is the limit.");
            return Err(Refused::new(ErrorCode::InvalidRegularExpression, message));
        }
        Pattern::new(pattern).map_err(|message| Refused::new(ErrorCode::InvalidRegularExpression, message))
    }

    /// Takes the member a step toward its target, if there is one to take.
    pub(super) fn reconcile(
        &mut self,
        id: &Arc<str>,
        owned: Option<&Partitions>,
        subscription_changed: bool,
        context: &Context<'_>,
        work: &mut Work,
    ) -> Result<(), Refused> {
        let member = self.member(id).ok_or_else(|| unknown_member(self, id))?;
        if !subscription_changed && member.current.is_reconciled_to(self.durable.target_epoch) {
            return Ok(());
        }
        let subscribed = |topic: TopicId| {
            let view = context.cluster.topic_by_id(topic);
            view.is_some_and(|view| self.subscribes(&member.metadata, &view.name))
        };
        let next = Reconciliation {
            current: &member.current,
            target_epoch: self.durable.target_epoch,
            target: &self.target(id),
            owned,
            subscribed: &subscribed,
            subscription_changed,
            is_owned: &|topic, partition| self.owner(topic, partition).is_some(),
        }
        .next();
        let next = next.map_err(|_| {
            let message = "The consumer group member is in a unknown state. The member must abandon all its \
                           partitions and rejoin.";
            Refused::new(ErrorCode::FencedMemberEpoch, message)
        })?;
        if next == *member.current {
            return Ok(());
        }
        let waits = next.standing == Standing::UnrevokedPartitions && !member.is_classic();
        let timeout = i64::from(member.metadata.rebalance_timeout_ms.max(0));
        work.change(self, Change::Current { member: id.clone(), current: Arc::new(next) });
        match waits {
            true => self.soft.deadlines.set(Due::Rebalance, id, context.monotonic_ms + timeout),
            false => self.soft.deadlines.cancel(Due::Rebalance, id),
        }
        Ok(())
    }
}

/// What became of a member's subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    Same,
    Changed,
}

/// Names in order, each once.
pub fn topic_list<'a>(names: impl Iterator<Item = &'a str>) -> Arc<[Arc<str>]> {
    let mut topics: Vec<Arc<str>> = names.map(Arc::from).collect();
    topics.sort_unstable();
    topics.dedup();
    topics.into()
}

/// Most heartbeats: nothing in them but that the member lives.
fn says_nothing_new(old: &MemberMetadata, call: &ConsumerGroupHeartbeat) -> bool {
    call.subscribed_topics.is_none()
        && call.subscribed_regex.is_none()
        && call.server_assignor.is_none()
        && call.rack.is_none()
        && (call.rebalance_timeout_ms == -1 || call.rebalance_timeout_ms == old.rebalance_timeout_ms)
        && (call.instance.is_none() || call.instance.as_deref() == old.instance.as_deref())
        && old.classic.is_none()
        && old.client_id == call.caller.client_id
        && old.client_host == call.caller.client_host
}

fn member_id(asked: &str, context: &Context<'_>) -> Arc<str> {
    match asked {
        "" => Arc::from(TopicId(context.cluster.unique()).to_string()),
        asked => Arc::from(asked),
    }
}

fn check_epoch(current: &Current, epoch: i32, owned: Option<&Partitions>) -> Result<(), Refused> {
    let known = current.epoch;
    if epoch == 0 || epoch == known {
        return Ok(());
    }
    // The answer with the newer epoch may have been lost; then the member owns nothing that it should not.
    let is_subset = owned.is_some_and(|owned| owned.each().all(|(t, p)| current.assigned.contains(t, p)));
    if epoch < known && epoch == current.previous_epoch && is_subset {
        return Ok(());
    }
    let compared = if epoch > known { "greater" } else { "smaller" };
    let message = format!(
        "The consumer group member has a {compared} member epoch ({epoch}) than the one known by the group coordinator \
         ({known}). The member must abandon all its partitions and rejoin."
    );
    Err(Refused::new(ErrorCode::FencedMemberEpoch, message))
}

pub fn unknown_instance(instance: &str) -> Refused {
    Refused::new(ErrorCode::UnknownMemberId, format!("Instance id {instance} is unknown."))
}

/// The member of an instance must be the one that asks.
pub fn check_fence(known: &str, asked: &str, instance: &str) -> Result<(), Refused> {
    if known == asked {
        return Ok(());
    }
    let message = format!("Static member {asked} with instance id {instance} was fenced by member {known}.");
    Err(Refused::new(ErrorCode::FencedInstanceId, message))
}
