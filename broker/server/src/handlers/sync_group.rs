//! SyncGroup: the leader of a classic group's generation brings what each member is assigned, the others fetch theirs.
//! Called by the router; who comes before the leader waits for it.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{ResponseKind, SyncGroupRequest, SyncGroupResponse};
use ottla_coordinator::api::{SyncGroup, Synced};
use ottla_model::error::ErrorCode;

use super::group::{kept, owned, owned_option, respond, text_option};
use crate::broker::Broker;
use crate::dispatch::{Outcome, RequestContext};

/// From this version on the protocol must be named (KIP-559).
const PROTOCOL_NAMED: i16 = 5;

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: SyncGroupRequest) -> Outcome {
    let refuse = |error| Outcome::Ready(ResponseKind::SyncGroup(refused(error)));
    let unnamed = request.protocol_type.is_none() || request.protocol_name.is_none();
    if context.api_version >= PROTOCOL_NAMED && unnamed {
        return refuse(ErrorCode::InconsistentGroupProtocol);
    }
    if request.group_id.is_empty() {
        return refuse(ErrorCode::InvalidGroupId);
    }
    let call = SyncGroup {
        group: Arc::from(&**request.group_id),
        member: owned(&request.member_id),
        generation: request.generation_id,
        instance: owned_option(&request.group_instance_id),
        protocol_type: owned_option(&request.protocol_type),
        protocol: owned_option(&request.protocol_name),
        assignments: request
            .assignments
            .iter()
            .map(|one| (owned(&one.member_id), kept(&one.assignment)))
            .collect(),
    };
    respond(broker, context, broker.groups.take(call), |answer| {
        ResponseKind::SyncGroup(answer.map_or_else(refused, response))
    })
}

fn response(synced: Synced) -> SyncGroupResponse {
    SyncGroupResponse::default()
        .with_error_code(synced.error.code())
        .with_protocol_type(text_option(synced.protocol_type))
        .with_protocol_name(text_option(synced.protocol))
        .with_assignment(synced.assignment)
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse::default()
        .with_error_code(error.code())
        .with_protocol_type(None)
        .with_protocol_name(None)
        .with_assignment(Bytes::new())
}
