//! OffsetCommit: a group notes how far it has read. Called by the router; partitions that do not exist are answered
//! here, the others by the group, once the note is committed as `__consumer_offsets` asks.

use std::collections::VecDeque;
use std::sync::Arc;

use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, ResponseKind};
use ottla_coordinator::api::{OffsetCommit, OffsetToCommit};
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;

use super::group::{owned, owned_option, respond};
use crate::broker::Broker;
use crate::dispatch::{Outcome, RequestContext};

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: OffsetCommitRequest) -> Outcome {
    let image = broker.metadata.image();
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let known = image.topic(&topic.name);
        let partitions = known.map_or(0, |topic| topic.partitions.len());
        let exists = |index: i32| usize::try_from(index).is_ok_and(|index| index < partitions);
        let mut answers = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let answer = OffsetCommitResponsePartition::default().with_partition_index(index);
            match known.filter(|_| exists(index)) {
                None => {
                    answers.push(answer.with_error_code(ErrorCode::UnknownTopicOrPartition.code()));
                    continue;
                }
                Some(known) => offsets.push(OffsetToCommit {
                    topic: known.name.clone(),
                    // These versions name topics, and the note keeps no more than that.
                    topic_id: TopicId::ZERO,
                    partition: index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: owned_option(&partition.committed_metadata),
                }),
            }
            answers.push(answer);
        }
        topics.push(OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(answers));
    }
    let response = OffsetCommitResponse::default().with_topics(topics);
    if offsets.is_empty() {
        return Outcome::Ready(ResponseKind::OffsetCommit(response));
    }
    let call = OffsetCommit {
        group: Arc::from(&**request.group_id),
        member: owned(&request.member_id),
        generation: request.generation_id_or_member_epoch,
        instance: owned_option(&request.group_instance_id),
        retention_ms: request.retention_time_ms,
        version: context.api_version,
        offsets,
    };
    respond(broker, context, broker.groups.take(call), move |answer| {
        let answers = answer.map(|committed| committed.errors.into());
        ResponseKind::OffsetCommit(filled(response, answers))
    })
}

/// The response with what the group answered in the places that have no answer yet.
fn filled(
    mut response: OffsetCommitResponse,
    mut answers: Result<VecDeque<ErrorCode>, ErrorCode>,
) -> OffsetCommitResponse {
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in partitions.filter(|partition| partition.error_code != unknown) {
        let code = match &mut answers {
            Ok(answers) => answers.pop_front().unwrap_or(ErrorCode::UnknownServerError),
            Err(code) => *code,
        };
        partition.error_code = code.code();
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_finds_its_place() {
        let partition = |index, code: ErrorCode| {
            OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code.code())
        };
        let response = || {
            let known = vec![partition(0, ErrorCode::None), partition(9, ErrorCode::UnknownTopicOrPartition)];
            let topics = [known, vec![partition(1, ErrorCode::None)]];
            let topic = |partitions| OffsetCommitResponseTopic::default().with_partitions(partitions);
            OffsetCommitResponse::default().with_topics(topics.into_iter().map(topic).collect())
        };
        let codes = |response: OffsetCommitResponse| -> Vec<i16> {
            response.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code).collect()
        };
        let answers = VecDeque::from([ErrorCode::OffsetMetadataTooLarge, ErrorCode::None]);
        assert_eq!(codes(filled(response(), Ok(answers))), [12, 3, 0]);
        assert_eq!(codes(filled(response(), Err(ErrorCode::NotCoordinator))), [16, 3, 16]);
    }
}
