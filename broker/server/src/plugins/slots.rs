//! The slots of all topics, by name. Each open topic keeps its own, so that the produce path looks nothing up; whoever
//! changes an attachment finds it here.
//!
//! Invariant: there is at most one slot of a topic that anybody holds, so an attachment is never put where nobody
//! looks.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::attachment::{Partitioning, Slot};
use super::role::Role;

/// Slots of one role, by topic.
pub struct Slots<R: Role = Partitioning>(RwLock<HashMap<Arc<str>, Arc<Slot<R>>>>);

impl<R: Role> Default for Slots<R> {
    fn default() -> Slots<R> {
        Slots(RwLock::default())
    }
}

impl<R: Role> Slots<R> {
    /// The slot of a topic; a new one if there is none yet.
    pub(super) fn of(&self, topic: &str) -> Arc<Slot<R>> {
        if let Some(slot) = self.existing(topic) {
            return slot;
        }
        let mut slots = self.0.write();
        if let Some(slot) = slots.get(topic) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot::new(topic));
        slots.insert(Arc::clone(&slot.topic), Arc::clone(&slot));
        slot
    }

    /// The slot of a topic, if there is one.
    pub(super) fn existing(&self, topic: &str) -> Option<Arc<Slot<R>>> {
        self.0.read().get(topic).cloned()
    }

    /// Slots that something is attached to.
    pub(super) fn attached(&self) -> Vec<Arc<Slot<R>>> {
        self.0.read().values().filter(|slot| slot.is_attached()).cloned().collect()
    }

    /// Slots that something is or was attached to.
    pub(super) fn counted(&self) -> Vec<Arc<Slot<R>>> {
        self.0.read().values().filter(|slot| !slot.counts.is_empty()).cloned().collect()
    }

    /// Forgets slots that nobody holds and nothing is attached to.
    pub(super) fn prune(&self) {
        let idle = |slot: &Arc<Slot<R>>| Arc::strong_count(slot) == 1 && !slot.is_attached();
        if self.0.read().values().any(idle) {
            self.0.write().retain(|_, slot| !idle(slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_held_stays_and_another_goes() {
        let slots = Slots::<Partitioning>::default();
        let held = slots.of("held");
        slots.of("idle");
        slots.prune();
        assert!(Arc::ptr_eq(&held, &slots.of("held")));
        assert!(slots.existing("idle").is_none());
        drop(held);
        slots.prune();
        assert!(slots.existing("held").is_none());
    }
}
