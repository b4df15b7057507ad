//! Topics and partitions come and go.

use anyhow::{Context, Result};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::CreatableReplicaAssignment;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, TopicName,
};
use ottla_tests::broker::Process;
use std::collections::BTreeMap;

use crate::{
    INVALID_CONFIG, INVALID_PARTITIONS, INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR,
    INVALID_REQUEST, INVALID_TOPIC, TOPIC_ALREADY_EXISTS, TOPIC_DELETION_DISABLED, UNKNOWN_TOPIC_ID,
    UNKNOWN_TOPIC_OR_PARTITION, create, metadata, name, text, topic, uuid, with_configs,
};

#[tokio::test]
async fn topics_are_created_in_every_version() -> Result<()> {
    let broker = Process::start(&["num.partitions=2"])?;
    let mut raw = broker.connect().await?;
    for version in 2..=7 {
        let of = format!("topic-{version}");
        let assigned = topic(&format!("assigned-{version}"), -1).with_assignments(
            [1, 0]
                .map(|partition| {
                    CreatableReplicaAssignment::default()
                        .with_partition_index(partition)
                        .with_broker_ids(vec![BrokerId(1)])
                })
                .to_vec(),
        );
        let configured = with_configs(topic(&of, 3).with_replication_factor(1), &[("retention.ms", "5")]);
        let request = CreateTopicsRequest::default().with_topics(vec![configured.clone(), assigned]);
        let validated = raw.call(&request.clone().with_validate_only(true), version).await?;
        assert!(validated.topics.iter().all(|topic| topic.error_code == 0));
        assert_eq!(
            metadata(&mut raw, Some(&[&of]), 9).await?.topics[0].error_code,
            UNKNOWN_TOPIC_OR_PARTITION
        );
        let response = raw.call(&request, version).await?;
        for topic in &response.topics {
            assert_eq!((topic.error_code, &topic.error_message), (0, &None), "{version}");
        }
        if version >= 5 {
            let (first, second) = (&response.topics[0], &response.topics[1]);
            assert_eq!((first.num_partitions, first.replication_factor), (3, 1));
            assert_eq!((second.num_partitions, second.replication_factor), (2, 1));
            let configs = first.configs.as_ref().context("configs are told")?;
            let retention =
                configs.iter().find(|config| config.name.as_str() == "retention.ms").context("retention")?;
            assert_eq!((retention.value.clone(), retention.config_source), (Some(text("5")), 1));
            assert!(configs.len() > 20);
        }
        if version == 7 {
            assert!(!response.topics[0].topic_id.is_nil());
        }
        let again = create(&mut raw, vec![configured], version).await?;
        assert_eq!(again.topics[0].error_code, TOPIC_ALREADY_EXISTS);
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_created_is_told_topic_by_topic() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    let assignment = |partition, brokers: &[i32]| {
        CreatableReplicaAssignment::default()
            .with_partition_index(partition)
            .with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
    };
    let cases = vec![
        (topic("zero", 0), INVALID_PARTITIONS),
        (topic("three", 1).with_replication_factor(3), INVALID_REPLICATION_FACTOR),
        (topic("none", 1).with_replication_factor(0), INVALID_REPLICATION_FACTOR),
        (topic("a/b", 1), INVALID_TOPIC),
        (topic("", 1), INVALID_TOPIC),
        (topic("__cluster_metadata", 1), INVALID_REQUEST),
        (topic("both", 1).with_assignments(vec![assignment(0, &[1])]), INVALID_REQUEST),
        (topic("gone", -1).with_assignments(vec![assignment(0, &[9])]), INVALID_REPLICA_ASSIGNMENT),
        (topic("gap", -1).with_assignments(vec![assignment(1, &[1])]), INVALID_REPLICA_ASSIGNMENT),
        (with_configs(topic("key", 1), &[("retention.mss", "5")]), INVALID_CONFIG),
        (with_configs(topic("value", 1), &[("retention.ms", "soon")]), INVALID_CONFIG),
        (with_configs(topic("plugin", 1), &[("ottla.partitioner", "no-such-plugin")]), INVALID_CONFIG),
        (topic("fine", 1), 0),
        (topic("fi.ne_", 1), 0),
        (topic("fi_ne.", 1), INVALID_TOPIC),
    ];
    let response = create(&mut raw, cases.iter().map(|(topic, _)| topic.clone()).collect(), 7).await?;
    for (topic, expected) in &cases {
        let result =
            response.topics.iter().find(|result| result.name == topic.name).context("a result each")?;
        assert_eq!(result.error_code, *expected, "{:?}: {:?}", topic.name, result.error_message);
        assert_eq!(result.error_message.is_some(), *expected != 0);
    }
    let twice = create(&mut raw, vec![topic("twice", 1), topic("twice", 1), topic("once", 1)], 7).await?;
    let errors: BTreeMap<&str, i16> = twice.topics.iter().map(|t| (t.name.as_str(), t.error_code)).collect();
    assert_eq!(errors, BTreeMap::from([("once", 0), ("twice", INVALID_REQUEST)]));
    Ok(())
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    for version in 1..=5 {
        create(&mut raw, vec![topic("gone", 2)], 7).await?;
        let request = DeleteTopicsRequest::default().with_topic_names(vec![name("gone"), name("nope")]);
        let response = raw.call(&request, version).await?;
        let errors: Vec<i16> = response.responses.iter().map(|result| result.error_code).collect();
        assert_eq!(errors, [0, UNKNOWN_TOPIC_OR_PARTITION]);
        assert_eq!(
            metadata(&mut raw, Some(&["gone"]), 9).await?.topics[0].error_code,
            UNKNOWN_TOPIC_OR_PARTITION
        );
    }
    let created = create(&mut raw, vec![topic("a", 1), topic("b", 1)], 7).await?;
    let id = created.topics[0].topic_id;
    let by = |name: Option<TopicName>, id| DeleteTopicState::default().with_name(name).with_topic_id(id);
    let nil = uuid(0);
    let request = DeleteTopicsRequest::default().with_topics(vec![
        by(None, id),
        by(Some(name("b")), nil),
        by(None, uuid(9)),
        by(None, nil),
        by(Some(name("c")), uuid(9)),
        by(Some(name("d")), nil),
        by(Some(name("d")), nil),
    ]);
    let response = raw.call(&request, 6).await?;
    let errors: Vec<i16> = response.responses.iter().map(|result| result.error_code).collect();
    assert_eq!(errors, [0, 0, UNKNOWN_TOPIC_ID, INVALID_REQUEST, INVALID_REQUEST, INVALID_REQUEST]);
    assert_eq!((response.responses[0].name.clone(), response.responses[0].topic_id), (Some(name("a")), id));
    let recreated = create(&mut raw, vec![topic("a", 1)], 7).await?;
    assert_ne!(recreated.topics[0].topic_id, id);

    let strict = Process::start(&["delete.topic.enable=false"])?;
    let mut raw = strict.connect().await?;
    create(&mut raw, vec![topic("kept", 1)], 7).await?;
    for (version, expected) in [(2, INVALID_REQUEST), (3, TOPIC_DELETION_DISABLED)] {
        let request = DeleteTopicsRequest::default().with_topic_names(vec![name("kept")]);
        assert_eq!(raw.call(&request, version).await?.responses[0].error_code, expected);
    }
    Ok(())
}

#[tokio::test]
async fn partitions_are_added() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, vec![topic("orders", 1)], 7).await?;
    let to = |of: &str, count| {
        CreatePartitionsTopic::default().with_name(name(of)).with_count(count).with_assignments(None)
    };
    let on = |brokers: &[i32]| {
        CreatePartitionsAssignment::default().with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
    };
    let mut count = 1;
    for version in 0..=3 {
        let cases = vec![
            (to("orders", count), INVALID_PARTITIONS),
            (to("orders", 0), INVALID_PARTITIONS),
            (to("nope", 3), UNKNOWN_TOPIC_OR_PARTITION),
            (to("orders", count + 1).with_assignments(Some(vec![])), INVALID_REPLICA_ASSIGNMENT),
            (to("orders", count + 1).with_assignments(Some(vec![on(&[4])])), INVALID_REPLICA_ASSIGNMENT),
            (to("orders", count + 1).with_assignments(Some(vec![on(&[1])])), 0),
        ];
        for (topic, expected) in cases {
            let request = CreatePartitionsRequest::default().with_topics(vec![topic.clone()]);
            let checked = raw.call(&request.clone().with_validate_only(true), version).await?;
            let result = raw.call(&request, version).await?;
            assert_eq!(checked.results[0].error_code, expected);
            assert_eq!(
                result.results[0].error_code, expected,
                "{topic:?}: {:?}",
                result.results[0].error_message
            );
        }
        count += 1;
        let topics = metadata(&mut raw, Some(&["orders"]), 9).await?.topics;
        assert_eq!(topics[0].partitions.len(), count as usize);
    }
    let twice = CreatePartitionsRequest::default().with_topics(vec![to("orders", 90), to("orders", 91)]);
    let response = raw.call(&twice, 3).await?;
    assert_eq!((response.results.len(), response.results[0].error_code), (1, INVALID_REQUEST));
    Ok(())
}
