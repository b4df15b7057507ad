//! Answers that say no: the shape that Kafka gives to each kind of answer when it holds nothing but an error. The shard
//! asks for one when a request cannot be taken, or when the records of a success could not be appended.

use ottla_model::error::ErrorCode;
use ottla_model::ids::NO_LEADER_EPOCH;

use crate::api::*;

/// The answer to `request` that holds `error`.
pub(crate) fn refusal(request: &Request, error: ErrorCode) -> Response {
    match request {
        Request::JoinGroup(join) => joined(error, join.member.clone()).into(),
        Request::SyncGroup(_) => synced(error).into(),
        Request::Heartbeat(_) => Beaten { error }.into(),
        Request::LeaveGroup(leave) => left(error, &leave.members).into(),
        Request::ConsumerGroupHeartbeat(_) => consumer_beaten(error, None).into(),
        Request::OffsetCommit(commit) => {
            OffsetsCommitted { errors: vec![error; commit.offsets.len()] }.into()
        }
        Request::OffsetFetch(_) => OffsetsFetched { error, offsets: Vec::new() }.into(),
        Request::OffsetDelete(delete) => {
            OffsetsDeleted { error, errors: vec![error; delete.partitions.len()] }.into()
        }
        Request::DescribeGroup(_) => described(error, None).into(),
        Request::ConsumerGroupDescribe(_) => consumer_described(error, None).into(),
        Request::DeleteGroup(_) => GroupDeleted { error }.into(),
        Request::ListGroups(_) => GroupsListed { groups: Vec::new() }.into(),
        Request::ForgetTopics(_) => TopicsForgotten.into(),
    }
}

/// The answer that takes the place of `response` if its records could not be appended.
pub(crate) fn in_place_of(response: Response, error: ErrorCode) -> Response {
    match response {
        Response::JoinGroup(answer) => joined(error, answer.member).into(),
        Response::SyncGroup(_) => synced(error).into(),
        Response::Heartbeat(_) => Beaten { error }.into(),
        Response::LeaveGroup(_) => Left { error, members: Vec::new() }.into(),
        Response::ConsumerGroupHeartbeat(_) => consumer_beaten(error, None).into(),
        Response::OffsetCommit(answer) => {
            // What was refused for a reason of its own stays refused for it.
            let errors = answer.errors.iter().map(|own| if own.is_none() { error } else { *own }).collect();
            OffsetsCommitted { errors }.into()
        }
        Response::OffsetDelete(answer) => {
            OffsetsDeleted { error, errors: vec![error; answer.errors.len()] }.into()
        }
        Response::DeleteGroup(_) => GroupDeleted { error }.into(),
        other => other,
    }
}

pub(crate) fn joined(error: ErrorCode, member: String) -> Joined {
    Joined {
        error,
        member,
        generation: -1,
        protocol_type: None,
        protocol: None,
        leader: String::new(),
        skip_assignment: false,
        members: Vec::new(),
    }
}

/// As in Kafka, that a member is not known is told of each member, also where the group is not.
fn left(error: ErrorCode, members: &[LeavingMember]) -> Left {
    match error {
        ErrorCode::UnknownMemberId => Left {
            error: ErrorCode::None,
            members: members.iter().map(|member| (member.clone(), error)).collect(),
        },
        error => Left { error, members: Vec::new() },
    }
}

pub(crate) fn synced(error: ErrorCode) -> Synced {
    Synced { error, protocol_type: None, protocol: None, assignment: Default::default() }
}

pub(crate) fn consumer_beaten(error: ErrorCode, message: Option<String>) -> ConsumerBeaten {
    ConsumerBeaten {
        error,
        message,
        member: None,
        member_epoch: 0,
        heartbeat_interval_ms: 0,
        assignment: None,
    }
}

pub(crate) fn described(error: ErrorCode, message: Option<String>) -> GroupDescribed {
    GroupDescribed {
        error,
        message,
        state: if error == ErrorCode::GroupIdNotFound || error.is_none() { "Dead" } else { "" },
        protocol_type: String::new(),
        protocol: String::new(),
        members: Vec::new(),
    }
}

pub(crate) fn consumer_described(error: ErrorCode, message: Option<String>) -> ConsumerGroupDescribed {
    ConsumerGroupDescribed {
        error,
        message,
        state: "",
        epoch: 0,
        assignment_epoch: 0,
        assignor: String::new(),
        members: Vec::new(),
    }
}

/// A partition without a committed offset.
pub(crate) fn not_committed(topic: std::sync::Arc<str>, partition: i32) -> FetchedOffset {
    FetchedOffset {
        topic,
        partition,
        error: ErrorCode::None,
        offset: -1,
        leader_epoch: NO_LEADER_EPOCH,
        metadata: String::new(),
    }
}
