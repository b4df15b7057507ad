//! A group, whichever protocol its members speak, and what it has committed. The shard keeps them by name; what holds
//! for both kinds is asked here.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use crate::api::{ListedGroup, OffsetCommit};
use crate::classic::ClassicGroup;
use crate::consumer::ConsumerGroup;
use crate::offsets::{CommittedOffset, OffsetTable};
use crate::records::Record;
use crate::timers::Timers;
use crate::turn::Answer;

/// The members of a group, by the protocol that they speak.
#[derive(Debug)]
pub(crate) enum Group {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
}

/// A group and its offsets.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) group: Group,
    pub(crate) offsets: OffsetTable,
}

impl Entry {
    /// A group without members or type: what commits from outside of a group make.
    pub(crate) fn simple(name: &Arc<str>) -> Entry {
        Entry { group: Group::Classic(ClassicGroup::new(name)), offsets: OffsetTable::default() }
    }
}

impl Group {
    pub(crate) fn name(&self) -> &Arc<str> {
        match self {
            Group::Classic(group) => &group.name,
            Group::Consumer(group) => &group.id,
        }
    }

    /// Kafka's name of the state.
    pub(crate) fn state(&self) -> &'static str {
        match self {
            Group::Classic(group) => group.state_name(),
            Group::Consumer(group) => group.state_name(),
        }
    }

    pub(crate) fn listed(&self, group: &Arc<str>) -> ListedGroup {
        let (protocol_type, group_type) = match self {
            Group::Classic(group) => (group.protocol_type().unwrap_or_default(), "classic"),
            Group::Consumer(_) => ("consumer", "consumer"),
        };
        ListedGroup {
            group: Arc::clone(group),
            protocol_type: protocol_type.to_owned(),
            state: self.state(),
            group_type,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Group::Classic(group) => group.is_empty(),
            Group::Consumer(group) => group.is_empty(),
        }
    }

    /// Whether a member reads the topic now; a group whose subscriptions cannot be read is taken to read everything.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Group::Classic(group) => group.is_subscribed_to(topic),
            Group::Consumer(group) => group.is_subscribed_to(topic),
        }
    }

    pub(crate) fn check_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode> {
        match self {
            Group::Classic(group) => group.check_commit(commit),
            Group::Consumer(group) => group.check_commit(commit),
        }
    }

    /// Classic members do not name themselves when they fetch.
    pub(crate) fn check_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        match self {
            Group::Classic(_) => Ok(()),
            Group::Consumer(group) => group.check_fetch(member, epoch),
        }
    }

    pub(crate) fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        match self {
            Group::Classic(group) => group.check_offset_delete(),
            Group::Consumer(_) => Ok(()),
        }
    }

    /// From when the retention of an offset runs (KIP-211); none if it does not run now.
    pub(crate) fn retention_since_ms(&self, offset: &CommittedOffset) -> Option<i64> {
        match self {
            Group::Classic(group) => group.retention_since_ms(offset.commit_ms),
            Group::Consumer(_) => Some(offset.commit_ms),
        }
    }

    /// Adds the tombstones that remove the group from the log.
    pub(crate) fn add_tombstones(&self, records: &mut Vec<Record>) {
        match self {
            Group::Classic(group) => group.add_tombstones(records),
            Group::Consumer(group) => group.add_tombstones(records),
        }
    }

    /// The group goes: nothing is to be due for it any more.
    pub(crate) fn cancel(&mut self, timers: &mut Timers) {
        match self {
            Group::Classic(group) => group.cancel(timers),
            Group::Consumer(group) => group.cancel(timers),
        }
    }

    /// Takes the requests that wait for something in this group, answered with `error`.
    pub(crate) fn abandon(&mut self, error: ErrorCode, answers: &mut Vec<Answer>) {
        match self {
            Group::Classic(group) => group.abandon(error, answers),
            // Nobody waits in a consumer group.
            Group::Consumer(_) => {}
        }
    }
}
