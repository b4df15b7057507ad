//! Members that speak the classic protocol in a consumer group: they join, sync, beat and leave by the old requests, and
//! are assigned by the group as all are. Their generation is their epoch. Where a member of the new protocol learns of
//! a change by its heartbeat, these are told to join again.

use std::sync::Arc;

use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;

use super::deadlines::Due;
use super::group::ConsumerGroup;
use super::heartbeat::{Subscribed, check_fence, topic_list, unknown_instance, unknown_member};
use super::leave::Fenced;
use super::member::{ClassicMember, Member, MemberMetadata, Standing};
use super::work::{Context, Refused, Work};
use super::{target, topics};
use crate::api::{Heartbeat, JoinGroup, Joined, LeaveGroup, Left, SyncGroup, Synced};
use crate::embedded::{CONSUMER_PROTOCOL, Subscription, write_assignment};
use crate::partitions::Partitions;

impl ConsumerGroup {
    /// JoinGroup. Answered as soon as its records are appended: the group waits for nobody. If it is refused, what was
    /// done of it must be undone.
    pub fn join_classic(
        &mut self,
        call: &JoinGroup,
        context: &Context<'_>,
        work: &mut Work,
    ) -> Result<Joined, Refused> {
        let settings = context.cluster.settings();
        self.check_room(&call.member, settings.consumer_max_size)?;
        let protocols = self.check_protocols(call)?;
        let asked = match call.member.as_str() {
            "" => Arc::from(TopicId(context.cluster.unique()).to_string()),
            asked => Arc::from(asked),
        };
        if call.member.is_empty() && call.needs_member_id && call.instance.is_none() {
            return Ok(joined(ErrorCode::MemberIdRequired, &asked));
        }
        let id = self.enter_classic(call, &asked, work)?;

        let metadata = protocols[0].1.clone();
        let subscription = Subscription::read(&metadata)
            .map_err(|malformed| Refused::new(ErrorCode::UnknownServerError, malformed.to_string()))?;
        let old = self.member(&id).map(|member| member.metadata.clone()).unwrap_or_default();
        let new = MemberMetadata {
            instance: call.instance.as_deref().map(Arc::from),
            rack: subscription.rack.map(Arc::from).or_else(|| old.rack.clone()),
            client_id: call.caller.client_id.clone(),
            client_host: call.caller.client_host.clone(),
            topics: topic_list(subscription.topics.iter().copied()),
            regex: None,
            rebalance_timeout_ms: call.rebalance_timeout_ms,
            assignor: old.assignor.clone(),
            classic: Some(Arc::new(ClassicMember { session_timeout_ms: call.session_timeout_ms, protocols })),
        };
        let protocol = new.classic.as_ref().map(|classic| classic.protocols[0].0.clone());
        let is_new = self.member(&id).is_none();
        let subscribed = match is_new || *old != new {
            true => self.set_subscription(&id, &old, new, context, work)?,
            false => Subscribed::Same,
        };
        let bump = subscribed == Subscribed::Changed || self.durable.epoch == 0;
        let bump = bump | topics::refresh_patterns(self, context, work);
        topics::refresh_epoch(self, context, work, bump);
        // It cannot wait for the interval: without a newer epoch it would be told to join again at once.
        target::update(self, context, work, true);
        let owned = owned_partitions(&subscription, context);
        self.reconcile(&id, Some(&owned), subscribed == Subscribed::Changed, context, work)?;

        let now = context.monotonic_ms;
        let deadlines = &mut self.soft.deadlines;
        deadlines.cancel(Due::Join, &id);
        deadlines.set(Due::Session, &id, now + i64::from(call.session_timeout_ms));
        deadlines.set(Due::Sync, &id, now + i64::from(call.rebalance_timeout_ms.max(0)));
        let member = self.member(&id).ok_or_else(|| unknown_member(self, &id))?;
        Ok(Joined {
            generation: member.current.epoch,
            protocol_type: Some(CONSUMER_PROTOCOL.to_owned()),
            protocol,
            ..joined(ErrorCode::None, &id)
        })
    }

    /// The protocols of the request by name, each once: one of them must be known to all classic members.
    fn check_protocols(&self, call: &JoinGroup) -> Result<Vec<(String, bytes::Bytes)>, Refused> {
        let mut protocols: Vec<(String, bytes::Bytes)> = Vec::with_capacity(call.protocols.len().min(16));
        let mut seen = std::collections::HashSet::new();
        for (name, metadata) in &call.protocols {
            if seen.insert(name.as_str()) {
                protocols.push((name.clone(), metadata.clone()));
            }
        }
        let common = |name: &String| self.classic_protocol(name) == self.classic_members();
        if call.protocol_type != CONSUMER_PROTOCOL || !protocols.iter().any(|(name, _)| common(name)) {
            let message = format!("Member {}'s protocols are not supported.", call.member);
            return Err(Refused::new(ErrorCode::InconsistentGroupProtocol, message));
        }
        Ok(protocols)
    }

    fn enter_classic(
        &mut self,
        call: &JoinGroup,
        asked: &Arc<str>,
        work: &mut Work,
    ) -> Result<Arc<str>, Refused> {
        let Some(instance) = &call.instance else { return Ok(asked.clone()) };
        let existing = self.static_member(instance).map(|(id, _)| id.clone());
        match existing {
            Some(old) if call.member.is_empty() => {
                self.replace(&old, asked, work);
                Ok(asked.clone())
            }
            Some(old) => check_fence(&old, asked, instance).map(|()| old),
            None if call.member.is_empty() => Ok(asked.clone()),
            None => Err(unknown_instance(instance)),
        }
    }

    /// SyncGroup: the member has what it is assigned, unless a newer epoch makes it join again.
    pub fn sync_classic(&mut self, call: &SyncGroup, context: &Context<'_>) -> Result<Synced, Refused> {
        let (id, member) = self.classic_member(&call.member, call.instance.as_deref())?;
        check_generation(&member, call.generation)?;
        let inconsistent = |what: String| Err(Refused::new(ErrorCode::InconsistentGroupProtocol, what));
        let Some(classic) = &member.metadata.classic else { return Err(unknown_member(self, &id)) };
        let chosen = classic.protocols.first().map(|(name, _)| name.as_str()).unwrap_or_default();
        if call.protocol_type.as_deref().is_some_and(|asked| asked != CONSUMER_PROTOCOL) {
            return inconsistent(format!("The protocol type of member {id} is not {CONSUMER_PROTOCOL}."));
        }
        if call.protocol.as_deref().is_some_and(|asked| asked != chosen) {
            return inconsistent(format!("The protocol of member {id} is {chosen}."));
        }
        if self.durable.epoch > member.current.epoch
            && member.current.standing != Standing::UnrevokedPartitions
        {
            self.must_join(&id, &member, context);
            let message =
                format!("A new rebalance is triggered in group {} and member {id} should rejoin.", self.id);
            return Err(Refused::new(ErrorCode::RebalanceInProgress, message));
        }
        self.soft.deadlines.cancel(Due::Sync, &id);
        let session_timeout = i64::from(classic.session_timeout_ms);
        self.soft.deadlines.set(Due::Session, &id, context.monotonic_ms + session_timeout);
        Ok(Synced {
            error: ErrorCode::None,
            protocol_type: call.protocol_type.clone(),
            protocol: call.protocol.clone(),
            assignment: classic_assignment(&member.current.assigned, classic, context),
        })
    }

    /// Heartbeat: fine, or a reason to join again.
    pub fn beat_classic(&mut self, call: &Heartbeat, context: &Context<'_>) -> Result<(), Refused> {
        let (id, member) = self.classic_member(&call.member, call.instance.as_deref())?;
        check_generation(&member, call.generation)?;
        if let Some(timeout) = self.session_timeout_ms(&id, context) {
            self.soft.deadlines.set(Due::Session, &id, context.monotonic_ms + timeout);
        }
        let behind = member.current.epoch < self.durable.epoch;
        let joins = match member.current.standing {
            Standing::UnrevokedPartitions => true,
            Standing::UnreleasedPartitions => behind || !self.waits_for_others(&id, &member),
            _ => behind,
        };
        if joins {
            self.must_join(&id, &member, context);
            return Err(Refused::new(ErrorCode::RebalanceInProgress, "The member must join again."));
        }
        Ok(())
    }

    /// LeaveGroup, of members of either protocol.
    pub fn leave_classic(
        &mut self,
        call: &LeaveGroup,
        context: &Context<'_>,
        work: &mut Work,
    ) -> (Left, Fenced) {
        let mut leaving: Vec<Arc<str>> = Vec::new();
        let mut members = Vec::with_capacity(call.members.len());
        for member in &call.members {
            let found = match &member.instance {
                None => match self.durable.members.get_key_value(member.member.as_str()) {
                    Some((id, _)) => Ok(id.clone()),
                    None => Err(ErrorCode::UnknownMemberId),
                },
                Some(instance) => match self.static_member(instance) {
                    None => Err(ErrorCode::UnknownMemberId),
                    // Without an id it is an operator who removes the member.
                    Some((id, _)) if member.member.is_empty() || *member.member == **id => Ok(id.clone()),
                    Some(_) => Err(ErrorCode::FencedInstanceId),
                },
            };
            members.push((member.clone(), found.as_ref().err().copied().unwrap_or(ErrorCode::None)));
            leaving.extend(found);
        }
        leaving.sort_unstable();
        leaving.dedup();
        let fenced = self.fence(leaving, context, work);
        (Left { error: ErrorCode::None, members }, fenced)
    }

    fn classic_member(&self, member: &str, instance: Option<&str>) -> Result<(Arc<str>, Member), Refused> {
        let found = match instance {
            None => self.durable.members.get_key_value(member).ok_or_else(|| unknown_member(self, member))?,
            Some(instance) => {
                let found = self.static_member(instance).ok_or_else(|| unknown_instance(instance))?;
                check_fence(found.0, member, instance)?;
                found
            }
        };
        if !found.1.is_classic() {
            let message = format!("Member {member} does not use the classic protocol.");
            return Err(Refused::new(ErrorCode::UnknownMemberId, message));
        }
        Ok((found.0.clone(), found.1.clone()))
    }

    fn must_join(&mut self, id: &Arc<str>, member: &Member, context: &Context<'_>) {
        if !self.soft.deadlines.is_set(Due::Join, id) {
            let timeout = i64::from(member.metadata.rebalance_timeout_ms.max(0));
            self.soft.deadlines.set(Due::Join, id, context.monotonic_ms + timeout);
        }
    }

    /// Whether something that the member is meant to have is still with another.
    fn waits_for_others(&self, id: &str, member: &Member) -> bool {
        let target = self.target(id);
        target.each().any(|(topic, partition)| {
            !member.current.assigned.contains(topic, partition) && self.owner(topic, partition).is_some()
        })
    }
}

fn joined(error: ErrorCode, member: &str) -> Joined {
    Joined {
        error,
        member: member.to_owned(),
        generation: -1,
        protocol_type: None,
        protocol: None,
        leader: String::new(),
        skip_assignment: false,
        members: Vec::new(),
    }
}

fn check_generation(member: &Member, generation: i32) -> Result<(), Refused> {
    if member.current.epoch == generation {
        return Ok(());
    }
    let message =
        format!("The generation {generation} is not the epoch {} of the member.", member.current.epoch);
    Err(Refused::new(ErrorCode::IllegalGeneration, message))
}

fn owned_partitions(subscription: &Subscription<'_>, context: &Context<'_>) -> Partitions {
    let owned = subscription.owned.iter().filter_map(|(name, partitions)| {
        let topic = context.cluster.topic(name)?;
        Some((topic.id, partitions.clone()))
    });
    Partitions::new(owned.collect())
}

/// What a classic member is told of its assignment, in the version of its subscription.
pub fn classic_assignment(
    assigned: &Partitions,
    classic: &ClassicMember,
    context: &Context<'_>,
) -> bytes::Bytes {
    let version = classic.protocols.first().and_then(|(_, metadata)| Subscription::read(metadata).ok());
    let version = version.map_or(0, |subscription| subscription.version);
    let named: Vec<(Arc<str>, &[i32])> = assigned
        .entries()
        .iter()
        .filter_map(|(id, partitions)| Some((context.cluster.topic_by_id(*id)?.name, partitions.as_slice())))
        .collect();
    let named: Vec<(&str, &[i32])> = named.iter().map(|(name, partitions)| (&**name, *partitions)).collect();
    write_assignment(&named, version)
}
