//! Walks over all groups in pieces: for what has expired, and for the offsets of deleted topics. A walk notes the names
//! when it begins, and each tick takes as many groups as make about a thousand records.

use std::collections::HashSet;
use std::sync::Arc;

use super::offsets::{push_tombstones, remove_group, remove_offsets};
use super::{Shard, TICK_RECORDS_MAX};
use crate::api::{ForgetTopics, TopicsForgotten};
use crate::cluster::Cluster;
use crate::group::Entry;
use crate::offsets::CommittedOffset;
use crate::step::{Effect, Step};
use crate::timers::{Armed, Timer};
use crate::turn::{Now, Token};

/// How many groups a tick looks at on a walk.
const GROUPS_PER_TICK_MAX: usize = 2_000;
/// How long a walk waits after an append was refused.
const REFUSED_RETRY_MS: i64 = 1_000;

/// A walk that is under way.
#[derive(Debug)]
pub(super) struct Sweep {
    left: Vec<Arc<str>>,
    of: Swept,
}

#[derive(Debug)]
enum Swept {
    Expired,
    /// What was committed of these topics until then; what came later is of topics that were made anew.
    Topics {
        names: HashSet<Arc<str>>,
        until_ms: i64,
    },
}

impl Shard {
    pub(super) fn forget(&mut self, token: Token, forget: ForgetTopics, now: Now, step: &mut Step) {
        let names: HashSet<Arc<str>> = forget.topics.into_iter().collect();
        let left: Vec<Arc<str>> = self
            .groups
            .iter()
            .filter(|(_, entry)| names.iter().any(|topic| entry.offsets.of_topic(topic).is_some()))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        if !left.is_empty() {
            let of = Swept::Topics { names, until_ms: now.wall_ms };
            // In front of what is under way: it is answered as done.
            self.sweeps.push_front(Sweep { left, of });
            self.sweep_on(None, now, step);
        }
        step.answers.give(token, TopicsForgotten);
    }

    pub(super) fn sweep(&mut self, armed: Armed, cluster: &dyn Cluster, now: Now, step: &mut Step) {
        if self.sweep_timer == Some(armed) {
            self.sweep_timer = None;
        }
        if self.sweeps.is_empty() {
            let left = self.groups.keys().cloned().collect();
            self.sweeps.push_back(Sweep { left, of: Swept::Expired });
        }
        self.sweep_on(Some(cluster.settings().offsets_retention_ms), now, step);
    }

    /// Goes on with the walk in front. Without a retention, only one for deleted topics.
    fn sweep_on(&mut self, retention_ms: Option<i64>, now: Now, step: &mut Step) {
        for _ in 0..GROUPS_PER_TICK_MAX {
            let Some(sweep) = self.sweeps.front_mut() else { break };
            let Some(name) = sweep.left.pop() else {
                self.sweeps.pop_front();
                continue;
            };
            if step.records.len() >= TICK_RECORDS_MAX {
                sweep.left.push(name);
                break;
            }
            let Some(entry) = self.groups.get(&*name) else { continue };
            let more = match (&sweep.of, retention_ms) {
                (Swept::Topics { names, until_ms }, _) => forget_topics(&name, entry, names, *until_ms, step),
                (Swept::Expired, Some(retention_ms)) => expire(&name, entry, retention_ms, now.wall_ms, step),
                (Swept::Expired, None) => true,
            };
            if more {
                // What was asked for is not done before this step is settled: the rest is for another.
                sweep.left.push(name);
                break;
            }
        }
        if !self.sweeps.is_empty() {
            self.timers.drop_kept(&mut self.sweep_timer);
            self.sweep_timer = Some(self.timers.arm(now.monotonic_ms, Timer::Sweep));
        }
    }

    /// Whether a walk is under way.
    pub(super) fn is_sweeping(&self) -> bool {
        !self.sweeps.is_empty()
    }

    /// Appends are refused: the walks that are under way wait for a while.
    pub(super) fn sweep_later(&mut self, now: Now) {
        if self.is_sweeping() {
            self.timers.drop_kept(&mut self.sweep_timer);
            let due_ms = now.monotonic_ms.saturating_add(REFUSED_RETRY_MS);
            self.sweep_timer = Some(self.timers.arm(due_ms, Timer::Sweep));
        }
    }

    pub(super) fn forget_again(&mut self, group: Arc<str>, offsets: Vec<(Arc<str>, i32)>, until_ms: i64) {
        let is_kept = |sweep: &Sweep| matches!(sweep.of, Swept::Topics { .. }) && sweep.left.contains(&group);
        if self.sweeps.iter().any(is_kept) {
            return;
        }
        let names = offsets.into_iter().map(|(topic, _)| topic).collect();
        self.sweeps.push_front(Sweep { left: vec![group], of: Swept::Topics { names, until_ms } });
    }

    /// Sees to it that the next walk is armed while there are groups.
    pub(super) fn keep_sweeping(&mut self, cluster: &dyn Cluster, now: Now) {
        if self.sweep_timer.is_none() && !self.groups.is_empty() {
            let interval_ms = cluster.settings().offsets_retention_check_interval_ms.max(1);
            let due_ms = now.monotonic_ms.saturating_add(interval_ms);
            self.sweep_timer = Some(self.timers.arm(due_ms, Timer::Sweep));
        }
    }
}

/// Whether there is more to forget than one step takes.
fn forget_topics(
    name: &Arc<str>,
    entry: &Entry,
    topics: &HashSet<Arc<str>>,
    until_ms: i64,
    step: &mut Step,
) -> bool {
    let mut of_topics = entry
        .offsets
        .iter()
        .filter(|(topic, _, offset)| offset.commit_ms <= until_ms && topics.contains(*topic))
        .map(|(topic, partition, _)| (Arc::clone(topic), partition));
    let offsets: Vec<(Arc<str>, i32)> = of_topics.by_ref().take(TICK_RECORDS_MAX).collect();
    if !offsets.is_empty() {
        push_tombstones(name, &offsets, step);
        step.effects.push(Effect::Forgotten { group: Arc::clone(name), offsets, until_ms });
    }
    of_topics.next().is_some()
}

/// Removes the offsets that have expired, and the group with them if it has no members and nothing is left. Answers
/// whether there is more to remove than one step takes.
fn expire(name: &Arc<str>, entry: &Entry, retention_ms: i64, now_ms: i64, step: &mut Step) -> bool {
    let is_read = |topic: &Arc<str>| !entry.group.is_empty() && entry.group.is_subscribed_to(topic);
    let is_expired = |topic: &Arc<str>, offset: &CommittedOffset| {
        let since_ms = entry.group.retention_since_ms(offset);
        !is_read(topic) && since_ms.is_some_and(|since_ms| offset.is_expired(now_ms, since_ms, retention_ms))
    };
    let mut offsets = Vec::new();
    let mut stays = false;
    for (topic, partition, offset) in entry.offsets.iter() {
        if !is_expired(topic, offset) {
            stays = true;
        } else if offsets.len() == TICK_RECORDS_MAX {
            remove_offsets(name, offsets, step);
            return true;
        } else {
            offsets.push((Arc::clone(topic), partition));
        }
    }
    if !stays && entry.group.is_empty() {
        remove_group(name, entry, step);
    } else if !offsets.is_empty() {
        remove_offsets(name, offsets, step);
    }
    false
}
