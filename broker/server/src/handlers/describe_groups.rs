//! DescribeGroups: members and state of groups, in the words of the classic protocol. Called by the router; each group's
//! shard is asked at the same time.

use std::sync::Arc;

use futures_util::future::join_all;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use ottla_coordinator::api::{DescribeGroup, DescribedMember, GroupDescribed};
use ottla_model::error::ErrorCode;

use super::view::{GROUP_OPERATIONS, NOT_ASKED, text};
use crate::broker::Broker;
use crate::dispatch::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let version = context.api_version;
    let asked = request.groups.into_iter().map(|id| {
        let answer = broker.groups.enqueue(DescribeGroup { group: Arc::from(&**id), version });
        async move { described(id, answer.await, request.include_authorized_operations) }
    });
    DescribeGroupsResponse::default().with_groups(join_all(asked).await)
}

fn described(
    id: GroupId,
    answer: Result<GroupDescribed, ErrorCode>,
    with_operations: bool,
) -> DescribedGroup {
    let described = DescribedGroup::default().with_group_id(id).with_authorized_operations(NOT_ASKED);
    let group = match answer {
        Ok(group) => group,
        Err(error) => return described.with_error_code(error.code()),
    };
    let operations = if with_operations && group.error.is_none() { GROUP_OPERATIONS } else { NOT_ASKED };
    described
        .with_error_code(group.error.code())
        .with_error_message(group.message.map(text))
        .with_group_state(text(group.state))
        .with_protocol_type(text(group.protocol_type))
        .with_protocol_data(text(group.protocol))
        .with_members(group.members.into_iter().map(member).collect())
        .with_authorized_operations(operations)
}

fn member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember::default()
        .with_member_id(text(member.member))
        .with_group_instance_id(member.instance.map(text))
        .with_client_id(text(&*member.client_id))
        .with_client_host(text(&*member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment)
}
