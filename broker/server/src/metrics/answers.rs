//! What an answer tells the metrics: the errors in it, wherever its shape has them, and the bytes of records that a
//! consumer gets. The router calls it for each answer before it is encoded.

use kafka_protocol::messages::ResponseKind;

use super::Metrics;

impl Metrics {
    /// Counts what is in an answer to the API `api_key`.
    pub fn count_answer(&self, api_key: i16, answer: &ResponseKind) {
        for_each_error(answer, |code| {
            if code != 0 {
                self.requests.count_error(api_key, code);
            }
        });
        if let ResponseKind::Fetch(answer) = answer {
            let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
            let bytes: usize =
                partitions.filter_map(|one| one.records.as_ref()).map(|records| records.len()).sum();
            if bytes > 0 {
                self.records.fetched_bytes.add(bytes as u64);
            }
        }
    }
}

/// Each error code of an answer, those for "no error" included.
fn for_each_error(answer: &ResponseKind, mut each: impl FnMut(i16)) {
    macro_rules! codes {
        ($answer:ident . $list:ident) => {
            $answer.$list.iter().for_each(|one| each(one.error_code))
        };
        ($answer:ident . $topics:ident . $list:ident) => {
            $answer.$topics.iter().flat_map(|topic| &topic.$list).for_each(|one| each(one.error_code))
        };
    }
    match answer {
        ResponseKind::AlterConfigs(answer) => codes!(answer.responses),
        ResponseKind::AlterReplicaLogDirs(answer) => codes!(answer.results.partitions),
        ResponseKind::ApiVersions(answer) => each(answer.error_code),
        ResponseKind::ConsumerGroupHeartbeat(answer) => each(answer.error_code),
        ResponseKind::CreatePartitions(answer) => codes!(answer.results),
        ResponseKind::CreateTopics(answer) => codes!(answer.topics),
        ResponseKind::DeleteRecords(answer) => codes!(answer.topics.partitions),
        ResponseKind::DeleteTopics(answer) => codes!(answer.responses),
        ResponseKind::DescribeCluster(answer) => each(answer.error_code),
        ResponseKind::DescribeConfigs(answer) => codes!(answer.results),
        ResponseKind::DescribeLogDirs(answer) => {
            each(answer.error_code);
            codes!(answer.results);
        }
        ResponseKind::DescribeProducers(answer) => codes!(answer.topics.partitions),
        ResponseKind::DescribeTopicPartitions(answer) => codes!(answer.topics),
        ResponseKind::Fetch(answer) => {
            each(answer.error_code);
            codes!(answer.responses.partitions);
        }
        ResponseKind::FindCoordinator(answer) => {
            each(answer.error_code);
            codes!(answer.coordinators);
        }
        ResponseKind::Heartbeat(answer) => each(answer.error_code),
        ResponseKind::IncrementalAlterConfigs(answer) => codes!(answer.responses),
        ResponseKind::InitProducerId(answer) => each(answer.error_code),
        ResponseKind::JoinGroup(answer) => each(answer.error_code),
        ResponseKind::LeaveGroup(answer) => {
            each(answer.error_code);
            codes!(answer.members);
        }
        ResponseKind::ListOffsets(answer) => codes!(answer.topics.partitions),
        ResponseKind::Metadata(answer) => {
            each(answer.error_code);
            codes!(answer.topics);
            codes!(answer.topics.partitions);
        }
        ResponseKind::OffsetCommit(answer) => codes!(answer.topics.partitions),
        ResponseKind::OffsetFetch(answer) => {
            each(answer.error_code);
            codes!(answer.topics.partitions);
            codes!(answer.groups);
            let partitions = answer.groups.iter().flat_map(|group| &group.topics);
            partitions.flat_map(|topic| &topic.partitions).for_each(|one| each(one.error_code));
        }
        ResponseKind::OffsetForLeaderEpoch(answer) => codes!(answer.topics.partitions),
        ResponseKind::Produce(answer) => codes!(answer.responses.partition_responses),
        ResponseKind::SyncGroup(answer) => each(answer.error_code),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};

    use super::*;

    #[test]
    fn errors_and_bytes_of_an_answer_are_counted() {
        let records = |n| PartitionData::default().with_records(Some(Bytes::from(vec![0; n])));
        let topic = FetchableTopicResponse::default().with_partitions(vec![
            records(100),
            PartitionData::default().with_error_code(1),
            records(23),
            PartitionData::default().with_error_code(1),
        ]);
        let answer = FetchResponse::default().with_error_code(71).with_responses(vec![topic]);
        let metrics = Metrics::new();
        metrics.count_answer(1, &ResponseKind::Fetch(answer));
        assert_eq!(metrics.records.fetched_bytes.get(), 123);
        let page = metrics.encode().unwrap();
        for line in [
            "ottla_request_errors_total{api=\"Fetch\",error=\"OFFSET_OUT_OF_RANGE\"} 2",
            "ottla_request_errors_total{api=\"Fetch\",error=\"INVALID_FETCH_SESSION_EPOCH\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }
}
