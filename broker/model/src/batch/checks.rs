//! What is asked of a batch before it is appended, and what is changed in it then.
//! Stands between the socket and the log: after [`validate`] a batch's header can be trusted, and the patches keep
//! its CRC right. The records inside stay unread unless [`summarize`] is asked for.

use super::attributes::{Attributes, Compression, TimestampType};
use super::compression::{Limit, decompress};
use super::fault::BatchError;
use super::header::{HEADER_BYTES, Header, LENGTH_PREFIX_BYTES, MAGIC, field};
use super::records::{Record, Records};
use crate::bounds::RECORD_BYTES_MIN;

/// What follows the length field of an empty message of the oldest format (magic 0): CRC, magic, attributes and the
/// lengths of key and value.
const OLD_BATCH_LENGTH_MIN: i32 = 14;

/// Compares a whole batch with its CRC, which covers everything from the attributes on.
///
/// # Errors
/// `Short` without a whole header, `Crc` where they differ.
pub fn check_crc(batch: &[u8]) -> Result<(), BatchError> {
    let short = || BatchError::Short { have: batch.len(), need: HEADER_BYTES };
    let stated = batch.get(field::CRC..).and_then(|from| from.first_chunk::<4>()).ok_or_else(short)?;
    let covered = batch.get(field::ATTRIBUTES..).ok_or_else(short)?;
    let (expected, computed) = (u32::from_be_bytes(*stated), crc32c::crc32c(covered));
    if expected == computed { Ok(()) } else { Err(BatchError::Crc { expected, computed }) }
}

/// Checks one whole batch as a client may send it: format, length, CRC, codec, counts, base offset, no control
/// batch, a sequence where there is a producer.
/// In the order in which Kafka checks them, so that the same fault gets the same answer.
///
/// # Errors
/// The first of these that is wrong; [`BatchError::code`] is Kafka's answer to it.
pub fn validate(batch: &[u8]) -> Result<Header, BatchError> {
    let header = Header::parse(batch)?;
    if batch.len() < header.size() {
        return Err(BatchError::Short { have: batch.len(), need: header.size() });
    }
    if batch.len() > header.size() {
        return Err(BatchError::Trailing { extra: batch.len() - header.size() });
    }
    check_crc(batch)?;
    check_client_header(&header)?;
    Ok(header)
}

fn check_client_header(header: &Header) -> Result<(), BatchError> {
    if header.base_offset != 0 {
        return Err(BatchError::BaseOffset(header.base_offset));
    }
    let (count, last_offset_delta) = (header.record_count, header.last_offset_delta);
    if count <= 0 || last_offset_delta != count - 1 {
        return Err(BatchError::Count { count, last_offset_delta });
    }
    let compression = header.compression()?;
    let most = (header.size() - HEADER_BYTES) / RECORD_BYTES_MIN;
    if compression == Compression::None && count as usize > most {
        return Err(BatchError::CountMismatch { claimed: count as u32, found: most as u32 });
    }
    if header.attributes.is_control() {
        return Err(BatchError::Control);
    }
    if header.has_producer() && header.base_sequence < 0 {
        return Err(BatchError::Sequence { producer_id: header.producer_id, sequence: header.base_sequence });
    }
    Ok(())
}

/// The one batch that the records of a produce request hold for a partition. The begin of another batch that is not
/// there whole is left out, as Kafka does.
///
/// # Errors
/// `Missing` without a whole batch, `Several` where a further one follows, `Length` and `Magic` where one cannot be
/// a batch. What the batch holds is for [`validate`].
pub fn only_batch(records: &[u8]) -> Result<&[u8], BatchError> {
    let (batch, rest) = split_batch(records)?.ok_or(BatchError::Missing)?;
    match batch[field::MAGIC] as i8 {
        MAGIC if split_batch(rest)?.is_some() => Err(BatchError::Several),
        MAGIC => Ok(batch),
        magic => Err(BatchError::Magic { magic }),
    }
}

type BatchAndRest<'a> = (&'a [u8], &'a [u8]);

/// The first batch of any format and what follows it; none where it is not there whole.
fn split_batch(records: &[u8]) -> Result<Option<BatchAndRest<'_>>, BatchError> {
    let Some(length) = records.get(field::BATCH_LENGTH..).and_then(|from| from.first_chunk::<4>()) else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    if length < OLD_BATCH_LENGTH_MIN {
        return Err(BatchError::Length { length });
    }
    let Some(magic) = records.get(field::MAGIC).map(|byte| *byte as i8) else { return Ok(None) };
    if !(0..=MAGIC).contains(&magic) {
        return Err(BatchError::Magic { magic });
    }
    Ok(records.split_at_checked(LENGTH_PREFIX_BYTES + length as usize))
}

/// The uncompressed records of a whole batch: borrowed from it where it is not compressed, else from `scratch`,
/// which is cleared first and never grows beyond `limit`.
///
/// # Errors
/// `Short`, `Magic`, `Codec`; `Compressed` and `Inflated` from decompression.
pub fn records_area<'a>(
    batch: &'a [u8],
    scratch: &'a mut Vec<u8>,
    limit: Limit,
) -> Result<&'a [u8], BatchError> {
    let header = Header::parse(batch)?;
    let short = BatchError::Short { have: batch.len(), need: header.size() };
    let area = batch.get(HEADER_BYTES..header.size()).ok_or(short)?;
    match header.compression()? {
        Compression::None => Ok(area),
        codec => {
            scratch.clear();
            decompress(codec, area, limit, scratch)?;
            Ok(scratch)
        }
    }
}

/// What a walk over all records tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    pub count: u32,
    /// Of the records' own timestamps, in milliseconds since 1970.
    pub min_timestamp: i64,
    pub max_timestamp: i64,
    /// The index of the first record that bears the max timestamp.
    pub max_timestamp_index: u32,
    /// The first record without a key, which a compacted topic refuses.
    pub null_key_index: Option<u32>,
    /// Whether the offset deltas are 0, 1, 2 and so on.
    pub dense: bool,
}

/// Walks all records of `area` and compares them with the header's count.
///
/// # Errors
/// `Record` and `CountMismatch`.
pub fn summarize(header: &Header, area: &[u8]) -> Result<Summary, BatchError> {
    summarize_with(header, area, |_| {})
}

/// As [`summarize`], and shows each record to `look` on the way, before it is known whether all of them are sound.
///
/// # Errors
/// `Record` and `CountMismatch`.
#[inline]
pub fn summarize_with<'a>(
    header: &Header,
    area: &'a [u8],
    mut look: impl FnMut(&Record<'a>),
) -> Result<Summary, BatchError> {
    let mut summary = Summary {
        count: 0,
        min_timestamp: i64::MAX,
        max_timestamp: i64::MIN,
        max_timestamp_index: 0,
        null_key_index: None,
        dense: true,
    };
    for record in Records::new(area, header.record_count)? {
        let record = record?;
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        summary.min_timestamp = summary.min_timestamp.min(timestamp);
        if timestamp > summary.max_timestamp {
            summary.max_timestamp = timestamp;
            summary.max_timestamp_index = summary.count;
        }
        if record.key.is_none() && summary.null_key_index.is_none() {
            summary.null_key_index = Some(summary.count);
        }
        summary.dense &= record.offset_delta as u32 == summary.count;
        summary.count += 1;
        look(&record);
    }
    Ok(summary)
}

/// Writes the offset and the leader's epoch that the log assigns into a header in place. The CRC does not cover them.
///
/// # Panics
/// Below 16 bytes; the caller has parsed a header from these bytes.
pub fn patch(header_bytes: &mut [u8], base_offset: i64, leader_epoch: i32) {
    header_bytes[field::BASE_OFFSET..field::BATCH_LENGTH].copy_from_slice(&base_offset.to_be_bytes());
    header_bytes[field::LEADER_EPOCH..field::MAGIC].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Makes the broker's time the timestamp of every record: type and max timestamp in the header, and its CRC.
/// The records, and with them the base timestamp, stay.
///
/// # Panics
/// Below 61 bytes; the caller has parsed a header from these bytes.
pub fn set_log_append_time(batch: &mut [u8], now_ms: i64) {
    set_max_timestamp(batch, TimestampType::LogAppendTime, now_ms);
}

fn set_max_timestamp(batch: &mut [u8], kind: TimestampType, max_timestamp: i64) {
    let attributes = Attributes(i16::from_be_bytes([batch[field::ATTRIBUTES], batch[field::ATTRIBUTES + 1]]))
        .with_timestamp_type(kind);
    batch[field::ATTRIBUTES..field::LAST_OFFSET_DELTA].copy_from_slice(&attributes.0.to_be_bytes());
    batch[field::MAX_TIMESTAMP..field::PRODUCER_ID].copy_from_slice(&max_timestamp.to_be_bytes());
    let crc = crc32c::crc32c(&batch[field::ATTRIBUTES..]);
    batch[field::CRC..field::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
}
