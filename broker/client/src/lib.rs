//! The small Kafka client that Ottla's command line uses, and its brokers among themselves.
//! It speaks one or two versions of each API that it needs, checks every response before it is decoded, and bounds
//! what it holds: frames, requests on the way, buffered records.
//!
//! Map: a [`Cluster`] knows the brokers and hands out [`Connection`]s; [`Admin`] asks for topics and configs,
//! [`Producer`] writes, [`Consumer`] reads; [`offsets`] finds where to read. [`Groups`] shows and changes groups of
//! consumers from outside; a [`Membership`] is in a classic one, a [`ConsumerMember`] in one of the consumer protocol.

mod admin;
mod bounds;
mod cluster;
mod connection;
mod consumer;
mod consumer_member;
mod fault;
pub mod groups;
mod guard;
mod membership;
pub mod offsets;
mod partitioning;
mod producer;
mod schemas;
mod versions;

pub use admin::{Admin, ConfigChange, ConfigEntry, ConfigSource, NewTopic, Resource};
pub use cluster::{Broker, Cluster, Options, Partition, Topic};
pub use connection::{Answer, Connection};
pub use consumer::{Chunk, Consumer, ConsumerOptions};
pub use consumer_member::{Beat, ConsumerMember, TopicPartitions};
pub use fault::ClientError;
pub use groups::Groups;
pub use membership::{CommitAnswer, Generation, MemberOptions, Membership, begin_commit};
pub use partitioning::Partitioning;
pub use producer::{Acks, Delivered, Producer, ProducerOptions, Record};
