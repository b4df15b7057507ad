//! The v2 record batch, the unit that clients send, logs store and consumers read.
//! A batch comes from a socket or from a segment and leaves to a segment or a socket as the same bytes: the offset
//! and the leader's epoch are patched in place, and only a plugin that moves or changes records makes new batches.
//!
//! **Invariant:** nothing here trusts a length or a count; a walk over any bytes ends, without a panic and without
//! memory beyond a named bound.
//! Source: the record batch page of Kafka's documentation, KIP-98 (v2 format), KIP-32 (timestamps), KIP-110 (zstd).

mod attributes;
mod batches;
mod builder;
mod checks;
pub mod compression;
mod crc;
mod encode;
mod fault;
mod fingerprint;
mod header;
mod records;
mod varint;

pub use attributes::{Attributes, Compression, TimestampType};
pub use batches::Batches;
pub use builder::{Builder, Producer};
pub use checks::{
    Summary, check_crc, only_batch, patch, records_area, set_log_append_time, summarize, summarize_with,
    validate,
};
pub use compression::{Limit, compress, decompress};
pub use crc::{combine_crc, crc, replace_crc};
pub use encode::{encode_record, encode_tombstone_body};
pub use fault::BatchError;
pub use fingerprint::fingerprint;
pub use header::{HEADER_BYTES, Header, LENGTH_PREFIX_BYTES, MAGIC};
pub use records::{Headers, Record, RecordHeader, Records};
