//! The records of a step on their way into the shard's partition: one batch, as Kafka writes it. A slot stands before
//! it, `replication::Partition` behind it.
//!
//! Invariant: the records of a step are in the log all or none, but for tombstones, of which each is right by itself.

use bytes::Bytes;
use ottla_coordinator::Record;
use ottla_model::batch::{Builder, Compression, Header, Summary};
use ottla_model::error::ErrorCode;
use ottla_replication::{Acks, ClientBatch, Committed, Enqueued, Partition};

/// No client's connection has this number.
const CONNECTION: u64 = u64::MAX - 1;

/// Records that are in the log.
pub struct Appended {
    /// Of the first one.
    pub offset: i64,
    pub committed: Committed,
}

/// Why records are not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAppended {
    pub code: ErrorCode,
    /// Some of them are there all the same: what the shard knows is no longer what its log says.
    pub partly: bool,
}

/// Appends records. More tombstones than a batch holds go in several.
///
/// # Errors
/// Those of the partition; MESSAGE_TOO_LARGE for records that are no tombstones and more than `max.message.bytes`.
pub fn append(
    partition: &Partition,
    records: &[Record],
    compression: Compression,
    now_ms: i64,
) -> Result<Appended, NotAppended> {
    let room = partition.config().max_message_bytes;
    let may_split = records.iter().all(|record| record.value.is_none());
    let mut first = None;
    let mut rest = records;
    loop {
        let refused = |code| NotAppended { code, partly: first.is_some() };
        let (batch, count) = gather(rest, compression, now_ms, may_split.then_some(room)).map_err(refused)?;
        rest = &rest[count..];
        let enqueued = append_one(partition, batch, count, now_ms).map_err(refused)?;
        let offset = *first.get_or_insert(enqueued.base_offset);
        if rest.is_empty() {
            // What was appended before is committed before.
            return Ok(Appended { offset, committed: enqueued.committed });
        }
    }
}

/// A batch of the first records, as many as there is room for, and how many those are.
fn gather(
    records: &[Record],
    compression: Compression,
    now_ms: i64,
    room: Option<usize>,
) -> Result<(Vec<u8>, usize), ErrorCode> {
    let mut builder = Builder::new(compression);
    let mut count = 0;
    for record in records {
        let body = record.key.len() + record.value.as_ref().map_or(0, Bytes::len);
        if count > 0 && room.is_some_and(|room| builder.size_bytes_with(body + 10) > room) {
            break;
        }
        builder
            .append(now_ms, Some(&record.key), record.value.as_deref(), [])
            .map_err(|_| ErrorCode::RecordListTooLarge)?;
        count += 1;
    }
    let batch = builder.finish().map_err(|error| {
        tracing::error!(%error, "the records of a group cannot be written as a batch");
        ErrorCode::UnknownServerError
    })?;
    Ok((batch, count))
}

fn append_one(
    partition: &Partition,
    batch: Vec<u8>,
    count: usize,
    now_ms: i64,
) -> Result<Enqueued, ErrorCode> {
    let bytes = Bytes::from(batch);
    let header = Header::parse(&bytes).map_err(|_| ErrorCode::UnknownServerError)?;
    // Known, as the batch was made here: it need not be walked.
    let summary = Summary {
        count: u32::try_from(count).unwrap_or(u32::MAX),
        min_timestamp: now_ms,
        max_timestamp: now_ms,
        max_timestamp_index: 0,
        null_key_index: None,
        dense: true,
    };
    let batch = ClientBatch { header, bytes, connection: CONNECTION, summary: Some(summary) };
    partition.append(&batch, None, Acks::All, now_ms).map_err(|error| {
        let partition = partition.topic_partition();
        match error.error.code {
            // A client can bring this about as often as it likes.
            ErrorCode::MessageTooLarge => {
                tracing::debug!(%partition, error = %error.error, "records of groups were not appended")
            }
            _ => tracing::warn!(%partition, error = %error.error, "records of groups were not appended"),
        }
        error.error.code
    })
}
