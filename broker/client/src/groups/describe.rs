//! Describes groups of both protocols. A group is asked for by the newer protocol first, and by the older one where it
//! is not of the newer, as Kafka's AdminClient does.

use super::coordinator::ByGroup;
use super::wire::{self, Assignment};
use super::{GroupKind, GroupState, Groups, group_id, missing, not_found, sentence};
use crate::connection::Connection;
use crate::fault::{ClientError, check};
use kafka_protocol::messages::consumer_group_describe_response as consumer;
use kafka_protocol::messages::describe_groups_response as classic;
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, DescribeGroupsRequest};
use ottla_model::error::ErrorCode;

/// ConsumerGroupDescribe's number of a member that speaks the classic protocol.
const CLASSIC_MEMBER: i8 = 0;

/// The protocol type of groups of consumers.
const CONSUMERS: &str = "consumer";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: String,
    pub kind: GroupKind,
    pub state: GroupState,
    /// `consumer` for consumers; empty for a group of which only offsets are known.
    pub protocol_type: String,
    /// Who decides which member gets which partition; empty while nobody does.
    pub assignor: String,
    /// Of the group and of its assignment; none for classic groups.
    pub epochs: Option<(i32, i32)>,
    /// In the order of their ids.
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    /// Of a static member.
    pub instance_id: Option<String>,
    pub client_id: String,
    /// As the broker writes it: `/127.0.0.1`.
    pub host: String,
    /// None in classic groups.
    pub epoch: Option<i32>,
    /// A member of a consumer group that speaks the classic protocol; none where the broker does not say.
    pub is_classic: Option<bool>,
    pub topics: Vec<String>,
    pub topic_regex: Option<String>,
    pub assignment: Assignment,
    /// What it is to have once the others have given it up; none in classic groups.
    pub target: Option<Assignment>,
}

impl Groups {
    /// # Errors
    /// `Refused` with GROUP_ID_NOT_FOUND where there is none.
    pub async fn describe(&self, group: &str) -> Result<Group, ClientError> {
        let described = self.describe_all(&[group.to_owned()]).await?.pop();
        described.ok_or_else(|| missing("DescribeGroups"))?.1
    }

    /// Many groups, in any order.
    ///
    /// # Errors
    /// What concerns all of them: a broker that cannot be reached.
    pub async fn describe_all(&self, groups: &[String]) -> Result<ByGroup<Group>, ClientError> {
        self.at_coordinators(groups, async |connection, groups| {
            let (mut done, classic) = match describe_consumer(&connection, groups).await {
                Ok(described) => described,
                // A broker from before KIP-848 has none of these.
                Err(ClientError::Unsupported { .. }) => (Vec::new(), groups.to_vec()),
                Err(error) => return Err(error),
            };
            if !classic.is_empty() {
                done.extend(describe_classic(&connection, &classic).await?);
            }
            Ok(done)
        })
        .await
    }
}

/// Those of the consumer protocol, and the names of those that are not.
async fn describe_consumer(
    connection: &Connection,
    groups: &[String],
) -> Result<(ByGroup<Group>, Vec<String>), ClientError> {
    let request = ConsumerGroupDescribeRequest::default()
        .with_group_ids(groups.iter().map(|group| group_id(group)).collect());
    let response = connection.ask(&request).await?;
    let (mut described, mut others) = (Vec::new(), Vec::new());
    for group in response.groups {
        let id = group.group_id.0.to_string();
        match ErrorCode::from_code(group.error_code) {
            Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion) => others.push(id),
            _ => {
                let result = check(group.error_code, &format!("group {id}"), group.error_message.as_deref());
                described.push((id, result.map(|()| of_consumer(group))));
            }
        }
    }
    Ok((described, others))
}

fn of_consumer(group: consumer::DescribedGroup) -> Group {
    let mut members: Vec<_> = group.members.into_iter().map(consumer_member).collect();
    members.sort_by(|one, other| one.id.cmp(&other.id));
    Group {
        id: group.group_id.0.to_string(),
        kind: GroupKind::Consumer,
        state: GroupState::of(&group.group_state),
        protocol_type: CONSUMERS.to_owned(),
        assignor: group.assignor_name.to_string(),
        epochs: Some((group.group_epoch, group.assignment_epoch)),
        members,
    }
}

fn consumer_member(member: consumer::Member) -> Member {
    Member {
        id: member.member_id.to_string(),
        instance_id: member.instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        epoch: Some(member.member_epoch),
        // -1 stands for an older version of the answer, which does not say.
        is_classic: (member.member_type >= 0).then_some(member.member_type == CLASSIC_MEMBER),
        topics: member.subscribed_topic_names.iter().map(|topic| topic.0.to_string()).collect(),
        topic_regex: member.subscribed_topic_regex.map(|regex| regex.to_string()),
        assignment: partitions(member.assignment),
        target: Some(partitions(member.target_assignment)),
    }
}

fn partitions(assignment: consumer::Assignment) -> Assignment {
    let topics = assignment.topic_partitions.into_iter();
    topics.map(|topic| (topic.topic_name.0.to_string(), topic.partitions)).collect()
}

async fn describe_classic(connection: &Connection, groups: &[String]) -> Result<ByGroup<Group>, ClientError> {
    let request =
        DescribeGroupsRequest::default().with_groups(groups.iter().map(|group| group_id(group)).collect());
    let response = connection.ask(&request).await?;
    let described = response.groups.into_iter().map(|group| {
        let id = group.group_id.0.to_string();
        let said = match (&group.error_message, sentence(group.error_code, &id)) {
            // It also tells a group of another kind from none.
            (Some(message), Some(_)) => Some(format!("{} `ottla group list` shows all", message.as_str())),
            (_, ours) => ours,
        };
        let result = match check(group.error_code, &format!("group {id}"), said.as_deref()) {
            // How brokers before version 6 of this API say that there is none.
            Ok(()) if GroupState::of(&group.group_state) == GroupState::Dead => Err(not_found(&id)),
            result => result.map(|()| of_classic(group)),
        };
        (id, result)
    });
    Ok(described.collect())
}

fn of_classic(group: classic::DescribedGroup) -> Group {
    let consumers = group.protocol_type.as_str() == CONSUMERS;
    let members = group.members.into_iter();
    let mut members: Vec<_> = members.map(|member| classic_member(member, consumers)).collect();
    members.sort_by(|one, other| one.id.cmp(&other.id));
    Group {
        id: group.group_id.0.to_string(),
        kind: GroupKind::Classic,
        state: GroupState::of(&group.group_state),
        protocol_type: group.protocol_type.to_string(),
        assignor: group.protocol_data.to_string(),
        epochs: None,
        members,
    }
}

fn classic_member(member: classic::DescribedGroupMember, consumers: bool) -> Member {
    // Members of other kinds, as Connect's workers, tell each other something else.
    let (topics, assignment) = match consumers {
        true => (
            wire::decode_subscription(&member.member_metadata).unwrap_or_default(),
            wire::decode_assignment(&member.member_assignment).unwrap_or_default(),
        ),
        false => (Vec::new(), Assignment::new()),
    };
    Member {
        id: member.member_id.to_string(),
        instance_id: member.group_instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        epoch: None,
        is_classic: Some(true),
        topics,
        topic_regex: None,
        assignment,
        target: None,
    }
}
