//! What others may see of a shard without asking through a request: lag and retention read it.

use super::Shard;
use crate::group::Group;
use crate::step::{Committed, GroupProgress};
use std::sync::Arc;

impl Shard {
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Calls `each` with every committed offset.
    pub fn each_offset(&self, each: &mut dyn FnMut(&Committed)) {
        for (group, entry) in &self.groups {
            for (topic, partition, offset) in entry.offsets.iter() {
                each(&Committed {
                    group: Arc::clone(group),
                    topic: Arc::clone(topic),
                    partition,
                    offset: offset.offset,
                    leader_epoch: offset.leader_epoch,
                    commit_ms: offset.commit_ms,
                });
            }
        }
    }

    /// Every group that has committed something of the topic, or has a member that is subscribed to it.
    pub fn progress(&self, topic: &str) -> Vec<GroupProgress> {
        let mut found = Vec::new();
        for (group, entry) in &self.groups {
            let committed = entry.offsets.of_topic(topic);
            if committed.is_none() && (entry.group.is_empty() || !entry.group.is_subscribed_to(topic)) {
                continue;
            }
            let partitions = committed
                .into_iter()
                .flatten()
                .map(|(partition, offset)| (*partition, offset.offset, offset.commit_ms))
                .collect();
            found.push(GroupProgress { group: Arc::clone(group), partitions });
        }
        found
    }

    /// Calls `each` with group, topic, partition, client id and client host of who consumes a partition now.
    pub fn each_owner(&self, each: &mut dyn FnMut(&str, &str, i32, &str, &str)) {
        for (group, entry) in &self.groups {
            let mut of_group = |topic: &str, partition: i32, client_id: &str, client_host: &str| {
                each(group, topic, partition, client_id, client_host);
            };
            match &entry.group {
                Group::Classic(classic) => classic.each_owner(&mut of_group),
                Group::Consumer(consumer) => consumer.each_owner(&mut of_group),
            }
        }
    }
}
