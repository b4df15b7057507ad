//! The keys of `__consumer_offsets`: the first two bytes say what kind of record it is. The shard reads them when it
//! replays its log; whoever makes a record writes its key here.

use bytes::{Bytes, BytesMut};

use super::reader::{Reader, ReplayError};
use super::writer::Writer;

const WHAT: &str = "the key of a record of __consumer_offsets";

/// What a record is about. The names are those of Kafka's schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// Types 0 and 1.
    OffsetCommit { group: &'a str, topic: &'a str, partition: i32 },
    /// Type 2: a group of the classic protocol.
    GroupMetadata { group: &'a str },
    /// Type 3.
    ConsumerGroupMetadata { group: &'a str },
    /// Type 4: written by brokers before 4.1, only removed since.
    ConsumerGroupPartitionMetadata { group: &'a str },
    /// Type 5.
    ConsumerGroupMemberMetadata { group: &'a str, member: &'a str },
    /// Type 6.
    ConsumerGroupTargetAssignmentMetadata { group: &'a str },
    /// Type 7.
    ConsumerGroupTargetAssignmentMember { group: &'a str, member: &'a str },
    /// Type 8.
    ConsumerGroupCurrentMemberAssignment { group: &'a str, member: &'a str },
    /// Type 16.
    ConsumerGroupRegularExpression { group: &'a str, expression: &'a str },
}

impl<'a> Key<'a> {
    /// None for a type that is not of classic or consumer groups.
    pub fn read(bytes: &'a [u8]) -> Result<Option<Key<'a>>, ReplayError> {
        let mut reader = Reader::new(bytes, WHAT);
        let kind = reader.i16()?;
        if !matches!(kind, 0..=8 | 16) {
            return Ok(None);
        }
        let group = reader.string()?;
        Ok(Some(match kind {
            0 | 1 => Key::OffsetCommit { group, topic: reader.string()?, partition: reader.i32()? },
            2 => Key::GroupMetadata { group },
            3 => Key::ConsumerGroupMetadata { group },
            4 => Key::ConsumerGroupPartitionMetadata { group },
            5 => Key::ConsumerGroupMemberMetadata { group, member: reader.string()? },
            6 => Key::ConsumerGroupTargetAssignmentMetadata { group },
            7 => Key::ConsumerGroupTargetAssignmentMember { group, member: reader.string()? },
            8 => Key::ConsumerGroupCurrentMemberAssignment { group, member: reader.string()? },
            _ => Key::ConsumerGroupRegularExpression { group, expression: reader.string()? },
        }))
    }

    pub fn group(&self) -> &'a str {
        match *self {
            Key::OffsetCommit { group, .. }
            | Key::GroupMetadata { group }
            | Key::ConsumerGroupMetadata { group }
            | Key::ConsumerGroupPartitionMetadata { group }
            | Key::ConsumerGroupMemberMetadata { group, .. }
            | Key::ConsumerGroupTargetAssignmentMetadata { group }
            | Key::ConsumerGroupTargetAssignmentMember { group, .. }
            | Key::ConsumerGroupCurrentMemberAssignment { group, .. }
            | Key::ConsumerGroupRegularExpression { group, .. } => group,
        }
    }

    fn kind(&self) -> i16 {
        match self {
            Key::OffsetCommit { .. } => 1,
            Key::GroupMetadata { .. } => 2,
            Key::ConsumerGroupMetadata { .. } => 3,
            Key::ConsumerGroupPartitionMetadata { .. } => 4,
            Key::ConsumerGroupMemberMetadata { .. } => 5,
            Key::ConsumerGroupTargetAssignmentMetadata { .. } => 6,
            Key::ConsumerGroupTargetAssignmentMember { .. } => 7,
            Key::ConsumerGroupCurrentMemberAssignment { .. } => 8,
            Key::ConsumerGroupRegularExpression { .. } => 16,
        }
    }

    /// Appends the key to `out`.
    pub(crate) fn write_to(&self, out: &mut BytesMut) {
        let mut writer = Writer::new(out, self.kind(), false);
        writer.string(self.group());
        match self {
            Key::OffsetCommit { topic, partition, .. } => {
                writer.string(topic);
                writer.i32(*partition);
            }
            Key::ConsumerGroupMemberMetadata { member, .. }
            | Key::ConsumerGroupTargetAssignmentMember { member, .. }
            | Key::ConsumerGroupCurrentMemberAssignment { member, .. } => writer.string(member),
            Key::ConsumerGroupRegularExpression { expression, .. } => writer.string(expression),
            _ => {}
        }
    }

    pub fn write(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        self.write_to(&mut out);
        out.freeze()
    }
}
