//! Heartbeat: a member of a classic group says that it lives, and learns whether it must join anew. Called by the
//! router.

use std::sync::Arc;

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse, ResponseKind};
use ottla_coordinator::api::Heartbeat;
use ottla_model::error::ErrorCode;

use super::group::{owned, owned_option, respond};
use crate::broker::Broker;
use crate::dispatch::{Outcome, RequestContext};

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: HeartbeatRequest) -> Outcome {
    if request.group_id.is_empty() {
        return Outcome::Ready(response(ErrorCode::InvalidGroupId));
    }
    let call = Heartbeat {
        group: Arc::from(&**request.group_id),
        member: owned(&request.member_id),
        generation: request.generation_id,
        instance: owned_option(&request.group_instance_id),
    };
    respond(broker, context, broker.groups.take(call), |answer| match answer {
        Ok(beaten) => response(beaten.error),
        // The sessions of a shard that is loaded begin anew, so the member has nothing to worry about.
        Err(ErrorCode::CoordinatorLoadInProgress) => response(ErrorCode::None),
        Err(error) => response(error),
    })
}

fn response(error: ErrorCode) -> ResponseKind {
    ResponseKind::Heartbeat(HeartbeatResponse::default().with_error_code(error.code()))
}
