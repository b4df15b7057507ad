//! Ottla's vocabulary: ids, Kafka's error codes, bounds, clocks, and the v2 record batch.
//! Every other crate speaks in these words; this one sees none of them, has no async runtime and does no IO.
//!
//! Map: [`batch`] is the record batch (header view, in-place patch, borrowed record walk, builder, compression);
//! [`ids`], [`error`], [`topic_name`] and [`murmur2`] are Kafka's small words; [`bounds`] names every limit that
//! several crates share; [`clock`] is the only way to ask for the time.

pub mod batch;
pub mod bounds;
pub mod clock;
pub mod config;
pub mod error;
pub mod ids;
pub mod murmur2;
pub mod topic_name;
