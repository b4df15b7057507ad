//! DeleteGroups: groups without members go, with their offsets (KIP-229). Called by the router; each group's shard
//! decides. A group that the request names twice is answered once.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use ottla_coordinator::api::DeleteGroup;

use crate::broker::Broker;
use crate::dispatch::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut seen = HashSet::new();
    let named = request.groups_names.into_iter().filter(|id| seen.insert(id.clone()));
    let deleted = named.map(|id| {
        let answer = broker.groups.enqueue(DeleteGroup { group: Arc::from(&**id) });
        async move {
            let error = answer.await.map_or_else(|error| error, |deleted| deleted.error);
            DeletableGroupResult::default().with_group_id(id).with_error_code(error.code())
        }
    });
    DeleteGroupsResponse::default().with_results(join_all(deleted).await)
}
