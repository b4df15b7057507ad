//! ListGroups: every group of this broker, by state (KIP-518) and type (KIP-848). Called by the router; all shards are
//! asked. As in Kafka one that is still being loaded fails the request, since groups would be missing, and one that has
//! gone elsewhere does not.

use std::sync::Arc;

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use ottla_coordinator::api::{self, ListGroups};
use ottla_model::error::ErrorCode;

use super::view::text;
use crate::broker::Broker;
use crate::dispatch::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let owned =
        |names: &[kafka_protocol::protocol::StrBytes]| names.iter().map(ToString::to_string).collect();
    let call = ListGroups { states: owned(&request.states_filter), types: owned(&request.types_filter) };
    let mut groups = Vec::new();
    for answer in broker.groups.ask_all(call).await {
        match answer {
            Ok(listed) => groups.extend(listed.groups.into_iter().map(group)),
            Err(ErrorCode::NotCoordinator) => {}
            Err(error) => return ListGroupsResponse::default().with_error_code(error.code()),
        }
    }
    ListGroupsResponse::default().with_groups(groups)
}

fn group(group: api::ListedGroup) -> ListedGroup {
    ListedGroup::default()
        .with_group_id(GroupId(text(&*group.group)))
        .with_protocol_type(text(group.protocol_type))
        .with_group_state(text(group.state))
        .with_group_type(text(group.group_type))
}
