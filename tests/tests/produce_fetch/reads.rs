//! What a fetch, and the request for offsets before it, is answered at the edges of what it may ask.

use anyhow::Result;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{DeleteTopicsRequest, FetchRequest, FetchResponse, ListOffsetsRequest};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;
use uuid::Uuid;

use crate::{batch, create, name, produce};

const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_REQUEST: i16 = 42;
const FENCED_LEADER_EPOCH: i16 = 74;
const UNKNOWN_LEADER_EPOCH: i16 = 75;
const UNKNOWN_TOPIC_ID: i16 = 100;
const INCONSISTENT_TOPIC_ID: i16 = 103;

fn wanted(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

fn request(topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest::default().with_max_bytes(1 << 20).with_session_epoch(-1).with_topics(topics)
}

fn by_name(topic: &str, partitions: Vec<FetchPartition>) -> FetchTopic {
    FetchTopic::default().with_topic(name(topic)).with_partitions(partitions)
}

async fn id_of(raw: &mut Raw, topic: &str) -> Result<Uuid> {
    let topic = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(name(topic)));
    let request = kafka_protocol::messages::MetadataRequest::default().with_topics(Some(vec![topic]));
    Ok(raw.call(&request, 12).await?.topics[0].topic_id)
}

#[tokio::test]
async fn epochs_are_compared_as_kafka_compares_them() -> Result<()> {
    let mut broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "t", 1, &[]).await?;
    produce(&mut raw, "t", 0, batch(&[("a", "1")], None)?, -1).await?;
    // Each start of a leader raises its epoch.
    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    let current = crate::fetch(&mut raw, "t", 0, 0, 0).await?;
    assert_eq!(current.error_code, 0);
    for (current_epoch, fetched_epoch, code) in [
        (-1, -1, 0),
        (-2, -2, 0),
        (0, -1, FENCED_LEADER_EPOCH),
        (99, -1, UNKNOWN_LEADER_EPOCH),
        (-1, 0, 0),
        (-1, 99, OFFSET_OUT_OF_RANGE),
    ] {
        let mut partition = wanted(0, 0);
        partition.current_leader_epoch = current_epoch;
        partition.last_fetched_epoch = fetched_epoch;
        let response = raw.call(&request(vec![by_name("t", vec![partition])]), 12).await?;
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, code, "{current_epoch} {fetched_epoch}");
    }
    for (epoch, code) in [(-1, 0), (-2, FENCED_LEADER_EPOCH), (99, UNKNOWN_LEADER_EPOCH)] {
        let wanted = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(epoch);
        let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![wanted]);
        let response = raw.call(&ListOffsetsRequest::default().with_topics(vec![topic]), 7).await?;
        assert_eq!(response.topics[0].partitions[0].error_code, code, "offsets with epoch {epoch}");
    }
    let id = id_of(&mut raw, "t").await?;
    let mut fenced = wanted(0, 0);
    fenced.current_leader_epoch = 0;
    let topic = FetchTopic::default().with_topic_id(id).with_partitions(vec![fenced]);
    let response = raw.call(&request(vec![topic]), 16).await?;
    let leader = &response.responses[0].partitions[0].current_leader;
    assert!(leader.leader_id.0 == 1 && leader.leader_epoch > 0, "{leader:?}");
    Ok(())
}

#[tokio::test]
async fn a_partition_is_answered_once_and_what_is_unknown_comes_last() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "t", 2, &[]).await?;
    let partitions = vec![wanted(9, 0), wanted(0, 5), wanted(1, 0), wanted(0, 0)];
    let response = raw.call(&request(vec![by_name("t", partitions)]), 11).await?;
    let answers: Vec<(i32, i16)> =
        response.responses[0].partitions.iter().map(|one| (one.partition_index, one.error_code)).collect();
    assert_eq!(answers, [(0, 0), (1, 0), (9, UNKNOWN_TOPIC_OR_PARTITION)]);

    let offset = |index: i32| ListOffsetsPartition::default().with_partition_index(index).with_timestamp(-1);
    let topic = |of: &str, partitions: &[i32]| {
        ListOffsetsTopic::default()
            .with_name(name(of))
            .with_partitions(partitions.iter().map(|index| offset(*index)).collect())
    };
    let topics = vec![topic("t", &[0, 1]), topic("none", &[]), topic("t", &[0])];
    let response = raw.call(&ListOffsetsRequest::default().with_topics(topics), 7).await?;
    assert_eq!(response.topics.len(), 1);
    let answers: Vec<(i32, i16)> =
        response.topics[0].partitions.iter().map(|one| (one.partition_index, one.error_code)).collect();
    assert_eq!(answers, [(0, INVALID_REQUEST), (1, 0)]);
    Ok(())
}

/// Sends an incremental fetch that names nothing new, and answers the code of the session's one partition.
async fn next(raw: &mut Raw, session: i32, epoch: i32) -> Result<Option<i16>> {
    let request = request(Vec::new()).with_session_id(session).with_session_epoch(epoch);
    let response: FetchResponse = raw.call(&request, 13).await?;
    assert_eq!(response.error_code, 0);
    Ok(response.responses.first().map(|topic| topic.partitions[0].error_code))
}

#[tokio::test]
async fn a_session_tells_a_deleted_topic_from_a_new_one_of_its_name() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "t", 1, &[]).await?;
    let id = id_of(&mut raw, "t").await?;
    let topic = FetchTopic::default().with_topic_id(id).with_partitions(vec![wanted(0, 0)]);
    let full = request(vec![topic.clone()]).with_session_epoch(0);
    let session = raw.call(&full, 13).await?.session_id;
    assert_ne!(session, 0);
    assert_eq!(next(&mut raw, session, 1).await?, None, "nothing is new");

    let delete = DeleteTopicsRequest::default().with_topic_names(vec![name("t")]).with_timeout_ms(10_000);
    raw.call(&delete, 5).await?;
    assert_eq!(next(&mut raw, session, 2).await?, Some(UNKNOWN_TOPIC_OR_PARTITION));
    create(&mut raw, "t", 1, &[]).await?;
    assert_eq!(next(&mut raw, session, 3).await?, Some(INCONSISTENT_TOPIC_ID));
    let response = raw.call(&request(vec![topic]), 13).await?;
    assert_eq!(response.responses[0].partitions[0].error_code, UNKNOWN_TOPIC_ID, "without a session");

    let empty = raw.call(&request(Vec::new()).with_session_epoch(0), 13).await?;
    assert_ne!(empty.session_id, 0, "a session may begin with nothing in it");
    Ok(())
}
