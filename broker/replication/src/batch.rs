//! A client's batch on its way into a partition. The produce handler parses it, the plugin stage may look into it,
//! and `prepare` does all that can fail before anything is written: sizes, the walk over the records, timestamps,
//! and the rewriting that a topic's config asks for. After it the batch is fit for log and lane alike.

use std::cell::RefCell;

use bytes::Bytes;
use ottla_model::batch::{
    Compression, HEADER_BYTES, Header, Limit, Records, Summary, TimestampType, compress, crc, records_area,
    replace_crc, summarize, validate,
};
use ottla_model::error::ErrorCode;
use ottla_model::ids::NO_TIMESTAMP;

use crate::bounds::SCRATCH_BYTES_KEPT;
use crate::config::PartitionConfig;
use crate::error::{AppendError, RECORD_ERRORS_MAX, RecordError};
use crate::lane::ledger::ProducerKey;
use crate::lane::position::is_marked;

/// The part of a header that its CRC covers begins with the attributes.
const CRC_COVERS_FROM: usize = 21;

/// One whole, sound batch of a client.
#[derive(Clone, Debug)]
pub struct ClientBatch {
    pub header: Header,
    /// The batch as it came, header included.
    pub bytes: Bytes,
    /// The connection that it came by: the order of producers without an id is kept by connection.
    pub connection: u64,
    /// What a walk over its records found, if somebody has already done one.
    pub summary: Option<Summary>,
}

impl ClientBatch {
    /// Checks that `bytes` are exactly one batch as a client may send it, its CRC included.
    ///
    /// # Errors
    /// As Kafka answers: CORRUPT_MESSAGE, INVALID_RECORD and so on; INVALID_PRODUCER_ID_MAPPING for a producer id
    /// in the range that lanes use.
    pub fn parse(bytes: Bytes, connection: u64) -> Result<ClientBatch, AppendError> {
        let header = validate(&bytes)?;
        if is_marked(header.producer_id) {
            return Err(AppendError::new(
                ErrorCode::InvalidProducerIdMapping,
                format!(
                    "producer id {} lies in the range that the broker keeps for itself: ask for one with \
                     InitProducerId",
                    header.producer_id
                ),
            ));
        }
        Ok(ClientBatch { header, bytes, connection, summary: None })
    }

    /// Whose order this batch is part of.
    pub fn producer_key(&self) -> ProducerKey {
        if self.header.has_producer() {
            ProducerKey::Id(self.header.producer_id)
        } else {
            ProducerKey::Connection(self.connection)
        }
    }
}

/// A batch that passed every check of its topic, with the header that will be written.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub header: Header,
    /// What follows the header.
    pub body: Bytes,
    /// The broker's time if it replaced the records' times, else -1.
    pub log_append_time_ms: i64,
    /// The CRC as the client sent it.
    pub client_crc: u32,
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` with a buffer that the thread keeps, as long as it stays small.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => {
            let result = work(&mut scratch);
            if scratch.capacity() > SCRATCH_BYTES_KEPT {
                *scratch = Vec::new();
            }
            result
        }
        Err(_) => work(&mut Vec::new()),
    })
}

/// Checks a batch against its topic's config and rewrites what that config asks for.
///
/// # Errors
/// MESSAGE_TOO_LARGE, CORRUPT_MESSAGE, INVALID_RECORD and INVALID_TIMESTAMP, with the records that were wrong.
pub(crate) fn prepare(
    batch: &ClientBatch,
    config: &PartitionConfig,
    now_ms: i64,
) -> Result<Prepared, AppendError> {
    let size = batch.bytes.len();
    if size > config.max_message_bytes {
        return Err(AppendError::new(
            ErrorCode::MessageTooLarge,
            format!("the batch has {size} bytes, and max.message.bytes allows {}", config.max_message_bytes),
        ));
    }
    let recompress = config.compression.filter(|(codec, _)| batch.header.compression().ok() != Some(*codec));
    if let (Some(summary), None) = (batch.summary, recompress) {
        check_summary(&batch.header, &summary, config, now_ms, || record_times(batch))?;
        return Ok(finish(batch, config, now_ms, &summary));
    }
    with_scratch(|scratch| {
        let area = records_area(&batch.bytes, scratch, Limit::default())?;
        let summary = summarize(&batch.header, area)?;
        check_summary(&batch.header, &summary, config, now_ms, || Ok(times_of(&batch.header, area)))?;
        match recompress {
            None => Ok(finish(batch, config, now_ms, &summary)),
            Some((codec, level)) => recompressed(batch, config, now_ms, &summary, area, codec, level),
        }
    })
}

fn check_summary(
    header: &Header,
    summary: &Summary,
    config: &PartitionConfig,
    now_ms: i64,
    times: impl FnOnce() -> Result<Vec<i64>, AppendError>,
) -> Result<(), AppendError> {
    if !summary.dense {
        return Err(AppendError::new(
            ErrorCode::InvalidRecord,
            "the offsets of the records in the batch do not count up from 0",
        ));
    }
    if let Some(index) = summary.null_key_index.filter(|_| config.compacted) {
        let message = "a compacted topic takes no record without a key".to_owned();
        return Err(AppendError {
            error: ottla_model::error::KafkaError::new(ErrorCode::InvalidRecord, message.clone()),
            records: vec![RecordError { index, message }],
        });
    }
    if config.timestamp_type == TimestampType::LogAppendTime {
        return match header.attributes.timestamp_type() {
            TimestampType::CreateTime => Ok(()),
            TimestampType::LogAppendTime => Err(stamped_by_client(header)),
        };
    }
    let oldest = now_ms.saturating_sub(config.timestamp_before_max_ms);
    let newest = now_ms.saturating_add(config.timestamp_after_max_ms);
    let within = |time: i64| time == NO_TIMESTAMP || (oldest..=newest).contains(&time);
    if within(summary.max_timestamp) && within(summary.min_timestamp) && summary.min_timestamp != NO_TIMESTAMP
    {
        return Ok(());
    }
    let records: Vec<RecordError> = times()?
        .into_iter()
        .enumerate()
        .filter(|(_, time)| !within(*time))
        .take(RECORD_ERRORS_MAX)
        .map(|(index, time)| RecordError {
            index: index as u32,
            message: format!("timestamp {time} is out of range: it should lie between {oldest} and {newest}"),
        })
        .collect();
    let Some(first) = records.first() else {
        let stamped = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
        let without = summary.min_timestamp == NO_TIMESTAMP;
        return if stamped && without { Err(stamped_by_client(header)) } else { Ok(()) };
    };
    let message = format!("record {}: {}", first.index, first.message);
    Err(AppendError {
        error: ottla_model::error::KafkaError::new(ErrorCode::InvalidTimestamp, message),
        records,
    })
}

/// Only the broker stamps a batch with the time of its append. Where the records bring times of their own, the claim
/// is harmless and is taken back when the header is written.
fn stamped_by_client(header: &Header) -> AppendError {
    let message = "a client may not set the timestamp type of a batch to LogAppendTime";
    let named = header.record_count.unsigned_abs().min(RECORD_ERRORS_MAX as u32);
    AppendError {
        error: ottla_model::error::KafkaError::new(ErrorCode::InvalidTimestamp, message),
        records: (0..named).map(|index| RecordError { index, message: message.to_owned() }).collect(),
    }
}

fn record_times(batch: &ClientBatch) -> Result<Vec<i64>, AppendError> {
    with_scratch(|scratch| {
        Ok(times_of(&batch.header, records_area(&batch.bytes, scratch, Limit::default())?))
    })
}

fn times_of(header: &Header, area: &[u8]) -> Vec<i64> {
    let records = Records::new(area, header.record_count).into_iter().flatten().map_while(Result::ok);
    records.map(|record| header.base_timestamp.wrapping_add(record.timestamp_delta)).collect()
}

/// The header as it will be written, over a body that stays as it came. Its CRC is derived from the client's: the
/// records are not summed again.
fn finish(batch: &ClientBatch, config: &PartitionConfig, now_ms: i64, summary: &Summary) -> Prepared {
    let body = batch.bytes.slice(HEADER_BYTES..);
    let (header, log_append_time_ms) = timestamped(batch.header, config, now_ms, summary);
    let header = if header == batch.header {
        header
    } else {
        let crc_of = |header: &Header| crc(&[&header.to_bytes()[CRC_COVERS_FROM..]]);
        let crc = replace_crc(batch.header.crc, crc_of(&batch.header), crc_of(&header), body.len());
        Header { crc, ..header }
    };
    Prepared { header, body, log_append_time_ms, client_crc: batch.header.crc }
}

fn timestamped(header: Header, config: &PartitionConfig, now_ms: i64, summary: &Summary) -> (Header, i64) {
    match config.timestamp_type {
        // Some clients state a max timestamp that none of their records has; the index must not believe it.
        TimestampType::CreateTime => {
            let attributes = header.attributes.with_timestamp_type(TimestampType::CreateTime);
            (Header { attributes, max_timestamp: summary.max_timestamp, ..header }, NO_TIMESTAMP)
        }
        TimestampType::LogAppendTime => {
            let attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            (Header { attributes, max_timestamp: now_ms, ..header }, now_ms)
        }
    }
}

fn recompressed(
    batch: &ClientBatch,
    config: &PartitionConfig,
    now_ms: i64,
    summary: &Summary,
    area: &[u8],
    codec: Compression,
    level: Option<i32>,
) -> Result<Prepared, AppendError> {
    let body = if codec == Compression::None {
        Bytes::copy_from_slice(area)
    } else {
        let mut body = Vec::with_capacity(area.len() / 2);
        compress(codec, level, area, &mut body)?;
        Bytes::from(body)
    };
    let size = HEADER_BYTES + body.len();
    if size > config.max_message_bytes {
        return Err(AppendError::new(
            ErrorCode::MessageTooLarge,
            format!(
                "with the topic's compression.type={codec} the batch has {size} bytes, and max.message.bytes allows {}",
                config.max_message_bytes
            ),
        ));
    }
    let (mut header, log_append_time_ms) = timestamped(batch.header, config, now_ms, summary);
    header.attributes = header.attributes.with_compression(codec);
    header.batch_length = (size - 12) as i32;
    header.crc = crc(&[&header.to_bytes()[CRC_COVERS_FROM..], &body]);
    Ok(Prepared { header, body, log_append_time_ms, client_crc: batch.header.crc })
}
