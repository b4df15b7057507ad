//! Groups of consumers, as an administrator sees them: which there are, who is in them, what they have committed; and
//! the changes that are made to them from outside.
//! Every request goes to the group's coordinator, which is looked up first; where it is loading or moving, the request
//! is tried again until the cluster's timeout has passed.
//!
//! Map: [`kinds`](GroupKind) names what groups can be; `coordinator` finds and retries; `describe` and `offsets` hold the
//! requests; [`wire`] reads and writes what members tell each other.

mod coordinator;
mod describe;
mod kinds;
mod offsets;
pub mod wire;

pub use describe::{Group, Member};
pub use kinds::{GroupKind, GroupState};
pub use offsets::{CommittedOffset, Outcome};
pub(crate) use offsets::{commit_request, outcomes_of};
pub use wire::Assignment;

use crate::cluster::Cluster;
use crate::fault::{ClientError, check};
use kafka_protocol::messages::{DeleteGroupsRequest, GroupId, ListGroupsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::BrokerId;

/// What the list of a cluster's groups says of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    pub id: String,
    pub kind: GroupKind,
    pub state: GroupState,
    /// `consumer` for groups of consumers; empty for a group of which only offsets are known.
    pub protocol_type: String,
    pub coordinator: BrokerId,
}

/// The requests about groups. Cloned freely.
#[derive(Clone)]
pub struct Groups {
    cluster: Cluster,
}

impl Groups {
    pub fn new(cluster: &Cluster) -> Groups {
        Groups { cluster: cluster.clone() }
    }

    /// All groups of all brokers, by name.
    ///
    /// # Errors
    /// As [`crate::Connection::ask`]; `Refused` while a coordinator is still loading after the timeout.
    pub async fn list(&self) -> Result<Vec<ListedGroup>, ClientError> {
        let mut groups = Vec::new();
        for broker in self.cluster.brokers().await? {
            groups.extend(self.list_of(broker.id).await?);
        }
        groups.sort_by(|one: &ListedGroup, other| one.id.cmp(&other.id));
        // One that moved from broker to broker between the two answers.
        groups.dedup_by(|one, other| one.id == other.id);
        Ok(groups)
    }

    async fn list_of(&self, broker: BrokerId) -> Result<Vec<ListedGroup>, ClientError> {
        let mut patience = coordinator::Patience::of(&self.cluster);
        loop {
            let response = self.cluster.broker(broker).await?.ask(&ListGroupsRequest::default()).await?;
            match check(response.error_code, "list of groups", None) {
                Err(error) if coordinator::is_moving(&error) && patience.wait().await => continue,
                result => result?,
            }
            let listed = response.groups.into_iter().map(|group| ListedGroup {
                id: group.group_id.0.to_string(),
                kind: GroupKind::of(&group.group_type),
                state: GroupState::of(&group.group_state),
                protocol_type: group.protocol_type.to_string(),
                coordinator: broker,
            });
            return Ok(listed.collect());
        }
    }

    /// Deletes a group with its offsets.
    ///
    /// # Errors
    /// `Refused` with NON_EMPTY_GROUP while it has members, GROUP_ID_NOT_FOUND where there is none.
    pub async fn delete(&self, group: &str) -> Result<(), ClientError> {
        self.at_coordinator(group, async |connection| {
            let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
            let response = connection.ask(&request).await?;
            let result = response.results.first().ok_or_else(|| missing("DeleteGroups"))?;
            check(result.error_code, &format!("group {group}"), sentence(result.error_code, group).as_deref())
        })
        .await
    }
}

/// What to do about the refusals that an administrator meets.
fn sentence(code: i16, group: &str) -> Option<String> {
    match ErrorCode::from_code(code)? {
        ErrorCode::GroupIdNotFound => Some("there is no such group; `ottla group list` shows all".to_owned()),
        ErrorCode::NonEmptyGroup | ErrorCode::UnknownMemberId => {
            Some(format!("it has members; stop them first (`ottla group describe {group}` names them)"))
        }
        ErrorCode::GroupSubscribedToTopic => Some(format!(
            "a member reads this topic; stop it first (`ottla group describe {group}` names them)"
        )),
        _ => None,
    }
}

fn not_found(group: &str) -> ClientError {
    let message = format!("group {group}: there is no such group; `ottla group list` shows all");
    KafkaError::new(ErrorCode::GroupIdNotFound, message).into()
}

fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group_id(group: &str) -> GroupId {
    GroupId(string(group))
}

fn topic_name(topic: &str) -> TopicName {
    TopicName(string(topic))
}

fn missing(api: &str) -> ClientError {
    let reason = format!("its {api} response lacks what was asked for");
    ClientError::Malformed { address: "the coordinator".to_owned(), reason }
}
