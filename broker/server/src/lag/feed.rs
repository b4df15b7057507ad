//! How this cluster's commits come into its book: told by the groups' shards, in the order of the log, under the lock of
//! the shard. What is done here is a look at the partition's watermark and a few lookups for each commit.

use std::sync::{Arc, Weak};

use ottla_coordinator::OffsetChange;
use ottla_lag::{Position, Taken};

use super::Lag;
use super::logs::{Logs, end_of};
use super::owners::Members;
use crate::groups::{Groups, OffsetListener};
use crate::partitions::Topic;

/// How long a shard's groups are kept that was given up: it is loaded again soon, unless its topic is gone.
const UNLOADED_KEPT_MS: i64 = 60_000;

impl OffsetListener for Lag {
    fn changed(&self, shard: i32, changes: &[OffsetChange], _position: i64) {
        let Logs::Here(partitions) = &self.own.logs else { return };
        let Some(partitions) = partitions.upgrade() else { return };
        let now_ms = self.clock.now_ms();
        let mut topic: Option<Arc<Topic>> = None;
        for change in changes {
            match change {
                OffsetChange::Committed(committed) => {
                    if topic.as_ref().is_none_or(|topic| topic.name != committed.topic) {
                        topic = partitions.topic(&committed.topic);
                    }
                    let position = Position {
                        group: &committed.group,
                        topic: &committed.topic,
                        partition: committed.partition,
                        offset: committed.offset,
                        at_ms: committed.commit_ms,
                        source: shard,
                    };
                    self.take(topic.as_deref(), &position, now_ms);
                }
                OffsetChange::Removed { group, topic, partition } => {
                    self.own.book.lock().remove(group, topic, *partition);
                }
            }
        }
    }

    fn loading(&self, shard: i32) {
        self.own.book.lock().begin_hearing(shard);
    }

    fn loaded(&self, shard: i32) {
        self.own.book.lock().end_hearing(shard);
        self.unloaded.lock().remove(&shard);
    }

    fn unloaded(&self, shard: i32) {
        self.unloaded.lock().insert(shard, self.clock.monotonic_ms());
    }
}

impl Members for Groups {
    fn each_owner(&self, each: &mut dyn FnMut(&str, &str, i32, &str, &str)) {
        Groups::each_owner(self, each);
    }
}

impl Lag {
    /// Hears of this broker's groups from now on. Once, before their shards are loaded.
    pub fn follow(self: &Arc<Self>, groups: &Arc<Groups>) {
        let members: Weak<dyn Members> = Arc::downgrade(groups) as Weak<dyn Members>;
        // A second call would be a slip of the wiring; the first one holds.
        let _ = self.members.set(members);
        groups.listen(self.clone());
    }

    fn take(&self, topic: Option<&Topic>, position: &Position<'_>, now_ms: i64) {
        // Before the book's lock: a partition's own lock may be busy with the disk.
        let end = topic.and_then(|topic| end_of(topic, position.partition));
        let id = topic.map(|topic| topic.id.0.as_u128());
        let taken = self.own.book.lock().commit(position, id, end, now_ms);
        if taken == (Taken::Yes { judge: true }) {
            self.own.touch(position.group);
        }
    }

    /// Forgets the groups of shards that did not come back.
    pub(super) fn forget_unloaded(&self) {
        let now_ms = self.clock.monotonic_ms();
        let mut unloaded = self.unloaded.lock();
        let is_over = |since_ms: &i64| now_ms.saturating_sub(*since_ms) >= UNLOADED_KEPT_MS;
        let gone: Vec<i32> =
            unloaded.iter().filter(|(_, since_ms)| is_over(since_ms)).map(|(shard, _)| *shard).collect();
        for shard in gone {
            unloaded.remove(&shard);
            let mut book = self.own.book.lock();
            book.begin_hearing(shard);
            book.end_hearing(shard);
        }
    }
}
