//! One partition across brokers: appends, reads, the high watermark, answers that wait for it, and the lanes that
//! carry records to the partition that a plugin chose for them. The server's handlers stand before it, `storage`
//! behind it. It reads no clock: times are arguments.
//!
//! The map:
//! - [`Partition`]: the log and the lane behind one lock, and everything a handler calls
//! - [`ClientBatch`]: a client's batch, checked before anything is written
//! - [`Committed`], [`FetchWaiter`]: what waits, and is released by an advancing watermark
//! - [`lane`]: entries, positions, the forwarder and the destination as state machines, and the driver between them
//! - [`Destinations`] and [`Surroundings`]: what the server implements so that lanes reach other partitions

pub mod bounds;
pub mod failpoint;
pub mod lane;

mod batch;
mod commit;
mod config;
mod destinations;
mod error;
mod partition;
mod replicas;
#[cfg(test)]
mod simulation;
mod waiters;

pub use batch::ClientBatch;
pub use commit::Committed;
pub use config::{CompactionConfig, PartitionConfig};
pub use destinations::{Answering, Destinations, ForwardAnswer, ForwardRequest, Held};
pub use error::{AppendError, RECORD_ERRORS_MAX, RecordError};
pub use lane::decision::{Decision, NO_RULE, Runs};
pub use lane::driver::run_forwarder;
pub use lane::position::{Position, is_marked};
pub use lane::receipt::{Arrival, Receipt};
pub use partition::{
    Acks, CleanLease, Enqueued, Isolation, LaneLeft, LaneStatus, NextUnread, OpenPartition, Partition,
    PartitionRecovery, PartitionVerified, ReadInfo, Relocation, RelocationStep, Screened, Surroundings,
    Upkeep,
};
pub use waiters::FetchWaiter;
