//! A member of a classic group on one connection, one request at a time: joins, hears what it got, beats, commits and
//! leaves. It decides nothing by itself: who calls sees each generation begin and each refusal.
//! Source: Kafka's protocol guide; KIP-394 for the member id that a first join is sent back with.

use crate::connection::{Answer, Connection};
use crate::fault::{ClientError, check};
use crate::groups::{CommittedOffset, Outcome, commit_request, outcomes_of};
use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use ottla_model::error::ErrorCode;
use std::time::Duration;

/// What the group's members agree on.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    /// The name of the strategy by which the leader deals out.
    pub protocol: String,
    /// What this member tells the leader: [`crate::groups::wire::encode_subscription`].
    pub metadata: Bytes,
}

/// A generation, from a member's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    pub number: i32,
    /// All members with what they told, for the leader; empty for the others.
    pub members: Vec<(String, Bytes)>,
}

pub struct Membership {
    connection: Connection,
    group: StrBytes,
    options: MemberOptions,
    member_id: StrBytes,
    generation: i32,
}

const PROTOCOL_TYPE: &str = "consumer";

impl Membership {
    /// `connection` must be to the group's coordinator. Nothing is sent.
    pub fn new(connection: &Connection, group: &str, options: MemberOptions) -> Membership {
        Membership {
            connection: connection.clone(),
            group: text(group),
            options,
            member_id: StrBytes::default(),
            generation: -1,
        }
    }

    pub fn member_id(&self) -> &str {
        &self.member_id
    }

    /// Joins, and waits until the next generation begins.
    ///
    /// # Errors
    /// `Refused` with the coordinator's code: UNKNOWN_MEMBER_ID means to join anew, as [`Membership::forget`] lets.
    pub async fn join(&mut self) -> Result<Generation, ClientError> {
        // The first answer may be only the id by which to join.
        for _ in 0..2 {
            let response = self.connection.ask(&self.join_request()).await?;
            self.member_id = response.member_id.clone();
            if response.error_code == ErrorCode::MemberIdRequired.code() {
                continue;
            }
            check(response.error_code, &format!("join of group {}", self.group.as_str()), None)?;
            self.generation = response.generation_id;
            let members = response.members.into_iter();
            let members = members.map(|member| (member.member_id.to_string(), member.metadata)).collect();
            return Ok(Generation { number: self.generation, members });
        }
        let reason = "it asks again and again for a member id".to_owned();
        Err(ClientError::Malformed { address: self.connection.address().to_owned(), reason })
    }

    fn join_request(&self) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text(&self.options.protocol))
            .with_metadata(self.options.metadata.clone());
        JoinGroupRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_session_timeout_ms(millis(self.options.session_timeout))
            .with_rebalance_timeout_ms(millis(self.options.rebalance_timeout))
            .with_member_id(self.member_id.clone())
            .with_protocol_type(text(PROTOCOL_TYPE))
            .with_protocols(vec![protocol])
    }

    /// Hears what this member got. The leader says what each member gets; the others say nothing.
    ///
    /// # Errors
    /// `Refused`: REBALANCE_IN_PROGRESS means to join again.
    pub async fn sync(&mut self, assignments: Vec<(String, Bytes)>) -> Result<Bytes, ClientError> {
        let assignments = assignments.into_iter().map(|(member, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(StrBytes::from_string(member))
                .with_assignment(assignment)
        });
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone())
            .with_protocol_type(Some(text(PROTOCOL_TYPE)))
            .with_protocol_name(Some(text(&self.options.protocol)))
            .with_assignments(assignments.collect());
        let response = self.connection.ask(&request).await?;
        check(response.error_code, &format!("sync of group {}", self.group.as_str()), None)?;
        Ok(response.assignment)
    }

    /// # Errors
    /// `Refused`: REBALANCE_IN_PROGRESS and ILLEGAL_GENERATION mean to join again, UNKNOWN_MEMBER_ID to do so anew.
    pub async fn heartbeat(&self) -> Result<(), ClientError> {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone());
        let response = self.connection.ask(&request).await?;
        check(response.error_code, &format!("heartbeat in group {}", self.group.as_str()), None)
    }

    /// Commits as a member of this generation.
    ///
    /// # Errors
    /// As [`begin_commit`]; of the answer, the first refusal of a partition.
    pub async fn commit(&self, offsets: &[CommittedOffset]) -> Result<(), ClientError> {
        let member = Some((self.member_id.as_str(), self.generation));
        begin_commit(&self.connection, &self.group, member, offsets).await?.wait().await
    }

    /// Forgets the member id, so that the next join is a newcomer's.
    pub fn forget(&mut self) {
        self.member_id = StrBytes::default();
        self.generation = -1;
    }

    /// Leaves, so that the others need not wait for the session's end.
    ///
    /// # Errors
    /// `Refused` with what the coordinator says.
    pub async fn leave(self) -> Result<(), ClientError> {
        let member = MemberIdentity::default().with_member_id(self.member_id.clone());
        let request = LeaveGroupRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_members(vec![member]);
        let response = self.connection.ask(&request).await?;
        let what = format!("leaving group {}", self.group.as_str());
        check(response.error_code, &what, None)?;
        response.members.first().map_or(Ok(()), |member| check(member.error_code, &what, None))
    }
}

/// A commit that is on its way.
pub struct CommitAnswer {
    group: String,
    answer: Answer<OffsetCommitRequest>,
}

/// Sends a commit and returns once it is written, so that others can follow it. `member` names who commits, by id and
/// generation; none from outside.
///
/// # Errors
/// As [`Connection::begin`].
pub async fn begin_commit(
    connection: &Connection,
    group: &str,
    member: Option<(&str, i32)>,
    offsets: &[CommittedOffset],
) -> Result<CommitAnswer, ClientError> {
    let answer = connection.begin(&commit_request(group, member, offsets)).await?;
    Ok(CommitAnswer { group: group.to_owned(), answer })
}

impl CommitAnswer {
    /// # Errors
    /// The first refusal of a partition; as [`Answer::wait`].
    pub async fn wait(self) -> Result<(), ClientError> {
        let response = self.answer.wait().await?;
        outcomes_of(response, &self.group).into_iter().try_for_each(|Outcome { result, .. }| result)
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
