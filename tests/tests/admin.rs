//! What an admin client asks for, over real sockets, against a broker process: topics, partitions, configs, the cluster.
//! Every version of every request is decoded, answered and decoded again.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kafka_protocol::messages::alter_configs_request::{self as legacy, AlterConfigsRequest};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeTopicPartitionsRequest, InitProducerIdRequest,
    MetadataRequest, MetadataResponse, ProducerId, TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;
use uuid::Uuid;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const UNSUPPORTED_VERSION: i16 = 35;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_REPLICATION_FACTOR: i16 = 38;
const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const TOPIC_DELETION_DISABLED: i16 = 73;
const UNKNOWN_TOPIC_ID: i16 = 100;
const MISMATCHED_ENDPOINT_TYPE: i16 = 114;
const UNSUPPORTED_ENDPOINT_TYPE: i16 = 115;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn topic(of: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default().with_name(name(of)).with_num_partitions(partitions).with_replication_factor(-1)
}

fn with_configs(topic: CreatableTopic, configs: &[(&str, &str)]) -> CreatableTopic {
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    topic.with_configs(configs.iter().map(config).collect())
}

async fn create(raw: &mut Raw, topics: Vec<CreatableTopic>, version: i16) -> Result<CreateTopicsResponse> {
    let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(10_000);
    raw.call(&request, version).await
}

async fn metadata(raw: &mut Raw, topics: Option<&[&str]>, version: i16) -> Result<MetadataResponse> {
    let topics = topics.map(|topics| {
        topics.iter().map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic)))).collect()
    });
    let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(version < 4);
    raw.call(&request, version).await
}

fn resource(resource_type: i8, name: &str) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configuration_keys(None)
}

async fn describe(raw: &mut Raw, resource_type: i8, name: &str) -> Result<DescribeConfigsResult> {
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource(resource_type, name)])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    raw.call(&request, 4).await?.results.pop().context("no result")
}

fn config<'a>(result: &'a DescribeConfigsResult, name: &str) -> Result<&'a DescribeConfigsResourceResult> {
    result.configs.iter().find(|config| config.name.as_str() == name).with_context(|| name.to_owned())
}

fn value<'a>(result: &'a DescribeConfigsResult, name: &str) -> Result<&'a str> {
    config(result, name)?.value.as_ref().map(|value| value.as_str()).with_context(|| name.to_owned())
}

async fn alter(
    raw: &mut Raw,
    resource_type: i8,
    resource_name: &str,
    changes: &[(&str, i8, Option<&str>)],
    validate_only: bool,
) -> Result<(i16, String)> {
    let change = |(name, operation, value): &(&str, i8, Option<&str>)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(resource_name))
        .with_configs(changes.iter().map(change).collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    let response = raw.call(&request, 1).await?.responses.pop().context("no response")?;
    Ok((response.error_code, response.error_message.map(|message| message.to_string()).unwrap_or_default()))
}

#[tokio::test]
async fn metadata_tells_of_brokers_and_topics_in_every_version() -> Result<()> {
    let broker = Process::start(&["node.id=7", "broker.rack=r1", "auto.create.topics.enable=false"])?;
    let mut raw = broker.connect().await?;
    let created = create(&mut raw, vec![topic("orders", 3)], 7).await?;
    let id = created.topics[0].topic_id;
    let mut cluster_ids = Vec::new();
    for version in 0..=13 {
        let response = metadata(&mut raw, Some(&["orders", "nope", "a/b"]), version).await?;
        let node = &response.brokers[0];
        assert_eq!((node.node_id, node.host.as_str()), (BrokerId(7), "127.0.0.1"));
        assert_eq!(node.port, i32::from(broker.kafka.port()));
        if version >= 1 {
            assert_eq!(
                (response.controller_id, node.rack.as_ref().map(|rack| rack.as_str())),
                (BrokerId(7), Some("r1"))
            );
        }
        let topics: BTreeMap<&str, _> = response
            .topics
            .iter()
            .map(|topic| (topic.name.as_ref().map_or("", |n| n.as_str()), topic))
            .collect();
        let orders = topics["orders"];
        assert_eq!((orders.error_code, orders.partitions.len(), orders.is_internal), (0, 3, false));
        for partition in &orders.partitions {
            assert_eq!((partition.error_code, partition.leader_id), (0, BrokerId(7)));
            assert_eq!(
                (&partition.replica_nodes[..], &partition.isr_nodes[..]),
                (&[BrokerId(7)][..], &[BrokerId(7)][..])
            );
            assert!(partition.offline_replicas.is_empty());
        }
        if version >= 10 {
            assert_eq!(orders.topic_id, id);
        }
        assert_eq!(orders.topic_authorized_operations, i32::MIN);
        assert_eq!(topics["nope"].error_code, UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(topics["a/b"].error_code, INVALID_TOPIC);
        if version >= 2 {
            cluster_ids.push(response.cluster_id.context("a cluster has an id")?);
        }
    }
    cluster_ids.dedup();
    assert_eq!((cluster_ids.len(), cluster_ids[0].len()), (1, 22));
    Ok(())
}

#[tokio::test]
async fn metadata_by_id_all_and_none() -> Result<()> {
    let broker = Process::start(&["auto.create.topics.enable=false"])?;
    let mut raw = broker.connect().await?;
    let created = create(&mut raw, vec![topic("a", 1), topic("b", 1)], 7).await?;
    let by_id = |id| MetadataRequestTopic::default().with_topic_id(id).with_name(None);
    let known = created.topics[0].topic_id;
    let unknown = uuid(5);
    for version in 12..=13 {
        let request = MetadataRequest::default()
            .with_topics(Some(vec![by_id(known), by_id(unknown)]))
            .with_include_topic_authorized_operations(true);
        let response = raw.call(&request, version).await?;
        let first = &response.topics[0];
        assert_eq!((first.error_code, first.name.clone(), first.topic_id), (0, Some(name("a")), known));
        assert_eq!(first.topic_authorized_operations, 3576);
        let second = &response.topics[1];
        assert_eq!((second.error_code, &second.name, second.topic_id), (UNKNOWN_TOPIC_ID, &None, unknown));
    }
    for version in 10..=11 {
        let topic = by_id(known).with_name(Some(name("a")));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        assert_eq!(raw.call(&request, version).await?.topics[0].error_code, INVALID_REQUEST);
    }
    assert_eq!(metadata(&mut raw, Some(&[]), 0).await?.topics.len(), 2);
    assert_eq!(metadata(&mut raw, Some(&[]), 1).await?.topics.len(), 0);
    assert_eq!(metadata(&mut raw, None, 1).await?.topics.len(), 2);
    let asked = MetadataRequest::default().with_topics(Some(Vec::new()));
    for version in 8..=10 {
        let response =
            raw.call(&asked.clone().with_include_cluster_authorized_operations(true), version).await?;
        assert_eq!(response.cluster_authorized_operations, 8096);
    }
    assert_eq!(metadata(&mut raw, Some(&["c"]), 3).await?.topics[0].error_code, UNKNOWN_TOPIC_OR_PARTITION);
    Ok(())
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

#[tokio::test]
async fn a_topic_is_created_because_it_is_asked_for() -> Result<()> {
    let broker = Process::start(&["num.partitions=4"])?;
    let mut raw = broker.connect().await?;
    let request = MetadataRequest::default()
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name("wanted")))]));
    for (version, allowed, expected) in [(9, false, UNKNOWN_TOPIC_OR_PARTITION), (9, true, 0), (12, false, 0)]
    {
        let response = raw.call(&request.clone().with_allow_auto_topic_creation(allowed), version).await?;
        assert_eq!(response.topics[0].error_code, expected, "{version} {allowed}");
    }
    let response = metadata(&mut raw, Some(&["wanted", "want_ed", "want.ed"]), 3).await?;
    let errors: Vec<(i16, usize)> =
        response.topics.iter().map(|t| (t.error_code, t.partitions.len())).collect();
    assert_eq!(errors, [(0, 4), (0, 4), (INVALID_TOPIC, 0)]);
    let response = metadata(&mut raw, Some(&["__cluster_metadata"]), 3).await?;
    assert_ne!(response.topics[0].error_code, 0);
    Ok(())
}

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

#[tokio::test]
async fn configs_are_described_with_where_they_come_from() -> Result<()> {
    let broker = Process::start(&["log.retention.hours=3"])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, vec![with_configs(topic("orders", 1), &[("segment.bytes", "2000000")])], 7).await?;
    for version in 1..=4 {
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource(TOPIC, "orders"), resource(BROKER, "1"), resource(BROKER, "")])
            .with_include_synonyms(true)
            .with_include_documentation(version >= 3);
        let response = raw.call(&request, version).await?;
        assert!(response.results.iter().all(|result| result.error_code == 0));
        let orders = &response.results[0];
        assert_eq!(
            (value(orders, "segment.bytes")?, config(orders, "segment.bytes")?.config_source),
            ("2000000", 1)
        );
        let retention = config(orders, "retention.ms")?;
        assert_eq!((retention.value.clone(), retention.config_source), (Some(text("10800000")), 4));
        assert!(!retention.read_only && !retention.synonyms.is_empty());
        if version >= 3 {
            assert_eq!(retention.config_type, 5);
            assert!(retention.documentation.as_ref().is_some_and(|text| text.len() > 10));
        }
        let node = &response.results[1];
        assert_eq!(value(node, "node.id")?, "1");
        assert!(config(node, "node.id")?.read_only);
        assert_eq!(value(node, "ottla.admin.listener")?, broker.admin.to_string());
        assert!(response.results[2].configs.is_empty());
    }
    let only =
        resource(TOPIC, "orders").with_configuration_keys(Some(vec![text("retention.ms"), text("nope")]));
    let response = raw.call(&DescribeConfigsRequest::default().with_resources(vec![only]), 4).await?;
    assert_eq!(response.results[0].configs.len(), 1);
    assert_eq!(response.results[0].configs[0].documentation, None);
    for (resource_type, of, expected) in [
        (TOPIC, "nope", UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "a/b", INVALID_TOPIC),
        (TOPIC, "", INVALID_TOPIC),
        (BROKER, "2", INVALID_REQUEST),
        (BROKER, "x", INVALID_REQUEST),
        (8, "1", INVALID_REQUEST),
        (99, "1", INVALID_REQUEST),
    ] {
        assert_eq!(describe(&mut raw, resource_type, of).await?.error_code, expected, "{resource_type} {of}");
    }
    Ok(())
}

#[tokio::test]
async fn configs_change_one_by_one_and_survive_a_kill() -> Result<()> {
    let mut broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    let id = create(&mut raw, vec![topic("orders", 1)], 7).await?.topics[0].topic_id;
    let cases: &[(&str, i8, Option<&str>, i16)] = &[
        ("retention.ms", 0, Some("5"), 0),
        ("retention.ms", 0, Some("soon"), INVALID_CONFIG),
        ("retention.ms", 0, None, INVALID_REQUEST),
        ("retention.ms", 7, Some("5"), INVALID_REQUEST),
        ("retention.ms", 2, Some("5"), INVALID_CONFIG),
        ("no.such.key", 0, Some("5"), INVALID_CONFIG),
        ("cleanup.policy", 2, Some("delete"), 0),
        ("cleanup.policy", 3, Some("delete"), INVALID_CONFIG),
        ("ottla.partitioner", 0, Some("no-such-plugin"), INVALID_CONFIG),
        ("ottla.partitioner", 0, Some("key-hash@9.9.9"), INVALID_CONFIG),
    ];
    for (key, operation, value, expected) in cases {
        let (code, message) = alter(&mut raw, TOPIC, "orders", &[(key, *operation, *value)], false).await?;
        assert_eq!(code, *expected, "{key} {operation}: {message}");
        assert_eq!(message.is_empty(), code == 0);
    }
    let (code, _) = alter(&mut raw, TOPIC, "orders", &[("retention.ms", 0, Some("9"))], true).await?;
    assert_eq!(code, 0);
    let twice = [("retention.ms", 0, Some("9")), ("retention.ms", 0, Some("8"))];
    assert_eq!(alter(&mut raw, TOPIC, "orders", &twice, false).await?.0, INVALID_REQUEST);
    assert_eq!(alter(&mut raw, TOPIC, "nope", &twice[..1], false).await?.0, UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(alter(&mut raw, TOPIC, "", &twice[..1], false).await?.0, INVALID_REQUEST);
    assert_eq!(value(&describe(&mut raw, TOPIC, "orders").await?, "retention.ms")?, "5");

    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    let topics = metadata(&mut raw, Some(&["orders"]), 12).await?.topics;
    assert_eq!((topics[0].error_code, topics[0].topic_id), (0, id));
    assert_eq!(topics[0].partitions[0].leader_epoch, 1);
    assert_eq!(value(&describe(&mut raw, TOPIC, "orders").await?, "retention.ms")?, "5");
    Ok(())
}

#[tokio::test]
async fn configs_are_replaced_as_a_whole() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    let before = with_configs(topic("orders", 1), &[("retention.ms", "5"), ("segment.bytes", "2000000")]);
    create(&mut raw, vec![before], 7).await?;
    for version in 0..=2 {
        let config = |value: &str| {
            legacy::AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text(value)))
        };
        let resource = |value: &str| {
            legacy::AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text("orders"))
                .with_configs(vec![config(value)])
        };
        let request = |value: &str| AlterConfigsRequest::default().with_resources(vec![resource(value)]);
        let wanted = format!("{}", 100 + version);
        assert_eq!(raw.call(&request("soon"), version).await?.responses[0].error_code, INVALID_CONFIG);
        let checked = raw.call(&request("1").with_validate_only(true), version).await?;
        assert_eq!(checked.responses[0].error_code, 0);
        assert_eq!(raw.call(&request(&wanted), version).await?.responses[0].error_code, 0);
        let described = describe(&mut raw, TOPIC, "orders").await?;
        assert_eq!(value(&described, "retention.ms")?, wanted);
        assert_eq!(config_source(&described, "segment.bytes")?, 5);
        let twice = AlterConfigsRequest::default().with_resources(vec![resource("1"), resource("2")]);
        let response = raw.call(&twice, version).await?;
        assert!(response.responses.iter().all(|response| response.error_code == INVALID_REQUEST));
    }
    Ok(())
}

fn config_source(result: &DescribeConfigsResult, name: &str) -> Result<i8> {
    Ok(config(result, name)?.config_source)
}

#[tokio::test]
async fn a_brokers_configs_change_while_it_runs() -> Result<()> {
    let mut broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    let limit = "ottla.plugin.batch.time.ms";
    for (of, key, value, expected) in [
        ("1", limit, "50", 0),
        ("", limit, "60", 0),
        ("1", limit, "never", INVALID_REQUEST),
        ("1", "node.id", "2", INVALID_REQUEST),
        ("1", "no.such.key", "2", INVALID_REQUEST),
        ("2", limit, "50", INVALID_REQUEST),
    ] {
        let (code, message) = alter(&mut raw, BROKER, of, &[(key, 0, Some(value))], false).await?;
        assert_eq!(code, expected, "{of} {key}: {message}");
    }
    let described = describe(&mut raw, BROKER, "1").await?;
    let sources: Vec<i8> = config(&described, limit)?.synonyms.iter().map(|synonym| synonym.source).collect();
    assert_eq!((value(&described, limit)?, sources), ("50", vec![2, 3, 5]));
    assert_eq!(value(&describe(&mut raw, BROKER, "").await?, limit)?, "60");
    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    assert_eq!(value(&describe(&mut raw, BROKER, "1").await?, limit)?, "50");
    assert_eq!(alter(&mut raw, BROKER, "1", &[(limit, 1, None)], false).await?.0, 0);
    let described = describe(&mut raw, BROKER, "1").await?;
    assert_eq!((value(&described, limit)?, config_source(&described, limit)?), ("60", 3));
    Ok(())
}

#[tokio::test]
async fn a_partitioner_is_attached_by_config() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    let attached = with_configs(topic("orders", 4), &[("ottla.partitioner", "key-hash")]);
    let response = create(&mut raw, vec![attached, topic("plain", 1)], 7).await?;
    assert!(response.topics.iter().all(|topic| topic.error_code == 0), "{response:?}");
    let vip = [
        ("ottla.partitioner", 0, Some("vip-weighted@0.1.0")),
        ("ottla.partitioner.config", 0, Some(r#"{"vip":{"prefix":"vip-"},"share":0.5}"#)),
    ];
    let (code, message) = alter(&mut raw, TOPIC, "orders", &vip, false).await?;
    assert_eq!(code, 0, "{message}");
    let (code, message) = alter(&mut raw, TOPIC, "plain", &vip, false).await?;
    assert_eq!(code, INVALID_CONFIG, "a topic of one partition has no room for two classes");
    assert!(message.len() > 20, "{message}");
    let bad = [("ottla.partitioner.config", 0, Some(r#"{"share":"much"}"#))];
    assert_eq!(alter(&mut raw, TOPIC, "orders", &bad, false).await?.0, INVALID_CONFIG);
    let described = describe(&mut raw, TOPIC, "orders").await?;
    assert!(value(&described, "ottla.partitioner.config")?.contains("0.5"));
    let more =
        CreatePartitionsTopic::default().with_name(name("orders")).with_count(6).with_assignments(None);
    let response = raw.call(&CreatePartitionsRequest::default().with_topics(vec![more]), 3).await?;
    assert_eq!(response.results[0].error_code, 0);
    assert_eq!(alter(&mut raw, TOPIC, "orders", &[("ottla.partitioner", 1, None)], false).await?.0, 0);
    Ok(())
}

#[tokio::test]
async fn the_cluster_is_described() -> Result<()> {
    let broker = Process::start(&["node.id=3"])?;
    let mut raw = broker.connect().await?;
    for version in 0..=2 {
        let request = DescribeClusterRequest::default();
        let response = raw.call(&request, version).await?;
        assert_eq!(
            (response.error_code, response.controller_id, response.cluster_id.len()),
            (0, BrokerId(3), 22)
        );
        assert_eq!(response.brokers[0].port, i32::from(broker.kafka.port()));
        assert_eq!(response.cluster_authorized_operations, i32::MIN);
        let asked = request.with_include_cluster_authorized_operations(true);
        assert_eq!(raw.call(&asked, version).await?.cluster_authorized_operations, 8096);
    }
    for (endpoint_type, expected) in [(2, MISMATCHED_ENDPOINT_TYPE), (9, UNSUPPORTED_ENDPOINT_TYPE)] {
        let request = DescribeClusterRequest::default().with_endpoint_type(endpoint_type);
        assert_eq!(raw.call(&request, 1).await?.error_code, expected);
    }
    Ok(())
}

#[tokio::test]
async fn partitions_are_described_page_by_page() -> Result<()> {
    let broker = Process::start(&["max.request.partition.size.limit=4"])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, vec![topic("a", 3), topic("b", 6), topic("c", 1)], 7).await?;
    for limit in [1, 2, 3, 4, 100] {
        let mut cursor = None;
        let mut seen = Vec::new();
        loop {
            let request = DescribeTopicPartitionsRequest::default()
                .with_response_partition_limit(limit)
                .with_cursor(cursor);
            let response = raw.call(&request, 0).await?;
            let mut count = 0;
            for topic in &response.topics {
                assert_eq!(topic.topic_authorized_operations, 3576);
                for partition in &topic.partitions {
                    count += 1;
                    seen.push(format!(
                        "{}-{}",
                        topic.name.as_ref().map_or("", |n| n.as_str()),
                        partition.partition_index
                    ));
                }
            }
            assert!(count >= 1 && count <= limit.min(4), "{count} partitions for a limit of {limit}");
            let Some(next) = response.next_cursor else { break };
            cursor = Some(
                Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index),
            );
        }
        assert_eq!(
            seen,
            ["a-0", "a-1", "a-2", "b-0", "b-1", "b-2", "b-3", "b-4", "b-5", "c-0"],
            "limit {limit}"
        );
    }
    let topics = ["c", "nope", "a/b"].map(|of| TopicRequest::default().with_name(name(of))).to_vec();
    let request =
        DescribeTopicPartitionsRequest::default().with_topics(topics).with_response_partition_limit(100);
    let response = raw.call(&request, 0).await?;
    let errors: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(errors, [INVALID_TOPIC, 0, UNKNOWN_TOPIC_OR_PARTITION]);
    Ok(())
}

#[tokio::test]
async fn producer_ids_are_handed_out_once_across_kills() -> Result<()> {
    let mut broker = Process::start(&[])?;
    let mut seen = Vec::new();
    for round in 0..3 {
        let mut raw = broker.connect().await?;
        for version in 0..=5 {
            let request =
                InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(1);
            let response = raw.call(&request, version).await?;
            assert_eq!((response.error_code, response.producer_epoch), (0, 0));
            seen.push(response.producer_id);
            if version >= 3 {
                let bump = request.with_producer_id(ProducerId(5)).with_producer_epoch(2);
                let response = raw.call(&bump, version).await?;
                assert_eq!((response.error_code, response.producer_epoch), (0, 0), "{round}");
                seen.push(response.producer_id);
            }
            let transactional = InitProducerIdRequest::default()
                .with_transactional_id(Some(TransactionalId(text("pay"))))
                .with_transaction_timeout_ms(1000);
            let response = raw.call(&transactional, version).await?;
            assert_eq!((response.error_code, response.producer_id), (UNSUPPORTED_VERSION, ProducerId(-1)));
        }
        broker.kill()?;
        broker.restart()?;
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
    Ok(())
}
