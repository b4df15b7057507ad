//! JoinGroup: a member asks to be part of a classic group's next generation. Called by the router; the answer comes
//! when that generation begins, and other requests go on meanwhile.

use std::sync::Arc;

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use ottla_coordinator::api::{JoinGroup, Joined};
use ottla_model::error::ErrorCode;

use super::group::{caller, kept, owned, owned_option, respond, text_option};
use super::view::text;
use crate::broker::Broker;
use crate::dispatch::{Outcome, RequestContext};

/// From this version on a member says how long a rebalance may take; before it, its session says so.
const REBALANCE_TIMEOUT: i16 = 1;
/// From this version on new members are given an id to come back with (KIP-394).
const MEMBER_ID_REQUIRED: i16 = 4;
/// From this version on a protocol may be absent.
const NULLABLE_PROTOCOL: i16 = 7;
/// From this version on a leader may be told to skip the assignment (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: JoinGroupRequest) -> Outcome {
    let (version, member) = (context.api_version, request.member_id.clone());
    if request.group_id.is_empty() {
        let refused = refused(version, member, ErrorCode::InvalidGroupId);
        return Outcome::Ready(ResponseKind::JoinGroup(refused));
    }
    let call = JoinGroup {
        group: Arc::from(&**request.group_id),
        caller: caller(context),
        member: owned(&request.member_id),
        instance: owned_option(&request.group_instance_id),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match version >= REBALANCE_TIMEOUT {
            true => request.rebalance_timeout_ms,
            false => request.session_timeout_ms,
        },
        protocol_type: owned(&request.protocol_type),
        protocols: request.protocols.iter().map(|one| (owned(&one.name), kept(&one.metadata))).collect(),
        needs_member_id: version >= MEMBER_ID_REQUIRED && request.group_instance_id.is_none(),
        can_skip_assignment: version >= SKIP_ASSIGNMENT,
        reason: owned_option(&request.reason),
    };
    let groups = broker.groups.clone();
    respond(broker, context, broker.groups.take(call), move |answer| {
        ResponseKind::JoinGroup(match answer {
            Ok(joined) => {
                if joined.error.is_none() && joined.member == joined.leader {
                    groups.counts().classic_rebalances.add(1);
                }
                response(version, joined)
            }
            Err(error) => refused(version, member, error),
        })
    })
}

fn response(version: i16, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member))
            .with_group_instance_id(text_option(member.instance))
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_error_code(joined.error.code())
        .with_generation_id(joined.generation)
        .with_protocol_type(text_option(joined.protocol_type))
        .with_protocol_name(protocol_name(version, text_option(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_skip_assignment(version >= SKIP_ASSIGNMENT && joined.skip_assignment)
        .with_member_id(text(joined.member))
        .with_members(members.collect())
}

fn protocol_name(version: i16, name: Option<StrBytes>) -> Option<StrBytes> {
    if version < NULLABLE_PROTOCOL { Some(name.unwrap_or_default()) } else { name }
}

fn refused(version: i16, member: StrBytes, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_type(None)
        .with_protocol_name(protocol_name(version, None))
        .with_member_id(member)
}
