//! What can be wrong with a batch, and which of Kafka's codes says so to the client that sent it.

use crate::error::{ErrorCode, KafkaError};

/// A batch that cannot be accepted or read. Offsets of bytes count from the batch's first byte, indexes of records
/// from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("the batch ends after {have} bytes; {need} are needed")]
    Short { have: usize, need: usize },
    #[error("the batch claims a length of {length} bytes; at least 49 follow the length field")]
    Length { length: i32 },
    #[error("{extra} bytes follow the batch")]
    Trailing { extra: usize },
    #[error("there is no whole record batch: send exactly one for a partition")]
    Missing,
    #[error("a further record batch follows the first: send exactly one for a partition")]
    Several,
    #[error("magic {magic} is not supported: only the record format v2 (magic 2) is")]
    Magic { magic: i8 },
    #[error("the batch's CRC is {expected:#010x}, its content has {computed:#010x}")]
    Crc { expected: u32, computed: u32 },
    #[error("compression codec {codec} is unknown; 0 to 4 are none, gzip, snappy, lz4 and zstd")]
    Codec { codec: u8 },
    #[error("the batch claims {count} records, its last offset delta is {last_offset_delta}")]
    Count { count: i32, last_offset_delta: i32 },
    #[error("the batch claims {claimed} records but holds {found}")]
    CountMismatch { claimed: u32, found: u32 },
    #[error("record {record}: {what}")]
    Record { record: u32, what: &'static str },
    #[error("the base offset of a batch from a client must be 0, but is {0}")]
    BaseOffset(i64),
    #[error("a client may not write control batches")]
    Control,
    #[error("base sequence {sequence} is invalid for a batch of producer {producer_id}")]
    Sequence { producer_id: i64, sequence: i32 },
    #[error("the {codec} data cannot be decompressed: {reason}")]
    Compressed { codec: &'static str, reason: String },
    #[error("decompressed, the batch exceeds the allowed {allowed} bytes ({compressed} compressed)")]
    Inflated { compressed: usize, allowed: usize },
    #[error("a batch of {bytes} bytes and {records} records cannot be written: a batch is bounded to 2 GiB")]
    Full { bytes: usize, records: u32 },
}

impl BatchError {
    /// The code with which Kafka answers a produce request that holds such a batch.
    pub fn code(&self) -> ErrorCode {
        match self {
            BatchError::Short { .. }
            | BatchError::Length { .. }
            | BatchError::Trailing { .. }
            | BatchError::Crc { .. }
            | BatchError::Compressed { .. } => ErrorCode::CorruptMessage,
            // An old format is a record that this version of the request may not hold; any other is no record.
            BatchError::Magic { magic: 0 | 1 } => ErrorCode::InvalidRecord,
            BatchError::Magic { .. } => ErrorCode::CorruptMessage,
            BatchError::Codec { .. } => ErrorCode::UnsupportedCompressionType,
            BatchError::Inflated { .. } | BatchError::Full { .. } => ErrorCode::MessageTooLarge,
            BatchError::Missing
            | BatchError::Several
            | BatchError::Count { .. }
            | BatchError::CountMismatch { .. }
            | BatchError::Record { .. }
            | BatchError::BaseOffset(_)
            | BatchError::Control
            | BatchError::Sequence { .. } => ErrorCode::InvalidRecord,
        }
    }

    /// The index of the record that is wrong, where it is one record.
    pub fn record(&self) -> Option<u32> {
        match self {
            BatchError::Record { record, .. } => Some(*record),
            _ => None,
        }
    }
}

impl From<BatchError> for KafkaError {
    fn from(error: BatchError) -> KafkaError {
        KafkaError::new(error.code(), error.to_string())
    }
}
