//! The cleaning engine: copies closed segments record by record as a [`Judge`] says, offsets kept. Compaction, record
//! retention and erasure stand before it; `Log::complete_clean` puts the copies in the segments' places. Invariants:
//! what is kept keeps its offset, timestamp, headers and producer; damaged data ends a pass and is never dropped;
//! memory is one buffer that grows to the largest batch, and what is decompressed of a few batches.

mod compact;
mod copy;
mod fate;
mod judge;
mod last;
mod map;
mod pass;
mod plan;
mod reader;
mod rebuild;
mod report;
mod source;
mod task;
mod transactions;

pub use compact::{Compactor, Indexer};
pub use judge::{CleanError, Judge, JudgeError, OpenBatch, Pace, RecordVerdict, Stopped, Unpaced};
pub use map::OffsetMap;
pub use report::{CleanReport, ERASED_RANGES_MAX, SegmentReport};
pub use task::{CleanTask, Cleaned};

pub(crate) use copy::{CleanedGroup, SegmentCopy};
pub(crate) use last::LastBatches;
pub(crate) use plan::{Compacting, Plan};
pub(crate) use source::{Source, grouped};
pub(crate) use transactions::{Ahead, Transactions};
