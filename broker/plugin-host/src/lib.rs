//! Runs plugins: WebAssembly components that decide where records go and how long they stay. The server hands it
//! uploaded components, topics to attach them to, and batches as columns; it answers with placements and verdicts that
//! are checked.
//!
//! The way of a component: [`inspection`] reads what it is without running it, [`compiler`] makes machine code of it
//! in a child process, [`Host::attach`] and [`Host::attach_retention`] instantiate, configure and warm it up, and a
//! [`Partitioner`] or a [`Retention`] then answers calls from a pool of instances.
//!
//! Invariant: whatever a component does, a call here ends within its time, holds at most its memory, and returns an
//! answer that is right or an error that names what was wrong. This is the only crate that knows wasmtime.

mod attach;
mod attached;
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
mod judgement;
mod limits;
mod log;
mod pace;
mod partitioner;
mod placement;
mod pool;
mod retention;
mod shared;
mod stats;
mod template;
mod topic;
mod verdicts;
mod warmup;

pub use child::compile_child_main;
pub use columns::{CALL_BYTES_MAX, CALL_RECORDS_MAX, Column, Columns, HeaderColumns};
pub use compiler::{Compiled, Compiler};
pub use error::{AttachError, CallError, PluginError, Refused, Rejection, Step};
pub use host::{Host, HostConfig};
pub use inspection::{Inspection, digest_of};
pub use judgement::{Judgement, Progress, RecordVerdict, SegmentVerdict, SegmentView, Usage};
pub use limits::{LimitError, LimitKey, Limits};
pub use log::{Level, LogSink};
pub use partitioner::Partitioner;
pub use placement::Placement;
pub use retention::Retention;
pub use stats::{BreakerState, StatsSnapshot};
pub use topic::{Fields, Identity, Kind, Partitions, Topic};
