//! Groups of the classic protocol: members join, one of them leads and assigns, the others sync. The shard brings their
//! requests and timers; records are written when a generation has its assignments, when a static member is replaced,
//! and when the last member is gone.

mod group;
mod life;
mod member;
mod protocol;

pub(crate) use group::ClassicGroup;

use ottla_model::error::ErrorCode;

use crate::records::{Key, Record};
use crate::turn::Turn;
use group::State;

/// What follows when a record of a classic group is appended, or is not.
#[derive(Debug)]
pub(crate) enum Effect {}

impl ClassicGroup {
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        ids.iter().for_each(|id| self.heard_of(id, turn));
    }

    /// A member's commit shows that it lives.
    pub(crate) fn committed(&mut self, member: &str, turn: &mut Turn<'_>) {
        if matches!(self.state, State::Stable | State::PreparingRebalance) {
            self.heard_of(member, turn);
        }
    }

    pub(crate) fn settle(&mut self, effect: Effect, _appended: Result<(), ErrorCode>, _turn: &mut Turn<'_>) {
        match effect {}
    }

    pub(crate) fn add_tombstones(&self, records: &mut Vec<Record>) {
        records.push(Record::tombstone(&Key::GroupMetadata { group: &self.name }));
    }
}
