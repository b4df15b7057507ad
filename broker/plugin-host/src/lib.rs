//! Runs plugins: WebAssembly components that decide where records go. The server hands it uploaded components,
//! topics to attach them to, and batches as columns; it answers with placements that are checked.
//!
//! The way of a component: [`inspection`] reads what it is without running it, [`compiler`] makes machine code of it
//! in a child process, [`Host::attach`] instantiates, configures and warms it up, and a [`Partitioner`] then answers
//! calls from a pool of instances.
//!
//! Invariant: whatever a component does, a call here ends within its time, holds at most its memory, and returns a
//! placement that is right or an error that names what was wrong. This is the only crate that knows wasmtime.

mod attach;
mod breaker;
mod cache;
mod calls;
mod child;
mod columns;
mod compiler;
mod contract_v0_1;
mod engine;
mod error;
mod guest;
mod host;
mod inspection;
mod instance;
mod limits;
mod log;
mod pace;
mod partitioner;
mod placement;
mod shared;
mod stats;
mod template;
mod topic;
mod warmup;

pub use child::compile_child_main;
pub use columns::{CALL_BYTES_MAX, CALL_RECORDS_MAX, Column, Columns, HeaderColumns};
pub use compiler::{Compiled, Compiler};
pub use error::{AttachError, CallError, PluginError, Refused, Rejection, Step};
pub use host::{Host, HostConfig};
pub use inspection::{Inspection, digest_of};
pub use limits::{LimitError, LimitKey, Limits};
pub use log::{Level, LogSink};
pub use partitioner::Partitioner;
pub use placement::Placement;
pub use stats::{BreakerState, StatsSnapshot};
pub use topic::{Fields, Identity, Kind, Partitions, Topic};
