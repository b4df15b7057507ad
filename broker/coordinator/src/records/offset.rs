//! The value of a committed offset. Written in version 3, or in version 1 where the client asked for a lifetime of its
//! own, as Kafka 4.1 does; versions 0 to 4 are read.

use bytes::BytesMut;
use ottla_model::ids::{NO_LEADER_EPOCH, NO_TIMESTAMP};

use super::reader::{Reader, ReplayError};
use super::writer::Writer;

const WHAT: &str = "the value of a committed offset";

/// `OffsetCommitValue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetCommitValue<'a> {
    pub offset: i64,
    /// -1 if it is not known.
    pub leader_epoch: i32,
    pub metadata: &'a str,
    pub commit_ms: i64,
    /// When it expires whatever the broker's retention is; -1 for none.
    pub expire_ms: i64,
}

impl<'a> OffsetCommitValue<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<OffsetCommitValue<'a>, ReplayError> {
        let mut reader = Reader::new(bytes, WHAT);
        let version = reader.version(4, 4)?;
        let offset = reader.i64()?;
        let leader_epoch = if version >= 3 { reader.i32()? } else { NO_LEADER_EPOCH };
        let metadata = reader.string()?;
        let commit_ms = reader.i64()?;
        let expire_ms = if version == 1 { reader.i64()? } else { NO_TIMESTAMP };
        reader.no_tags()?;
        Ok(OffsetCommitValue { offset, leader_epoch, metadata, commit_ms, expire_ms })
    }

    /// Appends the value to `out`.
    pub(crate) fn write_to(&self, out: &mut BytesMut) {
        let explicit = self.expire_ms != NO_TIMESTAMP;
        let mut writer = Writer::new(out, if explicit { 1 } else { 3 }, false);
        writer.i64(self.offset);
        if !explicit {
            writer.i32(self.leader_epoch);
        }
        writer.string(self.metadata);
        writer.i64(self.commit_ms);
        if explicit {
            writer.i64(self.expire_ms);
        }
    }
}
