//! Groups of consumers and their committed offsets: what becomes of a request, decided without a runtime, a clock or a
//! disk. The server stands before it: it drives one shard for each partition of `__consumer_offsets`, appends the
//! records that a shard decides on, and releases answers once these are committed. A shard that is replayed from its
//! partition is as it was.
//!
//! Map: [`api`] is what is asked and answered, in the vocabulary of the protocol; [`Cluster`] is what a shard may know
//! of the world around it; [`Shard`] takes the one and gives the other, a [`Step`] at a time. Behind it, `classic` and
//! `consumer` are the two kinds of groups, and `migration` makes one of the other; `assignors` know who gets what;
//! `offsets` is what groups committed, and [`records`] is how all of it lies in the log.

pub mod api;
mod assignors;
mod check;
mod classic;
mod cluster;
mod consumer;
mod embedded;
mod group;
mod migration;
mod offsets;
mod partitions;
pub mod records;
mod refusal;
mod shard;
mod step;
mod timers;
mod turn;

pub use cluster::{Cluster, GroupOverrides, Migration, Settings, TopicView};
pub use records::{Record, ReplayError};
pub use shard::Shard;
pub use step::{Committed, GroupProgress, OffsetChange, Settled, Step};
pub use turn::{Answer, Now, Token, error_of_append};
