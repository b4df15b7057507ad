//! The fixed part of a v2 batch: 61 bytes before its records, big-endian.
//! Read from whatever came, written by the builder; a header that parsed has a length that can be sliced by.

use super::attributes::{Attributes, Compression};
use super::fault::BatchError;
use crate::ids::NO_PRODUCER_ID;

pub const HEADER_BYTES: usize = 61;
/// The base offset and the length field, which the length does not count.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// The one record format that exists since Kafka 4.
pub const MAGIC: i8 = 2;

/// Where a field begins. The CRC covers everything from the attributes on.
pub(super) mod field {
    pub const BASE_OFFSET: usize = 0;
    pub const BATCH_LENGTH: usize = 8;
    pub const LEADER_EPOCH: usize = 12;
    pub const MAGIC: usize = 16;
    pub const CRC: usize = 17;
    pub const ATTRIBUTES: usize = 21;
    pub const LAST_OFFSET_DELTA: usize = 23;
    pub const BASE_TIMESTAMP: usize = 27;
    pub const MAX_TIMESTAMP: usize = 35;
    pub const PRODUCER_ID: usize = 43;
    pub const PRODUCER_EPOCH: usize = 51;
    pub const BASE_SEQUENCE: usize = 53;
    pub const RECORD_COUNT: usize = 57;
}

/// The fields of a batch's header, as they stand in it. Timestamps are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub base_offset: i64,
    /// Bytes behind this field: the batch's size less 12.
    pub batch_length: i32,
    pub partition_leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl Header {
    /// Reads the header of the batch that `bytes` begin with; the records need not be there yet.
    ///
    /// # Errors
    /// `Short` below 61 bytes, `Magic` for an older format, `Length` where the length cannot hold a header.
    /// Counts, CRC and attributes are not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Header, BatchError> {
        // An older format has a shorter header, but its magic stands at the same place.
        if let Some(magic) = bytes.get(field::MAGIC).map(|byte| *byte as i8)
            && magic != MAGIC
        {
            return Err(BatchError::Magic { magic });
        }
        let Some(fixed) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Short { have: bytes.len(), need: HEADER_BYTES });
        };
        let header = Header {
            base_offset: i64::from_be_bytes(take(fixed, field::BASE_OFFSET)),
            batch_length: i32::from_be_bytes(take(fixed, field::BATCH_LENGTH)),
            partition_leader_epoch: i32::from_be_bytes(take(fixed, field::LEADER_EPOCH)),
            magic: MAGIC,
            crc: u32::from_be_bytes(take(fixed, field::CRC)),
            attributes: Attributes(i16::from_be_bytes(take(fixed, field::ATTRIBUTES))),
            last_offset_delta: i32::from_be_bytes(take(fixed, field::LAST_OFFSET_DELTA)),
            base_timestamp: i64::from_be_bytes(take(fixed, field::BASE_TIMESTAMP)),
            max_timestamp: i64::from_be_bytes(take(fixed, field::MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(take(fixed, field::PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(take(fixed, field::PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(take(fixed, field::BASE_SEQUENCE)),
            record_count: i32::from_be_bytes(take(fixed, field::RECORD_COUNT)),
        };
        if header.batch_length < (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32 {
            return Err(BatchError::Length { length: header.batch_length });
        }
        Ok(header)
    }

    /// Writes every field, the CRC as it stands in `self`.
    pub fn write(&self, to: &mut [u8; HEADER_BYTES]) {
        put(to, field::BASE_OFFSET, self.base_offset.to_be_bytes());
        put(to, field::BATCH_LENGTH, self.batch_length.to_be_bytes());
        put(to, field::LEADER_EPOCH, self.partition_leader_epoch.to_be_bytes());
        put(to, field::MAGIC, self.magic.to_be_bytes());
        put(to, field::CRC, self.crc.to_be_bytes());
        put(to, field::ATTRIBUTES, self.attributes.0.to_be_bytes());
        put(to, field::LAST_OFFSET_DELTA, self.last_offset_delta.to_be_bytes());
        put(to, field::BASE_TIMESTAMP, self.base_timestamp.to_be_bytes());
        put(to, field::MAX_TIMESTAMP, self.max_timestamp.to_be_bytes());
        put(to, field::PRODUCER_ID, self.producer_id.to_be_bytes());
        put(to, field::PRODUCER_EPOCH, self.producer_epoch.to_be_bytes());
        put(to, field::BASE_SEQUENCE, self.base_sequence.to_be_bytes());
        put(to, field::RECORD_COUNT, self.record_count.to_be_bytes());
    }

    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        self.write(&mut bytes);
        bytes
    }

    /// The whole batch in bytes, header included.
    pub fn size(&self) -> usize {
        LENGTH_PREFIX_BYTES + self.batch_length as usize
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset behind the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The sequence of the last record. Sequences go from `i32::MAX` on to 0; none stays none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        sequence_after(self.base_sequence, self.last_offset_delta)
    }

    /// The sequence that the producer's next batch must begin with.
    pub fn next_sequence(&self) -> i32 {
        if self.base_sequence < 0 { self.base_sequence } else { sequence_after(self.last_sequence(), 1) }
    }

    /// Whether the batch comes from an idempotent producer.
    pub fn has_producer(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// # Errors
    /// `Codec` for an unknown one.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        self.attributes.compression()
    }
}

fn sequence_after(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) & i64::from(i32::MAX)) as i32
}

fn take<const N: usize>(from: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&from[at..at + N]);
    taken
}

fn put<const N: usize>(to: &mut [u8; HEADER_BYTES], at: usize, bytes: [u8; N]) {
    to[at..at + N].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            base_offset: 1 << 40,
            batch_length: 1_000,
            partition_leader_epoch: 7,
            magic: MAGIC,
            crc: 0xdead_beef,
            attributes: Attributes(0x14),
            last_offset_delta: 9,
            base_timestamp: -5,
            max_timestamp: 1 << 41,
            producer_id: 12,
            producer_epoch: 3,
            base_sequence: i32::MAX - 4,
            record_count: 10,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let header = header();
        assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
        assert_eq!(header.size(), 1_012);
        assert_eq!(header.next_offset(), (1 << 40) + 10);
        assert!(header.has_producer());
    }

    #[test]
    fn sequences_wrap_as_in_kafka() {
        let mut header = header();
        assert_eq!((header.last_sequence(), header.next_sequence()), (4, 5));
        header.last_offset_delta = 4;
        assert_eq!((header.last_sequence(), header.next_sequence()), (i32::MAX, 0));
        header.base_sequence = -1;
        assert_eq!((header.last_sequence(), header.next_sequence()), (-1, -1));
    }

    #[test]
    fn short_old_and_impossible_headers_are_refused() {
        let bytes = header().to_bytes();
        for have in 0..HEADER_BYTES {
            assert_eq!(Header::parse(&bytes[..have]), Err(BatchError::Short { have, need: HEADER_BYTES }));
        }
        let mut old = bytes;
        old[field::MAGIC] = 1;
        assert_eq!(Header::parse(&old[..30]), Err(BatchError::Magic { magic: 1 }));
        for length in [48, 0, -1, i32::MIN] {
            let bytes = Header { batch_length: length, ..header() }.to_bytes();
            assert_eq!(Header::parse(&bytes), Err(BatchError::Length { length }));
        }
    }

    #[test]
    fn extreme_offsets_do_not_overflow() {
        let header = Header { base_offset: i64::MAX, last_offset_delta: i32::MAX, ..header() };
        assert_eq!(header.next_offset(), i64::MAX);
    }
}
