//! The records of `__consumer_offsets`, in Kafka's own schemas, so that tools which read that topic work. Groups make
//! them and are made from them again; what is written here is what the log holds.

mod consumer;
mod group;
mod key;
mod offset;
mod reader;
mod writer;

use bytes::Bytes;

pub use consumer::{
    ClassicMemberMetadata, ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataValue, TopicPartitions,
};
pub use group::{GroupMetadataValue, MemberMetadata};
pub use key::Key;
pub use offset::OffsetCommitValue;
pub(crate) use reader::Reader;
pub use reader::ReplayError;
pub(crate) use writer::TEXT_BYTES_MAX;

/// One record to append. Without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

impl Record {
    pub fn new(key: &Key<'_>, value: Bytes) -> Record {
        Record { key: key.write(), value: Some(value) }
    }

    pub fn tombstone(key: &Key<'_>) -> Record {
        Record { key: key.write(), value: None }
    }
}
