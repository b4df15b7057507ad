//! The value of a group of the classic protocol: its generation, and each member with subscription and assignment.
//! Written in version 3 as Kafka 4.1 does; versions 0 to 4 are read.

use bytes::{Bytes, BytesMut};
use ottla_model::ids::NO_TIMESTAMP;

use super::reader::{Reader, ReplayError};
use super::writer::Writer;

const WHAT: &str = "the value of a classic group";
/// A member of version 0 with nothing in it.
const MEMBER_BYTES_MIN: usize = 8;

/// `GroupMetadataValue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadataValue<'a> {
    /// Empty for a simple group.
    pub protocol_type: &'a str,
    pub generation: i32,
    pub protocol: Option<&'a str>,
    pub leader: Option<&'a str>,
    /// Since when the group is in its state, in wall time; -1 if an old broker wrote it.
    pub state_since_ms: i64,
    pub members: Vec<MemberMetadata<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata<'a> {
    pub member: &'a str,
    pub instance: Option<&'a str>,
    pub client_id: &'a str,
    pub client_host: &'a str,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: &'a [u8],
    pub assignment: &'a [u8],
}

impl<'a> GroupMetadataValue<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<GroupMetadataValue<'a>, ReplayError> {
        let mut reader = Reader::new(bytes, WHAT);
        let version = reader.version(4, 4)?;
        let protocol_type = reader.string()?;
        let generation = reader.i32()?;
        let protocol = reader.nullable_string()?;
        let leader = reader.nullable_string()?;
        let state_since_ms = if version >= 2 { reader.i64()? } else { NO_TIMESTAMP };
        let members = reader.each(MEMBER_BYTES_MIN, |reader| read_member(reader, version))?;
        reader.no_tags()?;
        Ok(GroupMetadataValue { protocol_type, generation, protocol, leader, state_since_ms, members })
    }

    pub fn write(&self) -> Bytes {
        let held: usize = self.members.iter().map(|m| 160 + m.subscription.len() + m.assignment.len()).sum();
        let mut out = BytesMut::with_capacity(128 + held);
        let mut writer = Writer::new(&mut out, 3, false);
        writer.string(self.protocol_type);
        writer.i32(self.generation);
        writer.nullable_string(self.protocol);
        writer.nullable_string(self.leader);
        writer.i64(self.state_since_ms);
        writer.count(self.members.len());
        for member in &self.members {
            writer.string(member.member);
            writer.nullable_string(member.instance);
            writer.string(member.client_id);
            writer.string(member.client_host);
            writer.i32(member.rebalance_timeout_ms);
            writer.i32(member.session_timeout_ms);
            writer.bytes(member.subscription);
            writer.bytes(member.assignment);
        }
        out.freeze()
    }
}

fn read_member<'a>(reader: &mut Reader<'a>, version: i16) -> Result<MemberMetadata<'a>, ReplayError> {
    let member = reader.string()?;
    let instance = if version >= 3 { reader.nullable_string()? } else { None };
    let client_id = reader.string()?;
    let client_host = reader.string()?;
    let rebalance = if version >= 1 { Some(reader.i32()?) } else { None };
    let session_timeout_ms = reader.i32()?;
    let subscription = reader.bytes()?;
    let assignment = reader.bytes()?;
    reader.no_tags()?;
    Ok(MemberMetadata {
        member,
        instance,
        client_id,
        client_host,
        // Version 0 had one timeout for both.
        rebalance_timeout_ms: rebalance.unwrap_or(session_timeout_ms),
        session_timeout_ms,
        subscription,
        assignment,
    })
}
