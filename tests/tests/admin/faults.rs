//! Where two things are wrong with a request, or something is named twice: what is told is what Kafka tells.

use anyhow::Result;
use kafka_protocol::messages::create_topics_request::CreatableReplicaAssignment;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_producers_request::TopicRequest as ProducersOf;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, DeleteTopicsRequest, DescribeProducersRequest, DescribeTopicPartitionsRequest, MetadataRequest,
};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;
use uuid::Uuid;

use crate::{
    BROKER, INVALID_CONFIG, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR, INVALID_REQUEST, INVALID_TOPIC,
    TOPIC, TOPIC_ALREADY_EXISTS, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION, alter, create, describe,
    metadata, name, topic, uuid, value, with_configs,
};

/// Every operation on a topic, without an authorizer.
const TOPIC_OPERATIONS: i32 = 3576;
const NOT_ASKED: i32 = i32::MIN;

#[tokio::test]
async fn the_first_fault_of_a_new_topic_is_told() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, vec![topic("there", 1)], 7).await?;
    let bad = [("nope", "1")];
    let assigned = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(9)]);
    for (what, wanted, code) in [
        ("name before count", topic("a b", 0), INVALID_TOPIC),
        ("existence before config", with_configs(topic("there", 0), &bad), TOPIC_ALREADY_EXISTS),
        ("config before count", with_configs(topic("new", 0), &bad), INVALID_CONFIG),
        (
            "config before replication",
            with_configs(topic("new", 1).with_replication_factor(5), &bad),
            INVALID_CONFIG,
        ),
        (
            "config before assignment",
            with_configs(topic("new", -1).with_assignments(vec![assigned]), &bad),
            INVALID_CONFIG,
        ),
        ("count before brokers", topic("new", 0).with_replication_factor(5), INVALID_PARTITIONS),
        ("too few brokers", topic("new", 1).with_replication_factor(5), INVALID_REPLICATION_FACTOR),
    ] {
        for version in [2, 5, 7] {
            let response = create(&mut raw, vec![wanted.clone()], version).await?;
            assert_eq!(response.topics[0].error_code, code, "{what}, version {version}");
        }
    }
    let twice = with_configs(topic("twice", 1), &[("retention.ms", "1000"), ("retention.ms", "2000")]);
    assert_eq!(create(&mut raw, vec![twice], 7).await?.topics[0].error_code, 0);
    assert_eq!(value(&describe(&mut raw, TOPIC, "twice").await?, "retention.ms")?, "2000", "the last counts");
    Ok(())
}

#[tokio::test]
async fn the_first_fault_of_a_changed_config_is_told() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, vec![topic("t", 1)], 7).await?;
    const THROTTLED: &str = "leader.replication.throttled.replicas";
    const SET: i8 = 0;
    const SUBTRACT: i8 = 3;
    for (what, of, change, code) in [
        ("an unknown topic", "nope", ("retention.ms", SET, "1"), UNKNOWN_TOPIC_OR_PARTITION),
        ("a wrong config of an unknown topic", "nope", ("nope", SET, "1"), INVALID_CONFIG),
        ("no list of replicas", "t", (THROTTLED, SET, "x"), INVALID_CONFIG),
        ("a list of replicas", "t", (THROTTLED, SET, "0:1,1:1"), 0),
        ("all replicas", "t", (THROTTLED, SET, "*"), 0),
        ("an empty member", "t", ("cleanup.policy", SET, "delete,"), INVALID_CONFIG),
        ("the last member goes", "t", ("cleanup.policy", SUBTRACT, "delete"), 0),
    ] {
        let (config, operation, value) = change;
        let answer = alter(&mut raw, TOPIC, of, &[(config, operation, Some(value))], false).await?;
        assert_eq!(answer.0, code, "{what}: {}", answer.1);
    }
    assert_eq!(value(&describe(&mut raw, TOPIC, "t").await?, "cleanup.policy")?, "");
    for (config, given, code) in [
        ("max.connections.per.ip.overrides", "127.0.0.1:100", 0),
        ("max.connections.per.ip.overrides", "localhost", INVALID_REQUEST),
        ("log.roll.hours", "5", INVALID_REQUEST),
    ] {
        let answer = alter(&mut raw, BROKER, "1", &[(config, SET, Some(given))], false).await?;
        assert_eq!(answer.0, code, "{config}={given}: {}", answer.1);
    }
    Ok(())
}

async fn id_of(raw: &mut Raw, of: &str) -> Result<Uuid> {
    Ok(metadata(raw, Some(&[of]), 12).await?.topics[0].topic_id)
}

#[tokio::test]
async fn a_topic_named_both_ways_is_not_deleted() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, vec![topic("a", 1), topic("b", 1)], 7).await?;
    let id = id_of(&mut raw, "a").await?;
    let topics = vec![
        DeleteTopicState::default().with_topic_id(id).with_name(None),
        DeleteTopicState::default().with_name(Some(name("a"))),
        DeleteTopicState::default().with_name(Some(name("b"))),
    ];
    let request = DeleteTopicsRequest::default().with_topics(topics).with_timeout_ms(10_000);
    let response = raw.call(&request, 6).await?;
    let answers: Vec<(&str, bool, i16)> = response
        .responses
        .iter()
        .map(|one| (one.name.as_ref().map_or("", |name| name.as_str()), one.topic_id == id, one.error_code))
        .collect();
    assert_eq!(answers, [("a", true, INVALID_REQUEST), ("b", false, 0)]);
    assert_eq!(id_of(&mut raw, "a").await?, id);
    Ok(())
}

#[tokio::test]
async fn metadata_by_id_is_answered_where_kafka_answers_it() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, vec![topic("a", 1), topic("b", 1)], 7).await?;
    let id = id_of(&mut raw, "a").await?;
    let by_id = |id| MetadataRequestTopic::default().with_topic_id(id).with_name(None);
    let by_name = |of: &str| MetadataRequestTopic::default().with_name(Some(name(of)));
    let request = |topics| {
        MetadataRequest::default()
            .with_topics(Some(topics))
            .with_allow_auto_topic_creation(false)
            .with_include_topic_authorized_operations(true)
    };
    for version in [10, 11] {
        let response = raw.call(&request(vec![by_id(id), by_name("b")]), version).await?;
        assert_eq!((response.brokers.len(), response.controller_id), (0, BrokerId(-1)));
        let answers: Vec<(i16, i32)> =
            response.topics.iter().map(|one| (one.error_code, one.topic_authorized_operations)).collect();
        assert_eq!(answers, [(INVALID_REQUEST, NOT_ASKED); 2]);
    }
    for version in [12, 13] {
        let response = raw.call(&request(vec![by_id(id), by_name("b"), by_id(uuid(7))]), version).await?;
        let codes: Vec<i16> = response.topics.iter().map(|one| one.error_code).collect();
        assert_eq!(codes, [UNKNOWN_TOPIC_ID, 0], "names beside ids do not count");
        let response = raw.call(&request(vec![by_name("nope"), by_name("b")]), version).await?;
        let topics = response.topics.iter();
        let answers: Vec<_> = topics.map(|one| (one.error_code, one.topic_authorized_operations)).collect();
        assert_eq!(answers, [(0, TOPIC_OPERATIONS), (UNKNOWN_TOPIC_OR_PARTITION, TOPIC_OPERATIONS)]);
    }
    Ok(())
}

#[tokio::test]
async fn a_topic_that_cannot_be_created_for_a_client_is_unknown() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, vec![topic("a.b", 1)], 7).await?;
    let asked = |of: &str| MetadataRequestTopic::default().with_name(Some(name(of)));
    for (of, code) in [
        ("a_b", UNKNOWN_TOPIC_OR_PARTITION),
        ("__cluster_metadata", UNKNOWN_TOPIC_OR_PARTITION),
        ("a b", INVALID_TOPIC),
        ("new", UNKNOWN_TOPIC_OR_PARTITION),
        ("new", 0),
    ] {
        let request = MetadataRequest::default().with_topics(Some(vec![asked(of)]));
        assert_eq!(raw.call(&request, 9).await?.topics[0].error_code, code, "{of}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cursor_names_a_topic_that_is_asked_for() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, vec![topic("a", 3), topic("c", 1)], 7).await?;
    let asked = |names: &[&str]| -> Vec<TopicRequest> {
        names.iter().map(|of| TopicRequest::default().with_name(name(of))).collect()
    };
    let request = |names: &[&str], limit: i32, cursor: Option<(&str, i32)>| {
        let cursor =
            cursor.map(|(of, index)| Cursor::default().with_topic_name(name(of)).with_partition_index(index));
        DescribeTopicPartitionsRequest::default()
            .with_topics(asked(names))
            .with_response_partition_limit(limit)
            .with_cursor(cursor)
    };
    for (cursor, is_good) in [(("a", 2), true), (("a", -1), false), (("b", 0), false)] {
        let response = raw.call(&request(&["a", "c"], 100, Some(cursor)), 0).await?;
        let codes: Vec<i16> = response.topics.iter().map(|one| one.error_code).collect();
        let expected = if is_good { [0, 0] } else { [INVALID_REQUEST; 2] };
        assert_eq!(codes, expected, "{cursor:?}");
    }
    let response = raw.call(&request(&["a", "b"], 3, None), 0).await?;
    let cursor = response.next_cursor.expect("the page is full");
    assert_eq!((response.topics.len(), cursor.topic_name.as_str(), cursor.partition_index), (1, "b", 0));
    let response = raw.call(&request(&["a", "b"], 3, Some(("b", 0))), 0).await?;
    let unknown = &response.topics[0];
    assert_eq!(unknown.error_code, UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(unknown.topic_authorized_operations, TOPIC_OPERATIONS);
    Ok(())
}

#[tokio::test]
async fn producers_of_what_does_not_exist_are_refused() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, vec![topic("a", 1)], 7).await?;
    for (of, index, code, has_message) in [
        ("a", 0, 0, false),
        ("a", 9, UNKNOWN_TOPIC_OR_PARTITION, false),
        ("nope", 0, UNKNOWN_TOPIC_OR_PARTITION, true),
        ("a b", 0, INVALID_TOPIC, true),
    ] {
        let topic = ProducersOf::default().with_name(name(of)).with_partition_indexes(vec![index]);
        let response = raw.call(&DescribeProducersRequest::default().with_topics(vec![topic]), 0).await?;
        let answer = &response.topics[0].partitions[0];
        assert_eq!((answer.error_code, answer.error_message.is_some()), (code, has_message), "{of}-{index}");
    }
    Ok(())
}
