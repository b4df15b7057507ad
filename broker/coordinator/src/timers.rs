//! What a shard must look at later: sessions, rebalances, the sweep of expired offsets. Groups arm and cancel; the
//! shard takes what is due on each tick. A cancelled timer is gone at once, so members that come and go in a loop
//! leave nothing behind.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What is due, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A member of a classic group, or one that was given an id and has not come back with it, was not heard of.
    ClassicSession { group: Arc<str>, member: Arc<str> },
    /// The members of a classic group had their time to join.
    ClassicJoin { group: Arc<str> },
    /// The members of a classic group had their time to sync.
    ClassicSync { group: Arc<str> },
    /// The log has an older state of a classic group than memory, since an append was refused.
    ClassicUnsaved { group: Arc<str> },
    /// Something of a consumer group is due: a member's session, its time to revoke, join or sync, or the assignment.
    ConsumerGroup { group: Arc<str> },
    /// Offsets and groups may have expired.
    Sweep,
}

/// An armed timer, kept by whoever armed it. It sorts by when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Armed {
    pub(crate) due_ms: i64,
    id: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<Armed, Timer>,
    next_id: u64,
}

impl Timers {
    /// `due_ms` in monotonic time.
    pub(crate) fn arm(&mut self, due_ms: i64, timer: Timer) -> Armed {
        let armed = Armed { due_ms, id: self.next_id };
        self.next_id += 1;
        self.queue.insert(armed, timer);
        armed
    }

    /// One that has fired or was cancelled already is no matter.
    pub(crate) fn cancel(&mut self, armed: Armed) {
        self.queue.remove(&armed);
    }

    /// Cancels what is kept there, if anything is.
    pub(crate) fn drop_kept(&mut self, kept: &mut Option<Armed>) {
        if let Some(armed) = kept.take() {
            self.cancel(armed);
        }
    }

    /// The next that is due, earliest first, with its handle, so that its owner can tell it from an older one.
    pub(crate) fn pop_due(&mut self, now_ms: i64) -> Option<(Armed, Timer)> {
        let entry = self.queue.first_entry()?;
        (entry.key().due_ms <= now_ms).then(|| entry.remove_entry())
    }

    pub(crate) fn next_due_ms(&self) -> Option<i64> {
        self.queue.first_key_value().map(|(armed, _)| armed.due_ms)
    }
}
