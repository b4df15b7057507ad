//! What the slots count for the metrics page.

use ottla_coordinator::{OffsetChange, Record};

use crate::metrics::Counter;

/// The schema of a consumer group's epoch among the keys of `__consumer_offsets`: one is written whenever a group of
/// that protocol rebalances.
const CONSUMER_GROUP_EPOCH: [u8; 2] = 3i16.to_be_bytes();

#[derive(Debug, Default)]
pub struct Counts {
    /// Offsets that were committed.
    pub commits: Counter,
    /// Offsets that were removed: expired, deleted, or their topic was.
    pub removals: Counter,
    /// Records that were appended, and steps whose records the partition refused.
    pub records: Counter,
    pub refused: Counter,
    /// Generations that members of classic groups agreed on, and epochs of consumer groups.
    pub classic_rebalances: Counter,
    pub consumer_rebalances: Counter,
    pub loads: Counter,
    pub load_failures: Counter,
    pub load_ms: Counter,
    /// Shards that were given up while they served.
    pub given_up: Counter,
}

impl Counts {
    pub fn count_records(&self, records: &[Record], appended: bool) {
        if !appended {
            return self.refused.add(1);
        }
        self.records.add(records.len() as u64);
        let epochs = records.iter().filter(|record| {
            record.value.is_some() && record.key.first_chunk() == Some(&CONSUMER_GROUP_EPOCH)
        });
        match epochs.count() {
            0 => {}
            epochs => self.consumer_rebalances.add(epochs as u64),
        }
    }

    pub fn count_changes(&self, changes: &[OffsetChange]) {
        let commits = changes.iter().filter(|change| matches!(change, OffsetChange::Committed(_))).count();
        if commits > 0 {
            self.commits.add(commits as u64);
        }
        if commits < changes.len() {
            self.removals.add((changes.len() - commits) as u64);
        }
    }
}
