//! How a group learns that topics changed: by a hash over those that it subscribes to, kept in its record, so that a
//! shard that is loaded notices what changed while nobody looked. Patterns are resolved again when any topic changed.

use std::sync::Arc;

use super::change::Change;
use super::group::ConsumerGroup;
use super::regex::Pattern;
use super::work::{Context, Work};
use crate::cluster::Cluster;

/// Patterns are resolved again after this at the earliest, as it takes a look at each topic.
const RESOLVE_INTERVAL_MS: i64 = 10_000;

/// Resolves patterns again if topics changed since, and not too long ago. Answers whether any pattern stands for other
/// topics now.
pub fn refresh_patterns(group: &mut ConsumerGroup, context: &Context<'_>, work: &mut Work) -> bool {
    let version = context.cluster.topics_version();
    if group.soft.resolved_version == Some(version) || group.pattern_count() == 0 {
        return false;
    }
    let now = context.monotonic_ms;
    if group.soft.resolved_at_ms.is_some_and(|last| now < last + RESOLVE_INTERVAL_MS) {
        return false;
    }
    group.soft.resolved_at_ms = Some(now);
    group.soft.resolved_version = Some(version);
    let patterns: Vec<Arc<str>> = group.patterns().cloned().collect();
    let mut changed = false;
    for pattern in patterns {
        // One that does not compile was refused when it came; a log may hold what another broker's library took.
        let Ok(compiled) = Pattern::new(&pattern) else { continue };
        changed |= resolve(group, &pattern, &compiled, context, work);
    }
    changed
}

/// Resolves one pattern. Answers whether it stands for other topics than before.
pub fn resolve(
    group: &mut ConsumerGroup,
    pattern: &Arc<str>,
    compiled: &Pattern,
    context: &Context<'_>,
    work: &mut Work,
) -> bool {
    let resolved = compiled.resolve(context.cluster, context.wall_ms);
    let before = group.durable.resolved.get(pattern);
    let changed = before.is_none_or(|before| before.topics != resolved.topics);
    if changed {
        work.change(group, Change::Regex { pattern: pattern.clone(), resolved: Arc::new(resolved) });
    }
    changed
}

/// Bumps the epoch of the group if `bump` says so or topics changed.
pub fn refresh_epoch(group: &mut ConsumerGroup, context: &Context<'_>, work: &mut Work, bump: bool) {
    let version = context.cluster.topics_version();
    if !bump && group.soft.topics_version == Some(version) {
        return;
    }
    let metadata_hash = metadata_hash(group, context.cluster);
    group.soft.topics_version = Some(version);
    if bump || metadata_hash != group.durable.metadata_hash {
        let epoch = group.durable.epoch.saturating_add(1);
        work.change(group, Change::Epoch { epoch, metadata_hash });
        if group.durable.has_partition_metadata {
            work.change(group, Change::PartitionMetadataGone);
        }
    }
}

/// Of the topics that the group subscribes to: names, ids and numbers of partitions. 0 if there are none. Kafka's is
/// another function over the same; a group that changes brokers is balanced once more, and nothing moves by it.
pub fn metadata_hash(group: &ConsumerGroup, cluster: &dyn Cluster) -> i64 {
    let mut hash = Fnv::default();
    let mut any = false;
    for name in group.subscribed_topics() {
        let Some(topic) = cluster.topic(&name) else { continue };
        any = true;
        hash.write(topic.id.0.as_bytes());
        hash.write(&(name.len() as u32).to_le_bytes());
        hash.write(name.as_bytes());
        hash.write(&topic.partitions.to_le_bytes());
    }
    if any { hash.0 as i64 } else { 0 }
}

/// FNV-1a of 64 bits: the same in each version of the broker.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
