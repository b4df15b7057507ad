//! The offsets that groups have committed: read, set from outside, and removed.

use super::coordinator::ByGroup;
use super::{Groups, group_id, missing, sentence, string, topic_name};
use crate::fault::{ClientError, check};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetFetchRequest, offset_fetch_response,
};
use std::collections::BTreeMap;

/// The generation of a commit that no member makes.
const NO_GENERATION: i32 = -1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    pub topic: String,
    pub partition: i32,
    /// Of the record that is read next.
    pub offset: i64,
    /// Of the record before it; -1 where it is not known.
    pub leader_epoch: i32,
    pub metadata: String,
}

/// What became of one partition's change.
#[derive(Debug)]
pub struct Outcome {
    pub topic: String,
    pub partition: i32,
    pub result: Result<(), ClientError>,
}

impl Groups {
    /// Everything that a group has committed, by topic and partition; nothing for a group that is not there.
    ///
    /// # Errors
    /// `Refused` with what the coordinator says of the group.
    pub async fn offsets(&self, group: &str) -> Result<Vec<CommittedOffset>, ClientError> {
        let fetched = self.offsets_of_all(&[group.to_owned()]).await?.pop();
        fetched.ok_or_else(|| missing("OffsetFetch"))?.1
    }

    /// The same of many groups, in any order.
    ///
    /// # Errors
    /// What concerns all of them: a broker that cannot be reached.
    pub async fn offsets_of_all(
        &self,
        groups: &[String],
    ) -> Result<ByGroup<Vec<CommittedOffset>>, ClientError> {
        self.at_coordinators(groups, async |connection, groups| {
            let asked = groups.iter().map(|group| {
                OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(None)
            });
            let request = OffsetFetchRequest::default().with_groups(asked.collect());
            let response = connection.ask(&request).await?;
            let fetched = response.groups.into_iter().map(|group| {
                let id = group.group_id.0.to_string();
                let result = check(group.error_code, &format!("offsets of group {id}"), None);
                (id, result.and_then(|()| committed(group)))
            });
            Ok(fetched.collect())
        })
        .await
    }

    /// Commits offsets of a group that has no members; a group that is not there comes to be. Every partition has its
    /// own outcome.
    ///
    /// # Errors
    /// As [`Groups::offsets`]. Partitions are refused with UNKNOWN_MEMBER_ID while the group has members.
    pub async fn commit(
        &self,
        group: &str,
        offsets: &[CommittedOffset],
    ) -> Result<Vec<Outcome>, ClientError> {
        self.at_coordinator(group, async |connection| {
            let request = commit_request(group, None, offsets);
            let outcomes = outcomes_of(connection.ask(&request).await?, group);
            settled(outcomes)
        })
        .await
    }

    /// Removes the offsets of these partitions, by topic.
    ///
    /// # Errors
    /// `Refused` with GROUP_ID_NOT_FOUND, or NON_EMPTY_GROUP where its members are no consumers. Partitions of a topic
    /// that a member reads are refused with GROUP_SUBSCRIBED_TO_TOPIC.
    pub async fn delete_offsets(
        &self,
        group: &str,
        partitions: &BTreeMap<String, Vec<i32>>,
    ) -> Result<Vec<Outcome>, ClientError> {
        self.at_coordinator(group, async |connection| {
            let topics = partitions.iter().map(|(topic, partitions)| {
                let of = |index: &i32| OffsetDeleteRequestPartition::default().with_partition_index(*index);
                OffsetDeleteRequestTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(partitions.iter().map(of).collect())
            });
            let request =
                OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(topics.collect());
            let response = connection.ask(&request).await?;
            let said = sentence(response.error_code, group);
            check(response.error_code, &format!("group {group}"), said.as_deref())?;
            let mut outcomes = Vec::new();
            for topic in response.topics {
                let name = topic.name.0.to_string();
                for partition in topic.partitions {
                    outcomes.push(outcome(&name, partition.partition_index, partition.error_code, group));
                }
            }
            settled(outcomes)
        })
        .await
    }
}

/// Where the coordinator itself is the reason, it is so for all partitions, and all are tried again.
fn settled(outcomes: Vec<Outcome>) -> Result<Vec<Outcome>, ClientError> {
    let moving = |outcome: &Outcome| outcome.result.as_ref().is_err_and(super::coordinator::is_moving);
    match outcomes.iter().position(moving) {
        Some(index) => {
            let refused = outcomes.into_iter().nth(index).map(|outcome| outcome.result);
            Err(refused.and_then(Result::err).unwrap_or_else(|| missing("the")))
        }
        None => Ok(outcomes),
    }
}

fn outcome(topic: &str, partition: i32, code: i16, group: &str) -> Outcome {
    let result = check(code, &format!("{topic}-{partition}"), sentence(code, group).as_deref());
    Outcome { topic: topic.to_owned(), partition, result }
}

fn committed(
    group: offset_fetch_response::OffsetFetchResponseGroup,
) -> Result<Vec<CommittedOffset>, ClientError> {
    let mut offsets = Vec::new();
    for topic in group.topics {
        let name = topic.name.0.to_string();
        for partition in topic.partitions {
            let index = partition.partition_index;
            check(partition.error_code, &format!("offset of {name}-{index}"), None)?;
            // -1 stands for none.
            if partition.committed_offset >= 0 {
                offsets.push(CommittedOffset {
                    topic: name.clone(),
                    partition: index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.metadata.map(|text| text.to_string()).unwrap_or_default(),
                });
            }
        }
    }
    offsets.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
    Ok(offsets)
}

/// The request that commits offsets: by a member, named by its id and generation, or from outside.
pub(crate) fn commit_request(
    group: &str,
    member: Option<(&str, i32)>,
    offsets: &[CommittedOffset],
) -> OffsetCommitRequest {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for offset in offsets {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(offset.partition)
            .with_committed_offset(offset.offset)
            .with_committed_leader_epoch(offset.leader_epoch)
            .with_committed_metadata(Some(string(&offset.metadata)));
        match topics.last_mut().filter(|topic| topic.name.0.as_str() == offset.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(
                OffsetCommitRequestTopic::default()
                    .with_name(topic_name(&offset.topic))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    let (member, generation) = member.unwrap_or(("", NO_GENERATION));
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(string(member))
        .with_topics(topics)
}

pub(crate) fn outcomes_of(response: OffsetCommitResponse, group: &str) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for topic in response.topics {
        let name = topic.name.0.to_string();
        for partition in topic.partitions {
            outcomes.push(outcome(&name, partition.partition_index, partition.error_code, group));
        }
    }
    outcomes
}
