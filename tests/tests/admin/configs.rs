//! Configs of topics and brokers, read and changed, and the partitioner that is attached by them.

use anyhow::Result;
use kafka_protocol::messages::alter_configs_request::AlterConfigsRequest;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::{
    CreatePartitionsRequest, DescribeConfigsRequest, alter_configs_request as legacy,
};
use ottla_tests::broker::Process;

use crate::{
    BROKER, INVALID_CONFIG, INVALID_REQUEST, INVALID_TOPIC, TOPIC, UNKNOWN_TOPIC_OR_PARTITION, alter, config,
    config_source, create, describe, metadata, name, resource, text, topic, value, with_configs,
};

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
        // As in Kafka: what is given in hours is in force, and is not told as a place of the value.
        assert_eq!((retention.value.clone(), retention.config_source), (Some(text("10800000")), 5));
        assert!(!retention.read_only && retention.synonyms.is_empty());
        assert_eq!(config(orders, "segment.bytes")?.synonyms.len(), 2);
        if version >= 3 {
            assert_eq!(retention.config_type, 5);
            assert!(retention.documentation.as_ref().is_some_and(|text| text.len() > 10));
        }
        let node = &response.results[1];
        assert_eq!((value(node, "node.id")?, value(node, "broker.id")?), ("1", "1"));
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
        ("cleanup.policy", 3, Some("delete"), 0),
        ("cleanup.policy", 2, Some("delete"), 0),
        ("cleanup.policy", 2, Some("compress"), INVALID_CONFIG),
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
