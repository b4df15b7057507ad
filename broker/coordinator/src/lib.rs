//! Groups of consumers and their committed offsets: what becomes of a request, decided without a runtime, a clock or a
//! disk. The server stands before it: it drives one shard for each partition of `__consumer_offsets`, appends the
//! records that a shard decides on, and releases answers once these are committed. A shard that is replayed from its
//! partition is as it was.
//!
//! Map: [`api`] is what is asked and answered, in the vocabulary of the protocol; [`Cluster`] is what a shard may know
//! of the world around it.

pub mod api;
mod cluster;

pub use cluster::{Cluster, GroupOverrides, Migration, Settings, TopicView};
