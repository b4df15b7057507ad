//! Writes v2 batches: of the forwarder, which gives records of client batches new places, of the client, of tests.
//! Records are encoded behind room for the header, so that an uncompressed batch is never copied.
//! Keeps what a record is: null and empty stay apart, headers keep their order and their repetitions.

use super::attributes::{Attributes, Compression, TimestampType};
use super::compression::compress;
use super::fault::BatchError;
use super::header::{HEADER_BYTES, Header, LENGTH_PREFIX_BYTES, MAGIC, field};
use super::records::{Record, RecordHeader};
use super::varint::{VARLONG_BYTES_MAX, size_of, write_i32, write_i64};
use crate::bounds::BATCH_BYTES_MAX;
use crate::ids::{NO_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP};

/// A varint of 32 bits.
const RECORD_LENGTH_BYTES_MAX: usize = 5;

/// The producer fields of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
}

impl Producer {
    pub const NONE: Producer =
        Producer { id: NO_PRODUCER_ID, epoch: NO_PRODUCER_EPOCH, base_sequence: NO_SEQUENCE };
}

/// Collects records and writes them as one batch.
#[derive(Debug, Clone)]
pub struct Builder {
    compression: Compression,
    level: Option<i32>,
    attributes: Attributes,
    base_offset: i64,
    leader_epoch: i32,
    producer: Producer,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    log_append_time: Option<i64>,
    /// Of the record that comes next, unless the caller names another.
    next_delta: i32,
    count: u32,
    /// Room for the header, then the encoded records.
    bytes: Vec<u8>,
}

impl Builder {
    pub fn new(compression: Compression) -> Builder {
        Builder {
            compression,
            level: None,
            attributes: Attributes::default(),
            base_offset: 0,
            leader_epoch: NO_LEADER_EPOCH,
            producer: Producer::NONE,
            base_timestamp: None,
            max_timestamp: NO_TIMESTAMP,
            log_append_time: None,
            next_delta: 0,
            count: 0,
            bytes: vec![0; HEADER_BYTES],
        }
    }

    /// The codec's own scale, as `compression.gzip.level` and its kin; without it the codec's default.
    pub fn level(mut self, level: Option<i32>) -> Builder {
        self.level = level;
        self
    }

    pub fn base_offset(mut self, base_offset: i64) -> Builder {
        self.base_offset = base_offset;
        self
    }

    pub fn leader_epoch(mut self, leader_epoch: i32) -> Builder {
        self.leader_epoch = leader_epoch;
        self
    }

    pub fn producer(mut self, producer: Producer) -> Builder {
        self.producer = producer;
        self
    }

    pub fn transactional(mut self, on: bool) -> Builder {
        self.attributes = self.attributes.with_transactional(on);
        self
    }

    pub fn control(mut self, on: bool) -> Builder {
        self.attributes = self.attributes.with_control(on);
        self
    }

    /// Marks the batch with the broker's time, which then counts as the timestamp of every record.
    pub fn log_append_time(mut self, now_ms: i64) -> Builder {
        self.log_append_time = Some(now_ms);
        self
    }

    /// Makes room for that many bytes of encoded records, where the caller knows how much is to come.
    pub fn reserve(&mut self, record_bytes: usize) {
        self.bytes.reserve(record_bytes.min(BATCH_BYTES_MAX));
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch so far in bytes, uncompressed.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The largest size after a record with a body of that many bytes.
    pub fn size_bytes_with(&self, body_bytes: usize) -> usize {
        // A length, the attributes and two deltas stand before the body.
        self.bytes.len() + RECORD_LENGTH_BYTES_MAX + 1 + VARLONG_BYTES_MAX + 5 + body_bytes
    }

    /// Adds a record at the next offset. `timestamp` is in milliseconds since 1970, or -1 for none.
    ///
    /// # Errors
    /// `Full` where the batch would pass 2 GiB or its count; it stays as it was.
    pub fn append<'h>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = RecordHeader<'h>> + Clone,
    ) -> Result<(), BatchError> {
        let mut header_count = 0i32;
        let mut body_bytes = optional_size(key).saturating_add(optional_size(value));
        for header in headers.clone() {
            header_count = header_count.saturating_add(1);
            body_bytes = body_bytes
                .saturating_add(optional_size(Some(header.key)))
                .saturating_add(optional_size(header.value));
        }
        body_bytes = body_bytes.saturating_add(size_of(i64::from(header_count)));
        self.begin_record(0, timestamp, self.next_delta, body_bytes)?;
        write_optional(&mut self.bytes, key);
        write_optional(&mut self.bytes, value);
        write_i32(&mut self.bytes, header_count);
        for header in headers {
            write_optional(&mut self.bytes, Some(header.key));
            write_optional(&mut self.bytes, header.value);
        }
        Ok(())
    }

    /// Adds a record of another batch at the next offset, its time, key, value and headers as they are there.
    ///
    /// # Errors
    /// As [`Builder::append`].
    pub fn append_record(&mut self, source: &Header, record: &Record<'_>) -> Result<(), BatchError> {
        self.append_record_at(source, record, self.next_delta)
    }

    /// Adds a record of another batch at `offset_delta`, which must not be below the next one: gaps are what
    /// compaction leaves.
    ///
    /// # Errors
    /// As [`Builder::append`]; `Record` for a delta below the next one.
    pub fn append_record_at(
        &mut self,
        source: &Header,
        record: &Record<'_>,
        offset_delta: i32,
    ) -> Result<(), BatchError> {
        let timestamp = match source.attributes.timestamp_type() {
            TimestampType::LogAppendTime => source.max_timestamp,
            TimestampType::CreateTime => source.base_timestamp.wrapping_add(record.timestamp_delta),
        };
        self.append_raw(record.attributes, timestamp, offset_delta, record.body)
    }

    /// Adds a record whose key, value and headers are already encoded, as [`Record::body`] is.
    ///
    /// # Errors
    /// As [`Builder::append_record_at`].
    pub fn append_raw(
        &mut self,
        attributes: i8,
        timestamp: i64,
        offset_delta: i32,
        body: &[u8],
    ) -> Result<(), BatchError> {
        self.begin_record(attributes, timestamp, offset_delta, body.len())?;
        self.bytes.extend_from_slice(body);
        Ok(())
    }

    /// Writes what stands before a record's body, after everything that can fail was checked.
    fn begin_record(
        &mut self,
        attributes: i8,
        timestamp: i64,
        offset_delta: i32,
        body_bytes: usize,
    ) -> Result<(), BatchError> {
        let size = self.size_bytes_with(0).saturating_add(body_bytes);
        if size > BATCH_BYTES_MAX || offset_delta == i32::MAX {
            return Err(BatchError::Full { bytes: size, records: self.count });
        }
        if offset_delta < self.next_delta {
            return Err(BatchError::Record {
                record: self.count,
                what: "its offset is not above the one before it",
            });
        }
        let base = *self.base_timestamp.get_or_insert(timestamp);
        self.max_timestamp = if self.count == 0 { timestamp } else { self.max_timestamp.max(timestamp) };
        let timestamp_delta = timestamp.wrapping_sub(base);
        let length = 1 + size_of(timestamp_delta) + size_of(i64::from(offset_delta)) + body_bytes;
        self.bytes.reserve(length + RECORD_LENGTH_BYTES_MAX);
        write_i64(&mut self.bytes, length as i64);
        self.bytes.push(attributes as u8);
        write_i64(&mut self.bytes, timestamp_delta);
        write_i32(&mut self.bytes, offset_delta);
        self.next_delta = offset_delta + 1;
        self.count += 1;
        Ok(())
    }

    /// Writes the batch. A builder without records writes a batch without records, which no client may send.
    ///
    /// # Errors
    /// `Full` where the compressed batch passes 2 GiB, `Compressed` where the codec fails.
    pub fn finish(self) -> Result<Vec<u8>, BatchError> {
        let mut batch = if self.compression == Compression::None {
            self.bytes
        } else {
            let mut compressed = Vec::with_capacity(HEADER_BYTES + self.bytes.len() / 2);
            compressed.resize(HEADER_BYTES, 0);
            compress(self.compression, self.level, &self.bytes[HEADER_BYTES..], &mut compressed)?;
            compressed
        };
        if batch.len() > BATCH_BYTES_MAX {
            return Err(BatchError::Full { bytes: batch.len(), records: self.count });
        }
        let timestamp_type = match self.log_append_time {
            Some(_) => TimestampType::LogAppendTime,
            None => TimestampType::CreateTime,
        };
        let attributes =
            self.attributes.with_compression(self.compression).with_timestamp_type(timestamp_type);
        let header = Header {
            base_offset: self.base_offset,
            batch_length: (batch.len() - LENGTH_PREFIX_BYTES) as i32,
            partition_leader_epoch: self.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes,
            last_offset_delta: self.next_delta - 1,
            base_timestamp: self.base_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: self.log_append_time.unwrap_or(self.max_timestamp),
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            base_sequence: self.producer.base_sequence,
            record_count: self.count as i32,
        };
        let room = batch.first_chunk_mut::<HEADER_BYTES>().expect("room was made for the header");
        header.write(room);
        let crc = crc32c::crc32c(&batch[field::ATTRIBUTES..]);
        batch[field::CRC..field::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
        Ok(batch)
    }
}

fn optional_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| size_of(bytes.len() as i64).saturating_add(bytes.len()))
}

fn write_optional(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => write_i32(to, -1),
        Some(bytes) => {
            write_i64(to, bytes.len() as i64);
            to.extend_from_slice(bytes);
        }
    }
}
