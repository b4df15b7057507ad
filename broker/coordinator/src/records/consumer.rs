//! The values of groups of the consumer protocol (KIP-848), each in version 0 as Kafka 4.1 writes it. Tagged fields
//! that later brokers add are passed over.

use bytes::{Bytes, BytesMut};
use ottla_model::ids::TopicId;

use super::reader::{Reader, ReplayError};
use super::writer::Writer;

const GROUP: &str = "the value of a consumer group";
const MEMBER: &str = "the value of a member of a consumer group";
const TARGET: &str = "the value of the target assignment of a consumer group";
const TARGET_MEMBER: &str = "the value of the target assignment of a member";
const CURRENT: &str = "the value of the current assignment of a member";
const EXPRESSION: &str = "the value of a regular expression of a consumer group";

/// Partitions of topics, by the topics' ids.
pub type TopicPartitions = Vec<(TopicId, Vec<i32>)>;

fn begin<'a>(bytes: &'a [u8], what: &'static str) -> Result<Reader<'a>, ReplayError> {
    let mut reader = Reader::new(bytes, what);
    reader.version(0, 0)?;
    Ok(reader)
}

fn write(fill: impl FnOnce(&mut Writer<'_>)) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    fill(&mut Writer::new(&mut out, 0, true));
    out.freeze()
}

fn read_partitions(reader: &mut Reader<'_>) -> Result<TopicPartitions, ReplayError> {
    reader.each(18, |reader| {
        let topic = (reader.topic_id()?, reader.i32s()?);
        reader.no_tags()?;
        Ok(topic)
    })
}

fn write_partitions(writer: &mut Writer<'_>, topics: &[(TopicId, Vec<i32>)]) {
    writer.count(topics.len());
    for (id, partitions) in topics {
        writer.topic_id(*id);
        writer.i32s(partitions);
        writer.no_tags();
    }
}

/// `ConsumerGroupMetadataValue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerGroupMetadataValue {
    pub epoch: i32,
    /// Of the topics that the group is subscribed to; 0 if none was computed.
    pub metadata_hash: i64,
}

impl ConsumerGroupMetadataValue {
    pub fn read(bytes: &[u8]) -> Result<ConsumerGroupMetadataValue, ReplayError> {
        let mut reader = begin(bytes, GROUP)?;
        let epoch = reader.i32()?;
        let mut metadata_hash = 0;
        reader.tags(|tag, field| {
            if tag == 0 {
                metadata_hash = field.i64()?;
            }
            Ok(())
        })?;
        Ok(ConsumerGroupMetadataValue { epoch, metadata_hash })
    }

    pub fn write(&self) -> Bytes {
        write(|writer| {
            writer.i32(self.epoch);
            match self.metadata_hash {
                0 => writer.no_tags(),
                hash => writer.tag(0, |field| field.i64(hash)),
            }
        })
    }
}

/// `ConsumerGroupMemberMetadataValue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupMemberMetadataValue<'a> {
    pub instance: Option<&'a str>,
    pub rack: Option<&'a str>,
    pub client_id: &'a str,
    pub client_host: &'a str,
    pub subscribed_topics: Vec<&'a str>,
    pub subscribed_regex: Option<&'a str>,
    pub rebalance_timeout_ms: i32,
    pub server_assignor: Option<&'a str>,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<ClassicMemberMetadata<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMemberMetadata<'a> {
    pub session_timeout_ms: i32,
    /// Names of assignors with the member's metadata.
    pub protocols: Vec<(&'a str, &'a [u8])>,
}

impl<'a> ConsumerGroupMemberMetadataValue<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<ConsumerGroupMemberMetadataValue<'a>, ReplayError> {
        let mut reader = begin(bytes, MEMBER)?;
        let mut value = ConsumerGroupMemberMetadataValue {
            instance: reader.nullable_string()?,
            rack: reader.nullable_string()?,
            client_id: reader.string()?,
            client_host: reader.string()?,
            subscribed_topics: reader.each(1, Reader::string)?,
            subscribed_regex: reader.nullable_string()?,
            rebalance_timeout_ms: reader.i32()?,
            server_assignor: reader.nullable_string()?,
            classic: None,
        };
        reader.tags(|tag, field| {
            if tag == 0 {
                value.classic = read_classic(field)?;
            }
            Ok(())
        })?;
        Ok(value)
    }

    pub fn write(&self) -> Bytes {
        write(|writer| {
            writer.nullable_string(self.instance);
            writer.nullable_string(self.rack);
            writer.string(self.client_id);
            writer.string(self.client_host);
            writer.count(self.subscribed_topics.len());
            self.subscribed_topics.iter().for_each(|topic| writer.string(topic));
            writer.nullable_string(self.subscribed_regex);
            writer.i32(self.rebalance_timeout_ms);
            writer.nullable_string(self.server_assignor);
            // Without the field, Kafka takes a member for one of the classic protocol that supports nothing.
            writer.tag(0, |field| match &self.classic {
                None => field.i8(0),
                Some(classic) => write_classic(field, classic),
            });
        })
    }
}

/// A nullable structure begins with a byte that says whether it is there.
fn read_classic<'a>(reader: &mut Reader<'a>) -> Result<Option<ClassicMemberMetadata<'a>>, ReplayError> {
    if reader.i8()? <= 0 {
        return Ok(None);
    }
    let session_timeout_ms = reader.i32()?;
    let protocols = reader.each(3, |reader| {
        let protocol = (reader.string()?, reader.bytes()?);
        reader.no_tags()?;
        Ok(protocol)
    })?;
    reader.no_tags()?;
    Ok(Some(ClassicMemberMetadata { session_timeout_ms, protocols }))
}

fn write_classic(writer: &mut Writer<'_>, classic: &ClassicMemberMetadata<'_>) {
    writer.i8(1);
    writer.i32(classic.session_timeout_ms);
    writer.count(classic.protocols.len());
    for (name, metadata) in &classic.protocols {
        writer.string(name);
        writer.bytes(metadata);
        writer.no_tags();
    }
    writer.no_tags();
}

/// `ConsumerGroupTargetAssignmentMetadataValue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerGroupTargetAssignmentMetadataValue {
    pub assignment_epoch: i32,
}

impl ConsumerGroupTargetAssignmentMetadataValue {
    pub fn read(bytes: &[u8]) -> Result<ConsumerGroupTargetAssignmentMetadataValue, ReplayError> {
        let mut reader = begin(bytes, TARGET)?;
        let assignment_epoch = reader.i32()?;
        reader.no_tags()?;
        Ok(ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch })
    }

    pub fn write(&self) -> Bytes {
        write(|writer| {
            writer.i32(self.assignment_epoch);
            writer.no_tags();
        })
    }
}

/// `ConsumerGroupTargetAssignmentMemberValue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupTargetAssignmentMemberValue {
    pub partitions: TopicPartitions,
}

impl ConsumerGroupTargetAssignmentMemberValue {
    pub fn read(bytes: &[u8]) -> Result<ConsumerGroupTargetAssignmentMemberValue, ReplayError> {
        let mut reader = begin(bytes, TARGET_MEMBER)?;
        let partitions = read_partitions(&mut reader)?;
        reader.no_tags()?;
        Ok(ConsumerGroupTargetAssignmentMemberValue { partitions })
    }

    pub fn write(&self) -> Bytes {
        write(|writer| {
            write_partitions(writer, &self.partitions);
            writer.no_tags();
        })
    }
}

/// `ConsumerGroupCurrentMemberAssignmentValue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupCurrentMemberAssignmentValue {
    pub member_epoch: i32,
    pub previous_member_epoch: i32,
    /// Kafka's number for the state of the member: 0 stable, 1 unrevoked partitions, 2 unreleased partitions,
    /// 127 unknown.
    pub state: i8,
    pub assigned: TopicPartitions,
    pub pending_revocation: TopicPartitions,
}

impl ConsumerGroupCurrentMemberAssignmentValue {
    pub fn read(bytes: &[u8]) -> Result<ConsumerGroupCurrentMemberAssignmentValue, ReplayError> {
        let mut reader = begin(bytes, CURRENT)?;
        let value = ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: reader.i32()?,
            previous_member_epoch: reader.i32()?,
            state: reader.i8()?,
            assigned: read_partitions(&mut reader)?,
            pending_revocation: read_partitions(&mut reader)?,
        };
        reader.no_tags()?;
        Ok(value)
    }

    pub fn write(&self) -> Bytes {
        write(|writer| {
            writer.i32(self.member_epoch);
            writer.i32(self.previous_member_epoch);
            writer.i8(self.state);
            write_partitions(writer, &self.assigned);
            write_partitions(writer, &self.pending_revocation);
            writer.no_tags();
        })
    }
}

/// `ConsumerGroupRegularExpressionValue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupRegularExpressionValue<'a> {
    pub topics: Vec<&'a str>,
    /// Of the metadata image that it was resolved against.
    pub version: i64,
    pub resolved_ms: i64,
}

impl<'a> ConsumerGroupRegularExpressionValue<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<ConsumerGroupRegularExpressionValue<'a>, ReplayError> {
        let mut reader = begin(bytes, EXPRESSION)?;
        let value = ConsumerGroupRegularExpressionValue {
            topics: reader.each(1, Reader::string)?,
            version: reader.i64()?,
            resolved_ms: reader.i64()?,
        };
        reader.no_tags()?;
        Ok(value)
    }

    pub fn write(&self) -> Bytes {
        write(|writer| {
            writer.count(self.topics.len());
            self.topics.iter().for_each(|topic| writer.string(topic));
            writer.i64(self.version);
            writer.i64(self.resolved_ms);
            writer.no_tags();
        })
    }
}
