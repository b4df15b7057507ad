//! The list itself, one file for each area. Names, types, defaults and ranges are those of Apache Kafka 4.3; where
//! Ottla's default is another one, the sentence says so.

mod cluster;
mod groups;
mod log;
mod net;
mod of_group;
mod ottla;
mod row;
mod security;
mod tiered;
mod topic;

use super::key::Key;

/// Every broker key.
pub static BROKER: &[&[Key]] =
    &[net::KEYS, log::KEYS, cluster::KEYS, groups::KEYS, security::KEYS, tiered::KEYS, ottla::BROKER_KEYS];

/// Every topic key.
pub static TOPIC: &[&[Key]] = &[topic::KEYS, ottla::TOPIC_KEYS];

/// Every key of a group's own.
pub static GROUP: &[&[Key]] = &[of_group::KEYS];
