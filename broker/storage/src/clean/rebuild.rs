//! Writes a batch anew without some of its records: base offset, last offset, producer, sequence, epoch and codec stay,
//! so that consumers, followers and producer states see what they saw. Records that stay are copied as they are encoded
//! unless the base timestamp moves. The pass stands before it and writes what it yields.

use std::ops::Range;

use ottla_model::batch::{
    BatchError, Compression, HEADER_BYTES, Header, LENGTH_PREFIX_BYTES, Record, Records, TimestampType,
    compress, crc, encode_record, encode_tombstone_body,
};
use ottla_model::ids::NO_TIMESTAMP;

use super::judge::RecordVerdict;
use super::report::SegmentReport;

/// Where the part of a header begins that the CRC covers.
const CRC_START: usize = 21;
/// Larger buffers are given back after a chunk.
const BYTES_KEPT: usize = 8 << 20;

/// The rebuilt batches of one chunk, one after the other, and the buffers that it takes to make them.
#[derive(Default)]
pub(super) struct Rebuilder {
    out: Vec<u8>,
    records: Vec<u8>,
    body: Vec<u8>,
}

impl Rebuilder {
    pub fn clear(&mut self) {
        for buffer in [&mut self.out, &mut self.records, &mut self.body] {
            buffer.clear();
            buffer.shrink_to(BYTES_KEPT);
        }
    }

    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.out[range.clone()]
    }

    /// Writes the records of `area` that `verdicts` keep, all without verdicts; counts the others in `report`. A
    /// `horizon` becomes the base timestamp, and marks the batch. Yields the new header and where the batch lies;
    /// `None` if no record is left.
    ///
    /// # Errors
    /// Records that cannot be walked, a codec that fails, a record without a key that is to become a tombstone.
    pub fn rebuild(
        &mut self,
        header: &Header,
        area: &[u8],
        verdicts: Option<&[RecordVerdict]>,
        horizon: Option<i64>,
        report: &mut SegmentReport,
    ) -> Result<Option<(Header, Range<usize>)>, BatchError> {
        self.records.clear();
        let base_timestamp = horizon.unwrap_or(header.base_timestamp);
        let (mut count, mut newest, mut begin) = (0, i64::MIN, 0);
        for (index, record) in Records::new(area, header.record_count)?.enumerate() {
            let record = record?;
            let end = end_of(area, &record);
            let encoded = &area[begin..end];
            begin = end;
            let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
            let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
            let delta = timestamp.wrapping_sub(base_timestamp);
            match verdicts.and_then(|verdicts| verdicts.get(index)).unwrap_or(&RecordVerdict::Keep) {
                RecordVerdict::Erase => {
                    report.erase(offset);
                    continue;
                }
                RecordVerdict::Tombstone if record.value.is_some() => {
                    let what = "it has no key and cannot become a tombstone";
                    let key = record.key.ok_or(BatchError::Record { record: index as u32, what })?;
                    report.tombstone(offset);
                    encode_tombstone_body(&mut self.body, key);
                    encode_record(
                        &mut self.records,
                        record.attributes,
                        delta,
                        record.offset_delta,
                        &self.body,
                    );
                }
                _ if horizon.is_none() => self.records.extend_from_slice(encoded),
                _ => encode_record(
                    &mut self.records,
                    record.attributes,
                    delta,
                    record.offset_delta,
                    record.body,
                ),
            }
            count += 1;
            newest = newest.max(timestamp);
        }
        if count == 0 {
            return Ok(None);
        }
        let max_timestamp = match header.attributes.timestamp_type() {
            TimestampType::LogAppendTime => header.max_timestamp,
            TimestampType::CreateTime => newest,
        };
        let marked = horizon.is_some() || header.attributes.has_delete_horizon();
        let attributes = header.attributes.with_delete_horizon(marked);
        let header = Header { attributes, base_timestamp, max_timestamp, record_count: count, ..*header };
        self.write(header).map(Some)
    }

    /// Writes a batch without records, which says what the batch said of its producer.
    pub fn empty(&mut self, header: &Header) -> (Header, Range<usize>) {
        let attributes = header.attributes.with_compression(Compression::None).with_delete_horizon(false);
        let header = Header { attributes, base_timestamp: NO_TIMESTAMP, record_count: 0, ..*header };
        let begin = self.out.len();
        self.out.resize(begin + HEADER_BYTES, 0);
        (self.seal(header, begin), begin..self.out.len())
    }

    fn write(&mut self, header: Header) -> Result<(Header, Range<usize>), BatchError> {
        let begin = self.out.len();
        self.out.resize(begin + HEADER_BYTES, 0);
        compress(header.compression()?, None, &self.records, &mut self.out)?;
        let size = self.out.len() - begin;
        if i32::try_from(size).is_err() {
            return Err(BatchError::Full { bytes: size, records: header.record_count as u32 });
        }
        Ok((self.seal(header, begin), begin..self.out.len()))
    }

    /// Puts length and CRC into the header of the batch that begins at `begin` and ends the buffer.
    fn seal(&mut self, header: Header, begin: usize) -> Header {
        let batch = &mut self.out[begin..];
        let batch_length = (batch.len() - LENGTH_PREFIX_BYTES) as i32;
        let mut header = Header { batch_length, crc: 0, ..header };
        batch[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        header.crc = crc(&[&batch[CRC_START..]]);
        batch[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        header
    }
}

/// Where a record ends in its area: with its body.
fn end_of(area: &[u8], record: &Record<'_>) -> usize {
    record.body.as_ptr_range().end as usize - area.as_ptr() as usize
}

/// Whether the batch is one that the cleaner emptied.
pub(super) fn is_empty(header: &Header) -> bool {
    header.record_count == 0
}

/// Whether tombstones of the batch may go at `now_ms`; `None` if nothing says when.
pub(super) fn horizon_passed(header: &Header, now_ms: i64) -> Option<bool> {
    header.attributes.has_delete_horizon().then_some(header.base_timestamp <= now_ms)
}
