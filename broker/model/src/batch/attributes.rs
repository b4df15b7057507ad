//! The attribute bits of a batch's header: codec, timestamp type, transactional, control, delete horizon.
//! Unknown upper bits are kept as they came: Kafka ignores them, and the CRC covers them.

use super::fault::BatchError;
use std::fmt;
use std::str::FromStr;

/// How the records behind a batch's header are compressed, by Kafka's numbers.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Compression {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Compression {
    pub const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    /// The name in `compression.type` and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is none of the five codecs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a compression: choose one of none, gzip, snappy, lz4, zstd")]
pub struct CompressionNameError(String);

impl FromStr for Compression {
    type Err = CompressionNameError;

    /// Reads a name. `uncompressed`, as topic configs spell it, is none.
    fn from_str(name: &str) -> Result<Compression, CompressionNameError> {
        if name == "uncompressed" {
            return Ok(Compression::None);
        }
        let known = Compression::ALL.into_iter().find(|codec| codec.name() == name);
        known.ok_or_else(|| CompressionNameError(name.chars().take(64).collect()))
    }
}

/// Who set the timestamps of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer: each record has its own.
    #[default]
    CreateTime,
    /// The broker: every record has the batch's max timestamp.
    LogAppendTime,
}

/// The attribute bits as they stand in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(pub i16);

const CODEC_MASK: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

impl Attributes {
    /// # Errors
    /// `Codec` for one of the three numbers that stand for none.
    pub fn compression(self) -> Result<Compression, BatchError> {
        match self.0 & CODEC_MASK {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            unknown => Err(BatchError::Codec { codec: unknown as u8 }),
        }
    }

    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    pub fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL != 0
    }

    /// A batch of markers, which consumers do not hand to the application.
    pub fn is_control(self) -> bool {
        self.0 & CONTROL != 0
    }

    /// Whether the base timestamp is the time from which a compacted tombstone may go.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & DELETE_HORIZON != 0
    }

    pub fn with_compression(self, compression: Compression) -> Attributes {
        Attributes(self.0 & !CODEC_MASK | compression as i16)
    }

    pub fn with_timestamp_type(self, kind: TimestampType) -> Attributes {
        self.with(LOG_APPEND_TIME, kind == TimestampType::LogAppendTime)
    }

    pub fn with_transactional(self, on: bool) -> Attributes {
        self.with(TRANSACTIONAL, on)
    }

    pub fn with_control(self, on: bool) -> Attributes {
        self.with(CONTROL, on)
    }

    pub fn with_delete_horizon(self, on: bool) -> Attributes {
        self.with(DELETE_HORIZON, on)
    }

    fn with(self, bit: i16, on: bool) -> Attributes {
        Attributes(if on { self.0 | bit } else { self.0 & !bit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_means_what_kafka_says() {
        for codec in Compression::ALL {
            assert_eq!(Attributes(codec as i16 | !CODEC_MASK).compression(), Ok(codec));
            assert_eq!(codec.name().parse(), Ok(codec));
        }
        for unknown in 5..8 {
            assert_eq!(Attributes(unknown).compression(), Err(BatchError::Codec { codec: unknown as u8 }));
        }
        assert_eq!(Attributes(0b1000).timestamp_type(), TimestampType::LogAppendTime);
        assert!(Attributes(0b1_0000).is_transactional() && !Attributes(!0b1_0000).is_transactional());
        assert!(Attributes(0b10_0000).is_control() && !Attributes(!0b10_0000).is_control());
        assert!(Attributes(0b100_0000).has_delete_horizon());
    }

    #[test]
    fn setters_leave_the_other_bits() {
        let all = Attributes(-1);
        assert_eq!(all.with_compression(Compression::None).with_compression(Compression::Zstd).0 & 7, 4);
        assert_eq!(all.with_timestamp_type(TimestampType::CreateTime).0, !LOG_APPEND_TIME);
        assert_eq!(all.with_control(false).with_control(true), all);
    }
}
