//! Metadata, DescribeCluster, DescribeTopicPartitions and InitProducerId: what a client asks before it begins.

use anyhow::{Context, Result};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeTopicPartitionsRequest, InitProducerIdRequest, MetadataRequest,
    ProducerId, TransactionalId,
};
use ottla_tests::broker::Process;
use std::collections::BTreeMap;

use crate::{
    INVALID_REQUEST, INVALID_TOPIC, MISMATCHED_ENDPOINT_TYPE, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION,
    UNSUPPORTED_ENDPOINT_TYPE, UNSUPPORTED_VERSION, create, metadata, name, text, topic, uuid,
};

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
        let [second, first] = &response.topics[..] else { panic!("two topics") };
        assert_eq!((first.error_code, first.name.clone(), first.topic_id), (0, Some(name("a")), known));
        assert_eq!(first.topic_authorized_operations, 3576);
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

#[tokio::test]
async fn a_topic_is_created_because_it_is_asked_for() -> Result<()> {
    let broker = Process::start(&["num.partitions=4"])?;
    let mut raw = broker.connect().await?;
    let request = MetadataRequest::default()
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name("wanted")))]));
    let unknown = UNKNOWN_TOPIC_OR_PARTITION;
    for (version, allowed, expected) in
        [(9, false, unknown), (9, false, unknown), (9, true, unknown), (12, false, 0)]
    {
        let response = raw.call(&request.clone().with_allow_auto_topic_creation(allowed), version).await?;
        assert_eq!(response.topics[0].error_code, expected, "{version} {allowed}");
    }
    for expected in [[(0, 4), (unknown, 0), (unknown, 0)], [(0, 4), (0, 4), (unknown, 0)]] {
        let response = metadata(&mut raw, Some(&["wanted", "want_ed", "want.ed"]), 3).await?;
        let errors: Vec<(i16, usize)> =
            response.topics.iter().map(|t| (t.error_code, t.partitions.len())).collect();
        assert_eq!(errors, expected, "two names that collide");
    }
    let response = metadata(&mut raw, Some(&["__cluster_metadata"]), 3).await?;
    assert_ne!(response.topics[0].error_code, 0);
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
