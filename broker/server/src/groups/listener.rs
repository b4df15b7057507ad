//! Who is told of committed offsets: lag, which must not ask each group anew whenever it looks. The shards tell it,
//! under the lock of the shard, in the order of the log, and only of what is committed.

use ottla_coordinator::OffsetChange;

/// Told of everything that happens to committed offsets. All calls for one shard come one after another and under its
/// lock: they must be quick, and must not ask the groups of the shard for anything.
pub trait OffsetListener: Send + Sync {
    /// Offsets were committed or removed by records that begin at offset `position` of the shard's partition. Between
    /// `loading` and `loaded`: what the shard's partition held.
    fn changed(&self, shard: i32, changes: &[OffsetChange], position: i64);

    /// What was known of a shard counts no more; all that it holds follows.
    fn loading(&self, shard: i32);

    /// The shard's offsets have been told; from now on changes follow.
    fn loaded(&self, shard: i32);

    /// The shard was given up, or is gone: its topic was deleted, or its disk failed.
    fn unloaded(&self, shard: i32);
}
