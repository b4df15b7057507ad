//! LeaveGroup: members of a group go, or are removed by an operator (KIP-345). Called by the router.

use std::sync::Arc;

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse, ResponseKind};
use ottla_coordinator::api::{LeaveGroup, LeavingMember, Left};
use ottla_model::error::ErrorCode;

use super::group::{owned, owned_option, respond, text_option};
use super::view::text;
use crate::broker::Broker;
use crate::dispatch::{Outcome, RequestContext};

/// From this version on several members can go at once, each with an error of its own.
const BATCHED: i16 = 3;

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: LeaveGroupRequest) -> Outcome {
    let version = context.api_version;
    if request.group_id.is_empty() {
        let refused = LeaveGroupResponse::default().with_error_code(ErrorCode::InvalidGroupId.code());
        return Outcome::Ready(ResponseKind::LeaveGroup(refused));
    }
    let members = if version < BATCHED {
        vec![LeavingMember { member: owned(&request.member_id), instance: None, reason: None }]
    } else {
        let member = |one: &kafka_protocol::messages::leave_group_request::MemberIdentity| LeavingMember {
            member: owned(&one.member_id),
            instance: owned_option(&one.group_instance_id),
            reason: owned_option(&one.reason),
        };
        request.members.iter().map(member).collect()
    };
    let call = LeaveGroup { group: Arc::from(&**request.group_id), members };
    respond(broker, context, broker.groups.take(call), move |answer| {
        ResponseKind::LeaveGroup(match answer {
            Ok(left) => response(version, left),
            Err(error) => LeaveGroupResponse::default().with_error_code(error.code()),
        })
    })
}

fn response(version: i16, left: Left) -> LeaveGroupResponse {
    if version < BATCHED {
        let of_member = left.members.first().map_or(ErrorCode::None, |(_, error)| *error);
        let error = if left.error.is_none() { of_member } else { left.error };
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let members = left.members.into_iter().map(|(member, error)| {
        MemberResponse::default()
            .with_member_id(text(member.member))
            .with_group_instance_id(text_option(member.instance))
            .with_error_code(error.code())
    });
    LeaveGroupResponse::default().with_error_code(left.error.code()).with_members(members.collect())
}
