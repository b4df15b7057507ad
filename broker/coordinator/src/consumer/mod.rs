//! Groups of the consumer protocol (KIP-848): the members declare what they want, and the group assigns.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use crate::api::{ConsumerGroupDescribed, OffsetCommit};
use crate::records::{Key, Record, ReplayError};
use crate::refusal;
use crate::timers::Timers;
use crate::turn::Answer;

/// What follows when the records of a step about a consumer group are appended, or are not.
#[derive(Debug)]
pub(crate) enum Effect {}

#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    name: Arc<str>,
}

impl ConsumerGroup {
    pub(crate) fn new(name: &Arc<str>) -> ConsumerGroup {
        ConsumerGroup { name: Arc::clone(name) }
    }

    pub(crate) fn state_name(&self) -> &'static str {
        "Empty"
    }

    pub(crate) fn is_empty(&self) -> bool {
        true
    }

    pub(crate) fn is_subscribed_to(&self, _topic: &str) -> bool {
        false
    }

    /// A stale epoch is ILLEGAL_GENERATION to versions that do not know another error.
    pub(crate) fn check_commit(&self, _commit: &OffsetCommit) -> Result<(), ErrorCode> {
        Err(ErrorCode::UnsupportedVersion)
    }

    pub(crate) fn check_fetch(&self, _member: Option<&str>, _epoch: i32) -> Result<(), ErrorCode> {
        Err(ErrorCode::UnsupportedVersion)
    }

    pub(crate) fn describe(&self) -> ConsumerGroupDescribed {
        refusal::consumer_described(ErrorCode::UnsupportedVersion, None)
    }

    pub(crate) fn add_tombstones(&self, records: &mut Vec<Record>) {
        records.push(Record::tombstone(&Key::ConsumerGroupMetadata { group: &self.name }));
    }

    /// One record of this group, from the log. Whether the group is still there after it.
    pub(crate) fn replay(&mut self, _key: &Key<'_>, value: Option<&[u8]>) -> Result<bool, ReplayError> {
        Ok(value.is_some())
    }

    /// Topic, partition, client id and host of who consumes a partition now.
    pub(crate) fn each_owner(&self, _each: &mut dyn FnMut(&str, i32, &str, &str)) {}

    pub(crate) fn cancel(&mut self, _timers: &mut Timers) {}

    pub(crate) fn abandon(&mut self, _error: ErrorCode, _answers: &mut Vec<Answer>) {}
}
