//! OffsetFetch: how far groups have read; of one group, or from version 8 on of several (KIP-709). Called by the
//! router. Each group is answered by its own shard, and one that cannot answer does not hinder the others.

use std::sync::Arc;

use futures_util::future::join_all;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, ResponseKind, TopicName};
use ottla_coordinator::api::{FetchedOffset, OffsetFetch, OffsetsFetched};
use ottla_model::error::ErrorCode;

use super::group::{owned_option, respond};
use super::view::{text, topic_name};
use crate::broker::Broker;
use crate::dispatch::{Outcome, RequestContext};
use crate::groups::Taken;

/// From this version on the answer has an error for the whole group.
const GROUP_ERROR: i16 = 2;
/// From this version on a request is about several groups.
const BATCHED: i16 = 8;

/// What was asked of one group.
struct Wanted {
    group: GroupId,
    call: OffsetFetch,
}

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: OffsetFetchRequest) -> Outcome {
    let version = context.api_version;
    if version >= BATCHED {
        let stable = request.require_stable;
        let wanted = request.groups.into_iter().map(|group| {
            let topics =
                group.topics.map(|topics| flat(topics.iter().map(|t| (&t.name, &t.partition_indexes))));
            let member = (owned_option(&group.member_id), group.member_epoch);
            Wanted { call: call(&group.group_id, member, topics, stable), group: group.group_id }
        });
        return of_several(broker, context, wanted);
    }
    let topics = request.topics.as_ref();
    let topics = topics.map(|topics| flat(topics.iter().map(|t| (&t.name, &t.partition_indexes))));
    let call = call(&request.group_id, (None, -1), topics, request.require_stable);
    let asked = call.partitions.clone();
    respond(broker, context, broker.groups.take(call), move |answer| {
        ResponseKind::OffsetFetch(of_one(version, asked, answer))
    })
}

fn flat<'a>(topics: impl Iterator<Item = (&'a TopicName, &'a Vec<i32>)>) -> Vec<(Arc<str>, i32)> {
    let mut partitions = Vec::new();
    for (name, indexes) in topics {
        let name: Arc<str> = Arc::from(&***name);
        partitions.extend(indexes.iter().map(|index| (name.clone(), *index)));
    }
    partitions
}

fn call(
    group: &GroupId,
    (member, member_epoch): (Option<String>, i32),
    partitions: Option<Vec<(Arc<str>, i32)>>,
    require_stable: bool,
) -> OffsetFetch {
    OffsetFetch { group: Arc::from(&***group), member, member_epoch, partitions, require_stable }
}

/// All are asked before any answer is waited for.
fn of_several(
    broker: &Arc<Broker>,
    context: &RequestContext,
    wanted: impl Iterator<Item = Wanted>,
) -> Outcome {
    let taken: Vec<(GroupId, Taken<OffsetsFetched>)> =
        wanted.map(|one| (one.group, broker.groups.take(one.call))).collect();
    let all = if taken.iter().all(|(_, taken)| matches!(taken, Taken::Now(_))) {
        let answered = taken.into_iter().filter_map(|(group, taken)| match taken {
            Taken::Now(answer) => Some((group, answer)),
            Taken::Later(_) => None,
        });
        Taken::Now(Ok(answered.collect::<Vec<_>>()))
    } else {
        Taken::Later(Box::pin(async move {
            let answers = taken.into_iter().map(|(group, taken)| async move {
                match taken {
                    Taken::Now(answer) => (group, answer),
                    Taken::Later(answer) => (group, answer.await),
                }
            });
            Ok(join_all(answers).await)
        }))
    };
    respond(broker, context, all, |answers| {
        let groups = answers.unwrap_or_default().into_iter().map(|(group, answer)| of_group(group, answer));
        ResponseKind::OffsetFetch(OffsetFetchResponse::default().with_groups(groups.collect()))
    })
}

/// An answer in the form of the versions that know several groups.
fn of_group(group: GroupId, answer: Result<OffsetsFetched, ErrorCode>) -> OffsetFetchResponseGroup {
    let response = OffsetFetchResponseGroup::default().with_group_id(group);
    let fetched = match answer {
        Err(error) => return response.with_error_code(error.code()),
        Ok(fetched) if !fetched.error.is_none() => return response.with_error_code(fetched.error.code()),
        Ok(fetched) => fetched,
    };
    let topics = by_topic(fetched.offsets).into_iter().map(|(topic, offsets)| {
        let partitions = offsets.into_iter().map(|one| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(one.partition)
                .with_committed_offset(one.offset)
                .with_committed_leader_epoch(one.leader_epoch)
                .with_metadata(Some(text(one.metadata)))
                .with_error_code(one.error.code())
        });
        OffsetFetchResponseTopics::default()
            .with_name(topic_name(&topic))
            .with_partitions(partitions.collect())
    });
    response.with_topics(topics.collect())
}

/// An answer in the form of the versions that know one group. The first has no error but those of partitions.
fn of_one(
    version: i16,
    asked: Option<Vec<(Arc<str>, i32)>>,
    answer: Result<OffsetsFetched, ErrorCode>,
) -> OffsetFetchResponse {
    let error = answer.as_ref().map_or_else(|error| *error, |fetched| fetched.error);
    let offsets = match answer {
        Ok(fetched) if fetched.error.is_none() => fetched.offsets,
        _ if version >= GROUP_ERROR => {
            return OffsetFetchResponse::default().with_error_code(error.code());
        }
        _ => {
            let failed = |(topic, partition)| FetchedOffset {
                topic,
                partition,
                error,
                offset: -1,
                leader_epoch: -1,
                metadata: String::new(),
            };
            asked.into_iter().flatten().map(failed).collect()
        }
    };
    let topics = by_topic(offsets).into_iter().map(|(topic, offsets)| {
        let partitions = offsets.into_iter().map(|one| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(one.partition)
                .with_committed_offset(one.offset)
                .with_committed_leader_epoch(one.leader_epoch)
                .with_metadata(Some(text(one.metadata)))
                .with_error_code(one.error.code())
        });
        OffsetFetchResponseTopic::default()
            .with_name(topic_name(&topic))
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

/// Offsets of one topic stand behind each other.
fn by_topic(offsets: Vec<FetchedOffset>) -> Vec<(Arc<str>, Vec<FetchedOffset>)> {
    let mut topics: Vec<(Arc<str>, Vec<FetchedOffset>)> = Vec::new();
    for offset in offsets {
        match topics.last_mut() {
            Some((topic, offsets)) if *topic == offset.topic => offsets.push(offset),
            _ => topics.push((offset.topic.clone(), vec![offset])),
        }
    }
    topics
}
